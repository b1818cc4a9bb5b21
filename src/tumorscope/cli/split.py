"""``tumorscope split``: parts or folds that cut no group."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorscope.cli._console import answer, answer_json, complain
from tumorscope.cli._options import Json
from tumorscope.errors import DataError, OutputError

if TYPE_CHECKING:
    import polars as pl

    from tumorscope.datasets.sides import Part

TRAIN, VAL, TEST = 0.8, 0.1, 0.1  # shares when none is given

Fold = Annotated[int | None, typer.Option("--fold", min=0, help="The fold held out, of a manifest in folds.")]
"""The option of the commands that work on one side of a split."""


def split(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests (.parquet, .csv).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Manifest to write, .parquet or .csv.")],
    train: Annotated[float | None, typer.Option("--train", help="Share for training; what the others leave.")] = None,
    val: Annotated[
        float | None, typer.Option("--val", help=f"Share for validation; {VAL} when no share is given.")
    ] = None,
    test: Annotated[
        float | None, typer.Option("--test", help=f"Share for the test; {TEST} when no share is given.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Folds instead of parts; with --test, of what the test leaves.")
    ] = None,
    by_patient: Annotated[
        bool, typer.Option("--by-patient", help="Refuse data in which a scan names no patient.")
    ] = False,
    blocks: Annotated[
        list[str] | None,
        typer.Option("--blocks", metavar="SOURCE", help="A source numbered by patient: split it in runs of numbers."),
    ] = None,
    block: Annotated[int | None, typer.Option("--block", min=1, help="Numbers in one run; 40 by default.")] = None,
    gap: Annotated[
        int | None, typer.Option("--gap", min=0, help="Numbers left out between two parts; 20 by default.")
    ] = None,
    stratify: Annotated[
        list[str] | None,
        typer.Option("--stratify", metavar="COLUMN", help="Columns to keep even; source and label by default."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number, another split.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Replace the split that the data come with.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    as_json: Json = False,
) -> int:
    """Deal scans out into parts or folds; what belongs together stays together.

    Scans of one patient or case, near-copies, and what was made from one scan never stand on two
    sides. Data whose split cuts such a group are refused, with the group's name.

    \b
    Examples
      tumorscope split scans/ -o split.parquet
      tumorscope split scans/ more/ -o split.parquet --val 0.15 --test 0.15
      tumorscope split scans/ -o folds.parquet --folds 5 --test 0.2
      tumorscope split cheng/ healthy/ -o split.parquet --blocks cheng --block 60 --gap 10
    """  # noqa: D301
    from tumorscope.datasets import manifest, sides

    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; give another -o, or add --overwrite to replace it")
    table = _without_split(manifest.load([*data]), again)
    if by_patient:
        sides.need_patients(table)
    shares = None if folds else _shares(train, val, test)
    if folds and (train is not None or val is not None):
        raise DataError("folds: each is held out in turn, which leaves no --train and no --val; give --test alone")
    dealt = _deal(table, shares, folds, test or 0.0, blocks or [], block, gap, stratify, seed)
    dealt = sides.without_held_out_copies(dealt)
    manifest.write(dealt, out)
    copies = dealt.height - dealt["parent_id"].null_count()
    if copies:
        complain(f"{copies} scans are copies of others (parent_id): they may be trained with, and are never held out")
    unused = (dealt["split"].is_null() & dealt["fold"].is_null()).sum()
    parts = {name: sides.tally(dealt, name) for name in ("split", "fold") if dealt[name].null_count() < dealt.height}
    if as_json:
        listed = {name: [asdict(part) for part in found] for name, found in parts.items()}
        answer_json({"out": str(out), "scans": dealt.height, "unused": unused, "seed": seed, **listed})
    else:
        for name, found in parts.items():
            answer(lines(name, found))
        answer(f"manifest: {out}")
    return 0


def _without_split(table: pl.DataFrame, again: bool) -> pl.DataFrame:
    """The manifest without split and fold; one that comes with either is refused unless it is to be replaced."""
    import polars as pl

    from tumorscope.datasets import splits

    there = [name for name in ("split", "fold") if table[name].null_count() < table.height]
    if there and not again:
        splits.check(table)
        found = ", ".join(sorted(str(name) for name in table[there[0]].drop_nulls().unique().to_list()))
        raise DataError(f"{there[0]}: the data are split already ({found}); add --again to split them anew")
    return table.with_columns(split=pl.lit(None, pl.String), fold=pl.lit(None, pl.Int64))


def _shares(train: float | None, val: float | None, test: float | None) -> dict[str, float]:
    """Shares of the parts; training takes what the others leave, parts of share 0 are left out."""
    if train is None and val is None and test is None:
        return {"train": TRAIN, "val": VAL, "test": TEST}
    held_out = {"val": val or 0.0, "test": test or 0.0}
    left = 1 - sum(held_out.values()) if train is None else train
    return {"train": left} | {name: share for name, share in held_out.items() if share}


def _deal(
    table: pl.DataFrame,
    shares: dict[str, float] | None,
    folds: int | None,
    test: float,
    blocks: list[str],
    block: int | None,
    gap: int | None,
    stratify: list[str] | None,
    seed: int,
) -> pl.DataFrame:
    from tumorscope.datasets import splits
    from tumorscope.datasets.numbering import BLOCK, GAP

    if not blocks and (block is not None or gap is not None):
        raise DataError("blocks: --block and --gap are for numbered sources; name them with --blocks SOURCE")
    run = BLOCK if block is None else block
    apart = GAP if gap is None else gap
    even = stratify or splits.BOTH
    if shares is None:
        return splits.cross_validation(
            table, folds or 0, test, ordered=blocks, block=run, gap=apart, seed=seed, stratify=even
        )
    return splits.by_source(table, shares, ordered=blocks, block=run, gap=apart, seed=seed, stratify=even)


def lines(title: str, parts: list[Part]) -> str:
    """A small table: one line a part with its scans, groups, patients, and the scans of each label."""
    names = sorted({name for part in parts for name in part.labels})
    rows = [[title, "scans", "groups", "patients", *names]]
    for part in parts:
        counts = [part.scans, part.groups, part.patients or "-", *(part.labels.get(name, 0) for name in names)]
        rows.append([part.name or "(none)", *map(str, counts)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
