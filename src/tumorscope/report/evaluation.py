"""The report of an evaluation: what a model is worth on scans with a truth, sentence by sentence, with its curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tumorscope.evaluation.evaluate import Evaluation
from tumorscope.evaluation.mask_summary import MaskSummary
from tumorscope.io import atomic
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document

MAIN = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "macro_f1", "accuracy")
LEAD = 3  # metrics named at the top
SIZE = (4.2, 3.8)  # inches


def write_evaluation(
    found: Evaluation,
    out: Path,
    masks: MaskSummary | None = None,
    seen: int = 0,
    command: str = "",
    own: dict[str, Any] | None = None,
) -> Path:
    """``out/report.html``, with ``metrics.json`` and ``metrics.csv`` beside it.

    Parameters
    ----------
    found : Evaluation
    out : Path
        A folder; made where it is missing.
    masks : MaskSummary or None
        Of the masks, where scans have true ones.
    seen : int
        Scans left out because the model was trained on them.
    command : str
        What was typed.
    own : dict or None
        `Evaluation.to_dict` of the model's own test, where these scans come from elsewhere.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    values: dict[str, Any] = {**found.to_dict(), "seen_in_training": seen}
    if masks is not None:
        values["masks"] = {"sentence": masks.sentence(), "figures": masks.table.to_dicts()}
    drop = _drop(found, own) if own else []
    if drop:
        values["own_test"] = {"sentence": drop[0].sentences[0], "metrics": own["metrics"] if own else []}
    with atomic(out / "metrics.json") as draft:
        draft.write_text(json.dumps(values, indent=2), encoding="utf-8")
    with atomic(out / "metrics.csv") as draft:
        found.table().write_csv(draft)
    return write_page(found, out / "report.html", masks, seen, command, drop)


def write_page(
    found: Evaluation,
    file: Path,
    masks: MaskSummary | None = None,
    seen: int = 0,
    command: str = "",
    more: Sequence[Section] = (),
) -> Path:
    """The page alone, with sections of the caller's behind its own; parameters as for `write_evaluation`."""
    sections = [_metrics(found), *_curves(found), *_slices(found), *_masks(masks), *more]
    lead = [found.sentences()[0], *([seen_sentence(seen)] if seen else []), *found.notes]
    lead += [found[name].sentence() for name in MAIN if name in found.results][:LEAD]
    facts = {"scans": found.scans, "groups": found.groups, "threshold": found.threshold, "command": command}
    return write_document(file, f"How good it is: {Path(found.name).name}", lead, sections, facts)


def _drop(found: Evaluation, own: dict[str, Any]) -> list[Section]:
    """How these scans compare with the model's own test."""
    before = {row["metric"]: row for row in own["metrics"] if row["value"] is not None}
    shared = [name for name in MAIN if name in found.results and name in before]
    if not shared:
        return []
    rows = []
    for name in shared:
        here, there = found[name].interval, before[name]
        rows.append(
            (there["title"], there["value"], there["low"], there["high"], here.value, here.low, here.high,
             here.value - there["value"])
        )  # fmt: skip
    first = rows[0]
    said = (
        f"{first[0]} is {first[4]:.3f} on these {found.scans} scans and {first[1]:.3f} on the {own['scans']} scans "
        f"of the run's own test: a difference of {first[7]:+.3f}."
    )
    columns = ("metric", "own test", "low", "high", "here", "low", "high", "difference")
    return [Section("Against its own test", [said], [Table(columns, rows, "With 95 % intervals over groups")])]


def seen_sentence(seen: int) -> str:
    """That scans were left out because the model knows them."""
    return f"{seen} scans were left out: the model was trained on them, and would be asked what it remembers."


def _metrics(found: Evaluation) -> Section:
    rows = [
        (row["title"], row["value"], row["low"], row["high"], row["trivial"], row["reason"] or "")
        for row in found.table().iter_rows(named=True)
    ]
    columns = ("metric", "value", "low", "high", "without skill", "why unknown")
    names = list(found.counts)
    told = [[name, *map(int, row)] for name, row in zip(names, found.confusion.tolist(), strict=True)]
    tables = [
        Table(("truth", *(f"called {name}" for name in names)), told, "Answers"),
        Table(columns, rows, "All metrics, with 95 % intervals over groups"),
    ]
    sentences = [one.sentence() for name, one in found.results.items() if " of " not in name]
    return Section("Metrics", sentences, tables)


def _curves(found: Evaluation) -> list[Section]:
    figures: list[Figure] = []
    sentences: list[str] = []
    if found.roc is not None and not np.isnan(found.roc.sensitivity).any():
        figures.append(Figure(_line(1 - found.roc.specificity, found.roc.sensitivity, "false alarms", "found"), "ROC"))
        sentences.append(found.roc.sentence())
    if found.reliability is not None:
        one = found.reliability
        figures.append(Figure(_diagram(one), "Stated probability against what came true; bars are intervals"))
        sentences.append(one.sentence())
    if found.risk_coverage is not None:
        sentences.append(found.risk_coverage.sentence())
    for calibrator, after in found.calibrated.values():
        sentences.append(f"{calibrator.sentence()} Here it brings the calibration error to {after.ece:.3f}.")
    if found.coverage is not None:
        sentences.append(found.coverage.sentence())
    return [Section("Curves and calibration", sentences, (), figures)] if sentences else []


def _slices(found: Evaluation) -> list[Section]:
    rows = []
    for one in found.subgroups.slices:
        own = (one.column, one.value, one.scans, one.groups, str(one.auc))
        rows += [(*own, recall.label, str(recall.inside), recall.outside.value) for recall in one.recalls]
    columns = ("column", "value", "scans", "groups", "AUC", "of class", "answered rightly", "elsewhere")
    tables = [Table(columns, rows, "Slices of the data")] if rows else []
    return [Section("Who is served badly", found.subgroups.sentences(), tables, alarm=bool(found.subgroups.worse))]


def _masks(masks: MaskSummary | None) -> list[Section]:
    if masks is None:
        return []
    shown = masks.table.select("by", "stratum", "figure", "value", "low", "high", "scans", "rule").rows()
    columns = ("by", "of", "figure", "value", "low", "high", "scans", "where a mask is empty")
    return [Section("Masks", [masks.sentence()], [Table(columns, shown, "Overlap and outlines")])]


def _line(x: Any, y: Any, across: str, up: str) -> Any:
    figure, axes = chart(*SIZE)
    axis = axes[0, 0]
    axis.plot(x, y, color="#1d4ed8", linewidth=1.8, drawstyle="steps-post")
    axis.plot((0, 1), (0, 1), color="0.7", linestyle=":")
    axis.set(xlabel=across, ylabel=up, xlim=(0, 1), ylim=(0, 1.01))
    return drawn(figure)


def _diagram(one: Any) -> Any:
    figure, axes = chart(*SIZE)
    axis = axes[0, 0]
    axis.plot((0, 1), (0, 1), color="0.7", linestyle=":")
    ends = np.maximum(np.stack([one.observed - one.low, one.high - one.observed]), 0)
    axis.errorbar(one.stated, one.observed, yerr=ends, fmt="o", color="#1d4ed8", markersize=4, linewidth=1)
    axis.set(xlabel="stated probability", ylabel="came true", xlim=(0, 1), ylim=(0, 1.01))
    return drawn(figure)
