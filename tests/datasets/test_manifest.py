from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tumorscope.datasets import manifest, splits
from tumorscope.datasets.schema import SCHEMA, conform
from tumorscope.errors import DataError, OutputError


def picture(path: Path, seed: int | None = None, size: tuple[int, int] = (24, 20), mode: str = "L") -> Path:
    """A small random image, (width, height); no two paths alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()) if seed is None else seed)
    small = Image.fromarray(rng.integers(0, 255, (5, 4), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


def mask(path: Path, inside: bool = True, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[5:9, 6:12] = 255 * inside
    Image.fromarray(pixels).save(path)
    return path


def volume(path: Path, inside: bool = True, shape: tuple[int, ...] = (8, 7, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape, np.uint8)
    pixels[2:4, 2:4, 1:3] = inside
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), path)
    return path


def rows_of(table: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(table.select("id", *columns).rows())


# folders ------------------------------------------------------------------------------------------------------------


def test_yes_and_no(tmp_path: Path) -> None:
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


def test_class_folders_below_training_and_testing(tmp_path: Path) -> None:
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


def test_a_name_that_stands_twice_gets_its_folder(tmp_path: Path) -> None:
    for name in ("yes/1.png", "no/1.png", "no/1.JPG"):
        picture(tmp_path / name)
    ids = manifest.build(tmp_path)["id"].to_list()
    assert ids[0] == "1"
    assert len({own.casefold() for own in ids}) == 3
    assert "no_1" in ids or "yes_1" in ids


def test_images_and_masks_by_stem(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.jpg")
    picture(tmp_path / "images" / "c.jpg")
    full, empty = mask(tmp_path / "masks" / "a.png"), mask(tmp_path / "masks" / "b_mask.png", inside=False)
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "label", "mask_path") == [("a", 1, str(full)), ("b", 0, str(empty)), ("c", None, None)]
    assert any("c.jpg: no mask, while others have one (scans: 1)" in finding for finding in found.findings)
    assert any("c.jpg: no label (scans: 1)" in finding for finding in found.findings)


def test_masks_beside_their_scans(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    beside = mask(tmp_path / "x_mask.png")
    assert rows_of(manifest.build(tmp_path), "mask_path", "label") == [("x", str(beside), 1)]


def test_patient_folders(tmp_path: Path) -> None:
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


def test_a_class_folder_says_more_than_an_empty_mask(tmp_path: Path) -> None:
    picture(tmp_path / "yes" / "a.png")
    mask(tmp_path / "yes" / "a_mask.png", inside=False)
    assert manifest.build(tmp_path)["label"].to_list() == [1]


def test_labels_csv(tmp_path: Path) -> None:
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
def test_a_labels_csv_that_contradicts_itself(tmp_path: Path, text: str, words: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        manifest.build(tmp_path)


def test_brats_like_cases(tmp_path: Path) -> None:
    for case in ("BraTS_001", "BraTS_002"):
        for sequence in ("t1", "t1ce", "t2", "flair", "seg"):
            volume(tmp_path / case / f"{case}_{sequence}.nii.gz", inside=sequence == "seg")
    table = manifest.build(tmp_path)
    first = table.filter(pl.col("case") == "BraTS_001")
    assert sorted(first["sequence"]) == ["flair", "t1", "t1ce", "t2"]
    assert first["mask_path"].unique().to_list() == [str(tmp_path / "BraTS_001" / "BraTS_001_seg.nii.gz")]
    assert table["patient"].unique().sort().to_list() == ["BraTS_001", "BraTS_002"]
    assert set(table["label"]) == {1} and set(table["mask_source"]) == {"human"}


def test_volume_cases_of_ones_own(tmp_path: Path) -> None:
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


def test_progression_has_two_cases_a_patient(tmp_path: Path) -> None:
    for patient in ("01", "02"):
        for date in ("Pre", "Post"):
            volume(tmp_path / patient / f"{date}_Scan_T1.nii.gz")
            volume(tmp_path / patient / f"{date}_Mask.nii.gz")
    table = manifest.build(tmp_path)
    assert rows_of(table, "patient", "case", "sequence", "label")[0] == (
        "01_Post_Scan_T1", "01", "01_Post", "t1ce", 1,
    )  # fmt: skip
    assert table["mask_path"].n_unique() == 4


def test_a_wrapped_archive_is_unwrapped(tmp_path: Path) -> None:
    picture(tmp_path / "archive" / "v2" / "yes" / "a.png")
    picture(tmp_path / "archive" / "v2" / "no" / "b.png")
    assert rows_of(manifest.build(tmp_path), "label") == [("a", 1), ("b", 0)]


def test_a_folder_is_recognised_by_what_is_in_it_not_by_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "healthy" / "a.png")
    picture(tmp_path / "healthy" / "b.png")
    assert manifest.build(tmp_path / "healthy")["label"].to_list() == [None, None]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "a.png")
    (tmp_path / "set" / "no").mkdir(parents=True)
    (tmp_path / "set" / "yes").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "no" / "back").symlink_to(tmp_path / "set")
    assert rows_of(manifest.build(tmp_path / "set"), "label") == [("a", 1)]


def test_free_classes(tmp_path: Path) -> None:
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


def test_an_unknown_layout_says_what_was_found_and_what_is_known(tmp_path: Path) -> None:
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


def test_a_mask_without_a_scan_and_a_mask_of_another_size_are_left_out(tmp_path: Path) -> None:
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


def test_two_masks_of_one_name_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    mask(tmp_path / "masks" / "a.tif")
    found = manifest.survey(tmp_path)
    assert found.table["mask_path"].to_list() == [None]
    assert any("its name stands twice (masks left out: 1)" in finding for finding in found.findings)


def test_a_damaged_image_keeps_its_row_with_a_finding(tmp_path: Path) -> None:
    picture(tmp_path / "yes" / "a.png")
    (tmp_path / "yes" / "empty.png").write_bytes(b"")
    (tmp_path / "yes" / "text.jpg").write_text("hello")
    found = manifest.survey(tmp_path)
    assert rows_of(found.table, "width") == [("a", 24), ("empty", None), ("text", None)]
    assert any("empty.png: cannot be read (it is empty)" in finding for finding in found.findings)
    assert any("text.jpg: cannot be read (its content is no image)" in finding for finding in found.findings)


def test_findings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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


# reading and writing ------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> pl.DataFrame:
    picture(tmp_path / "set" / "images" / "0001.png")
    picture(tmp_path / "set" / "images" / "b.png")
    mask(tmp_path / "set" / "masks" / "0001.png")
    return manifest.build(tmp_path / "set")


@pytest.mark.parametrize("name", ["m.parquet", "m.csv"])
def test_what_is_written_is_read(tmp_path: Path, small: pl.DataFrame, name: str) -> None:
    file = manifest.write(small, tmp_path / "set" / name)
    assert manifest.read(file).equals(small)
    stored = pl.read_parquet(file) if name.endswith("parquet") else pl.read_csv(file, infer_schema=False)
    assert sorted(stored["path"]) == ["images/0001.png", "images/b.png"]
    os.rename(tmp_path / "set", tmp_path / "moved")
    moved = manifest.read(tmp_path / "moved" / name)
    assert moved["path"][0] == str(tmp_path / "moved" / "images" / "0001.png")


def test_paths_elsewhere_are_stored_absolute(tmp_path: Path, small: pl.DataFrame) -> None:
    (tmp_path / "run").mkdir()
    file = manifest.write(small, tmp_path / "run" / "m.parquet")
    assert pl.read_parquet(file)["path"].to_list() == small["path"].to_list()
    assert manifest.read(file).equals(small)


VALUES = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip)
)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.tuples(VALUES, st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.booleans())), max_size=6
    )
)
def test_csv_keeps_every_value(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    table = conform(
        pl.DataFrame(
            {
                "id": [f"{n:03d}" for n in range(len(rows))],
                "path": [f"{n}.png" for n in range(len(rows))],
                "patient": [row[0] for row in rows],
                "slice": [row[1] for row in rows],
                "synthetic": [row[2] for row in rows],
            },
            schema_overrides={name: SCHEMA[name] for name in ("id", "path", "patient", "slice", "synthetic")},
        ),
        "t",
    )  # fmt: skip
    file = manifest.write(table, tmp_path_factory.mktemp("m") / "m.csv")
    back = manifest.read(file, check_files=False)
    assert back.drop("path").equals(table.drop("path"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path\nx.png\n", "column 'id' is missing"),
        ("id\nx\n", "column 'path' is missing"),
        ("id,path\nx,x.png\nX,x.png\n", "rows 1 and 2 share the id 'X'"),
        ("id,path\n,x.png\n", "row 1 has no id"),
        ("id,path\nx,\n", "row 1 has no path"),
        ("id,path\nx,gone.png\ny,gone2.png\n", r"row 1 has path .*gone\.png, which is not there \(2 are missing\)"),
        ("id,path,mask_path\nx,x.png,gone.png\n", r"row 1 has mask_path .*gone\.png, which is not there"),
        ("id,path,label\nx,x.png,yes\n", "row 1 has label 'yes', which is no integer"),
        ("id,path,label\nx,x.png,0.5\n", "row 1 has label '0.5', which is no integer"),
        ("id,path,label\nx,x.png,-1\n", "row 1 has label -1"),
        ("id,path,lable\nx,x.png,1\n", "unknown column 'lable'; did you mean 'label'"),
        ("id,path,synthetic\nx,x.png,maybe\n", "row 1 has synthetic 'maybe', which is no true or false"),
        ("id,path,mask_source\nx,x.png,humans\n", "unknown mask_source in .*'humans'; did you mean 'human'"),
        ("id,path,plane\nx,x.png,top\n", "unknown plane in"),
        ("id,path,parent_id\nx,x.png,x\n", "'x' descends from itself"),
        ("id,path,label,label_name\nx,x.png,1,a\ny,x.png,1,b\n", "label '1' means 'a' and 'b'"),
    ],
)
def test_a_manifest_that_contradicts_itself(tmp_path: Path, text: str, words: str) -> None:
    picture(tmp_path / "x.png")
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        manifest.read(tmp_path / "m.csv")
    assert "\n" not in str(caught.value) and "m.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.txt", b"", "a manifest is a .parquet or .csv file"),
        ("m.parquet", b"PAR1 no", "cannot be read as parquet"),
        ("m.csv", b"", "cannot be read as csv"),
        ("absent.csv", None, "there is no such manifest"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        manifest.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_whole_floats_are_labels_and_other_columns_stay(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    pl.DataFrame({"id": [7], "path": ["x.png"], "label": [1.0], "age": [54]}).write_parquet(tmp_path / "m.parquet")
    row = manifest.read(tmp_path / "m.parquet").row(0, named=True)
    assert (row["id"], row["label"], row["age"]) == ("7", 1, 54)


def test_an_unwritable_place_is_an_output_error(tmp_path: Path, small: pl.DataFrame) -> None:
    (tmp_path / "m.csv").mkdir()
    with pytest.raises(OutputError, match=r"m\.csv: cannot be written"):
        manifest.write(small, tmp_path / "m.csv")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.csv", "set"]
    with pytest.raises(DataError, match=r"a manifest is a \.parquet or \.csv file"):
        manifest.write(small, tmp_path / "m.xlsx")


# loading ------------------------------------------------------------------------------------------------------------


def make_set(folder: Path, seed: int, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    for number, name in enumerate(names):
        picture(folder / ("yes" if number % 2 else "no") / f"{name}.png", seed=seed + number, size=(60, 50))
    return folder


def test_load_joins_sources_with_ids_of_their_own(tmp_path: Path) -> None:
    first, second = make_set(tmp_path / "one", 0), make_set(tmp_path / "two", 50, ("a", "d"))
    table = manifest.load([first, second])
    assert table["source"].to_list() == ["one"] * 3 + ["two"] * 2
    assert sorted(table["id"]) == ["b", "c", "d", "one_a", "two_a"]
    assert table["group"].null_count() == 0


def test_load_ties_copies_across_sources(tmp_path: Path) -> None:
    first, second = make_set(tmp_path / "one", 0), make_set(tmp_path / "two", 50, ("d", "e"))
    Image.open(first / "no" / "a.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(second / "no" / "copy.png")
    group = dict(manifest.load([first, second]).select("id", "group").rows())
    assert group["a"] == group["copy"]
    assert len(set(group.values())) == 5


def test_load_takes_manifests_tables_and_folders_that_hold_one(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "one", 0)
    built = manifest.build(folder)
    file = manifest.write(built.head(2).with_columns(source=pl.lit(None, pl.String)), folder / "manifest.parquet")
    assert manifest.load(folder, groups=False).height == 2
    assert manifest.load(file, groups=False)["source"].to_list() == ["one", "one"]
    assert manifest.load(built, groups=False).equals(built)


def test_load_keeps_two_folders_of_one_name_apart(tmp_path: Path) -> None:
    table = manifest.load([make_set(tmp_path / "x" / "data", 0), make_set(tmp_path / "y" / "data", 50)])
    assert table["source"].to_list() == ["data"] * 3 + ["data-2"] * 3
    assert table["id"].n_unique() == 6


def test_load_refuses_one_label_with_two_meanings(tmp_path: Path) -> None:
    grades = tmp_path / "grades"
    picture(grades / "g2" / "p.png")
    picture(grades / "g3" / "q.png")
    free = manifest.build(grades, layout="classes")
    with pytest.raises(DataError, match="label '0' means 'g2' and 'no_tumor'"):
        manifest.load([free, make_set(tmp_path / "one", 0)], groups=False)


def test_load_wants_something() -> None:
    with pytest.raises(DataError, match="nothing was given"):
        manifest.load([])


# groups -------------------------------------------------------------------------------------------------------------


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


def test_assigning_twice_changes_nothing(tmp_path: Path) -> None:
    table = manifest.assign_groups(manifest.build(make_set(tmp_path / "one", 0)))
    assert manifest.assign_groups(table).equals(table)


def test_an_unreadable_scan_is_a_group_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_set(tmp_path / "one", 0)
    (folder / "no" / "bad.png").write_bytes(b"\x89PNG broken")
    table = manifest.load(folder)
    assert table.filter(pl.col("id") == "bad")["group"].to_list() == ["one:bad"]
    assert "bad.png" in caplog.text and "compared with nothing" in caplog.text


def test_numbered_slices_without_patients_stay_in_blocks(tmp_path: Path) -> None:
    for number in (1, 2, 39, 41, 79, 81):
        picture(tmp_path / "images" / f"{number:04d}.jpg", seed=number, size=(256, 256))
        mask(tmp_path / "masks" / f"{number:04d}.png", size=(256, 256))
    (tmp_path / "labels.csv").write_text(
        "id,tumor_type\n" + "".join(f"{n:04d},glioma\n" for n in (1, 2, 39, 41, 79, 81))
    )
    table = manifest.build(tmp_path)
    assert table["group"].n_unique() == 3
    assert table.filter(pl.col("id").is_in(["0001", "0002", "0039"]))["group"].n_unique() == 1


def test_published_splits_that_part_copies_are_refused(tmp_path: Path) -> None:
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


# real data ----------------------------------------------------------------------------------------------------------


def test_real_sources_split_without_a_leak(shared_data: Path) -> None:
    navoneel = manifest.load(shared_data / "navoneel")
    folds = splits.grouped_kfold(navoneel)
    assert folds["fold"].value_counts()["count"].to_list() == pytest.approx([253 / 5] * 5, abs=3)
    lgg = manifest.assign_groups(manifest.build(shared_data / "lgg"), near=False)
    assert lgg["group"].n_unique() == 14
    cheng = splits.blocks(manifest.build(shared_data / "cheng"))
    shares = [(cheng["split"] == name).mean() for name in ("train", "val", "test")]
    assert sum(shares) > 0.75 and min(shares) > 0.05


@pytest.mark.parametrize("layout", ["yes_no"])
def test_an_unknown_layout_name_is_refused(tmp_path: Path, layout: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="unknown layout"):
        manifest.build(tmp_path, layout=layout)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_findings_are_collected_where_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("yes/1.png", "no/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((8, 8), 7, np.uint8))
    found: list[str] = []
    manifest.load(tmp_path, groups=False, findings=found)
    assert any("to the byte" in one for one in found) and not caplog.records
