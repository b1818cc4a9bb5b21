from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tumorscope.audit import masks as module
from tumorscope.audit.mask_facts import SPECK, look
from tumorscope.audit.mask_findings import KINDS
from tumorscope.audit.masks import Masks, masks
from tumorscope.datasets import duplicates, manifest, phantom
from tumorscope.datasets.truth import RULE
from tumorscope.errors import OutputError

SIZE = 96
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def heads() -> list[phantom.Phantom]:
    """Fourteen heads with a tumour that stands out from its surroundings."""
    kinds = [("axial", "meningioma"), ("coronal", "metastasis")]
    drawn = [phantom.make(seed, *kinds[seed % 2][:1], size=SIZE, lesion=kinds[seed % 2][1]) for seed in range(14)]
    assert all(scan.mask.sum() > 20 for scan in drawn)
    return drawn


@pytest.fixture
def table(heads: list[phantom.Phantom], tmp_path: Path) -> pl.DataFrame:
    """Their manifest, three of them on disk."""
    return written(heads[:3], tmp_path)


def written(heads: list[phantom.Phantom], folder: Path, shown: Change = lambda mask: mask) -> pl.DataFrame:
    rows = []
    for number, scan in enumerate(heads):
        image, mask = folder / f"s{number}.png", folder / f"s{number}_mask.png"
        cv2.imwrite(str(image), scan.image)
        cv2.imwrite(str(mask), shown(scan.mask).astype(np.uint8) * 255)
        rows.append({"id": f"s{number}", "path": str(image), "mask_path": str(mask), "label": 1})
    return manifest.conform(pl.DataFrame(rows), "test").with_columns(source=pl.lit("phantoms"))


def draw(table: pl.DataFrame, row: int, mask: np.ndarray) -> None:
    cv2.imwrite(table["mask_path"][row], mask)


def kinds(found: Masks) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.id) for finding in found.findings]


