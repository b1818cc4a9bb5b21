from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.datasets.phantom_anatomy import Tissue
from tumorscope.errors import MissingExtra, ScanError
from tumorscope.imaging.bias import correct_bias

needs_simpleitk = pytest.mark.skipif(
    importlib.util.find_spec("SimpleITK") is None, reason="needs SimpleITK: pip install SimpleITK"
)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


def shaded(seed: int, bias: float, contrast: str = "t1ce") -> tuple[phantom.Phantom, NDArray[np.bool_]]:
    """A phantom in a bias field of this strength, and its white matter."""
    scan = phantom.make(seed, "axial", contrast, 192, bias=bias, offset=25.0, bits=16)
    return scan, scan.tissues == Tissue.WHITE


def variation(image: NDArray, where: NDArray[np.bool_]) -> float:
    """Standard deviation as a share of the mean."""
    return float(image[where].std() / image[where].mean())


def checkers() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two tissues in turn, and a smooth field."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    return np.where(np.sin(9 * x) * np.sin(9 * y) > 0, 120.0, 80.0), np.exp(0.15 * x - 0.1 * y**2 + 0.05 * x * y)


@pytest.mark.parametrize("method", ["quick", pytest.param("n4", marks=needs_simpleitk)])
@pytest.mark.parametrize("seed", [0, 4, 6])
def test_white_matter_becomes_as_even_as_without_a_field(seed: int, method: str) -> None:
    scan, white = shaded(seed, 0.3)
    even = variation(shaded(seed, 0.0)[0].image, white)
    before = variation(scan.image, white)
    after = variation(correct_bias(scan.image, method, scan.brain).image, white)
    assert before > 1.5 * even
    assert after < even + 0.4 * (before - even)


@pytest.mark.parametrize("seed", [0, 4, 6])
def test_the_field_is_the_phantoms(seed: int) -> None:
    scan, white = shaded(seed, 0.3)
    truth = scan.image[white].astype(float) / np.maximum(shaded(seed, 0.0)[0].image[white], 1)
    found = correct_bias(scan.image, where=scan.brain).field[white]
    assert np.corrcoef(np.log(np.maximum(truth, 1e-3)), np.log(found))[0, 1] > 0.9


def test_a_known_field_is_found() -> None:
    tissue, field = checkers()
    found = correct_bias(tissue * field, where=np.ones(tissue.shape))
    expected = field / np.exp(np.log(field).mean())
    np.testing.assert_allclose(found.field, expected, rtol=0.02)


def test_an_even_scan_stays_nearly_even() -> None:
    tissue, _ = checkers()
    np.testing.assert_allclose(correct_bias(tissue).field, 1, atol=0.01)


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([1 / 64, 16.0, 4096.0]))
def test_units_pass_through(seed: int, factor: float) -> None:
    tissue, field = checkers()
    image = tissue * field + np.random.default_rng(seed).normal(0, 2, tissue.shape)
    found, scaled = correct_bias(image), correct_bias(image * factor)
    np.testing.assert_allclose(scaled.field, found.field, rtol=1e-3)
    np.testing.assert_allclose(scaled.image, found.image * factor, rtol=1e-3)


@settings(max_examples=40)
@given(hnp.arrays(np.float32, shapes, elements=st.floats(0, 1000, width=32)))
def test_image_and_field_multiply_to_the_input(image: np.ndarray) -> None:
    found = correct_bias(image)
    assert found.field.shape == image.shape and (found.field > 0).all()
    np.testing.assert_allclose(found.image * found.field, image, rtol=1e-5, atol=1e-30)


@settings(max_examples=20)
@given(shapes, st.sampled_from([0.0, 1e-20, 7.0, 1e25]))
def test_a_constant_image_has_no_field(shape: tuple[int, int], value: float) -> None:
    np.testing.assert_allclose(correct_bias(np.full(shape, value)).field, 1, rtol=1e-4)


def test_an_empty_mask_counts_as_none() -> None:
    tissue, field = checkers()
    found = correct_bias(tissue * field, where=np.zeros(tissue.shape, bool))
    assert np.array_equal(found.field, correct_bias(tissue * field).field)


@pytest.mark.parametrize(
    ("image", "arguments", "match"),
    [
        (np.array([[-1.0, 2.0]]), {}, "0 or more"),
        (np.eye(3), {"method": "n3"}, "known: quick, n4"),
        (np.eye(3), {"where": np.eye(4)}, "does not fit"),
        (np.full((2, 2), np.nan), {}, "NaN"),
        (np.zeros((2, 2, 2)), {}, "3-D"),
    ],
)
def test_wrong_input_is_refused(image: np.ndarray, arguments: dict, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        correct_bias(image, **arguments)


def test_n4_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtra, match=r"SimpleITK.*pip install"):
        correct_bias(np.eye(40), "n4")


@needs_simpleitk
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 25), (181, 77)])
def test_n4_takes_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(50, 200, shape)
    found = correct_bias(image, "n4")
    assert found.image.shape == shape and np.isfinite(found.image).all()
