from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tumorscope import io
from tumorscope.errors import ScanError
from tumorscope.io.inputs import MAX_ID


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    format = {".jpg": "JPEG", ".tif": "TIFF"}.get(path.suffix.lower(), "PNG")
    Image.new("L", (4, 4)).save(path, format=format)
    return path


def _ids(inputs: list) -> list[str]:
    return [item.id for item in io.discover(inputs)]


def test_a_folder_is_walked_in_natural_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    for name in ("10.png", "2.jpg", "sub/1.png", "sub/deep/x.tif", "scan_without_suffix", "B.PNG"):
        _image(tmp_path / name)
    for name in ("labels.csv", "notes.txt", ".hidden.png", "._2.jpg", "sub/.DS_Store", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if "png" not in name else _image(tmp_path / "2.jpg").read_bytes())
    found = io.discover([tmp_path])
    assert [item.id for item in found] == ["2", "10", "B", "scan_without_suffix", "1", "x"]
    assert found.skipped == 2 and all(item.error is None for item in found)


def test_a_folder_keeps_what_is_named_like_a_scan(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.dcm").write_text("text")
    (tmp_path / "c.nii.gz").write_bytes(b"\x1f\x8bbroken")
    items = io.discover([tmp_path])
    assert [item.id for item in items] == ["a", "b", "c"]
    for item in items:
        assert item.error is not None
        with pytest.raises(ScanError, match=r"\.(jpg|dcm|nii\.gz): "):
            item.read()


def test_what_is_named_itself_always_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    items = io.discover([tmp_path / "a.txt", tmp_path / "none.png"])
    assert [item.id for item in items] == ["a", "none"]
    assert "plain text" in str(items[0].error) and "no such file" in str(items[1].error)


def test_the_second_of_a_stem_gets_folders_in_front(tmp_path: Path) -> None:
    paths = [_image(tmp_path / name) for name in ("yes/Y1.jpg", "no/Y1.jpg", "more/no/Y1.jpg", "no/y1.png")]
    ids = _ids(paths)
    assert ids[:3] == ["Y1", "no_Y1", "more_no_Y1"]
    assert len({name.casefold() for name in ids}) == 4
    assert _ids([_image(tmp_path / "no_Y1.png"), paths[0], paths[1]])[2] != "no_Y1"


def test_composed_and_decomposed_letters_are_one_stem(tmp_path: Path) -> None:
    ids = _ids([_image(tmp_path / "a" / "Scan é.png"), _image(tmp_path / "b" / "Scan é.png")])
    assert ids[0] == "Scan é" and ids[1].startswith("b_")


def test_a_file_given_twice_stands_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _image(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert _ids([tmp_path / "a.png", "a.png", "./a.png", tmp_path, "*.png"]) == ["a"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "B", "c/d"]), st.sampled_from(["x", "X", "a_x", "d_x"]), st.integers(0, 3)),
        unique=True,
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_are_unique_whatever_the_names(tmp_path: Path, names) -> None:
    paths = [tmp_path / folder / f"{stem}.{['png', 'jpg', 'tif', 'bmp'][suffix]}" for folder, stem, suffix in names]
    ids = _ids(paths)
    assert len({name.casefold() for name in ids}) == len(ids) == len(set(paths))


def test_long_and_foreign_names(tmp_path: Path) -> None:
    names = ["é" * 120 + ".png", "脳腫瘍 画像.png", "with\nbreak.png", "a" * 240 + "1.png", "a" * 240 + "2.png"]
    items = io.discover([_image(tmp_path / name) for name in names])
    assert items[1].id == "脳腫瘍 画像" and items[2].id == "with_break"
    assert len({item.id for item in items}) == 5
    for item in items:
        assert len(item.id.encode()) <= MAX_ID and item.read().shape == (4, 4)
        (tmp_path / f"{item.id}.nii.gz").write_bytes(b"")  # a valid file name


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"scan-\xff.png")
    try:
        _image(tmp_path / name)
    except OSError:
        pytest.skip("the file system takes no such name")
    (item,) = io.discover([tmp_path])
    assert item.id.encode() and item.read().shape == (4, 4)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.nii.gz", "a"), ("a.b.PNG", "a.b"), ("IM0001", "IM0001"), ("1.2.840.113619.7", "1.2.840.113619.7"),
        ("Y1 .jpg", "Y1 "),
    ],
)  # fmt: skip
def test_stems(tmp_path: Path, name: str, stem: str) -> None:
    assert _ids([_image(tmp_path / name)]) == [stem]


