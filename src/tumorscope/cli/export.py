"""``tumorscope export``: the bundle of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import answer, answer_json


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.onnx", help="The bundle to write.")],
    gate: Annotated[Path | None, typer.Option("--gate", help="A fitted gate (JSON) to put into the bundle.")] = None,
    half: Annotated[bool, typer.Option("--half/--full", help="Store weights in 16 or in 32 bits.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> int:
    """Write a bundle: the network as ONNX, calibrated and with thresholds chosen on the run's validation scans.

    \b
    Examples
      tumorscope export run -o model.onnx
    """  # noqa: D301
    from tumorscope.cli._extras import need_training

    need_training()
    from tumorscope.training.export import export as write

    statistics = json.loads(gate.read_text(encoding="utf-8")) if gate else None
    model = write(run, out, half=half, gate=statistics)
    if as_json:
        answer_json({"run": str(run), "model": str(model), "bytes": model.stat().st_size})
    else:
        answer(str(model))
    return 0
