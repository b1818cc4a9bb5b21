"""The classical baseline: measured features, a classifier, and what it is worth by group. Needs no torch."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import features, manifest, splits
from tumorscope.datasets.families import families
from tumorscope.errors import DataError, OutputError, RecipeError, look_up
from tumorscope.evaluation.evaluate import evaluate_predictions
from tumorscope.evaluation.predictions import Predictions
from tumorscope.imaging.features import NAMES
from tumorscope.training.classical_model import HASH, ClassicalModel, fit, matrix
from tumorscope.training.provenance import commit, fingerprint
from tumorscope.training.recipe import Classical, to_toml

GROUPS = (
    "original_firstorder",
    "original_glcm",
    "glcm4",
    "entropy",
    "edge",
    "lbp",
    "log",
    "haar",
    "asymmetry",
    "midline",
)
MODEL = "model.json"
PREDICTIONS, TESTED = "predictions.parquet", "test_predictions.parquet"
#: Columns of the manifest that an evaluation groups and slices by.
KEPT = ("id", "path", "group", "patient", "case", "parent_id", "source", "plane", "sequence", "tumor_type", "split")
BINARY = (0, 1)  # labels of none and tumour

Chances = NDArray[np.float64]
Progress = Callable[[int, int, str | None], None]


def train(
    recipe: Classical,
    sources: list[str | Path],
    run: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train ``recipe`` on manifests or folders and return the run folder.

    Out-of-fold predictions come from folds by group, repeated over other divisions; the model in ``model.json`` is
    fitted to all those scans afterwards. A manifest's own ``fold`` is taken as the only division. Where its ``split``
    is filled, scans of ``test`` are held out of everything and scored by the final model, and scans without a split
    are left out.

    The folder holds ``recipe.toml, manifest.parquet, features.parquet, predictions.parquet, metrics.json, model.json,
    provenance.json``, and ``test_predictions.parquet`` where there are test scans. A scan that cannot be measured keeps
    its row in ``features.parquet`` with its ``problem``.

    Parameters
    ----------
    recipe : Classical
    sources : list of path
        Folders or manifests.
    run : Path
    resume : bool
        Take the manifest and the features that ``run`` holds already.
    progress : callable or None
        Called with (scans measured, scans in all, problem of the last one or None).

    Raises
    ------
    DataError
        If a group is cut, fewer than two classes are left, or a fold lacks one.
    RecipeError
        For an unknown group of features.
    OutputError
        If ``run`` holds a run already and ``resume`` is False.
    """
    start = time.monotonic()
    names = columns_of(recipe)
    table = _manifest(sources, run, resume)
    with io.atomic(run / "recipe.toml") as path:
        path.write_text(to_toml(recipe), encoding="utf-8")
    measured = _features(recipe, table, run, resume, progress)
    data = Data.of(table, measured, names)
    folds = data.folds(recipe)
    chances = np.stack([held_out(recipe, data, fold, recipe.seed + k) for k, fold in enumerate(folds)])
    whole = np.flatnonzero(data.learn)
    model = _fitted(recipe, data, whole, recipe.seed)
    model = model.model_copy(update={"name": recipe.name, **_memory(data.table[whole])})
    model.write(run / MODEL)
    metrics: dict[str, Any] = {
        "cross_validation": _judged(recipe, out_of_fold(data, folds, chances), run / PREDICTIONS)
    }
    if not data.learn.all():
        tested = np.flatnonzero(~data.learn)
        said = data.told(tested, model.probabilities(data.values[tested]))
        metrics["test"] = _judged(recipe, said, run / TESTED)
    metrics |= {"protocol": _protocol(recipe, data, len(folds)), "failed": int(measured["problem"].is_not_null().sum())}
    _write_json(metrics, run / "metrics.json")
    _write_json(_provenance(recipe, model, time.monotonic() - start), run / "provenance.json")
    return run


def columns_of(recipe: Classical) -> list[str]:
    """Names of the features that a recipe uses.

    Raises
    ------
    RecipeError
        For an unknown group of features.

    Examples
    --------
    >>> columns_of(Classical(name="x", features={"groups": ["edge"]}))
    ['edge_density', 'edge_gradient', 'edge_gradient_spread']
    """
    wanted = [look_up(group, GROUPS, "group of features", RecipeError) for group in recipe.features.groups]
    return [name for name in NAMES if any(name.startswith(f"{group}_") for group in wanted)]


