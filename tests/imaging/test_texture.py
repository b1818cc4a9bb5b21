from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.feature import graycomatrix, graycoprops

from tumorscope.errors import ScanError
from tumorscope.imaging.texture import binary_patterns, cooccurrence, edges, local_entropy, matrices

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=15)
ALL = (cooccurrence, binary_patterns, local_entropy, edges)


def noise(seed: int, shape: tuple[int, int] = (24, 19)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


class TestCooccurrence:
    @settings(max_examples=30)
    @given(st.integers(0, 999), st.integers(3, 14), st.integers(3, 14), st.integers(2, 6))
    def test_matrices_and_properties_are_those_of_scikit_image(self, seed: int, h: int, w: int, bins: int) -> None:
        levels = np.random.default_rng(seed).integers(1, bins + 1, (h, w))
        levels[0, 0], levels[0, 1] = 1, bins
        angles = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
        counts = graycomatrix((levels - 1).astype(np.uint8), [1], angles, levels=bins, symmetric=True)
        assert np.array_equal(matrices(levels).sum(axis=0), counts[:, :, 0].sum(axis=-1))
        shares = counts / counts.sum(axis=(0, 1))
        found = cooccurrence(levels, width=1)
        names = {
            "contrast": "Contrast", "dissimilarity": "DifferenceAverage", "homogeneity": "Idm", "ASM": "JointEnergy",
            "correlation": "Correlation",
        }  # fmt: skip
        for theirs, ours in names.items():
            assert found[ours] == pytest.approx(graycoprops(shares, theirs).mean(), abs=1e-9), ours
        assert found["JointEntropy"] == pytest.approx(graycoprops(shares, "entropy").mean() / np.log(2), abs=1e-9)

    @settings(max_examples=30)
    @given(st.integers(0, 999), shapes, st.integers(1, 4))
    def test_every_pair_inside_is_counted_twice(self, seed: int, shape: tuple[int, int], distance: int) -> None:
        rng = np.random.default_rng(seed)
        levels = rng.integers(0, 4, shape)
        rows, columns = np.nonzero(levels)
        far = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
        assert matrices(levels, distance).sum() == np.count_nonzero(far == distance)

    @pytest.mark.parametrize("distance", [1, 2, 4])
    def test_turning_and_mirroring_change_nothing(self, distance: int) -> None:
        image, mask = noise(1), noise(2) > 0.2
        plain = cooccurrence(image, mask, distance=distance)
        for turn in (np.rot90, np.fliplr, np.transpose):
            assert cooccurrence(turn(image), turn(mask), distance=distance) == pytest.approx(plain)

    def test_a_constant_region(self) -> None:
        found = cooccurrence(np.full((5, 5), 7))
        assert found["Contrast"] == found["JointEntropy"] == found["Imc1"] == found["Imc2"] == 0
        assert found["Correlation"] == found["JointEnergy"] == found["Idm"] == found["MaximumProbability"] == 1

    def test_pixels_too_far_apart_tell_nothing(self) -> None:
        where = np.zeros((9, 9), bool)
        where[0, 0] = where[8, 8] = True
        assert all(np.isnan(list(cooccurrence(noise(0, (9, 9)), where).values())))
        assert list(cooccurrence(np.ones((1, 1)))) == list(cooccurrence(np.ones((3, 3))))
        with pytest.raises(ScanError, match="stand 1 px"):
            cooccurrence(np.ones((3, 3)), distance=0)


class TestBinaryPatterns:
    @settings(max_examples=30)
    @given(st.integers(0, 999), shapes)
    def test_shares_add_up(self, seed: int, shape: tuple[int, int]) -> None:
        found = binary_patterns(noise(seed, shape))
        assert len(found) == 10 and sum(found.values()) == pytest.approx(1)

    def test_a_peak_a_pit_and_a_corner(self) -> None:
        image = np.zeros((9, 9))
        image[4, 4] = 1
        found = binary_patterns(image)
        assert found["0"] == pytest.approx(1 / 81)  # the peak: no neighbour is as bright
        assert found["8"] == pytest.approx(80 / 81)  # on dark, every neighbour is at least as bright
        found = binary_patterns(1 - image)
        assert found["8"] == pytest.approx((1 + 72) / 81)  # the pit, and all that do not see it
        # The circle's diagonal points lie between four pixels: a pixel beside the pit has three points that are
        # darker, one across its corner has one.
        assert found["5"] == found["7"] == pytest.approx(4 / 81)

    def test_brightness_and_contrast_do_not_matter(self) -> None:
        steps = np.random.default_rng(3).integers(0, 256, (30, 30))
        steps[0, :2] = 0, 255
        assert binary_patterns(steps * 2.0 + 100) == binary_patterns(steps.astype(float))


class TestLocalEntropy:
    def test_by_hand(self) -> None:
        # 5 pixels of a plus-shaped disc, 3 of one and 2 of the other level or 4 and 1; the middle of a checkerboard
        # sees itself and 4 others: H(1/5) = 0.7219
        board = np.indices((9, 9)).sum(axis=0) % 2
        inner = np.zeros((9, 9), bool)
        inner[1:-1, 1:-1] = True
        found = local_entropy(board, radius=1)
        assert 0.72 < found["mean"] < 0.83  # at the rim 4 or 3 pixels count: H(1/4) = 0.81, H(1/3) = 0.92
        assert local_entropy(np.ones((5, 5)))["mean"] == 0

    def test_noise_has_more_than_a_ramp(self) -> None:
        y, x = np.mgrid[:40, :40]
        assert local_entropy(noise(0, (40, 40)))["mean"] > local_entropy(y + x)["mean"] + 1
        with pytest.raises(ScanError, match="radius"):
            local_entropy(y, radius=0)


class TestEdges:
    def test_a_step_has_one_line_of_edge(self) -> None:
        image = np.zeros((40, 40))
        image[:, 20:] = 1
        found = edges(image)
        assert found["density"] == pytest.approx(1 / 40, abs=0.02)
        # Sobel sees a step of the whole range over two columns, half of it at each: 2 of 40 columns at 0.5
        assert found["gradient"] == pytest.approx(0.5 * 2 / 40, rel=0.01)

    def test_the_rim_of_the_mask_is_no_edge(self) -> None:
        y, x = np.mgrid[:60, :60]
        disc = np.hypot(y - 30, x - 30) < 20
        found = edges(disc * (0.5 + 0.001 * y), disc)
        assert found["density"] == 0
        assert edges(disc.astype(float))["density"] > 0.02


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 9), (9, 1), (2, 2), (13, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64, bool])
def test_any_size_and_type(measure: object, shape: tuple[int, int], dtype: type) -> None:
    image = (noise(0, shape) * 200).astype(dtype)
    found = measure(image)  # type: ignore[operator]
    assert all(isinstance(value, float) for value in found.values())
    if measure is not cooccurrence or image.size > 1:
        assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("measure", ALL)
def test_what_is_no_slice_is_refused(measure: object) -> None:
    for wrong, match in (
        (np.zeros((3, 3, 3)), "3-D"),
        (np.full((3, 3), np.inf), "infinite"),
        (np.zeros((0, 2)), "no "),
    ):
        with pytest.raises(ScanError, match=match):
            measure(wrong)  # type: ignore[operator]
    with pytest.raises(ScanError, match="does not fit"):
        measure(np.zeros((3, 3)), np.ones((2, 2), bool))  # type: ignore[operator]


@pytest.mark.parametrize("measure", [binary_patterns, local_entropy, edges, cooccurrence])
def test_what_lies_outside_does_not_matter(measure: object) -> None:
    image, other = noise(5), noise(6) * 1000 - 500
    y, x = np.mgrid[:24, :19]
    mask = np.hypot(y - 12, x - 9) < 7
    assert measure(image, mask) == measure(np.where(mask, image, other), mask)  # type: ignore[operator]
