"""Multiscale contrast amplification (MUSICA) in three forms, with noise containment, edge boost and latitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_plane
from tumorscope.imaging.noise import FOREGROUND, NORMAL_MAD, mixed_differences
from tumorscope.scan import FloatArray

FORMS = ("vuylsteke", "reference", "dippel")
NEAR_BLACK = 0.03  # of the grey range; `keep_black` leaves what lies below, and enhances fully from twice this on
EDGE_LEVELS = 3  # finest levels that `edge` acts on: structure up to some 8 px across
NOISE_SAMPLES = 4096  # pixels of a level, about, that its noise is measured on: exact to some 2 %
FEWEST_SAMPLES = 256  # on fewer the median of a level tells nothing; its noise is derived from the finer level
BLOCK = 32768  # pixels worked on at a time: four arrays of them fill half a megabyte, which second-level caches hold
# White noise of standard deviation 1 after 0, 1, 2 halvings: the standard deviation of its `mixed_differences`, and of
# its detail coefficients. Measured (tests/imaging/test_musica.py does it again). Coarser levels show anatomy only.
DIFFERENCES_OF_NOISE = (6.0, 0.773, 0.284)
DETAIL_OF_NOISE = (0.943, 0.230, 0.100)
HALVED = 0.5  # what a further halving leaves of the noise among the detail coefficients


def musica(
    image: NDArray,
    *,
    levels: int = 6,
    gain: float | Sequence[float] = 1.0,
    exponent: float = 0.7,
    crossover: float = 0.01,
    form: str = "vuylsteke",
    keep_black: bool = False,
    noise: float = 0.0,
    edge: float = 1.0,
    latitude: float = 1.0,
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
    gain : float or sequence of float
        a, at least 0: one for all levels, or ``levels`` of them, the finest first.
    exponent : float
        p, above 0.
    crossover : float
        xc as a share of M, in (0, 1].
    form : {"vuylsteke", "reference", "dippel"}
    keep_black : bool
        Leave near-black pixels (the lowest 3 % of the grey range) as they are; from 6 % on the enhancement acts
        in full, and in between in proportion.
    noise : float
        Noise containment: detail up to this many standard deviations of its level's noise (`level_noise`) is not
        amplified, detail from twice that on in full, and in between in proportion. 0 is off; 2 to 4 are usual.
    edge : float
        Edge boost: a is multiplied by ``edge`` on the finest level, by its power 2/3 and 1/3 on the next two. Above
        0; 1 is off.
    latitude : float
        The low-pass rest is brought to this share of its distance from its mean, in (0, 1]: the broad differences
        of brightness give way to detail. 1 is off.

    Returns
    -------
    (H, W) float32 array
        In the input's units; details may reach beyond the input's range. A shift or a positive factor of the
        input is a shift or factor of the output, and so is a change of sign (without ``keep_black`` and ``noise``,
        which tell dark from bright). Transposing first or last gives the same to the last bit.

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
    curve = Curve(form, 1.0, exponent, crossover)
    gains = _gains(gain, levels, edge)
    if not (np.isfinite(noise) and noise >= 0):
        raise ScanError(f"MUSICA: noise {noise} is negative or not finite; pass 0, or 2 to 4 standard deviations")
    if not 0 < latitude <= 1:
        raise ScanError(f"MUSICA: latitude {latitude} is outside (0, 1]; it is a share of the rest's range")
    turned = _turned(plane)
    if turned:
        plane = cv2.transpose(plane)
    blurred = gaussian_pyramid(plane, levels)
    noises = level_noise(blurred) if noise else [0.0] * len(blurred)
    enhanced = blurred[-1]
    if latitude < 1:
        middle = np.float32(enhanced.mean(dtype=np.float64))
        enhanced = middle + np.float32(latitude) * (enhanced - middle)
    for level in reversed(range(len(blurred) - 1)):
        detail = cv2.subtract(blurred[level], _enlarged(blurred[level + 1], blurred[level].shape))
        replace(curve, gain=gains[level], noise=noise * noises[level]).apply(detail)
        enhanced = cv2.add(detail, _enlarged(enhanced, detail.shape), dst=detail)
    if keep_black and enhanced is not plane:
        _restore_black(enhanced, plane)
    if turned:
        return cv2.transpose(enhanced)
    if turned is None:
        return np.float32(0.5) * (enhanced + enhanced.T)
    return enhanced.copy() if enhanced is plane else enhanced


@dataclass(frozen=True)
class Curve:
    """What happens to the detail coefficients of one level: a function from array to array.

    Parameters
    ----------
    form, gain, exponent, crossover
        As for `musica`, with one gain.
    noise : float
        Coefficients up to this magnitude are not amplified, those from twice it on in full; in the image's units.

    Raises
    ------
    ScanError
        For an unknown form or a parameter out of range.

    Examples
    --------
    >>> detail = np.array([[-0.25, 0.0, 1.0]], np.float32)
    >>> Curve(exponent=0.5)(detail)
    array([[-0.5,  0. ,  1. ]], dtype=float32)
    >>> Curve(exponent=0.5, noise=0.25)(detail)
    array([[-0.25,  0.  ,  1.  ]], dtype=float32)
    """

    form: str = "vuylsteke"
    gain: float = 1.0
    exponent: float = 0.7
    crossover: float = 0.01
    noise: float = 0.0

    def __post_init__(self) -> None:
        look_up(self.form, FORMS, "MUSICA form", ScanError)
        if not (np.isfinite(self.gain) and self.gain >= 0):
            raise ScanError(f"MUSICA: gain {self.gain} is negative or not finite; pass 0 or more")
        if not (np.isfinite(self.exponent) and self.exponent > 0):
            raise ScanError(f"MUSICA: exponent {self.exponent} is not above 0; pass for example 0.7")
        if not 0 < self.crossover <= 1:
            raise ScanError(f"MUSICA: crossover {self.crossover} is outside (0, 1]; it is a share of M")

    def __call__(self, detail: NDArray) -> FloatArray:
        """Changed coefficients, a new (H, W) array; M is the largest magnitude among ``detail``."""
        changed = as_plane(detail, "detail").copy()
        self.apply(changed)
        return changed

    def apply(self, detail: FloatArray) -> None:
        """Change the (H, W) coefficients in place."""
        largest = float(cv2.norm(detail, cv2.NORM_INF))
        if largest <= np.finfo(np.float32).tiny:
            return
        work = np.empty((3, *_blocks(detail)[0].shape), np.float32)
        for block in _blocks(detail):
            self._apply(block, largest, work[:, : len(block)])

    def _apply(self, detail: FloatArray, largest: float, work: FloatArray) -> None:
        """Change some rows of the coefficients in place; ``work`` is space to write in, three times their size."""
        share, factor, contained = work
        np.divide(detail, np.float32(largest), out=share)
        np.abs(share, out=share)
        self._factor(share, factor)
        if self.noise > 0:
            np.multiply(share, np.float32(min(largest / self.noise, 1e30)), out=share)
            np.subtract(share, np.float32(1), out=share)
            np.clip(share, 0, 1, out=share)  # 0 within the noise, 1 from twice the noise on
            np.subtract(factor, np.float32(1), out=contained)
            np.multiply(contained, share, out=contained)
            np.add(contained, np.float32(1), out=contained)
            cv2.min(factor, contained, dst=factor)  # what is made weaker is so in the noise, too
        np.multiply(detail, factor, out=detail)

    def _factor(self, share: FloatArray, factor: FloatArray) -> None:
        """Write what a coefficient is multiplied by, from its magnitude as a share of the largest."""
        if self.form == "reference":
            factor.fill(self.gain)
        elif self.form == "dippel":
            np.subtract(np.float32(1), share, out=factor)
            cv2.pow(factor, self.exponent, dst=factor)
            np.multiply(factor, np.float32(self.gain), out=factor)
            np.add(factor, np.float32(1), out=factor)
        else:
            cv2.max(share, self.crossover, dst=factor)
            cv2.pow(factor, self.exponent - 1, dst=factor)
            if self.gain != 1:
                np.multiply(factor, np.float32(self.gain), out=factor)


def level_noise(blurred: Sequence[FloatArray]) -> list[float]:
    """Standard deviation of the noise among the detail coefficients of each level, finest first, in the image's units.

    Each plane's noise is measured by the median magnitude of its mixed second differences (as `noise_level` does), on
    the pixels above the lowest 6 % of its grey range, and brought to the detail's scale. The coarser a level, the more
    anatomy this shows; so none may have more than white noise would have, going by the next finer level, and from
    the fourth level on that is all it is taken from. A picture that was enlarged or smoothed has less noise from
    pixel to pixel than it shows, and gets less containment.

    Parameters
    ----------
    blurred : sequence of (H, W) float32 arrays
        A Gaussian pyramid, as `gaussian_pyramid` gives it.

    Examples
    --------
    >>> grain = np.random.default_rng(0).normal(100, 2, (256, 256)).astype(np.float32)
    >>> np.round(level_noise(gaussian_pyramid(grain, 3)), 1).tolist()
    [1.9, 0.5, 0.2, 0.1]
    """
    noises: list[float] = []
    for level, plane in enumerate(blurred):
        if level >= len(DETAIL_OF_NOISE):
            noises.append(HALVED * noises[-1])
            continue
        detail = DETAIL_OF_NOISE[level]
        limit = noises[-1] * detail / DETAIL_OF_NOISE[level - 1] if noises else np.inf
        if plane.size >= FEWEST_SAMPLES or not noises:
            limit = min(limit, _measured_noise(plane) * detail / DIFFERENCES_OF_NOISE[level])
        noises.append(limit)
    return noises


def _measured_noise(plane: FloatArray) -> float:
    """Standard deviation of the mixed second differences, by their median magnitude, on what is not near-black."""
    step = max(1, round((plane.size / NOISE_SAMPLES) ** 0.5))
    found = np.abs(mixed_differences(plane, step))
    if not found.size:
        return 0.0
    bottom, top = grey_range(plane)
    chosen = found[plane[1:-1:step, 1:-1:step] > np.float32(bottom + FOREGROUND * (top - bottom))]
    return float(np.median(chosen if chosen.size else found)) / NORMAL_MAD


def gaussian_pyramid(plane: FloatArray, levels: int) -> list[FloatArray]:
    """The image, and the image blurred and halved (odd sizes rounded up) again and again.

    Parameters
    ----------
    plane : (H, W) float32 array
    levels : int
        Most halvings; fewer when a plane is down to one pixel.

    Examples
    --------
    >>> [plane.shape for plane in gaussian_pyramid(np.ones((5, 9), np.float32), 9)]
    [(5, 9), (3, 5), (2, 3), (1, 2), (1, 1)]
    """
    planes = [plane]
    while len(planes) <= levels and max(planes[-1].shape) > 1:
        planes.append(cv2.pyrDown(planes[-1]))
    return planes


def laplacian_pyramid(plane: FloatArray, levels: int) -> tuple[list[FloatArray], FloatArray]:
    """Detail of each level, finest first, and the low-pass rest; `from_pyramid` puts them together again.

    A level is what the image loses when it is blurred, halved (odd sizes rounded up) and enlarged again.

    Parameters
    ----------
    plane : (H, W) float32 array
    levels : int
        Most levels; fewer when a level is down to one pixel.

    Examples
    --------
    >>> details, rest = laplacian_pyramid(np.full((5, 9), 7, np.float32), 2)
    >>> [float(np.abs(detail).max()) for detail in details], rest.tolist()
    ([0.0, 0.0], [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]])
    """
    blurred = gaussian_pyramid(plane, levels)
    details = [cv2.subtract(fine, _enlarged(coarse, fine.shape)) for fine, coarse in pairwise(blurred)]
    return details, blurred[-1]


def from_pyramid(details: list[FloatArray], rest: FloatArray) -> FloatArray:
    """The (H, W) image of a Laplacian pyramid: the way back from `laplacian_pyramid`.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((9, 7), np.float32)
    >>> np.allclose(from_pyramid(*laplacian_pyramid(image, 3)), image)
    True
    """
    plane = rest
    for detail in reversed(details):
        plane = cv2.add(detail, _enlarged(plane, detail.shape))
    return plane


def _enlarged(plane: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The next finer level's grid of ``shape``, filled smoothly from this level.

    OpenCV mirrors at the first row and column and repeats at the last; mirroring at all four keeps left and right,
    top and bottom alike.
    """
    mirrored = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REFLECT_101)
    return cv2.pyrUp(mirrored)[2 : 2 + shape[0], 2 : 2 + shape[1]]


