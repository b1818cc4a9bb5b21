"""``tumorscope split``: parts and folds, what is refused, what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest, phantom


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A manifest of 40 scans in 20 groups of two, of patients p0 to p19; no file but one is behind it."""
    cv2.imwrite(str(tmp_path / "scan.png"), np.zeros((4, 4), np.uint8))
    rows = [
        {"id": f"s{n:02d}", "path": "scan.png", "group": f"g{n // 2}", "patient": f"p{n // 2}", "label": n // 2 % 2}
        for n in range(40)
    ]
    table = pl.DataFrame(rows).with_columns(source=pl.lit("one"))
    table.write_csv(tmp_path / "data.csv")
    return tmp_path / "data.csv"


def changed(data: Path, **columns: Any) -> Path:
    path = data.with_name("changed.csv")
    pl.read_csv(data).with_columns(**columns).write_csv(path)
    return path


def test_parts_in_the_shares_asked_for(call: Any, data: Path, tmp_path: Path) -> None:
    answer = call("split", data, "-o", tmp_path / "out.parquet")
    assert answer.code == 0 and answer.err == ""
    table = manifest.read(tmp_path / "out.parquet")
    assert dict(table["split"].value_counts().rows()) == {"train": 32, "val": 4, "test": 4}
    assert table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    lines = answer.out.splitlines()
    assert lines[0].split() == ["split", "scans", "groups", "patients", "0", "1"]
    assert [line.split() for line in lines[1:4]] == [
        ["train", "32", "16", "16", "16", "16"],
        ["val", "4", "2", "2", "2", "2"],
        ["test", "4", "2", "2", "2", "2"],
    ]
    assert lines[4] == f"manifest: {tmp_path / 'out.parquet'}"


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        (("--test", 0.25), {"train": 30, "test": 10}),
        (("--val", 0.2, "--test", 0.2), {"train": 24, "val": 8, "test": 8}),
        (("--train", 0.5, "--val", 0.5), {"train": 20, "val": 20}),
    ],
)
def test_training_takes_what_the_others_leave(
    options: tuple[Any, ...], shares: dict[str, int], call: Any, data: Path, tmp_path: Path
) -> None:
    assert call("split", data, "-o", tmp_path / "out.parquet", *options).code == 0
    assert dict(manifest.read(tmp_path / "out.parquet")["split"].value_counts().rows()) == shares


def test_folds_of_what_the_test_leaves(call: Any, data: Path, tmp_path: Path) -> None:
    answer = call("split", data, "-o", tmp_path / "out.csv", "--folds", 4, "--test", 0.2, "--json")
    table = manifest.read(tmp_path / "out.csv")
    assert dict(table["split"].value_counts().rows()) == {"train": 32, "test": 8}
    assert dict(table["fold"].value_counts().rows()) == {None: 8, 0: 8, 1: 8, 2: 8, 3: 8}
    assert table.filter(split="test")["fold"].null_count() == 8
    assert answer.json["scans"] == 40 and answer.json["unused"] == 0
    assert [part["name"] for part in answer.json["fold"]] == ["0", "1", "2", "3", None]
    assert answer.json["split"][0] == {
        "name": "train", "scans": 32, "groups": 16, "patients": 16, "labels": {"0": 16, "1": 16},
    }  # fmt: skip


def test_folds_alone_leave_the_split_open(call: Any, data: Path, tmp_path: Path) -> None:
    answer = call("split", data, "-o", tmp_path / "out.parquet", "--folds", 5, "--json")
    table = manifest.read(tmp_path / "out.parquet")
    assert table["split"].null_count() == 40 and table["fold"].null_count() == 0
    assert answer.json["unused"] == 0 and "split" not in answer.json


def test_blocks_of_a_numbered_source_leave_a_gap(call: Any, data: Path, tmp_path: Path) -> None:
    options = ("--blocks", "one", "--block", 8, "--gap", 2, "--test", 0.4)
    answer = call("split", data, "-o", tmp_path / "out.parquet", *options, "--json")
    table = manifest.read(tmp_path / "out.parquet").with_columns(number=pl.col("id").str.slice(1).cast(pl.Int64))
    train, test = (table.filter(split=name)["number"].to_numpy() for name in ("train", "test"))
    assert np.abs(train[:, None] - test[None]).min() > 2
    assert answer.json["unused"] == table["split"].null_count() > 0


