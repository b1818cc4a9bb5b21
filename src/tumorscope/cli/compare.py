"""``tumorscope compare``: several models on the same scans."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, folders of evaluate, or tables of predictions.")
    ],
    out: Out,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Folder or manifest with the truth; may be given several times.")
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What decides; the AUC by default.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Compare with this model only, not every pair.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say which model is better, and which differences are real.

    Models are matched scan by scan; differences get intervals by group and are corrected for the number of
    pairs. Writes OUT/report.html, OUT/table.md and OUT/comparison.json.

    \b
    Examples
      tumorscope compare run_a run_b -o compared
      tumorscope compare a/predictions.csv b/predictions.csv --data manifest.parquet -o compared
      tumorscope compare classical resnet18 convnext --against classical -o compared
    """  # noqa: D301
    from tumorscope.report.comparison import compare as run

    typed = "tumorscope " + " ".join(sys.argv[1:])
    found = run([*runs], out, data=[*data] if data else None, metric=metric, against=against, command=typed)
    if as_json:
        pairs = found.tests.table().to_dicts()
        answer_json({"out": str(out), "report": str(found.report), "table": str(found.markdown), "pairs": pairs})
    else:
        for sentence in found.tests.sentences():
            answer(sentence)
        answer(f"table: {found.markdown}")
        answer(f"report: {found.report}")
    return Exit.OK
