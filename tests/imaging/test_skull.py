from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope import io
from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.evaluation.segmentation import dice
from tumorscope.imaging.skull import AMOUNTS, METHODS, BrainMask, brain_mask, head_mask, strip_skull


@cache
def scan(plane: str, contrast: str, **options: float) -> phantom.Phantom:
    """A phantom without a lesion; its slice lies where none of the axial and coronal ones shows the spinal canal."""
    offset = {"axial": 25.0, "coronal": 10.0, "sagittal": 25.0}[plane]
    return phantom.make(7, plane, contrast, 192, offset=offset, **options)


@cache
def found(plane: str, contrast: str, method: str = "morphology") -> BrainMask:
    return brain_mask(scan(plane, contrast).image, method)


def ringed(height: int = 90, width: int = 75) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An even brain in dark bone in a bright scalp; the brain and the head as they were drawn."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - 0.5 * height + 0.5) / (0.45 * height), (x - 0.5 * width + 0.5) / (0.43 * width))
    image = np.where(radius < 0.8, 60.0, np.where((radius > 0.92) & (radius < 1), 90.0, 2.0))
    return image.astype(np.float32), radius < 0.8, radius < 1


class TestQuality:
    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    @pytest.mark.parametrize("contrast", ["t1", "t2"])
    def test_the_brain_of_a_phantom(self, plane: str, contrast: str) -> None:
        brain = found(plane, contrast)
        assert dice(brain.mask, scan(plane, contrast).brain) >= 0.95
        assert brain.confidence > 0.85

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    def test_the_head_of_a_phantom(self, plane: str, method: str) -> None:
        image, truth = scan(plane, "t1").image, scan(plane, "t1").head
        assert dice(head_mask(image, method), truth) >= 0.95

    @pytest.mark.parametrize("method", ["geodesic", "chan-vese"])
    def test_the_brain_by_snakes(self, method: str) -> None:
        assert dice(found("axial", "t2", method).mask, scan("axial", "t2").brain) >= 0.94

    @pytest.mark.parametrize("traits", [{"noise": 0.06}, {"bias": 0.3}])
    def test_noise_and_shading_are_borne(self, traits: dict[str, float]) -> None:
        disturbed = scan("axial", "t1", **traits)
        assert dice(brain_mask(disturbed.image).mask, disturbed.brain) >= 0.95

    def test_a_drawn_brain_is_found_closely(self) -> None:
        image, brain, head = ringed()
        assert dice(brain_mask(image).mask, brain) > 0.98
        assert dice(head_mask(image), head) > 0.97
        assert brain_mask(image).confidence == pytest.approx(1, abs=0.05)


class TestLaws:
    @pytest.mark.parametrize("method", METHODS)
    def test_the_brain_is_part_of_the_head_and_holds_no_hole(self, method: str) -> None:
        brain = found("axial", "t2", method)
        assert not (brain.mask & ~brain.head).any()
        assert brain.mask.sum() < 0.95 * brain.head.sum()
        contours, _ = cv2.findContours(brain.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        assert (
            cv2.drawContours(np.zeros(brain.mask.shape, np.uint8), contours, -1, 1, -1) > 0
        ).sum() == brain.mask.sum()

    @pytest.mark.parametrize("flip", [np.s_[::-1], np.s_[:, ::-1]])
    def test_a_flipped_slice_has_the_flipped_masks(self, flip: object) -> None:
        image = scan("axial", "t1").image
        turned = brain_mask(image[flip])
        assert dice(turned.mask[flip], found("axial", "t1").mask) > 0.98
        assert dice(turned.head[flip], found("axial", "t1").head) > 0.98

    @pytest.mark.parametrize(("factor", "shift"), [(0.5, 0.0), (37.0, -400.0)])
    def test_units_do_not_matter(self, factor: float, shift: float) -> None:
        moved = brain_mask(scan("axial", "t1").image * np.float32(factor) + np.float32(shift))
        assert dice(moved.mask, found("axial", "t1").mask) > 0.99

    def test_a_zscored_head_on_zero_is_still_found(self) -> None:
        image, truth = scan("axial", "t1").image.astype(np.float32), scan("axial", "t1")
        scored = np.where(truth.head, (image - image[truth.head].mean()) / image[truth.head].std(), 0)
        assert dice(brain_mask(scored).mask, truth.brain) > 0.95

    def test_resolution_does_not_matter(self) -> None:
        image = scan("axial", "t1").image
        small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
        large = cv2.resize(brain_mask(small).mask.astype(np.uint8), (192, 192), interpolation=cv2.INTER_NEAREST)
        assert dice(large > 0, found("axial", "t1").mask) > 0.95


class TestHonesty:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (11, 11), (60, 50)])
    def test_a_constant_image_holds_nothing(self, shape: tuple[int, int]) -> None:
        for image in (np.zeros(shape), np.full(shape, 7, np.uint8)):
            brain = brain_mask(image)
            assert not brain.mask.any() and not head_mask(image).any()
            assert brain.confidence == 0 and "no head" in brain.reason

    def test_noise_holds_nothing(self) -> None:
        assert not brain_mask(np.random.default_rng(0).random((80, 80))).mask.any()

    def test_a_brain_without_skull_or_a_frame_full_of_tissue_is_never_sure_nor_everything(self) -> None:
        y, x = np.mgrid[-60:60, -50:50]
        texture = cv2.GaussianBlur(np.random.default_rng(1).random((120, 100)).astype(np.float32), (0, 0), 3)
        full = brain_mask(texture)
        assert full.confidence < 0.7 and not full.mask.all()
        stripped = brain_mask(np.where(np.hypot(y / 50, x / 40) < 1, 80 + 20 * texture, 0))
        assert stripped.confidence < 0.7 and not stripped.mask.all()

    @settings(max_examples=15)
    @given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
    def test_any_image_gives_masks_of_its_shape(self, image: np.ndarray) -> None:
        brain = brain_mask(image)
        assert brain.mask.shape == brain.head.shape == image.shape
        assert brain.mask.dtype == brain.head.dtype == bool
        assert 0 <= brain.confidence <= 1
        assert not (brain.mask & ~brain.head).any()


