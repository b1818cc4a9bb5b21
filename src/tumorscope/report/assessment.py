"""A bundle, or anyone's predictions, judged on scans with a truth: predict what it has not seen, then evaluate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.mask_scores import evaluate_masks, pairs_of
from tumorscope.evaluation.mask_summary import MaskSummary, summarise
from tumorscope.evaluation.predictions import Predictions
from tumorscope.inference.batch import Sink
from tumorscope.inference.bundle import Bundle
from tumorscope.report.evaluation import truth_of, write_evaluation
from tumorscope.report.predictions import predict

BUNDLE = ".onnx"
RUN_FILES = ("model.onnx", "predictions.parquet")


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
        (``.csv``, ``.parquet``; see `evaluation.predictions.Predictions.of`).
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
    if path.is_dir():
        path = _of_run(path, data)
    table = manifest.load(list(data)) if data else None
    masks, seen, failed = None, 0, 0
    if path.suffix.casefold() == BUNDLE:
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
        threshold = bundle.metadata.thresholds.tumor if threshold is None else threshold
        path = out / "predictions.csv"
    predictions = Predictions.read(path, None if table is None else truth_of(table))
    found = evaluate_predictions(predictions, threshold=threshold, slices=slices)
    return Assessment(found, masks, seen, failed, write_evaluation(found, out, masks, seen, command))


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


def _of_run(run: Path, data: list[str | Path]) -> Path:
    """What of a run is judged: its model on data that are named, otherwise its own out-of-fold predictions."""
    model, own = (run / name for name in RUN_FILES)
    if data and model.is_file():
        return model
    if own.is_file():
        return own
    raise DataError(f"{run}: holds neither model.onnx nor predictions.parquet; finish the training, or export it first")


def _masks(table: pl.DataFrame, out: Path) -> MaskSummary | None:
    """Scores of the masks that were written, where the data have true ones."""
    if "mask_path" not in table.columns or table["mask_path"].null_count() == table.height:
        return None
    masks = {file.name.removesuffix(".nii.gz").removesuffix(".png"): file for file in (out / "masks").iterdir()}
    by = [name for name in ("tumor_type", "plane", "source") if table[name].n_unique() > 1]
    return summarise(evaluate_masks(pairs_of(table, masks)), by)
