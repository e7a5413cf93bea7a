"""The blur2vid commands: training with three losses, scores against the formula, what inference
writes, bad input in one sentence.
"""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from losses.order import naive, one_sided, order_invariant
from methods.blur2vid import inference, test, train
from methods.blur2vid.config import InferenceConfig, TestConfig, TrainConfig, frame_indices
from models import build, load
from utils import distributed
from utils.checkpoint import save_weights
from utils.config import parse
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image
from utils.progress import heard
from utils.video import VideoFile

NARROW = {
    "purohit": {
        "width": 4,
        "flow_channels": [2, 4, 4],
        "sampling": "plain",
        "values": "imagenet_rgb",
    },
    "jin": {"width": 1, "values": "imagenet_rgb"},
    "hypercut": {
        "width": 4,
        "blocks": 1,
        "activation": "leaky_relu",
        "plane": "affine",
        "values": "imagenet_rgb",
    },
}


@pytest.fixture
def folder(make_sequences):
    return make_sequences((40, 80), motion=6.0)


@pytest.fixture
def weights(tmp_path):
    """A function that writes a narrow network with random weights; returns its path."""

    def make(name, method="blur2vid", **changes):
        arguments = NARROW.get(name, {}) | changes
        torch.manual_seed(0)
        network = build(name, **arguments)
        if name == "purohit":
            torch.nn.init.normal_(network.decoder.outputs[-1].weight, std=0.2)
        path = tmp_path / f"{name}.safetensors"
        save_weights(path, network, name, arguments, method, dtype=torch.float32)
        return path

    return make


@pytest.fixture
def deblurrer(weights):
    return weights("nafnet", "image_deblur", width=4, encoder=[1], middle=1, decoder=[1])


def training(folder, backbone, loss, **changes):
    size = 40
    options = {
        "network": NARROW[backbone.lower()],
        "save": "run",
        "epochs": 15,
        "val_every": 15,
        "batch_size": 2,
        "image_size": size,
    }
    options |= {"augment": [], "lr": 3e-3, "workers": 0, "device": "cpu"}
    return TrainConfig(folder, backbone=backbone, loss_type=loss, **{**options, **changes})


@pytest.mark.parametrize(
    ("backbone", "loss"),
    list(itertools.product(("Jin", "Purohit"), ("naive", "order_inv", "hypercut"))),
)
def test_every_loss_falls(folder, weights, tmp_path, monkeypatch, backbone, loss):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    judge = weights("hypercut", "hypercut")
    task = train.UnfoldTask(
        training(folder, backbone, loss, hypercut_path=judge if loss == "hypercut" else None)
    )
    batch = {
        key: torch.stack([task.training_set[0, index][key] for index in (0, 1)])
        for key in ("blurry", "frames")
    }
    totals = []
    for step in range(12):
        losses = task.step(batch, [], step)
        total = sum(losses.values())
        task.optimizer.zero_grad()
        total.backward()
        task.optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]
    expected = (
        {loss}
        | ({"flow"} if backbone == "Purohit" else set())
        | ({"side"} if loss == "hypercut" else set())
    )
    assert set(losses) == expected
    if task.ordering:
        assert all(
            not parameter.requires_grad and parameter.grad is None
            for parameter in task.ordering.parameters()
        )


def test_terms_by_their_formulas(folder, weights):
    judge = weights("hypercut", "hypercut")
    task = train.UnfoldTask(training(folder, "Jin", "hypercut", hypercut_path=judge))
    item = {
        key: value[None]
        for key, value in task.training_set[0, 0].items()
        if key in ("blurry", "frames")
    }
    losses = task.step(item, [], 0)
    predicted, truth = (
        task.network(task.network.seen(item["blurry"])),
        task.network.seen(item["frames"]),
    )
    assert losses["hypercut"].item() == pytest.approx(order_invariant(predicted, truth).item() / 7)
    assert losses["side"].item() == pytest.approx(
        0.2 * one_sided(load(judge)(predicted)).item(), rel=1e-4
    )
    task = train.UnfoldTask(
        training(folder, "Purohit", "naive", network=NARROW["purohit"] | {"sampling": "published"})
    )
    losses = task.step(item, [], 0)
    scales, flows = task.network.forward_scales(task.network.seen(item["blurry"]), truth[:, 3])
    targets = [truth[..., :: 2**level, :: 2**level] for level in range(4)]
    assert losses["naive"].item() == pytest.approx(
        sum(naive(*pair).item() for pair in zip(scales, targets)) / 4
    )
    assert losses["flow"].item() == pytest.approx(
        0.02 / 4 * sum(flow.abs().mean().item() for flow in flows)
    )


