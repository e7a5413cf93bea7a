"""One photo, four ways to restore it, one result; and the library from somebody's own program."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from methods.image_deblur import inference as image_deblur
from methods.image_deblur.config import InferenceConfig as PhotoConfig
from methods.irp import inference as irp
from methods.irp.config import InferenceConfig as ShotConfig
from methods.video_deblur import inference as video_deblur
from methods.video_deblur.config import InferenceConfig as VideoConfig
from models import build, load
from models.contracts import ImageNetwork
from restoration import ImageRestorer, VideoRestorer
from tabs import photo as page_photo
from tabs.networks import image_networks
from tests.utils.test_scenes import shot
from utils.checkpoint import save_weights
from utils.errors import UserError
from utils.image import read_image, to_8bit, to_tensor, write_image
from utils.web.config import AppConfig
from utils.web.visitors import SERVED, WORK, Uploads, Visitor

ROOT = Path(__file__).resolve().parents[1]
APPLIED = {"scale": "mean", "strength": 0.7, "only_blurry": False}


def photo(dtype: type, size: tuple[int, int] = (72, 88)) -> np.ndarray:
    """A smooth picture [H,W,3] of a type."""
    coarse = np.random.default_rng(3).random((6, 7, 3))
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return np.round(smooth * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Iterator[Path]:
    """A small NAFNet in a folder of weights; its local statistics differ from the global ones."""
    shape = {"width": 8, "encoder": [1], "middle": 1, "decoder": [1], "training_size": 24}
    torch.manual_seed(0)
    network = build("nafnet", **shape)
    for name, value in network.named_parameters():
        if name.endswith((".beta", ".gamma")):  # the blocks start as nothing
            value.data.fill_(0.5)
        if name.endswith("attention.weight"):
            value.data.mul_(8)
        if name.startswith("ending"):  # else the guard refuses its results
            value.data.mul_(0.6)
    path = tmp_path / "weights" / "small.safetensors"
    path.parent.mkdir()
    save_weights(path, network, "nafnet", shape, "image_deblur", dtype=torch.float32)
    monkeypatch.setattr("restoration.image.WEIGHTS_FOLDER", path.parent)
    image_networks.cache_clear()
    yield path
    image_networks.cache_clear()


def by_command(path: Path, weights: Path, folder: Path) -> np.ndarray:
    config = PhotoConfig(path, weights=weights, output_dir=folder, device="cpu", **APPLIED)
    image_deblur.main(config)
    return read_image(folder / f"{path.stem}.png")


def by_selection(path: Path, weights: Path, folder: Path) -> np.ndarray:
    options = {"restore": True, "restorer": weights, "output_dir": folder, "device": "cpu"}
    irp.main(ShotConfig(path, "select", keep="1", **options, **APPLIED))
    return read_image(folder / f"restored/{path.stem}.png")


def by_page(path: Path, weights: Path, folder: Path) -> np.ndarray:
    for name in (WORK, SERVED):
        (folder / name).mkdir(parents=True)
    uploads = Uploads(folder / SERVED)
    visitor = Visitor(folder, uploads)
    upload = folder / SERVED / "content" / path.name
    upload.parent.mkdir()
    upload.write_bytes(path.read_bytes())
    uploads.add(upload)
    config = AppConfig(device="cpu")
    options = (str(upload), weights.name, *APPLIED.values())
    _, downloads = page_photo.restore_photo(config, visitor, *options)
    return read_image(downloads[0])


def by_python(path: Path, weights: Path, folder: Path) -> np.ndarray:
    return ImageRestorer.load(weights, device="cpu", **APPLIED)(read_image(path))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_photo_has_one_result_whoever_restores_it(weights, tmp_path, dtype):
    path = tmp_path / "in" / "photo.png"
    write_image(path, photo(dtype))
    ways = (by_python, by_command, by_selection, by_page)
    results = [way(path, weights, tmp_path / way.__name__) for way in ways]
    assert not np.array_equal(results[0], photo(dtype)), "the network changes the photo"
    for way, result in zip(ways, results):
        assert result.dtype == dtype, way.__name__
        assert np.array_equal(result, results[0]), way.__name__


def test_local_statistics_matter_to_that_photo(weights):
    """Else the test above would not see who forgets them."""
    picture = photo(np.uint8)
    local = ImageRestorer.load(weights, device="cpu")(picture)
    whole = ImageRestorer.load(weights, device="cpu", local_statistics=False)(picture)
    assert np.abs(local.astype(int) - whole).max() > 1


def test_a_selection_may_be_restored_as_in_the_first_version(weights, tmp_path):
    """Version 0.1 averaged over the whole picture there: the plain network, rounded to 8 bits."""
    path = tmp_path / "in" / "photo.png"
    write_image(path, photo(np.uint8))
    options = {"restore": True, "restorer": weights, "device": "cpu", "local_statistics": False}
    irp.main(ShotConfig(path, "select", keep="1", output_dir=tmp_path / "out", **options))
    with torch.inference_mode():
        plain = load(weights)(to_tensor(photo(np.uint8))[None])[0]
    assert np.array_equal(read_image(tmp_path / "out/restored/photo.png"), to_8bit(plain))


def test_a_restorer_gives_back_the_kind_it_gets(weights):
    restorer = ImageRestorer.load(weights, device="cpu")
    image = to_tensor(photo(np.uint8))
    restored = restorer(image)
    assert torch.is_tensor(restored) and restored.shape == image.shape
    rounded = restored.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(restorer(photo(np.uint8)), rounded)


def test_a_video_restorer_gives_as_many_frames_as_it_gets(small_network):
    restorer = VideoRestorer.load(small_network(), device="cpu")
    frames = [photo(np.uint8, (21, 34))] * 4
    restored = list(restorer(iter(frames)))
    assert len(restored) == 4
    assert all(frame.shape == (21, 34, 3) and frame.dtype == np.uint8 for frame in restored)
    assert list(restorer([])) == []


@pytest.mark.parametrize("ends", [True, False])
def test_no_frame_borrows_from_another_scene(small_network, ends):
    restorer = VideoRestorer.load(small_network(), device="cpu")
    shots = [list(map(to_tensor, frames)) for frames in (shot(1, 5), shot(2, 1), shot(3, 4))]
    alone = [frame for frames in shots for frame in restorer.stream(frames)]
    together = list(restorer.stream(itertools.chain(*shots), ends, cuts=True))
    lost = 0 if ends else restorer.network.lost
    assert len(together) == 10 - 2 * lost
    assert torch.equal(torch.stack(together), torch.stack(alone[lost : 10 - lost]))
    pixels = restorer(np.concatenate((shot(1, 5), shot(2, 1), shot(3, 4))))
    assert np.array_equal(np.stack(list(pixels)), np.stack([to_8bit(frame) for frame in alone]))


PROGRAM = """
import numpy as np
from restoration import ImageRestorer, SequenceRestorer, VideoRestorer
blurry = np.zeros((40, 48, 3), np.uint8)
sharp = ImageRestorer.load("image_deblur", device="cpu")(blurry)
frames = list(VideoRestorer.load("cdvd_tsp", device="cpu")([blurry] * 3))
print(sharp.shape, len(frames), SequenceRestorer.__name__)
"""


def run_elsewhere(program: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a program of somebody's in a folder of theirs."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "program.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_library_works_in_a_program_elsewhere(tmp_path):
    done = run_elsewhere(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(40, 48, 3) 3 SequenceRestorer\n"


@pytest.mark.parametrize("first", ["", "import utils\n"])
def test_a_folder_with_modules_of_the_same_name_gets_a_sentence(tmp_path, first):
    (tmp_path / "utils.py").write_text("")
    done = run_elsewhere(first + PROGRAM, tmp_path)
    assert done.returncode != 0
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"ImportError: restoration needs {ROOT / 'utils'}, but Python finds")
    assert str(tmp_path / "utils.py") in sentence and "put" in sentence


class Constant(ImageNetwork):
    """Gives one value everywhere."""

    multiple = 1
    bytes_per_pixel = 100

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, blurry: Tensor) -> Tensor:
        return torch.full_like(blurry, self.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), "values that are no finite numbers: its weights .a.pt. may be damaged"),
        (float("inf"), "values that are no finite numbers"),
        (-3.0, "is of one colour: its weights .a.pt. may be damaged"),
        (0.5, "is of one colour"),
    ],
)
def test_a_result_without_a_picture_in_it_is_said(value, sentence):
    restorer = ImageRestorer(Constant(value), torch.device("cpu"), weights=Path("a.pt"))
    with pytest.raises(UserError, match=sentence):
        restorer.restore(torch.linspace(0, 1, 64).expand(3, 48, 64))


def test_a_picture_of_one_colour_may_stay_one():
    restorer = ImageRestorer(Constant(0.25), torch.device("cpu"))
    assert restorer.restore(torch.full((3, 24, 32), 0.3)).unique().tolist() == [0.25]


@pytest.mark.parametrize("module", ["pictures", "videos"])
def test_reading_ahead_and_writing_behind_change_no_file(module, tmp_path, monkeypatch):
    """Byte by byte, those of a loop that reads, restores and writes one after the other."""
    for index in range(4):
        write_image(tmp_path / f"in/{index}.png", np.roll(photo(np.uint8), index, 1))
    written = {}
    for way in ("overlapping", "plain"):
        folder = tmp_path / way
        if way == "plain":
            monkeypatch.setattr(f"restoration.{module}.ahead", lambda items, **_: items)
            monkeypatch.setattr(f"restoration.{module}.Behind", lambda work, **_: nullcontext(work))
        options = {"output_dir": folder, "device": "cpu", "report": False}
        if module == "pictures":
            image_deblur.main(PhotoConfig(tmp_path / "in", **options))
        else:
            video_deblur.main(VideoConfig(tmp_path / "in", **options))
        written[way] = {
            path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("?.png"))
        }
    assert len(written["plain"]) == 4 and written["plain"] == written["overlapping"]


def test_a_photo_of_12_megapixels_takes_less_than_3_gb(monkeypatch):
    """With all the memory that a machine may have free; measured with --scale auto: 2.1 GB."""
    monkeypatch.setattr("restoration.image.available_memory", lambda device: 64 * 2**30)
    restorer = ImageRestorer.load(device="cpu")
    size = (3000, 4000)
    tile = min(restorer.tile_of(size), *size)
    pictures = 6 * 3 * 4 * size[0] * size[1]  # float32: input, shrunken, residuals, result
    programs = 0.5 * 2**30
    assert restorer.bytes_needed((tile, tile)) + pictures + programs < 3 * 2**30
    assert restorer.bytes_needed(size) > 3 * 2**30  # in one piece it would take more
