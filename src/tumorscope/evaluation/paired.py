"""Models side by side on the same scans: which differences are real."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.comparison import (
    Difference,
    McNemar,
    bootstrap_difference,
    delong,
    holm,
    mcnemar,
    p_text,
)
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.results import METRICS, known
from tumorscope.evaluation.scoring import BinaryScorer, MulticlassScorer, Scorer, distribution, point
from tumorscope.evaluation.statistics import Draws

ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models on the scans that both answered.

    Attributes
    ----------
    first, second : str
    scans, groups : int
    metric : str
        What the bootstrap compares.
    bootstrap : Difference
        First less second, whole groups drawn; what decides, because it knows of groups.
    corrected : float
        Its p after Holm's correction for all pairs.
    delong : Difference or None
        Of the AUC, by group where groups hold several scans; None for several classes.
    mcnemar : McNemar
        Of right answers; takes scans to be independent.
    independent : bool
        Whether each scan is its own group.
    """

    first: str
    second: str
    scans: int
    groups: int
    metric: str
    bootstrap: Difference
    delong: Difference | None
    mcnemar: McNemar
    independent: bool
    corrected: float = math.nan

    @property
    def real(self) -> bool:
        """Whether the difference is shown, after correction."""
        return self.corrected < ALPHA

    def sentence(self) -> str:
        """Which model is better, and how sure that is."""
        span, title = self.bootstrap.interval, METRICS[self.metric][0]
        if math.isnan(self.bootstrap.p):
            return f"Whether {self.first} and {self.second} differ in {title} cannot be told: {span.reason}."
        numbers = (
            f"{span.value:+.3f}, {100 * span.level:.0f} % interval {span.low:+.3f} to {span.high:+.3f}, "
            f"{p_text(self.corrected)} corrected for all pairs"
        )
        numbers = f"{numbers}; {self.scans} scans"
        if not self.real:
            return f"No difference in {title} between {self.first} and {self.second} is shown ({numbers})."
        word = "higher" if span.value > 0 else "lower"
        return f"{self.first} has a {word} {title} than {self.second} ({numbers})."

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        span = self.bootstrap.interval
        return known(
            {
                "first": self.first,
                "second": self.second,
                "scans": self.scans,
                "groups": self.groups,
                "metric": self.metric,
                "difference": span.value,
                "low": span.low,
                "high": span.high,
                "p": self.bootstrap.p,
                "corrected_p": self.corrected,
                "delong_p": self.delong.p if self.delong else None,
                "mcnemar_p": self.mcnemar.p,
                "mcnemar_mid_p": self.mcnemar.mid_p,
                "first_only": self.mcnemar.first_only,
                "second_only": self.mcnemar.second_only,
                "real": self.real,
                "sentence": self.sentence(),
            }
        )


