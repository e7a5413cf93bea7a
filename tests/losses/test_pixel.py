import pytest
import torch

from losses.pixel import (
    charbonnier,
    hard_example_mining,
    hard_pixels,
    l1,
    negative_psnr,
    random_pixels,
)


def test_figures_are_the_authors(golden):
    vectors = golden("hem")
    x, y = vectors["x"].clone().requires_grad_(), vectors["y"]
    none = torch.zeros(2, 1, 20, 24)
    error = (x - y).abs()
    assert torch.equal(hard_pixels(error, 0.5), vectors["hard_mask"])
    assert l1(x, y).item() == pytest.approx(vectors["l1"].item(), abs=1e-6)
    hard = hard_example_mining(x, y, none)
    hard.backward()
    assert hard.item() == pytest.approx(vectors["loss_hard"].item(), abs=1e-6)
    assert (x.grad - vectors["grad_x_hard"]).abs().max() <= 1e-9
    full = hard_example_mining(x, y, vectors["random_mask_seed0"])
    assert full.item() == pytest.approx(vectors["loss_full_seed0"].item(), abs=1e-6)
    assert (l1(x, y) + 2 * hard).item() == pytest.approx(
        vectors["total_1L1_2HEM_hard"].item(), abs=1e-6
    )


def test_hard_pixels_by_hand():
    error = torch.tensor([[1.0, 2.0], [4.0, 3.0]]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    assert hard_pixels(error, 0.5).flatten().tolist() == [
        0,
        0,
        1,
        1,
    ]  # strictly above the third largest sum
    assert (
        hard_example_mining(error, torch.zeros_like(error), torch.zeros(1, 1, 2, 2)).item()
        == (4 + 3) * 3 / 12
    )


def test_random_pixels_are_exact_and_depend_on_their_own_generator():
    error = torch.zeros(3, 2, 10, 15)

    def draw(*seeds):
        return random_pixels(
            error[: len(seeds)], 0.1, [torch.Generator().manual_seed(seed) for seed in seeds]
        )

    mask = draw(5, 6, 7)
    assert mask.shape == (3, 1, 10, 15) and mask.flatten(1).sum(1).tolist() == [15, 15, 15]
    assert torch.equal(mask[1:], draw(6, 7)) and not torch.equal(mask[0], mask[1])


def test_negative_psnr_by_hand():
    restored, sharp = (
        torch.tensor([0.6, 0.2]).view(2, 1, 1, 1),
        torch.tensor([0.5, 0.2]).view(2, 1, 1, 1),
    )
    # 10 log10(0.01 + 1e-4) = -19.957, and an identical pair counts as the floor's 40 dB
    assert negative_psnr(restored, sharp, floor=1e-4).item() == pytest.approx(
        (-19.9568 - 40) / 2, abs=1e-3
    )


def test_charbonnier_by_hand():
    assert charbonnier(
        torch.tensor([0.3]), torch.tensor([0.0]), epsilon=0.4
    ).item() == pytest.approx(0.5)
