"""Restore videos with CDVD-TSP: `load` a network, `predict` frame by frame, `main` reads, writes
and reports.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.catalog import Video, Videos, find_videos
from data.sample import sample_folder
from methods.video_deblur.config import InferenceConfig, TestConfig
from models import find, load_network
from models.cdvd_tsp import CDVDTSP, TILE_OVERLAP
from models.nafnet import NAFNet
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.device import (
    arithmetic,
    available_memory,
    choose_device,
    choose_precision,
    each_in_inference,
    prepare_memory,
)
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Scores, Triple, score_files
from utils.evaluation.tables import paper_row
from utils.files import write_text
from utils.image import in_8bit, read_8bit, read_image, to_8bit, to_tensor
from utils.progress import Progress
from utils.report import (
    MAX_PANELS,
    Example,
    amount,
    contact_sheet,
    flow_picture,
    spread,
    write_report,
)
from utils.tiling import MEMORY_FRACTION, pad_to_multiple, tile_for
from utils.video import FolderWriter, FrameFolder, VideoFile, VideoWriter

TABLES = Path(__file__).with_name("tables.yaml")
PUBLISHED_WEIGHTS = {"DVD": "CDVD_TSP_DVD_Convergent.pt", "GOPRO": "CDVD_TSP_GOPRO.pt"}
SHIPPED_WEIGHTS = "cdvd_tsp.safetensors"


@dataclass(frozen=True)
class Predictor:
    """A network on its device, and the file it came from."""

    network: CDVDTSP
    device: torch.device
    dtype: torch.dtype
    weights: Path


@dataclass(frozen=True)
class Job:
    """What a command line asks for: videos, where results go, which weights."""

    data_path: Path
    found: Videos
    output_dir: Path
    weights: Path


@dataclass
class Restored:
    """What restoring gave: per video its written frames as (index, file), frames to show, and PSNR
    by stage where truth is known.
    """

    frames: dict[str, list[tuple[int, Path]]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    stage_psnr: dict[int, list[float]] = field(default_factory=dict)
    speed: str = ""


def main(config: InferenceConfig) -> Scores | None:
    """Restore every video into OUTPUT_DIR (VIDEO/FRAME.png, or VIDEO.mp4 for a file); with ground
    truth also score the frames.
    """
    job = plan(config)
    has_truth = all(video.sharp for video in job.found.videos)
    border = config.border if config.border is not None else not has_truth
    return run_job(config, job, border, "cdvd" if has_truth else None, config.lossless)


def run_job(
    config: InferenceConfig | TestConfig,
    job: Job,
    border: bool,
    protocol: str | None,
    lossless: bool = False,
) -> Scores | None:
    """Restore, score by a protocol (None: there is no ground truth) and report; returns the scores,
    under torchrun in the first process.
    """
    predictor = load(config)
    left_out = PROTOCOLS[protocol].video_ends if protocol else 0
    ends = max(left_out, predictor.network.stages) if left_out and not border else 0
    border = border or bool(protocol) and not ends
    with distributed.only_run(job.output_dir):
        restored = restore_all(predictor, job, border, config.skip_existing, lossless, ends)
        if not distributed.is_main():
            return None
        write_text(job.output_dir / "config.yaml", to_yaml(config))
        scores = score_job(predictor, job, restored, protocol, ends) if protocol else None
        if not scores:
            print("no ground truth, so no metrics were computed")
        finish(job, restored, scores, config.report)
    return scores


def load(config: InferenceConfig | TestConfig) -> Predictor:
    """The network that the configuration's weights describe, on its device."""
    device = choose_device(config.device)
    prepare_memory(device)
    weights = chosen_weights(config)
    network = load_network(weights, CDVDTSP).to(device, memory_format=torch.channels_last)
    if isinstance(network.reconstruction, NAFNet):
        network.reconstruction.use_local_statistics()
    if config.compile:
        network.reconstruction = torch.compile(network.reconstruction)
    precision = (
        "fp32" if config.default_data and config.precision == "auto" else config.precision
    )  # as published
    return Predictor(network, device, choose_precision(precision, device), weights)


