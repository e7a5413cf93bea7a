"""Restore videos with CDVD-TSP: `load` a network, `predict` frame by frame, `main` reads, writes and reports."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.catalog import Video, Videos, find_videos
from data.sample import sample_folder
from methods.cdvd_tsp.config import InferenceConfig, TestConfig
from models import find, load_network
from models.cdvd_tsp import CDVDTSP
from utils.config import ROOT, to_yaml
from utils.device import autocast, choose_device, choose_precision
from utils.errors import UserError
from utils.files import write_text
from utils.image import pad_to_multiple, read_image, to_tensor, write_image
from utils.report import contact_sheet
from utils.scoring import Scores, Triple, paper_row, score_files

TABLES = Path(__file__).with_name("tables.yaml")
PUBLISHED_WEIGHTS = {"DVD": "CDVD_TSP_DVD_Convergent.pt", "GOPRO": "CDVD_TSP_GOPRO.pt"}
SHIPPED_WEIGHTS = "cdvd_tsp.safetensors"
SHEET_ROWS = 6


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


def main(config: InferenceConfig) -> Scores | None:
    """Restore every video into OUTPUT_DIR/VIDEO/FRAME.png; with ground truth also score the files. Returns the scores."""
    job = plan(config)
    has_truth = all(video.sharp for video in job.found.videos)
    border = config.border if config.border is not None else not has_truth
    restored = restore_all(load(config), job, border, config.skip_existing)
    write_text(job.output_dir / "config.yaml", to_yaml(config))
    scores = None
    if has_truth:
        scores = score_job(job, restored, "cdvd")
        print(scores.table())
    else:
        print("no ground truth, so no metrics were computed")
    draw_sheet(job, restored)
    print(f"results: {job.output_dir}")
    return scores


def load(config: InferenceConfig | TestConfig) -> Predictor:
    """The network that the configuration's weights describe, on its device."""
    device = choose_device(config.device)
    weights = chosen_weights(config)
    network = load_network(weights, CDVDTSP)
    network = network.to(device, memory_format=torch.channels_last)
    return Predictor(network, device, choose_precision(config.precision, device), weights)


@torch.inference_mode()
def predict(
    predictor: Predictor, frames: Iterable[Tensor], border: bool = True, progress: Callable[[], object] | None = None
) -> Iterator[Tensor]:
    """Restored frames [3,H,W] float32 on the CPU, in order, of a video given as frames [3,H,W] in [0,1] of one size.

    border: also the first and last T frames, whose missing neighbours are the video's first T and last T frames once more (as
    published); without it 2T fewer frames come out. A few frames are held in memory, however long the video. progress is called per frame.
    """
    network, size = predictor.network, None

    def padded() -> Iterator[Tensor]:
        nonlocal size
        for frame in extended(frames, network.stages) if border else frames:
            size = size or frame.shape[-2:]
            if frame.shape[-2:] != size:
                raise UserError(f"frames of different sizes: {tuple(frame.shape[-2:])} after {tuple(size)} (height, width)")
            frame = pad_to_multiple(frame[None], network.multiple).to(predictor.device)
            yield frame.contiguous(memory_format=torch.channels_last)

    with autocast(predictor.device, predictor.dtype):
        for restored in network.stream(padded()):
            yield restored[0, :, : size[0], : size[1]].float().cpu()
            if progress:
                progress()


