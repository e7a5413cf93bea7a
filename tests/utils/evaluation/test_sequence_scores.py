"""pPSNR against the authors' numbers, its free choice of direction, and Hit and Con by hand."""

import pytest
import torch

from utils.evaluation import metrics
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.sequence_scores import find_lpips, score_frames, score_order

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
DEVIATION = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(7, 3, 16, 18, generator=generator)
    return truth + 0.05 * torch.randn(truth.shape, generator=generator), truth


def test_ppsnr_is_the_authors(golden):
    """On un-normalised values; their prediction is the reversed truth with noise."""
    vectors = golden("hypercut_losses")
    predicted = vectors["pred_0"][0] * DEVIATION + MEAN
    truth = vectors["gt"][0] * DEVIATION + MEAN
    scores = score_frames(predicted, truth, ssim=False)
    assert [scores[f"ppsnr_{frame}"] for frame in range(1, 8)] == pytest.approx(
        vectors["ppsnr"][0].tolist(), abs=1e-3
    )
    assert scores["ppsnr"] == pytest.approx(vectors.manifest["values"]["ppsnr_mean"], abs=1e-3)
    predicted_pixels = (predicted * 255).movedim(1, -1).numpy()
    true_pixels = (truth * 255).movedim(1, -1).numpy()
    forward = list(map(metrics.psnr, predicted_pixels, true_pixels))
    assert forward == pytest.approx(vectors["psnr"][0].tolist(), abs=1e-3)


def absolute_difference(first, second):
    """Smaller is better, as with LPIPS."""
    return (first - second).abs().mean((1, 2, 3))


def test_the_direction_is_free_and_each_metric_chooses_its_own(frames):
    predicted, truth = frames
    assert score_frames(predicted, truth) != score_frames(predicted, truth.flip(0))
    assert score_frames(predicted, truth)["ppsnr"] == pytest.approx(
        score_frames(predicted.flip(0), truth)["ppsnr"]
    )
    scores = score_frames(predicted.flip(0), truth, lpips=absolute_difference)
    expected = float(absolute_difference(predicted, truth).mean())
    assert scores["plpips"] == pytest.approx(expected, rel=1e-5)
    assert scores["pssim"] > 0.5
    protocol = PROTOCOLS["blur2vid"]
    names = [name for name in (*protocol.metrics, *protocol.details) if name.startswith("p")]
    assert set(scores) == set(names)


def test_values_are_neither_clipped_nor_rounded(frames):
    _, truth = frames
    brighter = truth + 0.7
    assert score_frames(brighter, truth, ssim=False)["ppsnr_1"] == pytest.approx(
        -20 * torch.log10(torch.tensor(0.7)).item(), abs=1e-4
    )


def test_some_frames_keep_their_numbers(frames):
    predicted, truth = frames
    scores = score_frames(predicted[[0, 3, 6]], truth[[0, 3, 6]], (0, 3, 6), ssim=False)
    assert set(scores) == {"ppsnr", "ppsnr_1", "ppsnr_4", "ppsnr_7"}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, -1, 2, -2, 3, -3], (1, 1, 1, 1, 1)),
        ([-1, 1, -2, 2, 3, -3], (1, 1, 1, 1, 0)),
        ([-1, 1, 2, 2, -3, 3], (1, 0, 1, 0, 0)),
        ([-1, -1, -2, 2, -3, 0], (0, 1, 0, 1, 1)),
    ],
)
def test_hit_and_con_by_hand(scores, expected):
    row = score_order(torch.tensor(scores, dtype=torch.float32))
    assert tuple(row.values()) == expected and tuple(row) == PROTOCOLS["hypercut"].metrics


def test_lpips_without_weights_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lpips, reason = find_lpips(tmp_path)
    assert lpips is None and "not computed: weights missing" in reason


def test_lpips_runs_on_weights_that_are_there(tmp_path):
    """Random weights of the right shape: 0 for equal images, more for different ones."""
    from torchvision.models import alexnet

    torch.manual_seed(0)
    torch.save(alexnet().state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    lpips, reason = find_lpips(tmp_path)
    first, second = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    assert reason == ""
    assert lpips(first, first).tolist() == [0, 0]
    assert min(lpips(first, second).tolist()) > 0
