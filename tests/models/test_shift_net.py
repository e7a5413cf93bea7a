"""Shift-Net against the authors' numbers, its shift by hand, its keys, and damaged files."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from benchmarks.shift_net_reference import restore_literally
from models import load
from models.published import load_published
from models.shift_blocks import ShiftStep, UNet, shift_groups, spatial_shift
from models.shift_net import ShiftNet
from tests.models.shift_nets import NARROW, narrow
from utils.checkpoint import save_weights
from utils.errors import UserError


@pytest.fixture(scope="module")
def states():
    from tests.conftest import Golden

    vectors = {name: Golden(f"shift_net_{name}") for name in ("plus", "small")}
    return {name: (golden, golden.state()) for name, golden in vectors.items()}


@pytest.mark.parametrize(("variant", "count"), [("plus", 12_994_742), ("small", 4_705_960)])
def test_the_networks_are_the_authors(states, variant, count):
    vectors, state = states[variant]
    network = load_published("shift_net", {"params": state})
    assert sum(value.numel() for value in network.parameters()) == count
    assert vectors.manifest["param_count"] == count
    with torch.inference_mode():
        out = network(vectors["x"])[0]
    assert (out - vectors["out"]).abs().max() <= min(5e-5, vectors.tolerance("out"))


MODULES = {
    "first": ("orb5", "orb3"),
    "transition": ("conv_trans", "conv_trans"),
    "fusion.encoder.1": ("stage1.encoder_level2_1", "stage1.encoder_level2_2"),
    "fusion.decoder.1": ("stage1.decoder_level2_1", "stage1.decoder_level2_2"),
    "fusion.exit": ("stage1", "stage1"),
    "last": ("rorb5", "rorb3"),
    "ending": ("conv_last", "conv_last"),
}


@pytest.mark.parametrize("variant", NARROW)
def test_modules_and_ends_of_clips_are_the_authors(states, variant):
    """In channels_last memory, as everywhere but above."""
    vectors, state = states[variant]
    network = load_published("shift_net", state, unused=False)
    network.to(memory_format=torch.channels_last)
    means = {}

    def watch(key: str, module: nn.Module) -> None:
        def keep(module: nn.Module, seen: tuple, result: torch.Tensor) -> None:
            means[key] = result.mean((2, 3))

        module.register_forward_hook(keep)

    for module, keys in MODULES.items():
        key = keys[variant == "small"]
        watch(f"mean.{key}", network.get_submodule(module))
    with torch.inference_mode():
        whole = network.restore_clip(vectors["x"])[0]
    results = {"out_first": whole[0, :, ::2, ::2], "out_last": whole[-1, :, ::2, ::2], **means}
    assert len(results) == 2 + len(MODULES)
    for name, ours in results.items():
        assert (ours - vectors[name]).abs().max() <= min(5e-5, vectors.tolerance(name)), name


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("variant", "channels"), [("plus", 80), ("small", 64)])
def test_the_shift_is_the_authors(golden, monkeypatch, variant, channels, backward):
    """Exact integers; of a step only its fusions are taken away."""

    def halves(self, own, moved):
        pair = (own, moved) if self.backward else (moved, own)
        return torch.cat((*pair, spatial_shift(moved)), 1)

    monkeypatch.setattr(ShiftStep, "_fused", halves)
    step = ShiftStep(backward, channels, 1, 4)
    numbers = torch.arange(1, 3 * channels * 110 + 1, dtype=torch.float64)
    shifted = step(numbers.reshape(3, channels, 10, 11), 3, variant == "small")
    name = f"{variant}_{'backward' if backward else 'forward'}"
    assert torch.equal(shifted.int(), golden("shift_net_parts")[name])


def test_the_spatial_shift_by_hand():
    """Of 24 channels each is a group; the fourth moves 8 down and 4 left, small maps to zero."""
    features = torch.arange(24 * 9 * 10, dtype=torch.float64).reshape(1, 24, 9, 10)
    shifted = spatial_shift(features)
    assert torch.equal(shifted[0, 3, 8, :6], features[0, 3, 0, 4:])
    assert shifted[0, 3, :8].abs().max() == shifted[0, 3, 8, 6:].abs().max() == 0
    assert spatial_shift(features[..., :4, :4]).abs().max() == 0
    assert [group.start for group, _, _ in shift_groups(24)] == list(range(24))
    assert sum(group.stop - group.start for group, _, _ in shift_groups(40)) == 40


def test_the_gradient_of_the_spatial_shift_is_its_opposite():
    features = torch.rand(1, 8, 6, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(spatial_shift, (features,))


@pytest.mark.parametrize("variant", NARROW)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_nothing_that_is_merged_changes_a_result(variant, memory_format):
    network = narrow(variant).double().to(memory_format=memory_format)
    clip = torch.rand(1, 4, 3, 24, 32, dtype=torch.float64)
    with torch.inference_mode():
        literal = restore_literally(network, clip[0], 1, 1)
        ours = network._restore(clip, 1, 1)[0]
    assert (ours - literal).abs().max() < 1e-12 * literal.abs().max()
    (trained,) = network.training_outputs(clip)
    assert trained[1] == slice(1, 3)
    assert (trained[0][0] - literal).abs().max() < 1e-12 * literal.abs().max()


def test_clips_of_a_batch_do_not_see_each_other():
    network = narrow("small").double()
    clips = torch.rand(2, 3, 3, 16, 20, dtype=torch.float64)
    with torch.inference_mode():
        both = network.restore_clip(clips)
        alone = network.restore_clip(clips[1:])
    assert (both[1:] - alone).abs().max() < 1e-12


@pytest.mark.parametrize("variant", NARROW)
def test_any_size_and_any_number_of_frames(variant):
    network = narrow(variant)
    with torch.inference_mode():
        for frames, height, width in ((1, 7, 9), (2, 3, 2), (5, 17, 8)):
            clip = torch.rand(1, frames, 3, height, width)
            assert network.restore_clip(clip).shape == clip.shape
    with pytest.raises(ValueError, match="at least 5 frames, got"):
        network(torch.rand(1, 4, 3, 16, 16))
    with pytest.raises(ValueError, match="multiple of 16"):
        ShiftNet(channels=40)
    with pytest.raises(ValueError, match="unknown variant 'large': choose from plus, small"):
        ShiftNet("large")


def test_an_untrained_block_only_shifts():
    """A forward and a backward step are the identity then, but at the ends of `plus`."""
    features = torch.rand(5, 16, 12, 12)
    forward, backward = (ShiftStep(direction, 16, 1, 4) for direction in (False, True))
    with torch.inference_mode():
        wrapped = backward(forward(features, 5, True), 5, True)
        kept = backward(forward(features, 5, False), 5, False)
    assert torch.equal(wrapped, features)
    assert [torch.equal(*pair) for pair in zip(kept, features)] == [False, True, True, True, False]


def test_shared_slopes_stay_shared(tmp_path):
    """One parameter per U-Net and one of the fusion; training and saving change all blocks."""
    network = narrow("plus")
    names = [name for name, _ in network.named_parameters() if name.endswith("slope")]
    assert names == [
        "inward_slope", "first.0.slope", "fusion.slope", "fusion.shrink_slope", "last.0.slope",
        "unused.slope",
    ]  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network(torch.rand(1, 5, 3, 16, 16)).square().sum().backward()
    assert network.unused.slope.grad is None
    optimizer.step()
    slope = network.first[0].slope.item()
    assert slope != 0.25
    path = tmp_path / "w.safetensors"
    save_weights(path, network, "shift_net", NARROW["plus"], "video_deblur", torch.float32)
    again = load(path)
    assert isinstance(again.first[0], UNet) and again.first[0].slope.item() == slope
    with torch.inference_mode():
        clip = torch.rand(1, 5, 3, 16, 16)
        assert torch.equal(network.eval()(clip), again(clip))


def test_what_never_runs_is_dropped_on_request(states, tmp_path):
    _, state = states["small"]
    network = load_published("shift_net", state, unused=False)
    assert sum(value.numel() for value in network.parameters()) == 4_705_960 - 486_885
    whole = load_published("shift_net", state)
    assert torch.equal(whole.unused.first[1].slope, state["orb5.skip_attn1.body.1.weight"])
    network.start_from(whole)
    whole.start_from(network)
    torch.save({"params": state}, tmp_path / "net_gopro_deblur_small.pth")
    found = load(tmp_path / "net_gopro_deblur_small.pth")
    assert isinstance(found, ShiftNet) and found.form.wraps


def damaged(state: dict, damage: str) -> dict:
    state = dict(state)
    key = "stage1.encoder_level1.encoder_level1.0.norm.weight"
    if damage == "missing":
        del state[key]
    elif damage == "left over":
        state["stage1.noise_map.weight"] = torch.zeros(3)
    elif damage == "denoising":
        state["feat_extract.0.weight"] = torch.zeros(14, 4, 3, 3)
    elif damage == "mixture":
        state["stage1.down23.down.weight"] = torch.zeros(64, 64, 3, 3)
    elif damage == "slopes":
        state["orb2.skip_attn1.body.1.weight"] = torch.ones(1)
    elif damage == "slope missing":
        del state["orb2.skip_attn1.body.1.weight"]
    elif damage == "other keys":
        state = {f"stage1.{name}": value for name, value in state.items()}
    return state


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", "1 missing .fusion.encoder.0.steps.0.norm1.weight"),
        ("left over", "1 extra .stage1.noise_map.weight"),
        ("denoising", r"1 misshaped .inward.weight \(14, 4, 3, 3\) instead of \(14, 3, 3, 3\)"),
        ("mixture", "does not fit ShiftNet"),
        ("slopes", r"orb2.encoder_level1.0.body.1.weight ... .* differ"),
        ("slope missing", "1 missing .first.1.slope"),
        ("other keys", "is not a published shift_net checkpoint"),
    ],
)
def test_other_files_of_the_family_are_refused(states, damage, words):
    state = damaged(states["small"][1], damage)
    with pytest.raises(UserError, match=f"{words}.*may be a denoising or another variant") as error:
        load_published("shift_net", state)
    assert "\n" not in str(error.value)
