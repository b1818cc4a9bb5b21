"""Texture inside a mask: grey-level co-occurrence, local binary patterns, local entropy, edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.head import grey_range, to_grey
from tumorscope.imaging.inside import BINS, Levels, continued, grey_levels, inside
from tumorscope.scan import BoolArray

CANNY = (50, 100)  # of 255: gradient at which an edge goes on, and at which it starts; in steps of a Sobel filter
NEIGHBOURS, RADIUS = 8, 1  # of a local binary pattern; px
DISC = 5  # px, radius of the neighbourhood of a local entropy
LOCAL_BINS = 16  # grey levels of a local entropy: a disc of 5 px holds 81 pixels, which fill no more

Features = dict[str, float]
Matrices = NDArray[np.float64]


def cooccurrence(
    image: NDArray,
    where: NDArray | None = None,
    *,
    distance: int = 1,
    bins: int = BINS,
    width: float | None = None,
) -> Features:
    """Twenty-three features of the grey-level co-occurrence inside ``where``, by the names of PyRadiomics.

    For each direction a symmetric matrix counts how often two grey levels stand ``distance`` apart, both inside; each
    feature is taken from each matrix and averaged over the directions. With p(i, j) the shares in a matrix and μ, σ
    the mean and spread of its margins, and the names of scikit-image in brackets: ``Contrast`` Σ p (i − j)²;
    ``DifferenceAverage`` ``Σ p |i − j|`` (dissimilarity); ``Idm`` Σ p / (1 + (i − j)²) (homogeneity); ``JointEnergy``
    Σ p² (ASM, the square of its energy); ``Correlation`` Σ p (i − μ)(j − μ) / σ²; ``JointEntropy`` −Σ p log2 p.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        All pixels when absent.
    distance : int
        Px between the two, as the larger of the row and column step: 4 directions for 1, 8 for 2, 4 · distance in all.
    bins, width
        As for `grey_levels`.

    Returns
    -------
    dict of str to float
        All NaN where no two pixels inside stand that far apart. Of a constant region Correlation is 1.

    Raises
    ------
    ScanError
        As `grey_levels`, or for a distance below 1.

    References
    ----------
    .. [1] Haralick, Shanmugam, Dinstein, "Textural features for image classification", IEEE Transactions on Systems,
       Man, and Cybernetics 3(6), 1973.
    .. [2] Zwanenburg et al., "The image biomarker standardization initiative", Radiology 295(2), 2020.

    Examples
    --------
    >>> stripes = np.tile([0, 1], (4, 2))
    >>> found = cooccurrence(stripes, bins=2)
    >>> found["Contrast"], found["Idm"]  # across the stripes, and down them, in 3 of 4 directions and in 1
    (0.75, 0.625)
    """
    levels = grey_levels(image, where, bins=bins, width=width)
    counts = matrices(levels, distance)
    total = counts.sum(axis=(1, 2))
    if not total.any():
        return dict.fromkeys(_NAMES, float("nan"))
    shares = counts[total > 0] / total[total > 0, None, None]
    found = _of_pairs(shares) | _of_sums(shares) | _of_margins(shares)
    return {name: float(np.mean(found[name])) for name in _NAMES}


def matrices(levels: Levels, distance: int = 1) -> Matrices:
    """Symmetric co-occurrence counts of (H, W) grey levels, one (L, L) matrix for each of 4 · distance directions.

    Level 0 is outside: pairs with it are not counted. scikit-image's ``graycomatrix`` knows no mask, and rounds
    diagonal steps of 2 px to 1.

    Raises
    ------
    ScanError
        If ``distance`` is below 1.

    Examples
    --------
    >>> matrices(np.array([[1, 2, 0]])).sum(axis=0)
    array([[0., 1.],
           [1., 0.]])
    """
    if distance < 1:
        raise ScanError(f"co-occurrence: two pixels stand 1 px apart or more, not {distance}; pass 1 or more")
    count = max(int(levels.max()), 1)
    found = np.zeros((4 * distance, count, count))
    for number, (down, right) in enumerate(_steps(distance)):
        rows, columns = levels.shape[0] - down, levels.shape[1] - abs(right)
        if rows <= 0 or columns <= 0:
            continue
        left, start = max(-right, 0), max(right, 0)
        first = levels[:rows, left : left + columns]
        second = levels[down : down + rows, start : start + columns]
        pairs = np.bincount((first * (count + 1) + second).ravel(), minlength=(count + 1) ** 2)
        one_way = pairs.reshape(count + 1, count + 1)[1:, 1:]
        found[number] = one_way + one_way.T
    return found


def _steps(distance: int) -> list[tuple[int, int]]:
    """Row and column steps of this length in the maximum norm, one of each opposite pair."""
    steps = [(distance, right) for right in range(-distance, distance + 1)]
    steps += [(down, side) for down in range(1, distance) for side in (-distance, distance)]
    return [*steps, (0, distance)]


def _entropy(shares: NDArray) -> NDArray:
    """−Σ p log2 p over the last axis."""
    return -np.sum(shares * np.log2(np.where(shares > 0, shares, 1)), axis=-1)


def _ratio(part: NDArray, whole: NDArray, otherwise: float) -> NDArray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), otherwise)


def _of_pairs(shares: Matrices) -> dict[str, NDArray]:
    """Features of the joint distribution of two levels, one value a matrix."""
    level = np.arange(1.0, shares.shape[1] + 1)
    i, j = level[:, None], level[None, :]
    margin = shares.sum(axis=2)
    mean = margin @ level
    spread = np.sum(margin * (level - mean[:, None]) ** 2, axis=1)
    cluster = i + j - 2 * mean[:, None, None]
    covariance = np.sum(shares * (i - mean[:, None, None]) * (j - mean[:, None, None]), axis=(1, 2))
    return {
        "Autocorrelation": np.sum(shares * (i * j), axis=(1, 2)),
        "ClusterProminence": np.sum(shares * cluster**4, axis=(1, 2)),
        "ClusterShade": np.sum(shares * cluster**3, axis=(1, 2)),
        "ClusterTendency": np.sum(shares * cluster**2, axis=(1, 2)),
        "Correlation": _ratio(covariance, np.where(spread > 1e-12, spread, 0), 1.0),
        "JointAverage": mean,
        "JointEnergy": np.sum(shares**2, axis=(1, 2)),
        "JointEntropy": _entropy(shares.reshape(len(shares), -1)),
        "MaximumProbability": shares.max(axis=(1, 2)),
        "SumSquares": spread,
    }


def _of_sums(shares: Matrices) -> dict[str, NDArray]:
    """Features of the difference and the sum of two levels, one value a matrix."""
    count = shares.shape[1]
    i, j = np.indices((count, count))
    flat = shares.reshape(len(shares), -1)
    apart = np.stack([np.bincount(abs(i - j).ravel(), one, count) for one in flat])
    added = np.stack([np.bincount((i + j + 2).ravel(), one, 2 * count + 1) for one in flat])
    step, total = np.arange(float(count)), np.arange(2.0 * count + 1)
    mean = apart @ step
    return {
        "Contrast": apart @ step**2,
        "DifferenceAverage": mean,
        "DifferenceEntropy": _entropy(apart),
        "DifferenceVariance": np.sum(apart * (step - mean[:, None]) ** 2, axis=1),
        "Id": apart @ (1 / (1 + step)),
        "Idm": apart @ (1 / (1 + step**2)),
        "Idmn": apart @ (1 / (1 + (step / count) ** 2)),
        "Idn": apart @ (1 / (1 + step / count)),
        "InverseVariance": apart[:, 1:] @ (1 / step[1:] ** 2),
        "SumAverage": added @ total,
        "SumEntropy": _entropy(added),
    }


def _of_margins(shares: Matrices) -> dict[str, NDArray]:
    """The two informational measures of correlation: the joint entropy against that of independent levels."""
    margin = shares.sum(axis=2)
    independent = (margin[:, :, None] * margin[:, None, :]).reshape(len(shares), -1)
    flat = shares.reshape(len(shares), -1)
    joint, alone = _entropy(flat), _entropy(margin)
    crossed = -np.sum(flat * np.log2(np.where(independent > 0, independent, 1)), axis=1)
    gain = np.maximum(_entropy(independent) - joint, 0)  # in bit; the exponential below is PyRadiomics' own
    return {"Imc1": _ratio(joint - crossed, alone, 0.0), "Imc2": np.sqrt(1 - np.exp(-2 * gain))}


_NAMES = tuple(sorted(name for part in (_of_pairs, _of_sums, _of_margins) for name in part(np.full((1, 2, 2), 0.25))))


def binary_patterns(image: NDArray, where: NDArray | None = None) -> Features:
    """Shares of the ten uniform local binary patterns of 8 neighbours at 1 px inside ``where``.

    A pattern says which neighbours on the circle are at least as bright as the pixel. Those with at most two changes
    round the circle are told apart by how many are (``0`` to ``8``: a peak, lines, edges, corners, flat or a pit); all
    others are ``other``.

    Raises
    ------
    ScanError
        As `inside`.

    References
    ----------
    .. [1] Ojala, Pietikäinen, Mäenpää, "Multiresolution gray-scale and rotation invariant texture classification with
       local binary patterns", IEEE Transactions on Pattern Analysis and Machine Intelligence 24(7), 2002.

    Examples
    --------
    >>> binary_patterns(np.zeros((5, 5)))["8"]
    1.0
    """
    from skimage.feature import local_binary_pattern

    grey, mask = _grey(image, where)
    framed = cv2.copyMakeBorder(grey, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REPLICATE)
    codes = local_binary_pattern(framed, NEIGHBOURS, RADIUS, "uniform")[RADIUS:-RADIUS, RADIUS:-RADIUS]
    counts = np.bincount(codes[mask].astype(np.int64), minlength=NEIGHBOURS + 2)
    names = [*map(str, range(NEIGHBOURS + 1)), "other"]
    return {name: float(count) / int(mask.sum()) for name, count in zip(names, counts, strict=True)}


def local_entropy(
    image: NDArray, where: NDArray | None = None, *, radius: int = DISC, bins: int = LOCAL_BINS
) -> Features:
    """Mean and spread over ``where`` of the Shannon entropy, in bit, of the grey levels in a disc about each pixel.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        Pixels outside count neither as centres nor as neighbours.
    radius : int
        Of the disc, px, 1 or more.
    bins : int
        Grey levels (`grey_levels`), at most 255.

    Returns
    -------
    dict
        ``mean`` and ``spread``.

    Raises
    ------
    ScanError
        As `grey_levels`, or for a radius below 1.

    Examples
    --------
    >>> local_entropy(np.tile([0, 1], (9, 5)), radius=1)["mean"] > 0.7
    True
    """
    from skimage.filters.rank import entropy
    from skimage.morphology import disk

    if radius < 1 or bins > 255:
        raise ScanError(f"local entropy: radius {radius} and {bins} bins; pass a radius of 1 or more, at most 255 bins")
    levels = grey_levels(image, where, bins=bins)
    mask = levels > 0
    local = entropy(levels.astype(np.uint8), disk(radius), mask=mask.astype(np.uint8))[mask]
    return {"mean": float(local.mean()), "spread": float(local.std())}


def edges(image: NDArray, where: NDArray | None = None) -> Features:
    """How much of ``where`` is edge, and how steep its grey values are.

    Returns
    -------
    dict
        ``density``, the share of pixels that Canny's detector marks; ``gradient`` and ``gradient_spread``, mean and
        standard deviation of Sobel's gradient, as a share of the grey range inside, for each pixel.

    Raises
    ------
    ScanError
        As `inside`.

    References
    ----------
    .. [1] Canny, "A computational approach to edge detection", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 8(6), 1986.

    Examples
    --------
    >>> edges(np.ones((9, 9)))["density"]
    0.0
    """
    grey, mask = _grey(image, where)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1, borderType=cv2.BORDER_REPLICATE)
    marked = cv2.Canny(smooth, *CANNY, L2gradient=True)
    steep = np.hypot(*(cv2.Sobel(grey, cv2.CV_32F, x, 1 - x, borderType=cv2.BORDER_REPLICATE) for x in (0, 1)))
    steep = steep[mask] / (8 * 255)  # Sobel's weights of one side add up to 4, over a distance of 2 px
    return {
        "density": float(np.mean(marked[mask] > 0)),
        "gradient": float(steep.mean()),
        "gradient_spread": float(steep.std()),
    }


def _grey(image: NDArray, where: NDArray | None) -> tuple[NDArray[np.uint8], BoolArray]:
    """The image in 0…255 by the grey range inside, continued outward, and the mask."""
    plane, mask = inside(image, where)
    whole = continued(plane, mask)
    return to_grey(whole, *grey_range(plane[mask].reshape(1, -1))), mask
