from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumorscope.errors import ScanError
from tumorscope.imaging import cluster_indices
from tumorscope.imaging.cluster_indices import calinski_harabasz, silhouettes, sums_of_squares


def cloud(seed: int, number: int, whole: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    points = generator.integers(-30, 300, (number, 3)) if whole else generator.normal(5, 2, (number, 3))
    labelings = [generator.integers(0, k, number) for k in (2, 3, 7)]
    for labels in labelings:
        labels[:2] = 0, 1  # at least two
    return points, labelings


class TestAgainstScikitLearn:
    @settings(max_examples=25)
    @given(st.integers(0, 2**32 - 1), st.integers(9, 90), st.booleans())
    def test_silhouettes(self, seed: int, number: int, whole: bool) -> None:
        points, labelings = cloud(seed, number, whole)
        expected = [metrics.silhouette_score(points, labels) for labels in labelings]
        np.testing.assert_allclose(silhouettes(points, labelings), expected, atol=1e-5)

    @settings(max_examples=25)
    @given(st.integers(0, 2**32 - 1), st.integers(9, 90), st.booleans())
    def test_calinski_harabasz(self, seed: int, number: int, whole: bool) -> None:
        points, labelings = cloud(seed, number, whole)
        for labels in labelings:
            expected = metrics.calinski_harabasz_score(points, labels)
            assert calinski_harabasz(points, labels) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("whole", [True, False])
    def test_more_points_than_a_block_holds(self, whole: bool) -> None:
        number = cluster_indices.COLUMNS + cluster_indices.ROWS + 77
        points, labelings = cloud(1, number, whole)
        expected = [metrics.silhouette_score(points, labels) for labels in labelings]
        np.testing.assert_allclose(silhouettes(points, labelings), expected, atol=1e-6)

    def test_near_points_far_from_the_origin(self) -> None:
        points, labelings = cloud(1, 60, False)
        expected = [metrics.silhouette_score(points, labels) for labels in labelings]
        np.testing.assert_allclose(silhouettes(points + 1e6, labelings), expected, atol=1e-6)
        np.testing.assert_allclose(silhouettes(points * 1e-9, labelings), expected, atol=1e-6)


class TestByHand:
    def test_two_pairs(self) -> None:
        # 0 | 1 in one cluster, 4 | 6 in the other. a = 1, 1, 2, 2; b = 5, 4, 3.5, 5.5
        expected = np.mean([4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5])
        found = silhouettes(np.array([[0], [1], [4], [6]]), [np.array([7, 7, -2, -2])])
        assert found[0] == pytest.approx(expected, abs=1e-7)

    def test_a_point_alone_counts_as_zero(self) -> None:
        # 0 and 2 together: a = 2, b = 8 and 6 to the point at 8, which is alone
        found = silhouettes(np.array([[0], [2], [8]]), [np.array([0, 0, 1])])
        assert found[0] == pytest.approx((6 / 8 + 4 / 6 + 0) / 3, abs=1e-7)

    def test_copies_of_a_point(self) -> None:
        assert silhouettes(np.zeros((4, 2)), [np.array([0, 0, 1, 1])])[0] == 0
        assert silhouettes(np.array([[0], [0], [5], [5]]), [np.array([0, 0, 1, 1])])[0] == 1

    def test_sums_of_squares_of_one_cluster(self) -> None:
        within, between = sums_of_squares(np.array([[1.0, 0], [3, 0]]), np.array([5, 5]))
        assert (within, between) == (2, 0)

    def test_calinski_harabasz_without_spread(self) -> None:
        assert calinski_harabasz(np.array([[0], [0], [5], [5]]), np.array([0, 0, 1, 1])) == np.inf


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(9, 90), st.booleans())
def test_within_and_between_make_up_the_whole(seed: int, number: int, whole: bool) -> None:
    points, labelings = cloud(seed, number, whole)
    total = np.square(points - points.mean(axis=0)).sum()
    for labels in labelings:
        assert sum(sums_of_squares(points, labels)) == pytest.approx(total, rel=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.permutations(range(7)))
def test_names_of_labels_and_the_order_of_points_do_not_matter(seed: int, names: list[int]) -> None:
    points, labelings = cloud(seed, 40, True)
    order = np.random.default_rng(seed).permutation(40)
    renamed = [np.array(names)[labels][order] for labels in labelings]
    np.testing.assert_allclose(silhouettes(points[order], renamed), silhouettes(points, labelings), atol=1e-6)


def test_no_labelings_no_silhouettes() -> None:
    assert silhouettes(np.eye(3), []).shape == (0,)


@pytest.mark.parametrize(
    ("points", "labels", "match"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least one point"),
        (np.zeros(3), np.zeros(3, int), "pass \\(N, d\\)"),
        (np.array([[np.inf], [0], [1]]), np.array([0, 0, 1]), "infinite"),
        (np.eye(3), np.array([0, 1]), "one label a point"),
        (np.eye(3), np.array([1, 1, 1]), "1 clusters of 3 points"),
        (np.eye(3), np.array([0, 1, 2]), "3 clusters of 3 points"),
    ],
)
def test_wrong_input_is_refused(points: np.ndarray, labels: np.ndarray, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        silhouettes(points, [labels])
    with pytest.raises(ScanError, match=match):
        calinski_harabasz(points, labels)
