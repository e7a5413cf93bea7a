"""Restore picture files, or a video file frame by frame, with a single-image network."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from data.photo_catalog import Picture
from restoration.image import ImageRestorer
from restoration.run import Job, Results, Stopwatch, finish, finish_part, improvement, score
from restoration.scale import check_size
from restoration.video_result import VideoResult, video_target
from utils import distributed
from utils.errors import UserError, noting, raise_left_out
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Scores, Triple, read_truth
from utils.image import image_size, in_8bit, in_depth, read_8bit, to_tensor
from utils.photo import Photo, lost_in_jpeg, read_photo, write_photo
from utils.pipeline import Behind, ahead
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, amount, spread
from utils.video import VideoFile
from utils.video_part import VideoPart

QUICK = 1000  # so many headers are soon read


def run_pictures(
    job: Job, restorer: ImageRestorer, pictures: Sequence[Picture], deep: bool = False
) -> Scores | None:
    """Write OUTPUT_DIR/NAME.png or .jpg of every picture, score and report.

    Returns the scores, under torchrun in the first process; None without ground truth. deep:
    results have 16 bits whatever the input has, for protocols that compare unrounded values. Of
    many pictures without ground truth, damaged ones are left out: UserError names them when the
    others are done.
    """
    with distributed.only_run(job.output_dir, part=job.part):
        results = _restore_all(job, restorer, pictures, deep)
        if not distributed.is_main():
            return None
        if job.part:
            finish_part(job)
            raise_left_out(results.mistakes, len(pictures))
            return None
        scores = score(job, restorer, results)
        finish(job, restorer, results, scores)
    raise_left_out(results.mistakes, len(pictures))
    return scores


def run_frame_by_frame(job: Job, restorer: ImageRestorer, source: VideoFile | VideoPart) -> None:
    """Restore a video file into OUTPUT_DIR/NAME.mp4, each frame as a photo of its own."""
    target = video_target(job, source.path)
    if job.skip_existing and target.is_file():
        print(f"{target} exists, skipped")
        return
    with distributed.only_run(job.output_dir):
        results = _restore_frames(job, restorer, source)
        if not job.preview:
            results.videos.append((source.path, target))
        finish(job, restorer, results, None)


def restore_photo(restorer: ImageRestorer, photo: Photo, target: Path, deep: bool = False) -> None:
    """Write the restored photo as PNG with what it keeps; a bar shows the tiles of a large one.

    deep: with 16 bits whatever the photo has.
    """
    write_photo(target, *_restored(restorer, photo, deep))


def _restored(restorer: ImageRestorer, photo: Photo, deep: bool) -> tuple[Tensor, Photo]:
    """The restored image, and the photo as its writer is to take it."""
    tiles = restorer.count_tiles(photo.pixels.shape[:2])
    with Progress(total=tiles, unit="tile", leave=False, disable=tiles <= 1) as bar:
        restored = restorer.restore(to_tensor(photo.pixels), bar.update)
    if deep:  # the writer goes by the type of the photo's pixels
        photo = photo._replace(pixels=photo.pixels.astype(np.uint16))
    return restored, photo


def result_path(job: Job, picture: Picture) -> Path:
    """Where a picture's result goes."""
    return job.output_dir / f"{picture.name}.{job.format}"


def _restore_all(
    job: Job, restorer: ImageRestorer, pictures: Sequence[Picture], deep: bool
) -> Results:
    """Picture after picture; what is finished stays whatever happens later.

    Under torchrun every process restores its shard; pictures to show are of the own shard.
    """
    scored = [picture for picture in pictures if picture.sharp]
    results = Results(
        [Triple(one.name, result_path(job, one), one.sharp, one.blurry) for one in scored]
    )
    shard = distributed.shard(job.own_part(pictures))
    shown = {picture.name for picture in spread(shard, MAX_PANELS)}
    mistakes: list[str] = []
    lost: Counter[str] = Counter()
    watch = Stopwatch("picture", restorer.device)
    with (
        distributed.synchronized(),
        Progress(total=len(shard), unit="picture", estimates=True, sizes=_sizes(shard)) as bar,
    ):
        photos = ahead(
            _photos(job, restorer, shard, several=len(pictures) > 1), depth=1
        )  # may be large
        with Behind(partial(write_photo, quality=job.quality), depth=1) as write:
            for picture, photo, mistake in photos:
                mistakes.append(mistake)
                if photo:
                    restored = _restored(restorer, photo, deep)
                    write(result_path(job, picture), *restored)
                    if job.format == "jpg":
                        lost.update(lost_in_jpeg(photo))
                    watch.done += 1
                    bar.update()
                else:
                    bar.skip()
        for picture, mistake in zip(shard, mistakes):
            if picture.name in shown and not mistake:
                target = result_path(job, picture)
                results.examples.append(_example(picture, target))
        results.mistakes = list(filter(None, distributed.all_gather(mistakes)))
    results.speed = watch.sentence()
    results.seconds = watch.seconds_each
    if results.speed:
        print(f"restored {results.speed}")
    for what, count in lost.items():
        print(f"note: not kept in JPEG files: {what}, of {amount(count, 'picture')}")
    tiles = max((restorer.count_tiles(image_size(picture.blurry)) for picture in scored), default=1)
    results.tiles = f"up to {tiles}" if tiles > 1 else "whole pictures"
    if tiles > 1:
        print(f"note: pictures are restored in tiles, {results.tiles} each")
    return results


def _sizes(pictures: Sequence[Picture]) -> list[int]:
    """How many pixels the pictures have; [] where it takes long to tell."""
    paths = [picture.blurry for picture in pictures]
    if len(paths) > QUICK or any(path.suffix.lower() in (".tif", ".tiff") for path in paths):
        return []
    try:
        return [math.prod(image_size(path)) for path in paths]
    except UserError:
        return []  # of a damaged one, which is told later


def _photos(
    job: Job, restorer: ImageRestorer, pictures: Sequence[Picture], several: bool
) -> Iterator[tuple[Picture, Photo | None, str]]:
    """(picture, its photo or None, what is wrong with it or ""); None also where it is skipped.

    several: a damaged picture without ground truth is left out, else UserError is raised.
    """
    for picture in pictures:
        mistakes: list[str] = []
        photo = None
        with noting(mistakes, not picture.sharp and several):
            if not (job.skip_existing and result_path(job, picture).is_file()):
                photo = read_photo(picture.blurry)
                check_size(restorer.scale, photo.pixels.shape[:2], picture.blurry)
        yield picture, photo, mistakes[0]


def _restore_frames(job: Job, restorer: ImageRestorer, source: VideoFile | VideoPart) -> Results:
    results = Results()
    watch = Stopwatch("frame", restorer.device)
    with (
        VideoResult(job, restorer, source, restorer.tile_of(source.size)) as result,
        Behind(result.write) as write,
        Progress(total=source.count, unit="frame", estimates=True) as bar,
    ):
        done = result.frames
        bar.skip(done)
        shown = set(spread(range(done, max(source.count or MAX_PANELS * 30, done)), MAX_PANELS))
        for index, (timestamp, duration, pixels) in enumerate(ahead(source.timed_from(done)), done):
            restored = in_depth(restorer.restore(to_tensor(pixels)), pixels.dtype)
            write(pixels, restored, timestamp, duration)
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
