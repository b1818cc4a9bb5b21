"""What predicts the label without a look at the head: files, borders, surroundings, the data set of origin.

A trait that tells the label says that the classes were collected in different ways. A model trained on such data may
have learned that difference, and its score is worth what is left when the difference is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.crossval import Score, Task
from tumorscope.audit.features import pixels
from tumorscope.audit.measure import Measured

TREES = 200
LEAF = 3  # scans in a leaf at least; fewer learn single files by heart
FRAME_SIDE = 24  # px, side of the square of which the outermost pixels are the border
FRAME = 2  # px of it on each side: 8 % of the picture
WORDS = {
    "file": "File size, dimensions and format alone",
    "border": "The outermost pixels of the picture alone",
    "background": "Brightness, noise and marks of the background alone",
    "around": "Pictures with the head blotted out",
    "source": "The names of the data sets alone",
}

Features = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Shortcut:
    """How well something that is no tumour predicts the label.

    Parameters
    ----------
    name : str
        ``file``, ``border``, ``background``, ``around`` or ``source``; with ``SOURCE:`` in front where one data set
        of several was looked at alone.
    target : str
        The column that was predicted.
    score : Score
        In cross-validation by family.
    traits : tuple of (str, float)
        Balanced accuracy of each trait by itself, the best first; empty where there are no single traits.
    """

    name: str
    target: str
    score: Score
    traits: tuple[tuple[str, float], ...] = ()

    def sentence(self) -> str:
        """The finding, with its interval and the share of the larger class."""
        source, _, kind = self.name.rpartition(":")
        text = self.score.sentence(WORDS[kind], self.target)
        return f"Within {source}: {text[0].lower()}{text[1:]}" if source else text


@dataclass(frozen=True)
class Origin:
    """What the data set of origin says of the label.

    Parameters
    ----------
    shortcut : Shortcut
        The label guessed from the source alone.
    explained : float
        Share of the label's entropy that the source takes away: 0 where each source has the same classes in the same
        shares, 1 where each has but one class.
    counts : polars.DataFrame
        ``source, label, scans``.
    """

    shortcut: Shortcut
    explained: float
    counts: pl.DataFrame

    def sentence(self) -> str:
        """The finding, with what it means for a model."""
        if self.explained > 1 - 1e-9:
            return (
                "Each data set holds one class only: the label and the origin are one and the same, and no score on "
                "these data tells a tumour from a collection"
            )
        share = f"the origin explains {100 * self.explained:.0f} % of the label"
        return f"{self.shortcut.sentence()}; {share}"


def shortcuts(measured: Measured, target: str = "label", *, seed: int = 0) -> tuple[Shortcut | Origin, ...]:
    """All tests: file traits, border, background, picture without head, and the origin where there are several.

    Of several sources the file traits are also tested within each that has two classes or more, because over all
    of them they may do no more than tell the sources apart.

    Parameters
    ----------
    measured : Measured
        With a ``group`` for each scan.
    target : str
        Column to predict.

    Raises
    ------
    DataError
        If fewer than two classes stand in the column, one is a single family, or a scan has no group.
    """
    found: list[Shortcut | Origin] = [
        file_traits(measured, target, seed=seed),
        border(measured, target, seed=seed),
        background(measured, target, seed=seed),
        around(measured, target, seed=seed),
    ]
    sources = sorted(measured.table["source"].drop_nulls().unique().to_list())
    if len(sources) > 1:
        found.append(origin(measured, target, seed=seed))
        for name in sources:
            part = measured.only((measured.table["source"] == name).fill_null(False).arg_true().to_numpy())
            if Task.possible(part.table, target):
                inner = file_traits(part, target, seed=seed)
                found.append(Shortcut(f"{name}:{inner.name}", target, inner.score, inner.traits))
    return tuple(found)


def file_traits(measured: Measured, target: str = "label", *, seed: int = 0) -> Shortcut:
    """How well size, dimensions and format of the files predict the label; no pixel is looked at.

    Raises
    ------
    DataError
        As `shortcuts`.
    """
    task = Task.of(measured.table, target, seed=seed)
    features = file_features(task.table)
    return _tested("file", task, target, features, seed)


def file_features(table: pl.DataFrame) -> Features:
    """Traits of files as numbers, (N, k) each: one column, or one for each word that stands in the table.

    Examples
    --------
    >>> table = pl.DataFrame({"bytes": [600], "scan_width": [30], "scan_height": [20], "bits": [8], "suffix": [".png"],
    ...     "file_format": ["png"], "mode": ["L"]})
    >>> {name: values.tolist() for name, values in file_features(table).items() if name in ("aspect", "suffix")}
    {'aspect': [[1.5]], 'suffix': [[1.0]]}
    """
    numbers = {name: table[name].cast(pl.Float64).to_numpy() for name in ("bytes", "scan_width", "scan_height", "bits")}
    area = numbers["scan_width"] * numbers["scan_height"]
    features = {
        "bytes": numbers["bytes"],
        "width": numbers["scan_width"],
        "height": numbers["scan_height"],
        "aspect": numbers["scan_width"] / numbers["scan_height"],
        "pixels": area,
        "bytes per pixel": numbers["bytes"] / area,
        "bits": numbers["bits"],
    }
    columns = {name: values.reshape(-1, 1) for name, values in features.items()}
    return columns | {name: _words(table[name]) for name in ("suffix", "file_format", "mode")}


def border(measured: Measured, target: str = "label", *, seed: int = 0) -> Shortcut:
    """How well the outermost pixels of the picture predict the label; what of the head reaches there is blotted out.

    Raises
    ------
    DataError
        As `shortcuts`.
    """
    task = Task.of(measured.table, target, seed=seed)
    sizes = task.table.select("scan_width", "scan_height").rows()
    rows = [_frame(square, size) for square, size in zip(measured.around[task.rows], sizes, strict=True)]
    return Shortcut("border", target, task.assess(forest(seed), np.stack(rows), seed=seed))


def background(measured: Measured, target: str = "label", *, seed: int = 0) -> Shortcut:
    """How well brightness, spread and marks of the background predict the label.

    Raises
    ------
    DataError
        As `shortcuts`.
    """
    task = Task.of(measured.table, target, seed=seed)
    names = ("background_level", "background_spread", "background_flat", "border", "white_background", "text")
    features = {name.replace("_", " "): _column(task.table[name]) for name in names}
    return _tested("background", task, target, features, seed)


def around(measured: Measured, target: str = "label", *, seed: int = 0) -> Shortcut:
    """How well the picture with its head blotted out predicts the label; the head's outline is still seen.

    Raises
    ------
    DataError
        As `shortcuts`.
    """
    task = Task.of(measured.table, target, seed=seed)
    return Shortcut("around", target, task.assess(forest(seed), pixels(measured.around[task.rows]), seed=seed))


def origin(measured: Measured, target: str = "label", *, seed: int = 0) -> Origin:
    """What the name of the data set tells of the label.

    Raises
    ------
    DataError
        As `shortcuts`.
    """
    from scipy.stats import entropy

    task = Task.of(measured.table, target, seed=seed)
    known = task.table["source"].fill_null("unknown")
    count = len(task.classes)
    table = np.stack([np.bincount(task.truth[(known == one).to_numpy()], minlength=count) for one in known.unique()])
    shares = table.sum(axis=1) / table.sum()
    whole = float(entropy(table.sum(axis=0)))
    left = float(sum(share * entropy(row) for share, row in zip(shares, table, strict=True)))
    counts = task.table.group_by(pl.col("source"), pl.col(target).alias("label")).agg(scans=pl.len())
    score = task.assess(_tree(), _words(known), seed=seed)
    return Origin(Shortcut("source", target, score), 1 - left / whole, counts.sort("source", "label"))


def _tested(name: str, task: Task, target: str, features: Features, seed: int) -> Shortcut:
    """All traits together, and each by itself."""
    matrix = np.concatenate(list(features.values()), axis=1)
    return Shortcut(name, target, task.assess(forest(seed), matrix, seed=seed), _alone(task, features, seed))


def forest(seed: int = 0) -> Any:
    """The classifier of all tests: a random forest, which takes traits of any scale as they are, and missing ones."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed, n_jobs=1)


