"""``tumorscope train``: a recipe and data in, a run folder out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorscope.cli._console import answer, answer_json

SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "macro_roc_auc")

if TYPE_CHECKING:
    from tumorscope.training.recipe import Classical


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a .toml file.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests (.parquet, .csv).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where prepared scans are kept; RUN/cache by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> int:
    """Train a model; scans are held out by group before anything is learnt.

    A manifest whose split column is filled is taken as it is. Afterwards RUN/model.onnx is a bundle
    that `predict --model` takes. The recipe `classical` needs no torch: it measures features, and judges
    logistic regression on them in folds by group; RUN/metrics.json has the figures. Exit code 3: some
    scans could not be measured.

    \b
    Examples
      tumorscope train scout scans/ -o run
      tumorscope train classical scans/ -o baseline
      tumorscope train my_recipe.toml manifest.parquet -o run --resume
    """  # noqa: D301
    from tumorscope.cli._extras import need_training
    from tumorscope.training import recipe as recipes

    loaded = recipes.load(recipe)
    if isinstance(loaded, recipes.Classical):
        return _classical(loaded, data, out, resume, as_json)
    need_training()
    from tumorscope.training.export import export
    from tumorscope.training.train import train as run

    folder = run(loaded, [*data], out, resume=resume, cache_folder=cache, progress=sys.stderr.isatty())
    model = export(folder, folder / "model.onnx")
    if as_json:
        answer_json({"run": str(folder), "model": str(model), "recipe": loaded.name, "epochs": loaded.epochs})
    else:
        answer(str(model))
    return 0


def _classical(recipe: Classical, data: list[str], out: Path, resume: bool, as_json: bool) -> int:
    """A run without torch, and its figures in one line."""
    from tumorscope.cli._console import Steps, complain
    from tumorscope.errors import Exit
    from tumorscope.training.classical import MODEL, train

    with Steps() as steps:

        def at(done: int, total: int, problem: str | None) -> None:
            steps.at("measuring scans", done, total)
            if problem is not None:
                complain(problem)

        folder = train(recipe, [*data], out, resume=resume, progress=at)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        answer_json({"run": str(folder), "model": str(folder / MODEL), "recipe": recipe.name, **metrics})
    else:
        for part in ("cross_validation", "test"):
            if part in metrics:
                answer(f"{part.replace('_', ' ')}: {_figures(metrics[part])}")
        answer(str(folder / MODEL))
    return Exit.PARTIAL if metrics["failed"] else Exit.OK


def _figures(found: dict) -> str:
    """The figures that matter, with their intervals."""
    parts = [f"{found['scans']} scans in {found['groups']} groups"]
    for one in found["metrics"]:
        if one["metric"] in SHOWN and one["value"] is not None:
            between = "" if one["low"] is None else f" [{one['low']:.3f}, {one['high']:.3f}]"
            skill = "" if one["trivial"] is None else f" (without skill {one['trivial']:.3f})"
            parts.append(f"{one['title']} {one['value']:.3f}{between}{skill}")
    return "; ".join(parts)