def _manifest(sources: list[str | Path], run: Path, resume: bool) -> pl.DataFrame:
    file = run / "manifest.parquet"
    if file.exists():
        if not resume:
            raise OutputError(f"{run}: holds a run already; pass --resume to go on with it, or another folder")
        return manifest.read(file)
    table = manifest.load(sources)
    splits.check(table)
    manifest.write(table, file)
    return table


def _features(
    recipe: Classical, table: pl.DataFrame, run: Path, resume: bool, progress: Progress | None
) -> pl.DataFrame:
    """The features of each row; those that an earlier call measured are taken as they are."""
    file = run / "features.parquet"
    stamp = f"{features.VERSION} {recipe.features.side}"
    if resume and file.exists():
        kept = pl.read_parquet(file)
        if kept["id"].to_list() == table["id"].to_list() and set(kept["measured_as"].to_list()) == {stamp}:
            return kept.drop("measured_as")
    measured = features.measure(
        table, side=recipe.features.side, shapes=False, workers=recipe.workers, progress=progress
    )
    with io.atomic(file) as path:
        measured.with_columns(measured_as=pl.lit(stamp)).write_parquet(path)
    return measured


@dataclass(frozen=True)
class Data:
    """The N scans that are learnt from or tested.

    Parameters
    ----------
    table : polars.DataFrame
        Their manifest rows.
    values : (N, F) float array
    names : list of str
        Of the features.
    truth : (N,) int array
        Place of each label in ``labels``.
    family : (N,) int array
        Rows that no split parts.
    learn : (N,) bool array
        False for the scans that are only tested.
    """

    table: pl.DataFrame
    values: NDArray[np.float64]
    names: list[str]
    truth: NDArray[np.int64]
    labels: tuple[int, ...]
    label_names: tuple[str, ...]
    family: NDArray[np.int64]
    learn: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pl.DataFrame, measured: pl.DataFrame, names: list[str]) -> Data:
        """The measured scans that have a label, and a side where the manifest knows sides.

        Raises
        ------
        DataError
            If fewer than two classes are left to learn from.
        """
        sided = table["split"].null_count() < table.height
        usable = table["label"].is_not_null() & measured["problem"].is_null()
        if sided:
            usable &= table["split"].is_not_null()
        rows = usable.arg_true().to_numpy()
        chosen = table[rows]
        learn = (chosen["split"] != "test").to_numpy() if sided else np.ones(len(rows), bool)
        labels = tuple(sorted(chosen.filter(pl.Series(learn))["label"].unique().to_list()))
        if len(labels) < 2:
            raise DataError(
                f"label: {len(labels)} classes among {int(learn.sum())} scans to learn from; two are needed"
            )
        stray = chosen.filter(~pl.col("label").is_in(labels))
        if stray.height:
            raise DataError(f"{stray['path'][0]}: label {stray['label'][0]} stands in the test only; drop such rows")
        told = dict(chosen.select("label", "label_name").drop_nulls().unique().rows())
        return cls(
            table=chosen,
            values=matrix(measured[rows], names),
            names=names,
            truth=np.array([labels.index(label) for label in chosen["label"].to_list()], np.int64),
            labels=labels,
            label_names=tuple(str(told.get(label, label)) for label in labels),
            family=families(chosen),
            learn=learn,
        )

    def told(self, rows: NDArray[np.intp], chances: Chances) -> pl.DataFrame:
        """What a model says of some rows, (n, K), as `evaluation.predictions.Predictions` reads it.

        Two classes labelled 0 and 1 give ``label`` and ``probability``; others the class's name in ``label`` and a
        column ``probability_NAME`` for each.
        """
        facts = self.table[rows].select([name for name in KEPT if name in self.table.columns])
        if self.labels == BINARY:
            return facts.with_columns(label=pl.Series(self.truth[rows]), probability=pl.Series(chances[:, 1]))
        return facts.with_columns(
            pl.Series("label", [self.label_names[place] for place in self.truth[rows]]),
            *(pl.Series(f"probability_{name}", chances[:, place]) for place, name in enumerate(self.label_names)),
        )

    def folds(self, recipe: Classical) -> list[NDArray[np.int64]]:
        """Fold of each row in each division, −1 for rows in none: those tested only, and those inside a gap."""
        rows = np.flatnonzero(self.learn)
        part = self.table[rows]
        settings = recipe.validation
        if part["fold"].is_not_null().any():
            splits.check(part, by="fold")
            dealt = [part["fold"]]
        else:
            ordered = sorted(set(settings.ordered) & set(part["source"].drop_nulls().to_list()))
            dealt = [
                splits.cross_validation(
                    part, settings.folds, ordered=ordered, block=settings.block, gap=settings.gap, seed=recipe.seed + k
                )["fold"]
                for k in range(settings.repeats)
            ]
        divisions = []
        for fold in dealt:
            whole = np.full(self.table.height, -1, np.int64)
            whole[rows] = fold.fill_null(-1).to_numpy()
            divisions.append(whole)
        return divisions


