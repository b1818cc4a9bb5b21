"""Prompted segmentation as one interface: embed a slice once, then ask with prompts as often as you like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.prompts import Prompts
from tumorscope.errors import DataError, look_up
from tumorscope.scan import BoolArray


@dataclass(frozen=True)
class Candidate:
    """One answer to a set of prompts.

    Parameters
    ----------
    mask : (H, W) bool array
        On the slice's grid.
    quality : float or None
        IoU with the truth that the engine predicts, 0 to 1; None where it predicts none.
    logits : array or None
        What the engine wants to see again as ``previous``: its own low-resolution map, never for showing.
    """

    mask: BoolArray
    quality: float | None
    logits: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Embedded:
    """A slice made ready for many prompts.

    Parameters
    ----------
    engine : str
        Name of the engine that made it; no other takes it.
    shape : (int, int)
        Height and width of the slice.
    state : Any
        The engine's own; arrays only, so that it can be kept on disk.
    """

    engine: str
    shape: tuple[int, int]
    state: dict[str, NDArray]


class Engine(Protocol):
    """What every engine offers. All are safe to call from several threads.

    Name and version go into the record of each mask.
    """

    @property
    def name(self) -> str:
        """What `open_engine` calls it."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever answers may."""
        ...

    def embed(self, pixels: NDArray[np.floating]) -> Embedded:
        """A (H, W) float slice on its own intensity scale, made ready.

        Raises
        ------
        ScanError
            If it is too small, constant, or not finite.
        """
        ...

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        """Candidates for the prompts, the best first by predicted quality.

        Parameters
        ----------
        embedded : Embedded
        prompts : Prompts
            At least one positive point, scribble, or a box, unless ``previous`` is given.
        previous : Candidate or None
            The mask to be corrected: the chosen answer to the prompts before, or any mask of the slice's shape with
            ``logits`` None.

        Raises
        ------
        DataError
            If nothing says where the lesion is, or a prompt lies outside the slice.
        """
        ...


def check(embedded: Embedded, prompts: Prompts, previous: Candidate | None, engine: str) -> None:
    """Raise DataError on what no engine can answer: see `Engine.segment`."""
    if embedded.engine != engine:
        raise DataError(f"slice: was embedded by '{embedded.engine}' and asked of '{engine}'; embed it again")
    prompts.check(embedded.shape)
    if previous is not None and previous.mask.shape != embedded.shape:
        raise DataError(f"previous mask: is {previous.mask.shape} on a slice of {embedded.shape}; give one of its size")
    positive = [point.positive for point in prompts.points] + [line.positive for line in prompts.scribbles]
    says = prompts.box is not None or any(positive)
    if not says and (previous is None or not previous.mask.any()):
        raise DataError("prompts: nothing says where the lesion is; add a positive click, a scribble or a box")


def _click(checkpoint: Path | None) -> Engine:
    from tumorscope.annotation.click import Click

    return Click.open(checkpoint)


def _classical(method: str, checkpoint: Path | None) -> Engine:
    from tumorscope.annotation.classical import Classical

    return Classical(method)


def _sam(name: str, checkpoint: Path | None) -> Engine:
    from tumorscope.annotation.sam import open_sam

    return open_sam(name, checkpoint)


ENGINES: dict[str, Callable[[Path | None], Engine]] = {
    "click": _click,
    "random-walker": partial(_classical, "random-walker"),
    "snake": partial(_classical, "snake"),
    "grabcut": partial(_classical, "grabcut"),
    "sam-vit-base": partial(_sam, "sam-vit-base"),
    "sam-vit-large": partial(_sam, "sam-vit-large"),
    "sam-vit-huge": partial(_sam, "sam-vit-huge"),
    "sam2.1-hiera-tiny": partial(_sam, "sam2.1-hiera-tiny"),
    "sam2.1-hiera-small": partial(_sam, "sam2.1-hiera-small"),
    "sam2.1-hiera-base-plus": partial(_sam, "sam2.1-hiera-base-plus"),
    "sam2.1-hiera-large": partial(_sam, "sam2.1-hiera-large"),
}
"""Every engine by name; each call opens one. What `registry` calls the weights of SAM is their name here."""

DEFAULT = "click"


def open_engine(name: str = DEFAULT, checkpoint: Path | None = None) -> Engine:
    """The engine of that name, its network loaded.

    Parameters
    ----------
    name : str
        A key of `ENGINES`.
    checkpoint : Path or None
        Weights of the same architecture to use instead of the published ones: a folder as transformers saves it,
        or a bundle for ``click``.

    Raises
    ------
    DataError
        If there is no such engine.
    WeightsError
        If its weights cannot be had.
    MissingExtra
        If it needs torch, which is not installed.
    """
    return ENGINES[look_up(name, ENGINES, "engine", DataError)](checkpoint)
