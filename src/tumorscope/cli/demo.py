"""``tumorscope demo``: the whole path on made-up scans, offline, or on the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import Watch, answer, complain, describe
from tumorscope.cli._options import Model


def demo(
    folder: Annotated[
        Path | None, typer.Option("--input", metavar="DIR", help="Your own scans instead of the made-up ones.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for the results; replaced if it holds some.")
    ] = Path("tumorscope-demo"),
    model: Model = None,
) -> int:
    """Show what tumorscope does: made-up scans, predictions, a report. Offline.

    The last line is the path of the report; open it in a browser.

    \b
    Examples
      tumorscope demo
      tumorscope demo --input my-scans -o my-results
    """  # noqa: D301
    from tumorscope.report.predictions import predict

    if folder is None:
        from tumorscope.datasets.phantom import write_demo

        folder = out / "scans"
        written = write_demo(folder)
        answer(f"made {len(written)} scans by computation, no patient among them: {folder}")
    with Watch("predicting") as watch:
        summary = predict([folder], out, model=model, overwrite=True, watch=watch.start)
    if summary.interrupted:
        complain(f"stopped by Ctrl-C after {summary.ok + summary.failed} of {summary.total} scans; run it again")
    answer(describe(summary))
    answer("research software, not a medical device; the report:")
    answer(str((out / "report.html").absolute()))
    return summary.exit_code
