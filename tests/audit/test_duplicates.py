from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tumorscope.audit.duplicates import find_duplicates, label_texts
from tumorscope.audit.measure import Measured, measure
from tumorscope.audit.traits import PREPARATION
from tumorscope.datasets import duplicates, manifest, phantom, splits
from tumorscope.errors import DataError


def head(seed: int) -> NDArray[np.float32]:
    return phantom.make(seed, size=96).image.astype(np.float32)


def measured(planes: Sequence[NDArray], **columns: Any) -> Measured:
    """A measured set of these slices; ids s0, s1, ... and one source where no columns say otherwise."""
    count = len(planes)
    table = pl.DataFrame(
        {
            "id": columns.pop("id", [f"s{row}" for row in range(count)]),
            "source": columns.pop("source", ["set"] * count),
            "problem": columns.pop("problem", pl.Series([None] * count, dtype=pl.String)),
            "scan_width": [plane.shape[1] for plane in planes],
            "scan_height": [plane.shape[0] for plane in planes],
            **columns,
        }
    )
    heads = np.stack([np.rint(255 * PREPARATION.prepare(plane).pixels).astype(np.uint8) for plane in planes])
    return Measured(table, duplicates.fingerprints(planes), heads, np.zeros((count, 48, 48), np.uint8))


def test_every_kind_of_copy_is_told_apart() -> None:
    planes = [head(0), head(1), head(0), head(1), head(2), head(0)[:, ::-1], head(3)]
    found = find_duplicates(
        measured(planes, sha256=list("abacdef"), pixel_hash=list("pqpqrst"), file_format=["png"] * 3 + ["tiff"] * 4)
    )
    kinds = {(one, other): kind for one, other, kind in found.pairs.select("row_1", "row_2", "kind").rows()}
    assert kinds == {(0, 2): "bytes", (1, 3): "pixels", (0, 5): "near", (2, 5): "near"}
    by_pair = {(row["row_1"], row["row_2"]): row["difference"] for row in found.pairs.rows(named=True)}
    assert by_pair[0, 2] == "the same file"
    assert by_pair[1, 3] == "the same pixels; as tiff instead of png"
    assert by_pair[0, 5].startswith("mirrored left-right")
    assert (found.scans, found.distinct, found.redundant) == (7, 4, 3)
    assert found.repeats == {"bytes": 1, "pixels": 1, "near": 1}
    assert (
        found.sentence() == "3 of 7 scans repeat another one (1 to the byte, 1 to the pixel, 1 nearly): 4 are distinct"
    )


def test_groups_name_their_members_sources_and_labels() -> None:
    planes = [head(0), head(1), head(0), head(2), head(1)[::-1], head(0)]
    found = find_duplicates(measured(planes, source=["a", "a", "b", "b", "b", "b"], label=[1, 0, 1, 0, 0, None]))
    first, second = found.groups.rows(named=True)
    assert first["group"] == "a:s0" and first["ids"] == ["s0", "s2", "s5"] and first["rows"] == [0, 2, 5]
    assert first["sources"] == ["a", "b"] and first["scans"] == 3
    assert second["ids"] == ["s1", "s4"] and not second["conflict"]
    assert first["labels"] == ["1"] and second["labels"] == ["0"]
    assert found.sources.rows() == [("a", 2, 2, 0), ("b", 4, 3, 1)]
    assert found.between.rows() == [("a", "b", 2, 2, 3)]
    assert any("2 of 2 scans of a stand again in b (3 of the 4 there)" in text for text in found.sentences())


def test_copies_of_different_labels_are_a_conflict_and_none_is_kept() -> None:
    planes = [head(0), head(1), head(0), head(1), head(2)]
    found = find_duplicates(measured(planes, label=[0, 1, 1, 1, 0]))
    assert found.conflicts["ids"].to_list() == [["s0", "s2"]]
    assert found.groups.filter("conflict")["keep"].to_list() == [None]
    assert found.clean["keep"].to_list() == [False, True, False, False, True]
    assert found.clean["reason"][0] == "its copies carry the labels 0 and 1; settle which one is right"
    assert found.sentences()[-1] == "1 group of copies carries different labels; the first: s0, s2"


def test_a_missing_label_contradicts_none() -> None:
    found = find_duplicates(measured([head(0), head(0)], label=[None, 1]))
    assert found.conflicts.height == 0
    assert found.sentences()[-1] == "no two copies carry different labels"


def test_clean_has_a_row_for_each_scan_and_keeps_one_of_each() -> None:
    planes = [head(0), head(1), head(0), head(0)[:, ::-1], np.zeros((96, 96), np.float32)]
    problem = pl.Series([None] * 4 + ["s4.png: is damaged; copy it again"], dtype=pl.String)
    found = find_duplicates(measured(planes, problem=problem, sha256=list("abcde")))
    assert found.clean.columns == ["id", "copies", "group", "keep", "reason"]
    assert found.clean["id"].to_list() == ["s0", "s1", "s2", "s3", "s4"]
    assert found.clean["keep"].to_list() == [True, True, False, False, False]
    assert found.clean["copies"].to_list() == ["set:s0", None, "set:s0", "set:s0", None]
    assert found.clean["reason"].to_list()[1] == "no copy"
    assert found.clean["reason"].to_list()[4] == "cannot be read: s4.png: is damaged; copy it again"
    assert (found.scans, found.distinct) == (4, 2)
    kept = found.clean.filter(pl.col("keep"))
    assert kept["group"].n_unique() == kept.height == found.distinct