def test_the_seed_makes_another_split_and_the_same_seed_the_same(call: Any, data: Path, tmp_path: Path) -> None:
    tables = []
    for number, seed in enumerate((0, 0, 1)):
        call("split", data, "-o", tmp_path / f"{number}.parquet", "--seed", seed)
        tables.append(manifest.read(tmp_path / f"{number}.parquet"))
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])


def test_a_folder_becomes_a_manifest_first(call: Any, tmp_path: Path) -> None:
    phantom.write_dataset(tmp_path / "scans", 8, size=48)
    assert call("split", tmp_path / "scans", "-o", tmp_path / "out.parquet", "--test", 0.25).code == 0
    table = manifest.read(tmp_path / "out.parquet")
    assert table.height == 8 and table["group"].null_count() == table["split"].null_count() == 0


def test_a_split_that_is_there_is_replaced_only_when_asked(call: Any, data: Path, tmp_path: Path) -> None:
    given = changed(data, split=pl.Series(["train"] * 20 + ["test"] * 20))
    answer = call("split", given, "-o", tmp_path / "out.parquet")
    assert answer.code == 2
    assert answer.lines == [
        "tumorscope: split: the data are split already (test, train); add --again to split them anew"
    ]
    assert call("split", given, "-o", tmp_path / "out.parquet", "--again").code == 0
    assert set(manifest.read(tmp_path / "out.parquet")["split"]) == {"train", "val", "test"}


def test_copies_are_never_held_out(call: Any, data: Path, tmp_path: Path) -> None:
    parents = [None if n % 2 == 0 else f"s{n - 1:02d}" for n in range(40)]
    given = changed(data, parent_id=pl.Series(parents))
    answer = call("split", given, "-o", tmp_path / "out.parquet")
    table = manifest.read(tmp_path / "out.parquet")
    assert answer.code == 0 and "20 scans are copies of others (parent_id)" in answer.err
    held_out = table.filter(pl.col("split").is_in(["val", "test"]))
    assert held_out.height and held_out["parent_id"].null_count() == held_out.height


def test_by_patient_wants_every_patient(call: Any, data: Path, tmp_path: Path) -> None:
    assert call("split", data, "-o", tmp_path / "a.parquet", "--by-patient").code == 0
    given = changed(data, patient=pl.when(pl.col("id") != "s07").then("patient"))
    answer = call("split", given, "-o", tmp_path / "b.parquet", "--by-patient")
    assert answer.code == 2 and "patient: 1 of 40 rows name none (first: s07)" in answer.err
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--folds", 3, "--val", 0.2), "leaves no --train and no --val; give --test alone"),
        (("--train", 0.9, "--test", 0.3), "are no shares of a whole"),
        (("--test", 1.5), "are no shares of a whole"),
        (("--gap", 5), "--block and --gap are for numbered sources; name them with --blocks"),
        (("--blocks", "ones"), "unknown source 'ones'; did you mean 'one'?"),
        (("--stratify", "grade"), "grade: is no column to stratify by"),
        (("--folds", 30), "20 groups cannot fill 30 parts"),
        (("--folds", 1), "see: tumorscope split --help"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: tuple[Any, ...], words: str, call: Any, data: Path, tmp_path: Path
) -> None:
    answer = call("split", data, "-o", tmp_path / "out.parquet", *options)
    assert answer.code == 2 and words in answer.err and len(answer.lines) == 1
    assert not (tmp_path / "out.parquet").exists()


def test_out_is_replaced_only_when_asked_and_must_be_a_manifest(call: Any, data: Path, tmp_path: Path) -> None:
    answer = call("split", data, "-o", data)
    assert answer.code == 2 and "exists already; give another -o, or add --overwrite" in answer.err
    assert call("split", data, "-o", data, "--overwrite").code == 0
    assert manifest.read(data)["split"].null_count() == 0
    answer = call("split", data, "-o", tmp_path / "out.txt", "--again")
    assert answer.code == 2 and "a manifest is a .parquet or .csv file" in answer.err
