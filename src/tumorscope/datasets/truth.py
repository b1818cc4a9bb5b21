"""What a mask file marks: the one rule by which grey values become a lesion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.errors import DataError
from tumorscope.io.decoding import label
from tumorscope.scan import BoolArray, Scan

RULE = "a pixel is marked where its value is above half of the mask file's maximum"


def marked(values: NDArray) -> BoolArray:
    """Where a mask's ``values``, of any shape, mark the lesion: above half of their maximum.

    A mask stored as 0 and 1, as 0 and 255, or as JPEG with grey rims gives the same lesion. Of a mask with several
    classes (0, 1, 2, 4) only the upper ones are left; `audit.masks` tells of such a file.

    Examples
    --------
    >>> marked(np.array([0, 3, 100, 128, 250, 255])).tolist()
    [False, False, False, True, True, True]
    >>> bool(marked(np.zeros((2, 2))).any())
    False
    """
    highest = float(values.max())
    result: BoolArray = values > (0.5 * highest if highest > 0 else 0.5)
    return result


def values_of(mask: Scan) -> NDArray[np.float32]:
    """Values of a mask file on its scan's axes, (H, W) or (D, H, W); of a coloured mask the highest channel."""
    return mask.pixels.max(axis=0) if mask.axes[0] == "C" else mask.pixels


def read_mask(row: Mapping[str, Any], shape: tuple[int, ...]) -> BoolArray | None:
    """The lesion of a manifest row on its scan's grid, of ``shape``; None where the row names no mask.

    Raises
    ------
    ScanError
        If the file cannot be read.
    DataError
        If the mask lies on another grid than its scan.
    """
    if not row.get("mask_path"):
        return None
    values = values_of(io.read(row["mask_path"]))
    if values.shape != shape:
        own, given = ("x".join(map(str, size)) for size in (shape, values.shape))
        raise DataError(
            f"{label(row['mask_path'])}: mask is {given}, its scan {label(row['path'])} is {own}; "
            "resample the mask or fix mask_path in the manifest"
        )
    return marked(values)
