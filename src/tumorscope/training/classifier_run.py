"""A run of a classifier: a recipe and scans in, a folder with honest figures and a bundle out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.predictions import Predictions
from tumorscope.training import engine
from tumorscope.training.classical import KEPT
from tumorscope.training.classifier_data import Rows, Squares, load
from tumorscope.training.classifier_fit import answers, fit, initial, require
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.run_folder import (
    DONE,
    MODEL,
    PREDICTIONS,
    VALIDATION,
    begun,
    chosen_of,
    folder_of,
    gathered,
    learning,
    write_log,
    write_provenance,
)


def train(
    recipe: ClassifierRecipe,
    sources: Sequence[str | Path],
    run: Path,
    *,
    resume: bool = False,
    cache_folder: Path | None = None,
    offline: Path | None = None,
    progress: bool = False,
    command: str = "",
) -> Path:
    """Train ``recipe`` on manifests or folders, judge it on scans that chose nothing, and return the run folder.

    The folder holds ``recipe.toml, manifest.parquet, metrics.csv`` (an epoch a row), ``predictions.parquet`` (of test
    scans, or out of fold), ``val_predictions.parquet, metrics.json, provenance.json, report.html, model.onnx`` and the
    weights of each fold. With folds, ``model.onnx`` is the fold that did best on its own validation scans, and
    ``provenance.json`` says which; `classifier_export.export` can join all folds in one bundle.

    Parameters
    ----------
    recipe : ClassifierRecipe
    sources : sequence of path
    run : Path
    resume : bool
        Go on with a run that was stopped, as if it had not been.
    cache_folder : Path or None
        Where prepared squares are kept; ``run/cache`` by default.
    offline : Path or None
        Folder with pretrained weights, instead of the network.
    progress : bool
        Show bars.
    command : str
        What was typed, for the report.

    Raises
    ------
    DataError
        If a group is cut, a part is empty or of one class, or a scan cannot be read.
    RecipeError, WeightsError
        If the network or its first weights cannot be had.
    OutputError
        If ``run`` holds a run already and ``resume`` is False, or holds one of another recipe.
    TrainingError
        If the loss is no number.
    """
    from tumorscope.training.classifier_export import export
    from tumorscope.training.classifier_report import write_report

    start = time.monotonic()
    table = begun(recipe, run, resume, lambda: _loaded(recipe, sources, offline))
    squares = Squares.of(table, recipe.preparation, cache_folder or run / "cache")
    parts = divisions(table, recipe.data, recipe.seed)
    origin = ""
    for one in parts:
        origin = _fold(recipe, squares, one, run, offline, progress) or origin
    told = gathered(run, parts, PREDICTIONS)
    validation = gathered(run, parts, VALIDATION)
    chosen = chosen_of(recipe, run, parts)
    write_log(run, parts)
    write_provenance(recipe, run, parts, chosen, origin, time.monotonic() - start)
    found = judged(recipe, told, validation, single=len(parts) == 1)
    engine.write_json(_metrics(recipe, found, run, parts), run / "metrics.json")
    export(run, run / MODEL)
    write_report(recipe, run, found, command)
    return run


def _loaded(recipe: ClassifierRecipe, sources: Sequence[str | Path], offline: Path | None) -> pl.DataFrame:
    require(recipe, offline)
    return load(sources, recipe.data.target)


def _fold(
    recipe: ClassifierRecipe, squares: Squares, one: Division, run: Path, offline: Path | None, progress: bool
) -> str:
    """Train and question one division's model, unless an earlier call did; says where its first weights came from."""
    folder = folder_of(run, one)
    if (folder / DONE).exists():
        return str(engine.read_json(folder / DONE, {})["weights"])
    ids = squares.table["id"]
    train, val, test = (squares.rows(ids.is_in(list(names))) for names in (one.train, one.val, one.test))
    seed = recipe.seed + 1000 * one.repeat + max(one.fold, 0)
    network, origin = initial(recipe, squares.labels.outputs, seed, offline)
    outcome = fit(network, recipe, squares, train, val, folder, seed=seed, progress=progress)
    for rows, file, side in ((test, PREDICTIONS, "test"), (val, VALIDATION, "val")):
        said = told(squares, rows, answers(network, squares, rows))
        facts = said.with_columns(
            split=pl.lit(side), repeat=pl.lit(one.repeat, pl.Int64), fold=pl.lit(one.fold, pl.Int64)
        )
        with io.atomic(folder / file) as path:
            facts.write_parquet(path)
    record = {
        "repeat": one.repeat,
        "fold": one.fold,
        "best_epoch": outcome.epoch,
        "epochs": outcome.epochs,
        "monitor": recipe.fit.monitor,
        "validation": outcome.value if np.isfinite(outcome.value) else None,
        "scans": {"train": len(train), "val": len(val), "test": len(test)},
        "labels": list(squares.labels.values),
        "label_names": list(squares.labels.names),
        "weights": origin,
    }
    engine.write_json(record, folder / DONE)
    return origin


