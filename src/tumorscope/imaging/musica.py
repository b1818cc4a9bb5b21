"""Multiscale contrast amplification (MUSICA) in three forms."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_plane
from tumorscope.scan import FloatArray

FORMS = ("vuylsteke", "reference", "dippel")
NEAR_BLACK = 0.03  # of the grey range; `keep_black` leaves what lies below, and enhances fully from twice this on


def musica(
    image: NDArray,
    *,
    levels: int = 6,
    gain: float = 1.0,
    exponent: float = 0.7,
    crossover: float = 0.01,
    form: str = "vuylsteke",
    keep_black: bool = False,
) -> FloatArray:
    """Image with weak detail amplified at every scale (multiscale contrast amplification).

    The image is taken apart into a Laplacian pyramid; each level's detail x, with the largest magnitude M of
    that level, is changed, and the levels are put together again. With a = ``gain``, p = ``exponent`` and
    xc = ``crossover`` · M:

    ``vuylsteke``
        a·M·sgn(x)·(|x|/M)^p for |x| > xc, and the straight line a·M·(x/xc)·(xc/M)^p below it [1]_.
        The image itself at a = p = 1; weak detail grows by up to a·(M/xc)^(1−p).
    ``reference``
        a·x: every detail grows alike. The image itself at a = 1; exponent and crossover are not used.
    ``dippel``
        x + a·x·(1 − |x|/M)^p: weak detail grows by 1 + a, the strongest stays [2]_. The image itself at
        a = 0; crossover is not used. For p < 1 not monotone near M.

    Parameters
    ----------
    image : (H, W) array
        Any range, any size.
    levels : int
        Number of detail levels, 1 or more; fewer are used once a level is a single pixel.
    gain : float
        a, at least 0.
    exponent : float
        p, above 0.
    crossover : float
        xc as a share of M, in (0, 1].
    form : {"vuylsteke", "reference", "dippel"}
    keep_black : bool
        Leave near-black pixels (the lowest 3 % of the grey range) as they are; from 6 % on the enhancement acts
        in full, and in between in proportion.

    Returns
    -------
    (H, W) float32 array
        In the input's units; details may reach beyond the input's range. A shift or a positive factor of the
        input is a shift or factor of the output, and so is a change of sign (without ``keep_black``).

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown form or a parameter out of range.

    References
    ----------
    .. [1] Vuylsteke, Schoeters, "Multiscale image contrast amplification (MUSICA)", Proc. SPIE 2167, 1994.
    .. [2] Dippel, Stahl, Wiemker, Blaffert, "Multiscale contrast enhancement for radiographies: Laplacian pyramid
       versus fast wavelet transform", IEEE Transactions on Medical Imaging 21(4), 2002.

    Examples
    --------
    >>> flat = np.full((9, 7), 0.5, np.float32)
    >>> np.allclose(musica(flat), flat)
    True
    >>> image = np.random.default_rng(0).random((33, 20), np.float32)
    >>> np.allclose(musica(image, gain=1, exponent=1), image, atol=1e-5)
    True
    """
    plane = as_plane(image)
    look_up(form, FORMS, "MUSICA form", ScanError)
    _check(levels, gain, exponent, crossover)
    details, rest = laplacian_pyramid(plane, levels)
    changed = [_amplified(detail, gain, exponent, crossover, form) for detail in details]
    enhanced = from_pyramid(changed, rest)
    if keep_black:
        bottom, top = grey_range(plane)
        black = NEAR_BLACK * (top - bottom)
        if black > 0:
            weight = np.clip((plane - np.float32(bottom + black)) / np.float32(black), 0, 1)
            enhanced = plane + weight * (enhanced - plane)
    return enhanced.astype(np.float32, copy=False)


def laplacian_pyramid(plane: FloatArray, levels: int) -> tuple[list[FloatArray], FloatArray]:
    """Detail of each level, finest first, and the low-pass rest; `from_pyramid` puts them together again.

    A level is what the image loses when it is blurred, halved (odd sizes rounded up) and enlarged again.

    Parameters
    ----------
    plane : (H, W) float32 array
    levels : int
        Most levels; fewer when a level is down to one pixel.
    """
    details: list[FloatArray] = []
    while len(details) < levels and max(plane.shape) > 1:
        smaller = cv2.pyrDown(plane)
        details.append(plane - _enlarged(smaller, plane.shape))
        plane = smaller
    return details, plane


def from_pyramid(details: list[FloatArray], rest: FloatArray) -> FloatArray:
    """The (H, W) image of a Laplacian pyramid: the way back from `laplacian_pyramid`."""
    plane = rest
    for detail in reversed(details):
        plane = detail + _enlarged(plane, detail.shape)
    return plane


def _enlarged(plane: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The next finer level's grid of ``shape``, filled smoothly from this level.

    OpenCV mirrors at the first row and column and repeats at the last; mirroring at all four keeps left and right,
    top and bottom alike.
    """
    mirrored = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REFLECT_101)
    return cv2.pyrUp(mirrored)[2 : 2 + shape[0], 2 : 2 + shape[1]]


def _amplified(detail: FloatArray, gain: float, exponent: float, crossover: float, form: str) -> FloatArray:
    """Detail coefficients of one level after the form's curve."""
    if form == "reference":
        return detail * np.float32(gain)
    size = np.abs(detail)
    largest = float(size.max())
    if largest <= np.finfo(np.float32).tiny:
        return detail
    share = size / np.float32(largest)
    if form == "dippel":
        return detail * (1 + np.float32(gain) * cv2.pow(1 - share, exponent))
    factor = np.float32(gain) * cv2.pow(np.maximum(share, np.float32(crossover)), exponent - 1)
    return detail * factor


def _check(levels: int, gain: float, exponent: float, crossover: float) -> None:
    """Raise a ScanError for a parameter out of its range."""
    if levels < 1:
        raise ScanError(f"MUSICA: {levels} levels; pass 1 or more")
    if not (np.isfinite(gain) and gain >= 0):
        raise ScanError(f"MUSICA: gain {gain} is negative or not finite; pass 0 or more")
    if not (np.isfinite(exponent) and exponent > 0):
        raise ScanError(f"MUSICA: exponent {exponent} is not above 0; pass for example 0.7")
    if not 0 < crossover <= 1:
        raise ScanError(f"MUSICA: crossover {crossover} is outside (0, 1]; it is a share of the largest detail")
