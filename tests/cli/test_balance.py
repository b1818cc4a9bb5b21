"""``tumorscope balance``: repeated rows, rows left out, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Twelve scans in train (nine of label 1), four in test."""
    cv2.imwrite(str(tmp_path / "scan.png"), np.zeros((4, 4), np.uint8))
    rows = [{"id": f"s{n}", "group": f"g{n}", "split": "train", "label": int(n < 9)} for n in range(12)]
    rows += [{"id": f"t{n}", "group": f"h{n}", "split": "test", "label": int(n < 3)} for n in range(4)]
    pl.DataFrame(rows).with_columns(path=pl.lit("scan.png"), source=pl.lit("one")).write_csv(tmp_path / "split.csv")
    return tmp_path / "split.csv"


@pytest.mark.parametrize(("method", "each"), [("over", 9), ("under", 3)])
def test_classes_are_even_in_train_alone(method: str, each: int, call: Any, split: Path, tmp_path: Path) -> None:
    answer = call("balance", split, "-o", tmp_path / "out.parquet", "--method", method)
    assert answer.code == 0 and answer.err == ""
    table = manifest.read(tmp_path / "out.parquet")
    assert table.filter(split="train")["label"].value_counts()["count"].to_list() == [each, each]
    assert dict(table.filter(split="test")["label"].value_counts().rows()) == {0: 1, 1: 3}
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[1] == ["train", "12", "12", "-", "3", "9"]
    assert lines[4][0] == "train" and lines[4][4:] == [str(each), str(each)]


def test_weights_are_printed_and_written(call: Any, split: Path, tmp_path: Path) -> None:
    answer = call("balance", split, "--method", "weights", "--json")
    assert answer.json["weights"] == {"0": 2.0, "1": pytest.approx(2 / 3, abs=1e-6)}
    assert answer.json["out"] is None
    answer = call("balance", split, "--method", "weights", "-o", tmp_path / "out.csv")
    assert answer.out.splitlines() == [
        "label 0: weight 2",
        "label 1: weight 0.666667",
        f"manifest: {tmp_path / 'out.csv'}",
    ]
    weight = manifest.read(tmp_path / "out.csv")["weight"]
    assert weight.null_count() == 4


def test_json_compares_before_and_after(call: Any, split: Path, tmp_path: Path) -> None:
    facts = call("balance", split, "-o", tmp_path / "out.parquet", "--json").json
    assert facts["before"][0]["labels"] == {"0": 3, "1": 9}
    assert facts["split"][0]["labels"] == {"0": 9, "1": 9}
    assert facts["split"][1] == facts["before"][1]
    assert (facts["method"], facts["by"], facts["weights"]) == ("over", "label", None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "makes another manifest; name it with -o OUT"),
        (("-o", "split.csv"), "exists already; give another -o, or add --overwrite"),
        (("-o", "out.parquet", "--by", "grade"), "grade: is no column to balance by"),
        (("-o", "out.parquet", "--by", "tumor_type"), "too few classes to balance (none)"),
        (("-o", "out.parquet", "--method", "smote"), "see: tumorscope balance --help"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: tuple[Any, ...], words: str, call: Any, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(split.parent)
    answer = call("balance", split, *options)
    assert answer.code == 2 and words in answer.err and len(answer.lines) == 1
    assert not Path("out.parquet").exists()
