from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.filters import threshold_multiotsu

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.intensity_clusters import (
    EXACT,
    METHODS,
    Clusters,
    exact_kmeans,
    gaussian_mixture,
    intensity_clusters,
    multi_otsu,
)

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
dtypes = st.sampled_from([np.uint8, np.int16, np.uint16, np.bool_, np.float32])


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(dtypes))
    elements = st.floats(-9, 9, width=32) if dtype.kind == "f" else None
    return draw(hnp.arrays(dtype, draw(shapes), elements=elements))


def assert_sorted(image: np.ndarray, found: Clusters) -> None:
    """Labels 0…k − 1, all used, by mean grey value; the means and the sum of squares are those of the pixels."""
    values = image.astype(np.float64)
    assert found.labels.shape == image.shape and found.labels.dtype == np.uint8
    assert np.array_equal(np.unique(found.labels), np.arange(found.k))
    means = [values[found.labels == label].mean() for label in range(found.k)]
    np.testing.assert_allclose(found.means, means, rtol=1e-4, atol=1e-4)
    assert (np.diff(found.means) >= 0).all()
    within = sum(np.square(values[found.labels == label] - mean).sum() for label, mean in enumerate(means))
    assert found.within == pytest.approx(within, rel=1e-4, abs=1e-3)


@settings(max_examples=80)
@given(images(), st.sampled_from(["kmeans", "otsu"]), st.integers(1, 9))
def test_clusters_are_sorted_by_mean(image: np.ndarray, method: str, k: int) -> None:
    found = intensity_clusters(image, k, method=method)
    assert found.k == min(k, len(np.unique(image))) and found.method == method
    assert_sorted(image, found)
    ordered = found.labels.ravel()[np.argsort(image, axis=None, kind="stable")].astype(int)
    assert (np.diff(ordered) >= 0).all(), "clusters are intervals of grey values"


@settings(max_examples=15)
@given(images(), st.integers(1, 5))
def test_mixtures_are_sorted_by_mean(image: np.ndarray, k: int) -> None:
    found = gaussian_mixture(image, k)
    assert 1 <= found.k <= k
    assert_sorted(image, found)


@settings(max_examples=60)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 3))), st.integers(2, 4))
def test_exact_kmeans_has_the_smallest_sum_of_squares_of_all_partitions(image: np.ndarray, k: int) -> None:
    values = np.unique(image)
    pixels = image.ravel().astype(float)
    best = np.inf
    for cuts in combinations(values[1:], min(k, len(values)) - 1):
        part = np.searchsorted(cuts, pixels, side="right")
        best = min(best, sum(np.square(pixels[part == p] - pixels[part == p].mean()).sum() for p in np.unique(part)))
    assert exact_kmeans(image, k).within == pytest.approx(best, abs=1e-9)


@settings(max_examples=25)
@given(hnp.arrays(np.uint8, shapes), st.sampled_from([0.25, 3.0]), st.sampled_from([-1000.0, 0.5]), st.integers(2, 5))
def test_units_do_not_matter(image: np.ndarray, factor: float, shift: float, k: int) -> None:
    here, there = exact_kmeans(image, k), exact_kmeans(image * factor + shift, k)
    assert there.within == pytest.approx(here.within * factor**2, rel=1e-6, abs=1e-6)


def test_the_type_of_the_numbers_does_not_matter() -> None:
    image = phantom.make(3, "axial", "t1ce").image
    first = exact_kmeans(image, 10)
    for dtype in (np.int32, np.float32, np.float64):
        again = exact_kmeans(image.astype(dtype), 10)
        assert np.array_equal(first.labels, again.labels) and first.within == pytest.approx(again.within)


