from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.cluster_sweep import pixel_features
from tumorscope.imaging.kmeans import Partition, kmeans, summarize

clouds = hnp.arrays(
    np.int16, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.integers(-50, 50), unique=False
)


def assert_lloyd_has_settled(points: np.ndarray, found: Partition) -> None:
    """Each centre is the mean of its points, and each point has the label of a nearest centre."""
    k = len(found.centers)
    assert np.array_equal(np.unique(found.labels), np.arange(k))
    means = np.array([points[found.labels == label].mean(axis=0) for label in range(k)])
    np.testing.assert_allclose(found.centers, means, atol=1e-6)
    squared = np.square(points[:, None] - found.centers).sum(axis=2)
    own = squared[np.arange(len(points)), found.labels]
    np.testing.assert_allclose(own, squared.min(axis=1), atol=1e-6)
    assert found.within == pytest.approx(own.sum(), rel=1e-9, abs=1e-6)


@settings(max_examples=15)
@given(clouds, st.data())
def test_every_partition_is_an_optimum_of_lloyd(points: np.ndarray, data: st.DataObject) -> None:
    distinct = len(np.unique(points, axis=0))
    k = data.draw(st.integers(1, min(distinct, 6)))
    (found,) = kmeans(points, [k])
    assert_lloyd_has_settled(points.astype(float), found)


@settings(max_examples=10)
@given(clouds)
def test_one_cluster_is_the_mean_and_as_many_as_points_leave_nothing(points: np.ndarray) -> None:
    distinct = np.unique(points, axis=0)[:8]
    one, all_apart = kmeans(distinct, [1, len(distinct)])
    np.testing.assert_allclose(one.centers[0], distinct.mean(axis=0), atol=1e-9)
    assert one.within == pytest.approx(np.square(distinct - distinct.mean(axis=0)).sum(), abs=1e-6)
    assert all_apart.within == pytest.approx(0, abs=1e-9)


def test_the_optimum_of_few_points_is_found() -> None:
    points = np.random.default_rng(0).random((9, 2))
    best = min(
        sum(np.square(points[part] - points[part].mean(axis=0)).sum() for part in parts)
        for parts in ([np.flatnonzero(code >> np.arange(9) & 1), np.flatnonzero(~code >> np.arange(9) & 1)]
                      for code in range(1, 2**8))
    )  # fmt: skip
    assert kmeans(points, [2])[0].within == pytest.approx(best, rel=1e-9)


def test_separate_clouds_are_told_apart_whatever_their_number() -> None:
    generator = np.random.default_rng(3)
    middles = np.array([[x, y, z] for x in (0, 100) for y in (0, 100) for z in (0, 100)], float)
    truth = np.repeat(np.arange(8), 400)
    points = middles[truth] + generator.normal(0, 3, (3200, 3))
    (found,) = kmeans(points, [8])
    assert len(set(zip(truth.tolist(), found.labels.tolist(), strict=True))) == 8


def test_no_worse_than_ten_starts_of_scikit_learn_on_a_slice() -> None:
    from sklearn.cluster import KMeans

    points = pixel_features(phantom.make(3, "axial", "t1ce").image, 64)
    for k, found in zip((4, 9), kmeans(points, (4, 9)), strict=True):
        assert_lloyd_has_settled(points, found)
        assert found.within <= 1.001 * KMeans(k, n_init=10, random_state=0).fit(points).inertia_


def test_the_same_seed_gives_the_same_clusters_in_the_order_asked_for() -> None:
    points = np.random.default_rng(0).random((500, 3))
    first, second = kmeans(points, [5, 3], seed=4), kmeans(points, [5, 3], seed=4)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.labels, b.labels) and a.within == b.within
    assert [len(found.centers) for found in first] == [5, 3]


def test_a_summary_keeps_the_mass_and_the_mean() -> None:
    points = np.random.default_rng(0).random((9000, 3)) * [1, 50, 200]
    cells, sizes = summarize(points, 1000)
    assert 400 < len(cells) <= 1000 and sizes.sum() == 9000
    np.testing.assert_allclose(sizes @ cells / 9000, points.mean(axis=0))
    assert summarize(points[:10], 1000)[0] is not None and len(summarize(points[:10], 1000)[0]) == 10


def test_far_from_the_origin_and_tiny_units_change_nothing() -> None:
    points = np.round(np.random.default_rng(0).random((300, 2)) * 1024)
    (here,), (there,) = kmeans(points, [4]), kmeans(points / 1024 + 4096, [4])
    assert there.within == pytest.approx(here.within / 1024**2, rel=1e-6)


@pytest.mark.parametrize(
    ("points", "ks", "match"),
    [
        (np.zeros((0, 3)), [1], "at least one point"),
        (np.zeros(4), [1], "pass \\(N, d\\)"),
        (np.array([[np.nan, 1.0]]), [1], "NaN"),
        (np.zeros((5, 2)), [2], "1 distinct points cannot form 2"),
        (np.eye(3), [], "from 1 up"),
        (np.eye(3), [0], "from 1 up"),
    ],
)
def test_wrong_input_is_refused(points: np.ndarray, ks: list[int], match: str) -> None:
    with pytest.raises(ScanError, match=match):
        kmeans(points, ks)


def test_many_points_of_few_places():
    (found,) = kmeans(np.repeat([[0.0], [1.0]], 3000, axis=0), [2])
    assert found.within == 0 and sorted(np.bincount(found.labels).tolist()) == [3000, 3000]
