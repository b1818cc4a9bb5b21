from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.imaging.background import clean_background


def read(path) -> np.ndarray:
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)


def written(image: np.ndarray, text: str, where: tuple[int, int], scale: float = 0.4, grey: float = 255) -> np.ndarray:
    canvas = image.astype(np.uint8)
    return cv2.putText(canvas, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale, grey, 1, cv2.LINE_AA).astype(np.float32)


class TestLeavesAScanAlone:
    def test_a_plain_head_is_returned_as_it_is(self, draw_head) -> None:
        image, _ = draw_head()
        cleaned = clean_background(image)
        assert cleaned.findings == ()
        assert cleaned.keep.all()
        assert np.array_equal(cleaned.image, image)

    def test_a_bright_head_that_touches_the_border_is_kept(self, draw_head) -> None:
        image, head = draw_head()
        inner = slice(40, -40), slice(30, -30)
        cut, brain = np.ascontiguousarray(image[inner]), (head & (image < 200))[inner]
        keep = clean_background(cut).keep
        assert keep.mean() > 0.997
        assert keep[brain].all()

    @pytest.mark.parametrize("image", [np.zeros((30, 30)), np.full((30, 30), 255), np.ones((1, 1)), np.eye(5)])
    def test_constant_and_tiny_images_are_kept(self, image: np.ndarray) -> None:
        cleaned = clean_background(image)
        assert cleaned.keep.all() and np.array_equal(cleaned.image, image)

    def test_noise_has_no_text(self) -> None:
        assert clean_background(np.random.default_rng(0).rayleigh(20, (150, 150))).findings == ()


class TestWhite:
    def test_a_white_background_becomes_dark_and_the_head_stays(self, draw_head) -> None:
        image, head = draw_head()
        image[head & (image > 200)] = 90  # a head darker than its surroundings
        image[~head] = 255
        cleaned = clean_background(image)
        inside = cv2.erode(head.astype(np.uint8), np.ones((5, 5))) > 0
        assert any("white background" in finding for finding in cleaned.findings)
        assert cleaned.keep[inside].all()
        assert np.array_equal(cleaned.image[inside], image[inside])
        assert cleaned.image[~head].max() <= np.percentile(image[head], 1)
        assert not cleaned.keep[~head].any()

    @pytest.mark.parametrize("width", [1, 3, 8])
    def test_a_white_frame_becomes_dark(self, draw_head, width: int) -> None:
        image, head = draw_head()
        framed = np.pad(image, width, constant_values=255)
        cleaned = clean_background(framed)
        assert any("border or bar" in finding for finding in cleaned.findings)
        assert cleaned.image[:width].max() < 30 and cleaned.image[:, -width:].max() < 30
        assert cleaned.keep[np.pad(head, width)].all()

    def test_wide_bars_on_two_sides_become_dark(self, draw_head) -> None:
        image, head = draw_head()
        barred = np.pad(image, ((0, 0), (70, 50)), constant_values=255)
        cleaned = clean_background(barred)
        assert cleaned.image[:, :70].max() < 30 and cleaned.image[:, -50:].max() < 30
        assert cleaned.keep[np.pad(head, ((0, 0), (70, 50)))].all()

    def test_a_thin_grey_frame_becomes_dark(self, draw_head) -> None:
        image, _ = draw_head()
        framed = np.pad(image, 2, constant_values=90)
        cleaned = clean_background(framed)
        assert cleaned.image[:2].max() < 30
        assert cleaned.keep[5:-5, 5:-5].all()


class TestText:
    @pytest.mark.parametrize("grey", [255, 140])
    def test_letters_beside_the_head_become_dark(self, draw_head, grey: float) -> None:
        image, head = draw_head()
        marked = written(written(image, "A", (3, 175), grey=grey), "W 953", (2, 12), grey=grey)
        cleaned = clean_background(marked)
        text = np.abs(marked - image) > 0.5 * grey
        assert any("text" in finding for finding in cleaned.findings)
        assert text.sum() > 30
        assert cleaned.image[text].max() < 30
        assert not cleaned.keep[text].any()
        assert cleaned.keep[head].all()

    def test_writing_on_the_head_is_left(self, draw_head) -> None:
        image, head = draw_head()
        marked = written(image, "x", (70, 90))
        assert clean_background(marked).keep[head].all()


class TestAnyRange:
    @pytest.mark.parametrize("factor", [1 / 256, 1.0, 256.0])
    @pytest.mark.parametrize("offset", [0.0, -1024.0])
    def test_scale_and_offset_of_the_scanner_do_not_matter(self, draw_head, factor: float, offset: float) -> None:
        image = written(np.pad(draw_head()[0], 4, constant_values=255), "R", (8, 20))
        first, second = clean_background(image), clean_background((image + offset) * factor)
        assert first.findings == second.findings != ()
        assert np.array_equal(first.keep, second.keep)
        np.testing.assert_allclose(second.image, (first.image + offset) * factor, atol=1.5 * factor)

    @settings(max_examples=50)
    @given(
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.floats(-1e6, 1e6, width=32)
        )
    )
    def test_kept_pixels_have_their_own_value_and_the_range_never_grows(self, image: np.ndarray) -> None:
        cleaned = clean_background(image)
        assert cleaned.image.dtype == np.float32 and cleaned.image.shape == image.shape == cleaned.keep.shape
        assert np.array_equal(cleaned.image[cleaned.keep], image[cleaned.keep])
        slack = 1e-5 * np.abs(image).max()
        assert image.min() - slack <= cleaned.image.min() and cleaned.image.max() <= image.max() + slack
        assert bool(cleaned.findings) == (not cleaned.keep.all())

    def test_the_input_is_left_alone(self, draw_head) -> None:
        image = np.pad(draw_head()[0], 4, constant_values=255)
        before = image.copy()
        clean_background(image)
        assert np.array_equal(image, before)

    def test_wrong_input_is_refused(self) -> None:
        with pytest.raises(ScanError, match="infinite"):
            clean_background(np.full((20, 20), np.inf))
        with pytest.raises(ScanError, match="1-D"):
            clean_background(np.zeros(20))


class TestRealScans:
    """The files that the data's README names."""

    @pytest.mark.parametrize(
        ("name", "finding"),
        [
            ("yes/Y167.JPG", "white background"),
            ("yes/Y89.JPG", "border or bar"),
            ("yes/Y109.JPG", "border or bar"),
            ("yes/Y148.JPG", "border or bar"),
            ("no/20 no.jpg", "border or bar"),
            ("no/No16.jpg", "border or bar"),
            ("yes/Y99.JPG", "text"),
            ("no/44no.jpg", "text"),
        ],
    )
    def test_known_disturbances_are_found(self, shared_data, name: str, finding: str) -> None:
        image = read(shared_data / "navoneel" / name)
        cleaned = clean_background(image)
        assert any(finding in found for found in cleaned.findings), cleaned.findings
        ring = np.concatenate([cleaned.image[0], cleaned.image[-1], cleaned.image[:, 0], cleaned.image[:, -1]])
        assert (ring > 200).mean() < 0.05
        middle = cleaned.keep[image.shape[0] // 4 : -image.shape[0] // 4, image.shape[1] // 3 : -image.shape[1] // 3]
        assert middle.all()