def test_training_and_resuming(folder, tmp_path, monkeypatch):
    """Stop and resume equals no stop; the exported weights say what they are."""
    monkeypatch.setattr(train, "ROOT", tmp_path)
    config = training(
        folder,
        "Purohit",
        "order_inv",
        epochs=4,
        val_every=2,
        augment=["affine", "noise", "flicker"],
    )
    metrics = train.main(config)
    assert {"outer", "ppsnr", "outer_gain"} == set(metrics)
    train.main(replace(config, save="parts", epochs=2))
    train.main(replace(config, save="parts", resume=True))
    states = [
        torch.load(tmp_path / "experiment" / name / "last.pt", weights_only=True)["network"]
        for name in ("run", "parts")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    network = load(tmp_path / "experiment/run/best.safetensors")
    assert network.sampling == "plain" and (tmp_path / "experiment/run/validation.jpg").is_file()


def test_a_deblurred_centre_is_the_deblurrers(folder, deblurrer):
    config = training(folder, "Purohit", "naive", centre="deblurred", deblurrer=deblurrer)
    task = train.UnfoldTask(config)
    blurry = task.training_set[0, 0]["blurry"][None]
    expected = task.network.seen(load(deblurrer)(blurry))
    assert torch.allclose(task._centre(blurry, None), expected, atol=1e-5)


@pytest.mark.parametrize("backbone", ["jin", "purohit"])
def test_scores_of_the_command(folder, weights, tmp_path, backbone):
    """Against the network run by hand; the input's figures are those of the blurry picture seven
    times.
    """
    path = weights(backbone)
    scores = test.main(
        TestConfig(
            folder,
            weights=path,
            output_dir=tmp_path / "out",
            hypercut_path=weights("hypercut", "hypercut"),
            device="cpu",
        )
    )
    network = load(path)
    blurry, *frames = (
        to_tensor(read_image(file))
        for file in [folder / "s4/blur/0000.png", *sorted((folder / "s4/sharp").iterdir())]
    )
    truth, seen = torch.stack(frames), network.seen(blurry)[None]
    with torch.inference_mode():
        predicted = network.shown(
            network(seen) if backbone == "jin" else network(seen, network.seen(truth[3])[None])
        )[0]

    def psnrs(images):
        return [
            10 * np.log10(1 / float((one - two).double().square().mean()))
            for one, two in zip(images, truth)
        ]

    row = scores.rows[0]
    best = max(psnrs(predicted), psnrs(predicted.flip(0)), key=np.mean)
    assert [row[f"ppsnr_{frame}"] for frame in range(1, 8)] == pytest.approx(best, abs=1e-3)
    assert [row[f"input_ppsnr_{frame}"] for frame in range(1, 8)] == pytest.approx(
        psnrs(blurry.expand_as(truth)), abs=1e-3
    )
    assert {"pssim_1", "hit_1_7", "con@3"} <= set(scores.mean) and "plpips" not in scores.mean
    remark = json.loads((tmp_path / "out/scores.json").read_text())["remark"]
    assert (
        "partition test" in remark
        and "LPIPS not computed" in remark
        and ("centre ground_truth" in remark) == (backbone == "purohit")
    )
    assert (
        len(list((tmp_path / "out/s5").iterdir())) == 7
        and (tmp_path / "out/contact_sheet.jpg").is_file()
    )


def test_a_second_scoring_into_the_folder_is_refused(folder, weights, tmp_path):
    config = TestConfig(folder, weights=weights("jin"), output_dir=tmp_path / "out", device="cpu")
    with distributed.only_run(tmp_path / "out"):
        with pytest.raises(UserError, match="another run is writing into .*out: wait for it"):
            test.main(config)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_files_are_scored_without_a_network(folder, weights, tmp_path, capsys):
    test.main(
        TestConfig(
            folder,
            weights=weights("purohit"),
            output_dir=tmp_path / "out",
            device="cpu",
            report=False,
        )
    )
    sharp = tmp_path / "sharp"
    for name in ("s4", "s5"):
        (sharp / name).mkdir(parents=True)
        for file in (folder / name / "sharp").iterdir():
            (sharp / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "out/config.yaml").unlink()
    scores = test.main(
        TestConfig(
            restored_dir=tmp_path / "out",
            sharp_dir=sharp,
            blurry_dir=folder,
            output_dir=tmp_path / "scores",
        )
    )
    before = json.loads((tmp_path / "out/scores.json").read_text())["mean"]["ppsnr"]
    assert (
        scores.mean["ppsnr"] == pytest.approx(before, abs=0.1) and scores.input_mean["ppsnr"] > 10
    )  # rounding to 8 bits
    assert "frame 1" in capsys.readouterr().out and (tmp_path / "scores/scores.csv").is_file()
    (tmp_path / "out/s5/deblur_3.png").unlink()
    with pytest.raises(UserError, match="s5 has 6 pictures"):
        test.main(TestConfig(restored_dir=tmp_path / "out", sharp_dir=sharp))
    (sharp / "s6").mkdir()
    with pytest.raises(UserError, match="lacks 1 of the 3 images to score, the first is s6"):
        test.main(TestConfig(restored_dir=tmp_path / "out", sharp_dir=sharp))


@pytest.mark.parametrize("backbone", ["jin", "purohit"])
def test_inference_writes_everything(folder, weights, deblurrer, tmp_path, backbone):
    """Odd sizes; without ground truth the centre is the deblurrer's; pictures, video, GIF and
    strip.
    """
    write_image(tmp_path / "photo.png", read_image(folder / "s0/blur/0000.png")[:37, :51])
    config = InferenceConfig(
        tmp_path / "photo.png",
        weights=weights(backbone),
        deblurrer=deblurrer,
        output_dir=tmp_path / "out",
        scale="1",  # a random deblurrer fails the guard
        device="cpu",
    )
    inference.main(config)
    pictures = [read_image(tmp_path / f"out/deblur_{place}.png") for place in range(7)]
    assert all(picture.shape == (37, 51, 3) for picture in pictures)
    restorer = inference.load(config)
    photo = to_tensor(read_image(tmp_path / "photo.png"))
    frames = restorer.restore(photo)
    assert (
        np.abs(np.float32(pictures[2]) - frames[2].permute(1, 2, 0).clamp(0, 1).numpy() * 255).max()
        <= 0.51
    )
    video = VideoFile(tmp_path / "out/moments.mp4")
    assert (
        video.size == (37, 51) and video.properties.rate == 14 and len(list(video)) == 36
    )  # three cycles of 12
    with Image.open(tmp_path / "out/moments.gif") as gif:
        assert gif.n_frames == 12 and gif.info["loop"] == 0
    assert (tmp_path / "out/strip.png").is_file() and (tmp_path / "out/config.yaml").is_file()
    if backbone == "purohit":
        centre = load(deblurrer)(photo[None])[0]
        given = restorer.restore(photo, centre)
        assert torch.allclose(given, frames, atol=1e-4)


def test_folders_frames_and_directions(folder, weights, tmp_path):
    for name in ("one", "two"):
        write_image(tmp_path / f"photos/{name}.png", read_image(folder / "s0/blur/0000.png"))
    options = {
        "weights": weights("jin"),
        "output_dir": tmp_path / "out",
        "device": "cpu",
        "loop": "forward",
        "fps": 10.0,
    }
    inference.main(InferenceConfig(tmp_path / "photos", target_frames=[1, 4, 7], **options))
    for name in ("one", "two"):
        assert sorted(path.name for path in (tmp_path / "out" / name).glob("deblur_*")) == [
            "deblur_0.png",
            "deblur_3.png",
            "deblur_6.png",
        ]
        assert (
            len(list(VideoFile(tmp_path / "out" / name / "moments.mp4"))) == 21
        )  # seven cycles of 3


def test_results_have_a_folder_per_photo_and_are_never_read_back(folder, weights, tmp_path):
    """a.png and a.bmp do not share one; a second run with the results below the photos sees the
    photos alone.
    """
    photos, blurry = tmp_path / "photos", read_image(folder / "s0/blur/0000.png")
    write_image(photos / "a.png", blurry)
    Image.fromarray(255 - blurry).save(photos / "a.bmp")
    config = InferenceConfig(
        photos,
        target_frames=[4],
        weights=weights("jin"),
        output_dir=photos / "out",
        device="cpu",
        loop="forward",
    )
    for _ in range(2):
        inference.main(config)
        assert sorted(path.name for path in (photos / "out").iterdir()) == [
            "a.bmp",
            "a.png",
            "config.yaml",
            "report.html",
        ]
    one, other = (
        np.float32(read_image(photos / "out" / name / "deblur_3.png"))
        for name in ("a.png", "a.bmp")
    )
    assert np.abs(one - other).mean() > 1
    for bad in (
        replace(config, output_dir=photos),
        replace(config, data_path=photos / "a.png", output_dir=photos),
    ):
        with pytest.raises(UserError, match="choose another --output_dir"):
            inference.main(bad)


def test_damaged_photos_of_a_folder_are_left_out_and_named(folder, weights, tmp_path):
    photos = tmp_path / "photos"
    write_image(photos / "a.png", read_image(folder / "s0/blur/0000.png"))
    write_image(photos / "c.png", read_image(folder / "s0/blur/0000.png"))
    (photos / "b.png").write_text("no picture")
    config = InferenceConfig(
        photos, target_frames=[4], weights=weights("jin"), output_dir=tmp_path / "out", device="cpu"
    )
    with pytest.raises(UserError, match=r"1 of 3 pictures were left out: .*b\.png is not an image"):
        inference.main(config)
    assert {path.parent.name for path in (tmp_path / "out").rglob("moments.gif")} == {
        "a",
        "c",
    } and (tmp_path / "out/report.html").is_file()
    with pytest.raises(UserError, match=r"^.*b\.png is not an image"):
        inference.main(replace(config, data_path=photos / "b.png"))


def test_one_cycle():
    frames = list(range(7))
    assert inference.played(frames, "forward") == frames
    assert inference.played(frames, "ping-pong") == [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1]


def test_tiles_of_purohit_agree_inside(folder, weights, deblurrer, tmp_path):
    image = torch.rand(3, 200, 264, generator=torch.Generator().manual_seed(0))
    config = InferenceConfig(weights=weights("purohit"), device="cpu", deblurrer=deblurrer)
    whole = inference.load(config).restore(image, centre=image)
    tiled = inference.load(replace(config, tile=176)).restore(image, centre=image)
    assert whole.shape == tiled.shape and (whole - tiled).abs().mean() < 0.01


def test_the_tiles_of_a_photo_are_counted(weights, deblurrer, tmp_path):
    """2 x 2 tiles of the centre frame and as many of the sequence."""
    write_image(tmp_path / "photo.png", np.full((200, 264, 3), 90, np.uint8))
    told = []
    config = InferenceConfig(
        tmp_path / "photo.png",
        weights=weights("purohit"),
        deblurrer=deblurrer,
        output_dir=tmp_path / "out",
        scale="1",
        tile=176,
        device="cpu",
        report=False,
    )
    with heard(lambda bar: told.append((bar.unit, bar.n, bar.total))):
        inference.main(config)
    assert [step for step in told if step[0] == "tile"] == [
        ("tile", number, 8) for number in range(1, 9)
    ]


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([0, 1], "numbered 1 ... 7"),
        ([8], "numbered"),
        ([1, 7], "hold the centre 4"),
        ([1, 4, 6, 7], "symmetric"),
        ([], "numbered"),
    ],
)
def test_target_frames_that_make_no_sense(frames, sentence):
    with pytest.raises(UserError, match=sentence):
        frame_indices(frames)
    assert frame_indices([7, 4, 1]) == [0, 3, 6] and frame_indices([2, 1], symmetric=False) == [
        0,
        1,
    ]


