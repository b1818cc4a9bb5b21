from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.imaging.geometry import Box, Letterbox

sides = st.integers(1, 70)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Box, tuple[int, int]]:
    height, width = draw(sides), draw(sides)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Box(top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))), (height, width)


class TestBox:
    @settings(max_examples=50)
    @given(boxes())
    def test_paste_is_the_way_back_from_cut(self, drawn: tuple[Box, tuple[int, int]]) -> None:
        box, shape = drawn
        image = np.arange(1, shape[0] * shape[1] + 1).reshape(shape)
        back = box.paste(box.cut(image), shape, fill=0)
        assert back.shape == shape
        assert np.array_equal(box.cut(back), box.cut(image))
        assert np.count_nonzero(back) == box.shape[0] * box.shape[1]

    @settings(max_examples=50)
    @given(masks)
    def test_around_holds_every_set_pixel_and_no_empty_edge(self, mask: np.ndarray) -> None:
        if not mask.any():
            with pytest.raises(ScanError, match="no pixel is set"):
                Box.around(mask)
            return
        inside = Box.around(mask).cut(mask)
        assert inside.sum() == mask.sum()
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()

    @settings(max_examples=50)
    @given(boxes(), st.integers(0, 90))
    def test_grown_stays_inside_the_image(self, drawn: tuple[Box, tuple[int, int]], padding: int) -> None:
        box, shape = drawn
        grown = box.grown(padding, shape)
        assert grown.cut(np.zeros(shape)).shape == grown.shape
        assert grown.top <= box.top and grown.left <= box.left
        assert grown.bottom >= box.bottom and grown.right >= box.right

    def test_cut_is_a_view_and_keeps_colour(self) -> None:
        image = np.zeros((4, 5, 3))
        Box(1, 1, 3, 3).cut(image)[...] = 1
        assert image.sum() == 12
        assert Box(1, 1, 3, 3).paste(np.ones((2, 2, 3)), (4, 5), 0).shape == (4, 5, 3)

    @pytest.mark.parametrize("edges", [(1, 0, 1, 5), (0, 3, 4, 2), (-1, 0, 4, 4)])
    def test_an_empty_or_negative_box_is_refused(self, edges: tuple[int, int, int, int]) -> None:
        with pytest.raises(ScanError, match="empty or begins before 0"):
            Box(*edges)

    def test_an_image_that_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ScanError, match="reaches beyond"):
            Box(0, 0, 5, 5).cut(np.zeros((4, 5)))
        with pytest.raises(ScanError, match="do not fill"):
            Box(0, 0, 2, 2).paste(np.zeros((3, 2)), (9, 9))


class TestLetterbox:
    @settings(max_examples=50)
    @given(masks, st.integers(0, 60))
    def test_a_mask_comes_back_exactly_from_any_enlargement(self, mask: np.ndarray, more: int) -> None:
        letterbox = Letterbox.fit(mask.shape, max(mask.shape) + more)
        square = letterbox.apply(mask, "nearest")
        back = letterbox.invert(square, "nearest")
        assert square.dtype == back.dtype == bool
        assert square.shape == (letterbox.size, letterbox.size)
        assert np.array_equal(back, mask)

    @settings(max_examples=50)
    @given(sides, sides, st.integers(1, 80), st.sampled_from(["area", "linear", "nearest"]))
    def test_invert_returns_the_exact_shape_and_a_constant_stays(
        self, height: int, width: int, size: int, interpolation: str
    ) -> None:
        letterbox = Letterbox.fit((height, width), size)
        square = letterbox.apply(np.full((height, width), 7, np.float32), interpolation, fill=7)
        assert square.shape == (size, size)
        back = letterbox.invert(square, interpolation)
        assert back.shape == (height, width)
        np.testing.assert_allclose(back, 7, rtol=1e-6)

    @settings(max_examples=50)
    @given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 6))
    def test_area_by_a_whole_factor_is_the_mean_of_the_block(self, rows: int, columns: int, factor: int) -> None:
        side = max(rows, columns)
        image = np.random.default_rng(rows).random((side * factor, side * factor)).astype(np.float32)
        square = Letterbox.fit(image.shape, side).apply(image)
        blocks = image.reshape(side, factor, side, factor).mean(axis=(1, 3))
        np.testing.assert_allclose(square, blocks, atol=1e-6)

    def test_transposing_the_image_transposes_the_square(self) -> None:
        image = np.random.default_rng(0).random((37, 20)).astype(np.float32)
        for interpolation in ("area", "linear", "nearest"):
            direct = Letterbox.fit((37, 20), 24).apply(image, interpolation)
            turned = Letterbox.fit((20, 37), 24).apply(image.T, interpolation)
            np.testing.assert_allclose(direct, turned.T, atol=1e-6)

    def test_the_image_stands_in_the_middle_and_the_margin_is_the_fill(self) -> None:
        square = Letterbox.fit((2, 4), 8).apply(np.ones((2, 4), np.uint8), "nearest", fill=5)
        assert (square[2:6] == 1).all()
        assert (square[:2] == 5).all() and (square[6:] == 5).all()

    def test_a_smooth_image_survives_the_round_trip(self) -> None:
        y, x = np.mgrid[:90, :130]
        image = np.sin(y / 20) * np.cos(x / 17)
        letterbox = Letterbox.fit(image.shape, 192)
        assert np.abs(letterbox.invert(letterbox.apply(image), "linear") - image)[2:-2, 2:-2].max() < 0.01

    def test_a_very_long_line_needs_no_square_of_its_length(self) -> None:
        letterbox = Letterbox.fit((1, 100_000), 64)
        square = letterbox.apply(np.ones((1, 100_000), np.float32))
        assert square.sum(axis=0).max() <= 1
        assert letterbox.invert(square, "linear").shape == (1, 100_000)

    def test_what_does_not_fit_is_refused(self) -> None:
        letterbox = Letterbox.fit((4, 5), 8)
        with pytest.raises(ScanError, match=r"shape \(5, 4\) where \(4, 5\) belongs"):
            letterbox.apply(np.zeros((5, 4)))
        with pytest.raises(ScanError, match="did you mean 'nearest'"):
            letterbox.apply(np.zeros((4, 5)), "neares")
        for shape, size in (((4, 5, 1), 8), ((0, 5), 8), ((4, 5), 0)):
            with pytest.raises(ScanError, match="cannot bring"):
                Letterbox.fit(shape, size)
