"""PSNR and SSIM: against figures worked out by hand, and what they say of equal and of unlike images."""

import math

import numpy as np
import pytest

from fedward.errors import DataError
from fedward.reconstruction.quality import psnr, ssim, ssim_global
from fedward.types import Vector


def noise(seed: int, n: int = 3, size: int = 16) -> Vector:
    return np.random.default_rng(seed).random((n, size, size, 1), np.float32)


def test_psnr_of_a_known_mean_squared_error() -> None:
    zeros = np.zeros((2, 16, 16, 1), np.float32)
    others = np.stack([np.full((16, 16, 1), 0.1, np.float32), np.full((16, 16, 1), 0.01, np.float32)])
    assert psnr(zeros, others) == pytest.approx([20.0, 40.0], abs=1e-4)
    half = zeros.copy()
    half[:, :8] = 0.1  # half the pixels: half the error, 3.01 dB more
    assert psnr(zeros, half) == pytest.approx([20.0 + 10 * math.log10(2)] * 2, abs=1e-4)


def test_equal_images_are_as_close_as_can_be() -> None:
    images = noise(1)
    assert np.isposinf(psnr(images, images)).all()
    assert ssim(images, images) == pytest.approx([1.0] * 3, abs=1e-6)
    assert ssim_global(images, images) == pytest.approx([1.0] * 3, abs=1e-9)


def test_ssim_of_flat_images_is_the_term_of_their_light() -> None:
    a, b = np.full((1, 16, 16, 1), 0.5, np.float32), np.full((1, 16, 16, 1), 0.6, np.float32)
    expected = (2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4)
    assert ssim(a, b) == pytest.approx([expected], abs=1e-3)  # float32, whose variance of a flat image is not quite 0
    assert ssim_global(a, b) == pytest.approx([expected], abs=1e-6)


def test_an_image_and_its_negative_are_unlike() -> None:
    images = noise(2)
    assert (ssim(images, 1 - images) < -0.5).all()
    assert (ssim_global(images, 1 - images) < -0.5).all()


def test_the_window_of_ssim_is_11_by_11_gaussian() -> None:
    """Of one 11 by 11 image there is one window; its moments are taken here with weights of our own."""
    a, b = noise(3, 1, 11), noise(4, 1, 11)
    bell = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    weights = np.outer(bell, bell) / bell.sum() ** 2
    x, y = a[0, ..., 0].astype(np.float64), b[0, ..., 0].astype(np.float64)
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x, var_y = (weights * x * x).sum() - mean_x**2, (weights * y * y).sum() - mean_y**2
    shared = (weights * x * y).sum() - mean_x * mean_y
    expected = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    expected *= (2 * shared + 9e-4) / (var_x + var_y + 9e-4)
    assert ssim(a, b) == pytest.approx([expected], abs=1e-5)


def test_one_figure_an_image_whatever_the_number_of_images() -> None:
    a, b = noise(5, 300), noise(6, 300)
    for measure in (psnr, ssim, ssim_global):
        whole = measure(a, b)
        assert whole.shape == (300,)
        assert whole[[0, 299]] == pytest.approx([measure(a[:1], b[:1])[0], measure(a[299:], b[299:])[0]], abs=1e-6)
        assert measure(a[:0], b[:0]).shape == (0,)


def test_images_that_cannot_be_compared_are_refused() -> None:
    for measure in (psnr, ssim, ssim_global):
        with pytest.raises(DataError, match="cannot be compared"):
            measure(noise(1), noise(1, 2))
    with pytest.raises(DataError, match="at least 11 pixels"):
        ssim(noise(1, 1, 8), noise(2, 1, 8))