def extended(frames: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """The frames with the first `count` put before them once more, in order, and the last `count` after them."""
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


def plan(config: InferenceConfig | TestConfig) -> Job:
    """The videos and folders that a configuration means; raises UserError before anything is computed."""
    data_path, output_dir = config.data_path, config.output_dir or ROOT / "infer_results"
    if config.default_data:
        data_path = data_path or ROOT / "dataset" / config.default_data / "test"
        output_dir = config.output_dir or ROOT / "infer_results" / config.default_data
    elif data_path is None:
        data_path = sample_folder()
        output_dir = config.output_dir or ROOT / "infer_results" / "sample"
        print(f"no --data_path: the embedded sample {data_path}")
    found = find_videos(data_path, config.layout, config.gopro_blur, need_sharp=isinstance(config, TestConfig))
    for video in found.videos:
        folder = (output_dir / video.name).resolve()
        if folder in {path.parent.resolve() for path in (*video.blurry, *video.sharp)}:
            raise UserError(f"results of {video.name} would overwrite its own frames in {folder}: choose another --output_dir")
    blur = f", blurry folder {config.gopro_blur}" if found.layout == "gopro" else ""
    remark = f" ({found.remark})" if found.remark else ""
    print(f"{len(found.videos)} videos, {sum(len(video.blurry) for video in found.videos)} frames, layout {found.layout}{blur}{remark}")
    return Job(data_path, found, output_dir, chosen_weights(config))


def chosen_weights(config: InferenceConfig | TestConfig) -> Path:
    """The weights file that the options mean."""
    if config.weights:
        return find(config.weights)
    return find(PUBLISHED_WEIGHTS[config.default_data] if config.default_data else SHIPPED_WEIGHTS)


def restore_all(predictor: Predictor, job: Job, border: bool, skip_existing: bool) -> dict[str, list[tuple[int, Path]]]:
    """Write every video's restored frames; returns video -> [(index of the frame, its file)]."""
    written, done, started = {}, 0, time.monotonic()
    bar = tqdm(total=sum(len(video.blurry) for video in job.found.videos), unit="frame", disable=None)
    for video in job.found.videos:
        targets = _targets(video, job.output_dir, predictor.network.stages, border)
        written[video.name] = targets
        if skip_existing and all(path.is_file() for _, path in targets):
            bar.write(f"{video.name}: all {len(targets)} results exist, skipped")
            bar.update(len(video.blurry))
            continue
        if len(video.blurry) == 1:
            bar.write(f"{video.name}: a single frame, restored as a still (its own copies stand for the neighbours)")
        frames = (to_tensor(read_image(path)) for path in video.blurry)
        everywhere = len(targets) == len(video.blurry)
        for (_, path), frame in zip(targets, predict(predictor, frames, everywhere, bar.update), strict=True):
            write_image(path, frame)
            done += 1
    bar.close()
    if done:
        seconds = time.monotonic() - started
        print(f"restored {done} frames in {seconds:.1f} s, {done / seconds:.2f} frames/s with reading and writing ({predictor.device})")
    return written


def score_job(job: Job, restored: dict[str, list[tuple[int, Path]]], protocol: str) -> Scores:
    """Score the written files by a named protocol and write scores.json and scores.csv beside them."""
    triples = [
        Triple(f"{video.name}/{path.stem}", path, video.sharp[index], video.blurry[index])
        for video in job.found.videos
        for index, path in restored[video.name]
    ]
    paper = paper_row(TABLES, job.weights, job.data_path)
    about = {"weights": job.weights, "data_path": job.data_path, "remark": job.found.remark, "paper": paper}
    scores = score_files(triples, protocol, **about)
    scores.write(job.output_dir)
    return scores


def draw_sheet(job: Job, restored: dict[str, list[tuple[int, Path]]]) -> Path:
    """contact_sheet.png: input, restored and (where there is one) sharp frame from the middle of each of the first videos."""
    rows, labels = [], []
    has_truth = all(video.sharp for video in job.found.videos)
    for video in job.found.videos[:SHEET_ROWS]:
        index, path = restored[video.name][len(restored[video.name]) // 2]
        files = [video.blurry[index], path, *([video.sharp[index]] if has_truth else [])]
        rows.append([read_image(file) for file in files])
        labels.append(f"{video.name}/{path.stem}")
    heads = ["input", "restored", *(["ground truth"] if has_truth else [])]
    target = job.output_dir / "contact_sheet.png"
    contact_sheet(target, rows, heads, labels)
    return target


def _targets(video: Video, output_dir: Path, stages: int, border: bool) -> list[tuple[int, Path]]:
    """(index, result file) of every frame that gets restored; a video too short for the cascade is restored whole."""
    count = len(video.blurry)
    inner = range(count) if border or count < 2 * stages + 1 else range(stages, count - stages)
    return [(index, output_dir / video.name / f"{video.blurry[index].stem}.png") for index in inner]
