"""Anyone's predictions: a table of scans with truth, probability and group, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.datasets.families import families
from tumorscope.errors import DataError, look_up

TRUTHS = ("label", "truth", "target", "y_true")
PROBABILITIES = ("probability", "prob", "y_prob", "y_pred")
SCORES = ("score", "logit", "y_score")
OF_CLASS = re.compile(r"^(?:probability|prob|p)[ _:](.+)$", re.IGNORECASE)  # probability_glioma
#: Words that mean label 1 and label 0, compared without case, spaces and underscores.
TUMOUR = {"1", "yes", "true", "tumor", "tumour", "positive", "pos"}
NONE = {"0", "no", "false", "notumor", "notumour", "none", "healthy", "normal", "negative", "neg"}
FACTS = ("patient", "case", "group", "parent_id")  # columns that tie scans together
SUM_SLACK = 0.01  # by which a row of class probabilities may miss 1: files hold rounded numbers


@dataclass(frozen=True)
class Predictions:
    """Scans with their truth, what a model said of them, and the group that they belong to.

    Attributes
    ----------
    name : str
        What errors and reports call them: the file.
    ids : tuple of str
    truth : (N,) int array
        Class number; 1 for tumour and 0 for none where there are two classes.
    scores : (N,) or (N, K) float array
        Of class 1, or one column for each of K classes.
    classes : tuple of str
        Names of the classes.
    groups : (N,) int array
        Scans of one patient, case or near-duplicate cluster share a number (`datasets.families`).
    table : polars.DataFrame
        Every column of the file, row for row: what slices are made of.
    probabilities : bool
        Whether the scores are probabilities.
    left_out : mapping of str to int
        Rows that could not be used, by reason.

    Examples
    --------
    >>> table = pl.DataFrame({"id": ["a", "b"], "label": [0, 1], "probability": [0.2, 0.9], "patient": ["x", "x"]})
    >>> given = Predictions.of(table)
    >>> given.truth.tolist(), given.scores.tolist(), given.groups.tolist(), given.classes
    ([0, 1], [0.2, 0.9], [0, 0], ('none', 'tumour'))
    """

    name: str
    ids: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64]
    table: pl.DataFrame = field(repr=False)
    probabilities: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path, truth: pl.DataFrame | None = None, *, positive: str | None = None) -> Predictions:
        """The predictions in a CSV or Parquet file; see `of`.

        Raises
        ------
        DataError
            One line: the file, what is wrong, what to do.
        """
        file = Path(path)
        if file.suffix.casefold() not in (".csv", ".parquet"):
            raise DataError(f"{file}: predictions are a .csv or .parquet file; rename it or name another")
        if not file.is_file():
            raise DataError(f"{file}: there is no such file; name the predictions that a model wrote")
        try:
            table = pl.read_parquet(file) if file.suffix.casefold() == ".parquet" else _read_csv(file)
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
            words = str(error).splitlines()[0]
            raise DataError(f"{file}: cannot be read ({words}); write it again as comma-separated UTF-8") from error
        return cls.of(table, str(file), truth, positive=positive)

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        name: str = "predictions",
        truth: pl.DataFrame | None = None,
        *,
        positive: str | None = None,
    ) -> Predictions:
        """The predictions in a table.

        Its columns: ``id``; the truth in ``label`` (or truth, target, y_true) as numbers or words; and one of

        - ``probability`` (prob, y_prob, y_pred) of a tumour, or ``score`` (logit, y_score) of any range;
        - for several classes ``probability_NAME`` (``prob_``, ``p_``) for each; of ``probability_0`` and
          ``probability_1`` alone the second is that of a tumour.

        Rows with ``status`` other than "ok", without a probability or without a truth are left out and counted. Scans
        that share ``group``, ``patient``, ``case`` or a ``parent_id`` form one group. With a column ``repeat`` an id
        may stand once in each repetition.

        Parameters
        ----------
        table : polars.DataFrame
        name : str
            What errors call it.
        truth : polars.DataFrame, optional
            A manifest with ``id``, ``label`` and what slices need; joined by ``id`` where the table lacks a column.
        positive : str, optional
            Which word of the truth is label 1, where it is no usual one.

        Raises
        ------
        DataError
            For missing columns, a repeated id, words that are no labels, numbers that are no probabilities, or no rows
            left.
        """
        table = _typed(table)
        if "id" not in table.columns:
            raise DataError(f"{name}: column 'id' is missing (found {_found(table)}); add one id for each scan")
        table = table.with_columns(pl.col("id").cast(pl.String))
        if truth is not None:
            table = _joined(table, _typed(truth), name)
        label = _first(table, TRUTHS)
        if label is None:
            raise DataError(
                f"{name}: there is no truth (found {_found(table)}); add a column 'label' (0 none, 1 tumour), "
                "or give the manifest that holds it"
            )
        columns, classes, kind = _score_columns(table, name)
        table, left_out = _usable(table, label, columns, name)
        _check_ids(table, name)
        scores = _scores(table, columns, name)
        probabilities = kind == "probability"
        if probabilities:
            _check_probabilities(scores, columns, name)
        number, names = _truth(table[label], classes, positive, name)
        group = families(table.with_columns([pl.col(fact).cast(pl.String) for fact in FACTS if fact in table.columns]))
        ids = tuple(table["id"].to_list())
        return cls(name, ids, number, scores, names, group, table, probabilities, left_out)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def binary(self) -> bool:
        """Whether there are two classes and one score."""
        return self.scores.ndim == 1

    @property
    def grouped(self) -> bool:
        """Whether any group holds several scans (repetitions of one scan aside)."""
        scans = len(set(self.ids))
        return len(np.unique(self.groups)) < scans

    @property
    def known_groups(self) -> bool:
        """Whether the file says which scans belong together."""
        return any(fact in self.table.columns and self.table[fact].null_count() < len(self) for fact in FACTS)

    def only(self, rows: NDArray) -> Predictions:
        """These rows alone, as a mask or as numbers."""
        places = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.intp)
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            truth=self.truth[places],
            scores=self.scores[places],
            groups=self.groups[places],
            table=self.table[places.tolist()],
        )

    def part(self, split: str) -> Predictions:
        """The rows of one split, such as "val" or "test".

        Raises
        ------
        DataError
            If there is no column ``split`` or no row of it.
        """
        if "split" not in self.table.columns:
            raise DataError(f"{self.name}: there is no column 'split'; add it, or give one file for each part")
        known = [str(value) for value in self.table["split"].drop_nulls().unique().sort().to_list()]
        look_up(split, known, f"split in {self.name}", DataError)
        chosen = (self.table["split"] == split).fill_null(False).to_numpy()
        return replace(self.only(chosen), name=f"{self.name} ({split})")

    def decisions(self, threshold: float = 0.5) -> NDArray[np.int64]:
        """Class number that is said of each scan: by the threshold, or of several classes the most probable one."""
        if self.binary:
            return (self.scores >= threshold).astype(np.int64)
        return np.argmax(self.scores, axis=1).astype(np.int64)

    def repeats(self) -> list[NDArray[np.intp]]:
        """Rows of each repetition; one array of all rows where there is no column ``repeat``."""
        if "repeat" not in self.table.columns:
            return [np.arange(len(self))]
        values = self.table["repeat"].cast(pl.String).fill_null("").to_numpy()
        return [np.flatnonzero(values == value) for value in np.unique(values)]

    def tied_to(self, other: Predictions) -> list[str]:
        """Ids of these scans that stand in ``other`` too, or share a group, patient or case with one that does."""
        theirs = _ties(other.table)
        shared = np.zeros(len(self), bool)
        for kind, keys in _ties(self.table).items():
            known = pl.concat(theirs[kind]).drop_nulls().unique()
            for column in keys:
                shared |= column.is_in(known.implode()).fill_null(False).to_numpy()
        return sorted({self.ids[row] for row in np.flatnonzero(np.isin(self.groups, self.groups[shared]))})


def _ties(table: pl.DataFrame) -> dict[str, list[pl.Series]]:
    """Keys by which rows of two tables belong together, as `datasets.families` sees them."""
    table = table.select(pl.col([name for name in ("id", "source", *FACTS) if name in table.columns]).cast(pl.String))
    blank = [pl.lit(None, pl.String).alias(name) for name in ("source", *FACTS) if name not in table.columns]
    table = table.with_columns(blank)
    within = table.with_columns(
        pl.concat_str(pl.col("source").fill_null(""), pl.lit("\0"), name).alias(name) for name in ("patient", "case")
    )
    return {
        "id": [table["id"], table["parent_id"]],
        "group": [table["group"]],
        "patient": [within["patient"]],
        "case": [within["case"]],
    }


def _read_csv(file: Path) -> pl.DataFrame:
    return pl.read_csv(file, infer_schema=False, encoding="utf8")


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """Empty text as null, and column names without surrounding spaces."""
    table = table.rename({name: name.strip() for name in table.columns})
    text = [name for name, kind in table.schema.items() if kind == pl.String]
    return table.with_columns(
        pl.when(pl.col(name).str.strip_chars() == "").then(None).otherwise(pl.col(name).str.strip_chars()).alias(name)
        for name in text
    )


def _found(table: pl.DataFrame) -> str:
    return ", ".join(table.columns[:12]) or "none"


def _first(table: pl.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _joined(table: pl.DataFrame, truth: pl.DataFrame, name: str) -> pl.DataFrame:
    """``table`` with the manifest's columns that it lacks."""
    if "id" not in truth.columns:
        raise DataError(f"{name}: the manifest given as truth has no column 'id'; name the one that was predicted from")
    answers = {"status", "repeat", *PROBABILITIES, *SCORES}  # of a prediction, whatever a manifest means by them
    facts = [name for name in truth.columns if name not in answers and not OF_CLASS.match(name)]
    new = truth.select("id", *[name for name in facts if name not in ("id", *table.columns)])
    new = new.with_columns(pl.col("id").cast(pl.String)).unique("id", keep="first", maintain_order=True)
    known = table["id"].is_in(new["id"].to_list())
    if not known.any():
        raise DataError(
            f"{name}: none of its {len(table)} ids stands in the manifest (say '{table['id'][0]}'); "
            "give the data that was predicted"
        )
    return table.join(new, on="id", how="left", maintain_order="left")