def test_the_recommended_group_holds_copies_patients_and_parents_together() -> None:
    planes = [head(0), head(1), head(0), head(2), head(3), head(4)]
    scans = measured(
        planes, patient=["1", "1", None, None, None, None], parent_id=[None, None, None, "s2", None, None],
        group=[None, None, None, None, "g", "g"],
    )  # fmt: skip
    found = find_duplicates(scans)
    assert found.clean["group"].to_list() == ["set:s0"] * 4 + ["set:s4"] * 2
    table = found.with_groups(scans.table)
    with pytest.raises(DataError, match="is in test and train"):
        splits.check(table.with_columns(split=pl.Series(["train"] * 3 + ["test"] * 3)))


def test_equal_blank_scans_are_copies_by_their_bytes_only() -> None:
    blank = np.zeros((96, 96), np.float32)
    found = find_duplicates(measured([blank, blank, blank, head(0)], sha256=list("aabc")))
    assert found.pairs.select("row_1", "row_2", "kind", "agreement").rows() == [(0, 1, "bytes", 1.0)]
    assert found.distinct == 3


def test_channels_of_one_file_are_no_copies() -> None:
    planes = [head(0), phantom.make(1, "axial", "flair", size=96).image.astype(np.float32)]
    found = find_duplicates(measured(planes, sha256=["a", "a"], channel=[0, 1]))
    assert found.pairs.height == 0 and found.sentence() == "none of 2 scans repeats another one"


def test_findings_do_not_hang_on_the_order_of_the_rows() -> None:
    planes = [head(seed) for seed in range(5)] + [head(seed)[::-1] for seed in range(3)] + [head(0).T]
    scans = measured(planes, label=[0, 1] * 4 + [0], sha256=list("abcdefghi"))
    order = np.random.default_rng(0).permutation(len(planes))
    one, other = find_duplicates(scans), find_duplicates(scans.only(order))
    assert one.clean.sort("id").equals(other.clean.sort("id"))
    names = ("group", "scans", "ids", "labels", "conflict", "keep")
    assert one.groups.select(names).equals(other.groups.select(names))


@pytest.mark.parametrize("count", [0, 1])
def test_few_scans_have_no_copies(count: int) -> None:
    whole = measured([head(0)])
    found = find_duplicates(whole.only(np.arange(count)))
    assert (found.scans, found.distinct, found.pairs.height, found.groups.height) == (count, count, 0, 0)
    assert found.clean.height == count and len(found.sentences()) == 1


def test_a_threshold_that_is_no_correlation_is_refused() -> None:
    with pytest.raises(DataError, match="no correlation to find copies by"):
        find_duplicates(measured([head(0)]), 1.2)


def test_label_texts_prefer_names() -> None:
    assert label_texts(pl.DataFrame({"id": ["a"]})) == [None]
    assert label_texts(pl.DataFrame({"label": [2, None], "label_name": [None, None]})) == ["2", None]


def test_files_are_found_across_folders_formats_and_turns(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for label in ("yes", "no"):
            (tmp_path / name / label).mkdir(parents=True)
    for seed in range(6):
        image = phantom.make(seed, size=128, lesion="glioma" if seed % 2 else None).image
        label = "yes" if seed % 2 else "no"
        cv2.imwrite(str(tmp_path / "one" / label / f"{seed}.png"), image)
        copy = cv2.resize(np.ascontiguousarray(image[:, ::-1]), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        if seed < 4:
            cv2.imwrite(str(tmp_path / "two" / label / f"c{seed}.jpg"), copy, [cv2.IMWRITE_JPEG_QUALITY, 60])
    other = phantom.make(50, size=128).image
    cv2.imwrite(str(tmp_path / "two" / "no" / "own.png"), other)
    found = find_duplicates(measure(manifest.load([tmp_path / "one", tmp_path / "two"], groups=False), workers=1))
    pairs = found.pairs.select("id_1", "id_2", "kind").rows()
    assert pairs == [(f"{seed}", f"c{seed}", "near") for seed in (0, 2, 1, 3)]
    assert all(
        words.startswith("mirrored left-right; smaller (102×102 px, not 128×128)")
        and words.endswith("as jpeg instead of png")
        for words in found.pairs["difference"]
    )
    assert found.clean.filter(~pl.col("keep"))["id"].sort().to_list() == ["c0", "c1", "c2", "c3"]
    assert found.clean.filter(pl.col("id") == "c1")["reason"][0] == "copy of 1, which is larger"