def _tree() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(min_samples_leaf=LEAF, max_leaf_nodes=8, class_weight="balanced", random_state=0)


def _alone(task: Task, features: Mapping[str, NDArray], seed: int) -> tuple[tuple[str, float], ...]:
    """Balanced accuracy of each trait by itself, with a small tree; traits that never vary are left out."""
    found = []
    for name, values in features.items():
        if values.size and np.ptp(np.nan_to_num(values), axis=0).any():
            score = task.score([task.predict(_tree(), values, seed=seed)], rounds=1)
            found.append((name, score.balanced_accuracy.value))
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def _column(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(-1, 1)


def _words(values: pl.Series) -> NDArray[np.float64]:
    """One column of 0 and 1 for each word."""
    known = sorted(values.drop_nulls().unique().to_list())
    columns = np.zeros((len(values), len(known)))
    for column, word in enumerate(known):
        columns[:, column] = (values == word).fill_null(False).to_numpy()
    return columns


def _frame(square: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float64]:
    """The outermost pixels of the picture that stands in a padded square, the picture brought to one size."""
    side, longer = len(square), max(size)
    width, height = (max(1, round(side * length / longer)) for length in size)
    top, left = (side - height) // 2, (side - width) // 2
    inner = square[top : top + height, left : left + width]
    picture = cv2.resize(inner, (FRAME_SIDE, FRAME_SIDE), interpolation=cv2.INTER_AREA)
    ring = np.ones(picture.shape, bool)
    ring[FRAME:-FRAME, FRAME:-FRAME] = False
    return picture[ring].astype(np.float64) / 255
