"""How many clusters an image has: four indices of k-means over k, and the k that each of three rules suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.cluster_indices import silhouettes, sums_of_squares, variance_ratio
from tumorscope.imaging.head import grey_range, to_grey
from tumorscope.imaging.intensity import as_plane
from tumorscope.imaging.kmeans import kmeans

KS = range(2, 21)
SIZE = 128  # px; side of the square that an image is brought to


@dataclass(frozen=True)
class Suggestion:
    """The k that three rules suggest.

    Attributes
    ----------
    elbow : int
        Where the curve of the within-cluster sum of squares bends most (`knee`).
    silhouette, calinski_harabasz : int
        Where the index is largest; of equal ones the smallest k.
    """

    elbow: int
    silhouette: int
    calinski_harabasz: int

    @property
    def k(self) -> int:
        """The middle one of the three: what two of them say where two agree.

        Examples
        --------
        >>> Suggestion(elbow=6, silhouette=2, calinski_harabasz=9).k
        6
        """
        return sorted((self.elbow, self.silhouette, self.calinski_harabasz))[1]

    @property
    def agree(self) -> bool:
        """Whether all three say the same."""
        return self.elbow == self.silhouette == self.calinski_harabasz

    def __str__(self) -> str:
        """One sentence for a report.

        Examples
        --------
        >>> print(Suggestion(elbow=6, silhouette=2, calinski_harabasz=9))
        Suggested k = 6, the middle of three rules that disagree: elbow 6, silhouette 2, Calinski–Harabasz 9.
        >>> print(Suggestion(elbow=4, silhouette=4, calinski_harabasz=4))
        Suggested k = 4: elbow, silhouette and Calinski–Harabasz agree.
        """
        if self.agree:
            return f"Suggested k = {self.k}: elbow, silhouette and Calinski–Harabasz agree."
        values = [getattr(self, field.name) for field in fields(self)]
        kind = "of which two agree" if len(set(values)) == 2 else "that disagree"
        return (
            f"Suggested k = {self.k}, the middle of three rules {kind}: elbow {self.elbow}, "
            f"silhouette {self.silhouette}, Calinski–Harabasz {self.calinski_harabasz}."
        )


@dataclass(frozen=True)
class Sweep:
    """Indices of k-means for each image and k.

    Attributes
    ----------
    ks : (K,) int array
        Ascending.
    within, between : (I, K) float64 arrays
        Within- and between-cluster sum of squares of each image.
    silhouette : (I, K) float64 array
        Mean silhouette over all pixels, in [−1, 1].
    calinski_harabasz : (I, K) float64 array
    """

    ks: NDArray[np.int64]
    within: NDArray[np.float64]
    between: NDArray[np.float64]
    silhouette: NDArray[np.float64]
    calinski_harabasz: NDArray[np.float64]

    @property
    def means(self) -> dict[str, NDArray[np.float64]]:
        """Each index averaged over the images, (K,), by its name."""
        names = ("within", "between", "silhouette", "calinski_harabasz")
        return {name: getattr(self, name).mean(axis=0) for name in names}

    @property
    def suggestion(self) -> Suggestion:
        """The k that each rule suggests on the averaged curves."""
        means = self.means
        return Suggestion(
            elbow=knee(self.ks, means["within"]),
            silhouette=int(self.ks[means["silhouette"].argmax()]),
            calinski_harabasz=int(self.ks[means["calinski_harabasz"].argmax()]),
        )


def sweep(images: NDArray | Sequence[NDArray], ks: Sequence[int] = KS, *, size: int = SIZE, seed: int = 0) -> Sweep:
    """Four indices of k-means over k, for each image: what a choice of k is made from.

    The points are the pixels of `pixel_features`: x, y and intensity. Clusters are those of `kmeans.kmeans`; the
    silhouette looks at all pairs of pixels (`cluster_indices.silhouettes`), for all k in one pass.

    Parameters
    ----------
    images : (H, W) array, or sequence of them
        Sizes and grey ranges may differ.
    ks : sequence of int
        Each from 2 to ``size² − 1``.
    size : int
        Side of the square that each image is brought to, in px. Time grows with its fourth power.
    seed : int
        Same images and seed, same result.

    Returns
    -------
    Sweep

    Raises
    ------
    ScanError
        If there is no image, an image has a wrong shape or non-finite values, or a k or the size is out of range.

    Examples
    --------
    >>> squares = np.kron([[0, 80], [160, 240]], np.ones((8, 8)))
    >>> print(sweep(squares, range(2, 8), size=16).suggestion)
    Suggested k = 4: elbow, silhouette and Calinski–Harabasz agree.
    """
    planes = [images] if isinstance(images, np.ndarray) and images.ndim == 2 else list(images)
    if not planes:
        raise ScanError("sweep: no image; pass at least one (H, W) array")
    wanted = sorted({int(k) for k in ks})
    if not wanted or wanted[0] < 2 or wanted[-1] >= size**2:
        raise ScanError(f"sweep: k = {wanted} on {size}x{size} pixels; pass whole numbers from 2 to {size**2 - 1}")
    rows = np.array([_indices(pixel_features(plane, size), wanted, seed) for plane in planes])
    within, between, silhouette, ratio = rows.transpose(1, 0, 2)
    return Sweep(np.array(wanted), within, between, silhouette, ratio)


def pixel_features(image: NDArray, size: int = SIZE) -> NDArray[np.float64]:
    """Column, row and grey value of each pixel of the image at size × size, (size², 3), all of them whole numbers.

    Area averages bring the image to the square, whatever its proportions. Grey values are stretched to 0…255 between
    the 0.1 and 99.8 percentile, so that the units of a scan do not matter; a constant image is all 0. One pixel of
    distance counts as much as one of these grey levels.

    Parameters
    ----------
    image : (H, W) array
    size : int
        In px, at least 1.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, or a size below 1.

    Examples
    --------
    >>> pixel_features(np.array([[0, 5], [5, 10]]), 2).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 127.0], [0.0, 1.0, 127.0], [1.0, 1.0, 255.0]]
    """
    plane = as_plane(image)
    if size < 1:
        raise ScanError(f"sweep: size {size}; pass at least 1")
    small = cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA)
    grey = to_grey(small, *grey_range(small))
    row, column = np.indices(grey.shape)
    return np.column_stack([column.ravel(), row.ravel(), grey.ravel()]).astype(np.float64)


def knee(ks: Sequence[int] | NDArray, curve: NDArray) -> int:
    """The k at which a falling convex curve bends most: the elbow.

    With both axes scaled to 0…1, the point farthest below the straight line from the first to the last point [1]_; of
    equal ones the smallest k. It depends on the range of k: a longer tail moves it outwards. The first k for a curve
    of one or two points, or one that lies nowhere below the line.

    Parameters
    ----------
    ks : (K,) ascending numbers
    curve : (K,) array

    References
    ----------
    .. [1] Satopää, Albrecht, Irwin, Raghavan, "Finding a 'kneedle' in a haystack", ICDCS Workshops 2011.

    Examples
    --------
    >>> knee([2, 3, 4, 5, 6], np.array([100, 50, 10, 8, 6]))
    4
    """
    places, heights = np.asarray(ks, np.float64), np.asarray(curve, np.float64)
    drop = heights[0] - heights[-1]
    if len(places) < 3 or drop == 0:
        return int(places[0])
    along = (places - places[0]) / (places[-1] - places[0])
    below = 1 - along - (heights - heights[-1]) / drop
    return int(places[int(below.round(9).argmax())])  # rounding is no bend


def _indices(points: NDArray[np.float64], ks: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Within, between, silhouette and Calinski–Harabasz (4, K) of one image's points."""
    labels = [partition.labels for partition in kmeans(points, ks, seed=seed)]
    sums = [sums_of_squares(points, each) for each in labels]
    ratios = [variance_ratio(*pair, k, len(points)) for pair, k in zip(sums, ks, strict=True)]
    within, between = np.transpose(sums)
    return np.stack([within, between, silhouettes(points, labels), np.array(ratios)])