def told(squares: Squares, rows: Rows, said: NDArray[np.float64]) -> pl.DataFrame:
    """What a model says of some squares, as `evaluation.predictions.Predictions` reads it.

    Labels 0 and 1 give ``label`` and ``probability``; others the class's name in ``label`` and a column
    ``probability_NAME`` for each. Slices of a volume are numbered in ``id``.
    """
    table = squares.table
    volume = pl.col("slice").is_not_null() & pl.col("id").is_duplicated()
    named = table.with_columns(
        pl.when(volume)
        .then(pl.concat_str("id", pl.lit(":"), pl.col("slice").cast(pl.String)))
        .otherwise("id")
        .alias("id")
    )
    names = dict.fromkeys(name for name in (*KEPT, "mask_source", "slice") if name in named.columns and name != "split")
    facts = named[rows].select(list(names))
    truth = squares.truth[rows]
    if squares.labels.binary:
        return facts.with_columns(label=pl.Series(truth), probability=pl.Series(said))
    each = np.stack([1 - said, said], 1) if said.ndim == 1 else said
    return facts.with_columns(
        pl.Series("label", [squares.labels.names[place] for place in truth], pl.String),
        *(pl.Series(f"probability_{name}", each[:, place]) for place, name in enumerate(squares.labels.names)),
    )


def judged(
    recipe: ClassifierRecipe, said: pl.DataFrame, validation: pl.DataFrame, *, single: bool
) -> Evaluation | None:
    """The evaluation of the held-out scans; None where nothing was held out for a test.

    With one split, calibration and conformal sets are fitted on the validation scans. With folds every scan is
    validation to some other fold, so nothing can be fitted on them that these scans may judge.
    """
    if said.is_empty():
        return None
    if single:
        said = said.drop("repeat", "fold")
        given = Predictions.of(validation.drop("repeat", "fold"), VALIDATION)
    return evaluate_predictions(
        Predictions.of(said, PREDICTIONS), given if single else None, rounds=recipe.data.rounds, seed=recipe.seed
    )


def _metrics(recipe: ClassifierRecipe, found: Evaluation | None, run: Path, parts: list[Division]) -> dict[str, Any]:
    kind = "test" if len(parts) == 1 else "cross_validation"
    repeats = len({one.repeat for one in parts})
    protocol = {
        "split": "by group: patient, case, near-duplicate cluster, ancestor",
        "divisions": len(parts),
        "repeats": repeats,
        "monitor": recipe.fit.monitor,
        "bootstrap_rounds": recipe.data.rounds,
        "figures": "of scans that neither taught nor chose; intervals from whole groups drawn with replacement",
    }
    return {
        kind: None if found is None else found.to_dict(),
        "learning": learning(run, parts),
        "protocol": protocol,
    }
