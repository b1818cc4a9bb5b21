"""A whole audit of phantoms with planted faults: each is found, told in three sentences, and written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import polars as pl
import pytest

from tumorscope.audit import masks as masks_module
from tumorscope.audit import measure as measure_module
from tumorscope.audit.run import Audit, audit
from tumorscope.errors import DataError
from tumorscope.report.audit import write_audit


@pytest.fixture(scope="module")
def two_sets(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Thirty phantoms, and a second set with ten mirrored and recompressed copies of them and a broken file."""
    root = tmp_path_factory.mktemp("two")
    first, second = root / "first", root / "second"
    images = sorted((phantom_folder / "images").glob("*.png"))
    for folder in ("no", "yes"):
        (first / folder).mkdir(parents=True)
        (second / folder).mkdir(parents=True)
    for number, path in enumerate(images):
        folder = ("no", "yes")[number % 2]
        if number < 30:
            shutil.copy(path, first / folder / path.name)
        if number < 10:
            mirrored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:, ::-1]
            cv2.imwrite(str(second / folder / f"copy{number}.jpg"), mirrored, [cv2.IMWRITE_JPEG_QUALITY, 80])
        if 30 <= number < 50:
            shutil.copy(path, second / folder / path.name)
    (second / "no" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return first, second


@pytest.fixture(scope="module")
def found(two_sets: tuple[Path, Path]) -> Audit:
    return audit([*two_sets], workers=1)


def test_planted_copies_are_found_and_nothing_else(found: Audit) -> None:
    assert found.duplicates.redundant == 10
    for _, ids in found.duplicates.groups.select("group", "ids").rows():
        assert len(ids) == 2 and any("copy" in name for name in ids)
    assert {leak.with_twin for leak in found.leaks} == {10}


def test_three_sentences_name_the_copies_first(found: Audit) -> None:
    first, second, third = found.headlines()
    assert first.startswith("10 of ") and "twin" in second and third.endswith(".")


def test_the_broken_file_is_named_and_not_kept(found: Audit) -> None:
    clean = found.clean()
    broken = clean.filter(pl.col("id").str.contains("broken"))
    assert broken.height == 1 and not broken["keep"][0] and "cannot be read" in broken["reason"][0]
    assert clean["keep"].sum() == found.duplicates.distinct


def test_copies_share_their_recommended_group_and_one_is_kept(found: Audit) -> None:
    copies = found.clean().filter(pl.col("copies").is_not_null())
    per_group = copies.group_by("copies").agg(pl.col("group").n_unique(), pl.col("keep").sum())
    assert set(per_group["group"]) == {1} and set(per_group["keep"]) == {1}


def test_the_report_its_json_and_the_clean_manifest_agree(found: Audit, tmp_path: Path) -> None:
    page = write_audit(found, tmp_path, "tumorscope audit first second").read_text("utf-8")
    values = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    clean = pl.read_parquet(tmp_path / "clean.parquet")
    assert values["duplicates"]["distinct"] == clean["keep"].sum()
    assert values["headlines"] == list(found.headlines())
    for sentence in ("10 of ", "Copies", "Shortcuts", "Random labels", "Masks", "broken"):
        assert sentence in page
    assert page.count("data:image/jpeg") >= 1


def test_what_cannot_be_tested_is_said(phantom_folder: Path, tmp_path: Path) -> None:
    images = sorted((phantom_folder / "images").glob("*.png"))[:6]
    for path in images:
        shutil.copy(path, tmp_path / path.name)
    alone = audit(tmp_path, workers=1)
    assert {"shortcuts", "random labels", "label errors"} <= set(alone.skipped)
    page = write_audit(alone, tmp_path / "out").read_text("utf-8")
    assert "could not be tested" in page


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match="no scan can be read"):
        audit(tmp_path, workers=1)


def test_a_second_audit_reads_neither_scans_nor_masks(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = [path for path in sorted((phantom_folder / "masks").glob("*.png")) if cv2.imread(str(path)).any()]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for path in marked[:4]:  # of one class, on which nothing is trained
            shutil.copy(phantom_folder / folder / path.name, tmp_path / folder / path.name)
    first = audit(tmp_path, cache=tmp_path / "cache", workers=1)
    assert first.masks.table.height
    read: list[object] = []
    monkeypatch.setattr(masks_module, "look", read.append)
    monkeypatch.setattr(measure_module, "traits", lambda *files: read.append(files))
    second = audit(tmp_path, cache=tmp_path / "cache", workers=1)
    assert not read and second.masks.table.equals(first.masks.table) and second.to_dict() == first.to_dict()
