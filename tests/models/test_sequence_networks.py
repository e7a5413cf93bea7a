"""HyperCUT, Jin and Purohit: the authors' vectors through the loader of their checkpoints, and the
traps of the published code.
"""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import build, load
from models.jin import PUBLISHED_PARTS
from models.published import load_published
from utils.checkpoint import save_weights
from utils.errors import UserError


def largest(difference):
    return float(difference.abs().max())


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@torch.inference_mode()
def test_jin_is_the_authors(golden):
    vectors = golden("jin_chain")
    network = load_published("jin", vectors.state())
    frames = network(vectors["blurry"])
    assert frames.shape == (1, 7, 3, 40, 60) and count(network) == 18_213_376
    assert largest(frames[:, [0, 2, 5]] - vectors["frames_1_3_6"]) <= vectors.tolerance("frames")


@torch.inference_mode()
def test_purohit_is_the_authors(golden):
    vectors = golden("purohit")
    network = load_published("purohit", vectors.state())
    frames, flows = network.forward_scales(vectors["blurry"], vectors["centre"])
    assert count(network.motion) == 1_648_704 and count(network) == 1_648_704 + 2_905_004
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
    assert (
        largest(network.warped(vectors["x"], vectors["flow"][:, None])[:, 0] - vectors["out"])
        < 1e-6
    )


def test_no_flow_is_the_identity_in_plain_sampling_alone():
    image, still = (
        torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 2, 2, 8, 8),
    )
    assert torch.allclose(
        build("purohit", width=2, sampling="plain").warped(image, still)[:, 1], image, atol=1e-6
    )
    published = build("purohit", width=2).warped(image, still)[0, 0]
    assert (
        largest(published - image[0]) > 0.1
        and (published[:, [0, -1]] == 0).all()
        and (published[..., [0, -1]] == 0).all()
    )


def test_plain_sampling_by_hand():
    """p + flow, the border repeated."""
    image = torch.arange(8.0).repeat(1, 3, 8, 1)
    flow = torch.zeros(1, 1, 2, 8, 8)
    flow[:, :, 0] = 1.5
    warped = build("purohit", width=2, sampling="plain").warped(image, flow)[0, 0, 0, 3]
    assert torch.allclose(warped, torch.tensor([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7, 7]))


def test_a_second_purohit_works_like_the_first():
    """The published class reverses a shared list of channels, so that its second instance is
    broken.
    """
    shapes = [
        {key: value.shape for key, value in build("purohit", width=4).state_dict().items()}
        for _ in range(2)
    ]
    assert shapes[0] == shapes[1]


@torch.inference_mode()
def test_fewer_frames_are_the_first_of_seven():
    torch.manual_seed(0)
    network, images = (
        build("purohit", width=4, flow_channels=[2, 4, 4]),
        torch.rand(2, 2, 3, 16, 24),
    )
    assert torch.allclose(network(*images, frames=3), network(*images)[:, :3], atol=1e-6)


def reference_hypercut(state, pair):
    """The published program written out: no activation before the residual blocks, and b added to
    every coefficient of the plane.
    """
    x = F.conv2d(
        F.pad(pair, (3,) * 4, mode="reflect"),
        state["f_func.model.1.weight"],
        state["f_func.model.1.bias"],
    )
    for place in (3, 5, 7, 9, 11):
        x = F.conv2d(
            x, state[f"f_func.model.{place}.weight"], state[f"f_func.model.{place}.bias"], 2, 1
        )
    for place in range(13, 19):
        y = x
        for layer in (1, 4):
            weights = (
                state[f"f_func.model.{place}.conv_block.{layer}.{kind}"]
                for kind in ("weight", "bias")
            )
            y = F.conv2d(F.pad(y, (1,) * 4, mode="reflect"), *weights)
            y = F.relu(y) if layer == 1 else y
        x = x + y
    vector = x.mean((-2, -1))
    plane = state["hyperplane.hyperplane"]
    return vector @ plane[:-1] + plane[-1] * vector.sum(1)


@torch.inference_mode()
def test_hypercut_is_the_authors(golden):
    """Scores of predictions by their program, and the formula written out on all six ordered
    pairs.
    """
    state, vectors = golden("hypercut").state(), golden("hypercut_losses")
    network = load_published("hypercut", state)
    frames = vectors["pred_0"]
    scores = network(frames)[0]
    assert count(network) == 2_315_552 and "hyperplane" not in dict(network.named_parameters())
    assert largest(scores[[0, 1, 2, 4]] - vectors["sides_pred"][0]) < 1e-4
    order = itertools.chain(
        *(((first, last), (last, first)) for first, last in ((0, 6), (1, 5), (2, 4)))
    )
    slow = torch.cat([reference_hypercut(state, frames[:, pair].flatten(1, 2)) for pair in order])
    assert largest(scores - slow) < 1e-4


