"""Make exposure stacks of sharp pictures and videos, and label every shot.

The label of a shot is the quality that its restoration reached.
"""

import functools
import itertools
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
from data.fresh_shots import Scene, SceneDraw, log_uniform
from data.irp import file_name, write_labels
from data.irp_records import read_record, record_path
from data.photo_catalog import find_pictures, pictures_by_name
from data.sample import pictures_or_sample
from data.synthesis.exposure import frames_needed
from data.synthesis.masks import MaskSource, find_masks
from data.synthesis.stack import RATIOS, Exposure, brightened, encoded_noise, expose_video, sense
from methods.common.precision import exact
from methods.irp.config import GenerateConfig
from methods.irp.pictures import as_bright, new_curve
from methods.irp.restorers import Restorer, denoise, find_restorers, quality
from utils import distributed
from utils.config import keep_config
from utils.contact_sheet import contact_sheet_of_rows
from utils.errors import UserError
from utils.files import files_below, keep_apart, save_figure, write_table, write_text
from utils.image import image_size, is_image, read_8bit, read_image, write_image
from utils.progress import Progress
from utils.report import amount, spread
from utils.rounding import array_to_8bit
from utils.video import is_video

SHEET_ROWS = 8
SHEET_RATIOS = 6
FREE_OPTIONS = ("output_dir", "device", "precision")


class Job(NamedTuple):
    """A scene to make.

    scene: its name. origin: the picture or video that it comes from; source: the name of that.
    number: which of the scenes from there it is, from 0.
    """

    scene: str
    source: str
    origin: Path | Video
    number: int


def main(config: GenerateConfig) -> None:
    """Write what is not there yet.

    The main process also writes labels, contact_sheet.jpg and labels.png once all is there.
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
    cv2.setNumThreads(1)
    weights = [Path(name) for name in config.weights]
    precision = exact(config).precision
    restorers = find_restorers(config.restorers, weights, config.device, precision)
    masks = find_masks(config.mask_path, config.mask_kind)
    own_jobs = distributed.shard(jobs)
    made = 0
    for job in Progress(own_jobs, "stacks", unit="scene"):
        if not _is_made(config, job):
            _make(config, job, restorers, masks)
            made += 1
    print(
        f"{amount(made, 'scene')} made, {len(own_jobs) - made} already there: "
        f"{config.output_dir}{remark}"
    )
    missing = [job.scene for job in jobs if not record_path(config.output_dir, job.scene).is_file()]
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
    """Write SCENE/{ratio}.png, sharp/SCENE.png and, last, records/SCENE.json."""
    rng = np.random.default_rng((config.seed, zlib.crc32(job.source.encode()), job.number))
    sensor = _draw(config).sensor(rng)
    if isinstance(job.origin, Path):
        scene = _scene_of_picture(config, job, rng, masks)
    else:
        scene = _scene_of_video(config, job, rng)
    shots = []
    for ratio in ratios(config):
        exposure: Exposure = scene.expose(ratio=ratio)
        stored = sense(exposure.blurred_linear, ratio, sensor, rng)
        write_image(config.output_dir / job.scene / file_name(ratio), stored)
        bright = brightened(stored, ratio).clip(0, 1)
        noise = encoded_noise(sensor, ratio, float(exposure.blurred_linear.mean()))
        shots.append({"ratio": ratio, **_label(bright, noise, exposure, scene.sharp, restorers)})
    write_image(config.output_dir / "sharp" / f"{job.scene}.png", scene.sharp)
    record = {
        "scene": job.scene,
        "source": job.source,
        "number": job.number,
        **sensor._asdict(),
        **scene.metadata,
        "shots": shots,
    }
    write_text(record_path(config.output_dir, job.scene), json.dumps(record, indent=1) + "\n")


def _label(
    bright: np.ndarray,
    noise: float,
    exposure: Exposure,
    sharp: np.ndarray,
    restorers: dict[str, Restorer],
) -> dict[str, float]:
    """The label of a brightened shot, and the metrics that it is made from.

    {label, input_psnr, ..., NAME_quality}: of the shot itself and of each restorer's result.
    """
    denoised = denoise(bright, noise)
    metrics = {"input": quality(bright, sharp)}
    for name, restore in restorers.items():
        metrics[name] = quality(restore(denoised, noise, exposure), sharp)
    row = {"label": float(np.mean([metrics[name]["quality"] for name in restorers]))}
    for name, values in metrics.items():
        for metric, value in values.items():
            row[f"{name}_{metric}"] = value
    return row


def _scene_of_picture(
    config: GenerateConfig, job: Job, rng: np.random.Generator, masks: MaskSource
) -> Scene:
    picture = read_image(job.origin)
    name = str(job.origin.relative_to(config.data_path).with_suffix(""))
    objects = masks(name, picture).chosen(max_objects=config.max_objects)
    return _draw(config).scene(picture, objects.masks, (config.height, config.width), rng)


def _draw(config: GenerateConfig) -> SceneDraw:
    return SceneDraw(*(getattr(config, field.name) for field in fields(SceneDraw)))


def _scene_of_video(config: GenerateConfig, job: Job, rng: np.random.Generator) -> Scene:
    """Around a frame from the scene's part of the video."""
    video = job.origin.open()
    count = video.count or sum(1 for _ in video)
    exposure = log_uniform(rng, config.exposure)
    half = frames_needed(exposure) // 2
    usable = count - 2 * half  # frames with enough others around them
    if usable < config.n_images:
        raise UserError(
            f"{job.source} has {count} frames: an exposure of {exposure:.1f} needs "
            f"{2 * half + config.n_images}"
        )
    start = half + usable * job.number // config.n_images
    end = half + usable * (job.number + 1) // config.n_images
    middle = int(rng.integers(start, end))
    pixels = list(itertools.islice(video, middle - half, middle + half + 1))
    height, width = pixels[0].shape[:2]
    if height < config.height or width < config.width:
        raise UserError(
            f"{job.source} is {width}x{height}, smaller than the shots (--height, --width)"
        )
    top = int(rng.integers(height - config.height + 1))
    left = int(rng.integers(width - config.width + 1))
    window = np.s_[top : top + config.height, left : left + config.width]
    frames = [np.float32(frame[window]) / np.iinfo(frame.dtype).max for frame in pixels]
    expose = functools.partial(expose_video, frames, exposure, size=config.kernel_size)
    metadata = {"exposure": exposure, "frame": middle, "top": top, "left": left}
    return Scene(array_to_8bit(frames[half]), expose, metadata)


