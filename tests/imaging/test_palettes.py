from __future__ import annotations

import numpy as np
import pytest

from tumorscope.errors import ScanError
from tumorscope.imaging.palettes import COLORS, colored, palette


@pytest.mark.parametrize("k", range(2, 21))
def test_black_is_lowest_red_highest_and_all_differ_visibly(k: int) -> None:
    colors = palette(k)
    assert colors.shape == (k, 3) and colors.dtype == np.uint8
    assert colors[0].tolist() == [0, 0, 0] and colors[-1].tolist() == [255, 0, 0]
    apart = np.linalg.norm(colors[:, None].astype(float) - colors, axis=2) + 1e9 * np.eye(k)
    assert apart.min() > 30


def test_ten_colours_are_those_of_the_reference() -> None:
    names = "black, purple, blue, cyan, light blue, green, yellow, pink, orange, red"
    assert ", ".join(COLORS) == names
    assert palette(10).tolist() == [list(color) for color in COLORS.values()]


@pytest.mark.parametrize(
    ("k", "names"),
    [(4, "black cyan yellow red"), (9, "black purple blue cyan light_blue yellow pink orange red")],
)
def test_fewer_colours_are_taken_from_the_ten(k: int, names: str) -> None:
    assert palette(k).tolist() == [list(COLORS[name.replace("_", " ")]) for name in names.split()]


def test_every_label_gets_its_colour() -> None:
    labels = np.random.default_rng(0).integers(0, 20, (7, 5))
    picture = colored(labels, 20)
    assert picture.shape == (7, 5, 3) and picture.dtype == np.uint8
    for row, column in np.ndindex(7, 5):
        assert picture[row, column].tolist() == palette(20)[labels[row, column]].tolist()


@pytest.mark.parametrize(
    ("labels", "k", "match"),
    [
        (np.zeros((2, 2), int), 1, "2 to 20"),
        (np.zeros((2, 2), int), 21, "2 to 20"),
        (np.full((2, 2), 4), 4, "0 to 3"),
        (np.full((2, 2), -1), 4, "0 to 3"),
        (np.zeros((2, 2)), 4, "whole numbers"),
        (np.zeros((2, 2, 3), int), 4, "whole numbers"),
        (np.zeros((0, 2), int), 4, "whole numbers"),
    ],
)
def test_wrong_labels_are_refused(labels: np.ndarray, k: int, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        colored(labels, k)
