from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.cluster_sweep import Suggestion, Sweep, knee, pixel_features, sweep
from tumorscope.imaging.kmeans import kmeans


@pytest.fixture(scope="module")
def slice_() -> np.ndarray:
    return phantom.make(3, "axial", "t1ce").image


def test_the_indices_are_those_of_scikit_learn_for_the_same_labels(slice_: np.ndarray) -> None:
    found = sweep(slice_, [3, 2, 5], size=40)
    assert found.ks.tolist() == [2, 3, 5]
    points = pixel_features(slice_, 40)
    total = np.square(points - points.mean(axis=0)).sum()
    for at, partition in enumerate(kmeans(points, [2, 3, 5])):
        assert found.within[0, at] == pytest.approx(partition.within, rel=1e-9)
        assert found.within[0, at] + found.between[0, at] == pytest.approx(total, rel=1e-9)
        silhouette = metrics.silhouette_score(points, partition.labels)
        ratio = metrics.calinski_harabasz_score(points, partition.labels)
        assert found.silhouette[0, at] == pytest.approx(silhouette, abs=1e-5)
        assert found.calinski_harabasz[0, at] == pytest.approx(ratio, rel=1e-9)


def test_images_are_averaged(slice_: np.ndarray) -> None:
    other = phantom.make(4, "axial", "flair").image
    both, first, second = (sweep(images, [2, 4], size=24) for images in ([slice_, other], slice_, [other]))
    assert both.within.shape == (2, 2)
    for name, values in both.means.items():
        np.testing.assert_allclose(values, (getattr(first, name)[0] + getattr(second, name)[0]) / 2)


def test_more_clusters_leave_less_within(slice_: np.ndarray) -> None:
    found = sweep(slice_, range(2, 12), size=40)
    assert (np.diff(found.within[0]) < 0).all() and (np.diff(found.between[0]) > 0).all()


def test_the_same_seed_and_other_units_give_the_same(slice_: np.ndarray) -> None:
    first = sweep(slice_, [2, 6], size=32, seed=5)
    for again in (
        sweep(slice_, [2, 6], size=32, seed=5),
        sweep(slice_ * np.float32(64) - 128, [2, 6], size=32, seed=5),
    ):
        for name in ("within", "between", "silhouette", "calinski_harabasz"):
            assert np.array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (47, 31)])
def test_any_size_and_a_constant_image_have_indices(shape: tuple[int, int]) -> None:
    found = sweep(np.full(shape, 7, np.int16), [2, 3], size=9)
    assert np.isfinite(list(found.means.values())).all()


class TestFeatures:
    def test_columns_are_x_y_and_grey(self) -> None:
        points = pixel_features(np.arange(12).reshape(3, 4), 6)
        assert points.shape == (36, 3) and points.max(axis=0).tolist() == [5, 5, 255]
        assert points[1, :2].tolist() == [1, 0] and points[6, :2].tolist() == [0, 1]
        assert np.array_equal(points, np.rint(points))

    def test_a_constant_image_is_all_zero(self) -> None:
        assert not pixel_features(np.full((5, 5), 9.0), 4)[:, 2].any()


class TestSuggestion:
    def test_the_knee_of_two_lines_is_where_they_meet(self) -> None:
        ks = np.arange(2, 21)
        assert knee(ks, np.maximum(100 - 20 * (ks - 2), 20 - (ks - 2))) == 6

    def test_a_straight_or_constant_curve_has_no_knee_but_the_first(self) -> None:
        assert knee([2, 3, 4, 5], np.array([8.0, 6, 4, 2])) == 2
        assert knee([2, 3, 4], np.array([1.0, 1, 1])) == 2
        assert knee([5, 6], np.array([9.0, 1])) == 5

    def test_units_of_the_curve_do_not_matter(self) -> None:
        curve = np.array([90.0, 40, 22, 15, 12, 10.5])
        assert knee(range(2, 8), curve) == knee(range(2, 8), 1e6 * curve + 77)

    @pytest.mark.parametrize(
        ("rules", "k", "words"),
        [((4, 4, 4), 4, "agree."), ((4, 2, 2), 2, "of which two agree"), ((5, 2, 9), 5, "that disagree")],
    )
    def test_the_middle_one_is_suggested_and_disagreement_is_said(
        self, rules: tuple[int, int, int], k: int, words: str
    ) -> None:
        found = Suggestion(*rules)
        assert found.k == k and found.agree == (len(set(rules)) == 1)
        assert words in str(found) and f"k = {k}" in str(found)

    def test_each_rule_reads_its_own_averaged_curve(self) -> None:
        flat = np.ones((2, 4))
        found = Sweep(
            np.array([2, 3, 4, 5]), np.array([[10.0, 1, 0.5, 0], [10, 2, 1, 0]]), flat,
            np.array([[0.1, 0.2, 0.9, 0.1], [0.1, 0.8, 0.7, 0.1]]), np.array([[1.0, 2, 3, 9], [1, 2, 3, 1]]),
        )  # fmt: skip
        assert found.suggestion == Suggestion(elbow=3, silhouette=4, calinski_harabasz=5)


@pytest.mark.parametrize(
    ("images", "ks", "size", "match"),
    [
        ([], [2], 9, "no image"),
        (np.zeros((3, 3)), [1, 2], 9, "from 2 to 80"),
        (np.zeros((3, 3)), [81], 9, "from 2 to 80"),
        (np.zeros((3, 3)), [], 9, "from 2 to 80"),
        (np.array([[np.nan]]), [2], 9, "NaN"),
        ([np.zeros((3, 3, 3))], [2], 9, "3-D"),
        (np.zeros((3, 3)), [2], 0, "sweep"),
    ],
)
def test_wrong_input_is_refused(images: object, ks: list[int], size: int, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        sweep(images, ks, size=size)
