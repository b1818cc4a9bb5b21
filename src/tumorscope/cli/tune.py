"""``tumorscope tune``: settings of a recipe searched inside grouped folds, and judged on scans that no trial saw."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import Steps, answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit, MissingExtra, RecipeError


class Sampler(StrEnum):
    """How the next settings are drawn."""

    tpe = "tpe"
    random = "random"
    grid = "grid"


def tune(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a classifier's recipe, or a .toml file.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests (.parquet, .csv).")],
    out: Out,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Of each search; 20, or every point of a grid.")
    ] = None,
    sampler: Annotated[Sampler, typer.Option("--sampler", help="How the next settings are drawn.")] = Sampler.tpe,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE.toml", help="What is searched; the reference's by default.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=0, help="Outer folds; 0 for one search and one test. 3 by default.")
    ] = None,
    inner: Annotated[
        int, typer.Option("--inner", min=0, help="Folds that score a trial; 0 for one validation part.")
    ] = 0,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Whether poor trials are cut short.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a tuning that was stopped.")] = False,
    pretrained: Annotated[
        str | None, typer.Option("--pretrained", help="yes, no, or a checkpoint (path or hub id).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the recipe.")
    ] = None,
    offline: Annotated[Path | None, typer.Option("--offline", help="Folder with pretrained weights.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where prepared scans are kept; OUT/cache by default.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Search a classifier's settings, and say what the search is worth on scans that it never saw.

    Each outer fold, made by group, has a search of its own on the other folds; its best settings are trained
    once more and judged once. Writes OUT/report.html, OUT/tune.json, OUT/trials.csv, OUT/predictions.parquet
    and OUT/best.toml, which `tumorscope train` takes.

    \b
    Examples
      tumorscope tune custom-cnn scans/ -o tuned
      tumorscope tune resnet18 scans/ -o tuned --trials 30 --folds 5 --resume
      tumorscope tune custom-cnn scans/ -o tuned --space space.toml --sampler grid --set phases.0.epochs=10
      tumorscope train tuned/best.toml scans/ -o run
    """  # noqa: D301
    from importlib.util import find_spec

    from tumorscope.cli._extras import need_training
    from tumorscope.cli._options import changes_of
    from tumorscope.training import recipe as recipes
    from tumorscope.training.classifier_recipe import ClassifierRecipe

    loaded = recipes.load(recipe)
    changes = changes_of(settings or [], pretrained, None)
    loaded = recipes.changed(loaded, changes, "--set") if changes else loaded
    if not isinstance(loaded, ClassifierRecipe):
        raise RecipeError(f"{recipe}: is of task '{loaded.task}'; only recipes of task 'classify' can be tuned")
    need_training()
    if find_spec("optuna") is None:
        raise MissingExtra("tuning", "optuna", "train")
    from tumorscope.training.search_space import SearchSpace
    from tumorscope.training.tune import tune as run

    with Steps() as steps:
        run(
            loaded,
            [*data],
            out,
            space=None if space is None else SearchSpace.read(space, loaded),
            sampler=sampler.value,
            trials=trials,
            folds=folds,
            inner=inner,
            prune=prune,
            resume=resume,
            cache_folder=cache,
            offline=offline,
            progress=steps.at,
            command="tumorscope " + " ".join(sys.argv[1:]),
        )
    found = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    best = out / "best.toml"
    if as_json:
        answer_json({"out": str(out), "report": str(out / "report.html"), "recipe": str(best), **found})
        return Exit.OK
    for sentence in found["sentences"]:
        answer(sentence)
    answer(f"recipe: {best}")
    answer(f"report: {out / 'report.html'}")
    return Exit.OK
