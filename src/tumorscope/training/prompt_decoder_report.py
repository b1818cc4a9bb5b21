"""The page of a promptable segmenter's run: how good its masks are by how exact the box is, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.evaluation.mask_summary import MaskSummary
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.training import engine
from tumorscope.training.prompt_decoder_recipe import PromptRecipe
from tumorscope.training.segmenter_report import _sheets

CURVES = ("loss", "dice")
UNTRAINED = "Nothing was trained: these are the figures of the weights as they came (zero-shot)"
TOLD_WHERE = "A box tells the network where the tumour is; whether there is one was not asked"


def write_report(
    recipe: PromptRecipe,
    run: Path,
    found: MaskSummary | None,
    by_jitter: list[dict[str, Any]],
    scores: pl.DataFrame,
    command: str = "",
) -> Path:
    """``run/report.html`` of a finished run.

    Parameters
    ----------
    recipe : PromptRecipe
    run : Path
    found : MaskSummary or None
        Of the held-out scans; None where nothing was held out.
    by_jitter : list of dict
        Dice at each jitter of the box.
    scores : polars.DataFrame
        ``masks.parquet``.
    command : str
        What was typed.
    """
    lead = [TOLD_WHERE] if recipe.phases else [TOLD_WHERE, UNTRAINED]
    if found is None:
        lead.append("No scan was held out for a test, so nothing can be said of new scans")
    else:
        lead.insert(0, found.sentence())
    sections = [_jitters(by_jitter), *_sheets(run, scores), *_learning(run, recipe), _model(recipe, run)]
    return write_document(run / "report.html", recipe.name, lead, sections, {"command": command})


def _jitters(by_jitter: list[dict[str, Any]]) -> Section:
    rows = [(f"{100 * one['jitter']:g} %", one["dice"], one["low"], one["high"]) for one in by_jitter]
    said = [
        "Each side of the truth's box is off at random by up to a share of its length; the first row counts",
        "At 0 % the box is that of the truth, which no annotator draws: a bound, not a figure",
    ]
    columns = ("box off by up to", "mean Dice", "low", "high")
    return Section("How exact the box has to be", said, [Table(columns, rows, "Intervals are 95 %, by group")])


def _learning(run: Path, recipe: PromptRecipe) -> list[Section]:
    if not recipe.phases:
        return []
    table = pl.read_csv(run / "metrics.csv")
    figures = []
    for name in CURVES:
        figure, axes = chart(5.4, 3.0)
        axis = axes[0, 0]
        for part, words in (("train", "training slices, boxes grown"), ("val", "validation slices, boxes jittered")):
            axis.plot(table["epoch"], table[f"{part}_{name}"], label=words, linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend(fontsize=8)
        figures.append(Figure(drawn(figure), f"{name} by epoch"))
    return [Section("How it learnt", ["On the maps that the network makes, before they are enlarged"], (), figures)]


def _model(recipe: PromptRecipe, run: Path) -> Section:
    record = engine.read_json(run / "provenance.json", {})
    rows = [
        ("network", recipe.model.network),
        ("initial weights", record["initial_weights"]),
        ("what learns", "the mask decoder" if recipe.phases else "nothing"),
        ("loss", ", ".join(f"{weight:g} × {name}" for name, weight in recipe.loss.terms.items())),
        ("boxes in training", f"grown by 0 to {recipe.prompt.grow:g} px a side"),
        ("seed, precision", f"{record['seed']}, {record['precision']}"),
    ]
    columns = ("fold", "best epoch", "epochs", "training", "validation", "test", f"validation {recipe.fit.monitor}")
    folds = [
        (name, one["best_epoch"], one["epochs"], *one["scans"].values(), one["validation"])
        for name, one in record["folds"].items()
    ]
    return Section("What it is", [], [Table(("", ""), rows), Table(columns, folds, "Slices with a lesion")])
