"""``tumorscope evaluate``: what a model's answers are worth."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tumorscope.cli._console import Watch, answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit


def evaluate(
    subject: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundle (.onnx), a run folder, or predictions (.csv, .parquet).")
    ],
    data: Annotated[
        list[str] | None, typer.Argument(metavar="DATA", help="Folders or manifests that hold the truth.")
    ] = None,
    out: Out = ...,  # type: ignore[assignment]
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="From which probability a scan is called a tumour.")
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--by", help="A column to slice by; may be given several times.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say how good a model is, with intervals by patient or group, and whom it serves badly.

    Scans that a bundle was trained on are left out and counted. Of a run on the data it was trained with, its
    own answers to the scans that it held out are judged; on other data its model is, and the drop is shown.
    Writes OUT/report.html, OUT/metrics.json and OUT/metrics.csv, and a bundle's predictions and masks. Exit
    code 3: some scans could not be predicted.

    \b
    Examples
      tumorscope evaluate model.onnx external/ -o judged
      tumorscope evaluate run scans/ -o judged
      tumorscope evaluate predictions.csv manifest.parquet -o judged
      tumorscope evaluate anyones_predictions.csv -o judged --by plane --by source
    """  # noqa: D301
    from tumorscope.report.assessment import assess
    from tumorscope.report.evaluation import seen_sentence

    typed = "tumorscope " + " ".join(sys.argv[1:])
    with Watch("predicting") as watch:
        found = assess(
            subject, list(data or []), out, threshold=threshold, slices=slices, command=typed, watch=watch.start
        )
    if as_json:
        facts = {"out": str(out), "report": str(found.report), "seen_in_training": found.seen, "failed": found.failed}
        masks = None if found.masks is None else found.masks.sentence()
        answer_json({**facts, **found.evaluation.to_dict(), "masks": masks})
    else:
        for sentence in found.evaluation.sentences()[:8]:
            answer(sentence)
        if found.seen:
            answer(seen_sentence(found.seen))
        if found.masks is not None:
            answer(found.masks.sentence())
        answer(f"report: {found.report}")
    return Exit.PARTIAL if found.failed else Exit.OK
