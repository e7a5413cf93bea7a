"""Restore videos, files or folders of frames, with a video network."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from data.catalog import Video
from restoration.recent import Recent
from restoration.run import Job, Results, Stopwatch, finish, finish_part, improvement, score
from restoration.video import VideoRestorer
from restoration.video_result import VideoResult, video_target
from utils import distributed
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Scores, Triple
from utils.image import in_8bit, in_depth, read_8bit, read_image, to_8bit, to_16bit, to_tensor
from utils.pipeline import Behind, ahead
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, flow_picture, spread
from utils.video import FrameFolder, VideoFile
from utils.video_part import VideoPart
from utils.video_writer import FolderWriter

STAGE_PROTOCOL = PROTOCOLS["cdvd"]  # of the PSNR of stages before the last, and beside pictures


def run_videos(
    job: Job, restorer: VideoRestorer, videos: Sequence[Video], border: bool
) -> Scores | None:
    """Write OUTPUT_DIR/VIDEO/FRAME.png, or .jpg (of a file VIDEO.mp4), score, and report.

    border: also restore and score the first and last frames, that have too few neighbours of their
    own. Returns the scores, under torchrun in the first process.
    """
    left_out = 0
    windows = bool(job.protocol) and PROTOCOLS[job.protocol].windows
    if job.protocol and (windows or not border):
        left_out = PROTOCOLS[job.protocol].video_ends
        left_out = left_out and max(left_out, restorer.network.lost)
        border = not left_out
    with distributed.only_run(job.output_dir, part=job.part):
        results = _restore_all(job, restorer, videos, border, left_out)
        if not distributed.is_main():
            return None
        if job.part:
            finish_part(job)
            return None
        if not job.protocol:
            print("no ground truth, so no metrics were computed")
        if windows and not results.triples:
            raise UserError(
                f"no video has the {job.window + 2 * left_out} frames of a window: give a smaller "
                "--window"
            )
        scores = score(job, restorer, results)
        if scores and results.details:
            results.details = [_stage_sentence(results.details, scores)]
        finish(job, restorer, results, scores)
    return scores


def window_frames(count: int, length: int, margin: int) -> range:
    """The frames of a video that whole windows restore, see VideoRestorer.windows."""
    return range(margin, margin + max(count - 2 * margin, 0) // length * length)


def scored_frames(count: int, ends: int) -> range:
    """The frames that are scored of a video: all but `ends` at each end, or all of a short one."""
    return range(ends, count - ends) if count > 2 * ends else range(count)


def _restore_all(
    job: Job, restorer: VideoRestorer, videos: Sequence[Video], border: bool, left_out: int
) -> Results:
    """Video after video; what is finished stays whatever happens later.

    left_out: frames at each end of a video that will not be scored (see scored_frames). Under
    torchrun every process restores its shard; frames to show and figures of stages are of the own.
    """
    remark = restorer.network.stream_remark
    if remark and distributed.is_main() and not (job.protocol and PROTOCOLS[job.protocol].windows):
        print(f"note: {remark}")
    shard = distributed.shard(_parts(job, job.own_part(videos), restorer))
    shown = max(MAX_PANELS // len(videos), 1)
    with distributed.synchronized():
        with Progress(total=_total(shard, job), unit="frame", estimates=True) as bar:
            work = _Restoration(job, restorer, border, left_out, shown, bar)
            for video, frames in shard:
                if video.file:
                    work.file(video)
                else:
                    work.folder(video, frames)
        results = Results(
            examples=work.examples,
            speed=work.watch.sentence(),
            seconds=work.watch.seconds_each,
            tiles="whole frames",
            videos=[
                (one.file, video_target(job, one.file))
                for one, _ in shard
                if one.file and not job.preview
            ],
        )
        results.triples = distributed.all_gather(work.triples)
        results.remark = "; ".join(distributed.all_gather(work.remarks))
    names = (f"{video.name}/{path.stem}" for video in videos for path in video.blurry)
    order = {name: index for index, name in enumerate(names)}
    results.triples.sort(key=lambda triple: order[triple.name])
    if work.stage_psnr and distributed.world() == 1:  # else they are of the own shard alone
        results.details = [
            f"stage {stage} {np.mean(values):.2f} dB"
            for stage, values in sorted(work.stage_psnr.items())
        ]
    if results.speed:
        print(f"restored {results.speed}")
    return results


@dataclass
class _Restoration:
    """Restores one video after another.

    stage_psnr: {stage: PSNR of its results for the scored frames}, of the stages before the last.
    """

    job: Job
    restorer: VideoRestorer
    border: bool
    left_out: int
    shown: int  # frames to show of each video
    bar: Progress
    triples: list[Triple] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    stage_psnr: dict[int, list[float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)  # on memory

    def __post_init__(self) -> None:
        self.watch = Stopwatch("frame", self.restorer.device)
        self.lost = self.restorer.network.lost
        protocol = PROTOCOLS.get(self.job.protocol or "")
        self.windows = bool(protocol and protocol.windows)
        # 16 bits for protocols that compare unrounded values
        self.deep = bool(protocol and protocol.windows)

    def folder(self, video: Video, frames: range | None = None) -> None:
        """Frames as picture files; frames: indices of those to restore, None for all."""
        count = len(video.blurry)
        indices, scored = self._frames(count)
        span = _Span(indices, indices, range(count), ends=len(indices) == count)
        if frames is not None:
            span = _span(indices, frames, count, self.restorer.network.context)
        names = [video.blurry[index].stem for index in span.indices]
        folder = self.job.output_dir / video.name
        writer = FolderWriter(folder, names, self.job.format, self.job.quality)
        if video.sharp:
            self._note_scored(video, zip(span.indices, writer.paths), scored)
        if reason := self._why_skipped(count, writer):
            self.bar.write(f"{video.name}: {reason}")
            self.bar.skip(len(frames or video.blurry))
            return
        if count == 1:
            self.bar.write(
                f"{video.name}: a single frame, restored as a still (its own copies stand for the "
                "neighbours)"
            )
        self._plan_memory(video, FrameFolder(video.blurry).size)
        self._restore_folder(video, span, writer, scored)

    def _restore_folder(
        self, video: Video, span: "_Span", writer: FolderWriter, scored: range
    ) -> None:
        def observe(stage: int, index: int, frame: Tensor) -> None:
            if index in scored:
                sharp = read_image(video.sharp[index])
                figure = STAGE_PROTOCOL.psnr(to_8bit(frame), sharp)
                self.stage_psnr.setdefault(stage, []).append(figure)

        source = FrameFolder(video.blurry[span.read.start : span.read.stop])
        recent = Recent(ahead(enumerate(source)), span.read.start)
        if self.windows:
            window = self.job.window
            restored = self.restorer.windows(recent, window, self.left_out, self.bar.update)
        else:
            whole = len(span.read) == len(video.blurry)
            watched = observe if video.sharp and whole else None
            # a data set's videos are one scene each, as their protocols take them
            cuts = not video.sharp
            restored = self.restorer.stream(recent, span.ends, watched, self.bar.update, cuts)
        shown = set(spread(span.indices, self.shown))
        with Behind(writer.write) as write:
            for index, frame in zip(span.given, restored, strict=True):
                recent.forget_before(index)
                if index not in span.indices:
                    continue
                pixels = to_8bit(frame)
                write(to_16bit(frame) if self.deep else pixels)
                self.watch.done += 1
                if index in shown:
                    name = f"{video.name}/{video.blurry[index].stem}"
                    sharp = read_8bit(video.sharp[index]) if video.sharp else None
                    example = _example(self.restorer, name, recent, index, pixels, sharp)
                    self.examples.append(example)

    def _note_scored(
        self, video: Video, results: Iterable[tuple[int, Path]], scored: range
    ) -> None:
        """Remember those of a video's results (frame index, file) that will be scored."""
        for index, path in results:
            if index in scored:
                name = f"{video.name}/{path.stem}"
                files = (path, video.sharp[index], video.blurry[index])
                self.triples.append(Triple(name, *files))

    def _why_skipped(self, count: int, writer: FolderWriter) -> str:
        """Why nothing is restored of a video of so many frames; "" if something is."""
        if not writer.paths:
            needed = self.job.window + 2 * self.left_out
            return f"left out, as its {count} frames are fewer than the {needed} of a window"
        if self.job.skip_existing and all(path.is_file() for path in writer.paths):
            return f"all {len(writer.paths)} results exist, skipped"
        return ""

    def _frames(self, count: int) -> tuple[range, range]:
        """(those of a video's frames that are restored, those that are scored)."""
        if self.windows:
            frames = window_frames(count, self.job.window, self.left_out)
            return frames, frames
        scored = scored_frames(count, self.left_out)
        border = self.border or count <= 2 * max(self.lost, self.left_out)  # too short: all of it
        return (range(count) if border else range(self.lost, count - self.lost)), scored

    def file(self, video: Video) -> None:
        """A video file, with its frame times and sound."""
        source = self.job.opened(video.file)
        target = video_target(self.job, video.file)
        if self.job.skip_existing and target.is_file():
            self.bar.write(f"{video.name}: {target} exists, skipped")
            self.bar.skip(source.count or 0)
            return
        self._plan_memory(video, source.size)
        border = self.border or (source.count or 2 * self.lost + 1) < 2 * self.lost + 1
        first = 0 if border else self.lost
        tile = self.restorer.network.tile
        with (
            VideoResult(self.job, self.restorer, source, tile, border) as result,
            Behind(result.write) as write,
        ):
            following = first + result.frames  # the next frame to restore
            start = self._resumed(video, source, following) if result.frames else 0
            recent = Recent(ahead(_keyed(source, start)), start, following)
            restored = self.restorer.stream(
                recent,
                border,
                progress=self.bar.update,
                cuts=True,
                skip=following - start if result.frames else None,
            )
            self.bar.skip(result.frames)
            last = max((source.count or 300) - first, following)
            shown = set(spread(range(following, last), self.shown))
            for index, frame in enumerate(restored, following):
                recent.forget_before(index)
                before = recent.pixels[index]
                pixels = in_depth(frame, before.dtype)
                write(before, pixels, *recent.keys[index])
                self.watch.done += 1
                if index in shown:
                    name = f"{video.name}, frame {index}"
                    pixels = in_8bit(pixels)
                    self.examples.append(_example(self.restorer, name, recent, index, pixels))

    def _resumed(self, video: Video, source: VideoFile | VideoPart, following: int) -> int:
        """The first frame to read of an interrupted video that goes on with frame `following`."""
        start = self.restorer.scene_start(map(to_tensor, ahead(source)), following)
        if self.restorer.network.first_needed(following - start) is None:
            self.bar.write(
                f"note: {video.name}: each result follows from all frames of its scene, so those "
                f"from frame {start} on are computed once more"
            )
        return start

    def _plan_memory(self, video: Video, size: tuple[int, int]) -> None:
        try:
            remark = self.restorer.plan_memory(size)
        except UserError as error:
            raise UserError(f"{video.name}: {error}") from None
        if remark:
            self.remarks.append(f"{video.name}: {remark}")
            self.bar.write(self.remarks[-1])


