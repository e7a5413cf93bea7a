"""Restore videos: files, folders of frames, or data sets with ground truth."""

from dataclasses import replace
from pathlib import Path

from data.catalog import Videos, find_videos
from data.sample import sample_folder
from methods.common.applied import is_of_authors, with_scale
from methods.video_deblur.config import PUBLISHED_WEIGHTS, InferenceConfig, TestConfig
from models import SHIPPED, choose, find, network_class
from models.contracts import VideoNetwork
from restoration.run import Job, of_files
from restoration.video import VideoRestorer
from restoration.videos import run_videos
from utils.config import ROOT, to_yaml
from utils.device import choose_device, prepare_memory
from utils.errors import UserError
from utils.evaluation.scoring import Scores
from utils.report import amount

TABLES = Path(__file__).with_name("tables.yaml")
TITLE = "Restored videos"
FOLDER = ROOT / "infer_results" / "video_deblur"
Config = InferenceConfig | TestConfig


def main(config: InferenceConfig) -> Scores | None:
    """Restore every video into OUTPUT_DIR; with ground truth also score the frames."""
    config, found = resolve(config, FOLDER)
    has_truth = all(video.sharp for video in found.videos)
    border = not has_truth if config.border is None else config.border
    return restore(config, found, border, "cdvd" if has_truth else None)


def restore(config: Config, found: Videos, border: bool, protocol: str | None) -> Scores | None:
    """Restore videos, score by a protocol (None: there is no ground truth) and report."""
    in_files = [bool(video.file) for video in found.videos]
    files = of_files(config, not all(in_files), any(in_files), protocol is not None)
    restorer = load(config)
    window = getattr(config, "window", 0)
    job = Job(
        config.data_path,
        config.output_dir,
        TITLE,
        to_yaml(config),
        found.remark,
        protocol,
        TABLES,
        {"border": border, "blur_folder": config.blur_folder, "window": window},
        config.skip_existing,
        config.report,
        window,
        getattr(config, "part", ""),
        **files,
    )
    return run_videos(job, restorer, found.videos, border)


def resolve(config: Config, folder: Path) -> tuple[Config, Videos]:
    """(the configuration with its paths and weights in place, the videos that it means).

    folder: where results go without --output_dir. Raises UserError before anything is computed.
    """
    data_path = config.data_path
    output_dir = config.output_dir or folder
    weights = config.weights or SHIPPED["video"]
    precision = config.precision
    if config.default_data:
        data_path = data_path or ROOT / "dataset" / config.default_data / "test"
        output_dir = config.output_dir or ROOT / "infer_results" / config.default_data
        weights = config.weights or PUBLISHED_WEIGHTS[config.default_data]
        precision = "fp32" if precision == "auto" else precision  # as published
    elif data_path is None:
        data_path = sample_folder()
        print(f"no --data_path: the embedded sample {data_path}")
    need_sharp = isinstance(config, TestConfig)
    found = find_videos(data_path, config.layout, config.blur_folder, need_sharp=need_sharp)
    _check_output(output_dir, found)
    _print_found(found, config.blur_folder)
    weights = find(weights)
    has_truth = all(video.sharp for video in found.videos)
    published = has_truth and is_of_authors(weights)
    scoring = isinstance(config, TestConfig) or bool(config.default_data) or published
    resolved = replace(
        with_scale(config, scoring),
        data_path=data_path,
        output_dir=output_dir,
        weights=weights,
        precision=precision,
    )
    return resolved, found


def load(config: Config) -> VideoRestorer:
    """The network that the weights describe, on its device."""
    config = with_scale(config, isinstance(config, TestConfig))
    prepare_memory(choose_device(config.device))
    restorer = VideoRestorer.load(
        config.weights,
        config.device,
        config.precision,
        compile=config.compile,
        scale=config.scale,
        strength=config.strength,
        only_blurry=config.only_blurry,
        guard=config.guard,
    )
    if config.model:
        name, _ = choose(config.model, VideoNetwork)
        _check_model(restorer, name, config.model)
    return restorer


def _check_model(restorer: VideoRestorer, name: str, model: str) -> None:
    holds = type(restorer.network)
    if not issubclass(holds, network_class(name)):
        raise UserError(
            f"{restorer.weights} holds a {holds.__name__}, not {model}: leave --model out, the "
            "weights say what they are"
        )


def _check_output(output_dir: Path, found: Videos) -> None:
    """Raises UserError where results would overwrite a video's own frames."""
    for video in found.videos:
        folder = output_dir if video.file else output_dir / video.name
        files = [*video.blurry, *video.sharp, *([video.file] if video.file else [])]
        if folder.resolve() in {path.parent.resolve() for path in files}:
            raise UserError(
                f"results of {video.name} would overwrite its own frames in {folder}: choose "
                "another --output_dir"
            )


def _print_found(found: Videos, blur_folder: str) -> None:
    frames = sum(len(video.blurry) for video in found.videos)
    words = [amount(len(found.videos), "video"), ", "]
    if frames:
        words.append(f"{amount(frames, 'frame')}, layout {found.layout}")
    else:
        words.append("as files")
    if frames and found.layout == "gopro":
        words.append(f", blurry folder {blur_folder}")
    if found.remark:
        words.append(f" ({found.remark})")
    print("".join(words))
