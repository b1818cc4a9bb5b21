"""A table of features, one row a scan: what stands in its head, and the shape of its mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl

from tumorscope import io
from tumorscope.datasets.processes import portions
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import TumorscopeError
from tumorscope.imaging.features import NAMES, SIDE, head_features
from tumorscope.imaging.shape import SHAPE_2D, SHAPE_3D, shape_2d, shape_3d
from tumorscope.scan import BoolArray, Scan

#: Raise when a feature of the same name gets another value: tables and models of another version are not mixed.
VERSION = 1

SHAPES = (
    *(f"original_shape2D_{name}" for name in SHAPE_2D),
    *(f"original_shape_{name}" for name in SHAPE_3D),
)
#: Columns of the table, in order; see docs/explanation/features.md.
SCHEMA: dict[str, type[pl.DataType]] = {
    "id": pl.String,
    "problem": pl.String,
    **dict.fromkeys(NAMES, pl.Float64),
    "shape_unit": pl.String,
    **dict.fromkeys(SHAPES, pl.Float64),
}

Row = dict[str, Any]
Progress = Callable[[int, int, str | None], None]


def measure(
    table: pl.DataFrame, *, side: int = SIDE, shapes: bool = True, workers: int = 1, progress: Progress | None = None
) -> pl.DataFrame:
    """Features of every scan of a manifest, in its order, with the columns of `SCHEMA`.

    A scan that cannot be read or measured gets its ``problem`` in one line, and nulls; the others go on. Several
    channels are averaged unless the manifest names one; of a volume the middle slice is measured, and the shape of
    its whole mask. A feature that is not defined for a scan is null.

    Parameters
    ----------
    table : polars.DataFrame
        A manifest (`datasets.manifest.load`).
    side : int
        Px, of the square in which each head is measured (`imaging.features.head_features`).
    shapes : bool
        Whether the masks are measured too. Only scans with a lesion have a mask: a model that learns from these
        columns learns the label.
    workers : int
        Processes that read and measure at once; 1 measures in this one.
    progress : callable or None
        Called with (scans done, scans in all, problem of the last one or None).

    Examples
    --------
    >>> measure(pl.DataFrame({"id": ["a"], "path": ["missing.png"]})).select("id", "problem").rows()
    [('a', 'missing.png: there is no such file; check the path')]
    """
    rows = []
    for row in stream(table, side=side, shapes=shapes, workers=workers):
        rows.append(row)
        if progress:
            progress(len(rows), table.height, row.get("problem"))
    return pl.DataFrame(rows, schema=SCHEMA)


def stream(table: pl.DataFrame, *, side: int = SIDE, shapes: bool = True, workers: int = 1) -> Iterator[Row]:
    """The rows of `measure` one after the other, so that a table larger than memory can be written as it comes."""
    wanted = [name for name in ("id", "path", "channel", "mask_path") if name in table.columns]
    tasks = list(table.select(wanted).iter_rows(named=True))
    for part in portions(partial(measure_one, side=side, shapes=shapes), tasks, workers):
        yield from part


def measure_one(row: Mapping[str, Any], *, side: int = SIDE, shapes: bool = True) -> Row:
    """One row of `SCHEMA` about one manifest row; of a scan that fails only its ``id`` and ``problem``.

    Nothing is raised: the others of a data set must go on.

    Examples
    --------
    >>> measure_one({"id": "a", "path": "missing.png"})
    {'id': 'a', 'problem': 'missing.png: there is no such file; check the path'}
    """
    own = row.get("id")
    try:
        scan = io.read(row["path"], channel=row.get("channel"))
        found = head_features(scan.middle(), side)
        mask = read_mask(row, scan.shape) if shapes else None
        return {"id": own, "problem": None, **_defined(found), **_shape(mask, scan)}
    except TumorscopeError as error:
        return {"id": own, "problem": str(error)}
    except MemoryError:
        return {"id": own, "problem": f"{row['path']}: does not fit into memory; cut it into smaller parts"}
    except Exception as error:  # one odd file must not end a table of thousands; it is told, not hidden
        words = " ".join(str(error).split())
        problem = f"{row['path']}: internal error, {type(error).__name__}: {words}; leave the scan out"
        return {"id": own, "problem": problem}


def _shape(mask: BoolArray | None, scan: Scan) -> Row:
    """Shape columns of a mask; none of a scan without a lesion."""
    if mask is None or not mask.any():
        return {}
    unit = {"shape_unit": "px" if scan.spacing is None else "mm"}
    if scan.is_volume:
        found = {f"original_shape_{name}": value for name, value in shape_3d(mask, scan.spacing).items()}
    else:
        found = {f"original_shape2D_{name}": value for name, value in shape_2d(mask, scan.spacing).items()}
    return unit | _defined(found)


def _defined(found: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
