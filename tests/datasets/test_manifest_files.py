"""A manifest on disk: what is written is read, and a file that contradicts itself is refused in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import manifest
from tumorscope.datasets.schema import SCHEMA, conform
from tumorscope.errors import DataError, OutputError

Make = Callable[..., Path]


@pytest.fixture
def small(tmp_path: Path, picture: Make, mask: Make) -> pl.DataFrame:
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
def test_a_manifest_that_contradicts_itself(tmp_path: Path, text: str, words: str, picture: Make) -> None:
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


def test_whole_floats_are_labels_and_other_columns_stay(tmp_path: Path, picture: Make) -> None:
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
