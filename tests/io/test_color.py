from __future__ import annotations

import io as streams
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tumorscope import io
from tumorscope.io.color import filled, to_grey


@pytest.fixture
def head() -> NDArray[np.uint8]:
    """A bright ellipse with texture and a brighter spot on black, 256 x 240."""
    rows, columns = np.mgrid[0:256, 0:240]
    inside = ((rows - 128) / 110) ** 2 + ((columns - 120) / 90) ** 2 < 1
    texture = 120 + 70 * np.sin(rows / 14) * np.cos(columns / 18)
    spot = 70 * np.exp(-((rows - 100) ** 2 + (columns - 150) ** 2) / 240)
    return (inside * (texture + spot)).clip(0, 255).astype(np.uint8)


def _jpeg(rgb: NDArray, quality: int) -> NDArray:
    stream = streams.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def test_equal_channels_are_that_channel(head: NDArray) -> None:
    grey = to_grey(np.stack([head] * 3, -1), 255)
    assert np.array_equal(grey.pixels, head) and grey.notes == ()


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_noise_is_grey_without_a_word(head: NDArray, quality: int) -> None:
    noisy = np.stack([head] * 3, -1).astype(int) + np.random.default_rng(0).integers(-3, 4, (*head.shape, 3))
    grey = to_grey(_jpeg(noisy.clip(0, 255).astype(np.uint8), quality), 255)
    assert grey.pixels.shape == head.shape and grey.notes == ()


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 200, 255), (255, 0, 255)])
@pytest.mark.parametrize("quality", [None, 80])
def test_coloured_marks_leave_no_trace_and_touch_nothing_else(
    head: NDArray, colour: tuple[int, int, int], quality: int | None
) -> None:
    image = Image.fromarray(head).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.line((20, 30, 90, 100), fill=colour, width=2)
    draw.ellipse((60, 35, 90, 65), outline=colour)
    draw.text((5, 5), "R 12mm", fill=colour)
    marked = np.asarray(image)
    touched = (marked != head[..., None]).any(-1)
    grey = to_grey(marked if quality is None else _jpeg(marked, quality), 255)
    assert grey.pixels.shape == head.shape
    assert "coloured marks on" in grey.notes[0]
    clean = head if quality is None else _jpeg(head, quality)
    difference = np.abs(grey.pixels - clean)
    away = cv2.dilate(touched.astype(np.uint8), np.ones((15, 15))) == 0
    assert difference[away].max() <= (0.5 if quality is None else 20)
    # where the mark was: near the grey around it, unlike an average of the channels
    averaged = np.abs(marked.mean(-1) - clean)[touched].mean()
    assert difference[touched].mean() < 0.5 * averaged


def test_a_banner_beside_the_scan_is_kept_out(head: NDArray) -> None:
    rgb = np.stack([head] * 3, -1)
    rgb[:8] = (0, 70, 140)
    grey = to_grey(rgb, 255)
    assert grey.pixels.shape == head.shape and grey.pixels[:8].max() <= head.max()
    assert np.array_equal(grey.pixels[20:], head[20:])


@pytest.mark.parametrize("name", ["jet", "turbo", "rainbow", "hot", "viridis", "plasma", "inferno", "magma", "parula"])
@pytest.mark.parametrize("quality", [None, 50])
def test_a_colour_map_is_undone(head: NDArray, name: str, quality: int | None) -> None:
    rgb = cv2.applyColorMap(head, getattr(cv2, f"COLORMAP_{name.upper()}"))[..., ::-1]
    grey = to_grey(rgb if quality is None else _jpeg(np.ascontiguousarray(rgb), quality), 255)
    assert grey.pixels.shape == head.shape and f"colour map '{name}'" in grey.notes[0]
    assert np.corrcoef(grey.pixels.ravel(), head.ravel())[0, 1] > (0.99 if quality is None else 0.95)


def test_a_tint_is_brightness(head: NDArray) -> None:
    rgb = cv2.applyColorMap(head, cv2.COLORMAP_BONE)[..., ::-1]
    grey = to_grey(rgb, 255)
    assert grey.pixels.shape == head.shape
    assert np.corrcoef(grey.pixels.ravel(), head.ravel())[0, 1] > 0.99


def test_different_sequences_keep_their_channels(head: NDArray) -> None:
    rgb = np.stack([head, np.where(head > 0, 250 - head, 0), np.roll(head, 5, 1)], -1)
    grey = to_grey(rgb, 255)
    assert np.array_equal(grey.pixels, np.moveaxis(rgb, -1, 0))
    assert "--channel 0, 1 or 2" in grey.notes[0]


def test_photographs_keep_their_channels() -> None:
    from skimage import data

    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        assert to_grey(getattr(data, name)(), 255).pixels.ndim == 3, name


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=st.integers(0, 65535)))
@settings(max_examples=100)
def test_any_colours_give_finite_values_within_the_range(rgb: NDArray) -> None:
    grey = to_grey(rgb, 65535)
    assert grey.pixels.shape in (rgb.shape[:2], (3, *rgb.shape[:2]))
    assert grey.pixels.dtype == np.float32 and np.isfinite(grey.pixels).all()
    assert grey.pixels.min() >= 0 and grey.pixels.max() <= 65536


@given(
    arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(0, 1, width=32)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_filling_stays_within_what_is_known(image: NDArray, random) -> None:
    hole = np.array([[random.random() < 0.4 for _ in row] for row in image])
    result = filled(image, hole)
    assert np.array_equal(result[~hole], image[~hole])
    if (~hole).any() and hole.any():
        known = image[~hole]
        assert result[hole].min() >= known.min() - 1e-4 and result[hole].max() <= known.max() + 1e-4


def test_real_scans_saved_in_colour_are_grey(shared_data: Path) -> None:
    wrong, marked = [], []
    for path in sorted((shared_data / "navoneel").glob("*/*")):
        scan = io.read(path)
        if scan.axes != "YX":
            wrong.append(path.name)
        if any("coloured marks" in note for note in scan.source.notes):
            marked.append(path.name)
    assert wrong == []
    # a logo banner, two coloured letters, a magenta bar
    assert {"31 no.jpg", "Y168.jpg", "Y259.JPG"} <= set(marked)
    assert len(marked) <= 5


def test_real_sequences_in_one_file_stay_apart(shared_data: Path) -> None:
    slices = [path for path in sorted((shared_data / "lgg").glob("*/*.png")) if not path.stem.endswith("_mask")]
    merged = 0
    for path in slices[::5]:
        scan = io.read(path)
        brain = io.read(path, channel=1).pixels > 40
        if scan.axes == "YX" and scan.pixels.any() and brain.mean() > 0.02:
            merged += 1
    assert merged <= 0.02 * len(slices[::5])