def predict(
    predictor: Predictor,
    frames: Iterable[Tensor],
    border: bool = True,
    progress: Callable[[], object] | None = None,
    observe: Callable[[int, Tensor], object] | None = None,
) -> Iterator[Tensor]:
    """Restored frames [3,H,W] float32 on the CPU, in order, of a video given as frames [3,H,W] in
    [0,1] of one size.

    border: also the first and last T frames, whose missing neighbours are the video's first T and
    last T frames once more (as published); without it 2T fewer frames come out. A few frames are
    held in memory, however long the video. progress is called per frame; observe(stage, frame
    [3,H,W]) with the results of every stage before the last.
    """
    network, size = predictor.network, None

    def padded() -> Iterator[Tensor]:
        nonlocal size
        for frame in extended(frames, network.stages) if border else frames:
            size = size or frame.shape[-2:]
            if frame.shape[-2:] != size:
                raise UserError(
                    f"frames of different sizes: {tuple(frame.shape[-2:])} after {tuple(size)} "
                    "(height, width)"
                )
            frame = pad_to_multiple(frame[None], network.multiple).to(predictor.device)
            yield frame.contiguous(memory_format=torch.channels_last)

    def cut(frame: Tensor) -> Tensor:
        return frame[0, :, : size[0], : size[1]].float().cpu()

    def watch(stage: int, frame: Tensor) -> None:
        if stage < network.stages:
            observe(stage, cut(frame))

    stream = network.stream(padded(), watch if observe else None)
    for restored in each_in_inference(map(cut, stream), predictor.device, predictor.dtype):
        yield restored
        if progress:
            progress()


