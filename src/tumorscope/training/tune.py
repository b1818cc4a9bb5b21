"""Tuning: settings searched inside grouped folds, and judged once on scans that no trial saw.

For each outer fold a search of its own tries settings on the fold's training scans alone, the recipe's own first; the
best ones are trained once more and asked about the scans held out. Those answers, joined over the folds, say what the
procedure "search, then train" is worth. The settings that a user goes on with come from a last search over all scans,
which nothing is left to judge: the folds' figure stands for it.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import manifest
from tumorscope.errors import OutputError, RecipeError, TrainingError, look_up
from tumorscope.training import engine
from tumorscope.training.classifier_data import load
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.divisions import Division
from tumorscope.training.provenance import commit, fingerprint
from tumorscope.training.recipe import to_toml
from tumorscope.training.search_space import SearchSpace
from tumorscope.training.tune_bench import Bench, Progress
from tumorscope.training.tune_parts import inner_parts, outer_parts
from tumorscope.training.tune_search import SAMPLERS, Failed, Search, Trial, Tried, storage

TRIALS = 20  # of each search, where none are asked for: a quarter drawn at random, the others by what those told
MOST_UNASKED = 200  # points of a grid that is walked whole without being asked to
PROTOCOL, MANIFEST, STUDY = "protocol.json", "manifest.parquet", "study.db"
BEST, TRIALS_FILE, SUMMARY = "best.toml", "trials.csv", "tune.json"
ANSWERS = {"tuned": "predictions.parquet", "untuned": "untuned_predictions.parquet"}  # of all folds together
JUDGED = "judged.json"
PACKAGES = ("torch", "lightning", "timm", "optuna", "numpy")


@dataclass(frozen=True)
class Judgement:
    """One outer fold: the best score of its search, and what the scans held out said of it.

    Attributes
    ----------
    search : str
    trial : int
        The best one.
    inner : float
        Its score, on scans that chose it.
    tuned, untuned : float
        The same figure on the scans held out, of the best settings and of the recipe as it is.
    chosen : dict
        The best settings.
    scans : int
        Held out.
    """

    search: str
    trial: int
    inner: float
    tuned: float
    untuned: float
    chosen: dict[str, Any]
    scans: int


@dataclass(frozen=True)
class Tuned:
    """What a tuning came to.

    Attributes
    ----------
    recipe : ClassifierRecipe
        As it was given.
    space : SearchSpace
    protocol : dict
        What was asked for.
    judgements : list of Judgement
        One for each outer fold; empty where nothing was held out.
    trials : list of Tried
        Of all searches.
    chosen : Tried
        The trial whose settings are in ``best.toml``.
    predictions, untuned : polars.DataFrame
        What the scans held out were said to be, by the best settings of their fold, and by the recipe as it is.
    """

    recipe: ClassifierRecipe
    space: SearchSpace
    protocol: dict[str, Any]
    judgements: list[Judgement]
    trials: list[Tried]
    chosen: Tried
    predictions: pl.DataFrame
    untuned: pl.DataFrame


def tune(
    recipe: ClassifierRecipe,
    sources: Sequence[str | Path],
    out: Path,
    *,
    space: SearchSpace | None = None,
    sampler: str = "tpe",
    trials: int | None = None,
    folds: int | None = None,
    inner: int = 0,
    prune: bool = True,
    resume: bool = False,
    cache_folder: Path | None = None,
    offline: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Tuned:
    """Search the settings of ``recipe`` inside grouped folds, judge the search on scans that it never saw.

    ``out`` gets ``report.html, tune.json, trials.csv, best.toml`` (a recipe for `train`), ``predictions.parquet`` (of
    the scans held out, each by the best settings of a search without it), ``untuned_predictions.parquet`` (the same by
    the recipe as it is), and ``study.db`` with all finished trials.

    Parameters
    ----------
    recipe : ClassifierRecipe
        Its ``fit.monitor`` is what trials are scored by.
    sources : sequence of path
        Folders or manifests. A filled ``split`` or ``fold`` is kept to.
    out : Path
    space : SearchSpace or None
        The reference's by default.
    sampler : str
        ``tpe``, ``random`` or ``grid``.
    trials : int or None
        Of each search; 20 by default, or all points of a grid.
    folds : int or None
        Outer folds; 0 for one search and one test; 3 by default.
    inner : int
        Grouped folds of the training scans that score a trial, as a mean; 0 for the validation scans alone, which also
        pick the trial's epoch.
    prune : bool
        Whether trials worse than the median of the others are cut short.
    resume : bool
        Go on with a tuning that was stopped, as if it had not been.
    cache_folder, offline
        As for `classifier_run.train`.
    progress : callable or None
        Called with what is being done, trainings behind and trainings in all.
    command : str
        What was typed, for the report.

    Raises
    ------
    RecipeError
        For settings that cannot be searched.
    DataError
        If the scans cannot be divided.
    OutputError
        If ``out`` holds a tuning and ``resume`` is False, or one that was begun with other settings.
    TrainingError
        If no trial of a search was completed.
    """
    from tumorscope.training.tune_report import write_report

    start = time.monotonic()
    space = SearchSpace.reference(recipe) if space is None else space
    trials = _trials(space, look_up(sampler, SAMPLERS, "sampler"), trials)
    _check(recipe, inner)
    asked = {
        "recipe": recipe.model_dump(mode="json"), "space": space.to_dict(), "sampler": sampler, "trials": trials,
        "folds": folds, "inner": inner, "prune": prune,
    }  # fmt: skip
    table = _begun(recipe.data.target, asked, sources, out, resume)
    parts = outer_parts(table, recipe, folds)
    for one in parts:
        inner_parts(table, recipe, one, inner)  # refuse what cannot be divided before anything is written or trained
    if not (out / PROTOCOL).exists():
        manifest.write(table, out / MANIFEST)
        engine.write_json(asked, out / PROTOCOL)
    total = sum(trials * max(1, inner) + 2 * bool(one.test) for one in parts)
    bench = Bench(recipe, table, cache_folder or out / "cache", offline, progress, total)
    lower = recipe.fit.monitor == "loss"
    judgements, tried, chosen = [], list[Tried](), None
    with storage(out / STUDY) as kept:
        for one in parts:
            search = Search(
                kept, one.name, space, sampler=sampler, seed=recipe.seed + 1000 * (one.fold + 1), lower=lower,
                epochs=recipe.epochs * max(1, inner), prune=prune, first=space.nearest(recipe),
            )  # fmt: skip
            _search(bench, search, one, inner, trials, out)
            chosen = search.best()
            tried += search.tried()
            if one.test:
                judgements.append(_judged(bench, space, chosen, one, out))
    assert chosen is not None
    judged = [one.name for one in parts if one.test]
    said = [_gathered(out, judged, kind) for kind in ANSWERS]
    result = Tuned(recipe, space, asked, judgements, tried, chosen, *said)
    _write_trials(result, out)
    _write_best(result, out)
    summary = write_report(result, out, command)
    engine.write_json(summary | {"provenance": _provenance(table, time.monotonic() - start)}, out / SUMMARY)
    return result


def _trials(space: SearchSpace, sampler: str, trials: int | None) -> int:
    if trials is not None and trials < 1:
        raise RecipeError(f"--trials {trials}: a search needs one or more; give a larger number")
    if sampler != "grid":
        return TRIALS if trials is None else trials
    points = space.combinations
    if trials is None and points > MOST_UNASKED:
        raise RecipeError(
            f"grid: the space has {points} combinations; give --trials for that many of them, or a smaller --space"
        )
    return points if trials is None else min(trials, points)


def _check(recipe: ClassifierRecipe, inner: int) -> None:
    if inner < 0 or inner == 1:
        raise RecipeError(f"--inner {inner}: give 0 for one validation part, or 2 folds or more")
    if recipe.machine.devices not in (1, "1"):
        raise RecipeError(f"machine.devices: {recipe.machine.devices}; a trial runs on one device, write 1")


def _begun(target: str, asked: dict[str, Any], sources: Sequence[str | Path], out: Path, resume: bool) -> pl.DataFrame:
    """The manifest: read from the sources, or from the folder of the tuning that this call goes on with."""
    before = engine.read_json(out / PROTOCOL, None)
    if before is None:
        return load(sources, target)
    if not resume:
        raise OutputError(f"{out}: holds a tuning already; pass --resume to go on with it, or another folder")
    for key, value in asked.items():
        if before.get(key) != value:
            raise OutputError(
                f"{out}: was begun with another {key}; more trials or other settings after a look at the test would "
                "choose by it, so resume with the same, or use another folder"
            )
    return manifest.read(out / MANIFEST)


def _search(bench: Bench, search: Search, one: Division, inner: int, trials: int, out: Path) -> None:
    """Run the trials of a search that are not finished."""
    parts = inner_parts(bench.table, bench.recipe, one, inner)
    folder = out / "trial"  # of the trial under way alone: a trial that was cut off begins anew
    bench.count("", len(parts) * len(search))

    def score(trial: Trial) -> float:
        bench.count(f"{one.name}: trial {trial.number + 1} of {trials}")
        recipe = search.space.applied(bench.recipe, trial.chosen)
        found = []
        for place, part in enumerate(parts):
            shutil.rmtree(folder, ignore_errors=True)

            def watch(epoch: int, told: Any, first: int = place * bench.recipe.epochs) -> None:
                trial.report(first + epoch, float(told[f"val_{recipe.fit.monitor}"]))

            try:
                network = bench.trained(recipe, part, folder, bench.recipe.seed + 1000 * place, watch)
            except TrainingError as error:
                raise Failed(str(error)) from error
            except torch.OutOfMemoryError as error:
                raise Failed(f"not enough memory for a batch of {recipe.fit.batch}") from error
            found.append(bench.asked(network, recipe, part.test)[1])
        return float(np.mean(found))

    while len(search) < trials:
        search.run(score)
        bench.count("", len(parts))
    shutil.rmtree(folder, ignore_errors=True)


def _judged(bench: Bench, space: SearchSpace, best: Tried, one: Division, out: Path) -> Judgement:
    """Train the best settings, and the recipe as it is, on a division, and ask them about its test, unless done."""
    folder = out / "folds" / one.name
    if not (folder / JUDGED).exists():
        found = {}
        for kind, recipe in (("tuned", space.applied(bench.recipe, best.chosen)), ("untuned", bench.recipe)):
            bench.count(f"{one.name}: {'the best settings' if kind == 'tuned' else 'the recipe as it is'}")
            network = bench.trained(recipe, one, folder / kind, bench.recipe.seed)
            said, found[kind] = bench.asked(network, recipe, one.test)
            facts = said.with_columns(split=pl.lit("test"), repeat=pl.lit(0), fold=pl.lit(one.fold, pl.Int64))
            with io.atomic(folder / f"{kind}.parquet") as path:
                facts.write_parquet(path)
        record = Judgement(one.name, best.number, best.score, **found, chosen=best.chosen, scans=len(one.test))
        engine.write_json(vars(record), folder / JUDGED)
        for kind in found:  # weights: each was asked its one question
            shutil.rmtree(folder / kind)
    bench.count("", 2)
    return Judgement(**engine.read_json(folder / JUDGED, {}))


def _gathered(out: Path, names: list[str], kind: str) -> pl.DataFrame:
    """All folds' answers in one table, also written to ``out``."""
    tables = [pl.read_parquet(out / "folds" / name / f"{kind}.parquet") for name in names]
    if not tables:
        return pl.DataFrame()
    table = pl.concat(tables)
    table = table.drop("repeat", "fold") if len(tables) == 1 else table
    with io.atomic(out / ANSWERS[kind]) as path:
        table.write_parquet(path)
    return table


def _write_trials(result: Tuned, out: Path) -> None:
    rows = [
        {
            "search": one.search,
            "trial": one.number,
            "state": one.state,
            "score": None if np.isnan(one.score) else one.score,
            "epochs": one.epochs,
            **{key: value if isinstance(value, int | float) else str(value) for key, value in one.chosen.items()},
            "reason": one.reason or None,
        }
        for one in result.trials
    ]
    with io.atomic(out / TRIALS_FILE) as path:
        pl.DataFrame(rows, infer_schema_length=None, strict=False).write_csv(path)


def _write_best(result: Tuned, out: Path) -> None:
    best = result.space.applied(result.recipe, result.chosen.chosen)
    told = f"# The best of {sum(one.search == result.chosen.search for one in result.trials)} trials of the search "
    told += f"'{result.chosen.search}', chosen by {result.recipe.fit.monitor} on validation scans: see report.html.\n"
    with io.atomic(out / BEST) as path:
        path.write_text(told + to_toml(best), encoding="utf-8")


def _provenance(table: pl.DataFrame, seconds: float) -> dict[str, Any]:
    return {
        "tumorscope": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "git": commit(),
        "data_fingerprint": fingerprint(table),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "seconds_of_last_call": round(seconds, 1),
    }
