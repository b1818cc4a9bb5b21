"""A folder becomes a table: layouts, masks, labels, cases, and what is left out with a finding."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from tumorscope.datasets import manifest
from tumorscope.datasets.schema import SCHEMA
from tumorscope.errors import DataError

Make = Callable[..., Path]


def rows_of(table: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(table.select("id", *columns).rows())


def test_yes_and_no(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "brains" / "yes" / "a.png")
    picture(tmp_path / "brains" / "no" / "b.jpg", size=(31, 17))
    table = manifest.build(tmp_path / "brains")
    assert table.schema == pl.Schema(SCHEMA)
    assert rows_of(table, "label", "label_name", "source", "width", "height") == [
        ("a", 1, "tumor", "brains", 24, 20),
        ("b", 0, "no_tumor", "brains", 31, 17),
    ]
    assert table["sha256"].n_unique() == 2
    assert (
        table.select("split", "group", "patient", "mask_path", "mask_source", "licence").null_count().row(0) == (2,) * 6
    )


def test_class_folders_below_training_and_testing(tmp_path: Path, picture: Make) -> None:
    for split in ("Training", "Testing"):
        for word in ("glioma_tumor", "meningioma", "pituitary", "no_tumor"):
            picture(tmp_path / split / word / f"{split}-{word}.png")
    table = manifest.build(tmp_path)
    assert table.height == 8
    assert set(table.select("split", "label", "tumor_type").rows()) == {
        (split, int(kind is not None), kind)
        for split in ("train", "test")
        for kind in ("glioma", "meningioma", "pituitary", None)
    }


def test_a_name_that_stands_twice_gets_its_folder(tmp_path: Path, picture: Make) -> None:
    for name in ("yes/1.png", "no/1.png", "no/1.JPG"):
        picture(tmp_path / name)
    ids = manifest.build(tmp_path)["id"].to_list()
    assert ids[0] == "1"
    assert len({own.casefold() for own in ids}) == 3
    assert "no_1" in ids or "yes_1" in ids


def test_images_and_masks_by_stem(tmp_path: Path, picture: Make, mask: Make) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.jpg")
    picture(tmp_path / "images" / "c.jpg")
    full, empty = mask(tmp_path / "masks" / "a.png"), mask(tmp_path / "masks" / "b_mask.png", inside=False)
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "label", "mask_path") == [("a", 1, str(full)), ("b", 0, str(empty)), ("c", None, None)]
    assert any("c.jpg: no mask, while others have one (scans: 1)" in finding for finding in found.findings)
    assert any("c.jpg: no label (scans: 1)" in finding for finding in found.findings)


def test_masks_beside_their_scans(tmp_path: Path, picture: Make, mask: Make) -> None:
    picture(tmp_path / "x.png")
    beside = mask(tmp_path / "x_mask.png")
    assert rows_of(manifest.build(tmp_path), "mask_path", "label") == [("x", str(beside), 1)]


def test_patient_folders(tmp_path: Path, picture: Make, mask: Make) -> None:
    for patient in ("P7", "P8"):
        for number in (1, 2, 10):
            picture(tmp_path / patient / f"{patient}_{number}.png")
            mask(tmp_path / patient / f"{patient}_{number}_mask.png", inside=number == 2)
    table = manifest.build(tmp_path)
    assert rows_of(table, "patient", "slice", "label")[:3] == [
        ("P7_1", "P7", 1, 0),
        ("P7_10", "P7", 10, 0),
        ("P7_2", "P7", 2, 1),
    ]


def test_a_class_folder_says_more_than_an_empty_mask(tmp_path: Path, picture: Make, mask: Make) -> None:
    picture(tmp_path / "yes" / "a.png")
    mask(tmp_path / "yes" / "a_mask.png", inside=False)
    assert manifest.build(tmp_path)["label"].to_list() == [1]


def test_labels_csv(tmp_path: Path, picture: Make) -> None:
    for name in ("0001", "0002", "0003"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("id,tumor_type,plane\n0001,glioma,axial\n0002,notumor,\nabsent,glioma,\n")
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "label", "tumor_type", "plane") == [
        ("0001", 1, "glioma", "axial"),
        ("0002", 0, None, None),
        ("0003", None, None, None),
    ]
    assert any("labels.csv: ids without a scan: 1 (first: absent)" in finding for finding in found.findings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,tumor_type\na,glioma\n", "needs a column 'id'"),
        ("id,remark\na,x\n", "needs a column 'id' and one of label"),
        ("id,tumor_type\na,glioma\nA,glioma\n", "line 3 has the id of an earlier line"),
        ("id,label\na,yes\n", "line 2 has label 'yes', which is no integer"),
        ("id,label\n,1\n", "line 2 has no id"),
    ],
)
def test_a_labels_csv_that_contradicts_itself(tmp_path: Path, text: str, words: str, picture: Make) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        manifest.build(tmp_path)


def test_brats_like_cases(tmp_path: Path, volume: Make) -> None:
    for case in ("BraTS_001", "BraTS_002"):
        for sequence in ("t1", "t1ce", "t2", "flair", "seg"):
            volume(tmp_path / case / f"{case}_{sequence}.nii.gz", inside=sequence == "seg")
    table = manifest.build(tmp_path)
    first = table.filter(pl.col("case") == "BraTS_001")
    assert sorted(first["sequence"]) == ["flair", "t1", "t1ce", "t2"]
    assert first["mask_path"].unique().to_list() == [str(tmp_path / "BraTS_001" / "BraTS_001_seg.nii.gz")]
    assert table["patient"].unique().sort().to_list() == ["BraTS_001", "BraTS_002"]
    assert set(table["label"]) == {1} and set(table["mask_source"]) == {"human"}


def test_volume_cases_of_ones_own(tmp_path: Path, volume: Make) -> None:
    for case, inside in (("anna", True), ("bert", False)):
        volume(tmp_path / case / "t1.nii.gz")
        volume(tmp_path / case / "flair.nii.gz")
        volume(tmp_path / case / "seg.nii.gz", inside=inside)
    table = manifest.build(tmp_path)
    assert rows_of(table, "case", "sequence", "label") == [
        ("anna_flair", "anna", "flair", 1),
        ("anna_t1", "anna", "t1", 1),
        ("bert_flair", "bert", "flair", 0),
        ("bert_t1", "bert", "t1", 0),
    ]


def test_progression_has_two_cases_a_patient(tmp_path: Path, volume: Make) -> None:
    for patient in ("01", "02"):
        for date in ("Pre", "Post"):
            volume(tmp_path / patient / f"{date}_Scan_T1.nii.gz")
            volume(tmp_path / patient / f"{date}_Mask.nii.gz")
    table = manifest.build(tmp_path)
    assert rows_of(table, "patient", "case", "sequence", "label")[0] == (
        "01_Post_Scan_T1", "01", "01_Post", "t1ce", 1,
    )  # fmt: skip
    assert table["mask_path"].n_unique() == 4


def test_a_wrapped_archive_is_unwrapped(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "archive" / "v2" / "yes" / "a.png")
    picture(tmp_path / "archive" / "v2" / "no" / "b.png")
    assert rows_of(manifest.build(tmp_path), "label") == [("a", 1), ("b", 0)]


def test_a_folder_is_recognised_by_what_is_in_it_not_by_its_name(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "healthy" / "a.png")
    picture(tmp_path / "healthy" / "b.png")
    assert manifest.build(tmp_path / "healthy")["label"].to_list() == [None, None]


def test_links_are_followed_but_not_in_circles(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "store" / "a.png")
    (tmp_path / "set" / "no").mkdir(parents=True)
    (tmp_path / "set" / "yes").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "no" / "back").symlink_to(tmp_path / "set")
    assert rows_of(manifest.build(tmp_path / "set"), "label") == [("a", 1)]


def test_free_classes(tmp_path: Path, picture: Make) -> None:
    for word in ("grade4", "grade2", "grade3"):
        picture(tmp_path / word / f"x{word}.png")
    with pytest.raises(DataError, match="follow no known layout"):
        manifest.build(tmp_path)
    table = manifest.build(tmp_path, layout="classes")
    assert rows_of(table, "label", "label_name") == [
        ("xgrade2", 0, "grade2"),
        ("xgrade3", 1, "grade3"),
        ("xgrade4", 2, "grade4"),
    ]


def test_an_unknown_layout_says_what_was_found_and_what_is_known(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "alpha" / "1.png")
    picture(tmp_path / "beta" / "2.png")
    with pytest.raises(DataError) as caught:
        manifest.build(tmp_path)
    text = str(caught.value)
    for words in (
        "2 scan files",
        "'alpha', 'beta'",
        "yes/ and no/",
        "images/ and masks/",
        "navoneel",
        "brats",
        "manifest",
    ):
        assert words in text
    assert "\n" not in text


def test_empty_missing_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(DataError, match="holds no scan; put JPEG"):
        manifest.build(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        manifest.build(tmp_path / "absent")


def test_a_mask_without_a_scan_and_a_mask_of_another_size_are_left_out(
    tmp_path: Path, picture: Make, mask: Make
) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    mask(tmp_path / "masks" / "a.png", size=(48, 40))
    mask(tmp_path / "masks" / "b.png")
    mask(tmp_path / "masks" / "stranger.png")
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "label") == [("a", None), ("b", 1)]
    assert found.table.sort("id")["mask_path"][0] is None
    assert any(
        "stranger.png: no scan bears this mask's name (masks left out: 1)" in finding for finding in found.findings
    )
    assert any("a.png: is 48x40 but its scan is 24x20, and is left out; resample" in f for f in found.findings)


def test_two_masks_of_one_name_are_left_out(tmp_path: Path, picture: Make, mask: Make) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    mask(tmp_path / "masks" / "a.tif")
    found = manifest.survey(tmp_path)
    assert found.table["mask_path"].to_list() == [None]
    assert any("its name stands twice (masks left out: 1)" in finding for finding in found.findings)


def test_a_damaged_image_keeps_its_row_with_a_finding(tmp_path: Path, picture: Make) -> None:
    picture(tmp_path / "yes" / "a.png")
    (tmp_path / "yes" / "empty.png").write_bytes(b"")
    (tmp_path / "yes" / "text.jpg").write_text("hello")
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "width") == [("a", 24), ("empty", None), ("text", None)]
    assert any("empty.png: cannot be read (it is empty)" in finding for finding in found.findings)
    assert any("text.jpg: cannot be read (its content is no image)" in finding for finding in found.findings)


def test_findings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, picture: Make) -> None:
    picture(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING, "tumorscope"):
        manifest.build(tmp_path)
    assert "a.png: no label (scans: 1)" in caplog.text


def test_exif_turns_width_and_height(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 10)).save(tmp_path / "a.jpg", exif=exif)
    table = manifest.build(tmp_path)
    assert table.select("width", "height").row(0) == (10, 30)


def test_dicom_series(tmp_path: Path, shared_data: Path) -> None:
    found = manifest.survey(shared_data / "remind_dicom")
    assert found.table.height == 1
    row = found.table.row(0, named=True)
    assert (row["id"], row["width"], row["height"]) == ("t1_post", 248, 256)
    assert row["path"] == str((shared_data / "remind_dicom" / "t1_post").resolve()) or row["path"].endswith("t1_post")
    assert row["patient"].startswith("dicom-") and "022" not in row["patient"].removeprefix("dicom-")[:3]
    assert row["sha256"] is not None


@pytest.mark.parametrize("layout", ["yes_no"])
def test_an_unknown_layout_name_is_refused(tmp_path: Path, layout: str, picture: Make) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="unknown layout"):
        manifest.build(tmp_path, layout=layout)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Make) -> None:
    picture(tmp_path / "yes" / "a.png")
    original: Callable[..., Any] = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith("yes"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"yes: the folder cannot be read \(Permission denied\)"):
        manifest.build(tmp_path)


def test_a_folder_with_a_manifest_of_its_own_among_the_data_is_passed_over(tmp_path: Path) -> None:
    for name in ("yes/1.png", "no/2.png", "prepared/images/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((8, 8), len(name), np.uint8))
    (tmp_path / "prepared" / "manifest.parquet").write_bytes(b"")
    assert sorted(manifest.build(tmp_path)["id"].to_list()) == ["1", "2"]
