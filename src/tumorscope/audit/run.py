"""An audit: every finding over one or several data sets, from one measuring pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from tumorscope.audit import quality, views
from tumorscope.audit.chance import Chance, classifier, linear, random_labels
from tumorscope.audit.crossval import Task
from tumorscope.audit.duplicates import Duplicates, find_duplicates
from tumorscope.audit.features import hog
from tumorscope.audit.labels import Balance, Suspects, balance, suspects
from tumorscope.audit.leaks import Leak, leaks
from tumorscope.audit.lookalikes import Kinship, look_alikes
from tumorscope.audit.masks import Masks, masks
from tumorscope.audit.measure import Measured, measure
from tumorscope.audit.quality import bands
from tumorscope.audit.shortcuts import Origin, Shortcut, shortcuts
from tumorscope.datasets import manifest
from tumorscope.errors import DataError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Audit:
    """All that was found in N scans.

    Parameters
    ----------
    measured : Measured
        With the recommended ``group`` of each scan in its table.
    duplicates : Duplicates
    leaks : tuple of Leak
        Empty where the data know no sides.
    kin : tuple of Kinship
        How the data sets and their classes are related; empty for one data set.
    balance : Balance
    shortcuts : tuple of Shortcut or Origin
    chance : Chance or None
        What folds by group score with labels dealt at random.
    suspects : Suspects or None
    masks : Masks
    skipped : dict
        Why a test could not be made, by its name.
    findings : tuple of str
        What did not fit when the folders were read: files of no known kind, masks of another size, ...
    """

    measured: Measured
    duplicates: Duplicates
    leaks: tuple[Leak, ...]
    kin: tuple[Kinship, ...]
    balance: Balance
    shortcuts: tuple[Shortcut | Origin, ...]
    chance: Chance | None
    suspects: Suspects | None
    masks: Masks
    skipped: dict[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    def headlines(self) -> tuple[str, str, str]:
        """Three sentences: the copies, what they do to a test, and what tells the label without a tumour."""
        leaking = max(self.leaks, key=lambda one: one.with_twin, default=None)
        conflicts = self.duplicates.conflicts.height
        if leaking is not None and leaking.with_twin:
            second = leaking.sentence()
        elif conflicts:
            second = self.duplicates.sentences()[-1]
        elif self.duplicates.redundant:
            second = "a random split would put copies on both sides: split by the group in clean.parquet"
        else:
            second = "no scan has a twin on another side"
        return _capital(self.duplicates.sentence()), _capital(second), _capital(self._shortest_way())

    def _shortest_way(self) -> str:
        """The sentence of the shortcut that predicts the label best."""
        tests = [one for one in self.shortcuts if isinstance(one, Shortcut)]
        origin = next((one for one in self.shortcuts if isinstance(one, Origin)), None)
        if origin is not None and origin.explained > 1 - 1e-9:
            return origin.sentence()
        real = [one for one in tests if one.score.beyond_chance]
        if real:
            return max(real, key=lambda one: one.score.balanced_accuracy.low).sentence()
        if tests:
            return "neither file traits nor what surrounds the head tell the label"
        return f"shortcuts could not be tested: {self.skipped.get('shortcuts', 'there is no label')}"

    def clean(self) -> pl.DataFrame:
        """The manifest with the recommended ``group``, and ``copies``, ``keep`` and ``reason`` of each scan.

        Beside them stand the guessed plane and sequence, and the third in which its size, noise, sharpness and
        contrast lie: the slices by which an evaluation tells whom a model serves badly.
        """
        names = [name for name in manifest.SCHEMA if name in self.measured.table.columns]
        chosen = self.duplicates.clean
        slices = bands(self.measured.table).select("plane_guess", "sequence_guess", cs.ends_with("_band"))
        return self.measured.table.select(names).with_columns(
            *chosen.select("group", "copies", "keep", "reason"), *slices
        )

    def to_dict(self) -> dict[str, Any]:
        """Every finding as plain data, for JSON."""
        chance = self.chance
        return {
            "scans": self.measured.table.height,
            "headlines": list(self.headlines()),
            "unreadable": self.measured.table.filter(pl.col("problem").is_not_null())
            .select("id", "problem")
            .to_dicts(),
            "duplicates": {
                "sentences": list(self.duplicates.sentences()),
                "scans": self.duplicates.scans,
                "distinct": self.duplicates.distinct,
                "repeats": self.duplicates.repeats,
                "sources": self.duplicates.sources.to_dicts(),
                "between": self.duplicates.between.to_dicts(),
                "groups": self.duplicates.groups.drop("rows").to_dicts(),
            },
            "leaks": [
                {
                    "train": one.train,
                    "test": one.test,
                    "scans": one.scans,
                    "with_twin": one.with_twin,
                    "equal": one.equal,
                    "sentences": list(one.sentences()),
                    "copying_accuracy": _interval(one.every.accuracy),
                    "majority_accuracy": one.every.always,
                }
                for one in self.leaks
            ],
            "look_alikes": [
                {"one": one.one, "other": one.other, "verdict": one.verdict, "sentence": one.sentence()}
                for one in self.kin
            ],
            "balance": {"sentence": self.balance.sentence(), "counts": self.balance.counts.to_dicts()},
            "shortcuts": [_shortcut(one) for one in self.shortcuts],
            "random_labels": None
            if chance is None
            else {"sentence": chance.sentence(), "mean": chance.mean, "low": chance.low, "high": chance.high}
            | {"true": chance.true, "leaks": chance.leaks},
            "suspects": None
            if self.suspects is None
            else {"sentence": self.suspects.sentence(), "scans": self.suspects.table.to_dicts()},
            "masks": {"sentence": self.masks.sentence(), "findings": self.masks.frame().to_dicts()},
            "quality": {
                "sentence": quality.sentence(self.measured.readable.table),
                "planes": views.sentence(self.measured.readable.table["plane_guess"].to_list()),
                "sequences": views.sentence(self.measured.readable.table["sequence_guess"].to_list(), "sequence"),
                "remarks": quality.remarks(self.measured.table).to_dicts(),
            },
            "files": list(self.findings),
            "skipped": self.skipped,
        }


def audit(
    data: manifest.Data | list[manifest.Data],
    *,
    cache: str | Path | None = None,
    workers: int = 2,
    seed: int = 0,
    progress: Progress = lambda doing, done, total: None,
) -> Audit:
    """Everything that can be found in the data sets, without training a network.

    Parameters
    ----------
    data : folder, manifest, table, or several of them
        As `datasets.manifest.load`; each becomes a source of its own.
    cache : str or Path or None
        Where measurements are kept between runs.
    workers : int
        Processes that read at once.
    seed : int
        Of every draw.
    progress : callable
        Called with (what is being done, how far, of how much).

    Raises
    ------
    DataError
        If the data cannot be loaded, or no scan of it can be read.
    """
    findings: list[str] = []
    table = manifest.load(data, groups=False, findings=findings)
    measured = measure(table, cache=cache, workers=workers, progress=lambda n, of: progress("reading scans", n, of))
    if not measured.readable.table.height:
        raise DataError(f"no scan can be read; {measured.sentence()}")
    progress("looking for copies", 0, 1)
    found = find_duplicates(measured)
    measured = Measured(found.with_groups(measured.table), measured.prints, measured.heads, measured.around)
    readable = measured.readable
    skipped: dict[str, str] = {}

    def tried(name: str, test: Callable[[], Any], otherwise: Any) -> Any:
        progress(name, 0, 1)
        try:
            return test()
        except DataError as error:
            skipped[name] = str(error)
            return otherwise

    return Audit(
        measured=measured,
        duplicates=found,
        leaks=tried("leaks", lambda: leaks(measured, found, seed=seed), ()),
        kin=tried("look-alikes", lambda: look_alikes(measured, found, seed=seed), ()),
        balance=balance(measured.table),
        shortcuts=tried("shortcuts", lambda: shortcuts(readable, seed=seed), ()),
        chance=tried("random labels", lambda: _dealt(readable, seed), None),
        suspects=tried("label errors", lambda: suspects(readable, seed=seed), None),
        masks=masks(
            measured.table,
            measured.prints,
            cache=cache,
            workers=workers,
            progress=lambda n, of: progress("reading masks", n, of),
        ),
        skipped=skipped,
        findings=tuple(findings),
    )


def _dealt(measured: Measured, seed: int) -> Chance:
    """Labels dealt at random under folds by group, for a linear classifier of the heads' edges."""
    task = Task.of(measured.table, seed=seed)
    chosen = measured.only(task.rows)
    return random_labels(classifier(linear(), hog(chosen.heads)), chosen.table, seed=seed)


def _shortcut(one: Shortcut | Origin) -> dict[str, Any]:
    inner = one.shortcut if isinstance(one, Origin) else one
    score = inner.score
    found = {
        "name": inner.name,
        "sentence": one.sentence(),
        "accuracy": _interval(score.accuracy),
        "balanced_accuracy": _interval(score.balanced_accuracy),
        "auc": _interval(score.auc),
        "majority_accuracy": score.always,
        "traits": [list(pair) for pair in inner.traits],
    }
    return found | ({"explained": one.explained} if isinstance(one, Origin) else {})


def _interval(interval: Any) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith(".") else ".")