def ball(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.hypot(rows - y, columns - x) < radius


def test_good_masks_have_no_finding(table: pl.DataFrame) -> None:
    found = masks(table)
    assert found.findings == ()
    assert found.sentence() == "3 of 3 scans have a mask; nothing is wrong with them"
    assert found.table["head_found"].all() and found.table["outside"].max() == 0
    assert found.rule == RULE


def test_an_empty_mask_is_wrong_only_where_the_label_says_tumour(table: pl.DataFrame) -> None:
    draw(table, 0, np.zeros((SIZE, SIZE), np.uint8))
    draw(table, 1, np.zeros((SIZE, SIZE), np.uint8))
    found = masks(table.with_columns(label=pl.Series([1, 0, None])))
    assert kinds(found) == [("empty", "s0")]
    assert "2 of them empty; 1 are empty though the label says tumour" in found.sentence()


def test_a_mark_on_a_scan_labelled_none(table: pl.DataFrame) -> None:
    found = masks(table.with_columns(label=0, label_name=pl.lit("no_tumor")))
    assert [kind for kind, _ in kinds(found)] == ["unexpected"] * 3
    assert found.findings[0].amount == found.table["marked"][0]
    assert "but the label is 0 (no_tumor)" in found.findings[0].sentence()


def test_class_number_0_of_other_classes_says_nothing_about_tumours(table: pl.DataFrame) -> None:
    named = table.with_columns(label=pl.Series([0, 0, 1]), label_name=pl.Series(["grade 1", "glioma", "grade 2"]))
    assert masks(named).findings == ()


def test_another_size_is_told_and_nothing_else_is_said_of_it(table: pl.DataFrame, heads: list[phantom.Phantom]) -> None:
    draw(table, 1, cv2.resize(heads[1].mask.astype(np.uint8), (50, 40)) * 255)
    finding = masks(table).findings
    assert [(one.kind, one.id) for one in finding] == [("size", "s1")]
    assert "the mask is 40x50, its scan 96x96; resample" in finding[0].sentence()


def test_jpeg_rims_are_counted_and_the_rule_is_told(table: pl.DataFrame, tmp_path: Path) -> None:
    mask = cv2.imread(table["mask_path"][0], cv2.IMREAD_GRAYSCALE)
    path = tmp_path / "s0_mask.jpg"
    cv2.imwrite(str(path), mask, [cv2.IMWRITE_JPEG_QUALITY, 75])
    stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    found = masks(table.with_columns(mask_path=pl.when(id="s0").then(pl.lit(str(path))).otherwise("mask_path")))
    assert kinds(found) == [("grey", "s0")]
    between = (stored > 0) & (stored < stored.max())
    assert found.findings[0].amount == between.sum()
    assert f"{(between & (stored <= stored.max() / 2)).sum()} of them are not marked, because {RULE}" in (
        found.findings[0].what
    )


def test_a_jpeg_of_noise_is_no_mask(table: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "s0_mask.jpg"
    noise = np.random.default_rng(0).integers(0, 12, (SIZE, SIZE), np.uint8)
    cv2.imwrite(str(path), noise)
    found = masks(table.with_columns(mask_path=pl.when(id="s0").then(pl.lit(str(path))).otherwise("mask_path")))
    assert kinds(found) == [("faint", "s0")]


def test_several_classes_are_told_from_grey_rims(table: pl.DataFrame, heads: list[phantom.Phantom]) -> None:
    core = cv2.erode(heads[0].mask.astype(np.uint8), np.ones((3, 3)))
    draw(table, 0, heads[0].mask * np.uint8(1) + core * np.uint8(3))
    wide = cv2.resize(heads[1].mask.astype(np.uint8) * 255, None, fx=4, fy=4)
    draw(table, 1, cv2.resize(wide, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    draw(table, 2, np.where(ball(40, 40, 9), 2, heads[2].mask * np.uint8(4)).astype(np.uint8))
    found = [finding for finding in masks(table).findings if finding.kind in ("classes", "grey")]
    assert [(finding.kind, finding.id) for finding in found] == [("classes", "s2"), ("grey", "s0"), ("grey", "s1")]
    assert found[0].amount == (ball(40, 40, 9)).sum()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("full", lambda mask: np.ones_like(mask)),
        ("inverted", lambda mask: ~mask),
        ("tiny", lambda mask: ball(48, 48, 1)),
        ("outside", lambda mask: mask | ball(4, 4, 4)),
    ],
)
def test_masks_that_lie_where_no_lesion_is(kind: str, change: Change, table: pl.DataFrame, heads: list) -> None:
    draw(table, 0, change(heads[0].mask).astype(np.uint8) * 255)
    assert kinds(masks(table))[0] == (kind, "s0")


def test_a_brain_mask_is_no_lesion(table: pl.DataFrame, heads: list[phantom.Phantom]) -> None:
    draw(table, 0, heads[0].head.astype(np.uint8) * 255)
    draw(table, 1, (~heads[1].head).astype(np.uint8) * 255)
    assert kinds(masks(table))[:2] == [("inverted", "s1"), ("whole", "s0")]


def test_the_share_outside_the_head_is_measured(table: pl.DataFrame, heads: list[phantom.Phantom]) -> None:
    stray = ball(4, 4, 5)
    mask = heads[0].mask | stray
    draw(table, 0, mask.astype(np.uint8) * 255)
    finding = next(finding for finding in masks(table).findings if finding.kind == "outside")
    assert finding.amount == pytest.approx(stray.sum() / mask.sum())


def test_specks_are_regions_below_a_share_of_the_largest(table: pl.DataFrame) -> None:
    large = ball(48, 48, 12)
    below, above = int(SPECK * large.sum()) - 1, int(SPECK * large.sum()) + 2
    mask = large.copy()
    mask[60 + 12, 30 : 30 + below] = True
    mask[25, 30 : 30 + above] = True
    draw(table, 0, mask.astype(np.uint8) * 255)
    finding = next(finding for finding in masks(table).findings if finding.kind == "specks")
    assert finding.amount == below
    assert f"1 of 3 regions are below {SPECK:.0%} of the largest ({below} pixels beside {large.sum()})" in finding.what


def test_one_file_for_several_scans_and_equal_masks_in_two_files(table: pl.DataFrame, heads: list) -> None:
    shared = table.with_columns(mask_path=pl.lit(table["mask_path"][0]))
    found = [finding for finding in masks(shared).findings if finding.kind == "shared"]
    assert [(finding.id, finding.amount) for finding in found] == [("s0", 3)]
    assert masks(shared.with_columns(case=pl.lit("one"))).counts().keys() <= {"name", "neighbour", "outside"}
    draw(table, 2, heads[0].mask.astype(np.uint8) * 255)
    found = [finding for finding in masks(table).findings if finding.kind == "repeated"]
    assert [finding.id for finding in found] == ["s2"] and "the same as those of 's0'" in found[0].what


def test_copies_of_one_scan_may_have_equal_masks(table: pl.DataFrame, heads: list[phantom.Phantom]) -> None:
    brighter = np.clip(heads[0].image * 1.1, 0, 255).astype(np.uint8)
    cv2.imwrite(table["path"][2], brighter)
    draw(table, 2, heads[0].mask.astype(np.uint8) * 255)
    prints = duplicates.fingerprints([str(path) for path in table["path"]])
    assert masks(table, prints).findings == ()
    assert kinds(masks(table)) == [("repeated", "s2")]


def test_rows_of_one_file_share_its_mask(table: pl.DataFrame) -> None:
    """Repeated rows, as over-sampling makes them."""
    twice = pl.concat([table, table.head(1).with_columns(id=pl.lit("s0-r1"), parent_id=pl.lit("s0"))])
    assert masks(twice).findings == ()


def test_the_name_of_another_scan(table: pl.DataFrame) -> None:
    swapped = table.with_columns(mask_path=pl.Series([table["mask_path"][row] for row in (1, 0, 2)]))
    found = [finding for finding in masks(swapped).findings if finding.kind == "name"]
    assert [finding.id for finding in found] == ["s0", "s1"]
    assert "named as scan 's1', but is given to 's0'; correct mask_path" in found[0].sentence()


def test_what_fails_is_told_and_the_others_go_on(table: pl.DataFrame) -> None:
    Path(table["path"][0]).write_bytes(b"no image")
    Path(table["mask_path"][1]).unlink()
    done: list[tuple[int, int]] = []
    found = masks(table, progress=lambda *count: done.append(count))
    assert kinds(found) == [("unreadable", "s0"), ("unreadable", "s1")]
    assert found.table["marked"].is_null().to_list() == [False, True, False]
    assert found.findings[0].file == table["path"][0]
    assert found.findings[1].sentence() == (
        f"{table['mask_path'][1]}: there is no such file; check the path, or drop the row"
    )
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_two_processes_find_what_one_finds(heads: list[phantom.Phantom], tmp_path: Path) -> None:
    table = written(heads[:2], tmp_path)
    many = pl.concat([table.with_columns(id=pl.col("id") + f"-{number}") for number in range(33)])
    one, two = masks(many, workers=1), masks(many, workers=2)
    assert one.table.equals(two.table) and one.findings == two.findings
    assert one.table.height == 66


def test_a_source_whose_masks_are_all_mirrored(heads: list[phantom.Phantom], tmp_path: Path) -> None:
    found = masks(written(heads, tmp_path, lambda mask: mask[:, ::-1]))
    whole = [finding for finding in found.findings if finding.kind == "source"]
    assert [finding.file for finding in whole] == ["phantoms"]
    assert "the mask fits better mirrored left to right" in whole[0].what
    assert whole[0].id is None and whole[0].amount > 0.6
    assert found.counts()["turned"] >= 3


def test_a_source_whose_masks_are_those_of_the_next_scan(heads: list[phantom.Phantom], tmp_path: Path) -> None:
    table = written(heads, tmp_path)
    moved = table.with_columns(mask_path=pl.col("mask_path").shift(-1)).head(13)
    whole = [finding for finding in masks(moved).findings if finding.kind == "source"]
    assert len(whole) == 1 and "that of the scan before fits better than its own mask" in whole[0].what
    assert [finding.kind for finding in masks(table).findings] == []


def test_exchanged_masks_fit_the_neighbour(heads: list[phantom.Phantom], tmp_path: Path) -> None:
    table = written(heads[2:5], tmp_path)
    first, second = (Path(path).read_bytes() for path in table["mask_path"][:2])
    Path(table["mask_path"][0]).write_bytes(second)
    Path(table["mask_path"][1]).write_bytes(first)
    found = masks(table)
    assert {("neighbour", "s0"), ("neighbour", "s1")} <= set(kinds(found))
    assert found.table["neighbour"].to_list()[:2] == ["s1", "s0"]


def test_volumes_are_measured_as_a_whole(tmp_path: Path) -> None:
    volume = phantom.make_volume(5, shape=(10, 64, 64), spacing=(8, 3, 3), lesion="meningioma")
    voxels = volume.image.transpose(2, 1, 0)
    affine = volume.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "c_t1ce.nii.gz")
    rows = []
    for name, shift, flip in (("right", 0, 1), ("shifted", 9, 1), ("reverse", 0, -1)):
        place = affine.copy()
        place[0, 3] += shift
        stored = volume.mask[::flip].transpose(2, 1, 0).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(stored, place), tmp_path / f"{name}_seg.nii.gz")
        rows.append({"id": name, "mask_path": str(tmp_path / f"{name}_seg.nii.gz"), "case": "c", "label": 1})
    found = masks(pl.DataFrame(rows).with_columns(path=pl.lit(str(tmp_path / "c_t1ce.nii.gz"))))
    facts = {row["id"]: row for row in found.table.to_dicts()}
    assert facts["right"]["marked"] == volume.mask.sum() and facts["right"]["outside"] == 0
    assert ("off_grid", "shifted") in kinds(found) and ("off_grid", "right") not in kinds(found)
    assert facts["shifted"]["shift"] == pytest.approx(9 / min(volume.spacing), rel=1e-3)
    assert facts["reverse"]["turned"] == "with its slices in reverse"
    assert facts["reverse"]["turned_fit"] == pytest.approx(facts["right"]["fit"], abs=1e-6)


