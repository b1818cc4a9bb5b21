"""Every number of scout's model card, measured: on held-out scans and on collections never trained on.

    python benchmarks/scout_card.py BUNDLE MANIFEST DATA -o OUT

BUNDLE is the exported scout, MANIFEST the one it was trained on (with its split), DATA the folder with ``lgg``
and ``navoneel``. Held-out healthy scans are counted as published, and once more without the groups in which a lesion is
seen. Writes OUT/scans.parquet (a row a slice), OUT/card.json, OUT/card.md and contact sheets of the
best, middle and worst masks of each set. The gate is measured apart: a scan that it refuses is still segmented
here, so that no number is flattered by leaving hard scans out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.truth import read_mask
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.segmentation import dice
from tumorscope.evaluation.statistics import bootstrap
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.gate import Gate, GateResult
from tumorscope.inference.predictor import Predictor
from tumorscope.report.figures import contact_sheet, overlay
from tumorscope.scan import Scan

SMALLEST_HEAD = 0.02  # of a volume's slice: below this it is blank and not counted
MARKS = Path(__file__).with_name("healthy_marks.csv")  # see scout_data.py
LGG_CHANNELS = {"lgg pre-contrast": 0, "lgg FLAIR": 1, "lgg post-contrast": 2}


class EveryScan(Gate):
    """A gate that lets everything through."""

    def __init__(self) -> None:
        pass

    def judge(self, image: Any, **_: Any) -> GateResult:
        """Passed, always."""
        return GateResult(True, 1.0, "not asked")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of the sets to measure")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    bundle = Bundle.load(arguments.bundle, threads=1)
    predictor, gate = Predictor(bundle, gate=EveryScan()), None
    if bundle.metadata.gate:
        gate = Gate.from_dict(bundle.metadata.gate)
    tables, card = [], {}
    for name, rows in sets(arguments.manifest, arguments.data).items():
        if arguments.only and name not in arguments.only:
            continue
        table, pictures = measure(predictor, gate, name, rows)
        tables.append(table)
        card[name] = figures(table)
        sheet(pictures, arguments.out / f"{name.replace(' ', '_')}.png")
        print(name, json.dumps(card[name]), flush=True)
    pl.concat(tables).write_parquet(arguments.out / "scans.parquet")
    (arguments.out / "card.json").write_text(json.dumps(card, indent=2), encoding="utf-8")
    (arguments.out / "card.md").write_text(as_table(card), encoding="utf-8")


def sets(manifest_path: Path, data: Path) -> dict[str, pl.DataFrame]:
    """Manifest rows by the name of the set: the held-out parts, and the collections never trained on."""
    held = manifest.read(manifest_path).filter((pl.col("split") == "test") & (pl.col("source") != "navoneel"))
    found = {f"{name} (held out)": held.filter(pl.col("source") == name) for name in held["source"].unique().sort()}
    marked = held.join(pl.read_csv(MARKS), on="id", how="semi")["group"].unique().to_list()
    found["healthy, no lesion seen (held out)"] = found["healthy (held out)"].filter(~pl.col("group").is_in(marked))
    home = held.filter(pl.col("source").is_in(["cheng", "healthy"]))
    found = {"cheng + healthy (held out)": home, **found}
    lgg = manifest.load(data / "lgg")
    found |= {name: lgg.with_columns(channel=pl.lit(number)) for name, number in LGG_CHANNELS.items()}
    found["navoneel"] = manifest.load(data / "navoneel")
    return found


def measure(predictor: Predictor, gate: Gate | None, name: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Any]]:
    """One row a slice, and an overlay of each slice with its Dice for the contact sheets."""

    def work(row: dict[str, Any]) -> list[tuple[dict[str, Any], Any]]:
        return [one(predictor, gate, name, row, *slice_) for slice_ in slices(row)]

    records, pictures = [], []
    with ThreadPoolExecutor(2) as pool:
        for part in pool.map(work, rows.to_dicts()):
            for record, picture in part:
                records.append(record)
                pictures.append(picture)
    return pl.DataFrame(records, infer_schema_length=None), pictures


def slices(row: dict[str, Any]) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """The slices of a manifest row with their truth; blank ones are left out."""
    scan = io.read(row["path"], channel=row.get("channel"))
    truth = read_mask(row, scan.shape)
    if scan.pixels.min() == scan.pixels.max():
        return
    if not scan.is_volume:
        yield 0, scan.pixels, truth if truth is not None or row["label"] != 0 else np.zeros(scan.shape, bool)
        return
    floor, top = float(scan.pixels.min()), float(np.percentile(scan.pixels, 99.9))
    for number, plane in enumerate(scan.pixels):
        if np.mean(plane > floor + 0.1 * (top - floor)) > SMALLEST_HEAD:
            yield number, plane, None if truth is None else truth[number]


def one(
    predictor: Predictor, gate: Gate | None, name: str, row: dict[str, Any], number: int, pixels: Any, truth: Any
) -> tuple[dict[str, Any], Any]:
    """What is known of one slice after prediction, and its picture."""
    said = predictor.predict(Scan.of(pixels, name=str(row["id"])))
    prepared = predictor.bundle.metadata.preparation.prepare(pixels)
    label = int(row["label"]) if truth is None else int(truth.any())
    overlap = dice(said.mask, truth, empty="nan") if truth is not None and truth.any() else float("nan")
    record = {
        "set": name,
        "id": f"{row['id']}:{number}",
        "group": str(row["patient"] or row["group"] or row["id"]),
        "label": label,
        "tumor_type": row.get("tumor_type"),
        "probability": said.probability,
        "decision": said.decision,
        "any_mask": bool(said.mask.any()),
        "dice": overlap,
        "head_area": float(prepared.head.mean()) if prepared.crop.mode != "none" else 1.0,
        "refused": gate is not None and not gate.judge(pixels).passed,
    }
    picture = cv2.resize(overlay(pixels, said.mask, truth=truth), (192, 192), interpolation=cv2.INTER_AREA)
    return record, (overlap, label, said, picture, row["id"])


def figures(table: pl.DataFrame) -> dict[str, Any]:
    """Counts, and each metric with its interval by group."""
    label = table["label"].to_numpy()
    groups = table["group"].to_numpy()
    score = table["probability"].to_numpy()
    result: dict[str, Any] = {
        "slices": table.height,
        "groups": int(table["group"].n_unique()),
        "tumour_slices": int(label.sum()),
        "refused_by_gate": float(table["refused"].mean()),
    }
    if 0 < label.sum() < label.size:
        result["auc"] = interval(bootstrap(roc_auc_or_nan, label, score, groups=groups))
        area = table["head_area"].to_numpy()
        result["auc_of_head_area"] = interval(bootstrap(roc_auc_or_nan, label, area, groups=groups))
    found = (table["decision"] == "tumor").to_numpy()
    unsure = (table["decision"] != "no_tumor").to_numpy()
    masks = table["any_mask"].to_numpy()
    sick, well = label == 1, label == 0
    if sick.any():
        result["sensitivity"] = interval(bootstrap(np.mean, found[sick], groups=groups[sick]))
        result["sensitivity_with_uncertain"] = interval(bootstrap(np.mean, unsure[sick], groups=groups[sick]))
    if well.any():
        result["specificity"] = interval(bootstrap(np.mean, ~found[well], groups=groups[well]))
        result["healthy_with_mask"] = interval(bootstrap(np.mean, masks[well], groups=groups[well]))
    marked = np.isfinite(table["dice"].to_numpy())
    if marked.any():
        overlap = table["dice"].to_numpy()[marked]
        result["dice"] = interval(bootstrap(np.mean, overlap, groups=groups[marked]))
        result["found_at_dice_0.1"] = interval(bootstrap(np.mean, overlap > 0.1, groups=groups[marked]))
        for kind in table["tumor_type"].drop_nulls().unique().sort():
            rows = marked & (table["tumor_type"] == kind).fill_null(False).to_numpy()
            if rows.any():
                values = table["dice"].to_numpy()[rows]
                result[f"dice_{kind}"] = interval(bootstrap(np.mean, values, groups=groups[rows]))
    return result


def roc_auc_or_nan(label: np.ndarray, score: np.ndarray) -> float:
    """AUC; NaN when a resample holds one class only."""
    return float(roc_auc(label, score)) if 0 < label.sum() < label.size else float("nan")


def interval(found: Any) -> list[float]:
    """Value, low and high, rounded for the card."""
    return [round(float(value), 4) for value in (found.value, found.low, found.high)]


def sheet(pictures: list[Any], path: Path) -> None:
    """Contact sheet: worst, middle and best Dice, then the healthy slices surest of a tumour."""
    marked = sorted((p for p in pictures if np.isfinite(p[0])), key=lambda p: p[0])
    well = sorted((p for p in pictures if p[1] == 0), key=lambda p: -(p[2].probability or 0))
    middle = len(marked) // 2
    chosen = [*marked[:20], *marked[max(0, middle - 10) : middle + 10], *marked[-10:], *well[:30]]
    if not marked:
        chosen = [*sorted((p for p in pictures if p[1] == 1), key=lambda p: p[2].probability or 0)[:40], *well[:40]]
    titles = [f"{p[4]} D{p[0]:.2f} p{p[2].probability or 0:.2f}" for p in chosen]
    if chosen:
        cv2.imwrite(str(path), contact_sheet([p[3] for p in chosen], titles, columns=10)[..., ::-1])


def as_table(card: dict[str, dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    names = list(dict.fromkeys(key for values in card.values() for key in values))
    lines = ["| figure | " + " | ".join(card) + " |", "|---" * (len(card) + 1) + "|"]
    for name in names:
        cells = [shown(values.get(name)) for values in card.values()]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A figure as text: ``.712 [.690, .731]``."""
    if value is None:
        return ""
    if isinstance(value, list):
        return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