def _restore_black(enhanced: FloatArray, plane: FloatArray) -> None:
    """Give near-black pixels of ``plane`` their value back, in place."""
    bottom, top = grey_range(plane)
    black = NEAR_BLACK * (top - bottom)
    if black <= 0:
        return
    for changed, original in zip(_blocks(enhanced), _blocks(plane), strict=True):
        weight = original - np.float32(bottom + black)
        np.multiply(weight, np.float32(1 / black), out=weight)
        np.clip(weight, 0, 1, out=weight)
        np.subtract(changed, original, out=changed)
        np.multiply(changed, weight, out=changed)
        np.add(changed, original, out=changed)


def _turned(plane: FloatArray) -> bool | None:
    """Whether the transposed image is the one to work on: True for one of an image and its transpose; None if equal.

    Filters add rows and columns in one order; so their rounding, too, is that of one orientation.
    """
    height, width = plane.shape
    if height != width:
        return height < width
    for row, column in zip(plane, plane.T, strict=True):
        different = np.flatnonzero(row != column)
        if different.size:
            return bool(row[different[0]] < column[different[0]])
    return None


def _blocks(plane: FloatArray) -> list[FloatArray]:
    """Views of the (H, W) array's rows, some at a time, small enough for what is done to them to stay in the cache."""
    rows = max(1, BLOCK // plane.shape[1])
    return [plane[start : start + rows] for start in range(0, plane.shape[0], rows)]


def _gains(gain: float | Sequence[float], levels: int, edge: float) -> list[float]:
    """The gain of each level, finest first, the edge boost in it."""
    if levels < 1:
        raise ScanError(f"MUSICA: {levels} levels; pass 1 or more")
    if not (np.isfinite(edge) and edge > 0):
        raise ScanError(f"MUSICA: edge {edge} is not above 0; pass 1 for no boost, or for example 1.5")
    gains = [float(value) for value in np.ravel(np.asarray(gain, np.float64))]
    if np.ndim(gain) == 0:
        gains *= levels
    if len(gains) != levels:
        raise ScanError(f"MUSICA: {len(gains)} gains for {levels} levels; pass one a level, finest first, or a number")
    if not (np.isfinite(gains).all() and min(gains) >= 0):
        raise ScanError(f"MUSICA: gain {gain} is negative or not finite; pass 0 or more")
    return [value * edge ** max(0.0, 1 - level / EDGE_LEVELS) for level, value in enumerate(gains)]