def test_bad_input(folder, weights, small_network, tmp_path):
    jin, hypercut = weights("jin"), weights("hypercut", "hypercut")
    cases = [
        (
            lambda: inference.load(InferenceConfig(weights=jin, backbone="Purohit")),
            "holds Jin, not Purohit",
        ),
        (
            lambda: inference.load(InferenceConfig(weights=jin, backbone="Jim")),
            "unknown backbone 'Jim', did you mean Jin?",
        ),
        (
            lambda: inference.load(InferenceConfig(weights=hypercut)),
            "needs a network that makes the sharp",
        ),
        (lambda: inference.load(InferenceConfig(weights=small_network())), "this command needs a"),
        (
            lambda: inference.load(InferenceConfig(weights=jin, tile=50)),
            "--tile must be 0 or above 128",
        ),
        (
            lambda: inference.main(InferenceConfig(tmp_path / "gone.png", weights=jin)),
            "is no photo",
        ),
        (
            lambda: inference.main(InferenceConfig(folder, weights=jin, fps=0)),
            "--fps 0 must be at least",
        ),
        (
            lambda: inference.main(InferenceConfig(folder, weights=jin, fps=1e9)),
            r"--fps 1e\+09 must be",
        ),
        (
            lambda: train.UnfoldTask(training(folder, "Jin", "hypercut", hypercut_path=jin)),
            "needs a HyperCUT network",
        ),
        (
            lambda: train.UnfoldTask(training(folder, "Jin", "naive", image_size=64)),
            "multiples of 20, not 64",
        ),
        (
            lambda: test.main(
                TestConfig(folder, weights=jin, partition="train", hypercut_path=jin)
            ),
            "needs a HyperCUT network",
        ),
    ]
    for call, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            call()