def test_never_worse_than_scikit_learn_and_equal_to_it_from_the_optimum() -> None:
    from sklearn.cluster import KMeans

    image = phantom.make(5, "axial", "flair").image
    column = image.reshape(-1, 1).astype(float)
    for k in (3, 10):
        found = exact_kmeans(image, k)
        assert found.within <= KMeans(k, n_init=2, random_state=0).fit(column).inertia_ * (1 + 1e-9)
        settled = KMeans(k, init=found.means[:, None], n_init=1, tol=0).fit(column)
        assert settled.inertia_ == pytest.approx(found.within, rel=1e-9)
        assert np.array_equal(settled.labels_.reshape(image.shape), found.labels)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("seed", [3, 8])
def test_otsu_is_that_of_scikit_image(seed: int, classes: int) -> None:
    image = phantom.make(seed, "axial", "t1").image
    expected = np.digitize(image, threshold_multiotsu(image, classes), right=True)
    found = multi_otsu(image, classes)
    assert np.array_equal(found.labels, expected)
    assert found.within == pytest.approx(exact_kmeans(image, classes).within), "the same criterion as k-means"


def test_many_fractions_are_counted_in_steps_and_lose_next_to_nothing() -> None:
    image = np.random.default_rng(0).gamma(2, 30, (100, 100)).astype(np.float32)
    assert len(np.unique(image)) > EXACT
    found, fine = exact_kmeans(image, 6), exact_kmeans(image, 6, bins=60_000)
    assert_sorted(image, found)
    assert fine.within <= found.within <= 1.0005 * fine.within


def test_a_narrow_background_parts_from_wide_tissue_in_a_mixture_only() -> None:
    generator = np.random.default_rng(0)
    background, tissue = generator.normal(10, 1, 4000), generator.normal(60, 20, 6000)
    image = np.clip(np.concatenate([background, tissue]), 0, 255).reshape(100, 100)
    truth = np.repeat([0, 1], [4000, 6000]).reshape(100, 100)
    wrong = {method: np.mean(intensity_clusters(image, 2, method=method).labels != truth) for method in METHODS}
    assert wrong["mixture"] < 0.01 < 0.05 < wrong["kmeans"]


def test_the_smallest_differences_are_still_counted_in_steps() -> None:
    image = (np.arange(90 * 60).reshape(90, 60) * np.finfo(np.float32).smallest_subnormal).astype(np.float32)
    assert np.bincount(exact_kmeans(image, 3).labels.ravel()) == pytest.approx([1800, 1800, 1800], rel=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (31, 17)])
def test_a_constant_image_is_one_cluster(method: str, shape: tuple[int, int]) -> None:
    found = intensity_clusters(np.full(shape, -3.5), 4, method=method)
    assert found.k == 1 and found.means.tolist() == [-3.5] and not found.labels.any() and found.within == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_same_image_gives_the_same_clusters_and_is_left_alone(method: str) -> None:
    image = phantom.make(3, "axial", "t2").image
    before = image.copy()
    first, second = (intensity_clusters(image, 6, method=method) for _ in range(2))
    assert np.array_equal(first.labels, second.labels) and np.array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "arguments", "match"),
    [
        (np.zeros((2, 2)), {"k": 0}, "1 to 255"),
        (np.zeros((2, 2)), {"k": 256}, "1 to 255"),
        (np.zeros((2, 2)), {"k": 2, "method": "kmean"}, "did you mean 'kmeans'"),
        (np.zeros((2, 2, 3)), {"k": 2}, "3-D"),
        (np.zeros((0, 2)), {"k": 2}, "no pixels"),
        (np.array([[np.nan, 1]]), {"k": 2}, "NaN"),
    ],
)
def test_wrong_input_is_refused(image: np.ndarray, arguments: dict, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        intensity_clusters(image, **arguments)


@pytest.mark.parametrize("function", [exact_kmeans, multi_otsu])
def test_fewer_bins_than_clusters_are_refused(function: object) -> None:
    with pytest.raises(ScanError, match="5 bins cannot form 6 clusters"):
        function(np.zeros((2, 2)), 6, bins=5)
