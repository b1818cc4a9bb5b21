"""What the labels say: how even they are, and which scans look as if they bore another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.crossval import FOLDS, Task
from tumorscope.audit.features import appearance
from tumorscope.audit.measure import Measured

COMPONENTS = 80  # principal components of the heads' appearance that a few hundred scans can still weigh
PLANTED = 0.05  # of the groups that get a wrong label on purpose, to see how many are found
PRECISION = 0.5  # of the trial's list that must be planted errors; a person who looks at it finds one in two
ORDINARY = 0.1  # quantile of a class's own probabilities from which a scan counts as an ordinary member
REPEATS = 3  # cross-validations whose probabilities are averaged
TRIALS = 3  # times that wrong labels are planted
COUNTS = ("source", "label", "label_name", "scans", "groups")

IntArray = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """Scans and groups of each class in each source.

    Parameters
    ----------
    counts : polars.DataFrame
        ``source, label, label_name, scans, groups``; label is null for scans without one.
    """

    counts: pl.DataFrame

    @property
    def ratio(self) -> float:
        """Scans of the largest class for one of the smallest, over all sources; 1 where there is but one class."""
        sizes = self.counts.filter(pl.col("label").is_not_null()).group_by("label").agg(pl.col("scans").sum())["scans"]
        counts = sizes.to_numpy()
        return float(counts.max() / counts.min()) if counts.size else 1.0

    def sentence(self) -> str:
        """Class counts, and what is missing."""
        named = self.counts.filter(pl.col("label").is_not_null())
        shown = pl.col("label_name").fill_null(pl.col("label").cast(pl.String)).alias("name")
        total = named.group_by("label", shown).agg(pl.col("scans", "groups").sum()).sort("label")
        if not total.height:
            return "no scan has a label"
        parts = [f"{row['scans']} {row['name']} ({row['groups']} distinct)" for row in total.iter_rows(named=True)]
        bare = int(self.counts.filter(pl.col("label").is_null())["scans"].sum())
        text = ", ".join(parts) + f"; {self.ratio:.1f} of the largest class for one of the smallest"
        return text + (f"; {bare} scans have no label" if bare else "")


def balance(table: pl.DataFrame) -> Balance:
    """Scans and groups of each class in each source of a manifest.

    Examples
    --------
    >>> table = pl.DataFrame({"source": ["s"] * 3, "label": [0, 0, 1], "label_name": ["no", "no", "yes"],
    ...     "group": ["a", "a", "b"]})
    >>> balance(table).sentence()
    '2 no (1 distinct), 1 yes (1 distinct); 2.0 of the largest class for one of the smallest'
    """
    keys = ["source", "label", "label_name"]
    counts = table.group_by(keys).agg(scans=pl.len(), groups=pl.col("group").n_unique())
    return Balance(counts.select(COUNTS).sort("source", "label", nulls_last=True))


@dataclass(frozen=True)
class Suspects:
    """Scans whose picture disagrees with their label, the most confident disagreement first.

    Parameters
    ----------
    table : polars.DataFrame
        ``row, id, path, label, looks_like, given, other``: place in the measured table, the label's name, the name of
        the class it looks like, and the out-of-fold probabilities of both.
    scans : int
        Scans with a label.
    precision, recall : float
        How it went with wrong labels planted on purpose: share of what was named that had been planted, and share of
        what was planted that was named. The precision is a lower bound where the labels themselves hold errors. NaN
        and 0 where nothing could be named.
    planted : float
        Share of the groups that got a wrong label.
    """

    table: pl.DataFrame
    scans: int
    precision: float
    recall: float
    planted: float

    def sentence(self) -> str:
        """How many there are, and how far the list can be trusted."""
        if not self.recall:
            return "A simple classifier tells the classes too badly to suspect a label: no scan is named"
        trust = (
            f"of labels turned on purpose ({100 * self.planted:.0f} % of the groups) the method finds "
            f"{100 * self.recall:.0f} %, and {100 * self.precision:.0f} % of what it then names are these"
        )
        verb = "looks" if self.table.height == 1 else "look"
        return f"{self.table.height} of {self.scans} scans {verb} like another class than their label says; {trust}"


def suspects(measured: Measured, target: str = "label", *, seed: int = 0) -> Suspects:
    """Scans that look like another class than their label says: confident learning on the heads.

    A classifier gives each scan probabilities without having seen its group, and `disagreements` are ranked. How far
    down the ranking is named is settled by a trial: some groups' labels are turned on purpose, and the list ends where
    half of what it names would be these.

    Parameters
    ----------
    measured : Measured
        With a ``group`` for each scan.
    target : str
        Column with the labels.

    Raises
    ------
    DataError
        If there is nothing to predict (`crossval.Task.of`).

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", J. Artif. Intell.
       Res. 70, 2021.
    """
    task = Task.of(measured.table, target, seed=seed)
    vectors = appearance(measured.heads[task.rows])
    found = _probabilities(task, vectors, task.truth, seed)
    order, other = disagreements(task.truth, found)
    trial = _trial(task, vectors, seed)
    named = _margins(found, task.truth, order, other) >= trial.least
    order, other = order[named], other[named]
    table = pl.DataFrame(
        {
            "row": task.rows[order],
            "id": task.table["id"].gather(order),
            "path": task.table["path"].gather(order),
            "label": pl.Series([task.classes[number] for number in task.truth[order]], dtype=pl.String),
            "looks_like": pl.Series([task.classes[number] for number in other], dtype=pl.String),
            "given": found[order, task.truth[order]],
            "other": found[order, other],
        }
    )
    return Suspects(table, len(task.rows), trial.precision, trial.recall, PLANTED)


def disagreements(truth: IntArray, probabilities: Probabilities) -> tuple[IntArray, IntArray]:
    """Rows whose label the probabilities contradict, the largest margin first, and the class that each looks like.

    The other class must be likelier than the label's, and as likely as nine in ten of its own scans find it: a
    threshold for each class, so that a class that is hard to tell is neither full of suspects nor spared.

    Parameters
    ----------
    truth : (N,) int array
        Class numbers as given.
    probabilities : (N, K) array
        Out of fold.

    Examples
    --------
    >>> disagreements(np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8]]))
    (array([2]), array([1]))
    """
    rows, count = np.arange(len(truth)), probabilities.shape[1]
    usual = np.array([np.quantile(probabilities[truth == number, number], ORDINARY) for number in range(count)])
    reached = np.where(probabilities >= usual, probabilities, -1.0)
    reached[rows, truth] = -1.0
    other = reached.argmax(axis=1)
    named = np.flatnonzero(reached[rows, other] > probabilities[rows, truth])
    margin = _margins(probabilities, truth, named, other[named])
    order = named[np.argsort(-margin, kind="stable")]
    return order.astype(np.int64), other[order].astype(np.int64)


def _margins(probabilities: Probabilities, truth: IntArray, rows: IntArray, other: IntArray) -> NDArray[np.float64]:
    return probabilities[rows, other] - probabilities[rows, truth[rows]]


def _probabilities(task: Task, vectors: NDArray[np.float32], truth: IntArray, seed: int) -> Probabilities:
    """Mean out-of-fold class probabilities over some divisions into folds."""
    model = classifier(len(truth))
    folds = [task.folds(FOLDS, seed + number, truth) for number in range(REPEATS)]
    return np.mean([task.predict_as(model, vectors, truth, fold) for fold in folds], axis=0)


def classifier(scans: int) -> Any:
    """Principal components of `features.appearance` and logistic regression on them, for a set of so many scans."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = max(1, min(COMPONENTS, scans // 4))
    return make_pipeline(
        PCA(components, svd_solver="randomized", random_state=0),
        StandardScaler(),
        LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000),
    )