def extended(frames: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """The frames with the first `count` put before them once more, in order, and the last `count`
    after them.
    """
    frames = iter(frames)
    first = list(itertools.islice(frames, count))
    if not first:
        return
    yield from first + first[-1:] * (count - len(first))
    last: deque[Tensor] = deque(maxlen=count)
    for frame in itertools.chain(first, frames):
        last.append(frame)
        yield frame
    yield from last
    yield from [last[-1]] * (count - len(last))


def fit_memory(predictor: Predictor, size: tuple[int, int], name: str) -> None:
    """Let the reconstruction work in tiles if frames of `size` (height, width) need more memory
    than is free.

    Raises UserError with the largest size that fits if the flow alone, which sees whole frames,
    needs more.
    """
    network, available = predictor.network, available_memory(predictor.device)
    flow, network.tile = network.stream_bytes_per_pixel * size[0] * size[1], 0
    left = None if available is None else available - flow / MEMORY_FRACTION
    try:
        tile = tile_for(
            size, network.reconstruction_bytes_per_pixel, left, TILE_OVERLAP, network.multiple
        )
    except UserError:
        scale = (available * MEMORY_FRACTION / flow) ** 0.5
        raise UserError(
            f"{name}: frames of {size[1]}x{size[0]} need about {flow / 2**30:.1f} GB for the "
            f"flow alone, {available / 2**30:.1f} GB are "
            f"free on {predictor.device}; the largest size of this shape that fits is about "
            f"{int(size[1] * scale)}x{int(size[0] * scale)}"
        ) from None
    if tile < max(size):
        network.tile = tile
        print(
            f"{name}: frames of {size[1]}x{size[0]} are restored in tiles of {tile} px, as "
            f"{available / 2**30:.1f} GB are free"
        )


def plan(config: InferenceConfig | TestConfig) -> Job:
    """The videos and folders that a configuration means; raises UserError before anything is
    computed.
    """
    data_path, output_dir = config.data_path, config.output_dir or ROOT / "infer_results"
    if config.default_data:
        data_path = data_path or ROOT / "dataset" / config.default_data / "test"
        output_dir = config.output_dir or ROOT / "infer_results" / config.default_data
    elif data_path is None:
        data_path = sample_folder()
        output_dir = config.output_dir or ROOT / "infer_results" / "sample"
        print(f"no --data_path: the embedded sample {data_path}")
    found = find_videos(
        data_path, config.layout, config.gopro_blur, need_sharp=isinstance(config, TestConfig)
    )
    for video in found.videos:
        folder = output_dir if video.file else output_dir / video.name
        if folder.resolve() in {
            path.parent.resolve()
            for path in (*video.blurry, *video.sharp, *([video.file] if video.file else []))
        }:
            raise UserError(
                f"results of {video.name} would overwrite its own frames in {folder}: choose "
                "another --output_dir"
            )
    blur = f", blurry folder {config.gopro_blur}" if found.layout == "gopro" else ""
    remark = f" ({found.remark})" if found.remark else ""
    frames = sum(len(video.blurry) for video in found.videos)
    counted = f"{amount(frames, 'frame')}, layout {found.layout}{blur}" if frames else "as files"
    print(f"{amount(len(found.videos), 'video')}, {counted}{remark}")
    return Job(data_path, found, output_dir, chosen_weights(config))


def chosen_weights(config: InferenceConfig | TestConfig) -> Path:
    """The weights file that the options mean."""
    if config.weights:
        return find(config.weights)
    return find(PUBLISHED_WEIGHTS[config.default_data] if config.default_data else SHIPPED_WEIGHTS)


def restore_all(
    predictor: Predictor,
    job: Job,
    border: bool,
    skip_existing: bool,
    lossless: bool = False,
    ends: int = 0,
) -> Restored:
    """Write every video's restored frames, video after video; what is finished stays whatever
    happens later.

    border: also the first and last T frames. ends: frames at both ends of a video that will not be
    scored (see scored_frames). Under torchrun every process restores its share of the videos; what
    they wrote is known to all, frames to show only of the own share.
    """
    result, started = Restored(), time.monotonic()
    share = distributed.shard(list(job.found.videos))
    with distributed.synchronized():
        with Progress(total=_total(share), unit="frame") as bar:
            work = _Restoration(predictor, job, border, skip_existing, lossless, ends, result, bar)
            done = sum(work.file(video) if video.file else work.folder(video) for video in share)
        result.frames = dict(distributed.all_gather(list(result.frames.items())))
    if done:
        seconds = time.monotonic() - started
        result.speed = (
            f"{amount(done, 'frame')} in {seconds:.1f} s, {done / seconds:.2f} "
            f"frames/s with reading and writing ({predictor.device})"
        )
        print(f"restored {result.speed}")
    return result


@dataclass
class _Restoration:
    """Restores one video after another; `folder` and `file` return how many frames they wrote."""

    predictor: Predictor
    job: Job
    border: bool
    skip_existing: bool
    lossless: bool
    ends: int
    result: Restored
    bar: Progress

    def folder(self, video: Video) -> int:
        stages, count = self.predictor.network.stages, len(video.blurry)
        border = self.border or count <= 2 * max(
            stages, self.ends
        )  # a video too short for that is restored whole
        indices = range(count) if border else range(stages, count - stages)
        writer = FolderWriter(
            self.job.output_dir / video.name, [video.blurry[index].stem for index in indices]
        )
        self.result.frames[video.name] = list(zip(indices, writer.paths))
        if self.skip_existing and all(path.is_file() for path in writer.paths):
            self.bar.write(f"{video.name}: all {len(indices)} results exist, skipped")
            self.bar.update(count)
            return 0
        if count == 1:
            self.bar.write(
                f"{video.name}: a single frame, restored as a still (its own copies stand for "
                "the neighbours)"
            )
        source = FrameFolder(video.blurry)
        fit_memory(self.predictor, source.size, video.name)
        recent, wanted = _Recent(enumerate(source), 2 * stages + 3), self._wanted(indices)
        counted = scored_frames(count, self.ends)
        observe = (
            _StageWatch(video, counted, -stages if border else 0, self.result)
            if video.sharp
            else None
        )
        for index, frame in zip(
            indices, predict(self.predictor, recent, border, self.bar.update, observe), strict=True
        ):
            pixels = to_8bit(frame)
            writer.write(pixels)
            if index in wanted:
                name = f"{video.name}/{video.blurry[index].stem}"
                self.result.examples.append(
                    _example(self.predictor, name, recent, index, pixels, video)
                )
        return len(indices)

    def file(self, video: Video) -> int:
        source, stages = VideoFile(video.file), self.predictor.network.stages
        target = self.job.output_dir / f"{video.name}{'.mkv' if self.lossless else '.mp4'}"
        self.result.frames[video.name] = []
        if self.skip_existing and target.is_file():
            self.bar.write(f"{video.name}: {target} exists, skipped")
            return 0
        fit_memory(self.predictor, source.size, video.name)
        border = self.border or (source.count or 2 * stages + 1) < 2 * stages + 1
        first, done = 0 if border else stages, 0
        recent, wanted = (
            _Recent(source.timed(), 2 * stages + 3),
            self._wanted(range(first, (source.count or 300) - first)),
        )
        with VideoWriter(target, source, self.lossless) as writer:
            for index, frame in enumerate(
                predict(self.predictor, recent, border, self.bar.update), first
            ):
                pixels = to_8bit(frame)
                writer.write(pixels, recent.keys[index])
                done += 1
                if index in wanted:
                    self.result.examples.append(
                        _example(
                            self.predictor,
                            f"{video.name}, frame {index}",
                            recent,
                            index,
                            pixels,
                            video,
                        )
                    )
        return done

    def _wanted(self, indices: range) -> set[int]:
        """The frames of a video to show, spread evenly over it."""
        return set(spread(indices, max(MAX_PANELS // len(self.job.found.videos), 1)))


class _Recent:
    """Hands out frames as tensors and remembers the latest ones: `keys[index]` and
    `pixels[index]`.
    """

    def __init__(self, frames: Iterable[tuple[int, np.ndarray]], most: int):
        self._frames, self._most = frames, most
        self.keys: dict[int, int] = {}
        self.pixels: dict[int, np.ndarray] = {}

    def __iter__(self) -> Iterator[Tensor]:
        for index, (key, pixels) in enumerate(self._frames):
            self.keys[index], self.pixels[index] = key, pixels
            for memory in (self.keys, self.pixels):
                memory.pop(index - self._most, None)
            yield to_tensor(pixels)


class _StageWatch:
    """Notes the PSNR of the stages before the last for the frames that are scored."""

    def __init__(self, video: Video, indices: range, offset: int, result: Restored):
        self._video, self._indices, self._offset, self._result = video, indices, offset, result
        self._count: dict[int, int] = {}

    def __call__(self, stage: int, frame: Tensor) -> None:
        number = self._count.get(stage, 0)
        self._count[stage] = number + 1
        index = (
            number + stage + self._offset
        )  # stage s gives its first result for frame s of what it was fed
        if index in self._indices:
            sharp = read_image(self._video.sharp[index])
            self._result.stage_psnr.setdefault(stage, []).append(
                PROTOCOLS["cdvd"].psnr(to_8bit(frame), sharp)
            )


@torch.inference_mode()
def _example(
    predictor: Predictor, name: str, recent: _Recent, index: int, restored: np.ndarray, video: Video
) -> Example:
    """A frame to show, with the flow to its next frame and the sharpness prior as the first stage
    sees them.
    """
    around = [
        recent.pixels.get(other, recent.pixels[index]) for other in (index - 1, index, index + 1)
    ]
    frames = [
        pad_to_multiple(to_tensor(pixels)[None], predictor.network.multiple).to(predictor.device)
        for pixels in around
    ]
    flow, prior = (
        values[0].float().cpu().numpy() for values in predictor.network.flow_and_prior(*frames)
    )
    height, width = restored.shape[:2]
    length = np.hypot(*flow[:, :height, :width])
    extras = {
        f"flow to the next frame, median {np.median(length):.1f} px": flow_picture(
            flow[:, :height, :width]
        ),
        "temporal sharpness prior (white = the frames agree)": to_8bit(
            torch.from_numpy(prior[:, :height, :width]).expand(3, -1, -1)
        ),
    }
    sharp, words = None, ""
    if video.sharp:
        sharp = read_8bit(video.sharp[index])
        before, after = (PROTOCOLS["cdvd"].psnr(image, sharp) for image in (around[1], restored))
        words = f"PSNR {before:.2f} dB before, {after:.2f} dB after (protocol cdvd)"
    return Example(name, in_8bit(around[1]), restored, sharp, extras, words)


def scored_frames(count: int, ends: int) -> range:
    """The frames that are scored of a video: all but `ends` at both ends, or all of one too short
    for that.
    """
    return range(ends, count - ends) if count > 2 * ends else range(count)


def score_job(
    predictor: Predictor, job: Job, restored: Restored, protocol: str, ends: int
) -> Scores:
    """Score the written files by a named protocol and write scores.json and scores.csv beside
    them.
    """
    triples = [
        Triple(f"{video.name}/{path.stem}", path, video.sharp[index], video.blurry[index])
        for video in job.found.videos
        for index, path in restored.frames[video.name]
        if index in scored_frames(len(video.blurry), ends)
    ]
    paper = paper_row(TABLES, job.weights, job.data_path, protocol, {"border": not ends})
    about = {
        "weights": job.weights,
        "data_path": job.data_path,
        "remark": job.found.remark,
        "paper": paper,
    }
    scores = score_files(
        triples, protocol, arithmetic=arithmetic(predictor.device, predictor.dtype), **about
    )
    scores.write(job.output_dir)
    return scores


def finish(job: Job, restored: Restored, scores: Scores | None, report: bool) -> None:
    """Print the scores, draw contact_sheet.png and report.html, say where everything is."""
    table = scores.table() if scores else ""
    if (
        scores and restored.stage_psnr and distributed.world() == 1
    ):  # else they are of the own share only
        stages = [
            f"stage {stage} {np.mean(values):.2f} dB"
            for stage, values in sorted(restored.stage_psnr.items())
        ]
        table += (
            f"\nPSNR by stage: input {scores.input_mean['psnr']:.2f} dB, "
            f"{', '.join(stages)}, final {scores.mean['psnr']:.2f} dB"
        )
    if table:
        print(table)
    if restored.examples:
        contact_sheet(job.output_dir / "contact_sheet.png", restored.examples)
        metadata = {
            "input": str(job.data_path),
            "weights": str(job.weights),
            "speed": restored.speed,
            "data": job.found.remark,
        }
        if report:
            write_report(
                job.output_dir / "report.html",
                "CDVD-TSP: restored video",
                restored.examples,
                metadata,
                table,
            )
    print(
        f"results: {job.output_dir}"
        + (" (open report.html there)" if restored.examples and report else "")
    )


def _total(videos: list[Video]) -> int | None:
    """Frames of the videos together, None where a header does not say."""
    counts = [VideoFile(video.file).count if video.file else len(video.blurry) for video in videos]
    return sum(counts) if all(counts) else None
