"""The folder of a run: how it begins, where its folds lie, and what is gathered from them."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import manifest
from tumorscope.errors import OutputError
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import Data
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.phases import LOG, WEIGHTS, Recipe
from tumorscope.training.provenance import commit, fingerprint

MANIFEST, RECIPE, MODEL = "manifest.parquet", "recipe.toml", "model.onnx"
PREDICTIONS, VALIDATION = "predictions.parquet", "val_predictions.parquet"
FOLDS, SINGLE = "folds", "checkpoints"
DONE = "fold.json"
PACKAGES = ("torch", "lightning", "timm", "numpy")


def begun(
    recipe: Recipe,
    run: Path,
    resume: bool,
    load: Callable[[], pl.DataFrame],
    divide: Callable[[pl.DataFrame, Data, int], list[Division]] = divisions,
) -> pl.DataFrame:
    """The run's manifest: written now, if ``divide`` can divide it, or by the call that this one goes on with."""
    file = run / MANIFEST
    if file.exists():
        if not resume:
            raise OutputError(f"{run}: holds a run already; pass --resume to go on with it, or another folder")
        if (run / RECIPE).exists() and recipes.load(run / RECIPE) != recipe:
            raise OutputError(f"{run}: was begun with another recipe; resume it with the same, or use another folder")
        return manifest.read(file)
    table = load()
    divide(table, recipe.data, recipe.seed)  # refuse what cannot be divided before anything is written
    with io.atomic(run / RECIPE) as path:
        path.write_text(recipes.to_toml(recipe), encoding="utf-8")
    manifest.write(table, file)  # last: where it lies, the recipe does too
    return table


def folder_of(run: Path, one: Division | str) -> Path:
    """Where a division's weights and answers lie."""
    name = one if isinstance(one, str) else one.name
    return run / FOLDS / name if name else run / SINGLE


def weights_of(run: Path, name: str) -> Path:
    """The best weights of a division."""
    return folder_of(run, name) / WEIGHTS


def gathered(run: Path, parts: list[Division], name: str) -> pl.DataFrame:
    """All divisions' answers in one table, also written to the run."""
    table = pl.concat([pl.read_parquet(folder_of(run, one) / name) for one in parts])
    with io.atomic(run / name) as path:
        table.write_parquet(path)
    return table


def chosen_of(recipe: Recipe, run: Path, parts: list[Division]) -> str:
    """Name of the division whose model did best on its own validation scans."""
    sign = -1 if recipe.fit.monitor == "loss" else 1

    def value(one: Division) -> float:
        found = engine.read_json(folder_of(run, one) / DONE, {})["validation"]
        return -np.inf if found is None else sign * float(found)

    return max(parts, key=value).name


def write_log(run: Path, parts: list[Division]) -> None:
    """``metrics.csv`` of the run: a row an epoch, the mean over the folds that ran it.

    Of the steps the most are told, and of the phases the one that most folds were in: a fold may stop one early.
    """
    table = pl.concat([pl.read_csv(folder_of(run, one) / LOG) for one in parts], how="diagonal_relaxed")
    counts = [name for name in ("step", "phase") if name in table.columns]
    common = {"step": pl.col("step").max(), "phase": pl.col("phase").mode().min()}
    rows = table.group_by("epoch", maintain_order=True)
    mean = rows.agg(*(common[name] for name in counts), pl.exclude("epoch", *counts).mean(), folds=pl.len()).sort(
        "epoch"
    )
    with io.atomic(run / LOG) as path:
        mean.write_csv(path)


def learning(run: Path, parts: list[Division]) -> dict[str, float | None]:
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


def write_provenance(
    recipe: Recipe, run: Path, parts: list[Division], chosen: str, origin: str, seconds: float
) -> None:
    """``provenance.json``: versions, seeds, data, and which division became the run's model."""
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
