"""Losses on sequences: the authors' values and gradient, numbers worked by hand, and what they must
not notice.
"""

import math

import pytest
import torch

from losses.order import naive, one_sided, order_invariant, ordering
from models.published import load_published


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 7, 3, 5, 6, generator=generator), torch.randn(
        2, 7, 3, 5, 6, generator=generator
    )


def test_ordering_loss_is_the_authors(golden):
    vectors = golden("hypercut")
    apart, together = ordering(vectors["sides"])
    assert abs(apart - vectors["loss_diff"]) <= vectors.tolerance("loss_diff")
    assert abs(together - vectors["loss_same"]) <= vectors.tolerance("loss_same")
    assert abs(0.5 * apart + 0.5 * together - vectors["loss_total"]) <= vectors.tolerance(
        "loss_total"
    )


def test_ordering_loss_by_hand():
    apart, together = ordering(torch.tensor([[1.0, -2.0, 3.0, 0.0, -1.0, 2.0]]))
    softplus = [math.log(1 + math.exp(value)) for value in (-2, 0, -2, -3, 1, 3)]
    assert apart == pytest.approx(sum(softplus[:3]) / 3) and together == pytest.approx(
        sum(softplus[3:]) / 3
    )


def test_losses_of_one_scale_are_the_authors(golden):
    vectors, judge = (
        golden("hypercut_losses"),
        load_published("hypercut", golden("hypercut").state()),
    )
    values, truth = vectors.manifest["values"], vectors["gt"]
    predicted = vectors["pred_0"].requires_grad_()
    total = order_invariant(predicted, truth) / 7 + 0.2 * one_sided(judge(predicted))
    total.backward()
    assert total.item() == pytest.approx(values["jin_hypercut"]["total"], abs=1e-6)
    assert (
        predicted.grad[0, 0, :, ::2, ::2] - vectors["grad_jin_hypercut_frame1"]
    ).abs().max() < 1e-7
    predicted = predicted.detach()
    assert float(order_invariant(predicted, truth) / 7) == pytest.approx(
        values["jin_order_inv"]["total"], abs=1e-6
    )
    assert float(naive(predicted, truth) / 7) == pytest.approx(
        values["jin_naive"]["total"], abs=1e-6
    )
    x1, x2, y1, y2 = vectors["oil_in"]
    pair = [torch.stack((one, one, two), 1) for one, two in ((x1, x2), (y1, y2))]
    assert float(order_invariant(*pair)) == pytest.approx(
        values["order_invariant_loss_raw"], abs=1e-6
    )


def test_losses_over_scales_are_the_authors(golden):
    """Purohit: the sum over four scales of the sum over pairs or frames, divided by four alone; the
    target is every second pixel.
    """
    vectors = golden("hypercut_losses")
    values, scales = (
        vectors.manifest["values"],
        [
            (vectors[f"pred_{level}"], vectors["gt"][..., :: 2**level, :: 2**level])
            for level in range(4)
        ],
    )
    means = {
        name: float(sum(loss(*scale) for scale in scales) / 4)
        for name, loss in (("naive", naive), ("order_inv", order_invariant))
    }
    assert means["order_inv"] == pytest.approx(
        values["purohit_order_inv"]["order_inv_loss"], abs=1e-5
    )
    assert means["naive"] == pytest.approx(values["purohit_naive"]["char_loss"], abs=1e-5)


def test_order_invariance(frames):
    predicted, truth = frames
    swapped = truth.clone()
    swapped[:, [1, 5]] = truth[:, [5, 1]]  # one pair alone
    assert torch.equal(order_invariant(predicted, truth), order_invariant(predicted, swapped))
    assert torch.allclose(
        order_invariant(predicted, truth), order_invariant(predicted.flip(1), truth)
    )
    assert order_invariant(truth.flip(1), truth) == 0 < order_invariant(predicted, truth)
    assert naive(truth, truth) == pytest.approx(7e-3) and naive(truth.flip(1), truth) > 1


def test_the_centre_has_no_loss_unless_asked_for(frames):
    predicted, truth = frames
    changed = predicted.clone()
    changed[:, 3] += 1
    assert torch.equal(order_invariant(changed, truth), order_invariant(predicted, truth))
    difference = order_invariant(changed, truth, centre=True) - order_invariant(predicted, truth)
    assert difference == pytest.approx(
        float((changed[:, 3] - truth[:, 3]).square().mean()), rel=1e-5
    )
    assert naive(changed, truth) != naive(predicted, truth)


def test_callers_truth_is_not_touched(frames):
    """The published loss flips it in place."""
    predicted, truth = frames
    before = truth.clone()
    for loss in (naive, order_invariant):
        loss(predicted, truth)
    assert torch.equal(truth, before)


def test_one_sided_by_hand():
    scores = torch.tensor([[1.0, 9.0, 2.0, 9.0, 3.0, 9.0], [0.0, 9.0, 0.0, 9.0, 0.0, 9.0]])
    expected = (sum(math.log(1 + math.exp(value)) for value in (1, 2, 3)) + 3 * math.log(2)) / 2
    assert one_sided(scores) == pytest.approx(expected)
