"""``tumorscope audit``: what in the data would spoil a result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json, Out


def audit(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA", help="Folders or manifests; each becomes a data set of its own.")
    ],
    out: Out,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where measurements are kept; OUT/cache by default.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that read at once.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    as_json: Json = False,
) -> int:
    """Look for copies, leaks, shortcuts and errors before believing a number.

    Writes OUT/report.html, OUT/audit.json and OUT/clean.parquet: a manifest with the group that each scan
    must be split by, and which copies to drop. Nothing in DATA is changed. Exit code 3: some scans could
    not be read.

    \b
    Examples
      tumorscope audit scans/ -o audit
      tumorscope audit Training/ Testing/ -o audit
      tumorscope audit manifest.parquet other_set/ -o audit --json
    """  # noqa: D301
    from tumorscope.audit.run import audit as run
    from tumorscope.cli._console import Steps
    from tumorscope.errors import Exit
    from tumorscope.report.audit import write_audit

    with Steps() as steps:
        found = run([*data], cache=cache or out / "cache", workers=workers, seed=seed, progress=steps.at)
    report = write_audit(found, out, "tumorscope " + " ".join(sys.argv[1:]))
    failed = found.measured.table["problem"].is_not_null().any()
    if as_json:
        answer_json({"out": str(out), "report": str(report), **found.to_dict()})
    else:
        for sentence in found.headlines():
            answer(sentence)
        answer(f"report: {report}")
    return Exit.PARTIAL if failed else Exit.OK