@dataclass(frozen=True)
class _Trial:
    """Smallest margin that is named, and how many of planted errors that finds."""

    least: float
    precision: float
    recall: float


def _trial(task: Task, vectors: NDArray[np.float32], seed: int) -> _Trial:
    """Where the list ends, told by labels turned on purpose; all else that is named counts as named wrongly."""
    rng = np.random.default_rng(seed)
    margins: list[float] = []
    hits: list[bool] = []
    turned = 0
    for trial in range(TRIALS):
        truth, wrong = plant(task.truth, task.family, len(task.classes), rng)
        found = _probabilities(task, vectors, truth, seed + trial)
        order, other = disagreements(truth, found)
        margins += _margins(found, truth, order, other).tolist()
        hits += wrong[order].tolist()
        turned += int(wrong.sum())
    ranked = np.argsort(-np.array(margins), kind="stable")
    right = np.cumsum(np.array(hits, bool)[ranked]) if margins else np.zeros(0)
    good = np.flatnonzero(right >= PRECISION * np.arange(1, len(ranked) + 1))
    if not len(good):
        return _Trial(np.inf, float("nan"), 0.0)
    last = int(good[-1])
    return _Trial(margins[ranked[last]], float(right[last] / (last + 1)), float(right[last] / turned))


def plant(
    truth: IntArray, family: IntArray, classes: int, rng: np.random.Generator, share: float = PLANTED
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Labels of which some families got another class, and which rows these are.

    Examples
    --------
    >>> truth, wrong = plant(np.zeros(40, int), np.arange(40), 2, np.random.default_rng(0))
    >>> int(wrong.sum()), bool((truth[wrong] == 1).all()), int(truth[~wrong].sum())
    (2, True, 0)
    """
    units = np.unique(family)
    chosen = rng.choice(units, max(1, round(share * len(units))), replace=False)
    wrong = np.isin(family, chosen)
    shift = np.zeros(int(units.max()) + 1, np.int64)
    shift[chosen] = rng.integers(1, classes, len(chosen))
    return np.where(wrong, (truth + shift[family]) % classes, truth), wrong
