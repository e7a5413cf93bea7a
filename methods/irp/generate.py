"""Make exposure stacks of sharp pictures and videos, restore every shot, and label it by the
quality that restoration reached.
"""

import functools
import json
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.stats import spearmanr

from data.catalog import Video, existing_folder, find_videos
from data.fresh_shots import Moment, SceneDraw, drawn
from data.irp import file_name, write_labels
from data.photo_catalog import find_pictures, pictures_by_name
from data.sample import pictures_or_sample
from data.synthesis.exposure import frames_needed
from data.synthesis.masks import MaskSource, find_masks
from data.synthesis.stack import RATIOS, Exposure, brightened, encoded_noise, expose_video, sense
from methods.irp.config import GenerateConfig
from methods.irp.pictures import as_bright, new_curve, save_curve
from methods.irp.restorers import Restorer, denoise, find_restorers, quality
from utils import distributed
from utils.config import keep_config
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.files import keep_apart, write_table, write_text
from utils.image import image_size, is_image, read_8bit, read_image, write_image
from utils.progress import Progress
from utils.report import amount, contact_sheet_of_rows, spread
from utils.video import is_video

SHEET_ROWS = 8
SHEET_RATIOS = 6
FREE_OPTIONS = ("output_dir", "device", "precision")


class Job(NamedTuple):
    """A scene to make: its name, and the picture or video it comes from."""

    scene: str
    source: str
    origin: Path | Video
    number: int


def main(config: GenerateConfig) -> None:
    """Write what is not there yet; the main process also writes labels, contact_sheet.png and
    labels.png once all is there.
    """
    _check(config)
    config = replace(config, data_path=pictures_or_sample(config.data_path))
    keep_apart(config.output_dir, config.data_path)
    jobs, remark = _jobs(config)
    with distributed.only_run(config.output_dir):
        _make_all(config, jobs, remark)


def _make_all(config: GenerateConfig, jobs: list[Job], remark: str) -> None:
    if distributed.is_main():
        keep_config(config.output_dir, config, FREE_OPTIONS)
    device = choose_device(config.device)
    cv2.setNumThreads(1)
    restorers = find_restorers(
        config.restorers,
        list(map(Path, config.weights)),
        device,
        choose_precision(config.precision, device),
    )
    masks, made, share = find_masks(config.mask_path, config.mask_kind), 0, distributed.shard(jobs)
    for job in Progress(share, "stacks", unit="scene"):
        if not _is_made(config, job):
            _make(config, job, restorers, masks)
            made += 1
    print(
        f"{amount(made, 'scene')} made, {len(share) - made} already there: "
        f"{config.output_dir}{remark}"
    )
    missing = [job.scene for job in jobs if not _record_path(config, job.scene).is_file()]
    if distributed.is_main() and not missing:
        _finish(config, [job.scene for job in jobs])
    elif distributed.is_main():
        print(
            f"{len(missing)} scenes of other processes are still to come: run the same command "
            "again when they are done, for the labels"
        )


def _make(
    config: GenerateConfig, job: Job, restorers: dict[str, Restorer], masks: MaskSource
) -> None:
    """SCENE/{ratio}.png, sharp/SCENE.png and, last, records/SCENE.json."""
    rng = np.random.default_rng((config.seed, zlib.crc32(job.source.encode()), job.number))
    sensor = _draw(config).sensor(rng)
    moment = (
        _of_picture(config, job, rng, masks)
        if isinstance(job.origin, Path)
        else _of_video(config, job, rng)
    )
    rows = []
    for ratio in ratios(config):
        exposure: Exposure = moment.expose(ratio=ratio)
        stored = sense(exposure.blurred_linear, ratio, sensor, rng)
        write_image(config.output_dir / job.scene / file_name(ratio), stored)
        bright = brightened(stored, ratio).clip(0, 1)
        noise = encoded_noise(sensor, ratio, float(exposure.blurred_linear.mean()))
        denoised = denoise(bright, noise)
        parts = {"input": quality(bright, moment.sharp)}
        parts |= {
            name: quality(restore(denoised, noise, exposure), moment.sharp)
            for name, restore in restorers.items()
        }
        label = float(np.mean([parts[name]["quality"] for name in restorers]))
        rows.append(
            {
                "ratio": ratio,
                "label": label,
                **{
                    f"{name}_{kind}": value for name in parts for kind, value in parts[name].items()
                },
            }
        )
    write_image(config.output_dir / "sharp" / f"{job.scene}.png", moment.sharp)
    record = {
        "scene": job.scene,
        "source": job.source,
        "number": job.number,
        **sensor._asdict(),
        **moment.facts,
        "shots": rows,
    }
    write_text(_record_path(config, job.scene), json.dumps(record, indent=1) + "\n")


