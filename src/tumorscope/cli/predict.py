"""``tumorscope predict``: probability, decision, mask and measurements for each scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tumorscope.cli._console import Watch, answer, answer_json, complain, describe
from tumorscope.cli._options import Channel, Json, Model, Out, Workers

if TYPE_CHECKING:
    from tumorscope.inference.batch import Summary


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders, patterns, manifests (.csv, .parquet), DICOM folders."),
    ],
    out: Out,
    model: Model = None,
    channel: Channel = None,
    masks: Annotated[bool, typer.Option("--masks/--no-masks", help="Write OUT/masks.")] = True,
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write OUT/overlays.")] = True,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write OUT/report.html.")] = True,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that OUT holds already.")] = False,
    identifiers: Annotated[
        bool,
        typer.Option("--identifiers", help="Also write OUT/identifiers.csv with the patients named in DICOM files."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Say for each scan whether there is a tumour, and where.

    A scan that cannot be read becomes a row of OUT/predictions.csv with its error; the others are
    done. Exit code: 0 all well, 2 nothing usable, 3 some failed.

    \b
    Examples
      tumorscope predict scan.jpg -o results
      tumorscope predict scans/ more/*.nii.gz -o results
      tumorscope predict patient/dicom/ -o results --json
      tumorscope predict sequences.png -o results --channel 1
    """  # noqa: D301
    from tumorscope.report.predictions import predict as run

    with Watch("predicting") as watch:
        summary = run(
            inputs,
            out,
            model=model,
            channel=channel,
            masks=masks,
            overlays=overlays,
            report=report,
            workers=workers,
            overwrite=overwrite,
            identifiers=identifiers,
            watch=watch.start,
        )
    if summary.interrupted:
        done = f"{summary.ok + summary.failed} of {summary.total} scans, which are kept in {out}"
        complain(f"stopped by Ctrl-C after {done}; add --overwrite to do all of them again")
    if as_json:
        answer_json(_facts(summary, overlays=overlays, report=report, masks=masks))
    else:
        answer(describe(summary))
        answer(f"table: {out / 'predictions.csv'}")
        if report:
            answer(f"report: {out / 'report.html'}")
    return summary.exit_code


def _facts(summary: Summary, *, masks: bool, overlays: bool, report: bool) -> dict[str, Any]:
    return {
        "out": str(summary.out),
        "predictions": str(summary.out / "predictions.csv"),
        "masks": str(summary.out / "masks") if masks else None,
        "overlays": str(summary.out / "overlays") if overlays else None,
        "report": str(summary.out / "report.html") if report else None,
        "scans": summary.total,
        "ok": summary.ok,
        "failed": summary.failed,
        "skipped_files": summary.skipped,
        "decisions": dict(summary.decisions),
        "interrupted": summary.interrupted,
        "seconds": round(summary.seconds, 3),
    }
