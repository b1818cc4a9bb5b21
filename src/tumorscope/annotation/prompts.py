"""Prompts: what an annotator points at on one slice, as data that travels through JSON unchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.scan import BoolArray

MOST_PROMPTS = 500  # points and scribbles on one slice: more is a program gone wrong, not a person
MOST_VERTICES = 20_000  # of one scribble


@dataclass(frozen=True)
class Point:
    """A click.

    Parameters
    ----------
    y, x : float
        Row and column in pixels of the slice; (0, 0) is the centre of the first pixel.
    positive : bool
        Whether the lesion is here; False says that it is not.
    """

    y: float
    x: float
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """A rectangle around the lesion: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, both included.

    Parameters
    ----------
    top, left, bottom, right : float
        In pixels of the slice.
    """

    top: float
    left: float
    bottom: float
    right: float

    @classmethod
    def around(cls, mask: BoolArray) -> Box | None:
        """The smallest box that holds all of a (H, W) mask; None for an empty one.

        Examples
        --------
        >>> mask = np.zeros((5, 5), bool)
        >>> mask[1:3, 2:5] = True
        >>> Box.around(mask)
        Box(top=1.0, left=2.0, bottom=2.0, right=4.0)
        """
        if not mask.any():
            return None
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return cls(float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1]))


@dataclass(frozen=True)
class Scribble:
    """A line drawn with the pointer.

    Parameters
    ----------
    path : tuple of (float, float)
        Row and column of each vertex; at least one.
    positive : bool
        Whether the line lies in the lesion.
    """

    path: tuple[tuple[float, float], ...]
    positive: bool = True


@dataclass(frozen=True)
class Prompts:
    """All that was pointed at for one lesion on one slice.

    Parameters
    ----------
    points : tuple of Point
        In the order of the clicks.
    box : Box or None
    scribbles : tuple of Scribble

    Examples
    --------
    >>> prompts = Prompts().click(10, 20).click(3, 4, positive=False)
    >>> len(prompts.points), prompts.empty
    (2, False)
    >>> Prompts.from_dict(prompts.to_dict()) == prompts
    True
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    scribbles: tuple[Scribble, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was pointed at."""
        return not self.points and self.box is None and not self.scribbles

    def click(self, y: float, x: float, *, positive: bool = True) -> Prompts:
        """These prompts and one more click."""
        return replace(self, points=(*self.points, Point(float(y), float(x), positive)))

    def boxed(self, box: Box) -> Prompts:
        """These prompts with another box."""
        return replace(self, box=box)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON; `from_dict` is the way back."""
        box = self.box
        return {
            "points": [{"y": point.y, "x": point.x, "positive": point.positive} for point in self.points],
            "box": None if box is None else {name: getattr(box, name) for name in ("top", "left", "bottom", "right")},
            "scribbles": [
                {"path": [list(vertex) for vertex in line.path], "positive": line.positive} for line in self.scribbles
            ],
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Prompts:
        """Prompts from what `to_dict` made or a client sent.

        Raises
        ------
        DataError
            If a part is missing, is no finite number, or there are more than an annotator would make.
        """
        try:
            points = tuple(
                Point(_number(one["y"]), _number(one["x"]), bool(one.get("positive", True)))
                for one in given.get("points") or ()
            )
            corners = given.get("box")
            box = corners and Box(*(_number(corners[name]) for name in ("top", "left", "bottom", "right")))
            lines = tuple(
                Scribble(tuple((_number(y), _number(x)) for y, x in one["path"]), bool(one.get("positive", True)))
                for one in given.get("scribbles") or ()
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"prompts: {error!r} is missing or no number; see the API page for their form") from error
        prompts = cls(points, box or None, lines)
        prompts.check()
        return prompts

    def check(self, shape: tuple[int, int] | None = None) -> None:
        """Raise DataError on prompts that mean nothing: too many, an empty line, a box inside out, outside a slice."""
        if len(self.points) + len(self.scribbles) > MOST_PROMPTS:
            raise DataError(f"prompts: more than {MOST_PROMPTS} points and scribbles; start the lesion anew")
        for line in self.scribbles:
            if not 0 < len(line.path) <= MOST_VERTICES:
                raise DataError(f"prompts: a scribble has {len(line.path)} vertices; give 1 to {MOST_VERTICES}")
        box = self.box
        if box is not None and (box.bottom < box.top or box.right < box.left):
            raise DataError("prompts: the box ends before it begins; top and left come first")
        if shape is None:
            return
        ends = [(point.y, point.x) for point in self.points]
        if box is not None:
            ends += [(box.top, box.left), (box.bottom, box.right)]
        for y, x in (*ends, *(vertex for line in self.scribbles for vertex in line.path)):
            if not (-0.5 <= y <= shape[0] - 0.5 and -0.5 <= x <= shape[1] - 0.5):
                raise DataError(f"prompts: row {y:g}, column {x:g} lies outside the slice of {shape[0]}x{shape[1]}")


def drawn(prompts: Prompts, shape: tuple[int, int], *, positive: bool, width: int = 3) -> BoolArray:
    """(H, W) mask of the clicks and scribbles of one sign: discs and lines ``width`` pixels across.

    Examples
    --------
    >>> int(drawn(Prompts().click(4, 4), (9, 9), positive=True, width=1).sum())
    1
    """
    import cv2

    canvas: NDArray[np.uint8] = np.zeros(shape, np.uint8)
    for point in prompts.points:
        if point.positive == positive:
            cv2.circle(canvas, (round(point.x), round(point.y)), width // 2, 1, -1)
    for line in prompts.scribbles:
        if line.positive == positive:
            vertices = np.rint([[x, y] for y, x in line.path]).astype(np.int32)
            cv2.polylines(canvas, [vertices.reshape(-1, 1, 2)], False, 1, width)
    return canvas.astype(bool)


def _number(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number) or isinstance(value, bool):
        raise ValueError(value)
    return number
