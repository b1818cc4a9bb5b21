"""``tumorscope balance``: even classes on the training side."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json
from tumorscope.cli.split import Fold, lines
from tumorscope.errors import DataError, OutputError


class Method(StrEnum):
    """How classes are made even."""

    OVER = "over"
    UNDER = "under"
    WEIGHTS = "weights"


def balance(
    data: Annotated[str, typer.Argument(metavar="MANIFEST", help="A manifest with a split (tumorscope split).")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="Manifest to write, .parquet or .csv; optional for weights."),
    ] = None,
    method: Annotated[
        Method,
        typer.Option("--method", help="Repeat rows of small classes, leave out rows of large ones, or weigh them."),
    ] = Method.OVER,
    by: Annotated[str, typer.Option("--by", metavar="COLUMN", help="Column of the class.")] = "label",
    fold: Fold = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number, another choice of rows.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    as_json: Json = False,
) -> int:
    """Make classes even on the training side; validation and test keep the mixture they have.

    `over` repeats rows (ID-r1 with ID as its parent, the same file), `under` leaves rows out, whole
    groups first, `weights` fills the column `weight`.

    \b
    Examples
      tumorscope balance split.parquet -o balanced.parquet
      tumorscope balance split.parquet -o balanced.parquet --method under --by tumor_type
      tumorscope balance split.parquet --method weights --json
    """  # noqa: D301
    from tumorscope.datasets import balance as tools
    from tumorscope.datasets import manifest, sides

    if out is None and method is not Method.WEIGHTS:
        raise DataError(f"balance: --method {method} makes another manifest; name it with -o OUT")
    if out is not None and out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; give another -o, or add --overwrite to replace it")
    table = sides.training_side(manifest.load(data), fold)
    weights = {str(value): round(weight, 6) for value, weight in tools.class_weights(table, by).items()}
    if method is Method.OVER:
        made = tools.oversample(table, by, seed=seed)
    elif method is Method.UNDER:
        made = tools.undersample(table, by, seed=seed)
    else:
        made = tools.weigh(table, by)
    if out is not None:
        manifest.write(made, out)
    before, after = sides.tally(table), sides.tally(made)
    if as_json:
        facts = {
            "out": None if out is None else str(out),
            "method": str(method),
            "by": by,
            "weights": weights if method is Method.WEIGHTS else None,
            "before": [asdict(part) for part in before],
            "split": [asdict(part) for part in after],
        }
        answer_json(facts)
        return 0
    if method is Method.WEIGHTS:
        for value, weight in weights.items():
            answer(f"{by} {value}: weight {weight:g}")
    else:
        answer(lines("before", before))
        answer(lines("after", after))
    if out is not None:
        answer(f"manifest: {out}")
    return 0
