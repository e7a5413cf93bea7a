"""What options mean in every method alike: networks by name, their arguments, losses."""

from pathlib import Path

import pytest
import torch
import yaml

from losses import LOSSES
from methods.blur2vid.config import BACKBONES
from methods.blur2vid.config import TrainConfig as UnfoldConfig
from methods.common.model_choice import recipe_of
from methods.hypercut.config import TrainConfig as OrderConfig
from methods.image_deblur.config import TrainConfig as ImageConfig
from methods.image_deblur.names import MODELS as IMAGE_MODELS
from methods.image_deblur.names import chosen_model
from methods.image_deblur.train import DeblurTask
from methods.irp.config import TrainConfig as IRPConfig
from methods.video_deblur.config import MODELS as VIDEO_MODELS
from methods.video_deblur.config import TestConfig as ScoreConfig
from methods.video_deblur.config import TrainConfig as VideoConfig
from methods.video_deblur.train import VideoTask
from models import build, choose, sizes
from models.contracts import ImageNetwork, SequenceNetwork, VideoNetwork
from utils.config import parse
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("paper", "cdvd_tsp")  # the older name, and the present one


def image_config(*words: str) -> ImageConfig:
    return parse(ImageConfig, "image_deblur", "train", list(words))


def video_config(*words: str) -> VideoConfig:
    return parse(VideoConfig, "video_deblur", "train", list(words))


@pytest.mark.parametrize("model", IMAGE_MODELS)
def test_published_recipes_train_in_float32(model):
    """As the authors did, on a GPU too; LightDehaze has no published recipe."""
    expected = "auto" if model == "LightDehaze" else "fp32"
    assert image_config("--model", model).precision == expected


def test_the_published_recipes_of_other_methods_train_in_float32():
    assert video_config().precision == video_config("--config", "paper").precision == "fp32"
    for method, config in (
        ("blur2vid", UnfoldConfig),
        ("hypercut", OrderConfig),
        ("irp", IRPConfig),
    ):
        assert parse(config, method, "train", []).precision == "fp32"


@pytest.mark.parametrize("model", IMAGE_MODELS)
def test_the_tiny_recipe_takes_any_model(model):
    """Its arguments are those of its own network; another one has the published size."""
    config = image_config("--config", "tiny", "--model", model)
    assert (config.model, config.steps, config.patch_size) == (model, 4, 64)
    assert bool(config.network) == (model == "NAFNet-32")
    name, arguments = choose(config.model, ImageNetwork)
    with torch.device("meta"):
        build(name, **arguments, **{} if model == "NAFNet-32" else config.network or {})


def test_arguments_of_the_command_line_hold_instead_of_the_recipes():
    assert image_config("--config", "tiny", "--network", "{width: 4}").network == {"width": 4}
    assert image_config("--config", "tiny", "--network", "{}").network == {}
    other = image_config("--config", "tiny", "--model", "SRN", "--network", "{width: 4}")
    assert other.network == {"width": 4}
    small = image_config("--config", "tiny").network
    for name in ("NAFNet", "nafnet-32"):
        assert image_config("--config", "tiny", "--model", name).network == small
    sequence = parse(UnfoldConfig, "blur2vid", "train", ["--config", "tiny", "--backbone", "Jin"])
    assert sequence.network is None, "the recipe's arguments are Purohit's"


def test_srn_has_names_for_its_variants():
    for name in ("lstm", "LSTM"):
        config = image_config("--model", name)
        assert config.epochs == image_config("--model", "SRN").epochs
        assert chosen_model(name) == ("srn", {"variant": "lstm"})


def test_older_options_are_arguments_of_the_network(tmp_path):
    words = ["--stages", "1", "--width=8", "--global_skip", "--no_prior", "--flow", "dis"]
    expected = {"stages": 1, "width": 8, "global_skip": True, "prior": False, "flow": "dis"}
    assert video_config(*words).network == expected
    assert video_config("--network", str(expected)).network == expected
    lines = ["data_path: null", "stages: 1", "encoded_share: 0.5", "gopro_blur: blur_gamma"]
    lines.append("test: {border: true}")
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    config = video_config("--config", str(tmp_path / "mine.yaml"), "--width", "8")
    assert config.network == {"stages": 1, "width": 8}
    assert (config.srgb_fraction, config.blur_folder) == (0.5, "blur_gamma")
    over = ["data_path: null", "base: tiny", "width: 16", "train: {stages: 1}"]
    (tmp_path / "over.yaml").write_text("\n".join(over))
    config = video_config("--config", str(tmp_path / "over.yaml"), "--blocks", "2")
    tiny = video_config("--config", "tiny").network
    assert config.network == tiny | {"width": 16, "stages": 1, "blocks": 2}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "0"], "--width 0: a number from 1 on is needed"),
        (["--downscale", "-1"], "--downscale -1: a number from 1 on is needed"),
        (["--stages", "x"], "--stages x: a whole number is needed"),
        (["--width", "1.5"], "--width 1.5: a whole number is needed"),
        (["--network", "{width: a}"], "--network width: a: a whole number is needed"),
    ],
)
def test_wrong_values_of_older_options_are_a_sentence(words, said):
    with pytest.raises(UserError, match=said):
        video_config("--config", "tiny", *words)


