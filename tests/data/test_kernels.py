import numpy as np
import pytest
from scipy.io import savemat

from data.synthesis.kernels import (
    KINDS,
    fit_kernel,
    kernel_of_path,
    kernel_sheet,
    load_kernels,
    random_kernel,
    tremor,
)
from utils.errors import UserError
from utils.image import write_image


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_kernels(kind):
    for seed in range(20):
        kernel = random_kernel(np.random.default_rng(seed), 65, kind)
        assert kernel.shape == (65, 65) and kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        y, x = np.mgrid[:65, :65]
        assert (kernel * y).sum() == pytest.approx(32, abs=0.05)
        assert (kernel * x).sum() == pytest.approx(32, abs=0.05)
        assert np.array_equal(kernel, random_kernel(np.random.default_rng(seed), 65, kind))


def test_length_is_the_extent():
    for seed in range(5):
        kernel = random_kernel(np.random.default_rng(seed), 33, "walk", length=12)
        rows, columns = np.nonzero(kernel > 1e-6)
        assert max(np.ptp(rows), np.ptp(columns)) in (12, 13)


def test_tremor_has_the_asked_size_and_band():
    """About 15 px in half a second at 1000 px focal length, with a bump between 8 and 12 Hz."""
    paths = [tremor(np.random.default_rng(seed)) for seed in range(200)]
    extents = [np.ptp(path, axis=0).max() for path in paths]
    assert 4 < np.median(extents) < 20
    velocities = np.diff(paths, axis=1)  # [200,T,2]
    power = (np.abs(np.fft.rfft(velocities, axis=1)).sum(2) ** 2).mean(0)
    hertz = np.arange(len(power)) * 2  # 0.5 s
    bump = power[(hertz >= 8) & (hertz <= 12)].mean()
    assert bump > 1.5 * power[(hertz >= 16) & (hertz <= 24)].mean()
    assert power[hertz > 45].max() < 0.05 * power[1:4].max()


def test_a_path_by_hand():
    kernel = kernel_of_path(np.array([[0.0, 0.0], [2.0, 0.0]]), 5)
    assert kernel[2].tolist() == [0, 0.5, 0, 0.5, 0] and kernel.sum() == 1
    kernel = kernel_of_path(np.array([[0.0, 0.0], [1.0, 0.0]]), 5)
    assert kernel[2].tolist() == [0, 0.25, 0.5, 0.25, 0]
    with pytest.raises(ValueError, match="7.0 px does not fit into a kernel of 5 px"):
        kernel_of_path(np.array([[0.0, 0.0], [7.0, 0.0]]), 5)


def test_published_files_are_read(tmp_path):
    kernel = np.zeros((9, 7))
    kernel[4, 1:6] = 2
    savemat(tmp_path / "kernel0002.mat", {"K": kernel})
    np.save(tmp_path / "kernel0010.npy", kernel)
    even = np.uint8(kernel[:8] * 100)
    write_image(tmp_path / "drawn.png", np.repeat(even[..., None], 3, 2))
    found = load_kernels(tmp_path, 15)
    assert list(found) == ["drawn", "kernel0002", "kernel0010"]
    for array in found.values():
        assert array.shape == (15, 15)
        assert array.sum() == pytest.approx(1)
        assert array.max() == pytest.approx(0.2)
    (tmp_path / "some.txt").write_text("kernel0010.npy\n\nkernel0002.mat\n")
    assert list(load_kernels(tmp_path / "some.txt", 15)) == ["kernel0010", "kernel0002"]
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "elsewhere.txt").write_text("kernel0010.npy\nkernel0002.mat\n")
    assert list(load_kernels(lists / "elsewhere.txt", 15, tmp_path)) == ["kernel0010", "kernel0002"]
    with pytest.raises(UserError, match="no kernel at"):
        load_kernels(lists / "elsewhere.txt", 15)
    assert kernel_sheet(list(found.values())).shape == (98, 980, 3)


def test_bad_kernels_are_named(tmp_path):
    for name, array, message in (
        ("even", np.ones((4, 5)), r"has shape \(4, 5\): a blur kernel has two odd sides"),
        ("zero", np.zeros((5, 5)), "its sum not 0"),
        ("negative", -np.eye(5), "must be finite and not negative"),
        ("nan", np.full((5, 5), np.nan), "must be finite"),
        ("wide", np.ones((17, 17)), "does not fit into 15x15 pixels: raise --K"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(UserError, match=f"{name}.npy.*{message}"):
            load_kernels(tmp_path / f"{name}.npy", 15)
    savemat(tmp_path / "other.mat", {"kernel": np.eye(3)})
    with pytest.raises(UserError, match="holds kernel, no array called K"):
        load_kernels(tmp_path / "other.mat", 15)
    (tmp_path / "text.mat").write_bytes(b"not MATLAB at all, but long enough to look at" * 5)
    with pytest.raises(UserError, match="text.mat can't be read"):
        load_kernels(tmp_path / "text.mat", 15)
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="pickle.npy can't be read"):
        load_kernels(tmp_path / "pickle.npy", 15)
    (tmp_path / "list.txt").write_text("missing.mat")
    with pytest.raises(UserError, match="no kernel at .*missing.mat"):
        load_kernels(tmp_path / "list.txt", 15)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no kernels"):
        load_kernels(tmp_path / "none", 15)


def test_an_empty_rim_may_be_cut_off():
    kernel = np.zeros((17, 17))
    kernel[6:11, 6:11] = np.eye(5)
    assert fit_kernel(kernel, 7).sum() == pytest.approx(1)