def test_real_masks_of_tcga_lgg(shared_data: Path) -> None:
    table = manifest.build(shared_data / "lgg").filter(pl.col("patient") == "TCGA_DU_6401_19831001")
    found = masks(table)
    assert kinds(found) == [("specks", "TCGA_DU_6401_19831001_27")]
    assert found.table["outside"].max() == 0


def test_every_kind_has_its_words_and_the_frame_holds_every_finding(table: pl.DataFrame) -> None:
    found = masks(table.with_columns(label=0, label_name=pl.lit("no_tumor")))
    assert found.frame().height == len(found.findings) == 3
    assert found.frame().columns == ["kind", "id", "file", "what", "amount", "remedy"]
    assert all(finding.kind in KINDS and "\n" not in finding.sentence() for finding in found.findings)


@contextmanager
def looked_at() -> Iterator[list[str]]:
    """The scans whose masks are read."""
    names: list[str] = []

    def spy(row: dict[str, Any]) -> Any:
        names.append(row["id"])
        return look(row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "look", spy)
        yield names


def assert_same(one: Masks, other: Masks) -> None:
    assert one.table.equals(other.table) and one.findings == other.findings


@settings(max_examples=4)
@example({1, 2}, {2, 4}, 2)
@given(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.integers(1, 6))
def test_a_second_run_reads_only_what_changed(
    heads: list[phantom.Phantom], drawn: set[int], shown: set[int], shard: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD", shard)
        table, cache = written(heads[:5], Path(folder)), Path(folder) / "cache"
        draw(table, 3, np.zeros((SIZE, SIZE), np.uint8))
        with looked_at() as names:
            first = masks(table, cache=cache, workers=1)
            assert names == [f"s{number}" for number in range(5)]
            assert_same(first, masks(table))
            names.clear()
            assert_same(first, masks(table, cache=cache, workers=1))
            assert names == []
        for number in drawn:
            draw(table, number, ball(40, 40 + number, 8).astype(np.uint8) * 255)
        for number in shown:
            cv2.imwrite(table["path"][number], heads[number].image[::-1])
        wanted = masks(table)
        with looked_at() as names:
            assert_same(masks(table, cache=cache, workers=1), wanted)
        assert names == [f"s{number}" for number in sorted(drawn | shown)]


def test_names_are_the_rows_and_what_is_kept_is_the_contents(table: pl.DataFrame, tmp_path: Path) -> None:
    masks(table, cache=tmp_path / "cache")
    moved = table.with_columns(id=pl.Series(["x", "y", "z"]), label=pl.lit(0), label_name=pl.lit("no_tumor"))
    with looked_at() as names:
        found = masks(moved[::-1], cache=tmp_path / "cache")
    assert names == [] and kinds(found) == [("unexpected", name) for name in "xyz"]
    assert_same(found, masks(moved[::-1]))


def test_what_cannot_be_read_is_tried_again(table: pl.DataFrame, tmp_path: Path) -> None:
    good = Path(table["mask_path"][1]).read_bytes()
    for broken in (b"\x89PNG\r\n\x1a\n", None):
        if broken is None:
            Path(table["mask_path"][1]).unlink()
        else:
            Path(table["mask_path"][1]).write_bytes(broken)
        for _ in range(2):
            assert kinds(masks(table, cache=tmp_path / "cache")) == [("unreadable", "s1")]
    Path(table["mask_path"][1]).write_bytes(good)
    assert masks(table, cache=tmp_path / "cache").findings == ()


def test_a_killed_run_goes_on_with_the_masks_that_are_missing(
    table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(row: dict[str, Any]) -> Any:
        if row["id"] == "s2":
            raise KeyboardInterrupt
        return look(row)

    monkeypatch.setattr(module, "PORTION", 1)
    monkeypatch.setattr(module, "look", killed)
    with pytest.raises(KeyboardInterrupt):
        masks(table, cache=tmp_path / "cache", workers=1)
    with looked_at() as names:
        masks(table, cache=tmp_path / "cache", workers=1)
    assert names == ["s2"]


def test_another_version_measures_anew_and_a_damaged_shard_too(
    table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = masks(table, cache=tmp_path / "cache")
    (shard,) = (tmp_path / "cache").glob("*.parquet")
    shard.write_bytes(b"PAR1 cut")
    with looked_at() as names:
        assert_same(masks(table, cache=tmp_path / "cache"), first)
        monkeypatch.setattr(module, "VERSION", "other")
        masks(table, cache=tmp_path / "cache")
    assert names == ["s0", "s1", "s2"] * 2


def test_channels_of_one_scan_are_kept_apart(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([ball(48, 48, 9) * 200, ball(30, 48, 9) * 90, ball(60, 20, 9)]))
    cv2.imwrite(str(tmp_path / "a_mask.png"), ball(48, 48, 9).astype(np.uint8) * 255)
    files = {"path": str(tmp_path / "a.png"), "mask_path": str(tmp_path / "a_mask.png")}
    rows = pl.DataFrame([{"id": f"c{channel}", "channel": channel} | files for channel in range(3)])
    for _ in range(2):  # measured, then from the cache
        assert_same(masks(rows, cache=tmp_path / "cache"), masks(rows))
    assert masks(rows, cache=tmp_path / "cache").table["fit"].n_unique() > 1


def test_a_cache_that_cannot_be_written_is_named(table: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        masks(table, cache=tmp_path / "cache")