def test_tiny_photos(weights, deblurrer, tmp_path):
    for backbone in ("jin", "purohit"):
        restorer = inference.load(
            InferenceConfig(weights=weights(backbone), deblurrer=deblurrer, device="cpu")
        )
        assert restorer.restore(torch.rand(3, 3, 2)).shape == (7, 3, 3, 2)


PUBLISHED = [
    (
        "train",
        TrainConfig,
        "--dataset_name NAME --metadata_root M --batch_size 8 --backbone Jin --loss_type "
        "order_inv --target_frames 1 2 3 4 5 6 7",
    ),
    (
        "train",
        TrainConfig,
        "--dataset_name NAME --metadata_root M --backbone Purohit --loss_type hypercut "
        "--hypercut_path W --num_epochs 9",
    ),
    (
        "test",
        TestConfig,
        "--dataset_name NAME --metadata_root M --batch_size 8 --backbone Jin --target_frames 1 2 "
        "3 4 5 6 7",
    ),
    (
        "test",
        TestConfig,
        "--dataset_name NAME --metadata_root M --backbone Purohit --hypercut_path W "
        "--pretrained_path W --loss_type naive",
    ),
    (
        "inference",
        InferenceConfig,
        "--backbone Jin --blur_path I --output_path O --pretrained_path W --target_frames 1 2 3 "
        "4 5 6 7",
    ),
]


@pytest.mark.parametrize(("command", "config_class", "line"), PUBLISHED)
def test_published_spellings(command, config_class, line):
    config = parse(config_class, "blur2vid", command, line.split())
    assert config.target_frames == [1, 2, 3, 4, 5, 6, 7]
    if command == "inference":
        assert (config.data_path, config.output_dir, config.weights) == (
            Path("I"),
            Path("O"),
            Path("W"),
        )
    else:
        assert config.dataset_name == "NAME" and config.metadata == Path("M")
    if command == "train":
        assert config.image_size == (256 if config.backbone == "Purohit" else 240)
