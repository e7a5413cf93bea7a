"""Restore photos, folders of them, or a video frame by frame with a single-image network."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from data.photo_catalog import CONTACT_SHEET, Pictures, find_pairs, matching
from data.picture_names import EXACT_FOLDERS
from data.sample import sample_folder
from methods.common.applied import is_of_authors, with_scale
from methods.image_deblur.config import InferenceConfig, TestConfig
from methods.image_deblur.names import chosen_model
from models import RUNS_FOLDER, build, find, sizes
from models.contracts import ImageNetwork
from models.guided_nafnet import GuidedNAFNet
from restoration.image import ImageRestorer
from restoration.pictures import run_frame_by_frame, run_pictures
from restoration.run import Job, of_files
from restoration.video_result import video_target
from utils.config import ROOT, to_yaml
from utils.device import choose_device, prepare_memory
from utils.download.table import how_to_get
from utils.errors import UserError
from utils.evaluation.scoring import Scores
from utils.evaluation.tables import paper_row
from utils.image import image_size, is_image
from utils.report import amount
from utils.video import is_video

TABLES = Path(__file__).with_name("tables.yaml")
TITLE = "Restored pictures"
Config = InferenceConfig | TestConfig


def main(config: InferenceConfig) -> Scores | None:
    """Restore a video into OUTPUT_DIR/NAME.mp4, or pictures into OUTPUT_DIR/NAME.png (.jpg).

    Pictures with ground truth are also scored.
    """
    config = replace(config, output_dir=config.output_dir or _result_folder(config.weights))
    if config.data_path is not None and is_video(config.data_path):
        return restore_video(config)
    return restore_pictures(config)


def restore_pictures(config: Config, deep: bool = False) -> Scores | None:
    """Restore, score where there is ground truth, and report; deep: see run_pictures."""
    data_path, found = chosen_pictures(config)
    pictures = found.pictures
    has_truth = bool(pictures[0].sharp)
    published = has_truth and bool(config.weights) and is_of_authors(find(config.weights))
    config = with_scale(config, isinstance(config, TestConfig) or published)
    protocol = chosen_protocol(config) if has_truth else None
    job = _job(config, data_path, found, protocol)
    return run_pictures(job, load(config), pictures, deep)


def restore_video(config: InferenceConfig) -> None:
    """Restore a video file frame by frame, each as a photo of its own, with its sound."""
    config = with_scale(config, scoring=False)
    job = _job(config, config.data_path)
    source = job.opened(config.data_path)
    if video_target(job, config.data_path).resolve() == config.data_path.resolve():
        raise UserError(
            f"the result would overwrite {config.data_path}: choose another --output_dir"
        )
    run_frame_by_frame(job, load(config), source)


def load(config: Config) -> ImageRestorer:
    """The network that the weights describe, as the options want it applied."""
    config = with_scale(config, isinstance(config, TestConfig))
    prepare_memory(choose_device(config.device))
    restorer = ImageRestorer.load(
        config.weights,
        config.device,
        config.precision,
        step=config.step,
        local_statistics=config.local_statistics,
        compile=config.compile,
        memory_gb=config.memory,
        scale=config.scale,
        strength=config.strength,
        only_blurry=config.only_blurry,
        guard=config.guard,
        ensemble=config.ensemble,
        ensemble_views=config.ensemble_views,
        gamma=config.gamma_factor,
        tile=config.tile,
        overlap=config.tile_overlap,
    )
    if config.model or config.variant:
        _check_model(config, restorer.network, restorer.weights)
    if config.condition and not isinstance(restorer.network, GuidedNAFNet):
        raise UserError(
            f"{restorer.weights} holds a {type(restorer.network).__name__} without --condition "
            "irp: train one with that option"
        )
    return restorer


def chosen_pictures(config: Config) -> tuple[Path, Pictures]:
    """(their folder, the pictures) that a configuration means.

    Raises UserError before anything is computed.
    """
    path = config.data_path
    if path is None:
        path = sample_folder()
        print(f"no --data_path: the embedded sample {path}")
    elif not path.exists():
        give = "give a photo, a folder of photos or of pairs, or a video file"
        raise UserError(f"there is no {path}: {how_to_get(path) or give}")
    folder = path.parent if path.is_file() else path
    if folder.resolve() == config.output_dir.resolve():
        raise UserError(
            f"results would lie among the pictures in {config.output_dir}: choose another "
            "--output_dir"
        )
    need_sharp = isinstance(config, TestConfig)
    found = find_pairs(path, config.blur_folder, need_sharp, leave_out=config.output_dir)
    if pattern := getattr(config, "file_pattern", None):
        found = matching(found, pattern)
    for picture in found.pictures:
        if picture.name == Path(CONTACT_SHEET).stem:
            raise UserError(
                f"{picture.blurry}: its result would have the name of the contact sheet, rename it"
            )
        if picture.sharp and is_image(picture.sharp) and picture.sharp.is_file():
            check_same_size(picture.blurry, picture.sharp)
    words = [amount(len(found.pictures), "picture")]
    if found.pictures[0].sharp:
        words.append(", with ground truth")
    if found.remark:
        words.append(f" ({found.remark})")
    print("".join(words))
    return path, found


def check_same_size(blurry: Path, sharp: Path) -> None:
    """Raises UserError that names both files of a pair whose sizes differ."""
    (height, width), (sharp_height, sharp_width) = (image_size(file) for file in (blurry, sharp))
    if (height, width) != (sharp_height, sharp_width):
        raise UserError(f"{blurry} is {width}x{height}, but {sharp} {sharp_width}x{sharp_height}")


def chosen_protocol(config: Config) -> str:
    """The protocol asked for.

    auto: that of the published row which this run repeats, else the one of the data set that the
    path names.
    """
    asked = getattr(config, "protocol", "auto")
    if asked != "auto":
        return asked
    weights = config.weights and find(config.weights)
    if row := paper_row(TABLES, weights, config.data_path, options=_options(config)):
        return row.protocol
    path = str(config.data_path or getattr(config, "sharp_dir", None) or "").lower()
    if "realblur" in path:
        return "realblur"
    if "kohler" in path or "koehler" in path:
        return "kohler"
    return "image"


def _job(
    config: Config, data_path: Path, found: Pictures | None = None, protocol: str | None = None
) -> Job:
    options = _options(config)
    files = of_files(config, bool(found), not found, protocol is not None)
    if found:
        options["blur_folder"] = _blur_taken(config, found)
    return Job(
        data_path,
        config.output_dir,
        TITLE,
        to_yaml(config),
        found.remark if found else "",
        protocol,
        TABLES,
        options,
        config.skip_existing,
        config.report,
        part=getattr(config, "part", ""),
        **files,
    )


def _blur_taken(config: Config, found: Pictures) -> str:
    """Which blur was restored, by the folders' names.

    input/ and blurry/ do not say; GoPro's repackaging by Restormer and NAFNet holds `blur` there.
    """
    taken = found.blur_folder or config.blur_folder or "blur"
    asked = config.blur_folder or "blur"
    return "blur" if taken not in EXACT_FOLDERS and asked not in EXACT_FOLDERS[1:] else taken


def _options(config: Config) -> dict:
    """The options by which a row of tables.yaml is recognised."""
    return {**asdict(config), "blur_folder": config.blur_folder or "blur"}


def _result_folder(weights: Path | None) -> Path:
    """Where results go without --output_dir.

    Into the run in experiment/ that --weights names, as DeepDeblur's program has it, else into one
    folder for all.
    """
    run = RUNS_FOLDER / (weights or "")
    if weights and not weights.exists() and find(weights).is_relative_to(run):
        return run / "result"
    return ROOT / "infer_results" / "image_deblur"


def _check_model(config: Config, network: ImageNetwork, weights: Path) -> None:
    """Raises UserError naming both where --model or --variant is not what the weights hold."""
    model = config.model or "SRN"
    name, arguments = chosen_model(model, config.variant)
    if _is(network, name, arguments):
        return
    holds = f"another {type(network).__name__}"
    for size, published in sizes(ImageNetwork).items():
        if _is(network, *published):
            holds = size
            break
    variant = getattr(network, "variant", None)
    holds += f" ({variant})" if variant else ""
    asked = " ".join(filter(None, (model, config.variant)))
    raise UserError(
        f"{weights} holds {holds}, not {asked}: leave --model out, the weights say what they are"
    )


def _is(network: ImageNetwork, name: str, arguments: dict) -> bool:
    """Whether a network is what a name and arguments stand for.

    A stated width means the published shape altogether.
    """
    with torch.device("meta"):
        other = build(name, **arguments)
    if type(network) is not type(other):
        return False
    if any(getattr(network, key) != value for key, value in arguments.items()):
        return False
    return "width" not in arguments or _shapes(network) == _shapes(other)


def _shapes(network: ImageNetwork) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in network.state_dict().items()}
