"""A run of a classifier: a recipe and scans in, a folder with honest figures and a bundle out."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import manifest
from tumorscope.errors import OutputError
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.predictions import Predictions
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.classical import KEPT
from tumorscope.training.classifier_data import Division, Rows, Squares, divisions, load
from tumorscope.training.classifier_fit import answers, fit, initial
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.phases import LOG, WEIGHTS
from tumorscope.training.provenance import commit, fingerprint

MANIFEST, RECIPE, MODEL = "manifest.parquet", "recipe.toml", "model.onnx"
PREDICTIONS, VALIDATION = "predictions.parquet", "val_predictions.parquet"
FOLDS, SINGLE = "folds", "checkpoints"
DONE = "fold.json"
PACKAGES = ("torch", "lightning", "timm", "numpy")


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
    OutputError
        If ``run`` holds a run already and ``resume`` is False, or holds one of another recipe.
    TrainingError
        If the loss is no number.
    """
    from tumorscope.training.classifier_export import export
    from tumorscope.training.classifier_report import write_report

    start = time.monotonic()
    table = _begun(recipe, sources, run, resume)
    squares = Squares.of(table, recipe.preparation, cache_folder or run / "cache")
    parts = divisions(table, recipe.data, recipe.seed)
    origin = ""
    for one in parts:
        origin = _fold(recipe, squares, one, run, offline, progress) or origin
    told = _gathered(run, parts, PREDICTIONS)
    validation = _gathered(run, parts, VALIDATION)
    chosen = _chosen(recipe, run, parts)
    _write_log(run, parts)
    _write_provenance(recipe, run, parts, chosen, origin, time.monotonic() - start)
    found = judged(recipe, told, validation, single=len(parts) == 1)
    engine.write_json(_metrics(recipe, found, run, parts), run / "metrics.json")
    export(run, run / MODEL)
    write_report(recipe, run, found, command)
    return run


def folder_of(run: Path, one: Division | str) -> Path:
    """Where a division's weights and answers lie."""
    name = one if isinstance(one, str) else one.name
    return run / FOLDS / name if name else run / SINGLE


def _begun(recipe: ClassifierRecipe, sources: Sequence[str | Path], run: Path, resume: bool) -> pl.DataFrame:
    """The run's manifest: written now, or by the call that this one goes on with."""
    file = run / MANIFEST
    if file.exists():
        if not resume:
            raise OutputError(f"{run}: holds a run already; pass --resume to go on with it, or another folder")
        if (run / RECIPE).exists() and recipes.load(run / RECIPE) != recipe:
            raise OutputError(f"{run}: was begun with another recipe; resume it with the same, or use another folder")
        return manifest.read(file)
    table = load(sources)
    divisions(table, recipe.data, recipe.seed)  # refuse what cannot be divided before anything is written
    manifest.write(table, file)
    with io.atomic(run / RECIPE) as path:
        path.write_text(recipes.to_toml(recipe), encoding="utf-8")
    return table


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
        "validation": None if np.isnan(outcome.value) else outcome.value,
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


def _gathered(run: Path, parts: list[Division], name: str) -> pl.DataFrame:
    """All divisions' answers in one table, also written to the run."""
    table = pl.concat([pl.read_parquet(folder_of(run, one) / name) for one in parts])
    with io.atomic(run / name) as path:
        table.write_parquet(path)
    return table


def _chosen(recipe: ClassifierRecipe, run: Path, parts: list[Division]) -> str:
    """Name of the division whose model did best on its own validation scans."""
    sign = -1 if recipe.fit.monitor == "loss" else 1

    def value(one: Division) -> float:
        found = engine.read_json(folder_of(run, one) / DONE, {})["validation"]
        return -np.inf if found is None else sign * float(found)

    return max(parts, key=value).name


def _write_log(run: Path, parts: list[Division]) -> None:
    """``metrics.csv`` of the run: a row an epoch, the mean over the folds that ran it."""
    tables = [pl.read_csv(folder_of(run, one) / LOG) for one in parts]
    rows = pl.concat(tables, how="diagonal_relaxed").group_by("epoch", maintain_order=True)
    mean = rows.agg(pl.exclude("epoch").mean(), folds=pl.len()).sort("epoch")
    with io.atomic(run / LOG) as path:
        mean.write_csv(path)


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
        "learning": _learning(run, parts),
        "protocol": protocol,
    }


def _learning(run: Path, parts: list[Division]) -> dict[str, float | None]:
    """Training and validation figures at each fold's best epoch, the mean over folds; of scans that taught or chose."""
    best = []
    for one in parts:
        folder = folder_of(run, one)
        epoch = engine.read_json(folder / DONE, {})["best_epoch"]
        best.append(pl.read_csv(folder / LOG).filter(pl.col("epoch") == epoch))
    table = pl.concat(best, how="diagonal_relaxed")
    chosen = [name for name in table.columns if name.startswith(("train_", "val_"))]
    mean = table.select(pl.col(chosen).fill_nan(None).mean())
    return dict(zip(chosen, mean.row(0), strict=True))


def _write_provenance(
    recipe: ClassifierRecipe, run: Path, parts: list[Division], chosen: str, origin: str, seconds: float
) -> None:
    table = pl.read_parquet(run / MANIFEST)
    record = engine.read_json(run / "provenance.json", {})
    folds = {one.name or "single": engine.read_json(folder_of(run, one) / DONE, {}) for one in parts}
    record |= {
        "tumorscope": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "git": commit(),
        "seed": recipe.seed,
        "precision": engine.precision_of(recipe.machine.precision),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "initial_weights": origin,
        "data_fingerprint": fingerprint(table),
        "model_from": chosen or "the only split",
        "folds": folds,
        "seconds_of_last_call": round(seconds, 1),
    }
    engine.write_json(record, run / "provenance.json")


def weights_of(run: Path, name: str) -> Path:
    """The best weights of a division."""
    return folder_of(run, name) / WEIGHTS
