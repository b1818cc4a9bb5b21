"""The page of a segmenter's run: whether, where, how it learnt, and its best, middling and worst masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.truth import read_mask
from tumorscope.evaluation.evaluate import Evaluation
from tumorscope.evaluation.mask_summary import MaskSummary
from tumorscope.imaging.intensity import normalize
from tumorscope.io import write_image
from tumorscope.report.charts import chart, drawn
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.evaluation import write_page
from tumorscope.training import engine
from tumorscope.training.run_folder import MANIFEST, folder_of
from tumorscope.training.segmenter_recipe import SegmenterRecipe

TILE, COLUMNS, EACH = 160, 8, 8  # px of a picture on a sheet, pictures in a row, pictures of a kind
TRUTH, SAID = (90, 230, 90), (255, 120, 40)  # RGB of the contours
CURVES = ("loss", "dice", "false_masks")


def write_report(
    recipe: SegmenterRecipe,
    run: Path,
    found: Evaluation | None,
    masks: MaskSummary | None,
    scores: pl.DataFrame,
    command: str = "",
) -> Path:
    """``run/report.html`` and ``run/sheet.png`` of a finished run.

    Parameters
    ----------
    recipe : SegmenterRecipe
    run : Path
    found, masks : Evaluation and MaskSummary, or None
        Of the scans that taught and chose nothing.
    scores : polars.DataFrame
        ``masks.parquet``.
    command : str
        What was typed.
    """
    more = [*_sheets(run, scores), _learning(run), _model(recipe, run)]
    if found is not None:
        return write_page(found, run / "report.html", masks, command=command, more=more)
    lead = ["No scan was held out for a test, so nothing can be said of how good this model is on new scans."]
    return write_document(run / "report.html", recipe.name, lead, more, {"command": command})


def _sheets(run: Path, scores: pl.DataFrame) -> list[Section]:
    """Best, middling and worst masks of scans with a tumour, and false masks on scans without one."""
    if scores.is_empty():
        return []
    table = {row["id"]: row for row in pl.read_parquet(run / MANIFEST).to_dicts()}
    ranked = scores.filter(pl.col("dice").is_not_null() & (pl.col("true_size") > 0)).sort("dice", descending=True)
    middle = max(0, ranked.height // 2 - EACH // 2)
    healthy = scores.filter((pl.col("true_size") == 0) & (pl.col("predicted_size") > 0))
    kinds = {
        "The best masks": ranked.head(EACH),
        "Middling masks": ranked.slice(middle, EACH),
        "The worst masks": ranked.tail(EACH).reverse(),
        "Masks on scans without a tumour": healthy.sort("predicted_size", descending=True).head(EACH),
    }
    figures, whole = [], []
    for name, rows in kinds.items():
        tiles = [_tile(run, table[row["id"].split(":")[0]], row) for row in rows.to_dicts()]
        if tiles:
            sheet = _grid(tiles)
            figures.append(Figure(sheet, f"{name}; truth green, answer orange"))
            whole.append(sheet)
    if not whole:
        return []
    write_image(run / "sheet.png", np.concatenate(whole))
    said = ["Held-out scans only, each answered by the fold without it"]
    return [Section("What the masks look like", said, (), figures)]


def _tile(run: Path, row: dict, score: dict) -> NDArray[np.uint8]:
    """A held-out scan with both contours and its Dice."""
    scan = io.read(row["path"], channel=row.get("channel"))
    truth = read_mask(row, scan.shape)
    folder = folder_of(run, "" if score["fold"] < 0 else f"r{score['repeat']}f{score['fold']}") / "held_out" / "masks"
    file = next(iter(folder.glob(f"{score['id']}.*")))
    said = io.read(file).pixels > 0
    pixels = scan.pixels
    if scan.is_volume:
        level = int((said.sum((1, 2)) + (0 if truth is None else truth.sum((1, 2)))).argmax())
        pixels, said = pixels[level], said[level]
        truth = None if truth is None else truth[level]
    factor = TILE / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    grey = cv2.resize(np.rint(normalize(pixels) * 255).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[: size[1], : size[0]] = grey[..., None]
    for mask, colour in ((truth, TRUTH), (said, SAID)):
        if mask is not None and mask.any():
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, lines, -1, colour, 1)
    if score["dice"] is not None and score["true_size"]:
        cv2.putText(tile, f"{score['dice']:.2f}", (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return tile


def _grid(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles in rows of `COLUMNS`."""
    blank = np.zeros_like(tiles[0])
    filled = [*tiles, *[blank] * (-len(tiles) % COLUMNS)]
    rows = [np.concatenate(filled[i : i + COLUMNS], axis=1) for i in range(0, len(filled), COLUMNS)]
    return np.concatenate(rows)


def _learning(run: Path) -> Section:
    table = pl.read_csv(run / "metrics.csv")
    figures = []
    for name in CURVES:
        figure, axes = chart(5.4, 3.0)
        axis = axes[0, 0]
        for part, words in (("train", "training scans, changed at random"), ("val", "validation scans")):
            if f"{part}_{name}" in table.columns:
                axis.plot(table["epoch"], table[f"{part}_{name}"], label=words, linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axis.legend(fontsize=8)
        figures.append(Figure(drawn(figure), f"{name.replace('_', ' ')} by epoch"))
    return Section("How it learnt", ["Masks at a threshold of one half, on the network's square"], (), figures)


def _model(recipe: SegmenterRecipe, run: Path) -> Section:
    record = engine.read_json(run / "provenance.json", {})
    rows = [
        ("architecture", recipe.model.architecture),
        ("encoder", recipe.model.encoder or "its own"),
        ("initial weights", record["initial_weights"]),
        ("loss", ", ".join(f"{weight:g} × {name}" for name, weight in recipe.loss.terms.items())),
        ("input", f"{recipe.input.size} px" + (f", patches of {recipe.data.patch}" if recipe.data.patch else "")),
        ("epoch picked by", f"validation {recipe.fit.monitor}"),
        ("model.onnx comes from", record["model_from"]),
        ("seed, precision", f"{record['seed']}, {record['precision']}"),
    ]
    monitor = f"validation {recipe.fit.monitor}"
    gain = ("validation Dice", "with the mirrored slice")
    columns = ("fold", "best epoch", "epochs", "training", "validation", "test", monitor, *gain)
    folds = [
        (name, one["best_epoch"], one["epochs"], *one["scans"].values(), one["validation"], *one["mirror"].values())
        for name, one in record["folds"].items()
    ]
    return Section("What it is", [], [Table(("", ""), rows), Table(columns, folds)])