def _of_picture(
    config: GenerateConfig, job: Job, rng: np.random.Generator, masks: MaskSource
) -> Moment:
    picture = read_image(job.origin)
    objects = (
        masks(str(job.origin.relative_to(config.data_path).with_suffix("")), picture)
        .chosen(max_objects=config.max_objects)
        .masks
    )
    return _draw(config).scene(picture, objects, (config.height, config.width), rng)


def _draw(config: GenerateConfig) -> SceneDraw:
    return SceneDraw(*(getattr(config, field.name) for field in fields(SceneDraw)))


def _of_video(config: GenerateConfig, job: Job, rng: np.random.Generator) -> Moment:
    """Around a moment of the scene's share of the video."""
    source = job.origin.open()
    count = source.count or sum(1 for _ in source)
    exposure = drawn(rng, config.exposure)
    half = frames_needed(exposure) // 2
    if count < 2 * half + config.n_images:
        raise UserError(
            f"{job.source} has {count} frames: an exposure of {exposure:.1f} needs "
            f"{2 * half + config.n_images}"
        )
    start, end = (
        half + (count - 2 * half) * (job.number + step) // config.n_images for step in (0, 1)
    )
    middle = int(rng.integers(start, end))
    pixels = [
        frame for index, frame in zip(range(middle + half + 1), source) if index >= middle - half
    ]
    if min(pixels[0].shape[0] - config.height, pixels[0].shape[1] - config.width) < 0:
        raise UserError(
            f"{job.source} is {pixels[0].shape[1]}x{pixels[0].shape[0]}, smaller than the shots "
            "(--height, --width)"
        )
    top, left = (
        int(rng.integers(side - length + 1))
        for side, length in zip(pixels[0].shape, (config.height, config.width))
    )
    window = np.s_[top : top + config.height, left : left + config.width]
    frames = [np.float32(frame[window]) / np.iinfo(frame.dtype).max for frame in pixels]
    expose = functools.partial(expose_video, frames, exposure, size=config.kernel_size)
    facts = {"exposure": exposure, "frame": middle, "top": top, "left": left}
    return Moment(np.uint8(np.round(frames[half] * 255)), expose, facts)


def _finish(config: GenerateConfig, scenes: list[str]) -> None:
    """Labels and their parts, how well the restorers agree, and pictures of it."""
    records = {
        scene: json.loads(_record_path(config, scene).read_text(encoding="utf-8"))
        for scene in scenes
    }
    labels = {
        scene: {shot["ratio"]: shot["label"] for shot in record["shots"]}
        for scene, record in records.items()
    }
    write_labels(
        config.output_dir,
        labels,
        {scene: record["source"] for scene, record in records.items()},
        config.seed,
    )
    rows = [
        {"scene": scene, "source": record["source"], **shot}
        for scene, record in records.items()
        for shot in record["shots"]
    ]
    write_table(config.output_dir / "labels.csv", rows)
    print(
        _agreement(
            rows, [key.removesuffix("_quality") for key in rows[0] if key.endswith("_quality")]
        )
    )
    contact_sheet_of_rows(
        config.output_dir / "contact_sheet.png", dict(_sheet(config, labels)), width=240
    )
    _plot(config.output_dir / "labels.png", labels)
    print(f"look at {config.output_dir / 'contact_sheet.png'} and labels.png")


def _agreement(rows: list[dict], names: list[str]) -> str:
    """Spearman's correlation between the qualities that the restorers reach, over all shots, and
    with the input's.
    """
    lines = ["rank correlation of the qualities over all shots:"]
    for one, other in combinations(names, 2):
        value = spearmanr(
            [row[f"{one}_quality"] for row in rows], [row[f"{other}_quality"] for row in rows]
        ).statistic
        lines.append(f"  {one} and {other}: {value:.3f}")
    return "\n".join(lines)


