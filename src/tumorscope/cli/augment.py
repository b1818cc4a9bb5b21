"""``tumorscope augment``: changed copies of training scans, bound to their parents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tumorscope.cli._console import Watch, answer, answer_json
from tumorscope.cli._options import Json, Out, Workers
from tumorscope.cli.split import Fold, lines
from tumorscope.errors import Exit


def augment(
    data: Annotated[str, typer.Argument(metavar="MANIFEST", help="A manifest with a split (tumorscope split).")],
    out: Out,
    copies: Annotated[int, typer.Option("--copies", min=1, help="Copies of each training scan.")],
    fold: Fold = None,
    rotation: Annotated[float, typer.Option("--rotation", help="Degrees, to either side.")] = 10.0,
    shift: Annotated[float, typer.Option("--shift", help="Share of width and height.")] = 0.05,
    shear: Annotated[float, typer.Option("--shear", help="Pixels sideways for each pixel down.")] = 0.05,
    zoom: Annotated[float, typer.Option("--zoom", help="Largest relative change of size.")] = 0.1,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror every second copy left to right.")] = True,
    brightness: Annotated[float, typer.Option("--brightness", help="Largest relative change of grey values.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number, other copies.")] = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> int:
    """Write changed copies of the training scans; validation and test stay as they are.

    OUT/manifest.parquet holds the given rows and the copies, each with its parent, in its group and
    on its side. Masks move with their images. The same command goes on where it was stopped. Exit
    code: 0 all well, 2 nothing usable, 3 some scans failed.

    \b
    Examples
      tumorscope augment split.parquet -o augmented --copies 4
      tumorscope augment split.parquet -o augmented --copies 2 --rotation 20 --no-flip
      tumorscope augment folds.parquet -o augmented-0 --copies 4 --fold 0
    """  # noqa: D301
    from tumorscope.datasets import manifest, sides
    from tumorscope.datasets.augment import augment as run
    from tumorscope.datasets.variation import Ranges

    ranges = Ranges(rotation, shift, shear, zoom, flip, brightness)
    with Watch("augmenting") as watch:
        table = manifest.load(data)
        made = run(table, out, copies, ranges=ranges, seed=seed, fold=fold, workers=workers or 2, progress=watch.count)
    if as_json:
        facts = {
            "out": str(out),
            "manifest": str(out / "manifest.parquet"),
            "scans": made.scans,
            "made": made.made,
            "kept": made.kept,
            "passed_over": made.passed_over,
            "failed": list(made.failed),
            "seed": seed,
            "ranges": asdict(ranges),
            "split": [asdict(part) for part in sides.tally(made.table)],
        }
        answer_json(facts)
    else:
        answer(made.sentence())
        answer(lines("split", sides.tally(made.table)))
        answer(f"manifest: {out / 'manifest.parquet'}")
    return Exit.PARTIAL if made.failed else Exit.OK
