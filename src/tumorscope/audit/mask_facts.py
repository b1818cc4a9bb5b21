"""What can be measured of one mask and the scan it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import ndimage

from tumorscope import io
from tumorscope.audit.mask_fit import Edges, reduced, turns
from tumorscope.datasets.facts import JPEG_INSIDE
from tumorscope.datasets.truth import marked, values_of
from tumorscope.errors import TumorscopeError
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import BoolArray, Scan

SPECK = 0.02  # of a mask's largest region: smaller regions are specks. 5 of TCGA-LGG's 147 masks have one, Cheng's none
CLASSES = 16  # grey values between 0 and the maximum; with more of them a mask holds rims, not classes

SCHEMA = {
    "id": pl.String,
    "mask_path": pl.String,
    "problem": pl.String,  # why scan or mask could not be read
    "scan_size": pl.String,
    "mask_size": pl.String,
    "shift": pl.Float64,  # voxels between the corners of the mask's grid and the scan's; null without geometry
    "lossy": pl.Boolean,  # a JPEG
    "highest": pl.Float64,  # the mask's largest value
    "levels": pl.Int64,  # different values
    "between": pl.Int64,  # pixels that are neither 0 nor the largest value
    "lost": pl.Int64,  # of these, the ones that are not marked by the rule
    "classes": pl.Boolean,  # whether solid areas have values between
    "marked": pl.Int64,  # pixels
    "share": pl.Float64,  # of the image
    "head_found": pl.Boolean,
    "outside": pl.Float64,  # share of the mask outside the head
    "of_head": pl.Float64,  # share of the head that is marked
    "of_background": pl.Float64,  # share of all outside the head that is marked
    "regions": pl.Int64,
    "largest": pl.Int64,  # pixels of the largest region
    "specks": pl.Int64,  # regions below SPECK
    "speck_pixels": pl.Int64,
    "fit": pl.Float64,  # of the outline to the edges of the scan
    "turned": pl.String,  # the way to lay the mask wrongly that fits best
    "turned_fit": pl.Float64,
    "digest": pl.String,  # of the marked pixels
}
Facts = dict[str, Any]
Small = tuple[NDArray[np.uint8], BoolArray]
OF_ROW = ("id", "mask_path", "problem")  # told by a row, or by nothing that is kept: not by the files' content
STORED: dict[str, type[pl.DataType]] = {
    "key": pl.String,
    **{name: kind for name, kind in SCHEMA.items() if name not in OF_ROW},
    "small_height": pl.Int64,  # null where there is no small picture, as are the next three
    "small_width": pl.Int64,
    "small_image": pl.Binary,
    "small_mask": pl.Binary,
}


def look(row: Mapping[str, Any]) -> tuple[Facts, Small | None]:
    """Facts of `SCHEMA` about the mask of a manifest row, and scan and mask small enough to keep, of a 2-D scan.

    Nothing is raised: what cannot be read has a ``problem``.

    Examples
    --------
    >>> look({"id": "a", "path": "a.png", "mask_path": "a_mask.png"})[0]["problem"]
    'a_mask.png: there is no such file; check the path'
    """
    facts: Facts = {name: None for name in SCHEMA} | {"id": row["id"], "mask_path": row["mask_path"]}
    try:
        mask = io.read(row["mask_path"])
        values = values_of(mask)
        facts |= _values(values, mask)
        scan = io.read(row["path"], channel=row.get("channel"))
        facts["scan_size"] = "x".join(map(str, scan.shape))
        if values.shape != scan.shape:
            return facts, None
        facts["shift"] = _shift(scan, mask)
        return _together(facts, scan, marked(values))
    except TumorscopeError as error:
        facts["problem"] = str(error)
    except Exception as error:  # one odd file must not end an audit of thousands
        facts["problem"] = f"{label(row['mask_path'])}: {type(error).__name__} ({one_line(error)}); look at the file"
    return facts, None


def _values(values: NDArray, mask: Scan) -> Facts:
    """What the mask's grey values say."""
    lossy = mask.source.format == "jpeg"
    highest = float(values.max())
    middle = (values > 0) & (values < highest)
    kinds = np.unique(values[middle])
    marks = marked(values)
    solid = not lossy and 0 < kinds.size <= CLASSES and any(_is_solid(values == kind) for kind in kinds.tolist())
    text = f"{marks.shape}".encode() + np.packbits(marks).tobytes()
    return {
        "mask_size": "x".join(map(str, values.shape)),
        "lossy": lossy,
        "highest": highest,
        "levels": int(kinds.size + (highest > 0) + bool((values <= 0).any())),
        "between": int(middle.sum()),
        "lost": int((middle & ~marks).sum()),
        "classes": bool(solid),
        "marked": int(marks.sum()),
        "share": float(marks.mean()),
        "digest": hashlib.sha256(text).hexdigest(),
    }


def _is_solid(area: BoolArray) -> bool:
    """Whether an area holds a square of 3 x 3 pixels: a rim does not."""
    planes = area[None] if area.ndim == 2 else area[area.any(axis=(1, 2))]
    return any(cv2.erode(plane.astype(np.uint8), np.ones((3, 3), np.uint8)).any() for plane in planes)