def _score_columns(table: pl.DataFrame, name: str) -> tuple[list[str], tuple[str, ...] | None, str]:
    """Score columns, the classes they name (None for two classes), and whether they are probabilities or scores."""
    named = {column: found.group(1) for column in table.columns if (found := OF_CLASS.match(column))}
    if sorted(named.values()) == ["0", "1"]:  # none and tumour by number: two classes with one score
        return [column for column, number in named.items() if number == "1"], None, "probability"
    if len(named) >= 2:
        return list(named), tuple(named.values()), "probability"
    for names, kind in ((PROBABILITIES, "probability"), (SCORES, "score")):
        column = _first(table, names)
        if column is not None:
            return [column], None, kind
    raise DataError(
        f"{name}: there is no prediction (found {_found(table)}); add a column 'probability' of a tumour, "
        "or one 'probability_NAME' for each class"
    )


def _usable(table: pl.DataFrame, label: str, columns: list[str], name: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that can be scored, and how many could not be, by reason."""
    left_out: dict[str, int] = {}
    checks = {
        "failed": pl.col("status").cast(pl.String) == "ok" if "status" in table.columns else pl.lit(True),
        "without prediction": pl.all_horizontal([pl.col(column).is_not_null() for column in columns]),
        "without truth": pl.col(label).is_not_null(),
    }
    before = table.height
    for reason, keep in checks.items():
        kept = table.filter(keep)
        if kept.height < table.height:
            left_out[reason] = table.height - kept.height
        table = kept
    if table.height == 0:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it holds no rows"
        raise DataError(f"{name}: none of its {before} rows can be scored ({why}); fill label and prediction")
    return table, left_out


def _check_ids(table: pl.DataFrame, name: str) -> None:
    if table["id"].null_count():
        raise DataError(f"{name}: {table['id'].null_count()} rows have no id; give each scan its own")
    key = ["id", "repeat"] if "repeat" in table.columns else ["id"]
    twice = table.filter(pl.struct(key).is_duplicated())
    if twice.height:
        where = " in one repeat" if "repeat" in table.columns else ""
        raise DataError(
            f"{name}: id '{twice['id'][0]}' stands several times{where}; keep one row for each scan, "
            "or number repetitions in a column 'repeat'"
        )


def _scores(table: pl.DataFrame, columns: list[str], name: str) -> NDArray[np.float64]:
    parsed = []
    for column in columns:
        values = table[column].cast(pl.Float64, strict=False)
        bad = (values.is_null() | values.is_nan()).arg_true()
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"{name}: {column} of id '{table['id'][row]}' is '{table[column][row]}', which is no number; "
                "correct it, or leave it empty to leave the scan out"
            )
        parsed.append(values.to_numpy())
    return np.asarray(parsed[0]) if len(parsed) == 1 else np.stack(parsed, axis=1)


def _check_probabilities(scores: NDArray[np.float64], columns: list[str], name: str) -> None:
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{name}: {columns[0]} reaches from {low:g} to {high:g}, which is no probability; "
            "pass it through a sigmoid, or rename the column to 'score'"
        )
    if scores.ndim == 2 and (np.abs(scores.sum(axis=1) - 1) > SUM_SLACK).any():
        total = float(scores.sum(axis=1)[np.argmax(np.abs(scores.sum(axis=1) - 1))])
        raise DataError(
            f"{name}: the class probabilities of a scan sum to {total:g}, not 1; pass logits through a softmax"
        )


def _truth(
    column: pl.Series, classes: tuple[str, ...] | None, positive: str | None, name: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class number of each row, and the classes' names."""
    words = [re.sub(r"\.0+$", "", str(value)) for value in column.cast(pl.String).to_list()]
    if classes is not None:
        numbers = {str(k): k for k in range(len(classes))} | {label: k for k, label in enumerate(classes)}
        plain = {_plain(label): k for label, k in numbers.items()}
        for word in dict.fromkeys(words):
            if _plain(word) not in plain:
                look_up(word, classes, f"class in {name}", DataError)
        return np.array([plain[_plain(word)] for word in words], np.int64), classes
    if positive is not None:
        known = sorted(set(words))
        look_up(positive, known, f"label in {name}", DataError)
        others = [word for word in known if word != positive]
        if len(others) > 1:
            raise DataError(f"{name}: beside '{positive}' there are {', '.join(others)}; map them to one label first")
        return np.array([word == positive for word in words], np.int64), (others[0] if others else "none", positive)
    for word in dict.fromkeys(words):
        if _plain(word) not in TUMOUR | NONE:
            raise DataError(
                f"{name}: label '{word}' is neither a tumour (1) nor none (0); say which word means tumour "
                "(positive=...), or give a column 'probability_NAME' for each class"
            )
    return np.array([_plain(word) in TUMOUR for word in words], np.int64), ("none", "tumour")


def _plain(word: str) -> str:
    return re.sub(r"[\s_\-]", "", word).casefold()