@dataclass(frozen=True)
class PairedTests:
    """All pairs of models, and what a reader has to know of the tests."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def sentences(self) -> list[str]:
        """One for each pair, then the notes."""
        return [*(pair.sentence() for pair in self.pairs), *self.notes]

    def table(self) -> pl.DataFrame:
        """One row for each pair."""
        return pl.DataFrame([pair.to_dict() for pair in self.pairs], infer_schema_length=None)


def compare_models(
    models: Mapping[str, Predictions],
    *,
    metric: str | None = None,
    reference: str | None = None,
    threshold: float = 0.5,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedTests:
    """Tests of every pair of models (or of each against a reference), matched scan by scan.

    The difference of ``metric`` is resampled by group, the same groups for both models. Beside it stand DeLong's test
    of the AUC and McNemar's of the right answers. p-values of the bootstrap are corrected for all pairs by Holm's
    method.

    Parameters
    ----------
    models : mapping of str to Predictions
        At least two. Scans that only one of a pair has are left out and counted in a note. Of repeated predictions the
        first repetition counts.
    metric : str, optional
        "roc_auc" for two classes, "macro_roc_auc" for several; any name of `scoring.BinaryScorer` or
        `scoring.MulticlassScorer`.
    reference : str, optional
        Compare each other model with this one only: fewer looks.
    threshold : float
        Of the decision, for two classes.
    rounds, seed, level
        Of the bootstrap.

    Raises
    ------
    DataError
        For fewer than two models, no common scans, contradicting truths, other classes, or an unknown metric.

    Examples
    --------
    >>> table = pl.DataFrame({"id": [str(k) for k in range(40)], "label": [0, 1] * 20})
    >>> good = table.with_columns(probability=pl.col("label") * 0.8 + 0.1)
    >>> bad = table.with_columns(probability=pl.lit(0.5))
    >>> tests = compare_models({"good": Predictions.of(good), "bad": Predictions.of(bad)}, rounds=200)
    >>> print(tests.sentences()[0])
    good has a higher ROC-AUC than bad (+0.500, 95 % interval +0.500 to +0.500, p = 0.010 corrected for all pairs;
    40 scans).
    """
    if len(models) < 2:
        raise DataError(f"compare: {len(models)} model was given; give the predictions of two or more")
    names = list(models)
    if reference is not None:
        look_up(reference, names, "reference", DataError)
        chosen = [(name, reference) for name in names if name != reference]
    else:
        chosen = list(combinations(names, 2))
    once = {name: given.only(given.repeats()[0]) for name, given in models.items()}
    pairs, notes = [], []
    for first, second in chosen:
        one, two, alone = _matched(once[first], once[second])
        if alone:
            notes.append(f"{first} and {second}: {alone} scans that only one of them answered are left out.")
        pairs.append(_pair(first, second, one, two, metric, threshold, Draws(one.groups, rounds, seed), level))
    corrected = holm([pair.bootstrap.p for pair in pairs])
    pairs = [replace(pair, corrected=float(p)) for pair, p in zip(pairs, corrected, strict=True)]
    if not all(pair.independent for pair in pairs):
        notes.append(
            "Some scans belong together (same patient or near-duplicates). McNemar's test takes them to be independent "
            "and is too sure; the bootstrap draws whole groups, and DeLong's test is the one for groups (Obuchowski)."
        )
    return PairedTests(tuple(pairs), tuple(notes))


def _matched(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions, int]:
    """Both models on their common scans in one order, and how many scans only one of them has."""
    if first.classes != second.classes:
        raise DataError(f"{second.name}: its classes differ from those of {first.name}; compare models of one task")
    place = {name: row for row, name in enumerate(second.ids)}
    rows = [(row, place[name]) for row, name in enumerate(first.ids) if name in place]
    if not rows:
        raise DataError(f"{second.name}: no scan of it stands in {first.name}; predict the same data with both")
    left, right = (np.array(column, np.intp) for column in zip(*rows, strict=True))
    one, two = first.only(left), second.only(right)
    differ = np.flatnonzero(one.truth != two.truth)
    if len(differ):
        raise DataError(
            f"{second.name}: '{two.ids[differ[0]]}' has another label than in {first.name} "
            f"({len(differ)} scans differ); evaluate both on one manifest"
        )
    if len(np.unique(two.groups)) < len(np.unique(one.groups)):
        one = replace(one, groups=two.groups)  # the file that ties more scans together knows more
    return one, two, len(first) + len(second) - 2 * len(rows)


def _pair(
    first: str,
    second: str,
    one: Predictions,
    two: Predictions,
    metric: str | None,
    threshold: float,
    draws: Draws,
    level: float,
) -> Pair:
    scorers = [_scorer(rows, threshold, one.probabilities and two.probabilities) for rows in (one, two)]
    name = metric or ("roc_auc" if one.binary else "macro_roc_auc")
    column = scorers[0].names.index(look_up(name, scorers[0].names, "metric", DataError))
    value = point(scorers[0], len(one))[name] - point(scorers[1], len(two))[name]
    resampled = [distribution(scorer, draws)[:, column] for scorer in scorers]
    grouped = one.groups if one.grouped else None
    right = [rows.decisions(threshold) == rows.truth for rows in (one, two)]
    return Pair(
        first=first,
        second=second,
        scans=len(one),
        groups=draws.count,
        metric=name,
        bootstrap=bootstrap_difference(resampled[0], resampled[1], value, draws, level),
        delong=delong(one.truth, one.scores, two.scores, grouped, level) if one.binary else None,
        mcnemar=mcnemar(*right),
        independent=not one.grouped,
    )


def _scorer(rows: Predictions, threshold: float, probabilities: bool) -> Scorer:
    if rows.binary:
        return BinaryScorer(rows.truth, rows.scores, threshold, probabilities=probabilities)
    return MulticlassScorer(rows.truth, rows.scores, rows.classes)