@torch.inference_mode()
def test_corrected_forms_have_names_of_their_own(golden):
    state = golden("hypercut").state()
    vectors = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    plane = state["hyperplane.hyperplane"]
    published, affine = (
        load_published("hypercut", state, **options) for options in ({}, {"plane": "affine"})
    )
    assert torch.allclose(
        published.scores(vectors), vectors @ plane[:-1] + plane[-1] * vectors.sum(1), atol=1e-4
    )
    assert torch.allclose(affine.scores(vectors), vectors @ plane[:-1] + plane[-1], atol=1e-4)
    leaky = load_published("hypercut", state, activation="leaky_relu")
    pair = torch.randn(1, 6, 64, 64, generator=torch.Generator().manual_seed(1))
    assert largest(published.vectors(pair) - leaky.vectors(pair)) > 0.01
    with pytest.raises(ValueError, match="leaky"):
        build("hypercut", activation="LeakyReLU(True)")


def test_values_are_what_the_training_saw():
    """HyperCUT's programs read BGR and apply the means of R, G, B in that order; Jin's own files
    see [0,1].
    """
    image = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)
    rgb, bgr, plain = (
        build("purohit", width=2, values=values)
        for values in ("imagenet_rgb", "imagenet_bgr", "rgb")
    )
    assert rgb.seen(image).flatten().tolist() == pytest.approx(
        [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.6 - 0.406) / 0.225]
    )
    assert bgr.seen(image).flatten().tolist() == pytest.approx(
        [(0.6 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    )
    assert torch.equal(plain.seen(image), image)
    for network in (rgb, bgr, plain):
        assert torch.allclose(network.shown(network.seen(image)), image)


def test_published_weights_know_their_values(golden, tmp_path):
    """HyperCUT's checkpoints hold the loss's network and want BGR; Jin's four files, pickled with
    byte strings, want [0,1].
    """
    state, judge = golden("jin_chain").state(), golden("hypercut").state()
    wrapped = {f"model.{key}": value for key, value in state.items()} | {
        f"model.loss.hypercut.{key}": value for key, value in judge.items()
    }
    torch.save(wrapped, tmp_path / "ckpt_jin.pth")
    assert load(tmp_path / "ckpt_jin.pth").values == "imagenet_bgr"
    folder = tmp_path / "jin"
    folder.mkdir()
    for name, prefix in PUBLISHED_PARTS.items():
        part = {
            key.removeprefix(prefix).encode(): value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        torch.save({b"state_dict_G": part}, folder / name, _use_new_zipfile_serialization=False)
    network = load(folder)
    assert network.values == "rgb"
    assert torch.equal(network.centre.heads[0].weight, state["f4.conv1_B.weight"])
    torch.save(
        {f"model.{key}": value for key, value in golden("purohit").state().items()},
        tmp_path / "ckpt_purohit.pth",
    )
    assert load(tmp_path / "ckpt_purohit.pth").values == "imagenet_bgr"
    torch.save(judge, tmp_path / "hypercut.pth")
    assert load(tmp_path / "hypercut.pth").values == "imagenet_bgr"


def test_a_damaged_checkpoint_is_named(golden):
    state = golden("purohit").state()
    state.pop("rvd.conv_lstm.conv.bias")
    with pytest.raises(UserError, match="lstm.bias"):
        load_published("purohit", state)


@torch.inference_mode()
def test_jins_colours_do_not_see_each_other_before_the_last_layers():
    """One batch of three colours is what three passes give (instance normalisation is per
    colour).
    """
    torch.manual_seed(0)
    network = build("jin", width=2).eval()
    blurry = torch.rand(2, 3, 40, 60)
    together = network(blurry)
    alone = torch.cat([network(blurry[index : index + 1]) for index in range(2)])
    assert torch.allclose(together, alone, atol=1e-4)
    seen = []
    hook = network.centre.fusions[0].register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    network.centre(blurry)
    changed = blurry.clone()
    changed[:, 1] = 0.5
    network.centre(changed)
    hook.remove()
    first, second = (output.unflatten(0, (-1, 3)) for output in seen)
    assert (
        torch.allclose(first[:, [0, 2]], second[:, [0, 2]], atol=1e-5)
        and largest(first[:, 1] - second[:, 1]) > 1e-3
    )


@pytest.mark.parametrize(("name", "size"), [("jin", (40, 50)), ("purohit", (40, 44))])
def test_sizes_that_do_not_fit_are_refused(name, size):
    network = build(name, width=2)
    with pytest.raises(ValueError, match="multiples"):
        network(*[torch.zeros(1, 3, *size)] * (1 if name == "jin" else 2))


def test_small_frames_are_refused():
    with pytest.raises(UserError, match="32x48 px: HyperCUT needs more than 32"):
        build("hypercut", width=2)(torch.zeros(1, 7, 3, 48, 32))


def test_narrow_networks_are_built_again_from_their_file(tmp_path):
    for name, arguments in (
        (
            "hypercut",
            {
                "width": 4,
                "blocks": 1,
                "activation": "leaky_relu",
                "plane": "affine",
                "values": "imagenet_rgb",
            },
        ),
        (
            "purohit",
            {"width": 4, "flow_channels": [2, 4, 6], "sampling": "plain", "values": "imagenet_rgb"},
        ),
        ("jin", {"width": 1, "values": "imagenet_rgb"}),
    ):
        torch.manual_seed(0)
        network = build(name, **arguments)
        save_weights(
            tmp_path / f"{name}.safetensors", network, name, arguments, "test", dtype=torch.float32
        )
        again = load(tmp_path / f"{name}.safetensors")
        assert again.values == "imagenet_rgb"
        for key, value in network.state_dict().items():
            assert np.array_equal(value, again.state_dict()[key])
