"""inference.py and test.py image_deblur: photos of every kind, weights, large images, mistakes."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from methods.image_deblur import inference
from methods.image_deblur.config import InferenceConfig
from models import build, find
from restoration.image import image_weights_at_hand, turned, turned_back
from tests.commands import pattern
from utils import photo
from utils.errors import UserError
from utils.evaluation.metrics import psnr
from utils.image import image_size, read_image, to_8bit, to_tensor, write_image

SHIPPED_FILE = "image_deblur.safetensors"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def smooth(size: tuple[int, int] = (40, 56), seed: int = 0) -> np.ndarray:
    return pattern(size, seed)


def test_a_single_photo(restore, weights, tmp_path, capsys):
    write_image(tmp_path / "photo.jpg", smooth((37, 53)))
    assert restore(tmp_path / "photo.jpg") is None
    restored = read_image(tmp_path / "out/photo.png")
    restorer = inference.load(InferenceConfig(weights=weights(), device="cpu", guard=False))
    image = to_tensor(read_image(tmp_path / "photo.jpg"))
    with torch.inference_mode():
        expected = restorer.network(image[None])[0].clamp(0, 1) * 255
    assert np.abs(restored - expected.permute(1, 2, 0).numpy()).max() <= 0.51
    assert (tmp_path / "out/report.html").is_file() and (
        tmp_path / "out/contact_sheet.jpg"
    ).is_file()
    assert "restored 1 picture in" in capsys.readouterr().out


def test_folders_keep_their_shape_and_namesakes_their_endings(restore, identity, tmp_path):
    for name in ("a.png", "trip/a.png", "trip/deep/b.jpg", "twin.jpg", "twin.png"):
        write_image(tmp_path / "in" / name, smooth())
    restore(tmp_path / "in")
    written = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")
    }
    assert written == {"a.png", "trip/a.png", "trip/deep/b.png", "twin.jpg.png", "twin.png.png"}


def test_photos_come_out_upright_with_what_can_be_kept(restore, identity, tmp_path):
    pixels = smooth()
    folder = tmp_path / "in"
    folder.mkdir()
    turned = Image.fromarray(np.rot90(pixels))  # stored lying on its side
    exif = turned.getexif()
    exif[0x0112], exif[0x0110] = 6, "a camera"  # orientation: turn clockwise to see it; model
    turned.save(folder / "turned.png", exif=exif, icc_profile=PROFILE)
    alpha = np.uint8(np.arange(40 * 56).reshape(40, 56) % 256)
    Image.fromarray(np.dstack((pixels, alpha))).save(folder / "alpha.png")
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(
        folder / "palette.png"
    )
    Image.fromarray(pixels).convert("CMYK").save(folder / "cmyk.jpg", quality=98)
    Image.fromarray(pixels).convert("L").save(folder / "grey.png")
    deep = (pixels.astype(np.uint16) * 257) + 3
    write_image(folder / "deep.png", np.minimum(deep, 65535))
    cv2.imwrite(
        str(folder / "deep_alpha.png"),
        np.dstack((pixels.astype(np.uint16) * 256, alpha.astype(np.uint16) * 200)),
    )
    restore(folder)
    out = tmp_path / "out"
    assert np.array_equal(read_image(out / "turned.png"), pixels)
    with Image.open(out / "turned.png") as image:
        assert image.info["icc_profile"] == PROFILE and dict(image.getexif()) == {
            0x0110: "a camera"
        }
    with Image.open(out / "alpha.png") as image:
        assert np.array_equal(np.asarray(image), np.dstack((pixels, alpha)))
    assert np.array_equal(read_image(out / "palette.png"), read_image(folder / "palette.png"))
    assert np.abs(read_image(out / "cmyk.png").astype(int) - pixels).mean() < 4
    with Image.open(out / "grey.png") as image:
        assert image.mode == "L" and np.array_equal(
            np.asarray(image), read_image(folder / "grey.png")[..., 0]
        )
    assert (
        np.array_equal(read_image(out / "deep.png"), read_image(folder / "deep.png"))
        and read_image(out / "deep.png").dtype == np.uint16
    )
    both = cv2.imread(str(out / "deep_alpha.png"), cv2.IMREAD_UNCHANGED)
    assert (
        np.array_equal(both, cv2.imread(str(folder / "deep_alpha.png"), cv2.IMREAD_UNCHANGED))
        and both.shape[2] == 4
    )


def test_tiles_give_the_whole_result(weights, tmp_path):
    """A network of short reach; the seams are below half a grey level."""
    config = InferenceConfig(
        weights=weights("mimo_unet", width=8, blocks=1), device="cpu", guard=False
    )
    image = to_tensor(smooth((150, 260)))
    whole = inference.load(config).restore(image)
    tiled = inference.load(
        InferenceConfig(weights=config.weights, device="cpu", guard=False, tile=96, tile_overlap=40)
    )
    calls = []
    assert (tiled.restore(image, lambda: calls.append(1)) - whole).abs().max() < 0.5 / 255
    assert len(calls) == 2 * 4
    with pytest.raises(UserError, match="--tile 64 must be larger than two overlaps of 40 px"):
        inference.load(
            InferenceConfig(
                weights=config.weights, device="cpu", guard=False, tile=64, tile_overlap=40
            )
        ).restore(image)


def test_memory_decides_on_tiles(weights):
    restorer = inference.load(
        InferenceConfig(weights=weights(), device="cpu", guard=False, memory=0.1)
    )
    assert restorer.tile_of((100, 200)) == 200
    tile = restorer.tile_of((4000, 6000))
    assert 128 < tile < 400 and tile % restorer.network.multiple == 0
    with pytest.raises(UserError, match="not enough memory: 0.00 GB are free, tiles of .* px need"):
        inference.load(
            InferenceConfig(weights=weights(), device="cpu", guard=False, memory=0.001)
        ).tile_of((4000, 6000))


def test_ensemble_is_the_mean_over_flips_and_turns(weights):
    image = to_tensor(smooth((24, 40)))
    single, ensemble = (
        inference.load(InferenceConfig(weights=weights(), device="cpu", guard=False, ensemble=on))
        for on in (False, True)
    )
    slow = []
    for turns in range(4):
        for mirror in (False, True):
            view = torch.rot90(image, turns, (1, 2))
            view = view.flip(2) if mirror else view
            result = single.restore(view)
            slow.append(torch.rot90(result.flip(2) if mirror else result, -turns, (1, 2)))
    assert (ensemble.restore(image) - sum(slow) / 8).abs().max() < 1e-5
    for way in range(8):
        assert torch.equal(turned_back(turned(image[None], way), way), image[None])


def test_gamma_is_put_around_the_network(weights, monkeypatch):
    restorer = inference.load(
        InferenceConfig(weights=weights(), device="cpu", guard=False, gamma_factor=2.2)
    )
    image = to_tensor(smooth((24, 40)))
    with torch.inference_mode():
        expected = restorer.network(image[None] ** 2.2)[0].clamp(min=0) ** (1 / 2.2)
    torch.testing.assert_close(restorer.restore(image), expected, atol=1e-5, rtol=0)


def test_local_statistics_are_for_nafnet(weights):
    on, off = (
        inference.load(
            InferenceConfig(weights=weights(), device="cpu", guard=False, local_statistics=flag)
        )
        for flag in (True, False)
    )
    image = to_tensor(smooth((120, 130)))
    assert (on.restore(image) - off.restore(image)).abs().max() > 1e-4
    assert (
        inference.load(
            InferenceConfig(weights=weights("light_dehaze", width=8), device="cpu", guard=False)
        ).network.multiple
        == 2
    )


def test_wrong_model_is_named_with_the_right_one(weights, tmp_path):
    nafnet = weights()
    with pytest.raises(
        UserError, match=r"small.safetensors holds another NAFNet, not Restormer: leave --model out"
    ):
        inference.load(InferenceConfig(weights=nafnet, model="Restormer", device="cpu"))
    lstm = weights("srn", "lstm.safetensors", variant="lstm", width=4)
    assert (
        inference.load(InferenceConfig(weights=lstm, model="SRN", device="cpu")).network.variant
        == "lstm"
    )
    assert (
        inference.load(InferenceConfig(weights=lstm, model="lstm", device="cpu")).network.variant
        == "lstm"
    )
    with pytest.raises(UserError, match=r"lstm.safetensors holds SRN \(lstm\), not color"):
        inference.load(InferenceConfig(weights=lstm, model="color", device="cpu"))
    plus = weights("mimo_unet", "plus.safetensors", width=4, blocks=20)
    with pytest.raises(UserError, match=r"plus.safetensors holds MIMO-UNet\+, not MIMO-UNet:"):
        inference.load(InferenceConfig(weights=plus, model="MIMO-UNet", device="cpu"))
    with pytest.raises(
        UserError, match="holds a CDVDTSP, this command needs a network for single images"
    ):
        inference.load(InferenceConfig(weights=Path("cdvd_tsp"), device="cpu"))


def test_srn_from_tensorflows_folder(restore, tmp_path):
    write_image(tmp_path / "photo.png", smooth((20, 30)))
    golden = Path(__file__).parents[1] / "golden"
    restore(tmp_path / "photo.png", weights=golden, model="SRN", step=523000)
    assert read_image(tmp_path / "out/photo.png").shape == (20, 30, 3)
    with pytest.raises(UserError, match="no TensorFlow checkpoint of step 7"):
        restore(tmp_path / "photo.png", weights=golden, step=7)


def test_deep_deblurs_folder_means_its_last_epoch(weights, tmp_path):
    for epoch in (9, 10):
        network = build("deep_deblur", width=4, blocks=1)
        network.bodies[0][0].bias.data.fill_(epoch)
        state = {_theirs(key): value for key, value in network.state_dict().items()}
        (tmp_path / "models").mkdir(exist_ok=True)
        torch.save({"G": state, "D": None}, tmp_path / f"models/model-{epoch}.pt")
    found = inference.load(
        InferenceConfig(weights=tmp_path, model="DeepDeblur", device="cpu")
    ).network
    assert found.bodies[0][0].bias[0] == 10


def _theirs(key: str) -> str:
    key = (
        key.replace("bodies.", "body_models.").replace("conv1", "body.0").replace("conv2", "body.2")
    )
    if key.startswith("lifts."):
        return f"conv_end_models.{int(key[6]) + 1}.uppath{key[7:]}"
    scale, rest = key.removeprefix("body_models.").split(".", 1)
    return f"body_models.{scale}.body.{rest}"


def test_mistakes_are_one_sentence_and_results_stay(restore, tmp_path):
    for number in range(3):
        write_image(tmp_path / f"in/{number}.png", smooth(seed=number))
    content = (tmp_path / "in/2.png").read_bytes()
    (tmp_path / "in/2.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="2.png can't be read, it may be truncated"):
        restore(tmp_path / "in")
    first = (tmp_path / "out/0.png").stat().st_mtime_ns
    (tmp_path / "in/2.png").write_bytes(content)
    restore(tmp_path / "in", skip_existing=True)
    assert (tmp_path / "out/0.png").stat().st_mtime_ns == first and (
        tmp_path / "out/2.png"
    ).is_file()
    with pytest.raises(UserError, match="there is no .*nowhere"):
        restore(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures in"):
        restore(tmp_path / "empty")
    (tmp_path / "notes.pdf").write_text("no picture")
    with pytest.raises(UserError, match="notes.pdf is not an image this program can read"):
        restore(tmp_path / "notes.pdf")
    with pytest.raises(UserError, match="results would lie among the pictures in"):
        restore(tmp_path / "in", output_dir=tmp_path / "in")


def test_a_video_is_restored_frame_by_frame(restore, identity, tmp_path):
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = (
            56,
            40,
            "yuv420p",
            {"crf": "8"},
        )
        for index in range(7):
            frame = av.VideoFrame.from_ndarray(np.roll(smooth(), index, 1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    restore(path)
    with av.open(str(tmp_path / "out/clip.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 7 and psnr(frames[6], np.roll(smooth(), 6, 1)) > 28


def test_damaged_photos_of_a_folder_are_left_out_and_named(restore, identity, tmp_path):
    for name in ("a", "c"):
        write_image(tmp_path / f"in/{name}.png", smooth())
    for name in ("b", "d"):
        (tmp_path / f"in/{name}.png").write_text("no picture")
    with pytest.raises(
        UserError,
        match=r"2 of 4 pictures were left out: .*b\.png is not an image.*; .*d\.png is not",
    ):
        restore(tmp_path / "in")
    assert (
        (tmp_path / "out/a.png").exists()
        and (tmp_path / "out/c.png").exists()
        and (tmp_path / "out/report.html").exists()
    )


def test_results_never_become_input(restore, identity, tmp_path):
    """Results below the input are left alone by the next run; results among the input are
    refused.
    """
    for name in ("a.jpg", "b.png"):
        write_image(tmp_path / "in" / name, smooth())
    for _ in range(2):
        restore(tmp_path / "in", output_dir=tmp_path / "in/out")
    assert sorted(path.name for path in (tmp_path / "in/out").glob("*.[pj]*g")) == [
        "a.png",
        "b.png",
        "contact_sheet.jpg",
    ]
    for path in (tmp_path / "in", tmp_path / "in/a.jpg"):
        with pytest.raises(UserError, match="results would lie among the pictures"):
            restore(path, output_dir=tmp_path / "in")
    write_image(tmp_path / "in/contact_sheet.bmp", smooth())
    with pytest.raises(UserError, match="its result would have the name of the contact sheet"):
        restore(tmp_path / "in")


def test_runs_are_weights_by_their_names(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "ROOT", tmp_path)
    for module in ("models", "methods.image_deblur.inference"):
        monkeypatch.setattr(f"{module}.RUNS_FOLDER", tmp_path / "experiment")
    small = weights()
    for name in ("best.safetensors", "last.safetensors"):
        (tmp_path / "experiment/mine").mkdir(parents=True, exist_ok=True)
        (tmp_path / "experiment/mine" / name).write_bytes(small.read_bytes())
    assert find("mine").name == "best.safetensors"
    with pytest.raises(UserError, match="no weights at yours"):
        find("yours")
    write_image(tmp_path / "in/sub/a.png", smooth())
    # where DeepDeblur's program puts them
    inference.main(InferenceConfig(tmp_path / "in", Path("mine"), device="cpu"))
    assert (tmp_path / "experiment/mine/result/sub/a.png").is_file()
    inference.main(InferenceConfig(tmp_path / "in", small, device="cpu"))
    assert (tmp_path / "infer_results/image_deblur/sub/a.png").is_file()


def test_weights_at_hand_are_photo_networks_alone(weights, tmp_path, monkeypatch, capsys):
    shelf = tmp_path / "shelf"
    (shelf / "srn_color").mkdir(parents=True)
    monkeypatch.setattr("restoration.image.WEIGHTS_FOLDER", shelf)
    shelf.joinpath(SHIPPED_FILE).write_bytes(weights().read_bytes())
    state = build("deep_deblur", width=4, blocks=1).state_dict()
    torch.save(
        {"G": {_theirs(key): value for key, value in state.items()}}, shelf / "deep_deblur_gopro.pt"
    )
    for path in (Path(__file__).parents[1] / "golden").glob("srn_tiny.model-523000.*"):
        (shelf / "srn_color" / path.name).write_bytes(path.read_bytes())
    (shelf / "video.safetensors").write_bytes(weights("pwc_net", "video.safetensors").read_bytes())
    (shelf / "half.pth").write_bytes((shelf / "deep_deblur_gopro.pt").read_bytes()[:999])
    (shelf / "README.md").write_text("about")
    assert [path.name for path in image_weights_at_hand()] == [
        SHIPPED_FILE,
        "deep_deblur_gopro.pt",
        "srn_color",
    ]
    said = capsys.readouterr().out
    assert said.count("note: left out") == 1 and "half.pth" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_factor": 0.0}, "--gamma_factor 0.0 must be above 0"),
        ({"memory": -1.0}, "--memory, --tile and --tile_overlap must not be below"),
        ({"tile": 40, "tile_overlap": 20}, "--tile 40 must be larger than two overlaps of 20 px"),
        ({"step": 5}, "--step 5 chooses among TensorFlow checkpoints"),
        ({"model": "lstm", "variant": "gray"}, "are two variants of SRN"),
        ({"model": "NAFNet-32"}, "holds another NAFNet, not NAFNet-32"),
    ],
)
def test_options_that_cannot_work(weights, options, message):
    with pytest.raises(UserError, match=message):
        inference.load(InferenceConfig(weights=weights(), device="cpu", guard=False, **options))


def test_odd_photos(restore, identity, tmp_path):
    """16 bits lying on its side with transparency and a profile; a TIFF on its side."""
    folder = tmp_path / "in"
    pixels = smooth()
    alpha = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 20
    deep = np.dstack((pixels.astype(np.uint16)[..., ::-1] * 257, alpha))
    png = cv2.imencode(".png", np.ascontiguousarray(np.rot90(deep)))[1].tobytes()
    notes = Image.Exif()
    notes[0x0112], notes[0x0110] = 6, "a camera"
    folder.mkdir()
    chunks = photo._chunk(b"eXIf", notes.tobytes().removeprefix(b"Exif\0\0")) + photo._chunk(
        b"iCCP", b"x\0\0" + zlib.compress(PROFILE)
    )
    (folder / "deep.png").write_bytes(png[:33] + chunks + png[33:])
    Image.fromarray(np.rot90(pixels)).save(folder / "side.tif", exif=notes)
    restore(folder)
    out = cv2.imread(str(tmp_path / "out/deep.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(out, deep)
    with Image.open(tmp_path / "out/deep.png") as image:
        assert image.info["icc_profile"] == PROFILE and dict(image.getexif()) == {
            0x0110: "a camera"
        }
    assert np.array_equal(read_image(tmp_path / "out/side.png"), pixels) and image_size(
        folder / "side.tif"
    ) == (40, 56)


def test_shipped_network_improves_blurry_and_leaves_sharp_photos():
    """The main job, on the embedded sample (never trained on) and on sharp pictures that come with
    scikit-image.
    """
    import skimage.data

    from data.photo_catalog import find_pairs
    from data.sample import sample_folder

    restorer = inference.load(InferenceConfig(device="cpu"))
    assert restorer.weights.stat().st_size <= 8_000_000
    gains = []
    for picture in find_pairs(sample_folder()).pictures[::3]:
        blurry, sharp = (to_tensor(read_image(path)) for path in (picture.blurry, picture.sharp))
        gains.append(
            psnr(to_8bit(restorer.restore(blurry)), to_8bit(sharp))
            - psnr(to_8bit(blurry), to_8bit(sharp))
        )
    assert np.mean(gains) > 0.7 and min(gains) > 0.2
    for name in ("coffee", "astronaut"):
        sharp = to_tensor(getattr(skimage.data, name)())
        assert psnr(to_8bit(restorer.restore(sharp)), to_8bit(sharp)) > 38
