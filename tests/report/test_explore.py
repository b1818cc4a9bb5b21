"""`explore` makes a page, a table with a row for every scan, and the sweep, from good scans and beside bad ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.imaging.features import NAMES
from tumorscope.report.explore import Exploration, drawn, explore


@pytest.fixture(scope="module")
def found(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exploration, Path]:
    table = manifest.load(phantom_folder, groups=False).head(11)
    bad = table.head(1).with_columns(id=pl.lit("gone"), path=pl.lit("gone.png"), sha256=pl.lit(None, pl.String))
    out = tmp_path_factory.mktemp("explored")
    return explore(pl.concat([table, bad]), out, sample=3, workers=1, command="tumorscope explore scans"), out


def test_the_page_holds_every_section_and_needs_nothing_else(found: tuple[Exploration, Path]) -> None:
    page = found[0].report.read_text("utf-8")
    for words in ("Grey values", "Clusters", "Enhancement", "Regions and symmetry", "Features", "gone.png"):
        assert words in page
    assert page.count("data:image/jpeg") >= 6 and "http://" not in page and "https://" not in page


def test_every_scan_has_its_row_and_a_bad_one_its_reason(found: tuple[Exploration, Path]) -> None:
    made, out = found
    table = pl.read_parquet(out / "features.parquet")
    assert table.height == 12 and set(NAMES) <= set(table.columns)
    assert table.filter(pl.col("problem").is_not_null())["id"].to_list() == ["gone"]
    assert len(made.failed) == 1 and "gone.png" in made.failed[0]
    assert pl.read_csv(out / "features.csv").height == 12


def test_the_sweep_on_paper_is_the_sweep_found(found: tuple[Exploration, Path]) -> None:
    made, out = found
    table = pl.read_csv(out / "kmeans.csv")
    assert table["k"].unique().sort().to_list() == list(range(2, 21))
    means = table.group_by("k", maintain_order=True).agg(pl.col("within").mean())["within"].to_numpy()
    assert np.allclose(means, made.sweep.means["within"])
    assert str(made.sweep.suggestion) in found[0].report.read_text("utf-8")


def test_the_sample_has_all_classes_and_no_group_twice_before_all_once(phantom_folder: Path) -> None:
    table = manifest.load(phantom_folder, groups=False)
    half = table.with_columns(group=pl.Series([f"g{row // 2}" for row in range(table.height)]))
    chosen = [one.id for one in drawn(half, 8, 0, lambda *_: None)]
    rows = half.filter(pl.col("id").is_in(chosen))
    assert len(chosen) == 8 and rows["label"].value_counts()["count"].to_list() == [4, 4]
    assert rows["group"].n_unique() == 8
    assert chosen == [one.id for one in drawn(half, 8, 0, lambda *_: None)]


def test_nothing_readable_is_one_line(tmp_path: Path, phantom_folder: Path) -> None:
    table = manifest.load(phantom_folder, groups=False).head(2).with_columns(path=pl.lit("gone.png"))
    with pytest.raises(DataError, match=r"no scan can be read; the last: gone\.png"):
        explore(table, tmp_path, workers=1)
    shutil.rmtree(tmp_path)
