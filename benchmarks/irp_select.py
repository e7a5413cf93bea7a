"""Which frame of a burst is worth restoring?

    python -m benchmarks.irp_select --data_path PICTURES [--bursts 36] [--frames 8]

The choices of IRP, and of its mixture with plain sharpness, against the sharpest frame, a random
one and the best there is. A burst shows one part of a sharp picture under as many motions of a
hand, 1 to 30 px long: `steady` with one exposure for all frames, `bracketed` with one of five
exposure ratios for each. Every frame is restored (non-local means, then the shipped network) and
compared with the sharp picture; the figures are PSNR in dB, the mean over the bursts of the frame
that was chosen.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import append
from data.photo_catalog import find_pictures
from data.sample import sample_pictures
from data.synthesis.kernels import tremor
from data.synthesis.stack import Sensor, brightened, encoded_noise, expose_picture, sense
from methods.irp.judge import mixed_score
from methods.irp.pictures import as_bright
from methods.irp.predict import Predictor, load
from methods.irp.restorers import denoise, quality
from restoration.image import ImageRestorer
from utils.evaluation.sharpness import MEASURES
from utils.image import image_size, in_8bit, read_image, to_tensor
from utils.progress import Progress
from utils.report import spread

SIDE = 256  # px, of a frame
KERNEL = 65  # px
MARGIN = KERNEL // 2
BRACKET = (1.0, 3.0, 10.0, 30.0, 75.0)  # exposure ratios
LONGEST = (1.0, 30.0)  # px of motion at ratio 1
PHOTONS = (500.0, 20000.0)  # electrons at full scale for ratio 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data_path",
        type=Path,
        help="sharp pictures that the predictor has not seen; none: the embedded sample",
    )
    parser.add_argument("--bursts", type=int, default=36)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    predictor = load(options.weights, "cpu", "fp32")
    restorer = ImageRestorer.load("image_deblur", "cpu", "fp32")
    pictures = _pictures(options.data_path or sample_pictures(), options.bursts)
    rows = []
    for kind in ("steady", "bracketed"):
        chosen: dict[str, list[float]] = {}
        for number, path in enumerate(Progress(pictures, kind, unit="burst")):
            rng = np.random.default_rng((1, number))
            values, gains = burst(read_image(path), kind, options.frames, rng, predictor, restorer)
            for name, value in values.items():
                chosen.setdefault(name, []).append(gains[int(np.argmax(value))])
            chosen.setdefault("a random frame", []).append(float(np.mean(gains)))
            chosen.setdefault("the best frame", []).append(max(gains))
        figures = {name: float(np.mean(found)) for name, found in chosen.items()}
        listed = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        print(f"{kind}, {options.bursts} bursts of {options.frames}: {listed}")
        differences = np.subtract(chosen["mixed"], chosen["variance of Laplacian"])
        error = np.std(differences) / np.sqrt(options.bursts)
        print(
            f"  mixed over variance of Laplacian: {np.mean(differences):+.2f} dB, standard error "
            f"{error:.2f}"
        )
        rows.append({"bursts": kind, **figures})
    append("PSNR after restoration of the chosen frame of a burst", "cpu", rows)


def _pictures(folder: Path, count: int) -> list[Path]:
    """`count` pictures that are large enough: spread over the folder, or all of them repeatedly."""
    wanted = SIDE + KERNEL - 1
    pictures = [path for path in find_pictures(folder) if min(image_size(path)) >= wanted]
    if len(pictures) > count:
        return spread(pictures, count)
    repeats = -(-count // len(pictures))
    return (pictures * repeats)[:count]


@torch.inference_mode()
def burst(
    picture: np.ndarray,
    kind: str,
    frames: int,
    rng: np.random.Generator,
    predictor: Predictor,
    restorer: ImageRestorer,
) -> tuple[dict[str, list[float]], list[float]]:
    """({measure: its value per frame}, PSNR after restoration per frame)."""
    size = SIDE + KERNEL - 1
    top, left = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
    picture = picture[top : top + size, left : left + size]
    sharp = picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
    sensor = Sensor(float(np.exp(rng.uniform(*np.log(PHOTONS)))), 2.0)
    no_masks = np.zeros((0, size, size), bool)
    values: dict[str, list[float]] = {name: [] for name in ("mixed", "irp", *MEASURES)}
    restored = []
    for _ in range(frames):
        ratio = float(rng.choice(BRACKET)) if kind == "bracketed" else 1.0
        path = tremor(rng)
        path = path / np.ptp(path, axis=0).max() * np.exp(rng.uniform(*np.log(LONGEST)))
        light = expose_picture(picture, no_masks, [path], ratio, KERNEL).blurred_linear
        stored = sense(light, ratio, sensor, rng)
        potential = predictor(to_tensor(stored), ratio)
        values["irp"].append(potential)
        values["mixed"].append(mixed_score(potential, in_8bit(as_bright(stored, ratio))))
        for name, measure in MEASURES.items():
            values[name].append(measure(as_bright(stored, ratio)))
        bright = brightened(stored, ratio).clip(0, 1)
        noise = encoded_noise(sensor, ratio, float(light.mean()))
        denoised = torch.from_numpy(denoise(bright, noise)).permute(2, 0, 1)
        result = restorer.restore(denoised)
        restored.append(quality(result.permute(1, 2, 0).numpy(), sharp)["psnr"])
    return values, restored


if __name__ == "__main__":
    main()
