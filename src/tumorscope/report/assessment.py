"""A bundle, or anyone's predictions, judged on scans with a truth: predict what it has not seen, then evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.mask_scores import evaluate_masks, pairs_of
from tumorscope.evaluation.mask_summary import MaskSummary, summarise
from tumorscope.evaluation.predictions import Predictions
from tumorscope.inference.batch import Sink
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.classes import CLASSES
from tumorscope.report.evaluation import write_evaluation
from tumorscope.report.predictions import predict

BUNDLE = ".onnx"
MODEL, OWN = "model.onnx", "predictions.parquet"
NONE = ("no_tumor", "notumor", "no tumor", "no", "normal", "healthy")  # other names of the class none


@dataclass(frozen=True)
class Assessment:
    """What was found: the evaluation, the masks', scans left out as seen in training, scans that failed, the page."""

    evaluation: Evaluation
    masks: MaskSummary | None
    seen: int
    failed: int
    report: Path


def assess(
    subject: str | Path,
    data: list[str | Path],
    out: Path,
    *,
    threshold: float | None = None,
    slices: list[str] | None = None,
    command: str = "",
    watch: Callable[[int], Sink] | None = None,
) -> Assessment:
    """The evaluation of a bundle, a run or a file of predictions, as ``out/report.html`` and ``out/metrics.json``.

    Parameters
    ----------
    subject : path
        A bundle (``.onnx``), a run folder with ``model.onnx`` or ``predictions.parquet``, or a table of predictions
        (``.csv``, ``.parquet``; see `evaluation.predictions.Predictions.of`). Of a run on data that it knows, its own
        answers to the scans it held out are judged; on other data its model is, and the page shows the difference.
    data : list of path
        Folders or manifests that hold the truth. A bundle needs them; a table may have the truth itself.
    out : Path
        A folder. A bundle's predictions and masks are kept in it.
    threshold : float or None
        From which probability a scan is called a tumour; a bundle's own by default, otherwise 0.5.
    slices : list of str or None
        Columns to slice by.
    command : str
        What was typed, for the foot of the page.
    watch : callable or None
        As for `report.predictions.predict`.

    Raises
    ------
    DataError
        If there is no truth, the bundle has seen every scan, or the two do not fit.
    """
    path = Path(subject)
    table = manifest.load(list(data)) if data else None
    run = path if path.is_dir() else None
    masks, seen, failed, own = None, 0, 0, None
    predictions = None if run is None else _held_out(run, table)
    if run is not None and predictions is None:
        path, own = run / MODEL, _own(run)
    if predictions is None and path.suffix.casefold() == BUNDLE:
        if table is None:
            raise DataError(f"{path}: a bundle is judged on scans with a truth; name a folder or a manifest behind it")
        bundle = Bundle.load(path)
        table, seen = unseen(table, bundle)
        manifest.write(table, out / "scans.parquet")
        done = predict(
            [out / "scans.parquet"], out, model=path, overlays=False, report=False, overwrite=True, watch=watch
        )
        failed = done.failed
        masks = _masks(table, out)
        if bundle.metadata.of_several:
            path, table = out / CLASSES, by_name(table, bundle.metadata.labels)
        else:
            path = out / "predictions.csv"
            threshold = bundle.metadata.thresholds.tumor if threshold is None else threshold
    if predictions is None:
        predictions = Predictions.read(path, table)
    found = evaluate_predictions(predictions, threshold=threshold, slices=slices)
    report = write_evaluation(found, out, masks, seen, command, own)
    return Assessment(found, masks, seen, failed, report)


def by_name(table: pl.DataFrame, labels: tuple[str, ...]) -> pl.DataFrame:
    """The manifest with the bundle's class names for labels; the class without tumour may be called otherwise there.

    Raises
    ------
    DataError
        If no scan is of any of the classes.
    """
    none = {name: "none" for name in NONE}
    known = {none.get(name.casefold(), name.casefold()): name for name in labels}
    plain = pl.col("label_name").fill_null(pl.col("tumor_type")).str.to_lowercase().replace(none)
    named = plain.replace_strict(known, default=None, return_dtype=pl.String)
    found = table.with_columns(label=named)
    if found["label"].null_count() == found.height:
        raise DataError(f"label_name: no scan is called {' or '.join(labels)}; give the manifest that column")
    return found


def unseen(table: pl.DataFrame, bundle: Bundle) -> tuple[pl.DataFrame, int]:
    """Rows whose scan the bundle was not trained on, and how many it was.

    Raises
    ------
    DataError
        If none is left.
    """
    known = set(bundle.metadata.training.scan_hashes)
    new = table.filter(~pl.col("sha256").str.slice(0, 16).is_in(list(known)).fill_null(False))
    if new.is_empty():
        raise DataError(f"data: the model was trained on all {table.height} scans; give scans that it has not seen")
    return new, table.height - new.height


def _held_out(run: Path, table: pl.DataFrame | None) -> Predictions | None:
    """A run's own answers to scans that it neither learnt from nor chose by; None where its model has to be asked.

    They are asked for by naming no data, or data that the run was trained and tested on.

    Raises
    ------
    DataError
        If the run is unfinished, or held none of these scans out.
    """
    model, file = run / MODEL, run / OWN
    if table is None or not file.is_file():
        if file.is_file():
            return Predictions.read(file)
        if model.is_file():
            return None
        raise DataError(f"{run}: holds neither {MODEL} nor {OWN}; finish the training, or export it first")
    mine = manifest.read(run / "manifest.parquet", check_files=False)
    known = mine.filter(pl.col("sha256").is_in(table["sha256"].drop_nulls().to_list()))
    if known.height < table.height and model.is_file():
        return None
    told = Predictions.read(file)
    rows = pl.Series(told.ids).str.replace(r":\d+$", "").is_in(known["id"].to_list()).to_numpy()
    if not rows.any():
        raise DataError(f"{run}: held none of these {table.height} scans out; name scans that it has not seen")
    return told.only(rows)


def _own(run: Path) -> dict[str, Any] | None:
    """What the run measured on its own held-out scans, where it did."""
    file = run / "metrics.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found.get("test") or found.get("cross_validation")


def _masks(table: pl.DataFrame, out: Path) -> MaskSummary | None:
    """Scores of the masks that were written, where the data have true ones."""
    if "mask_path" not in table.columns or table["mask_path"].null_count() == table.height:
        return None
    masks = {file.name.removesuffix(".nii.gz").removesuffix(".png"): file for file in (out / "masks").iterdir()}
    by = [name for name in ("tumor_type", "plane", "source") if table[name].n_unique() > 1]
    return summarise(evaluate_masks(pairs_of(table, masks)), by)
