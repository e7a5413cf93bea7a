import pytest
import torch

from models import NETWORKS, build
from models.cdvd_tsp import CDVDTSP, Reconstruction, sharpness_prior
from models.nafnet import NAFNet
from models.published import PUBLISHED, load_published, rename


@pytest.mark.parametrize("corners", ["T", "F"])
def test_cascade_is_the_authors(golden, corners):
    vectors = golden("cdvd_tsp")
    network = load_published("cdvd_tsp", vectors.state(), align_corners=corners == "T")
    assert (
        sum(parameter.numel() for parameter in network.parameters())
        == vectors.manifest["param_count"]
        == 16_187_045
    )
    with torch.inference_mode():
        first_stage, second_stage = network.forward_stages(vectors["x"])
        assert torch.equal(network(vectors["x"]), second_stage[:, 0])
    results = {
        "out": second_stage[:, 0],
        **{f"recons_{i + 1}": first_stage[:, i] for i in range(3)},
    }
    for name, ours in results.items():
        if (key := f"{name}_ac{corners}") in vectors.arrays:
            assert (ours - vectors[key]).abs().max() <= vectors.tolerance(key), key


def test_reconstruction_is_the_authors(golden):
    vectors = golden("recons_video")
    network = Reconstruction().eval()
    table = [
        (theirs.removeprefix("recons_net."), ours.removeprefix("reconstruction."))
        for theirs, ours in _recons_table()
    ]
    network.load_state_dict(rename(vectors.state(), table))
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_812_771
    with torch.inference_mode():
        assert (
            network(vectors["x"], vectors["x"][:, 3:6]) - vectors["out"]
        ).abs().max() <= vectors.tolerance("out")


def _recons_table():
    from models.cdvd_tsp import PUBLISHED_KEYS

    return [pair for pair in PUBLISHED_KEYS if pair[0].startswith("recons_net.")]


def test_sharpness_prior_is_the_authors(golden):
    vectors = golden("tsp_masks")
    previous, centre, following = vectors["imgs"]
    prior = sharpness_prior(previous, centre, following, vectors["masks"].prod(0))
    assert (prior - vectors["luckiness"]).abs().max() <= 1e-5


def test_sharpness_prior_of_differences_is_that_of_means():
    """Against the published order, each frame's mean first, in float64."""
    triplet = torch.rand(3, 2, 3, 19, 30, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 1, 19, 30)
    previous, centre, following = (
        torch.nn.functional.avg_pool2d(frame.double(), 5, 1, 2) for frame in triplet
    )
    squared = (previous - centre) ** 2 + (following - centre) ** 2
    expected = torch.exp(-(squared.sum(1, keepdim=True) / 2).sqrt())
    assert (sharpness_prior(*triplet, mask) - expected).abs().max() < 1e-6


def test_sharpness_prior_by_hand():
    still = torch.full((1, 3, 9, 9), 0.5)
    ones = torch.ones(1, 1, 9, 9)
    assert sharpness_prior(still, still, still, ones).min() == 1
    assert sharpness_prior(still, still, still, 0 * ones).max() == 0
    brighter = sharpness_prior(
        still + 0.2, still, still, ones
    )  # sum over 3 channels of 0.04 / 2, root, in the middle
    assert brighter[0, 0, 4, 4].item() == pytest.approx(
        torch.tensor(-(0.06**0.5)).exp().item(), abs=1e-6
    )


@pytest.mark.parametrize(
    "stages, body", [(1, "residual"), (2, "residual"), (3, "residual"), (2, "naf")]
)
def test_streaming_equals_windows(stages, body):
    torch.manual_seed(0)
    network = CDVDTSP(stages=stages, width=4, blocks=1, kernel_size=3, body=body).eval()
    last = network.reconstruction.ending if body == "naf" else network.reconstruction.outward[-1]
    torch.nn.init.normal_(last.weight, std=0.1)
    clip = torch.nn.functional.avg_pool2d(torch.rand(9, 3, 44, 52), 5, 1)
    with torch.inference_mode():
        streamed = list(network.stream(frame[None] for frame in clip))
        span = 2 * stages + 1
        windowed = [
            network(clip[None, start : start + span]) for start in range(len(clip) - span + 1)
        ]
    assert len(streamed) == len(windowed) == 9 - 2 * stages
    difference = (torch.stack(streamed) - torch.stack(windowed)).abs()
    share = (difference > 1e-5).float().mean().item()
    print(
        f"share of values that differ by more than 1e-5: {share:.1e}"
    )  # pixels whose warp mask lies at its threshold may flip
    assert share < 1e-4


