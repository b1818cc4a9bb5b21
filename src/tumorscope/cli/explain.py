"""``tumorscope explain``: where a classifier looks, and whether that is the lesion."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tumorscope.cli._console import Watch, answer, answer_json
from tumorscope.cli._extras import need_training
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit


class Method(StrEnum):
    """How maps are made."""

    GRADCAM = "gradcam"
    GRADCAMPP = "gradcam++"
    OCCLUSION = "occlusion"


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a classifier's training.")],
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests (.parquet, .csv).")],
    out: Out,
    method: Annotated[
        Method, typer.Option("--method", help="Occlusion is the sharpest; it asks the network some 225 times a scan.")
    ] = (Method.GRADCAM),
    fold: Annotated[
        str | None, typer.Option("--fold", metavar="NAME", help="Ask this fold only, such as r0f2.")
    ] = None,
    scans: Annotated[int, typer.Option("--scans", min=0, help="Explain at most so many; 0 for all.")] = 50,
    named: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Explain this class; by default tumour, or the one said."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare some maps with those of random weights.")
    ] = True,
    as_json: Json = False,
) -> int:
    """Show where a classifier looks, in scans that it did not learn from, and whether it looks at the lesion.

    Scans of the run are explained by the fold that was tested on them, others by the fold of model.onnx; what
    the network learnt from is left out and counted. Writes OUT/maps/ID.png, OUT/sheet.png, OUT/explain.csv,
    OUT/explain.json and OUT/report.html. Exit code 3: some scans could not be read.

    \b
    Examples
      tumorscope explain run scans/ -o looked
      tumorscope explain run manifest.parquet -o looked --method gradcam++ --scans 0
      tumorscope explain run external/ -o looked --method occlusion --scans 12 --class glioma
    """  # noqa: D301
    need_training()
    from tumorscope.training.explain import explain as look
    from tumorscope.training.explain_report import facts_of, sentences

    typed = "tumorscope " + " ".join(sys.argv[1:])
    with Watch("explaining") as watch:
        found = look(
            run,
            [*data],
            out,
            method=method.value,
            fold=fold,
            scans=scans,
            named=named,
            check=check,
            command=typed,
            count=watch.count,
        )
    if as_json:
        answer_json({"out": str(out), "report": str(found.report), **facts_of(found)})
    else:
        for sentence in sentences(found):
            answer(sentence)
        answer(f"report: {found.report}")
    return Exit.PARTIAL if found.failed else Exit.OK
