"""Colours for clusters in order of brightness: black is the darkest, red the brightest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError

FEWEST, MOST = 2, 20  # colours in a palette
COLORS = {  # RGB, from the darkest cluster to the brightest
    "black": (0, 0, 0),
    "purple": (128, 0, 128),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "light blue": (135, 190, 250),
    "green": (0, 150, 0),
    "yellow": (255, 255, 0),
    "pink": (255, 150, 200),
    "orange": (255, 140, 0),
    "red": (255, 0, 0),
}


def palette(k: int) -> NDArray[np.uint8]:
    """The (k, 3) uint8 RGB colours of k clusters, darkest first: black lowest, red highest, all different.

    Ten clusters have the ten `COLORS`; fewer have evenly spaced ones of them (k = 4: black, cyan, yellow, red); more
    have evenly spaced mixtures of neighbours.

    Parameters
    ----------
    k : int
        2 to 20.

    Raises
    ------
    ScanError
        For another k.

    Examples
    --------
    >>> palette(4).tolist()
    [[0, 0, 0], [0, 255, 255], [255, 255, 0], [255, 0, 0]]
    """
    if not FEWEST <= k <= MOST:
        raise ScanError(f"palette: {k} colours; palettes have {FEWEST} to {MOST}")
    named = np.array(list(COLORS.values()), np.float64)
    place = np.linspace(0, len(named) - 1, k)
    if k <= len(named):
        return named[np.rint(place).astype(int)].astype(np.uint8)
    mixed = [np.interp(place, np.arange(len(named)), channel) for channel in named.T]
    return np.rint(np.column_stack(mixed)).astype(np.uint8)


def colored(labels: NDArray, k: int) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 RGB picture of a label image, in the palette of k colours.

    Parameters
    ----------
    labels : (H, W) array of whole numbers
        0 for the darkest cluster to at most k − 1, as `intensity_clusters` gives them.
    k : int
        2 to 20.

    Raises
    ------
    ScanError
        If the labels are no (H, W) array of whole numbers from 0 to k − 1, or there is no palette of k colours.

    Examples
    --------
    >>> colored(np.array([[0, 1]]), 2).tolist()
    [[[0, 0, 0], [255, 0, 0]]]
    """
    colors = palette(k)
    array = np.asarray(labels)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iub":
        raise ScanError(f"labels: {array.dtype} array of shape {array.shape}; pass (H, W) whole numbers")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= k:
        raise ScanError(f"labels: values from {low} to {high} do not fit {k} colours; pass labels from 0 to {k - 1}")
    return colors[array.astype(np.uint8)]
