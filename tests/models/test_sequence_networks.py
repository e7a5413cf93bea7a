"""HyperCUT, Jin and Purohit against the authors' programs, and the traps of the published code."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import build, load
from models.jin import PUBLISHED_PARTS
from models.published import load_published
from utils.checkpoint import save_weights
from utils.errors import UserError
from utils.evaluation.tables import count_parameters


def largest(difference):
    return float(difference.abs().max())


@torch.inference_mode()
def test_jin_is_the_authors(golden):
    vectors = golden("jin_chain")
    network = load_published("jin", vectors.state())
    frames = network(vectors["blurry"])
    assert frames.shape == (1, 7, 3, 40, 60)
    assert count_parameters(network) == 18_213_376
    assert largest(frames[:, [0, 2, 5]] - vectors["frames_1_3_6"]) <= vectors.tolerance("frames")


@torch.inference_mode()
def test_purohit_is_the_authors(golden):
    vectors = golden("purohit")
    network = load_published("purohit", vectors.state())
    frames, flows = network.forward_scales(vectors["blurry"], vectors["centre"])
    assert count_parameters(network.motion) == 1_648_704
    assert count_parameters(network) == 1_648_704 + 2_905_004
    for ours, theirs, noise in (
        (frames[0][:, [0, 6]], "frames_1_7", "recon_0"),
        (frames[1], "coarse", "recon_1"),
        (frames[3], "coarsest", "recon_3"),
        (flows[0], "flows_coarsest", "flow_0"),
        (flows[3][:, [0, 6]], "flows_1_7", "flow_3"),
    ):
        assert largest(ours - vectors[theirs]) <= vectors.tolerance(noise)
    assert torch.equal(network(vectors["blurry"], vectors["centre"]), frames[0])


def test_published_sampling_is_the_authors(golden):
    vectors = golden("purohit_warper")
    network = build("purohit", width=2)
    warped = network.warped(vectors["x"], vectors["flow"][:, None])[:, 0]
    assert largest(warped - vectors["out"]) < 1e-6


def test_no_flow_is_the_identity_in_plain_sampling_alone():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    still = torch.zeros(1, 2, 2, 8, 8)
    plain = build("purohit", width=2, sampling="plain").warped(image, still)
    assert torch.allclose(plain[:, 1], image, atol=1e-6)
    published = build("purohit", width=2).warped(image, still)[0, 0]
    assert largest(published - image[0]) > 0.1
    assert (published[:, [0, -1]] == 0).all()
    assert (published[..., [0, -1]] == 0).all()


def test_plain_sampling_by_hand():
    """p + flow, the border repeated."""
    image = torch.arange(8.0).repeat(1, 3, 8, 1)
    flow = torch.zeros(1, 1, 2, 8, 8)
    flow[:, :, 0] = 1.5
    warped = build("purohit", width=2, sampling="plain").warped(image, flow)[0, 0, 0, 3]
    assert torch.allclose(warped, torch.tensor([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7, 7]))


def test_a_second_purohit_works_like_the_first():
    """The published class reverses a shared list of channels: its second instance is broken."""
    first = build("purohit", width=4).state_dict()
    second = build("purohit", width=4).state_dict()
    assert first.keys() == second.keys()
    assert all(value.shape == second[key].shape for key, value in first.items())


@torch.inference_mode()
def test_fewer_frames_are_the_first_of_seven():
    torch.manual_seed(0)
    network = build("purohit", width=4, flow_channels=[2, 4, 4])
    images = torch.rand(2, 2, 3, 16, 24)
    assert torch.allclose(network(*images, frames=3), network(*images)[:, :3], atol=1e-6)


def reference_hypercut(state, pair):
    """The published program written out.

    There is no activation before the residual blocks, and b is added to every coefficient of the
    plane.
    """

    def convolved(x, layer, *more):
        layer = f"f_func.model.{layer}"
        return F.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], *more)

    x = convolved(F.pad(pair, (3,) * 4, mode="reflect"), 1)
    for index in (3, 5, 7, 9, 11):
        x = convolved(x, index, 2, 1)
    for index in range(13, 19):
        y = convolved(F.pad(x, (1,) * 4, mode="reflect"), f"{index}.conv_block.1")
        y = F.pad(F.relu(y), (1,) * 4, mode="reflect")
        x = x + convolved(y, f"{index}.conv_block.4")
    vector = x.mean((-2, -1))
    plane = state["hyperplane.hyperplane"]
    return vector @ plane[:-1] + plane[-1] * vector.sum(1)


@torch.inference_mode()
def test_hypercut_is_the_authors(golden):
    """Scores by their program, and by the formula written out on all six ordered pairs."""
    state = golden("hypercut").state()
    vectors = golden("hypercut_losses")
    network = load_published("hypercut", state)
    frames = vectors["pred_0"]
    scores = network(frames)[0]
    assert count_parameters(network) == 2_315_552
    assert "hyperplane" not in dict(network.named_parameters())
    assert largest(scores[[0, 1, 2, 4]] - vectors["sides_pred"][0]) < 1e-4
    order = ([0, 6], [6, 0], [1, 5], [5, 1], [2, 4], [4, 2])
    slow = [reference_hypercut(state, frames[:, pair].flatten(1, 2)) for pair in order]
    assert largest(scores - torch.cat(slow)) < 1e-4


@torch.inference_mode()
def test_corrected_forms_have_names_of_their_own(golden):
    state = golden("hypercut").state()
    vectors = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    plane = state["hyperplane.hyperplane"]
    published = load_published("hypercut", state)
    affine = load_published("hypercut", state, plane="affine")
    through_origin = vectors @ plane[:-1] + plane[-1] * vectors.sum(1)
    assert torch.allclose(published.scores(vectors), through_origin, atol=1e-4)
    assert torch.allclose(affine.scores(vectors), vectors @ plane[:-1] + plane[-1], atol=1e-4)
    leaky = load_published("hypercut", state, activation="leaky_relu")
    pair = torch.randn(1, 6, 64, 64, generator=torch.Generator().manual_seed(1))
    assert largest(published.vectors(pair) - leaky.vectors(pair)) > 0.01
    with pytest.raises(ValueError, match="leaky"):
        build("hypercut", activation="LeakyReLU(True)")


def test_values_are_what_the_training_saw():
    """HyperCUT's programs read BGR and apply the means of R, G, B in that order.

    Jin's own files see [0,1].
    """
    image = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)
    rgb = build("purohit", width=2, values="imagenet_rgb")
    bgr = build("purohit", width=2, values="imagenet_bgr")
    plain = build("purohit", width=2, values="rgb")
    assert rgb.seen(image).flatten().tolist() == pytest.approx(
        [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.6 - 0.406) / 0.225]
    )
    assert bgr.seen(image).flatten().tolist() == pytest.approx(
        [(0.6 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    )
    assert torch.equal(plain.seen(image), image)
    for network in (rgb, bgr, plain):
        assert torch.allclose(network.shown(network.seen(image)), image)


def under(prefix, state):
    """A state dict whose keys stand below a prefix."""
    return {prefix + key: value for key, value in state.items()}


def test_hypercuts_weights_know_their_values(golden, tmp_path):
    """HyperCUT's checkpoints of Jin and Purohit hold the loss's network and want BGR."""
    judge = golden("hypercut").state()
    jin = under("model.", golden("jin_chain").state())
    checkpoints = {
        "ckpt_jin.pth": jin | under("model.loss.hypercut.", judge),
        "ckpt_purohit.pth": under("model.", golden("purohit").state()),
        "hypercut.pth": judge,
    }
    for name, state in checkpoints.items():
        torch.save(state, tmp_path / name)
        assert load(tmp_path / name).values == "imagenet_bgr"


def test_jins_weights_know_their_values(golden, tmp_path):
    """His four files, pickled with byte strings, want [0,1]."""
    state = golden("jin_chain").state()
    for name, prefix in PUBLISHED_PARTS.items():
        part = {
            key.removeprefix(prefix).encode(): value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        torch.save({b"state_dict_G": part}, tmp_path / name, _use_new_zipfile_serialization=False)
    network = load(tmp_path)
    assert network.values == "rgb"
    assert torch.equal(network.centre.heads[0].weight, state["f4.conv1_B.weight"])


def test_a_damaged_checkpoint_is_named(golden):
    state = golden("purohit").state()
    state.pop("rvd.conv_lstm.conv.bias")
    with pytest.raises(UserError, match="lstm.bias"):
        load_published("purohit", state)


@torch.inference_mode()
def test_jins_colours_do_not_see_each_other_before_the_last_layers():
    """One batch of three colours is what three passes give.

    Instance normalisation is per colour.
    """
    torch.manual_seed(0)
    network = build("jin", width=2).eval()
    blurry = torch.rand(2, 3, 40, 60)
    together = network(blurry)
    alone = torch.cat([network(image) for image in blurry.split(1)])
    assert torch.allclose(together, alone, atol=1e-4)
    seen = []

    def note(module, inputs, output):
        seen.append(output.unflatten(0, (-1, 3)))

    hook = network.centre.fusions[0].register_forward_hook(note)
    network.centre(blurry)
    changed = blurry.clone()
    changed[:, 1] = 0.5
    network.centre(changed)
    hook.remove()
    first, second = seen
    assert torch.allclose(first[:, [0, 2]], second[:, [0, 2]], atol=1e-5)
    assert largest(first[:, 1] - second[:, 1]) > 1e-3


@pytest.mark.parametrize(
    ("name", "size", "images"), [("jin", (40, 50), 1), ("purohit", (40, 44), 2)]
)
def test_sizes_that_do_not_fit_are_refused(name, size, images):
    network = build(name, width=2)
    with pytest.raises(ValueError, match="multiples"):
        network(*torch.zeros(images, 1, 3, *size))


def test_small_frames_are_refused():
    with pytest.raises(UserError, match="32x48 px: HyperCUT needs more than 32"):
        build("hypercut", width=2)(torch.zeros(1, 7, 3, 48, 32))


NARROW = {
    "hypercut": {"width": 4, "blocks": 1, "activation": "leaky_relu", "plane": "affine"},
    "jin": {"width": 1},
    "purohit": {"width": 4, "flow_channels": [2, 4, 6], "sampling": "plain"},
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_are_built_again_from_their_file(name, tmp_path):
    arguments = {**NARROW[name], "values": "imagenet_rgb"}
    torch.manual_seed(0)
    network = build(name, **arguments)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, name, arguments, "test", dtype=torch.float32)
    again = load(path)
    assert again.values == "imagenet_rgb"
    for key, value in network.state_dict().items():
        assert np.array_equal(value, again.state_dict()[key])