@pytest.mark.parametrize(
    "changes", [{"global_skip": True}, {"body": "naf"}, {"body": "naf", "recurrent": True}]
)
def test_corrections_start_at_the_input(changes):
    network = build(
        "cdvd_tsp", width=4, blocks=1, kernel_size=3, downscale=2, flow="dis", **changes
    )
    clip = torch.rand(2, 5, 3, 24, 32)
    assert torch.equal(network(clip), clip[:, 2])


def test_a_photo_network_starts_the_video_network():
    """Its results are the photo network's then, whatever the neighbours are; blocks can be left
    out; another width is refused.
    """
    torch.manual_seed(0)
    photo = NAFNet(width=6, encoder=(1, 1), middle=3, decoder=(1, 1), downscale=2)
    for parameter in photo.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network = CDVDTSP(stages=1, width=6, blocks=3, downscale=2, flow="dis", body="naf").eval()
    network.reconstruction.start_from(photo, [0, 2])  # as many blocks: all are taken
    clip = torch.rand(1, 3, 3, 24, 32)
    with torch.inference_mode():
        assert (network(clip) - photo.eval()(clip[:, 1])).abs().max() < 1e-5
    with torch.no_grad():
        (
            photo.middle[1].beta.zero_(),
            photo.middle[1].gamma.zero_(),
        )  # the block does nothing: without it the results are the same
    narrow = CDVDTSP(stages=1, width=6, blocks=2, downscale=2, flow="dis", body="naf").eval()
    narrow.reconstruction.start_from(photo, [0, 2])
    with torch.inference_mode():
        assert (narrow(clip) - photo(clip[:, 1])).abs().max() < 1e-5
    narrow.reconstruction.start_from(photo)  # the first two
    with torch.inference_mode():
        assert (narrow(clip) - photo(clip[:, 1])).abs().max() > 1e-3
    for blocks in ([0, 3], [0, -1], [0]):
        with pytest.raises(ValueError, match="of 3 can't start 2"):
            narrow.reconstruction.start_from(photo, blocks)
    with pytest.raises(ValueError, match="can't start one of width 4"):
        CDVDTSP(
            stages=1, width=4, blocks=3, downscale=2, flow="dis", body="naf"
        ).reconstruction.start_from(photo)


def test_a_photo_network_with_a_coarse_level_starts_the_video_network():
    """Also one that has the level below starts from one that lacks it."""
    torch.manual_seed(0)
    shape = {"width": 6, "downscale": 2}
    fine = NAFNet(encoder=(1, 1), middle=3, decoder=(1, 1), **shape).eval()
    coarse = NAFNet(encoder=(1, 1, 3), middle=2, decoder=(1, 1, 1), **shape).eval()
    clip = torch.rand(1, 3, 3, 32, 48)
    for photo in (fine, coarse):
        for parameter in photo.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        network = CDVDTSP(
            stages=1, blocks=3, coarse_blocks=2, blend=True, flow="dis", body="naf", **shape
        ).eval()
        network.reconstruction.start_from(photo)
        with torch.inference_mode():
            assert (network(clip) - photo(clip[:, 1])).abs().max() < 1e-5
    with pytest.raises(ValueError, match="can't start"):
        CDVDTSP(stages=1, blocks=3, flow="dis", body="naf", **shape).start_from(coarse)


def test_blending_can_copy_an_aligned_neighbour():
    """With a gain of 1 for the following frame the result is that frame, warped."""
    network = CDVDTSP(stages=1, width=4, blocks=1, flow="dis", body="naf", blend=True).eval()
    with torch.no_grad():
        network.reconstruction.ending.bias[4] = 1  # red, green, blue, previous, following
    still = torch.rand(1, 3, 32, 48).expand(1, 3, -1, -1)
    stacked = torch.cat((still, still * 0.5, still.flip(-1), still[:, :1]), 1)
    with torch.inference_mode():
        restored = network.reconstruction(stacked, still * 0.5)
    assert (restored - still.flip(-1)).abs().max() < 1e-6


