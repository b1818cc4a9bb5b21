"""``tumorscope train``: a recipe and data in, a run folder out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json


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
    that `predict --model` takes.

    \b
    Examples
      tumorscope train scout scans/ -o run
      tumorscope train my_recipe.toml manifest.parquet -o run --resume
    """  # noqa: D301
    from tumorscope.cli._extras import need_training

    need_training()
    from tumorscope.training import recipe as recipes
    from tumorscope.training.export import export
    from tumorscope.training.train import train as run

    loaded = recipes.load(recipe)
    folder = run(loaded, [*data], out, resume=resume, cache_folder=cache, progress=sys.stderr.isatty())
    model = export(folder, folder / "model.onnx")
    if as_json:
        answer_json({"run": str(folder), "model": str(model), "recipe": loaded.name, "epochs": loaded.epochs})
    else:
        answer(str(model))
    return 0
