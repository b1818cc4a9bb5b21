"""``tumorscope train``: a recipe and data in, a run folder out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import changes_of

SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "macro_roc_auc")

if TYPE_CHECKING:
    from tumorscope.training.classifier_recipe import ClassifierRecipe
    from tumorscope.training.prompt_decoder_recipe import PromptRecipe
    from tumorscope.training.recipe import Classical, Recipe
    from tumorscope.training.segmenter_recipe import SegmenterRecipe


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a .toml file.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests (.parquet, .csv).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    pretrained: Annotated[
        str | None,
        typer.Option("--pretrained", help="yes, no, or a checkpoint (path or hub id); of a classifier's backbone."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Test each of so many parts in turn; 0 for one split.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the recipe.")
    ] = None,
    offline: Annotated[Path | None, typer.Option("--offline", help="Folder with pretrained weights.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where prepared scans are kept; RUN/cache by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> int:
    """Train a model; scans are held out by group before anything is learnt.

    A manifest whose split or fold column is filled is taken as it is. Afterwards RUN/model.onnx is a bundle
    that `predict --model` takes, and RUN/report.html says what it is worth. The recipe `classical` needs no
    torch: it measures features, and judges logistic regression on them in folds by group. Exit code 3: some
    scans could not be measured.

    \b
    Examples
      tumorscope train resnet18 scans/ -o run
      tumorscope train convnext-base-v2 manifest.parquet -o run --folds 5
      tumorscope train resnet50-v1 scans/ -o run --pretrained no --set fit.batch=16
      tumorscope train unet scans_and_masks/ -o run --folds 5
      tumorscope train classical scans/ -o baseline
      tumorscope train sam-decoder scans_and_masks/ -o run --offline weights/
      tumorscope train my_recipe.toml manifest.parquet -o run --resume
    """  # noqa: D301
    from tumorscope.errors import RecipeError
    from tumorscope.training import recipe as recipes
    from tumorscope.training.classifier_recipe import ClassifierRecipe
    from tumorscope.training.prompt_decoder_recipe import PromptRecipe
    from tumorscope.training.segmenter_recipe import SegmenterRecipe

    loaded = recipes.load(recipe)
    changes = changes_of(settings or [], pretrained, folds)
    if changes:
        loaded = recipes.changed(loaded, changes, "--set")
    if isinstance(loaded, recipes.Classical):
        return _classical(loaded, data, out, resume, as_json)
    if isinstance(loaded, ClassifierRecipe | SegmenterRecipe):
        return _network(loaded, data, out, resume, cache, offline, as_json)
    if isinstance(loaded, PromptRecipe):
        return _prompted(loaded, data, out, resume, cache, offline, as_json)
    if not isinstance(loaded, recipes.Recipe):
        raise RecipeError(f"{recipe}: is a recipe of the task {loaded.task}; use tumorscope synthesize train")
    return _scout(loaded, data, out, resume, cache, as_json)


def _scout(recipe: Recipe, data: list[str], out: Path, resume: bool, cache: Path | None, as_json: bool) -> int:
    """A run of a detector and segmenter, or of the engine ``click``."""
    from tumorscope.cli._extras import need_training

    need_training()
    from tumorscope.training.export import export
    from tumorscope.training.recipe import ClickRecipe
    from tumorscope.training.train import train as run

    folder = run(recipe, [*data], out, resume=resume, cache_folder=cache, progress=sys.stderr.isatty())
    if isinstance(recipe, ClickRecipe):
        from tumorscope.training.click_export import export as click_export

        model = click_export(folder, folder / "engine")
    else:
        model = export(folder, folder / "model.onnx")
    if as_json:
        answer_json({"run": str(folder), "model": str(model), "recipe": recipe.name, "epochs": recipe.epochs})
    else:
        answer(str(model))
    return 0


def _network(
    recipe: ClassifierRecipe | SegmenterRecipe,
    data: list[str],
    out: Path,
    resume: bool,
    cache: Path | None,
    offline: Path | None,
    as_json: bool,
) -> int:
    """A run of a classifier or a segmenter, and its figures in a few lines."""
    from tumorscope.cli._extras import need_training

    need_training()
    from tumorscope.training.classifier_recipe import ClassifierRecipe
    from tumorscope.training.run_folder import MODEL

    options: dict[str, Any] = {"resume": resume, "cache_folder": cache, "offline": offline}
    options |= {"progress": sys.stderr.isatty(), "command": "tumorscope " + " ".join(sys.argv[1:])}
    if isinstance(recipe, ClassifierRecipe):
        from tumorscope.training.classifier_run import train as classify

        folder = classify(recipe, [*data], out, **options)
    else:
        from tumorscope.training.segmenter_run import train as segment

        folder = segment(recipe, [*data], out, **options)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        answer_json({"run": str(folder), "model": str(folder / MODEL), "recipe": recipe.name, **metrics})
        return 0
    for part in ("cross_validation", "test"):
        if metrics.get(part):
            answer(f"{part.replace('_', ' ')}: {_figures(metrics[part])}")
    if metrics.get("masks"):
        answer(metrics["masks"]["sentence"])
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    answer(f"model: {folder / MODEL} (from {provenance['model_from']})")
    answer(f"report: {folder / 'report.html'}")
    return 0


def _prompted(
    recipe: PromptRecipe,
    data: list[str],
    out: Path,
    resume: bool,
    cache: Path | None,
    offline: Path | None,
    as_json: bool,
) -> int:
    """A run of a decoder on boxes, or of a network as it came, and its figures in a few lines."""
    from tumorscope.cli._extras import need_training

    need_training()
    from tumorscope.training.prompt_decoder_run import ENGINE, train

    options: dict[str, Any] = {"resume": resume, "cache_folder": cache, "offline": offline}
    options |= {"progress": sys.stderr.isatty(), "command": "tumorscope " + " ".join(sys.argv[1:])}
    folder = train(recipe, [*data], out, **options)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    model = str(folder / ENGINE) if recipe.phases else None
    if as_json:
        answer_json({"run": str(folder), "engine": model, "recipe": recipe.name, **metrics})
        return 0
    if metrics["masks"]:
        answer(metrics["masks"]["sentence"])
    if model:
        answer(f"engine: {model} (a checkpoint of {recipe.model.network})")
    answer(f"report: {folder / 'report.html'}")
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
