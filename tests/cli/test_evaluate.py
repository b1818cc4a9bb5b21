"""``tumorscope evaluate``: tables of predictions and bundles, judged on scans with a truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tumorscope.datasets import manifest
from tumorscope.inference.bundle import Bundle, embedded_path
from tumorscope.report.assessment import unseen


def table(folder: Path, count: int = 60) -> Path:
    """Predictions that know something of the label."""
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    score = np.clip(0.5 + 0.2 * (label - 0.5) + 0.2 * rng.standard_normal(count), 0, 1)
    frame = pl.DataFrame({"id": [f"s{n}" for n in range(count)], "probability": score, "label": label})
    file = folder / "predictions.csv"
    frame.with_columns(plane=pl.Series(["axial", "coronal", "axial", "axial"] * (count // 4))).write_csv(file)
    return file


def test_a_table_with_its_truth(call: Any, tmp_path: Path) -> None:
    answer = call("evaluate", table(tmp_path), "-o", tmp_path / "out", "--by", "plane")
    assert answer.code == 0 and "60 scans in 60 groups" in answer.out
    values = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    auc = next(one for one in values["metrics"] if one["metric"] == "roc_auc")
    assert 0.5 < auc["low"] < auc["value"] < auc["high"] <= 1 and "ROC" in page and "coronal" in page
    assert pl.read_csv(tmp_path / "out" / "metrics.csv").height == len(values["metrics"])


def test_a_table_whose_truth_and_slices_stand_in_a_manifest(call: Any, phantom_folder: Path, tmp_path: Path) -> None:
    rows = manifest.load(phantom_folder, groups=False)
    scanner = pl.Series("scanner", ["old", "new"] * rows.height).head(rows.height)
    manifest.write(rows.with_columns(scanner), tmp_path / "scans.parquet")
    right = rows.select("id", probability=0.1 + 0.8 * pl.col("label"))
    right.write_csv(tmp_path / "predictions.csv")
    answer = call(
        "evaluate", tmp_path / "predictions.csv", tmp_path / "scans.parquet", "-o", tmp_path / "out", "--by", "scanner",
        "--json",
    )  # fmt: skip
    assert answer.code == 0 and answer.json["scans"] == rows.height
    values = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert {(one["column"], one["value"]) for one in values["slices"]} == {("scanner", "old"), ("scanner", "new")}
    assert next(one["value"] for one in values["metrics"] if one["metric"] == "roc_auc") == 1.0


def test_a_bundle_on_scans_with_masks(call: Any, phantom_folder: Path, tmp_path: Path) -> None:
    rows = manifest.load(phantom_folder, groups=False).head(6)
    manifest.write(rows, tmp_path / "few.parquet")
    scout = embedded_path()
    answer = call("evaluate", scout, tmp_path / "few.parquet", "-o", tmp_path / "out", "--json")
    assert answer.code == 0 and answer.json["scans"] == 6 and "Dice" in answer.json["masks"]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6


def test_what_cannot_be_judged_is_told_in_one_line(call: Any, tmp_path: Path) -> None:
    file = table(tmp_path)
    pl.read_csv(file).drop("label").write_csv(file)
    bare = call("evaluate", file, "-o", tmp_path / "out")
    assert bare.code == 2 and "there is no truth" in bare.err and bare.err.count("\n") == 1
    (tmp_path / "run").mkdir()
    empty = call("evaluate", tmp_path / "run", "-o", tmp_path / "out")
    assert empty.code == 2 and "holds neither model.onnx nor predictions.parquet" in empty.err


def test_scans_of_the_training_are_left_out(phantom_folder: Path) -> None:
    bundle = Bundle.load()
    known = bundle.metadata.training.scan_hashes[:2]
    rows = manifest.load(phantom_folder, groups=False).head(5)
    hashes = [known[0] + "0" * 48, known[1] + "f" * 48, None, "0" * 64, "1" * 64]
    left, seen = unseen(rows.with_columns(sha256=pl.Series(hashes)), bundle)
    assert seen == 2 and left["id"].to_list() == rows["id"].to_list()[2:]
