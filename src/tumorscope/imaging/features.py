"""All features of a head in one table row: intensity, texture, edges, scales and symmetry."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.firstorder import first_order
from tumorscope.imaging.inside import inside
from tumorscope.imaging.preparation import Preparation
from tumorscope.imaging.scales import blob_energies, wavelet_energies
from tumorscope.imaging.symmetry import asymmetry, midline
from tumorscope.imaging.texture import binary_patterns, cooccurrence, edges, local_entropy

#: Px, side of the square in which a head is measured. Larger, small pictures would be enlarged, and their blur would
#: tell the collection that they are from.
SIDE = 128
FAR = 4  # px, distance of the second co-occurrence: the size of a sulcus on that square
FAR_NAMES = ("Contrast", "Correlation", "Idm", "JointEnergy", "JointEntropy")  # of 23, those least alike

Features = dict[str, float]


def features(image: NDArray, where: NDArray | None = None) -> Features:
    """Eighty-nine features of what is inside ``where``, by name; see docs/explanation/features.md.

    ``original_firstorder_*`` and ``original_glcm_*`` are PyRadiomics' features of that name, with ``binCount=32``; the
    others have names of their own: ``glcm4_*`` (at a distance of 4 px), ``entropy_*`` (in a disc about each pixel),
    ``edge_*``, ``lbp_*``, ``log_*`` and ``haar_*`` (energies by scale), ``asymmetry_*``, and ``midline_angle`` and
    ``midline_offset`` (in degrees, and as a share of the width of the mask).

    Parameters
    ----------
    image : (H, W) array
        Any range. Energies and ``original_firstorder_*`` are in its units, so bring scans to one range first
        (`head_features` does).
    where : (H, W) bool array, optional
        The head, say; all pixels when absent.

    Returns
    -------
    dict of str to float
        Always the same names in the same order; NaN where a feature is not defined (no mid-line, one pixel).

    Raises
    ------
    ScanError
        As `inside`.

    Examples
    --------
    >>> found = features(np.tile([0.0, 1.0], (16, 8)))
    >>> found["original_firstorder_Entropy"], found["haar_1_LH"]
    (1.0, 0.0)
    """
    plane, mask = inside(image, where)
    line = midline(plane, mask)
    far = cooccurrence(plane, mask, distance=FAR)
    width = int(np.count_nonzero(mask.any(axis=0)))
    return {
        **_named("original_firstorder", first_order(plane, mask)),
        **_named("original_glcm", cooccurrence(plane, mask)),
        **_named(f"glcm{FAR}", {name: far[name] for name in FAR_NAMES}),
        **_named("entropy", local_entropy(plane, mask)),
        **_named("edge", edges(plane, mask)),
        **_named("lbp", binary_patterns(plane, mask)),
        **_named("log", blob_energies(plane, mask)),
        **_named("haar", wavelet_energies(plane, mask)),
        **_named("asymmetry", asymmetry(plane, mask, line)),
        "midline_angle": math.nan if line is None else line.angle,
        "midline_offset": math.nan if line is None else line.offset / width,
    }


def head_features(image: NDArray, side: int = SIDE) -> Features:
    """`features` of the head in an (H, W) slice of any range and size.

    The slice is cleaned, cropped to its head, brought to 0…1 by the head's percentiles and to a square of ``side`` px,
    as a network would see it (`Preparation`); where no head is found the whole slice counts.

    Raises
    ------
    ScanError
        If it is no slice.

    Examples
    --------
    >>> y, x = np.mgrid[:90, :80]
    >>> head = np.hypot(y - 45, x - 40) < 33
    >>> found = head_features(head * (500.0 + y))
    >>> abs(found["asymmetry_level"]) < 0.05, found["original_firstorder_Maximum"]
    (True, 1.0)
    """
    prepared = Preparation(size=side).prepare(inside(image)[0])
    mask = prepared.to_square(prepared.head)
    return features(prepared.pixels, mask if mask.any() else None)


def _named(group: str, found: Mapping[str, float]) -> Features:
    return {f"{group}_{name}": value for name, value in found.items()}


#: Names of `features`, in order.
NAMES = tuple(features(np.zeros((1, 1))))