def _fitted(recipe: Classical, data: Data, rows: NDArray[np.intp], seed: int) -> ClassicalModel:
    return fit(
        data.values[rows],
        data.truth[rows],
        data.family[rows],
        recipe.classifier,
        names=data.names,
        labels=data.labels,
        label_names=data.label_names,
        side=recipe.features.side,
        seed=seed,
    )


def held_out(recipe: Classical, data: Data, fold: NDArray[np.int64], seed: int) -> Chances:
    """Class probabilities (N, K) of each row from a model that saw nothing of its fold; NaN for rows in no fold."""
    chances = np.full((len(data.truth), len(data.labels)), np.nan)
    for number in np.unique(fold[fold >= 0]):
        model = _fitted(recipe, data, np.flatnonzero((fold >= 0) & (fold != number)), seed)
        held = fold == number
        chances[held] = model.probabilities(data.values[held])
    return chances


def out_of_fold(data: Data, folds: list[NDArray[np.int64]], chances: Chances) -> pl.DataFrame:
    """A row for each scan in each division that held it out, with ``repeat`` and ``fold``."""
    tables = []
    for repeat, fold in enumerate(folds):
        rows = np.flatnonzero(fold >= 0)
        told = data.told(rows, chances[repeat, rows])
        tables.append(told.with_columns(repeat=pl.lit(repeat, pl.Int64), fold=pl.Series(fold[rows])))
    return pl.concat(tables)


def _judged(recipe: Classical, told: pl.DataFrame, file: Path) -> dict[str, Any]:
    """The evaluation of predictions as plain data, after they were written."""
    with io.atomic(file) as path:
        told.write_parquet(path)
    given = Predictions.of(told, file.name)
    return evaluate_predictions(given, rounds=recipe.validation.rounds, seed=recipe.seed).to_dict()


def _protocol(recipe: Classical, data: Data, divisions: int) -> dict[str, Any]:
    settings = recipe.validation
    return {
        "split": "by group: patient, case, near-duplicate cluster, ancestor",
        "divisions": divisions,
        "folds": settings.folds,
        "bootstrap_rounds": settings.rounds,
        "interval": 0.95,
        "figures": "mean over the divisions; intervals from whole groups drawn with replacement",
        "features": len(data.names),
        "labels": {str(label): name for label, name in zip(data.labels, data.label_names, strict=True)},
    }


def _memory(table: pl.DataFrame) -> dict[str, Any]:
    """What a model remembers of the scans that it was fitted to."""
    hashes = table["sha256"].drop_nulls().to_list()
    return {
        "sources": tuple(sorted(set(table["source"].drop_nulls().to_list()))),
        "fingerprint": fingerprint(table),
        "scan_hashes": tuple(sorted({value[:HASH] for value in hashes})),
    }


def _provenance(recipe: Classical, model: ClassicalModel, seconds: float) -> dict[str, Any]:
    import sklearn

    return {
        "tumorscope": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "git": commit(),
        "seed": recipe.seed,
        "feature_version": features.VERSION,
        "data_fingerprint": model.fingerprint,
        "seconds_of_last_call": round(seconds, 1),
    }


def _write_json(values: dict[str, Any], file: Path) -> None:
    with io.atomic(file) as path:
        path.write_text(json.dumps(values, indent=2), encoding="utf-8")