def test_a_video_network_starts_a_recurrent_one():
    """The recurrent one ignores its own result at first; the other way round is refused."""
    torch.manual_seed(0)
    plain, recurrent = (
        CDVDTSP(
            stages=1, width=6, blocks=2, downscale=2, flow="dis", body="naf", recurrent=again
        ).eval()
        for again in (False, True)
    )
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    recurrent.reconstruction.start_from(plain.reconstruction)
    clip = torch.rand(1, 4, 3, 24, 32)
    with torch.inference_mode():
        for before, after in zip(
            plain.stream(clip.unbind(1)), recurrent.stream(clip.unbind(1)), strict=True
        ):
            assert (before - after).abs().max() < 1e-5
    with pytest.raises(ValueError, match="can't start"):
        plain.reconstruction.start_from(recurrent.reconstruction)


def test_recurrence_sees_the_result_before():
    """Streaming is one long clip; a change of the first frame reaches every later result, without
    recurrence only its neighbour's.
    """
    torch.manual_seed(0)
    clip = torch.nn.functional.avg_pool2d(torch.rand(8, 3, 28, 36), 5, 1)
    for recurrent in (True, False):
        network = CDVDTSP(
            stages=1, width=4, blocks=1, downscale=2, flow="dis", body="naf", recurrent=recurrent
        ).eval()
        torch.nn.init.normal_(network.reconstruction.ending.weight, std=0.1)
        with torch.inference_mode():
            streamed = torch.cat(list(network.stream(frame[None] for frame in clip)))
            other = torch.cat(
                list(network.stream(frame[None] for frame in torch.cat((1 - clip[:1], clip[1:]))))
            )
            if recurrent:
                assert torch.equal(network.forward_stages(clip[None])[0][0], streamed)
        assert [bool((one != two).any()) for one, two in zip(streamed, other)] == [
            True,
            *[recurrent] * 5,
        ]


def test_without_the_prior_the_network_sees_ones():
    network = CDVDTSP(width=4, blocks=1, prior=False, flow="dis")
    _, prior = network.flow_and_prior(*torch.rand(3, 1, 3, 24, 32))
    assert (prior == 1).all()


def test_gate_scales_the_correction_per_pixel():
    network = Reconstruction(4, 1, 3, downscale=2, global_skip=True, gate=True)
    torch.nn.init.normal_(network.outward[-1].weight, std=0.1)
    stacked, centre = torch.rand(1, 10, 16, 24), torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        open_ = network(stacked, centre) - centre
        for gate, scale in (
            (-30.0, 0.0),
            (30.0, 1.0),
        ):  # of the shuffled outputs, the last four are the gate's
            network.outward[-1].weight[12:], network.outward[-1].bias[12:] = 0, gate
            change = network(stacked, centre) - centre
            assert (
                change.abs().max() < 1e-6
                if scale == 0
                else (open_ / change).max() < 1 and (open_ / change).min() > 0
            )
    with pytest.raises(ValueError, match="it needs global_skip"):
        Reconstruction(4, gate=True)


def test_gradients_reach_every_weight():
    network = CDVDTSP(width=4, blocks=1, kernel_size=3)
    network(torch.rand(1, 5, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_wrong_clips_are_refused():
    network = CDVDTSP(width=4, blocks=1, kernel_size=3, flow="dis")
    with pytest.raises(ValueError, match="5,3,H,W"):
        network(torch.zeros(1, 3, 3, 16, 16))
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(1, 5, 3, 16, 18))
    with pytest.raises(ValueError, match="at least one stage"):
        CDVDTSP(stages=0)
    with pytest.raises(ValueError, match="unknown flow 'raft'"):
        CDVDTSP(flow="raft")
    with pytest.raises(ValueError, match="unknown body 'unet'"):
        CDVDTSP(body="unet")


def test_every_published_network_is_known():
    assert (
        {"cdvd_tsp", "pwc_net", "srn", "deep_deblur", "restormer", "mimo_unet", "nafnet"}
        <= set(PUBLISHED)
        <= set(NETWORKS)
    )
