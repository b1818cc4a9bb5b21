"""Pictures: what may not change does not, what must be seen is, and no pixel values break them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.report import figures

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
ANY_FLOAT = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def texture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def is_line(picture: np.ndarray) -> np.ndarray:
    """Pixels that are the colour of a found contour, nearly pure."""
    return np.abs(picture.astype(int) - figures.FOUND).max(axis=-1) < 40


class TestToDisplay:
    @given(ANY_FLOAT)
    @settings(max_examples=60)
    def test_any_float_image_becomes_a_picture_of_its_shape(self, image: np.ndarray) -> None:
        shown = figures.to_display(image)
        assert shown.dtype == np.uint8
        assert shown.shape == image.shape
        assert not shown[np.isnan(image)].any()

    @given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-1000, 1000, width=32)))
    @settings(max_examples=40)
    def test_brighter_is_never_shown_darker(self, image: np.ndarray) -> None:
        order = np.argsort(image, axis=None)
        assert (np.diff(figures.to_display(image).ravel()[order].astype(int)) >= 0).all()

    @pytest.mark.parametrize("value", [0.0, -5.0, 255.0, np.nan, np.inf])
    def test_an_image_without_contrast_is_black(self, value: float) -> None:
        assert not figures.to_display(np.full((5, 7), value, np.float32)).any()

    def test_contrast_and_offset_of_the_scanner_do_not_matter(self) -> None:
        image = texture((40, 40))
        np.testing.assert_allclose(figures.to_display(image), figures.to_display(4096 * image - 700), atol=1)

    def test_a_few_bright_pixels_on_a_flat_ground_stay_visible(self) -> None:
        image = np.zeros((100, 100), np.float32)
        image[50, 50] = 9
        assert figures.to_display(image)[50, 50] == 255

    def test_uint8_is_taken_as_it_is(self) -> None:
        image = np.array([[3, 4], [5, 6]], np.uint8)
        np.testing.assert_array_equal(figures.to_display(image), image)


class TestOverlay:
    def test_pixels_away_from_the_mask_are_those_of_the_scan(self) -> None:
        image, mask = texture((96, 80)), disc((96, 80), (30, 30), 9)
        picture = figures.overlay(image, mask, scale=4)
        plain = figures.overlay(image, np.zeros_like(mask), scale=4)
        far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) > 3
        far = np.kron(far, np.ones((4, 4), bool))
        np.testing.assert_array_equal(picture[far], plain[far])
        assert (picture[~far] != plain[~far]).any()

    def test_at_scale_one_the_picture_is_the_display_mapping(self) -> None:
        image = texture((33, 47))
        picture = figures.overlay(image, np.zeros((33, 47), bool), scale=1)
        np.testing.assert_array_equal(picture, np.repeat(figures.to_display(image)[..., None], 3, axis=2))

    @pytest.mark.parametrize("scale", [1, 2, 3, 5])
    @pytest.mark.parametrize("radius", [1, 4, 20])
    def test_the_line_lies_on_the_border_of_the_mask_outside_of_it(self, radius: int, scale: int) -> None:
        mask = disc((90, 90), (44, 45), radius)
        picture = figures.overlay(np.zeros((90, 90)), mask, scale=scale)
        line = is_line(picture)
        large = np.kron(mask, np.ones((scale, scale), np.uint8))
        outside = cv2.distanceTransform(1 - large, cv2.DIST_L2, 5)
        inside = cv2.distanceTransform(large, cv2.DIST_L2, 5)
        width = max(2.0, 90 * scale / 230)
        assert line.any()
        assert outside[line].max() <= width + 0.5 * scale + 1
        assert inside[line].max() <= 0.5 * scale + 1
        # all around: every direction from the centre meets the line
        y, x = np.nonzero(line)
        eighths = np.arctan2(y + 0.5 - 44.5 * scale, x + 0.5 - 45.5 * scale) // (np.pi / 4)
        assert {-4, -3, -2, -1, 0, 1, 2, 3} <= set(eighths)

    def test_a_lesion_of_one_pixel_is_seen_and_not_covered(self) -> None:
        mask = np.zeros((150, 150), bool)
        mask[70, 71] = True
        picture = figures.overlay(np.full((150, 150), 128, np.uint8), mask)
        assert picture.shape == (600, 600, 3)
        assert is_line(picture).sum() >= 20
        middle = picture[70 * 4 + 1 : 70 * 4 + 3, 71 * 4 + 1 : 71 * 4 + 3]
        assert not is_line(middle).any()

    def test_every_lesion_has_its_line(self) -> None:
        mask = disc((64, 64), (12, 12), 4) | disc((64, 64), (50, 50), 4)
        line = is_line(figures.overlay(np.zeros((64, 64)), mask, scale=2))
        assert line[:64, :64].any()
        assert line[64:, 64:].any()

    def test_a_surer_pixel_is_tinted_more(self) -> None:
        mask = disc((64, 64), (32, 32), 20)
        probability = np.where(np.arange(64) < 32, 0.55, 0.99) * np.ones((64, 1))
        picture = figures.overlay(np.full((64, 64), 90, np.uint8), mask, probability, scale=1).astype(int)
        assert picture[32, 44, 0] > picture[32, 20, 0] > 90

    def test_the_reference_has_another_colour_and_no_tint(self) -> None:
        truth = disc((64, 64), (32, 32), 12)
        picture = figures.overlay(np.zeros((64, 64)), np.zeros((64, 64), bool), truth=truth, scale=2)
        assert not is_line(picture).any()
        assert (np.abs(picture.astype(int) - figures.TRUTH).max(axis=-1) < 60).any()
        assert not picture[60:68, 60:68].any()

    @given(ANY_FLOAT, st.data())
    @settings(max_examples=40)
    def test_any_image_and_mask_give_a_picture(self, image: np.ndarray, data: st.DataObject) -> None:
        mask = data.draw(hnp.arrays(bool, image.shape))
        unsure = st.floats(0, 1, width=32) | st.just(np.nan)
        probability = data.draw(hnp.arrays(np.float32, image.shape, elements=unsure))
        scale = data.draw(st.integers(1, 4))
        picture = figures.overlay(image, mask, probability, truth=mask[::-1], scale=scale)
        assert picture.dtype == np.uint8
        assert picture.shape == (scale * image.shape[0], scale * image.shape[1], 3)

    def test_a_mask_on_another_grid_is_refused(self) -> None:
        with pytest.raises(ScanError, match=r"mask is \(4, 4\), the image \(5, 5\)"):
            figures.overlay(np.zeros((5, 5)), np.zeros((4, 4), bool))

    def test_a_volume_is_refused(self) -> None:
        with pytest.raises(ScanError, match="3-D"):
            figures.overlay(np.zeros((2, 5, 5)), np.zeros((2, 5, 5), bool))

    def test_a_real_tumour_is_outlined(self, shared_data: object) -> None:
        image = cv2.imread(f"{shared_data}/cheng/images/0001.jpg", cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(f"{shared_data}/cheng/masks/0001.png", cv2.IMREAD_GRAYSCALE) > 127
        line = is_line(figures.overlay(image, mask))
        near = cv2.dilate(np.kron(mask, np.ones((2, 2))).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert line.sum() > 100
        assert not line[~near].any()


class TestSheets:
    def test_side_by_side_brings_all_to_one_height(self) -> None:
        row = figures.side_by_side(np.zeros((10, 20), np.uint8), np.full((40, 30, 3), 9, np.uint8), gap=5)
        assert row.shape == (40, 80 + 5 + 30, 3)
        assert (row[:, 85:] == 9).all()

    def test_a_tile_keeps_the_proportions_of_its_image(self) -> None:
        sheet = figures.contact_sheet([np.full((20, 10), 255, np.uint8)], tile=100)
        white = (sheet == 255).all(axis=-1)
        assert white.any(axis=1).sum() == 100
        assert white.any(axis=0).sum() == 50

    def test_titles_are_written_under_the_tiles(self) -> None:
        images = [np.zeros((8, 8))] * 2
        written = figures.contact_sheet(images, ["Müller", "two"], tile=96)
        blank = figures.contact_sheet(images, ["", ""], tile=96)
        changed = (written != blank).any(axis=-1)
        assert changed.any()
        assert not changed[: 8 + 96].any()

    @pytest.mark.parametrize("title", ["x" * 400, "line\nbreak\tand \x1b control", "", "Ünï-çødé-" * 20])
    def test_no_title_runs_out_of_its_tile(self, title: str) -> None:
        sheet = figures.contact_sheet([np.zeros((8, 8))] * 2, [title, ""], columns=2, tile=96)
        assert (sheet[:, 8 + 96 : 16 + 96] == figures.PAPER).all()

    @pytest.mark.parametrize(("images", "titles"), [([], None), ([np.zeros((3, 3))], ["a", "b"])])
    def test_what_makes_no_sheet_is_named(self, images: list[np.ndarray], titles: list[str] | None) -> None:
        with pytest.raises(ScanError, match="contact sheet"):
            figures.contact_sheet(images, titles)

    def test_nothing_side_by_side_is_named(self) -> None:
        with pytest.raises(ScanError, match="at least one"):
            figures.side_by_side()


class TestSides:
    @pytest.mark.parametrize("plane", ["axial", "coronal"])
    def test_letters_stand_at_the_edges_only(self, plane: str) -> None:
        marked = figures.mark_sides(np.zeros((200, 160), np.uint8), plane)
        lit = marked.any(axis=(0, 2))
        assert lit[:20].any()
        assert lit[-20:].any()
        assert not lit[24:-24].any()

    def test_right_is_on_the_left(self) -> None:
        def letter(text: str) -> np.ndarray:
            canvas = np.zeros((200, 200, 3), np.uint8)
            figures.write(canvas, text, (100, 0.8 * 11), 11, (245, 245, 245), halo=True)
            return canvas[:, :20]

        marked = figures.mark_sides(np.zeros((200, 200), np.uint8))
        np.testing.assert_array_equal(marked[:, :20], letter("R"))
        assert (marked[:, :20] != letter("L")).any()

    @pytest.mark.parametrize("plane", ["sagittal", None])
    def test_without_sides_nothing_is_claimed(self, plane: str | None) -> None:
        assert not figures.mark_sides(np.zeros((64, 64), np.uint8), plane).any()

    def test_the_picture_given_is_left_alone(self) -> None:
        picture = np.zeros((64, 64, 3), np.uint8)
        figures.mark_sides(picture)
        assert not picture.any()


class TestVolumes:
    @given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.just(2), st.just(2))), st.integers(1, 8))
    @settings(max_examples=60)
    def test_slices_exist_go_up_and_hold_the_largest(self, mask: np.ndarray, count: int) -> None:
        chosen = figures.slices_that_matter(mask, count)
        areas = mask.sum(axis=(1, 2))
        assert 1 <= len(chosen) <= count
        assert chosen == sorted(set(chosen))
        assert 0 <= chosen[0] <= chosen[-1] < len(mask)
        if mask.any():
            assert areas[chosen].min() > 0
            assert areas[chosen].max() == areas.max()

    def test_all_slices_share_one_grey_scale(self) -> None:
        volume = np.zeros((2, 20, 20), np.float32)
        volume[0], volume[1] = np.linspace(0, 1, 20), np.linspace(0, 10, 20)
        sheet = figures.volume_sheet(volume, np.zeros(volume.shape, bool), [0, 1], ["", ""], columns=2, tile=20)
        assert sheet[8:28, 8:28].max() < 30
        assert sheet[8:28, 36:56].max() > 240

    def test_no_slices_named_means_those_that_matter(self) -> None:
        volume = texture((30, 12))[:, None, :] * np.ones((1, 12, 1), np.float32)
        mask = np.zeros(volume.shape, bool)
        mask[4:6] = True
        by_default = figures.volume_sheet(volume, mask, tile=40)
        np.testing.assert_array_equal(by_default, figures.volume_sheet(volume, mask, [], tile=40))
        np.testing.assert_array_equal(by_default, figures.volume_sheet(volume, mask, [4, 5], tile=40))

    def test_wrong_shapes_and_slices_are_named(self) -> None:
        volume = np.zeros((3, 8, 8), np.float32)
        with pytest.raises(ScanError, match="one shape"):
            figures.volume_sheet(volume, np.zeros((3, 8, 9), bool))
        with pytest.raises(ScanError, match="no slice 3; the volume has 3"):
            figures.volume_sheet(volume, volume > 0, [3])


class TestProbabilityBar:
    @given(st.floats(0, 1))
    @settings(max_examples=30)
    def test_the_filled_share_is_the_probability(self, probability: float) -> None:
        bar = figures.probability_bar(probability, width=200)
        filled = (bar[0] == figures.FOUND).all(axis=-1).mean()
        assert filled == pytest.approx(probability, abs=0.5 / 200 + 1e-9)

    @pytest.mark.parametrize("unknown", [None, float("nan")])
    def test_an_unknown_probability_fills_nothing(self, unknown: float | None) -> None:
        assert not (figures.probability_bar(unknown) == figures.FOUND).all(axis=-1).any()

    def test_only_the_uncertain_zone_is_hatched(self) -> None:
        hatched = (figures.probability_bar(None, (0.25, 0.5), width=100) == figures.INK).all(axis=-1).any(axis=0)
        assert hatched[25:50].all()
        assert not hatched[:25].any()
        assert not hatched[50:].any()
