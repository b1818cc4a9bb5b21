"""Annotations as one COCO file: an entry for each lesion, of volumes for each lesion in each slice; and the way back.

Reading takes masks as compressed and uncompressed run lengths and as polygons. A polygon's corners are distances from
the picture's upper left corner, x first, in pixels; a pixel is inside where its centre is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from skimage.draw import polygon

from tumorscope._version import __version__
from tumorscope.annotation import rle
from tumorscope.annotation.records import Annotation
from tumorscope.errors import DataError
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import BoolArray

UNNAMED = "tumor"
"""Category of a lesion whose tumour type was not said."""
LARGEST_FILE = 2**28  # bytes of a COCO file: 256 MiB; the annotations of the COCO data set itself take as much


@dataclass
class Coco:
    """A COCO file in the making.

    Examples
    --------
    >>> from tumorscope.annotation.records import Lesion, ScanFacts
    >>> from tumorscope.scan import Scan
    >>> scan = ScanFacts.of(Scan.of(np.zeros((4, 5), np.float32)))
    >>> mask = np.zeros((4, 5), bool)
    >>> mask[1:3, 2:5] = True
    >>> file = Coco()
    >>> file.add(Annotation(case_id="a", scan=scan, lesions=(Lesion(mask=rle.encode(mask)),)), "images/a.png")
    >>> one = file.to_dict()["annotations"][0]
    >>> one["bbox"], one["area"], one["segmentation"]
    ([2, 1, 3, 2], 6, {'size': [4, 5], 'counts': '922000O'})
    """

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[str, int] = field(default_factory=dict)

    def add(self, annotation: Annotation, file_name: str) -> None:
        """Put in a scan, kept as ``file_name``, and its lesions; a volume becomes one image a slice."""
        *depth, height, width = annotation.scan.shape
        first = len(self.images) + 1
        plain: dict[str, Any] = {"file_name": file_name, "width": width, "height": height}
        for index in range(depth[0] if depth else 1):
            self.images.append({"id": first + index, **plain, **({"slice": index} if depth else {})})
        for lesion in annotation.marked:
            slices = lesion.mask["slices"] if depth else {"0": lesion.mask}
            name = lesion.tumor_type or UNNAMED
            category = self.categories.setdefault(name, len(self.categories) + 1)
            for place, one in slices.items():
                mask = rle.decode(one)
                self.annotations.append({
                    "id": len(self.annotations) + 1,
                    "image_id": first + int(place),
                    "category_id": category,
                    "segmentation": {"size": [height, width], "counts": rle.compress(rle.encode(mask)["counts"])},
                    "area": int(mask.sum()),
                    "bbox": _box(mask),
                    "iscrowd": 0,
                    "lesion": lesion.id,
                    "name": lesion.name,
                    "mask_source": lesion.mask_source,
                })  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The file's content. ``slice``, ``lesion``, ``name`` and ``mask_source`` are ours; other readers pass over."""
        return {
            "info": {"description": "lesions on brain MRI scans", "version": f"tumorscope {__version__}"},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": name} for name, number in self.categories.items()],
        }


def _box(mask: BoolArray) -> list[int]:
    """COCO's box: x, y of the first pixel, width and height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    size = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    return [int(columns[0]), int(rows[0]), *size]


@dataclass(frozen=True)
class Marked:
    """What a COCO file says of one image: masks by lesion.

    Parameters
    ----------
    file_name : str
        As the file gives it; not to be trusted.
    masks : tuple
        Slice (None where the file names none), lesion, category and mask of each annotation, in their order.
    shape : (int, int)
        Height and width as the file gives them.
    """

    file_name: str
    masks: tuple[tuple[int | None, str, str, BoolArray], ...]
    shape: tuple[int, int]


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one object with ``images`` and ``annotations``."""
    try:
        content = _content(path)
    except DataError:
        return False
    return isinstance(content, dict) and {"images", "annotations"} <= set(content)


def read(path: Path) -> Iterator[Marked]:
    """What a COCO file says, image file by image file; images without annotations come with no masks.

    Raises
    ------
    DataError
        If it is no COCO file, an annotation is of an image that is not there, or its mask does not fit.
    """
    content = _content(path)
    try:
        names = {one["id"]: str(one["name"]) for one in content.get("categories") or ()}
        by_image: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {one["id"]: [] for one in content["images"]}
        for place, one in enumerate(content["annotations"]):
            by_image[one["image_id"]].append((place, one))
        files: dict[str, list[Mapping[str, Any]]] = {}
        for image in content["images"]:
            files.setdefault(str(image["file_name"]), []).append(image)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{label(path)}: is no COCO file ({error!r} is missing or wrong); export it again") from error
    for name, images in files.items():
        yield _marked(path, name, images, by_image, names)


def _marked(
    path: Path, name: str, images: list[Mapping[str, Any]], by_image: Mapping[Any, Any], names: Mapping[Any, str]
) -> Marked:
    found: list[tuple[int, tuple[int | None, str, str, BoolArray]]] = []
    try:
        shape = int(images[0]["height"]), int(images[0]["width"])
        for image in images:
            for place, one in by_image[image["id"]]:
                mask = mask_of(one["segmentation"], shape)
                category = names.get(one.get("category_id"), UNNAMED)
                found.append((place, (image.get("slice"), str(one.get("lesion", one["id"])), category, mask)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{label(path)}: {label(name):.80} has {error!r:.80} missing or wrong; export it again"
        ) from error
    return Marked(name, tuple(one for _, one in sorted(found, key=lambda pair: pair[0])), shape)


def mask_of(segmentation: Any, shape: tuple[int, int]) -> BoolArray:
    """(H, W) mask of a COCO ``segmentation``: run lengths in either form, or a list of polygons, whose union it is.

    Raises
    ------
    DataError
        If it has another size than ``shape``, or a polygon has fewer than 3 corners or one that is no number.

    Examples
    --------
    >>> mask_of([[1, 1, 4, 1, 4, 3, 1, 3]], (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    if isinstance(segmentation, Mapping):
        mask = rle.decode(segmentation)
        if mask.shape != shape:
            raise DataError(
                f"mask: is {mask.shape[0]}x{mask.shape[1]}, its image {shape[0]}x{shape[1]}; give one of its size"
            )
        return mask
    if min(shape) < 1 or shape[0] * shape[1] > rle.LARGEST:
        raise DataError(f"mask: {shape[0]}x{shape[1]} is no size of an image; correct width and height")
    result = np.zeros(shape, bool)
    for corners in segmentation:
        values = np.asarray(corners, np.float64)
        if values.ndim != 1 or values.size < 6 or values.size % 2 or not np.isfinite(values).all():
            raise DataError("mask: a polygon is no list of x, y for 3 corners or more; draw it again")
        result[polygon(values[1::2] - 0.5, values[::2] - 0.5, shape)] = True
    return result


def _content(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{label(path)}: is larger than {LARGEST_FILE:,} bytes; split it")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{label(path)}: cannot be read as JSON ({one_line(error)}); write it again") from error