def _finish(config: GenerateConfig, scenes: list[str]) -> None:
    """Write labels and their parts, and pictures of them; print how well the restorers agree."""
    labels: dict[str, dict[float, float]] = {}
    sources = {}
    rows = []
    for scene in scenes:
        record = read_record(config.output_dir, scene)
        _check_shots(record, record_path(config.output_dir, scene), ratios(config), rows)
        sources[scene] = record["source"]
        labels[scene] = {}
        for shot in record["shots"]:
            labels[scene][shot["ratio"]] = shot["label"]
            rows.append({"scene": scene, "source": record["source"], **shot})
    write_labels(config.output_dir, labels, sources, config.seed)
    write_table(config.output_dir / "labels.csv", rows)
    print(_agreement(rows))
    sheet = dict(_sheet(config, labels))
    contact_sheet_of_rows(config.output_dir / "contact_sheet.jpg", sheet, width=240)
    _plot(config.output_dir / "labels.png", labels)
    print(f"look at {config.output_dir / 'contact_sheet.jpg'} and labels.png")


def _check_shots(record: dict, path: Path, expected: list[float], others: list[dict]) -> None:
    """Raises UserError for a record of other ratios, or of other values than `others` have."""
    shots = record["shots"]
    own = [shot["ratio"] for shot in shots]
    rows = [{"scene": "", "source": "", **shot} for shot in shots] + others
    if own != expected or any(row.keys() != rows[0].keys() for row in rows):
        raise UserError(
            f"{path} was made with other options, or it is damaged: delete it, and this command "
            "makes the scene anew"
        )


def _agreement(rows: list[dict]) -> str:
    """Spearman's correlation over all shots between the qualities of restorers and input."""
    names = [key.removesuffix("_quality") for key in rows[0] if key.endswith("_quality")]
    qualities = {}
    for name in names:
        qualities[name] = [row[f"{name}_quality"] for row in rows]
    lines = ["rank correlation of the qualities over all shots:"]
    for one, other in combinations(names, 2):
        value = spearmanr(qualities[one], qualities[other]).statistic
        lines.append(f"  {one} and {other}: {value:.3f}")
    return "\n".join(lines)