def _sheet(
    config: GenerateConfig, labels: dict[str, dict[float, float]]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """A row per scene: some of its shots, brightened, with ratio and label, and the sharp
    picture.
    """
    for scene in spread(list(labels), SHEET_ROWS):
        best = max(labels[scene], key=labels[scene].get)
        shown = {}
        for ratio in sorted({*spread(ratios(config), SHEET_RATIOS), best}):
            bright = as_bright(read_8bit(config.output_dir / scene / file_name(ratio)), ratio)
            star = " (best)" if ratio == best else ""
            shown[f"{ratio:g}: {labels[scene][ratio]:.3f}{star}"] = bright
        shown = dict(
            list(shown.items())[:SHEET_RATIOS] if len(shown) <= SHEET_RATIOS else _with_best(shown)
        )
        yield scene, shown | {"sharp": read_image(config.output_dir / "sharp" / f"{scene}.png")}


def _with_best(shown: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """SHEET_RATIOS of the shots, the best among them."""
    others = [label for label in shown if not label.endswith("(best)")]
    left_out = others[len(others) // 2]
    return [item for item in shown.items() if item[0] != left_out]


def _plot(path: Path, labels: dict[str, dict[float, float]]) -> None:
    """Label against exposure ratio: a line per scene, and the mean."""
    figure, axes = new_curve("exposure ratio (the exposure is T / ratio)")
    steps = list(next(iter(labels.values())))
    for scene in labels:
        axes.semilogx(
            steps,
            [labels[scene][ratio] for ratio in steps],
            color="tab:blue",
            alpha=max(0.08, 1 / len(labels)),
            linewidth=0.8,
        )
    axes.semilogx(
        steps,
        np.mean([list(scene.values()) for scene in labels.values()], 0),
        color="black",
        marker="o",
        label="mean",
    )
    axes.set_xticks(steps, [f"{ratio:g}" for ratio in steps])
    axes.minorticks_off()
    axes.set(ylabel="label: quality after restoration", ylim=(0, 1))
    axes.legend()
    save_curve(figure, path)


def _jobs(config: GenerateConfig) -> tuple[list[Job], str]:
    """Scenes in the order of their sources, and a remark about what was left out."""
    sources: dict[str, Path | Video] = {}
    existing_folder(config.data_path)
    if config.source == "videos":
        sources |= {
            f"video {video.name}": video for video in find_videos(config.data_path, "frames").videos
        }
    else:
        files = sorted(
            path
            for path in config.data_path.rglob("*")
            if is_video(path) and config.source == "auto"
        )
        sources |= {
            f"video {path.relative_to(config.data_path).with_suffix('')}": Video(
                path.stem, file=path
            )
            for path in files
        }
    small = 0
    if config.source == "pictures" or (
        config.source == "auto" and any(map(is_image, config.data_path.rglob("*")))
    ):
        margin = 2 * (config.kernel_size // 2)
        for name, path in pictures_by_name(config.data_path).items():
            height, width = image_size(path)
            if height < config.height + margin or width < config.width + margin:
                small += 1
            else:
                sources[name] = path
    if not sources:
        find_pictures(config.data_path)  # says what is wrong with the folder
        raise UserError(
            f"{config.data_path}: all {small} pictures are too small for shots of "
            f"{config.width}x{config.height} px (--width, --height) "
            f"with a margin for kernels of {config.kernel_size} px (--kernel_size)"
        )
    pairs = [(source, number) for source in sources for number in range(config.n_images)]
    jobs = [
        Job(f"scene{place + 1}", source, sources[source], number)
        for place, (source, number) in enumerate(pairs)
    ]
    return jobs, f"; {small} pictures are too small" if small else ""


def _is_made(config: GenerateConfig, job: Job) -> bool:
    """Whether a scene is there; raises UserError where its place is taken by another."""
    path = _record_path(config, job.scene)
    if not path.is_file():
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    if (record["source"], record["number"]) != (job.source, job.number):
        raise UserError(
            f"{path} was made from {record['source']}, not from {job.source}: the pictures have "
            "changed, choose another --output_dir"
        )
    return True


def _record_path(config: GenerateConfig, scene: str) -> Path:
    return config.output_dir / "records" / f"{scene}.json"


def ratios(config: GenerateConfig) -> list[float]:
    """The exposure ratios of a configuration."""
    return list(config.ratios or RATIOS)


def _check(config: GenerateConfig) -> None:
    for name in ("blur", "exposure", "photons"):
        bounds = getattr(config, name)
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise UserError(
                f"--{name} is a range LEAST MOST of positive numbers, got "
                f"{' '.join(map(str, bounds))}"
            )
    if (
        config.kernel_size % 2 == 0
        or config.kernel_size < 5
        or config.blur[1] > config.kernel_size - 5
    ):
        raise UserError(
            f"--kernel_size {config.kernel_size} must be odd and above the longest blur of "
            f"{config.blur[1]:g} px by 5"
        )
    if (
        min(ratios(config)) < 1
        or not 0 <= config.still <= 1
        or config.read_noise < 0
        or config.n_images < 1
    ):
        raise UserError(
            "--ratios must be at least 1, --still within 0 .. 1, --read_noise not negative, "
            "--n_images at least 1"
        )
    if min(config.height, config.width) < 32 or not config.restorers:
        raise UserError(
            "shots are at least 32 px wide and high, and labels need at least one of --restorers"
        )
