"""Whether maps depend on what a network learnt: with random weights they must change."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from torch import nn

from tumorscope.errors import DataError
from tumorscope.scan import FloatArray

SURVIVES = 0.5  # rank correlation with all weights random from which a map is said not to need them
SEEDS = 2  # random networks that each map is compared with
STAGES = {"the head": 0.0, "the upper half": 0.5, "all weights": 1.0}  # share of the backbone's tensors, from the top


@dataclass(frozen=True)
class Stage:
    """Rank correlation of maps with those after one part of the network got random weights.

    ``mean, low, high`` are over scans and seeds; NaN where no map had any contrast to begin with.
    """

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sanity:
    """What the check found, stage by stage, all weights being random in the last one."""

    stages: tuple[Stage, ...]
    scans: int
    seeds: int

    @property
    def trusted(self) -> bool:
        """Whether the maps are lost with the weights; also False where nothing could be told."""
        return self.stages[-1].mean <= SURVIVES

    def sentence(self, method: str) -> str:
        """The finding in words."""
        last = self.stages[-1]
        if math.isnan(last.mean):
            return (
                f"{method}: the maps have no contrast, so that it cannot be told whether they depend on the weights; "
                "do not rely on them"
            )
        found = (
            f"With random weights in place of the learnt ones the maps of {self.scans} scans keep a rank correlation "
            f"of {last.mean:.2f} ({last.low:.2f} to {last.high:.2f} over scans and {self.seeds} random networks)"
        )
        if self.trusted:
            return f"{found}: they show what the network learnt, at most {SURVIVES:g} being allowed"
        return (
            f"{found}: {method} is untrustworthy here, since its maps hardly need what the network learnt; they show "
            "the picture, not the decision"
        )


def sanity(
    explain: Callable[[nn.Module, Any], FloatArray],
    network: nn.Module,
    fresh: Callable[[], nn.Module],
    squares: Sequence[Any],
    *,
    seeds: int = SEEDS,
) -> Sanity:
    """How much of a method's maps is left when the network's weights are replaced by random ones, from the top down.

    A map that stays the same does not explain the network [1]_: an edge detector would do as well.

    Parameters
    ----------
    explain : callable
        The map (H, W) of a network and a square.
    network : nn.Module
        With learnt weights; left as it is.
    fresh : callable
        A network of the same kind with new random weights at each call, drawn from torch's generator.
    squares : sequence
        What ``explain`` takes as its second argument, one for each scan.
    seeds : int
        Random networks.

    Raises
    ------
    DataError
        If there is no square.

    References
    ----------
    .. [1] Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

    Examples
    --------
    >>> from tumorscope.models.classifiers import Classifier
    >>> new = lambda: Classifier.of("custom-cnn", outputs=1, channels=1, width=0.1).eval()
    >>> blind = sanity(lambda network, square: square[0], new(), new, [np.eye(32, dtype=np.float32)[None]], seeds=1)
    >>> blind.stages[-1].mean, blind.trusted
    (1.0, False)
    """
    if not squares:
        raise DataError("sanity check: there are no scans; give at least one")
    before = [explain(network, square) for square in squares]
    found: dict[str, list[float]] = {name: [] for name in STAGES}
    for seed in range(seeds):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            other = fresh()
        for name, share in STAGES.items():
            mixed = randomised(network, other, share)
            after = [explain(mixed, square) for square in squares]
            found[name] += [rank_correlation(*pair) for pair in zip(before, after, strict=True)]
    return Sanity(tuple(_stage(name, values) for name, values in found.items()), len(squares), seeds)


def randomised(network: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """A copy of a network with the weights of another one in its head and in the upper ``share`` of the rest.

    Batch-norm statistics count as weights. The order is that in which the modules were registered, which is the order
    of the forward pass in all backbones that timm has.
    """
    mixed = copy.deepcopy(network)
    new = other.state_dict()
    head = [name for name in new if name.startswith("head.")]
    rest = [name for name in new if name not in set(head)]
    upper = rest[len(rest) - round(share * len(rest)) :]
    mixed.load_state_dict({**mixed.state_dict(), **{name: new[name] for name in (*head, *upper)}})
    return mixed.eval()


def rank_correlation(before: ArrayLike, after: ArrayLike) -> float:
    """Spearman's correlation of two maps of one shape.

    0 where only the second has no contrast (nothing of the first is left), NaN where the first has none.

    Examples
    --------
    >>> rank_correlation([[1, 2], [3, 4]], [[1, 4], [9, 16]]), rank_correlation([[1, 2]], [[0, 0]])
    (1.0, 0.0)
    """
    one, two = (np.asarray(values, np.float64).ravel() for values in (before, after))
    if one.size != two.size:
        raise DataError(f"rank correlation: maps of {one.size} and {two.size} places; bring both to one grid")
    if one.size == 0 or np.ptp(one) == 0:
        return math.nan
    if np.ptp(two) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(two))[0, 1])


def _stage(name: str, values: list[float]) -> Stage:
    known = np.array([value for value in values if not math.isnan(value)])
    if known.size == 0:
        return Stage(name, math.nan, math.nan, math.nan)
    return Stage(name, float(known.mean()), float(known.min()), float(known.max()))