def _keyed(
    source: VideoFile | VideoPart, start: int
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """((timestamp, duration), pixels) of every frame from an index on."""
    for timestamp, duration, pixels in source.timed_from(start):
        yield (timestamp, duration), pixels


class _Span(NamedTuple):
    """Indices of a video's frames: whose results are wanted, which are given, and what is read.

    ends: whether results are given of the first and last frames that are read.
    """

    indices: range
    given: range
    read: range
    ends: bool


def _span(indices: range, frames: range, count: int, context: int) -> _Span:
    """What is restored of a range of a video's `count` frames, of which `indices` are wanted.

    It is read with `context` frames more on each side; results for its ends are given, too, and not
    wanted where they are not the video's.
    """
    wanted = range(max(indices.start, frames.start), min(indices.stop, frames.stop))
    read = range(max(wanted.start - context, 0), min(wanted.stop + context, count))
    return _Span(wanted, read, read, ends=True)


def _example(
    restorer: VideoRestorer,
    name: str,
    recent: Recent,
    index: int,
    restored: np.ndarray,
    sharp: np.ndarray | None = None,
) -> Example:
    """A frame to show, with what the network shows of it and its neighbours."""
    blurry = recent.pixels[index]
    around = [recent.pixels.get(other, blurry) for other in (index - 1, index, index + 1)]
    example = Example(name, in_8bit(blurry), restored, sharp)
    for label, values in restorer.previews([to_tensor(pixels) for pixels in around]).items():
        if len(values) == 2:
            length = np.median(np.hypot(*values.numpy()))
            example.extras[f"{label}, median {length:.1f} px"] = flow_picture(values.numpy())
        else:
            example.extras[label] = to_8bit(values)
    if sharp is not None:
        example.words = improvement(STAGE_PROTOCOL, blurry, restored, sharp)
    return example


def _stage_sentence(stages: list[str], scores: Scores) -> str:
    return (
        f"PSNR by stage: input {scores.input_mean['psnr']:.2f} dB, {', '.join(stages)}, final "
        f"{scores.mean['psnr']:.2f} dB"
    )


def _total(parts: Sequence[tuple[Video, range | None]], job: Job) -> int | None:
    """Frames of the parts together, None where a header does not say."""
    counts = []
    for video, frames in parts:
        count = job.opened(video.file).count if video.file else len(frames or video.blurry)
        counts.append(count)
    return sum(counts) if all(counts) else None


def _parts(
    job: Job, videos: Sequence[Video], restorer: VideoRestorer
) -> list[tuple[Video, range | None]]:
    """The videos, cut into ranges of frames where there are more processes than videos.

    Folders of frames are cut, where the network's results need no more than a few neighbours.
    """
    pieces = -(-distributed.world() // max(len(videos), 1))
    if pieces == 1:
        return [(video, None) for video in videos]
    windows = job.protocol and PROTOCOLS[job.protocol].windows
    local = restorer.network.is_local and restorer.scale == 1  # others see whole segments
    if not local or windows or any(video.file for video in videos):
        print(
            "note: there are more processes than videos, and some have nothing to do: only folders "
            "of frames are cut into parts, at --scale 1 and for networks whose results need few "
            "neighbours"
        )
        return [(video, None) for video in videos]
    parts: list[tuple[Video, range | None]] = []
    for video in videos:
        bounds = [len(video.blurry) * piece // pieces for piece in range(pieces + 1)]
        parts += [(video, range(*ends)) for ends in itertools.pairwise(bounds)]
    return parts
