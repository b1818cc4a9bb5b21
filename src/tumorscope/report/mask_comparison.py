"""Several models' masks on the same scans, for runs that say where a tumour is and not whether there is one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tumorscope.errors import DataError
from tumorscope.evaluation.mask_pairs import MaskTests, compare_masks
from tumorscope.evaluation.mask_summary import MaskSummary, summarise
from tumorscope.io import atomic
from tumorscope.report.document import Section, Table, write_document

MASKS, PREDICTIONS = "masks.parquet", "predictions.parquet"
SHOWN = ("dice", "iou", "surface_dice", "hd95")
TITLES = ("mean Dice", "mean IoU", "surface Dice", "HD95")


@dataclass(frozen=True)
class MaskComparison:
    """Each model's means by its name, the paired tests, and the page and Markdown table that were written."""

    models: dict[str, MaskSummary]
    tests: MaskTests
    report: Path
    markdown: Path


def prompted(subjects: Sequence[str | Path]) -> bool:
    """Whether one of the runs answered prompts, so that only masks can be compared."""
    return any(_prompted(Path(one)) for one in subjects)


def compare_mask_runs(
    names: Sequence[str],
    subjects: Sequence[str | Path],
    out: Path,
    *,
    against: str | None = None,
    rounds: int = 2000,
    command: str = "",
) -> MaskComparison:
    """The comparison of run folders with ``masks.parquet``, as ``report.html``, ``table.md``, ``comparison.json``.

    Parameters
    ----------
    names : sequence of str
        What the runs are called.
    subjects : sequence of path
        Run folders of segmenters and of promptable networks; an unprompted one is judged on its scans with a tumour.
    out : Path
    against : str or None
        Name of the model that the others are compared with; every pair by default.
    rounds : int
        Of the bootstrap.
    command : str
        What was typed.

    Raises
    ------
    DataError
        If a subject holds no scored masks, or two have no scan in common.
    """
    tables = {name: _scores(Path(one)) for name, one in zip(names, subjects, strict=True)}
    tests = compare_masks(tables, against=against, rounds=rounds)
    found = {name: summarise(table, rounds=rounds) for name, table in tables.items()}
    told = {name: "yes" if _prompted(Path(one)) else "no" for name, one in zip(names, subjects, strict=True)}
    rows = [(name, told[name], one.tumor, *(str(one.interval(key)) for key in SHOWN)) for name, one in found.items()]
    columns = ("model", "told where (box)", "scans with a tumour", *TITLES)
    cells = [columns, *(tuple(map(str, row)) for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    text = "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])
    said = "".join(f"- {one}\n" for one in tests.sentences())
    with atomic(out / "table.md") as draft:
        draft.write_text(f"{text}\n\nIntervals are 95 %, over groups.\n\n{said}", encoding="utf-8")
    values = {"models": {name: one.table.to_dicts() for name, one in found.items()}, "pairs": tests.table().to_dicts()}
    with atomic(out / "comparison.json") as draft:
        draft.write_text(json.dumps(values, indent=2), encoding="utf-8")
    hint = "A model that was told where the tumour is cannot be set against one that had to find it."
    sections = [
        Section("All models", ["Masks of scans with a tumour, with 95 % intervals over groups"], [Table(columns, rows)],
                hint=hint if len(set(told.values())) > 1 else ""),
        Section("Which differences are real", tests.sentences(), [_pairs(tests)]),
    ]  # fmt: skip
    facts = {"models": len(found), "command": command}
    report = write_document(out / "report.html", "Which masks are better", tests.sentences()[:6], sections, facts)
    return MaskComparison(found, tests, report, out / "table.md")


def _pairs(tests: MaskTests) -> Table:
    columns = ("first", "second", "scans", "difference", "low", "high", "p", "corrected p", "real")
    rows = [
        (one["first"], one["second"], one["scans"], one["difference"], one["low"], one["high"], one["p"],
         one["corrected_p"], "yes" if one["real"] else "no")
        for one in tests.table().to_dicts()
    ]  # fmt: skip
    return Table(columns, rows, "Pairs, matched scan by scan; Dice of the first less the second's")


def _prompted(run: Path) -> bool:
    file = run / PREDICTIONS
    return file.is_file() and any(name.startswith("dice_jitter") for name in pl.read_parquet_schema(file))


def _scores(run: Path) -> pl.DataFrame:
    file = run / MASKS
    if not file.is_file():
        raise DataError(
            f"{run}: holds no {MASKS}, and a prompted model can be compared by masks only; give its run folder"
        )
    return pl.read_parquet(file)
