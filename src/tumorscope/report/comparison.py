"""Several models on the same scans: one table with intervals, which differences are real, curves over each other."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.paired import PairedTests, compare_models
from tumorscope.evaluation.predictions import Predictions
from tumorscope.io import atomic
from tumorscope.report import reference
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.mask_comparison import MaskComparison, compare_mask_runs, prompted

FILES = ("predictions.parquet", "predictions.csv")
SHOWN = ("roc_auc", "pr_auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "mcc", "binary_iou")
SHOWN_OF_SEVERAL = ("macro_roc_auc", "balanced_accuracy", "accuracy", "macro_f1", "mcc")
LEARNT = (
    ("training accuracy", "train_accuracy"),
    ("validation accuracy", "val_accuracy"),
    ("training F1", "train_f1"),
    ("validation F1", "val_f1"),
    ("training IoU", "train_iou"),
    ("validation IoU", "val_iou"),
    ("validation AUC", "val_auc"),
)
HELD = ("accuracy", "f1", "binary_iou", "roc_auc")
BESIDE = (
    "Training scans taught the model and validation scans picked its epoch, so both flatter it; only scans that did "
    "neither say what it is worth."
)
LEARNING = (
    "train_loss",
    "val_loss",
    "train_auc",
    "val_auc",
    "val_dice",
    "val_auc_evidence",
)  # columns of metrics.csv drawn


@dataclass(frozen=True)
class Comparison:
    """Each model's evaluation by its name, the paired tests, and the page and Markdown table that were written."""

    models: dict[str, Evaluation]
    tests: PairedTests
    report: Path
    markdown: Path


def compare(
    subjects: list[str | Path],
    out: Path,
    *,
    data: list[str | Path] | None = None,
    metric: str | None = None,
    against: str | None = None,
    rounds: int = 2000,
    command: str = "",
) -> Comparison | MaskComparison:
    """The comparison of runs or files of predictions, as ``report.html``, ``table.md`` and ``comparison.json``.

    Where one of them is a run of a promptable network, which is told where the tumour is, masks are compared instead:
    see `mask_comparison`.

    Parameters
    ----------
    subjects : list of path
        Two or more: run folders with ``predictions.parquet``, folders that `evaluate` or `predict` wrote, or tables.
    out : Path
        A folder; made where it is missing.
    data : list of path or None
        Folders or manifests with the truth, for tables that have none.
    metric : str or None
        What decides; the AUC by default.
    against : str or None
        Name of the model that the others are compared with; every pair by default.
    rounds : int
        Of the bootstrap.
    command : str
        What was typed.

    Raises
    ------
    DataError
        For fewer than two models, or models of other scans or classes.
    OutputError
        If a file cannot be written.
    """
    if len(subjects) < 2:
        raise DataError(f"compare: {len(subjects)} model was given; give two or more runs or files of predictions")
    names = _names(subjects)
    if prompted(subjects):
        return compare_mask_runs(names, subjects, out, against=against, rounds=rounds, command=command)
    truth = manifest.load(list(data)) if data else None
    given = {name: Predictions.read(_file(Path(one)), truth) for name, one in zip(names, subjects, strict=True)}
    tests = compare_models(given, metric=metric, reference=against, rounds=rounds)
    found = {name: evaluate_predictions(one, rounds=rounds) for name, one in given.items()}
    rows = _rows(found)
    learnt = _learnt(names, subjects, found)
    markdown = out / "table.md"
    with atomic(markdown) as draft:
        draft.write_text(_markdown(rows, learnt, tests), encoding="utf-8")
    values = {"models": {name: one.to_dict() for name, one in found.items()}, "pairs": tests.table().to_dicts()}
    with atomic(out / "comparison.json") as draft:
        draft.write_text(json.dumps(values, indent=2), encoding="utf-8")
    sections = [_table(rows), _differences(tests), *_beside(learnt), *_curves(found), *_learning(names, subjects)]
    sections.append(_reference())
    facts = {"models": len(found), "scans": max(one.scans for one in found.values()), "command": command}
    report = write_document(out / "report.html", "Which is better", tests.sentences()[:6], sections, facts)
    return Comparison(found, tests, report, markdown)


def _names(subjects: list[str | Path]) -> list[str]:
    """A short name of each, its folder in front where two are alike."""
    paths = [Path(one).resolve() for one in subjects]
    short = [path.parent.name if path.name in FILES else path.stem if path.suffix else path.name for path in paths]
    count = Counter(short)
    names = [f"{path.parent.name}/{name}" if count[name] > 1 else name for path, name in zip(paths, short, strict=True)]
    if len(set(names)) < len(names):
        raise DataError(f"compare: two models are called '{Counter(names).most_common(1)[0][0]}'; rename a folder")
    return names


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: holds no predictions.parquet; finish the training, or name a folder that evaluate wrote")


