"""The engines of the SAM family: SAM, SAM 2, MedSAM and fine-tuned decoders, where the train extra is installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.engine import Candidate, Embedded, check
from tumorscope.annotation.prompts import Prompts, Scribble
from tumorscope.errors import MissingExtra, ScanError
from tumorscope.imaging.intensity import as_plane

if TYPE_CHECKING:
    from tumorscope.models.promptable.loading import Loaded
    from tumorscope.models.promptable.network import PromptableNetwork

SMALLEST_SIDE = 8  # px; less is no picture that a patch of 16 px on the square could show
POINTS_ON_A_LINE = 5  # points that a scribble becomes, evenly along it; SAM knows no lines
PACKAGES = ("torch", "torchvision", "transformers", "safetensors")


def open_sam(name: str, checkpoint: Path | None = None, *, offline: Path | None = None) -> Sam:
    """The engine with the weights of that name, or with those of a checkpoint.

    Parameters
    ----------
    name : str
        A promptable network of `registry`.
    checkpoint : Path or None
        As `models.promptable.loading.load` takes it: a folder that transformers or a run wrote, or a file; None for
        the published weights.
    offline : Path or None
        Folder with published weights; by default what ``TUMORSCOPE_WEIGHTS`` names.

    Raises
    ------
    MissingExtra
        Without the train extra.
    WeightsError
        If the weights cannot be had, are damaged, or are of another architecture.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtra(f"the engine {name}", package, "train")
    from tumorscope.models.promptable.loading import load

    return Sam.of(name, load(name, checkpoint, offline=offline))


@dataclass(frozen=True)
class Sam:
    """An engine of the SAM family; `open_sam` makes one.

    A box, points and scribbles are given to the network together. It answers with three candidates of decreasing
    predicted IoU; a network of which only the answer for one mask was trained (MedSAM, fine-tuned decoders) gives that
    one, without a quality.

    Parameters
    ----------
    name, version : str
        The version changes with the weights and with transformers.
    network : PromptableNetwork
    checkpoint_sha256 : str
        Of the file of weights.
    origin : str
        Where they come from.
    """

    name: str
    version: str
    network: PromptableNetwork = field(repr=False)
    checkpoint_sha256: str = ""
    origin: str = ""

    @classmethod
    def of(cls, name: str, loaded: Loaded) -> Sam:
        """The engine on a network that was loaded."""
        import transformers

        from tumorscope.models.promptable.loading import version_of

        version = version_of(loaded.sha256, transformers.__version__)
        return cls(name, version, loaded.network, loaded.sha256, loaded.origin)

    @property
    def predicts_quality(self) -> bool:
        """Whether its candidates have a predicted IoU."""
        return not self.network.single

    def embed(self, pixels: NDArray[np.floating]) -> Embedded:
        """Features of a (H, W) slice; see `Engine.embed`."""
        plane = as_plane(pixels, "slice")
        if min(plane.shape) < SMALLEST_SIDE:
            raise ScanError(
                f"slice: is {plane.shape[0]}x{plane.shape[1]}; give one of {SMALLEST_SIDE} pixels or more a side"
            )
        if plane.min() == plane.max():
            raise ScanError(f"slice: every pixel is {plane.flat[0]:g}, nothing can be told apart; choose another slice")
        return Embedded(self.name, (plane.shape[0], plane.shape[1]), dict(self.network.embed(plane)))

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        """Candidates by predicted IoU; see `Engine.segment`."""
        check(embedded, prompts, previous, self.name)
        points, labels = placed(prompts)
        box = prompts.box
        found = self.network.answer(
            embedded.state,
            embedded.shape,
            points=points,
            labels=labels,
            box=None if box is None else np.array([box.top, box.left, box.bottom, box.right]),
            before=None if previous is None else _before(previous, self.network.map_size),
        )
        order = np.argsort(-found.quality, kind="stable")
        rated = [float(one) if self.predicts_quality else None for one in found.quality]
        return tuple(Candidate(found.masks[one] > 0, rated[one], found.maps[one]) for one in order)


def placed(prompts: Prompts) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows and columns (P, 2) of the clicks and of points along the scribbles, and 1 or 0 (P,) for their sign.

    Examples
    --------
    >>> line = Scribble(((0.0, 0.0), (0.0, 8.0)), positive=False)
    >>> points, labels = placed(Prompts(scribbles=(line,)).click(3, 4))
    >>> points.tolist(), labels.tolist()
    ([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0], [0.0, 4.0], [0.0, 6.0], [0.0, 8.0]], [1, 0, 0, 0, 0, 0])
    """
    rows = [([(point.y, point.x)], point.positive) for point in prompts.points]
    rows += [(along(line), line.positive) for line in prompts.scribbles]
    points = [point for part, _ in rows for point in part]
    labels = [int(positive) for part, positive in rows for _ in part]
    return np.array(points, np.float32).reshape(-1, 2), np.array(labels, np.int64)


def along(line: Scribble, count: int = POINTS_ON_A_LINE) -> list[tuple[float, float]]:
    """At most ``count`` points that lie evenly on a scribble, its ends among them; fewer on a short one.

    Examples
    --------
    >>> along(Scribble(((0.0, 0.0), (0.0, 3.0), (3.0, 3.0))), 3)
    [(0.0, 0.0), (0.0, 3.0), (3.0, 3.0)]
    >>> along(Scribble(((1.0, 2.0),)))
    [(1.0, 2.0)]
    """
    path = np.asarray(line.path, np.float64)
    steps = np.hypot(*np.diff(path, axis=0).T)
    way = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = min(count, 1 + int(way[-1]))
    if wanted < 2:
        return [(float(path[0, 0]), float(path[0, 1]))]
    at = np.linspace(0, way[-1], wanted)
    return [(float(np.interp(one, way, path[:, 0])), float(np.interp(one, way, path[:, 1]))) for one in at]


def _before(previous: Candidate, size: int) -> NDArray:
    """The answer to be corrected: as the network made it where it is of this one's kind, else its mask."""
    logits = previous.logits
    return logits if logits is not None and logits.shape == (size, size) else previous.mask