def test_patterns(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b.png", "sub/a3.png", "a[x].png"):
        _image(tmp_path / name)
    (tmp_path / "a_labels.csv").write_text("x\n")
    assert _ids([f"{tmp_path}/a*"]) == ["a1", "a2", "a[x]"]  # by the rules of a folder: no table
    assert _ids([f"{tmp_path}/**/a3.png"]) == ["a3"]
    assert _ids([f"{tmp_path}/a[x].png"]) == ["a[x]"]  # a file of that very name
    (nothing,) = io.discover([f"{tmp_path}/z*.png"])
    assert "no file matches this pattern" in str(nothing.error)
    assert _ids([f"{tmp_path}/s*"]) == ["a3"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_manifest_names_files_beside_it_and_channels(tmp_path: Path, suffix: str) -> None:
    rgb = np.dstack([np.full((4, 4), value, np.uint8) for value in (10, 100, 200)])
    (tmp_path / "data").mkdir()
    Image.fromarray(rgb).save(tmp_path / "data" / "s.png")
    absolute = _image(tmp_path / "else" / "t.png")
    table = pl.DataFrame(
        {"path": ["data/s.png", "data/s.png", str(absolute), "gone.png", None], "channel": [0, 2, None, None, None]}
    )
    manifest = tmp_path / f"m{suffix}"
    table.write_csv(manifest) if suffix == ".csv" else table.write_parquet(manifest)
    items = io.discover([manifest])
    assert [item.id for item in items] == ["s", "data_s", "t", "gone", "m"]
    assert [item.read().pixels[0, 0] for item in items[:2]] == [10, 200]
    assert items[1].read(channel=1).pixels[0, 0] == 100
    assert "no such file" in str(items[3].error) and "row 5 has no path" in str(items[4].error)


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("m.csv", b"file,label\na.png,1\n", "has no 'path' column"),
        ("m.csv", b"", "no readable table"),
        ("m.parquet", b"PAR1 but not really", "no readable table"),
        ("m.csv", b"path,channel\na.png,two\n", "row 1 has channel 'two'"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, name: str, content: bytes, finding: str) -> None:
    (tmp_path / name).write_bytes(content)
    (item,) = io.discover([tmp_path / name])
    assert finding in str(item.error) and "\n" not in str(item.error)


def test_an_unreadable_folder_is_one_item_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _image(tmp_path / "ok" / "a.png")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    closed, fine = io.discover([tmp_path])
    assert "the folder cannot be read (Permission denied)" in str(closed.error) and fine.id == "a"


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    _image(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "root" / "broken.png").symlink_to(tmp_path / "nowhere")
    items = io.discover([tmp_path / "root"])
    assert [(item.id, item.error is None) for item in items] == [("broken", False), ("a", True)]


def test_single_dicom_files_keep_their_stem_and_series_take_the_folders(
    tmp_path: Path, make_series, make_dicom
) -> None:
    paths = make_series("scan", 3)
    make_dicom("scan/other.dcm", np.zeros((9, 9), np.uint8), SeriesInstanceUID="7.7")
    make_dicom("scan/DICOMDIR", None, SOPClassUID="1.2.840.10008.1.3.10")
    items = io.discover([tmp_path / "scan"])
    assert sorted((item.id, len(item.files)) for item in items) == [("other", 1), ("scan", 3)]
    explicit = io.discover(paths)  # files named themselves are single slices
    assert [item.read().axes for item in explicit] == ["YX"] * 3


def test_a_damaged_dicom_stays_in_the_list(tmp_path: Path, make_series) -> None:
    make_series("s", 3)
    (tmp_path / "s" / "bad.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    items = io.discover([tmp_path / "s"])
    assert [item.id for item in items if item.error is None] == ["s"]
    assert sum(item.error is not None for item in items) <= 1


def test_the_data_at_hand(shared_data: Path) -> None:
    found = io.discover([shared_data / "navoneel"])
    assert len(found) == 253 == len({item.id.casefold() for item in found})
    assert all(item.error is None for item in found)
    case = io.discover([shared_data / "remind_dicom"])
    assert [(item.id, len(item.files)) for item in case] == [("t1_post", 60)] and case.skipped >= 1
