"""Manifests are joined from several sources, and their rows tied into groups that no split may cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from tumorscope.datasets import manifest, splits
from tumorscope.errors import DataError

Make = Callable[..., Path]


# loading --------------------------------------------------------------------------------------------------------------


def test_load_joins_sources_with_ids_of_their_own(tmp_path: Path, make_set: Make) -> None:
    first, second = make_set(tmp_path / "one", 0), make_set(tmp_path / "two", 50, ("a", "d"))
    table = manifest.load([first, second])
    assert table["source"].to_list() == ["one"] * 3 + ["two"] * 2
    assert sorted(table["id"]) == ["b", "c", "d", "one_a", "two_a"]
    assert table["group"].null_count() == 0


def test_load_ties_copies_across_sources(tmp_path: Path, make_set: Make) -> None:
    first, second = make_set(tmp_path / "one", 0), make_set(tmp_path / "two", 50, ("d", "e"))
    Image.open(first / "no" / "a.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(second / "no" / "copy.png")
    group = dict(manifest.load([first, second]).select("id", "group").rows())
    assert group["a"] == group["copy"]
    assert len(set(group.values())) == 5


def test_load_takes_manifests_tables_and_folders_that_hold_one(tmp_path: Path, make_set: Make) -> None:
    folder = make_set(tmp_path / "one", 0)
    built = manifest.build(folder)
    file = manifest.write(built.head(2).with_columns(source=pl.lit(None, pl.String)), folder / "manifest.parquet")
    assert manifest.load(folder, groups=False).height == 2
    assert manifest.load(file, groups=False)["source"].to_list() == ["one", "one"]
    assert manifest.load(built, groups=False).equals(built)


def test_load_keeps_two_folders_of_one_name_apart(tmp_path: Path, make_set: Make) -> None:
    table = manifest.load([make_set(tmp_path / "x" / "data", 0), make_set(tmp_path / "y" / "data", 50)])
    assert table["source"].to_list() == ["data"] * 3 + ["data-2"] * 3
    assert table["id"].n_unique() == 6


def test_load_refuses_one_label_with_two_meanings(tmp_path: Path, picture: Make, make_set: Make) -> None:
    grades = tmp_path / "grades"
    picture(grades / "g2" / "p.png")
    picture(grades / "g3" / "q.png")
    free = manifest.build(grades, layout="classes")
    with pytest.raises(DataError, match="label '0' means 'g2' and 'no_tumor'"):
        manifest.load([free, make_set(tmp_path / "one", 0)], groups=False)


def test_load_wants_something() -> None:
    with pytest.raises(DataError, match="nothing was given"):
        manifest.load([])


# groups ---------------------------------------------------------------------------------------------------------------


def test_groups_follow_patient_case_parent_bytes_and_ones_own(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "id": list("abcdefghi"),
            "path": ["x"] * 9,
            "source": ["s", "s", "t", "s", "s", "s", "s", "s", "s"],
            "patient": ["1", "1", "1", None, None, None, None, None, None],
            "case": [None, None, None, "k", "k", None, None, None, None],
            "parent_id": [None, None, None, None, None, "a", None, None, None],
            "sha256": [None, None, None, None, None, None, "same", "same", None],
            "group": [None] * 9,
        },
        schema_overrides={"group": pl.String},
    )
    found = dict(manifest.assign_groups(table, near=False).select("id", "group").rows())
    assert found["a"] == found["b"] == found["f"]
    assert found["c"] not in (found["a"], found["d"])
    assert found["d"] == found["e"]
    assert found["g"] == found["h"]
    assert len(set(found.values())) == 5


def test_groups_given_are_kept_and_joined() -> None:
    table = pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "group": ["x", "x", "y", None], "patient": [None, "1", "1", None]}
    )
    found = manifest.assign_groups(table, near=False)["group"].to_list()
    assert found[0] == found[1] == found[2] != found[3]


def test_assigning_twice_changes_nothing(tmp_path: Path, make_set: Make) -> None:
    table = manifest.assign_groups(manifest.build(make_set(tmp_path / "one", 0)))
    assert manifest.assign_groups(table).equals(table)


def test_an_unreadable_scan_is_a_group_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make_set: Make
) -> None:
    folder = make_set(tmp_path / "one", 0)
    (folder / "no" / "bad.png").write_bytes(b"\x89PNG broken")
    table = manifest.load(folder)
    assert table.filter(pl.col("id") == "bad")["group"].to_list() == ["one:bad"]
    assert "bad.png" in caplog.text and "compared with nothing" in caplog.text


def test_numbered_slices_without_patients_stay_in_blocks(tmp_path: Path, picture: Make, mask: Make) -> None:
    for number in (1, 2, 39, 41, 79, 81):
        picture(tmp_path / "images" / f"{number:04d}.jpg", seed=number, size=(256, 256))
        mask(tmp_path / "masks" / f"{number:04d}.png", size=(256, 256))
    (tmp_path / "labels.csv").write_text(
        "id,tumor_type\n" + "".join(f"{n:04d},glioma\n" for n in (1, 2, 39, 41, 79, 81))
    )
    table = manifest.build(tmp_path)
    assert table["group"].n_unique() == 3
    assert table.filter(pl.col("id").is_in(["0001", "0002", "0039"]))["group"].n_unique() == 1


def test_published_splits_that_part_copies_are_refused(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "Training" / "glioma" / "a.png", seed=1)
    picture(tmp_path / "Testing" / "glioma" / "b.png", seed=1)
    table = manifest.load(tmp_path)
    with pytest.raises(DataError, match="is in test and train"):
        splits.check(table)


def test_sequences_in_one_file() -> None:
    table = pl.DataFrame({"id": ["a", "b"], "channel": [1, None], "sequence": ["flair", "t2"]})
    assert manifest.with_sequence(table, "t1ce").rows() == [("a", 2, "t1ce"), ("b", None, "t2")]
    with pytest.raises(DataError, match="did you mean 'flair'"):
        manifest.with_sequence(table, "flare")


# real data ------------------------------------------------------------------------------------------------------------


def test_real_sources_split_without_a_leak(shared_data: Path) -> None:
    navoneel = manifest.load(shared_data / "navoneel")
    folds = splits.grouped_kfold(navoneel)
    assert folds["fold"].value_counts()["count"].to_list() == pytest.approx([253 / 5] * 5, abs=3)
    lgg = manifest.assign_groups(manifest.build(shared_data / "lgg"), near=False)
    assert lgg["group"].n_unique() == 14
    cheng = splits.blocks(manifest.build(shared_data / "cheng"))
    shares = [(cheng["split"] == name).mean() for name in ("train", "val", "test")]
    assert sum(shares) > 0.75 and min(shares) > 0.05


def test_findings_are_collected_where_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("yes/1.png", "no/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((8, 8), 7, np.uint8))
    found: list[str] = []
    manifest.load(tmp_path, groups=False, findings=found)
    assert any("to the byte" in one for one in found) and not caplog.records
