"""Predictions as a person looks at them: overlays and report pages, drawn while the batch goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.inference.batch import Options, Sink, Summary, former, plan, predict_many, sweep
from tumorscope.inference.bundle import Bundle, BundleMetadata
from tumorscope.inference.classes import ClassTable
from tumorscope.inference.identifiers import TABLE as IDENTIFIERS
from tumorscope.inference.identifiers import write_identifiers
from tumorscope.inference.predictor import Prediction, Predictor
from tumorscope.inference.table import Row, writing
from tumorscope.io import Item, discover, write_image
from tumorscope.io.decoding import label
from tumorscope.report import figures
from tumorscope.report.html import PredictionReport
from tumorscope.scan import Scan

KEPT = 512
"""Longer side, in pixels, of the pictures that wait for their place in the report."""

Picture = NDArray[np.uint8]


def predict(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | None = None,
    channel: int | None = None,
    masks: bool = True,
    overlays: bool = True,
    report: bool = True,
    workers: int | None = None,
    overwrite: bool = False,
    identifiers: bool = False,
    watch: Callable[[int], Sink] | None = None,
) -> Summary:
    """Predict every scan of ``inputs`` and write table, masks, overlays and report into ``out``.

    Parameters
    ----------
    inputs, out
        What `tumorscope.io.discover` takes, and the folder of the results.
    model
        A bundle; the embedded scout by default.
    channel, masks, workers
        As for `tumorscope.inference.batch.Options`.
    overlays, report, identifiers
        Whether ``OUT/overlays``, ``OUT/report.html``, ``OUT/identifiers.csv`` are written. Only the last
        names the patients of DICOM files.
    overwrite
        Whether results that ``out`` holds already are replaced.
    watch
        Called with the number of scans; what it gives takes each result too (a progress bar).

    Returns
    -------
    Summary
        A scan that failed counts in it; it is no exception.

    Raises
    ------
    TumorscopeError
        If nothing can be predicted: no input, no bundle, or a place that cannot be written.
    """
    folder = Path(out)
    earlier = former(folder, overwrite=overwrite)
    found = discover(inputs)
    items = _without_results(found, folder)
    if not items:
        raise ScanError(_nothing(inputs, getattr(found, "skipped", 0)))
    workers, threads = plan(len(items), workers)
    bundle = Bundle.load(model, threads=threads)
    sinks: list[Sink] = [] if watch is None else [watch(len(items))]
    if overlays or report:
        sinks.append(Pages(folder, bundle.metadata, inputs, overlays=overlays, report=report))
    if bundle.metadata.of_several:
        sinks.append(ClassTable(folder, bundle.metadata.labels))
    options = Options(channel=channel, masks=masks, workers=workers)
    summary = predict_many(items, Predictor(bundle), folder, options, sinks)
    summary.skipped = getattr(found, "skipped", 0)
    sweep(folder, earlier)
    if identifiers:
        write_identifiers(items, folder / IDENTIFIERS)
    return summary


class Pages:
    """Takes the results of a batch into ``OUT/overlays`` and ``OUT/report.html``.

    Parameters
    ----------
    out : Path
    metadata : BundleMetadata
        Of the bundle that predicts.
    inputs : sequence of str or Path
        What the user named; the report repeats it.
    overlays, report : bool
        Which of the two are written.
    """

    def __init__(
        self,
        out: Path,
        metadata: BundleMetadata,
        inputs: Sequence[str | Path] = (),
        *,
        overlays: bool = True,
        report: bool = True,
    ) -> None:
        self._overlays = out / "overlays" if overlays else None
        if self._overlays is not None:
            with writing(self._overlays):
                self._overlays.mkdir(parents=True, exist_ok=True)
        self._report = PredictionReport(out, meta=_about(metadata, inputs)) if report else None

    def draw(self, item: Item, scan: Scan, prediction: Prediction) -> dict[str, Any]:
        """Write the overlay of a scan; what its card in the report will need."""
        pictures = _volume(scan, prediction) if scan.is_volume else _slice(scan, prediction)
        if self._overlays is not None:
            write_image(self._overlays / f"{item.id}.png", pictures["slices" if scan.is_volume else "overlay"])
        if self._report is None:
            return {}
        return {
            "notes": [*scan.source.notes, *prediction.notes],
            "sides_known": scan.source.sides_known,
            "pictures": {name: _shrink(picture, name) for name, picture in pictures.items()},
        }

    def add(self, row: Row, drawn: dict[str, Any] | None) -> None:
        """Put a result on its page."""
        if self._report is not None:
            drawn = dict(drawn or {"pictures": {}})
            pictures = drawn.pop("pictures")
            self._report.add({**asdict(row), **drawn}, pictures)

    def close(self, interrupted: str) -> None:
        """Write the last page and the overview."""
        if self._report is not None:
            self._report.close(interrupted)


def _slice(scan: Scan, prediction: Prediction) -> dict[str, Picture]:
    grey = figures.to_display(_grey(scan))
    overlay = figures.overlay(grey, prediction.mask, prediction.probability_map)
    if scan.source.sides_known:
        overlay = figures.mark_sides(overlay, scan.plane)
    return {"input": grey, "overlay": overlay}


def _volume(scan: Scan, prediction: Prediction) -> dict[str, Picture]:
    plane = scan.plane if scan.source.sides_known else None
    return {"slices": figures.volume_sheet(_grey(scan), prediction.mask, _telling(prediction), plane=plane)}


def _telling(prediction: Prediction, count: int = 6) -> list[int] | None:
    """Slices to show of a volume: those of the mask; without a mask, the most suspicious ones."""
    if prediction.mask.any() or prediction.slices is None:
        return None
    known = [z for z, value in enumerate(prediction.slices) if value is not None]
    known.sort(key=lambda z: -(prediction.slices or ())[z])  # type: ignore[operator]
    return sorted(known[:count])


def _grey(scan: Scan) -> NDArray[np.float32]:
    """Pixels without a channel axis: the mean of the channels of a picture that the gate refused."""
    return scan.pixels if scan.axes[0] != "C" else scan.pixels.mean(axis=0, dtype=np.float32)


def _shrink(picture: Picture, name: str) -> Picture:
    height, width = picture.shape[:2]
    factor = KEPT / max(height, width)
    if factor >= 1 or name == "slices":
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _without_results(items: Sequence[Item], out: Path) -> list[Item]:
    """The items that are not masks or overlays of an earlier batch in ``out``."""
    own = [(out / name).absolute() for name in ("masks", "overlays")]
    return [item for item in items if not any(item.path.absolute().is_relative_to(folder) for folder in own)]


def _nothing(inputs: Sequence[str | Path], skipped: int) -> str:
    named = ", ".join(label(str(name)) for name in inputs[:3]) + (", ..." if len(inputs) > 3 else "")
    finding = f"there is no scan among its {skipped} files" if skipped else "there is no scan in it"
    return f"{named}: {finding}; give JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI files, or a folder of them"


def _about(metadata: BundleMetadata, inputs: Sequence[str | Path]) -> dict[str, Any]:
    shown = [str(name) for name in inputs[:3]]
    if len(inputs) > len(shown):
        shown.append(f"and {len(inputs) - len(shown)} more")
    thresholds = metadata.thresholds
    return {
        "model": metadata.name,
        "version": metadata.version,
        "fingerprint": metadata.training.fingerprint or "not stated",
        "thresholds": (thresholds.no_tumor, thresholds.tumor),
        "inputs": ", ".join(shown) or "not stated",
    }