def _sheet(
    config: GenerateConfig, labels: dict[str, dict[float, float]]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """A row per scene: some of its shots, brightened, with ratio and label, and the sharp one."""
    for scene in spread(list(labels), SHEET_ROWS):
        best = max(labels[scene], key=labels[scene].get)
        shown = {}
        for ratio in _shown_ratios(ratios(config), best):
            star = " (best)" if ratio == best else ""
            pixels = read_8bit(config.output_dir / scene / file_name(ratio))
            shown[f"{ratio:g}: {labels[scene][ratio]:.3f}{star}"] = as_bright(pixels, ratio)
        shown["sharp"] = read_image(config.output_dir / "sharp" / f"{scene}.png")
        yield scene, shown


def _shown_ratios(available: list[float], best: float) -> list[float]:
    """At most SHEET_RATIOS of the ratios, evenly spread, the best among them."""
    shown = sorted({*spread(available, SHEET_RATIOS), best})
    if len(shown) > SHEET_RATIOS:
        others = [ratio for ratio in shown if ratio != best]
        shown.remove(others[len(others) // 2])
    return shown


def _plot(path: Path, labels: dict[str, dict[float, float]]) -> None:
    """Label against exposure ratio: a line per scene, and the mean."""
    figure, axes = new_curve("exposure ratio (the exposure is T / ratio)")
    steps = list(next(iter(labels.values())))
    curves = [list(scene.values()) for scene in labels.values()]
    alpha = max(0.08, 1 / len(curves))
    for curve in curves:
        axes.semilogx(steps, curve, color="tab:blue", alpha=alpha, linewidth=0.8)
    axes.semilogx(steps, np.mean(curves, 0), color="black", marker="o", label="mean")
    axes.set_xticks(steps, [f"{ratio:g}" for ratio in steps])
    axes.minorticks_off()
    axes.set(ylabel="label: quality after restoration", ylim=(0, 1))
    axes.legend()
    save_figure(path, figure)


def _jobs(config: GenerateConfig) -> tuple[list[Job], str]:
    """Scenes in the order of their sources, and a remark about what was left out."""
    existing_folder(config.data_path)
    sources: dict[str, Path | Video] = {}
    if config.source != "pictures":
        sources |= _videos(config)
    too_small = 0
    if config.source == "pictures" or (
        config.source == "auto" and any(map(is_image, files_below(config.data_path)))
    ):
        pictures, too_small = _pictures(config)
        sources |= pictures
    if not sources:
        find_pictures(config.data_path)  # says what is wrong with the folder
        raise UserError(
            f"{config.data_path}: all {too_small} pictures are too small for shots of "
            f"{config.width}x{config.height} px (--width, --height) "
            f"with a margin for kernels of {config.kernel_size} px (--kernel_size)"
        )
    jobs = []
    for source, origin in sources.items():
        for number in range(config.n_images):
            jobs.append(Job(f"scene{len(jobs) + 1}", source, origin, number))
    return jobs, f"; {too_small} pictures are too small" if too_small else ""


def _videos(config: GenerateConfig) -> dict[str, Video]:
    """The videos that the option --source means, by source name."""
    if config.source == "videos":
        videos = find_videos(config.data_path, "frames").videos
        return {f"video {video.name}": video for video in videos}
    found = {}
    for path in sorted(filter(is_video, files_below(config.data_path))):
        name = path.relative_to(config.data_path).with_suffix("")
        found[f"video {name}"] = Video(path.stem, file=path)
    return found


def _pictures(config: GenerateConfig) -> tuple[dict[str, Path], int]:
    """The pictures that are large enough for a shot, by name, and how many are not."""
    margin = 2 * (config.kernel_size // 2)
    large = {}
    too_small = 0
    for name, path in pictures_by_name(config.data_path).items():
        height, width = image_size(path)
        if height < config.height + margin or width < config.width + margin:
            too_small += 1
        else:
            large[name] = path
    return large, too_small


def _is_made(config: GenerateConfig, job: Job) -> bool:
    """Whether a scene is there; raises UserError where another has its name."""
    path = record_path(config.output_dir, job.scene)
    if not path.is_file():
        return False
    record = read_record(config.output_dir, job.scene)
    if (record["source"], record["number"]) != (job.source, job.number):
        raise UserError(
            f"{path} was made from {record['source']}, not from {job.source}: the pictures have "
            "changed, choose another --output_dir"
        )
    return True


def ratios(config: GenerateConfig) -> list[float]:
    """The exposure ratios of a configuration."""
    return list(config.ratios or RATIOS)


def _check(config: GenerateConfig) -> None:
    for name in ("blur", "exposure", "photons"):
        bounds = getattr(config, name)
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise UserError(
                f"--{name} is a range MIN MAX of positive numbers, got {' '.join(map(str, bounds))}"
            )
    size = config.kernel_size
    longest = config.blur[1]
    if size % 2 == 0 or size < 5 or longest > size - 5:
        raise UserError(
            f"--kernel_size {size} must be odd and above the longest blur of {longest:g} px by 5"
        )
    too_low = min(ratios(config)) < 1 or config.read_noise < 0 or config.n_images < 1
    if too_low or not 0 <= config.still <= 1:
        raise UserError(
            "--ratios must be at least 1, --still within 0 .. 1, --read_noise not negative, "
            "--n_images at least 1"
        )
    if min(config.height, config.width) < 32 or not config.restorers:
        raise UserError(
            "shots are at least 32 px wide and high, and labels need at least one of --restorers"
        )
