from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tumorscope import io
from tumorscope.audit import measure as module
from tumorscope.audit.measure import Measured, measure
from tumorscope.audit.traits import PREPARATION
from tumorscope.datasets import duplicates, manifest, processes
from tumorscope.datasets.schema import SCHEMA


@pytest.fixture
def some(phantom_folder: Path) -> pl.DataFrame:
    """The manifest of ten phantoms."""
    return manifest.load(phantom_folder, groups=False).head(10)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read since."""
    seen: list[str] = []
    read = module.traits

    def spy(path: str, channel: int | None = None) -> dict[str, Any]:
        seen.append(path)
        return read(path, channel)

    monkeypatch.setattr(module, "traits", spy)
    return seen


def assert_same(one: Measured, other: Measured) -> None:
    assert one.table.equals(other.table)
    for left, right in ((one.prints, other.prints), (one.heads, other.heads), (one.around, other.around)):
        assert left.dtype == right.dtype
        assert np.array_equal(left, right)


def test_rows_and_arrays_stand_in_the_tables_order(phantom_set: Measured, phantom_folder: Path) -> None:
    table = phantom_set.table
    assert table.columns[: len(SCHEMA)] == list(SCHEMA)
    own = [name for name in SCHEMA if name != "group"]
    assert table.select(own).equals(manifest.load(phantom_folder, groups=False).select(own))
    for row in (0, 31, 59):
        pixels = io.read(table["path"][row]).pixels
        assert np.array_equal(phantom_set.heads[row], np.rint(PREPARATION.prepare(pixels).pixels * 255))
        assert np.allclose(phantom_set.prints[row], duplicates.thumbnails(pixels), atol=2e-4)
        assert (table["scan_height"][row], table["scan_width"][row]) == pixels.shape
        assert table["bytes"][row] == Path(table["path"][row]).stat().st_size
    assert table.select("suffix", "file_format", "mode", "bits").unique().rows() == [(".png", "png", "L", 8)]
    assert np.allclose((phantom_set.prints**2).sum(axis=(2, 3)), 1, atol=1e-5)
    assert phantom_set.sentence() == "all 60 scans could be read"


def test_the_cache_gives_back_what_was_measured_and_nothing_is_read(
    some: pl.DataFrame, tmp_path: Path, calls: list[str]
) -> None:
    first = measure(some, cache=tmp_path, workers=1)
    assert len(calls) == 10
    assert_same(measure(some, cache=tmp_path, workers=1), first)
    turned = some.reverse()
    assert_same(measure(turned, cache=tmp_path, workers=1), first.only(np.arange(10)[::-1]))
    assert len(calls) == 10
    assert_same(measure(some, workers=1), first)
    assert len(calls) == 20


def test_a_killed_run_goes_on_where_it_stopped(
    some: pl.DataFrame, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 1)
    monkeypatch.setattr(module, "SHARD", 3)
    spy = module.traits

    def killed(path: str, channel: int | None = None) -> dict[str, Any]:
        if len(calls) == 7:
            raise KeyboardInterrupt
        return spy(path, channel)

    monkeypatch.setattr(module, "traits", killed)
    with pytest.raises(KeyboardInterrupt):
        measure(some, cache=tmp_path, workers=1)
    assert len(list(tmp_path.glob("*.parquet"))) == 3  # 3 + 3, and the one that was in hand
    monkeypatch.setattr(module, "traits", spy)
    resumed = measure(some, cache=tmp_path, workers=1)
    assert len(calls) == len(set(calls)) == 10
    assert_same(resumed, measure(some, workers=1))


def test_a_damaged_scan_is_told_and_the_others_go_on(some: pl.DataFrame, tmp_path: Path, calls: list[str]) -> None:
    shutil.copytree(Path(some["path"][0]).parent, tmp_path / "images")
    moved = [str(tmp_path / "images" / Path(path).name) for path in some["path"]]
    Path(moved[4]).write_bytes(Path(moved[4]).read_bytes()[:200])
    Path(moved[6]).unlink()
    table = some.with_columns(path=pl.Series(moved), sha256=pl.lit(None, pl.String))
    found = measure(table, cache=tmp_path / "cache", workers=1)
    assert found.table["problem"].is_not_null().arg_true().to_list() == [4, 6]
    assert all("; " in problem and "\n" not in problem for problem in found.table["problem"].drop_nulls())
    assert found.table["noise"].is_null().arg_true().to_list() == [4, 6]
    for array in (found.prints, found.heads, found.around):
        assert not array[[4, 6]].any()
        assert array[[0, 1, 2, 3, 5, 7, 8, 9]].reshape(8, -1).any(axis=1).all()
    assert found.readable.table["id"].to_list() == [some["id"][row] for row in (0, 1, 2, 3, 5, 7, 8, 9)]
    assert found.sentence().startswith("2 of 10 scans could not be read; the first: ")
    del calls[:]
    assert_same(measure(table, cache=tmp_path / "cache", workers=1), found)
    assert [Path(path).name for path in calls] == [Path(moved[row]).name for row in (4, 6)]  # tried again, they alone


def test_a_file_that_changed_is_measured_again(some: pl.DataFrame, tmp_path: Path, calls: list[str]) -> None:
    path = tmp_path / "scan.png"
    shutil.copyfile(some["path"][0], path)
    table = some.head(1).with_columns(path=pl.lit(str(path)))
    first = measure(table, cache=tmp_path, workers=1)
    shutil.copyfile(some["path"][1], path)
    second = measure(table, cache=tmp_path, workers=1)  # the manifest still tells the old hash
    assert len(calls) == 2
    assert first.table["pixel_hash"][0] != second.table["pixel_hash"][0]


def test_copies_are_read_once(some: pl.DataFrame, tmp_path: Path, calls: list[str]) -> None:
    shutil.copyfile(some["path"][0], tmp_path / "copy.png")
    both = pl.concat([some.head(1), some.head(1).with_columns(id=pl.lit("copy"), path=pl.lit(f"{tmp_path}/copy.png"))])
    found = measure(both, workers=1)
    assert len(calls) == 1
    assert np.array_equal(found.heads[0], found.heads[1])
    assert found.table["pixel_hash"].n_unique() == 1


def test_channels_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    sequences = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    io.write_image(tmp_path / "three.png", sequences)
    rows = pl.DataFrame({"id": list("abcd"), "path": [str(tmp_path / "three.png")] * 4, "channel": [0, 1, 2, None]})
    for _ in range(2):  # measured, then from the cache
        hashes = measure(rows, cache=tmp_path / "cache", workers=1).table["pixel_hash"]
        assert hashes.n_unique() == 4
        assert measure(rows[2:3], cache=tmp_path / "cache", workers=1).table["pixel_hash"][0] == hashes[2]


def test_processes_find_what_one_finds(
    some: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "FEW", 2)
    monkeypatch.setattr(module, "PORTION", 3)
    told: list[tuple[int, int]] = []
    found = measure(some, cache=tmp_path, workers=2, progress=lambda done, whole: told.append((done, whole)))
    assert_same(found, measure(some, workers=1))
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]
    assert capfd.readouterr() == ("", "")


def test_nothing_gives_nothing() -> None:
    found = measure(pl.DataFrame(schema={"id": pl.String, "path": pl.String}))
    assert found.prints.shape == (0, 2, 24, 24)
    assert found.table.height == 0
    assert found.table["noise"].dtype == pl.Float64
