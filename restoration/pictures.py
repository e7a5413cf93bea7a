"""Restore picture files, or a video file frame by frame, with a single-image network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.photo_catalog import Picture
from restoration.image import ImageRestorer
from restoration.run import Job, Results, Stopwatch, finish, improvement, score
from restoration.scale import check_size
from utils import distributed
from utils.errors import noting, raise_left_out
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Scores, Triple, read_truth
from utils.image import image_size, in_8bit, in_depth, read_8bit, to_tensor
from utils.photo import Photo, read_photo, write_photo
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, amount, spread
from utils.video import VideoFile
from utils.video_writer import VideoWriter


def run_pictures(
    job: Job, restorer: ImageRestorer, pictures: Sequence[Picture], deep: bool = False
) -> Scores | None:
    """Write OUTPUT_DIR/NAME.png of every picture, score where there is ground truth, and report.

    Returns the scores, under torchrun in the first process. deep: results have 16 bits whatever the
    input has, for protocols that compare unrounded values. Of many pictures without ground truth,
    damaged ones are left out: UserError names them when the others are done.
    """
    with distributed.only_run(job.output_dir):
        results = _restore_all(job, restorer, pictures, deep)
        if not distributed.is_main():
            return None
        scores = score(job, restorer, results)
        finish(job, restorer, results, scores)
    raise_left_out(results.mistakes, len(pictures))
    return scores


def run_frame_by_frame(job: Job, restorer: ImageRestorer, source: VideoFile) -> None:
    """Restore a video file into OUTPUT_DIR/NAME.mp4, each frame as a photo of its own."""
    target = video_target(job, source.path)
    if job.skip_existing and target.is_file():
        print(f"{target} exists, skipped")
        return
    with distributed.only_run(job.output_dir):
        results = _restore_frames(job, restorer, source, target)
        finish(job, restorer, results, None)


def restore_photo(restorer: ImageRestorer, photo: Photo, target: Path, deep: bool = False) -> None:
    """Write the restored photo as PNG with what it keeps; a bar shows the tiles of a large one.

    deep: with 16 bits whatever the photo has.
    """
    tiles = restorer.count_tiles(photo.pixels.shape[:2])
    with Progress(total=tiles, unit="tile", leave=False, disable=tiles <= 1) as bar:
        restored = restorer.restore(to_tensor(photo.pixels), bar.update)
    if deep:  # the writer goes by the type of the photo's pixels
        photo = photo._replace(pixels=photo.pixels.astype(np.uint16))
    write_photo(target, restored, photo)


def result_path(output_dir: Path, picture: Picture) -> Path:
    """Where a picture's result goes."""
    return output_dir / f"{picture.name}.png"


def video_target(job: Job, source: Path) -> Path:
    """Where a video file's result goes."""
    return job.output_dir / f"{source.stem}{'.mkv' if job.lossless else '.mp4'}"


def _restore_all(
    job: Job, restorer: ImageRestorer, pictures: Sequence[Picture], deep: bool
) -> Results:
    """Picture after picture; what is finished stays whatever happens later.

    Under torchrun every process restores its shard; pictures to show are of the own shard.
    """
    results = Results()
    for picture in pictures:
        target = result_path(job.output_dir, picture)
        if picture.sharp:
            results.triples.append(Triple(picture.name, target, picture.sharp, picture.blurry))
    scored = [picture for picture in pictures if picture.sharp]
    shard = distributed.shard(list(pictures))
    shown = {picture.name for picture in spread(shard, MAX_PANELS)}
    mistakes: list[str] = []
    tiled: list[str] = []  # names of pictures
    watch = Stopwatch("picture", restorer.device)
    with distributed.synchronized(), Progress(total=len(shard), unit="picture") as bar:
        for picture in shard:
            target = result_path(job.output_dir, picture)
            skipped = job.skip_existing and target.is_file()
            photo = None
            with noting(mistakes, not picture.sharp and len(pictures) > 1):
                if not skipped:
                    photo = read_photo(picture.blurry)
                    check_size(restorer.scale, photo.pixels.shape[:2], picture.blurry)
            if photo:
                restore_photo(restorer, photo, target, deep)
                if restorer.count_tiles(photo.pixels.shape[:2]) > 1:
                    tiled.append(picture.name)
                watch.done += 1
            if picture.name in shown and not mistakes[-1]:
                results.examples.append(_example(picture, target))
            bar.update()
        results.mistakes = list(filter(None, distributed.all_gather(mistakes)))
        results.remark = _tiling_remark(restorer, distributed.all_gather(tiled), len(pictures))
    results.speed = watch.sentence()
    results.seconds = watch.seconds_each
    if results.speed:
        print(f"restored {results.speed}")
    tiles = max((restorer.count_tiles(image_size(picture.blurry)) for picture in scored), default=1)
    results.tiles = f"up to {tiles}" if tiles > 1 else "whole pictures"
    return results


def _tiling_remark(restorer: ImageRestorer, tiled: list[str], count: int) -> str:
    """Says that results are of tiles, which are not those of whole pictures; "" where none are."""
    if not tiled:
        return ""
    reason = "" if restorer.tile else ", as whole ones need more memory than is free"
    remark = f"{len(tiled)} of {amount(count, 'picture')} restored in tiles{reason}"
    print(f"note: {remark}")
    return remark


def _restore_frames(job: Job, restorer: ImageRestorer, source: VideoFile, target: Path) -> Results:
    results = Results()
    watch = Stopwatch("frame", restorer.device)
    shown = set(spread(range(source.count or MAX_PANELS * 30), MAX_PANELS))
    with (
        VideoWriter(target, source, job.lossless) as writer,
        Progress(total=source.count, unit="frame") as bar,
    ):
        for index, (timestamp, duration, pixels) in enumerate(source.timed()):
            restored = in_depth(restorer.restore(to_tensor(pixels)), pixels.dtype)
            writer.write(restored, timestamp, duration)
            watch.done += 1
            if index in shown:
                name = f"{source.path.stem}, frame {index}"
                results.examples.append(Example(name, in_8bit(pixels), in_8bit(restored)))
            bar.update()
    results.speed = watch.sentence()
    print(
        f"restored {results.speed}; frame by frame: for video `inference.py video_deblur` also "
        "uses the neighbouring frames"
    )
    return results


def _example(picture: Picture, result: Path) -> Example:
    blurry = read_8bit(picture.blurry)
    restored = read_8bit(result)
    example = Example(picture.name, blurry, restored)
    if picture.sharp is None or not picture.sharp.is_file() or picture.sharp.suffix == ".mat":
        return example
    sharp = in_8bit(read_truth(picture.sharp)[0])
    if sharp.shape != restored.shape:
        return example
    example.sharp = sharp
    example.words = improvement(PROTOCOLS["image"], blurry, restored, sharp)
    return example
