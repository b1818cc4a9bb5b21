"""A lesion in the making, and the line of a brush."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from tumorscope.annotation import rle
from tumorscope.annotation.engine import Candidate
from tumorscope.annotation.prompts import Point, Prompts, Scribble, drawn
from tumorscope.annotation.records import Edit, Lesion, Prompted, Source
from tumorscope.errors import DataError
from tumorscope.scan import BoolArray

Line = Sequence[tuple[float, float]]
"""Row and column of each vertex."""
ROUNDING = 1e-3  # px; OpenCV gives distances as float32


@dataclass(frozen=True)
class Draft:
    """A lesion in the making. Unchangeable, so that undo only has to keep the ones before.

    Parameters
    ----------
    slices : mapping from int to (H, W) bool array
        What is marked on each axis-0 slice; 0 of a 2-D scan. Never written to.
    prompts : mapping from int to Prompts
    candidates : tuple of Candidate
        The engine's last answers, for the slice ``asked``; none when the mask was changed since.
    settled : dict
        Fields of `records.Lesion` that are settled already.
    """

    id: str
    name: str
    tumor_type: str | None
    started: str
    finished: str
    slices: Mapping[int, BoolArray] = field(default_factory=dict)
    prompts: Mapping[int, Prompts] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    asked: int = 0
    settled: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no pixel is marked on any slice."""
        return not any(part.any() for part in self.slices.values())

    def mask(self, shape: tuple[int, ...]) -> BoolArray:
        """(H, W) or (D, H, W) mask on a scan of ``shape``."""
        result = np.zeros(shape, bool)
        for index, part in self.slices.items():
            result[index if len(shape) == 3 else ...] = part
        return result

    def record(self, shape: tuple[int, ...]) -> Lesion:
        """The lesion as a record, on a scan of ``shape``.

        Raises
        ------
        DataError
            If its name or type is none that a record takes.
        """
        asked = sorted(self.prompts.items())
        return Lesion.from_dict({
            **self.settled, "id": self.id, "name": self.name, "tumor_type": self.tumor_type,
            "mask": rle.encode_any(self.mask(shape)), "started": self.started, "finished": self.finished,
            "prompts": [Prompted(index=index, prompts=prompts.to_dict()) for index, prompts in asked],
            "edits": self.edits,
        })  # fmt: skip

    def begun_with(
        self, mask: BoolArray, shape: tuple[int, ...], prediction: str | None, model: tuple[str, str] | None
    ) -> Draft:
        """This lesion with a given mask on a scan of ``shape``: a model's prediction, or an import.

        Raises
        ------
        DataError
            If the mask is not of that shape.
        """
        marked = np.array(mask) != 0
        if marked.shape != shape:
            sizes = ["x".join(map(str, one)) for one in (marked.shape, shape)]
            raise DataError(f"mask: is {sizes[0]}, the scan {sizes[1]}; give one of its size")
        source: Source = "import" if prediction is None and model is None else "model"
        name, version = model or (None, None)
        settled = {"source": source, "engine": name, "engine_version": version, "model_prediction": prediction}
        edit = Edit(kind="import", time=self.started, pixels=int(marked.sum()))
        planes = marked if len(shape) == 3 else marked[None]
        slices = {int(index): planes[index] for index in np.flatnonzero(planes.any(axis=(1, 2)))}
        return replace(self, slices=slices, settled=settled, edits=(edit,))


def stroke(vertices: tuple[tuple[float, float], ...], shape: tuple[int, ...], radius: int) -> BoolArray:
    """(H, W) mask of the pixels that lie within ``radius`` pixels of a line's own.

    Raises
    ------
    DataError
        If the line leaves the slice.

    Examples
    --------
    >>> stroke(((1, 1), (1, 2)), (3, 4), 1).astype(int)
    array([[0, 1, 1, 0],
           [1, 1, 1, 1],
           [0, 1, 1, 0]])
    """
    line = Prompts(scribbles=(Scribble(vertices),))
    line.check((shape[0], shape[1]))
    dotted = replace(line, points=(Point(*vertices[0]),))  # a line of one vertex has no length
    core = drawn(dotted, (shape[0], shape[1]), positive=True, width=1)
    away = cv2.distanceTransform((~core).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near: BoolArray = away <= radius + ROUNDING
    return near & bool(core.any())


def vertices_of(path: Line) -> tuple[tuple[float, float], ...]:
    """The vertices of a line as plain numbers.

    Raises
    ------
    DataError
        If there is none, or one is no pair of finite numbers.

    Examples
    --------
    >>> vertices_of([[1, 2]])
    ((1.0, 2.0),)
    """
    try:
        vertices = np.asarray(path, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("path: is no list of (row, column); give at least one vertex") from error
    if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) == 0 or not np.isfinite(vertices).all():
        raise DataError("path: is no list of (row, column); give at least one vertex")
    return tuple((float(y), float(x)) for y, x in vertices)
