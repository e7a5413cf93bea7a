"""The cost volume: the authors' numbers, a product by hand, a slow loop, errors."""

from itertools import product

import pytest
import torch

from models.correlation import IMPLEMENTATIONS, correlation

PLAIN = ["auto", *(name for name in IMPLEMENTATIONS if name != "cupy")]


@pytest.mark.parametrize("impl", PLAIN)
def test_values_and_gradients_are_the_authors(golden, impl):
    vectors = golden("correlation")
    first, second = (vectors[key].clone().requires_grad_() for key in ("first", "second"))
    volume = correlation(first, second, impl=impl)
    volume.backward(vectors["grad_out"])
    for ours, key in ((volume, "out"), (first.grad, "grad_first"), (second.grad, "grad_second")):
        assert (ours - vectors[key]).abs().max() <= vectors.tolerance(key)


@pytest.mark.parametrize("impl", PLAIN)
def test_one_product_by_hand(impl):
    first, second = torch.zeros(2, 1, 2, 3, 4)
    first[0, :, 1, 1] = torch.tensor([2.0, 3.0])
    second[0, :, 2, 3] = torch.tensor([5.0, 7.0])  # displacement dx = 2, dy = 1
    volume = correlation(first, second, radius=2, impl=impl)
    assert volume.shape == (1, 25, 3, 4)
    assert volume[0, (1 + 2) * 5 + (2 + 2), 1, 1] == (2 * 5 + 3 * 7) / 2
    assert volume.count_nonzero() == 1


@pytest.mark.parametrize("impl", PLAIN)
def test_equals_a_loop_over_pixels(impl):
    torch.manual_seed(0)
    first, second = torch.randn(2, 2, 3, 4, 5)
    expected = torch.zeros(2, 9, 4, 5)
    steps = (-1, 0, 1)
    for y, x, dy, dx in product(range(4), range(5), steps, steps):
        if 0 <= y + dy < 4 and 0 <= x + dx < 5:
            products = first[:, :, y, x] * second[:, :, y + dy, x + dx]
            expected[:, (dy + 1) * 3 + dx + 1, y, x] = products.mean(1)
    torch.testing.assert_close(correlation(first, second, radius=1, impl=impl), expected)


def test_named_implementation_runs_or_raises():
    maps = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="no implementation 'fast'.*auto, reference"):
        correlation(maps, maps, impl="fast")
    with pytest.raises(ValueError, match="one shape"):
        correlation(maps, torch.zeros(1, 1, 2, 3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_cupy_without_a_gpu_says_so():
    maps = torch.zeros(1, 1, 2, 2)
    reason = "impl='cupy' can't run: it needs tensors on a CUDA device"
    with pytest.raises(ValueError, match=reason):
        correlation(maps, maps, impl="cupy")
