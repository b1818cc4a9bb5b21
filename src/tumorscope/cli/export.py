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
    fold: Annotated[
        str | None, typer.Option("--fold", metavar="NAME", help="Another fold than the best, such as r0f3.")
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Join all folds: the mean of their probabilities.")
    ] = False,
    gate: Annotated[
        Path | None, typer.Option("--gate", help="Of a detector: a fitted gate (JSON) to put into the bundle.")
    ] = None,
    half: Annotated[bool, typer.Option("--half/--full", help="Store weights in 16 or in 32 bits.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> int:
    """Write a bundle: the network as ONNX, calibrated on the run's validation scans.

    Of a run with folds it is the one that did best on its own validation scans, another one, or all of them
    joined; a joined bundle counts every scan of the run as seen in training. A run of `click` becomes a folder
    of two files, which `annotate --checkpoint click=FOLDER` takes.

    \b
    Examples
      tumorscope export run -o model.onnx
      tumorscope export run -o r0f3.onnx --fold r0f3
      tumorscope export run -o joined.onnx --ensemble
    """  # noqa: D301
    from tumorscope.cli._extras import need_training

    need_training()
    model = _write(run, out, fold, ensemble, gate, half)
    if as_json:
        size = sum(file.stat().st_size for file in ([model] if model.is_file() else model.glob("*.onnx")))
        answer_json({"run": str(run), "model": str(model), "bytes": size})
    else:
        answer(str(model))
    return 0


def _write(run: Path, out: Path, fold: str | None, ensemble: bool, gate: Path | None, half: bool) -> Path:
    """The bundle of a run of any task; an option that this task does not have is an error."""
    from tumorscope.errors import BundleError
    from tumorscope.training.recipe import load

    if not (run / "recipe.toml").is_file():
        raise BundleError(f"{run}: is no run (recipe.toml is missing); name a folder that tumorscope train wrote")
    task: str = load(run / "recipe.toml").task
    taken = {
        "classify": {"--fold", "--ensemble", "--full"},
        "segment": {"--fold", "--ensemble"},
        "detect-segment": {"--gate", "--full"},
        "click": {"--full"},
    }
    if task not in taken:
        raise BundleError(f"{run}: a run of the task {task} has no bundle; export runs of {', '.join(taken)}")
    given = {"--fold": fold is not None, "--ensemble": ensemble, "--gate": gate is not None, "--full": not half}
    for option, is_given in given.items():
        if is_given and option not in taken[task]:
            raise BundleError(f"{run}: {option} is nothing for a run of the task {task}; leave it out")
    if task == "classify":
        from tumorscope.training.classifier_export import export as write_classifier

        return write_classifier(run, out, fold=fold, ensemble=ensemble, half=half)
    if task == "segment":
        from tumorscope.training.segmenter_export import export as write_segmenter

        return write_segmenter(run, out, fold=fold, ensemble=ensemble)
    if task == "click":
        from tumorscope.training.click_export import export as write_engine

        return write_engine(run, out, half=half)
    from tumorscope.training.export import export as write_detector

    statistics = json.loads(gate.read_text(encoding="utf-8")) if gate else None
    return write_detector(run, out, half=half, gate=statistics)