def test_the_older_name_of_the_published_recipe_means_the_same():
    for words in ([], ["--epochs", "3"]):
        older = video_config("--config", "paper", *words)
        assert older == video_config("--config", "cdvd_tsp", *words)
    parsed = [parse(ScoreConfig, "video_deblur", "test", ["--config", name]) for name in RECIPES]
    assert parsed[0] == parsed[1] and parsed[0].data_path.name == "test"


def test_wrong_arguments_of_a_network_are_a_sentence():
    config = video_config("--config", "tiny", "--network", "{body: fur}")
    with pytest.raises(UserError, match="makes no CDVD-TSP: unknown body 'fur'"):
        VideoTask(config)
    config = video_config("--config", "tiny", "--network", "{depth: 3}")
    with pytest.raises(UserError, match="CDVDTSP has no argument 'depth'"):
        VideoTask(config)


@pytest.mark.parametrize(
    ("listed", "kind"),
    [(IMAGE_MODELS, ImageNetwork), (VIDEO_MODELS, VideoNetwork), (BACKBONES, SequenceNetwork)],
)
def test_the_help_lists_the_published_sizes(listed, kind):
    assert set(listed) == set(sizes(kind))


def test_names_are_forgiving_and_the_nearest_is_suggested():
    assert choose("cdvd_tsp", VideoNetwork) == choose("CDVD-TSP", VideoNetwork) == ("cdvd_tsp", {})
    assert choose("mimo-unet+", ImageNetwork) == ("mimo_unet", {"blocks": 20})
    with pytest.raises(UserError, match="unknown model 'CDVD-TPS', did you mean CDVD-TSP"):
        choose("CDVD-TPS", VideoNetwork)
    with pytest.raises(UserError, match="unknown model 'NAFNet-32': choose from CDVD-TSP"):
        choose("NAFNet-32", VideoNetwork)


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("NAFNet-64", "nafnet64"),
        ("nafnet-32", "nafnet"),
        ("MIMO-UNet+", "mimo_unet"),
        ("DeepDeblur", "deep_deblur"),
        ("TinyNet", None),
    ],
)
def test_a_recipe_has_its_models_name(model, recipe):
    configs = ROOT / "methods/image_deblur/configs"
    assert recipe_of(configs, model) == recipe


def test_every_published_size_has_a_recipe():
    for method, models in (("image_deblur", IMAGE_MODELS), ("video_deblur", VIDEO_MODELS)):
        configs = ROOT / "methods" / method / "configs"
        for model in models:
            assert recipe_of(configs, model), model


@pytest.mark.parametrize("name", LOSSES)
def test_every_method_takes_every_loss(name):
    torch.manual_seed(0)
    clip = {"blurry": torch.rand(2, 5, 3, 32, 32), "sharp": torch.rand(2, 5, 3, 32, 32)}
    pair = {side: frames[:, 0] for side, frames in clip.items()}
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    for config, task_class, batch in (
        (image_config("--config", "tiny", "--loss", f"0.5*{name}"), DeblurTask, pair),
        (video_config("--config", "tiny", "--loss", f"0.5*{name}"), VideoTask, clip),
    ):
        losses = task_class(config).step(batch, generators, step=0)
        assert list(losses) == [name] and losses[name].isfinite()


def test_a_loss_with_a_network_of_its_own_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="can't read '1\\*ADV' in the loss"):
        VideoTask(video_config("--config", "tiny", "--loss", "1*ADV"))


def test_shipped_recipes_state_arguments_once():
    """In the mapping `network`, not as older options."""
    older = {"stages", "width", "blocks", "kernel_size", "body", "flow", "global_skip", "recurrent"}
    for path in (ROOT / "methods/video_deblur/configs").glob("*.yaml"):
        assert not older & set(yaml.safe_load(path.read_text())), path
