"""Which settings mattered in a search: shares of variance, and whether chance could explain them. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy import stats

from tumorscope.evaluation.comparison import holm
from tumorscope.training.search_space import Choice, SearchSpace
from tumorscope.training.tune_search import Tried

FEWEST = 12  # whole trials below which nothing is said: of fewer, no permutation of eight settings can be rare enough
SHUFFLES = 2000  # of the scores; the smallest p is 1/2001, small enough for Holm's correction of twenty settings
PARTS = 3  # equal parts into which the values of a range are put for the test
ALPHA = 0.05
TREES, DEPTH = 32, 16  # of Optuna's forest: a second for a hundred trials


@dataclass(frozen=True)
class Importance:
    """What a setting had to do with the score.

    Attributes
    ----------
    setting : str
    share : float
        Of the scores' variance that the setting explains by itself (functional analysis of variance [1]_).
    p : float
        How often shuffled scores differ as much between its values, corrected for the number of settings (Holm).
    best : str
        Value, or third of the range, with the highest mean rank.

    References
    ----------
    .. [1] Hutter, Hoos, Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014.
    """

    setting: str
    share: float
    p: float
    best: str

    @property
    def told(self) -> bool:
        """Whether chance is no likely explanation."""
        return self.p < ALPHA


def importances(trials: Sequence[Tried], space: SearchSpace, *, lower: bool = False, seed: int = 0) -> list[Importance]:
    """What each setting had to do with the score, the largest share first; empty where the trials are too few or alike.

    Whole trials of all searches count, each less the mean of its search. The test ranks the scores, puts a setting's
    values into groups (a range into thirds) and compares the variance between groups with that of scores shuffled
    within each search. TPE looks harder where scores are high, so that its trials are not quite exchangeable: take a p
    near the limit as no more than a hint.

    Parameters
    ----------
    trials : sequence of Tried
    space : SearchSpace
    lower : bool
        Whether a lower score is better.
    seed : int
    """
    whole = [one for one in trials if one.state == "complete"]
    scores = centred(whole)
    if len(whole) < FEWEST or np.ptp(scores) < 1e-12:
        return []
    shares = _shares(whole, scores, space, seed)
    ranks = stats.rankdata(-scores if lower else scores)
    search = np.array([one.search for one in whole])
    rng = np.random.default_rng(seed)
    shuffled = np.stack([_within(ranks, search, rng) for _ in range(SHUFFLES)])
    keys, raw, best = list(space.settings), [], []
    for key in keys:
        part, names = _parts(key, whole, space)
        own = _between(ranks[None], part)[0]
        raw.append(float((1 + (_between(shuffled, part) >= own - 1e-9).sum()) / (1 + SHUFFLES)))
        means = [ranks[part == k].mean() if (part == k).any() else -np.inf for k in range(len(names))]
        best.append(names[int(np.argmax(means))])
    rows = zip(keys, (shares[key] for key in keys), holm(raw), best, strict=True)
    return sorted((Importance(k, s, float(p), b) for k, s, p, b in rows), key=lambda one: -one.share)


def centred(trials: Sequence[Tried]) -> NDArray[np.float64]:
    """Score of each trial less the mean of its search.

    Examples
    --------
    >>> centred([Tried("a", 0, "complete", 0.5, 1, {}), Tried("a", 1, "complete", 0.7, 1, {})]).round(6).tolist()
    [-0.1, 0.1]
    """
    scores, search = np.array([one.score for one in trials]), np.array([one.search for one in trials])
    for name in set(search.tolist()):
        scores[search == name] -= scores[search == name].mean()
    return scores


def _shares(whole: list[Tried], scores: NDArray, space: SearchSpace, seed: int) -> dict[str, float]:
    distributions = space.distributions()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for one, score in zip(whole, scores.tolist(), strict=True):
        drawn = space.drawn(one.chosen)
        study.add_trial(optuna.trial.create_trial(value=score, params=drawn, distributions=distributions))
    forest = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
    found = forest.evaluate(study)
    return {key: float(found.get(key, 0.0)) for key in space.settings}


def _within(ranks: NDArray, search: NDArray, rng: np.random.Generator) -> NDArray:
    """The ranks shuffled within each search."""
    order = np.lexsort((rng.random(len(ranks)), search))
    shuffled = np.empty_like(ranks)
    shuffled[np.lexsort((np.arange(len(ranks)), search))] = ranks[order]
    return shuffled


def _parts(key: str, whole: list[Tried], space: SearchSpace) -> tuple[NDArray[np.int64], list[str]]:
    """Group of each trial by its value of a setting, and the groups' names."""
    dimension = space.settings[key]
    values: list[Any] = [one.chosen[key] for one in whole]
    if isinstance(dimension, Choice):
        return np.array([dimension.options.index(value) for value in values]), [str(one) for one in dimension.options]
    edges = (np.geomspace if dimension.log else np.linspace)(dimension.low, dimension.high, PARTS + 1)
    place = np.searchsorted(edges[1:-1], values, side="right")
    return place, [f"{edges[k]:.3g} to {edges[k + 1]:.3g}" for k in range(PARTS)]


def _between(ranks: NDArray, part: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of squares between groups of each row of ranks, (n,): what ranks the tables, as their total is one."""
    mean = ranks.mean(axis=1)
    found = np.zeros(len(ranks))
    for k in set(part.tolist()):
        own = part == k
        found += own.sum() * (ranks[:, own].mean(axis=1) - mean) ** 2
    return found