def _rows(found: dict[str, Evaluation]) -> list[tuple[str, ...]]:
    """A row a model, the first the headings."""
    first = next(iter(found.values()))
    shown = [name for name in (SHOWN if first.roc is not None else SHOWN_OF_SEVERAL) if name in first.results]
    titles = [first.table().filter(pl.col("metric") == name)["title"][0] for name in shown]
    rows: list[tuple[str, ...]] = [("model", "scans", "groups", *titles)]
    for name, one in found.items():
        rows.append((name, str(one.scans), str(one.groups), *(str(one[key].interval) for key in shown)))
    trivial = [first[key].trivial for key in shown]
    rows.append(("without skill", "", "", *("" if np.isnan(value) else f"{value:.3f}" for value in trivial)))
    return rows


def _learnt(names: list[str], subjects: list[str | Path], found: dict[str, Evaluation]) -> list[tuple[str, ...]]:
    """Training, validation and held-out figures of the runs that kept them, in the reference's columns."""
    rows: list[tuple[str, ...]] = []
    for name, one in zip(names, subjects, strict=True):
        file = Path(one) / "metrics.json"
        kept = json.loads(file.read_text(encoding="utf-8")).get("learning") if file.is_file() else None
        if kept:
            results = found[name].results
            held = [results.get(key) for key in HELD]
            figures = [kept.get(key) for _, key in LEARNT] + [
                None if key is None else key.interval.value for key in held
            ]
            rows.append((name, *("" if value is None else f"{value:.3f}" for value in figures)))
    titles = (
        "model",
        *(title for title, _ in LEARNT),
        *(f"held-out {key}" for key in ("accuracy", "F1", "IoU", "AUC")),
    )
    return [titles, *rows] if rows else []


def _beside(learnt: list[tuple[str, ...]]) -> list[Section]:
    if not learnt:
        return []
    return [Section("Training, validation, held out", [BESIDE], [Table(learnt[0], learnt[1:])])]


def _markdown(rows: list[tuple[str, ...]], learnt: list[tuple[str, ...]], tests: PairedTests) -> str:
    lines = _marked(rows)
    said = [f"- {one}" for one in tests.sentences()]
    more = [BESIDE, "", *_marked(learnt), ""] if learnt else []
    return "\n".join([*lines, "", "Intervals are 95 %, over groups.", "", *said, "", *more])


def _marked(rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table, the first row its headings."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _table(rows: list[tuple[str, ...]]) -> Section:
    said = ["Each model on the scans that it answered, with 95 % intervals over groups"]
    return Section("All models", said, [Table(rows[0], rows[1:])])


def _differences(tests: PairedTests) -> Section:
    columns = ("first", "second", "difference", "low", "high", "p", "corrected p", "McNemar p", "real")
    rows = []
    for pair in tests.pairs:
        span, real = pair.bootstrap.interval, "yes" if pair.real else "no"
        numbers = (span.value, span.low, span.high, pair.bootstrap.p, pair.corrected, pair.mcnemar.p)
        rows.append((pair.first, pair.second, *numbers, real))
    shown = Table(columns, rows, "Pairs, matched scan by scan")
    return Section("Which differences are real", tests.sentences(), [shown])


def _curves(found: dict[str, Evaluation]) -> list[Section]:
    curves = {name: one.roc for name, one in found.items() if one.roc is not None}
    if not curves:
        return []
    figure, axes = chart(5.4, 4.4)
    axis = axes[0, 0]
    for name, roc in curves.items():
        axis.plot(1 - roc.specificity, roc.sensitivity, drawstyle="steps-post", label=name, linewidth=1.5)
    axis.plot((0, 1), (0, 1), color="0.7", linestyle=":")
    axis.set(xlabel="false alarms", ylabel="found", xlim=(0, 1), ylim=(0, 1.01))
    axis.legend(fontsize=8)
    return [Section("Curves", ["The same scans, every threshold"], (), [Figure(drawn(figure), "ROC of each model")])]


def _learning(names: list[str], subjects: list[str | Path]) -> list[Section]:
    """How the runs learnt, where they kept metrics.csv."""
    tables = {
        name: pl.read_csv(Path(one) / "metrics.csv")
        for name, one in zip(names, subjects, strict=True)
        if (Path(one) / "metrics.csv").is_file()
    }
    tables = {name: table for name, table in tables.items() if "epoch" in table.columns}
    keys = [key for key in LEARNING if any(key in table.columns for table in tables.values())]
    figures = []
    for key in keys:
        figure, axes = chart(5.4, 3.2)
        axis = axes[0, 0]
        for name, table in tables.items():
            if key in table.columns:
                axis.plot(table["epoch"], table[key], label=name, linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=key.replace("_", " "))
        axis.legend(fontsize=8)
        figures.append(Figure(drawn(figure), f"{key.replace('_', ' ')} by epoch"))
    return [Section("Learning curves", ["As far as the runs kept them"], (), figures)] if figures else []


def _reference() -> Section:
    tables = [
        Table(reference.COLUMNS, reference.CLASSIFIERS, "The reference's classifiers"),
        Table(reference.COLUMNS, reference.SEGMENTERS, "The reference's segmenters, scored by pixel"),
    ]
    return Section("Beside the reference", [reference.WHY, reference.WHY_MASKS], tables)