class TestStripping:
    def test_full_keeps_the_brain_and_nothing_else(self) -> None:
        image, brain, _ = ringed()
        result = strip_skull(image, "full", brain=brain)
        assert np.array_equal(result[brain], image[brain])
        assert (result[~brain] == 2).all()

    def test_partial_keeps_a_margin_and_fades(self) -> None:
        image, brain, head = ringed()
        image[~brain & head] = 50
        result = strip_skull(image, "partial", brain=brain, margin=0.05)
        distance = cv2.distanceTransform((~brain).astype(np.uint8), cv2.DIST_L2, 5)
        margin = 0.05 * 81  # the head is 81 rows high
        assert np.array_equal(result[distance <= margin], image[distance <= margin])
        assert (result[distance >= 2 * margin] == 2).all()
        fading = result[head & (distance > 1.05 * margin) & (distance < 1.95 * margin)]
        assert fading.size and (fading > 2).all() and (fading < 50).all()

    def test_more_stripping_leaves_less(self) -> None:
        image = scan("axial", "t1").image
        rest = [float(strip_skull(image, amount).sum()) for amount in AMOUNTS]
        assert rest[0] > rest[1] > rest[2] > 0.3 * rest[0]
        assert rest[0] == image.sum()

    def test_no_margin_is_full(self) -> None:
        image, brain, _ = ringed()
        assert np.array_equal(
            strip_skull(image, "partial", brain=brain, margin=0), strip_skull(image, "full", brain=brain)
        )

    def test_an_untold_brain_is_an_error_unless_asked_for(self) -> None:
        y, x = np.mgrid[-60:60, -50:50]
        bare = np.where(np.hypot(y / 50, x / 40) < 1, 80.0, 0.0)
        with pytest.raises(ScanError, match="no brain can be told"):
            strip_skull(bare)
        with pytest.raises(ScanError, match="no head stands out"):
            strip_skull(np.zeros((40, 40)), "partial")
        assert np.array_equal(strip_skull(bare, "none"), bare)

    def test_the_input_is_left_alone(self) -> None:
        image, brain, _ = ringed()
        before = image.copy()
        for amount in AMOUNTS:
            strip_skull(image, amount, brain=brain)[:] = -1
        assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: head_mask(np.zeros((4, 4, 3))), "3-D"),
        (lambda: head_mask(np.zeros((0, 4))), "no pixels"),
        (lambda: brain_mask(np.array([[np.nan, 1]])), "NaN"),
        (lambda: brain_mask(np.zeros((4, 4)), "geodesics"), "did you mean 'geodesic'"),
        (lambda: head_mask(np.zeros((4, 4)), "otsu"), "skull method"),
        (lambda: strip_skull(np.zeros((4, 4)), "ful"), "did you mean 'full'"),
        (lambda: strip_skull(np.zeros((4, 4)), "partial", margin=-0.1), "margin"),
        (lambda: strip_skull(np.zeros((4, 4)), "partial", margin=np.nan), "margin"),
        (lambda: strip_skull(np.zeros((4, 4)), brain=np.ones((4, 5))), "brain mask"),
    ],
)
def test_wrong_input_is_refused(call, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        call()


def test_real_slices_are_stripped(shared_data) -> None:
    for name in ("no/1 no.jpeg", "yes/Y12.jpg", "yes/Y160.JPG"):
        image = io.read(shared_data / "navoneel" / name).pixels
        brain = brain_mask(image)
        assert brain.confidence > 0.8
        assert 0.4 < brain.mask.sum() / brain.head.sum() < 0.85
