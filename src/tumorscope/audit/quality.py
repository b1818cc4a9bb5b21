"""How well one slice shows what it shows: size, noise, sharpness, contrast, clipping, what was put around the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.imaging.geometry import Box, Letterbox
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_mask, as_plane, percentiles
from tumorscope.imaging.noise import noise_level
from tumorscope.scan import BoolArray, FloatArray

EDGE_SIDE = 256  # px; sharpness is measured on the head brought to this longer side
STEEP = 98.0  # percentile of the slopes inside the head that counts as its edges; above it lies single-pixel noise
EXTREME = 0.005  # of the grey range: this near to the highest or lowest value a pixel counts as clipped
BANDED = ("head_side", "noise", "sharpness", "contrast")  # traits by which errors are looked at later
BANDS = ("low", "middle", "high")
#: Where a trait calls for a look: about the outermost hundredth of 5,005 measurements on six public collections.
LIMITS: dict[str, tuple[str, float, str]] = {
    "head_side": ("<", 135, "the head is small in pixels"),
    "noise": (">", 0.045, "noisy"),
    "sharpness": ("<", 0.09, "blurred, or enlarged from a small picture"),
    "contrast": ("<", 0.45, "little contrast within the head"),
    "clipped_high": (">", 0.06, "bright tissue is clipped"),
    "clipped_low": (">", 0.12, "dark tissue is clipped"),
}
FOUND = {"border": "a bright border", "white_background": "a white background", "text": "text or marks"}


@dataclass(frozen=True)
class Quality:
    """Traits of one slice; shares are in 0…1, and None stands for what has no head to be measured on.

    Parameters
    ----------
    head_share : float or None
        Share of the picture that the filled head takes.
    head_side : int or None
        Longer side of the head in pixels of the file: the resolution that counts.
    noise : float
        Standard deviation of the noise, as a share of the head's grey range.
    sharpness : float
        Share of the head's grey range that its edges rise by over 1/256 of the head; its inverse is the width of an
        edge. About 0.2 to 0.3 for scans as they come, below 0.1 for blurred ones.
    contrast : float
        Distance of the head's 5th and 95th percentile, as a share of the picture's grey range.
    clipped_low, clipped_high : float
        Share of the head at the picture's lowest and highest value.
    background_level, background_spread : float or None
        Mean and standard deviation of the surroundings, as shares of the head's grey range above its darkest value.
    background_flat : float or None
        Share of the surroundings at exactly the picture's lowest value: near 1 where a program cut the head out.
    border, white_background, text : bool
        Whether cleaning found a bright border or bar, a white background, or text and marks outside the head.
    """

    head_share: float | None
    head_side: int | None
    noise: float
    sharpness: float
    contrast: float
    clipped_low: float
    clipped_high: float
    background_level: float | None
    background_spread: float | None
    background_flat: float | None
    border: bool
    white_background: bool
    text: bool


#: Column types of the traits in a table.
SCHEMA: dict[str, type[pl.DataType]] = {
    field.name: pl.Boolean if field.type == "bool" else pl.Int64 if "int" in str(field.type) else pl.Float64
    for field in fields(Quality)
}


def quality(image: NDArray, head: BoolArray, findings: Sequence[str] = ()) -> Quality:
    """Traits of a slice whose head is known.

    Parameters
    ----------
    image : (H, W) array
        As it was read, not cleaned.
    head : (H, W) bool array
        The filled head (`imaging.crop.Crop.head`). Without a set pixel the whole picture is measured.
    findings : sequence of str
        What cleaning found (`imaging.background.Cleaned.findings`).

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    Examples
    --------
    >>> y, x = np.mgrid[-40:40, -30:30]
    >>> disc = np.hypot(y, x) < 20
    >>> traits = quality(disc * 100.0, disc)
    >>> traits.head_side, round(traits.head_share, 3), traits.noise, traits.background_flat
    (39, 0.259, 0.0, 1.0)
    """
    plane = as_plane(image)
    mask = as_mask(head, plane.shape, "head")
    inside = mask if mask.any() else np.ones_like(mask)
    low, high = percentiles(plane[inside], 1, 99)
    outside = plane[~inside]
    span = high - low
    bottom = float(plane.min())
    return Quality(
        head_share=float(mask.mean()) if mask.any() else None,
        head_side=max(Box.around(mask).shape) if mask.any() else None,
        noise=noise(plane, inside),
        sharpness=sharpness(plane, inside),
        contrast=contrast(plane, inside),
        clipped_low=float(np.mean(plane[inside] <= bottom + EXTREME * (plane.max() - bottom))),
        clipped_high=float(np.mean(plane[inside] >= plane.max() - EXTREME * (plane.max() - bottom))),
        background_level=_share(float(outside.mean(dtype=np.float64)) - low, span) if outside.size else None,
        background_spread=_share(float(outside.std(dtype=np.float64)), span) if outside.size else None,
        background_flat=float(np.mean(outside == bottom)) if outside.size else None,
        **{name: any(finding.startswith(words) for finding in findings) for name, words in FOUND.items()},
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def noise(image: FloatArray, head: BoolArray) -> float:
    """Standard deviation of the noise inside the head, as a share of the head's grey range (1st to 99th percentile).

    `imaging.noise.noise_level`; 0 where the head is flat or thinner than three pixels.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1)) + np.random.default_rng(0).normal(0, 2, (64, 64))
    >>> round(62 * noise(ramp.astype(np.float32), np.ones((64, 64), bool)), 0)
    2.0
    """
    low, high = percentiles(image[head], 1, 99)
    return noise_level(image, head) / (high - low) if high > low else 0.0


def sharpness(image: FloatArray, head: BoolArray) -> float:
    """Share of the head's grey range that its edges rise by over 1/256 of the head's longer side.

    The 98th percentile of the slope on the head brought to 256 pixels: a picture that was enlarged, smoothed or
    scanned with large voxels has wide edges whatever its number of pixels. 0 where the head is flat.

    Examples
    --------
    >>> stripes = np.tile(np.repeat([0.0, 1.0], 32), (256, 4)).astype(np.float32)
    >>> head = np.ones((256, 256), bool)
    >>> sharpness(stripes, head) > 3 * sharpness(cv2.blur(stripes, (15, 15)), head)
    True
    """
    box = Box.around(head)
    letterbox = Letterbox.fit(box.shape, EDGE_SIDE)
    plane = letterbox.apply(box.cut(image), "area", fill=float(image.min()))
    where = letterbox.apply(np.ascontiguousarray(box.cut(head)).astype(np.uint8), "nearest", fill=0) > 0
    low, high = percentiles(plane[where], 1, 99)
    if high <= low:
        return 0.0
    scaled = (plane - np.float32(low)) * np.float32(1 / (high - low))
    across, down = (cv2.Sobel(scaled, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return percentiles(np.hypot(across, down)[where], STEEP)[0]


def contrast(image: FloatArray, head: BoolArray) -> float:
    """Distance of the head's 5th and 95th percentile, as a share of the picture's grey range; 0 where it is flat.

    Low where a few bright spots, or a bright border, take up the range.
    """
    bottom, top = grey_range(image)
    low, high = percentiles(image[head], 5, 95)
    return _share(high - low, top - bottom)


def bands(table: pl.DataFrame) -> pl.DataFrame:
    """The table with ``head_side_band, noise_band, sharpness_band, contrast_band``: the lower, middle or upper third.

    By these an evaluation tells whom a model serves badly. Null where the trait is null, or the same in all scans.

    Raises
    ------
    DataError
        If the table lacks the traits.

    Examples
    --------
    >>> table = pl.DataFrame({name: [0.1, 0.2, 0.3] for name in SCHEMA})
    >>> bands(table)["noise_band"].to_list()
    ['low', 'middle', 'high']
    """
    _require(table)
    added = []
    for name in BANDED:
        low, high = (table[name].quantile(part / 3, "linear") for part in (1, 2))
        if low is None or high is None or low == high:
            added.append(pl.lit(None, pl.String).alias(f"{name}_band"))
            continue
        lower, upper = pl.col(name) <= low, pl.col(name) > high
        band = pl.when(lower).then(pl.lit(BANDS[0])).when(upper).then(pl.lit(BANDS[2])).otherwise(pl.lit(BANDS[1]))
        added.append(pl.when(pl.col(name).is_not_null()).then(band).alias(f"{name}_band"))
    return table.with_columns(added)


def remarks(table: pl.DataFrame) -> pl.DataFrame:
    """Scans that call for a look: ``id, trait, value, remark``, one row for each remark.

    Raises
    ------
    DataError
        If the table lacks the traits.

    Examples
    --------
    >>> table = pl.DataFrame({"id": ["a"]} | {name: [0.04] for name in SCHEMA} | {"contrast": [0.6]})
    >>> remarks(table)["trait"].to_list()
    ['head_side', 'sharpness']
    """
    _require(table)
    parts = []
    for name, (side, limit, remark) in LIMITS.items():
        beyond = pl.col(name) < limit if side == "<" else pl.col(name) > limit
        value = pl.col(name).cast(pl.Float64).alias("value")
        parts.append(
            table.filter(beyond).select("id", pl.lit(name).alias("trait"), value, pl.lit(remark).alias("remark"))
        )
    return pl.concat(parts)


def _require(table: pl.DataFrame) -> None:
    missing = [name for name in SCHEMA if name not in table.columns]
    if missing:
        raise DataError(f"table: has no column '{missing[0]}'; measure the scans first (audit.measure.measure)")


def sentence(table: pl.DataFrame) -> str:
    """What stands out in a table of traits, for a person.

    Raises
    ------
    DataError
        If the table lacks the traits.

    Examples
    --------
    >>> sentence(pl.DataFrame({name: [0.2, 0.2] for name in SCHEMA} | {"text": [True, False]}
    ...     | {"border": [False] * 2, "white_background": [False] * 2, "head_side": [90, 200]}))
    '1 of 2 scans has text or marks; the head is 90 to 200 pixels long (median 145)'
    """
    _require(table)
    parts = []
    for name, words in FOUND.items():
        count = int(table[name].sum() or 0)
        if count:
            parts.append(f"{count} of {table.height} scans {'has' if count == 1 else 'have'} {words}")
    sides = table["head_side"].drop_nulls()
    if len(sides):
        lengths = sides.to_numpy()
        middle = f"median {float(np.median(lengths)):.0f}"
        parts.append(f"the head is {lengths.min()} to {lengths.max()} pixels long ({middle})")
    return "; ".join(parts) or "nothing was measured"