def _shift(scan: Scan, mask: Scan) -> float | None:
    """Largest distance between the corners of the two grids, in the scan's smallest voxel side."""
    if scan.affine is None or mask.affine is None:
        return None
    sides = scan.shape if scan.is_volume else (1, *scan.shape)
    corners = np.array([[*np.multiply(corner, np.subtract(sides, 1)), 1] for corner in np.ndindex(2, 2, 2)], float)
    apart = np.linalg.norm((corners @ (mask.affine - scan.affine).T)[:, :3], axis=1).max()
    voxel = np.linalg.norm(scan.affine[:3, :3], axis=0).min()
    return float(apart / max(voxel, 1e-9))


def _together(facts: Facts, scan: Scan, marks: BoolArray) -> tuple[Facts, Small | None]:
    """Facts about a mask on its scan, both on one grid."""
    if not marks.any():
        return facts, None
    image = scan.pixels.mean(axis=0) if scan.axes[0] == "C" else scan.pixels
    regions, count = ndimage.label(marks, np.ones((3,) * marks.ndim))
    sizes = np.bincount(regions.ravel())[1:]
    specks = sizes[sizes < SPECK * sizes.max()]
    facts |= {
        "regions": int(count),
        "largest": int(sizes.max()),
        "specks": int(specks.size),
        "speck_pixels": int(specks.sum()),
    }
    planes, layers = (image, marks) if scan.is_volume else (image[None], marks[None])
    facts |= _head(planes, layers)
    small = reduced(planes, layers)
    if small is None:
        return facts, None
    edges = Edges.of(small[0])
    wrong = {name: edges.fit(turned) for name, turned in turns(small[1]).items()}
    best = max(wrong, key=wrong.__getitem__)
    facts |= {"fit": edges.fit(small[1]), "turned": best, "turned_fit": wrong[best]}
    return facts, None if scan.is_volume else small


def _head(planes: NDArray, layers: BoolArray) -> Facts:
    """Where the mask lies with regard to the head, over the slices (D, H, W) in which something is marked."""
    inside = outside = head_size = rest_size = 0
    for plane, layer in zip(planes, layers, strict=True):
        if not layer.any():
            continue
        crop = crop_head(clean_background(plane).image)
        if crop.mode == "none":
            continue
        inside += int((layer & crop.head).sum())
        outside += int((layer & ~crop.head).sum())
        head_size += int(crop.head.sum())
        rest_size += int((~crop.head).sum())
    if not head_size:
        return {"head_found": False}
    return {
        "head_found": True,
        "outside": outside / max(inside + outside, 1),
        "of_head": inside / head_size,
        "of_background": outside / max(rest_size, 1),
    }


def packed(facts: Facts, small: Small | None) -> Facts:
    """What `look` found, as a row of `STORED` but for its key."""
    row: Facts = {name: value for name, value in facts.items() if name not in OF_ROW}
    if small is None:
        return row | {name: None for name in ("small_height", "small_width", "small_image", "small_mask")}
    image, marks = small
    height, width = image.shape[1:]
    return row | {
        "small_height": height,
        "small_width": width,
        "small_image": image.tobytes(),
        "small_mask": np.packbits(marks).tobytes(),
    }


def unpacked(row: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[Facts, Small | None]:
    """What `look` found in the files of a manifest row, from what was ``kept``: the inverse of `packed`.

    Examples
    --------
    >>> facts = dict.fromkeys(SCHEMA) | {"id": "a", "mask_path": "a_mask.png", "marked": 3}
    >>> found = unpacked({"id": "b", "mask_path": "b_mask.png"}, packed(facts, None))
    >>> found[0]["id"], found[0]["marked"], found[1]
    ('b', 3, None)
    """
    facts: Facts = {name: kept.get(name) for name in SCHEMA} | {"id": row["id"], "mask_path": row["mask_path"]}
    if kept["small_height"] is None:
        return facts, None
    shape = 1, kept["small_height"], kept["small_width"]
    image = np.frombuffer(kept["small_image"], np.uint8).reshape(shape)
    marks = np.unpackbits(np.frombuffer(kept["small_mask"], np.uint8), count=image.size).reshape(shape)
    return facts, (image, marks.astype(bool))


def is_faint(facts: Mapping[str, Any]) -> bool:
    """Whether a JPEG holds nothing but compression noise: no value that a mask is drawn with."""
    return bool(facts["lossy"] and facts["highest"] is not None and 0 < facts["highest"] < JPEG_INSIDE)


def name_of(path: str | Path) -> str:
    """A file's name without what marks it as a mask: what image and mask should share.

    Examples
    --------
    >>> name_of("masks/0007.png"), name_of("x/TCGA_1_mask.png"), name_of("BraTS_001_seg.nii.gz")
    ('0007', 'tcga_1', 'brats_001')
    """
    from tumorscope.datasets.layouts import MASK_SUFFIX, NIFTI, VOLUME, stem

    name = stem(str(path))
    if str(path).casefold().endswith(NIFTI):
        match = VOLUME.fullmatch(name)
        return (match["case"] if match and match["case"] else name).casefold()
    return MASK_SUFFIX.sub("", name).casefold()
