"""The page of a classifier's run: how good it is, how it learnt, what it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.evaluation.evaluate import Evaluation
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.evaluation import write_page
from tumorscope.training import engine
from tumorscope.training.classifier_recipe import ClassifierRecipe

CURVES = ("loss", "auc", "accuracy")


def write_report(recipe: ClassifierRecipe, run: Path, found: Evaluation | None, command: str = "") -> Path:
    """``run/report.html`` of a finished run.

    Parameters
    ----------
    recipe : ClassifierRecipe
    run : Path
    found : Evaluation or None
        Of the scans that taught and chose nothing; None where there are none.
    command : str
        What was typed.
    """
    more = [_learning(run), _model(recipe, run)]
    if found is not None:
        return write_page(found, run / "report.html", command=command, more=more)
    lead = ["No scan was held out for a test, so nothing can be said of how good this model is on new scans."]
    return write_document(run / "report.html", recipe.name, lead, more, {"command": command})


def _learning(run: Path) -> Section:
    table = pl.read_csv(run / "metrics.csv")
    figures = []
    for name in CURVES:
        figure, axes = chart(5.4, 3.0)
        axis = axes[0, 0]
        for part, words in (("train", "training scans, changed at random"), ("val", "validation scans")):
            if f"{part}_{name}" in table.columns:
                axis.plot(table["epoch"], table[f"{part}_{name}"], label=words, linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend(fontsize=8)
        figures.append(Figure(drawn(figure), f"{name} by epoch"))
    folds = int(table["folds"].max() or 1)  # type: ignore[arg-type]
    said = [f"Mean over the {folds} folds that ran each epoch" if folds > 1 else "One model"]
    return Section("How it learnt", said, (), figures)


def _model(recipe: ClassifierRecipe, run: Path) -> Section:
    record: dict[str, Any] = engine.read_json(run / "provenance.json", {})
    chosen = recipe.input
    seen = {"none": "grey values", "kmeans": "colours of k-means clusters", "watershed": "colours of watershed regions"}
    rows = [
        ("backbone", recipe.model.backbone),
        ("initial weights", record["initial_weights"]),
        ("head", ", ".join(recipe.model.head) or "none"),
        ("input", f"{chosen.size} px, {seen[chosen.colors]}" + (", MUSICA" if chosen.enhance == "musica" else "")),
        ("classes of unequal size", recipe.data.balance),
        ("epoch picked by", f"validation {recipe.fit.monitor}"),
        ("model.onnx comes from", record["model_from"]),
        ("seed, precision", f"{record['seed']}, {record['precision']}"),
    ]
    columns = ("fold", "best epoch", "epochs", "training", "validation", "test", f"validation {recipe.fit.monitor}")
    folds = [
        (name, one["best_epoch"], one["epochs"], *one["scans"].values(), one["validation"])
        for name, one in record["folds"].items()
    ]
    return Section("What it is", [], [Table(("", ""), rows), Table(columns, folds)])
