"""``tumorscope explore``: a folder as pictures and tables."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit


def explore(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests.")],
    out: Out,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Scans shown, drawn from all classes.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that measure features.")] = 2,
    as_json: Json = False,
) -> int:
    """Show what scans look like: grey values, clusters, enhancement, regions, symmetry, features.

    Writes OUT/report.html, OUT/features.parquet (and .csv) with a row for every scan, and OUT/kmeans.csv
    with four indices over k for some of those shown. Exit code 3: some scans could not be read.

    \b
    Examples
      tumorscope explore scans/ -o explored
      tumorscope explore scans/ -o explored --sample 50 --seed 1
    """  # noqa: D301
    from tumorscope.cli._console import Steps
    from tumorscope.datasets import manifest
    from tumorscope.report.explore import explore as run

    typed = "tumorscope " + " ".join(sys.argv[1:])
    table = manifest.load([*data])
    with Steps() as steps:
        made = run(table, out, sample=sample, seed=seed, workers=workers, command=typed, progress=steps.at)
    if as_json:
        suggested = made.sweep.suggestion
        facts = {"out": str(out), "report": str(made.report), "scans": made.features.height, "k": suggested.k}
        answer_json({**facts, "failed": list(made.failed)})
    else:
        answer(str(made.sweep.suggestion))
        answer(f"report: {made.report}")
    return Exit.PARTIAL if made.failed else Exit.OK
