"""Are the shipped networks better than what one would do without them?

    python -m benchmarks.plain_deblurring [--photos PAIRS] [--videos CLIPS]
                                          [--side 512] [--frames 6]

PAIRS and CLIPS have blurry and sharp files; the middle of every picture is taken. Unsharp masking
(OpenCV), Richardson-Lucy and unsupervised Wiener deconvolution (scikit-image) know nothing of the
blur and take it for a Gaussian; each has the strength, of three, that does best on average over the
whole set, so they are shown at their best. Videos: also the photo network frame by frame. Mean gain
in PSNR over the input, dB (protocol `image`), and on how many pictures or clips it is above zero.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.restoration import richardson_lucy, unsupervised_wiener
from torch import Tensor

from benchmarks.timing import append
from data.catalog import Video, find_videos
from data.photo_catalog import find_pairs
from restoration import ImageRestorer, VideoRestorer
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.tables import format_table
from utils.image import read_image, to_tensor
from utils.progress import Progress

SIGMAS = (0.7, 1.2, 2.0)  # px, of the Gaussian that the blur is taken for
ITERATIONS = 10  # of Richardson-Lucy; more only lets the noise grow
AMOUNT = 0.7  # of unsharp masking
MARGIN = 16  # px, around an image that is deconvolved
MULTIPLE = 16  # px, of the sides that are compared

Pair = tuple[Tensor, Tensor]  # blurry and sharp [3,H,W] in [0,1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--side", type=int, default=512, help="of the part that is taken, px")
    parser.add_argument(
        "--frames", type=int, default=6, help="restored ones per clip, from its middle"
    )
    options = parser.parse_args()
    photo = ImageRestorer.load("image_deblur", "cpu", "fp32")
    video = VideoRestorer.load("cdvd_tsp", "cpu", "fp32")
    lost = video.network.lost

    def one_by_one(frames: list[Tensor]) -> list[Tensor]:
        return [photo.restore(frame) for frame in frames]

    def streamed(frames: list[Tensor]) -> list[Tensor]:
        return list(video.stream(frames, ends=False))

    if options.photos:
        pairs = {}
        for picture in find_pairs(options.photos, need_sharp=True).pictures:
            pairs[picture.name] = [_pair(picture.blurry, picture.sharp, options.side)]
        _compare("photos", pairs, {"shipped photo network": one_by_one}, 0)
    if options.videos:
        count = options.frames + 2 * lost
        clips = {}
        for found in find_videos(options.videos, need_sharp=True).videos:
            clips[found.name] = _clip(found, count, options.side)
        networks = {
            "shipped video network": streamed,
            "shipped photo network, frame by frame": one_by_one,
        }
        _compare("videos", clips, networks, lost)


@torch.inference_mode()
def _compare(
    kind: str, sets: dict[str, list[Pair]], networks: dict[str, Callable], skip: int
) -> None:
    """Print and keep the gains over all pictures or clips.

    The first and last `skip` frames of each do not count.
    """
    gains: dict[str, list[list[float]]] = {}  # name -> per picture or clip, one per strength
    for pairs in Progress(sets.values(), kind):
        blurry = [pair[0] for pair in pairs]
        inner = slice(skip, len(pairs) - skip)
        inner_blurry = blurry[inner]
        inner_sharp = [pair[1] for pair in pairs[inner]]
        input_psnr = _psnr(inner_blurry, inner_sharp)
        if input_psnr == float("inf"):  # nothing to remove
            continue
        for name, restore in networks.items():
            restored = restore(blurry)
            if len(restored) == len(blurry):  # a video network leaves the ends out
                restored = restored[inner]
            gains.setdefault(name, []).append([_psnr(restored, inner_sharp) - input_psnr])
        for name, restore in PLAIN.items():
            row = []
            for sigma in SIGMAS:
                restored = [_plain(restore, frame, sigma) for frame in inner_blurry]
                row.append(_psnr(restored, inner_sharp) - input_psnr)
            gains.setdefault(name, []).append(row)
    rows = [{kind: name, **_at_best(table)} for name, table in gains.items()]
    cells = [list(map(_text, row.values())) for row in rows]
    print(format_table([list(rows[0]), *cells]))
    append(f"gain over the input of blurry {kind}, dB", "cpu", rows)


def _at_best(table: list[list[float]]) -> dict:
    """Figures of gains [pictures][strengths] at the strength that is best on average."""
    strength = np.argmax(np.mean(table, 0))
    best = np.array(table)[:, strength]
    return {
        "mean": float(best.mean()),
        "minimum": float(best.min()),
        "above 0": f"{(best > 0).sum()} of {len(best)}",
    }


def _text(value: object) -> str:
    return f"{value:+.2f}" if isinstance(value, float) else str(value)


def _unsharp(image: np.ndarray, sigma: float) -> np.ndarray:
    return image + AMOUNT * (image - cv2.GaussianBlur(image, (0, 0), sigma))


def _richardson_lucy(image: np.ndarray, sigma: float) -> np.ndarray:
    return _per_colour(image, lambda plane: richardson_lucy(plane, _gaussian(sigma), ITERATIONS))


def _wiener(image: np.ndarray, sigma: float) -> np.ndarray:
    return _per_colour(image, lambda plane: unsupervised_wiener(plane, _gaussian(sigma), rng=0)[0])


PLAIN = {
    "unsharp mask (OpenCV)": _unsharp,
    "Richardson-Lucy (scikit-image)": _richardson_lucy,
    "unsupervised Wiener (scikit-image)": _wiener,
}


def _plain(
    restore: Callable[[np.ndarray, float], np.ndarray], frame: Tensor, sigma: float
) -> Tensor:
    image = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())  # [H,W,3]
    return torch.from_numpy(restore(image, sigma)).permute(2, 0, 1)


def _per_colour(image: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """An image [H,W,3] restored colour by colour.

    It is extended first, since deconvolution takes what lies outside for black or periodic.
    """
    padded = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), "reflect")
    restored = np.stack([restore(padded[..., channel]) for channel in range(3)], -1)
    return np.float32(restored[MARGIN:-MARGIN, MARGIN:-MARGIN])


def _gaussian(sigma: float) -> np.ndarray:
    line = cv2.getGaussianKernel(2 * int(3 * sigma + 0.5) + 1, sigma)
    return line @ line.T


def _psnr(restored: list[Tensor], sharp: list[Tensor]) -> float:
    psnr = PROTOCOLS["image"].psnr
    pairs = zip(restored, sharp, strict=True)
    return float(np.mean([psnr(one.clamp(0, 1), other) for one, other in pairs]))


def _clip(video: Video, count: int, side: int) -> list[Pair]:
    """`count` frames from the middle of a video."""
    start = max(0, (len(video.blurry) - count) // 2)
    pairs = list(zip(video.blurry, video.sharp))[start : start + count]
    return [_pair(blurry, sharp, side) for blurry, sharp in pairs]


def _pair(blurry: Path, sharp: Path, side: int) -> Pair:
    """The middle of both, with sides that every network takes."""
    images = [to_tensor(read_image(path)) for path in (blurry, sharp)]  # [3,H,W]
    spans = []
    for length in images[0].shape[1:]:
        taken = min(side, length) // MULTIPLE * MULTIPLE
        start = (length - taken) // 2
        spans.append(slice(start, start + taken))
    rows, columns = spans
    return tuple(image[:, rows, columns].contiguous() for image in images)


if __name__ == "__main__":
    main()
