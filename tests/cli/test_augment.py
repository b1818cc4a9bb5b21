"""``tumorscope augment``: copies on disk, resumed and refused."""

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
    """A split manifest of four scans with masks, three of them in train."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rows = []
    for number, side in enumerate(["train", "train", "train", "test"]):
        image = np.random.default_rng(number).integers(0, 255, (24, 20), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / f"{number}_mask.png"), (image > 200).astype(np.uint8) * 255)
        row = {"id": f"s{number}", "path": f"scans/{number}.png", "mask_path": f"scans/{number}_mask.png"}
        rows.append(row | {"group": f"g{number}", "split": side, "label": number % 2, "source": "scans"})
    pl.DataFrame(rows).write_csv(tmp_path / "split.csv")
    return tmp_path / "split.csv"


def test_copies_and_a_manifest(call: Any, split: Path, tmp_path: Path) -> None:
    answer = call("augment", split, "-o", tmp_path / "out", "--copies", 2)
    assert answer.code == 0 and answer.err == ""
    table = manifest.load(tmp_path / "out")
    assert table.height == 10
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "augment.json", "images", "manifest.parquet", "masks",
    ]  # fmt: skip
    lines = answer.out.splitlines()
    assert lines[0] == "6 copies of 3 training scans, which share their groups and their side"
    assert [line.split() for line in lines[2:4]] == [
        ["train", "9", "3", "-", "6", "3"],
        ["test", "1", "1", "-", "0", "1"],
    ]


def test_json_tells_what_was_done_and_again_what_was_there(call: Any, split: Path, tmp_path: Path) -> None:
    options = ("--copies", 1, "--rotation", 20, "--no-flip", "--seed", 3, "--json")
    facts = call("augment", split, "-o", tmp_path / "out", *options).json
    assert (facts["scans"], facts["made"], facts["kept"], facts["failed"]) == (3, 3, 0, [])
    assert facts["ranges"] == {
        "rotation": 20.0, "shift": 0.05, "shear": 0.05, "zoom": 0.1, "flip": False, "brightness": 0.1,
    }  # fmt: skip
    assert facts["manifest"] == str(tmp_path / "out" / "manifest.parquet")
    again = call("augment", split, "-o", tmp_path / "out", *options).json
    assert (again["made"], again["kept"]) == (0, 3)
    other = call("augment", split, "-o", tmp_path / "out", "--copies", 1)
    assert other.code == 2 and "holds copies made with other settings" in other.err


def test_some_failed_is_3_and_all_failed_is_2(call: Any, split: Path, tmp_path: Path) -> None:
    (tmp_path / "scans" / "1.png").write_bytes(b"nothing")
    answer = call("augment", split, "-o", tmp_path / "out", "--copies", 1)
    assert answer.code == 3
    assert len(answer.lines) == 1 and "1.png" in answer.err and "; 1 scans failed" in answer.out
    for number in (0, 2):
        (tmp_path / "scans" / f"{number}.png").write_bytes(b"nothing")
    answer = call("augment", split, "-o", tmp_path / "none", "--copies", 1)
    assert answer.code == 2 and "none of 3 training scans could be copied" in answer.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--copies", 0), "see: tumorscope augment --help"),
        ((), "Missing option '--copies'"),
        (("--copies", 1, "--zoom", 2), "zoom: 2 is out of range; give 0 to 0.9"),
        (("--copies", 1, "--fold", 0), "in no folds, so that fold 0 cannot be held out"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: tuple[Any, ...], words: str, call: Any, split: Path, tmp_path: Path
) -> None:
    answer = call("augment", split, "-o", tmp_path / "out", *options)
    assert answer.code == 2 and words in answer.err and len(answer.lines) == 1
    assert not (tmp_path / "out").exists()


def test_without_a_split_the_remedy_is_named(call: Any, split: Path, tmp_path: Path) -> None:
    table = pl.read_csv(split).drop("split")
    table.write_csv(tmp_path / "bare.csv")
    answer = call("augment", tmp_path / "bare.csv", "-o", tmp_path / "out", "--copies", 1)
    assert answer.code == 2
    assert answer.lines == [
        "tumorscope: split: no scan is on a side yet; split first (tumorscope split, or splits.holdout)"
    ]
