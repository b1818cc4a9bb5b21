"""A prepared data set: pictures, masks that moved along, a manifest; resumed, in any order of work, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.prepare import prepare
from tumorscope.errors import DataError, OutputError
from tumorscope.imaging.steps import parse, run

NOTHING = pl.lit(None, pl.String)


@pytest.fixture
def scans(phantom_folder: Path, tmp_path: Path) -> pl.DataFrame:
    table = manifest.load(phantom_folder, groups=False).head(6)
    return table


def test_pictures_masks_and_manifest_belong_together(scans: pl.DataFrame, tmp_path: Path) -> None:
    steps = parse("clean,crop,contrast,resize:size=64")
    made = prepare(scans, steps, tmp_path / "out", workers=1)
    table = manifest.read(tmp_path / "out" / "manifest.parquet")
    assert made.made == 6 and not made.failed and table["id"].to_list() == scans["id"].to_list()
    for before, after in zip(scans.to_dicts(), table.to_dicts(), strict=True):
        picture = run(io.read(before["path"]).pixels, steps)
        assert np.array_equal(io.read(after["path"]).pixels, np.rint(picture.pixels * 255))
        assert (after["width"], after["height"], after["label"], after["group"]) == (
            64,
            64,
            before["label"],
            before["group"],
        )
        if before["mask_path"]:
            mask = io.read(before["mask_path"]).pixels > 127
            assert np.array_equal(io.read(after["mask_path"]).pixels > 127, picture.with_mask(mask))


def test_originals_stay_and_two_processes_give_the_same(phantom_folder: Path, tmp_path: Path) -> None:
    table = manifest.load(phantom_folder, groups=False).head(30)
    before = [Path(path).read_bytes() for path in table["path"]]
    steps = parse("crop,contrast")
    one = prepare(table, steps, tmp_path / "one", workers=1).table
    two = prepare(table, steps, tmp_path / "two", workers=2).table
    assert one["sha256"].to_list() == two["sha256"].to_list()
    assert [Path(path).read_bytes() for path in table["path"]] == before


def test_a_second_run_keeps_what_is_there_and_mends_what_is_not(scans: pl.DataFrame, tmp_path: Path) -> None:
    steps = parse("crop,contrast")
    first = prepare(scans, steps, tmp_path / "out", workers=1)
    Path(first.table["path"][2]).unlink()
    again = prepare(scans, steps, tmp_path / "out", workers=1)
    assert (again.made, again.kept) == (1, 5) and again.table.equals(first.table)


def test_a_changed_scan_is_prepared_again(scans: pl.DataFrame, tmp_path: Path) -> None:
    copy = tmp_path / "scan.png"
    shutil.copy(scans["path"][0], copy)
    table = scans.head(1).with_columns(
        path=pl.lit(str(copy)),
        mask_path=pl.lit(None, pl.String),  # with the hash of what it was
    )
    prepare(table, parse("contrast"), tmp_path / "out", workers=1)
    cv2.imwrite(str(copy), 255 - cv2.imread(str(copy), cv2.IMREAD_GRAYSCALE))
    assert prepare(table, parse("contrast"), tmp_path / "out", workers=1).made == 1


def test_a_broken_scan_is_named_and_the_others_go_on(scans: pl.DataFrame, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    row = scans.head(1).with_columns(
        id=pl.lit("broken"), path=pl.lit(str(broken)), mask_path=pl.lit(None, pl.String), sha256=pl.lit(None, pl.String)
    )
    made = prepare(pl.concat([scans, row]), parse("crop"), tmp_path / "out", workers=1)
    assert made.made == 6 and len(made.failed) == 1 and "broken.png" in made.failed[0]
    with pytest.raises(DataError, match=r"none of 1 scans could be prepared; the first: .*broken\.png"):
        prepare(row, parse("crop"), tmp_path / "other", workers=1)


def test_a_folder_of_other_steps_or_other_things_is_refused(scans: pl.DataFrame, tmp_path: Path) -> None:
    prepare(scans, parse("crop"), tmp_path / "out", workers=1)
    with pytest.raises(OutputError, match="was prepared by other steps"):
        prepare(scans, parse("clean"), tmp_path / "out", workers=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds something else"):
        prepare(scans, parse("crop"), tmp_path / "mine", workers=1)
    with pytest.raises(OutputError, match="originals stay untouched"):
        prepare(scans, parse("crop"), Path(scans["path"][0]).parent, workers=1)


def test_ids_that_are_no_file_names_do_not_collide(scans: pl.DataFrame, tmp_path: Path) -> None:
    odd = scans.head(3).with_columns(id=pl.Series(["a/b", "scan", "x" * 300]))
    table = prepare(odd, parse("crop"), tmp_path / "out", workers=1).table
    assert len({path.casefold() for path in table["path"].to_list()}) == 3


def test_a_cut_volume_lies_where_it_lay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    affine = np.array([[-1.2, 0, 0, 30], [0, 0, 2.5, -20], [0, 1.1, 0.1, 5], [0, 0, 0, 1]])
    voxels = np.zeros((40, 44, 6), np.float32)
    voxels[8:30, 10:36] = 100 + 50 * rng.random((22, 26, 6))
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "v.nii.gz")
    mask = np.zeros(voxels.shape, np.uint8)
    mask[15:20, 20:25, 3] = 1
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "v_mask.nii.gz")
    row = {"id": "v", "path": str(tmp_path / "v.nii.gz"), "mask_path": str(tmp_path / "v_mask.nii.gz")}
    made = prepare(pl.DataFrame([row]), parse("crop"), tmp_path / "out", workers=1)
    new = nibabel.load(made.table["path"][0])
    assert new.shape != voxels.shape
    for there, back in ((voxels, new), (mask, nibabel.load(made.table["mask_path"][0]))):
        at = np.argwhere(np.asarray(there[..., 3]) > 0)[7]
        world = affine @ [*at, 3, 1]
        found = np.linalg.solve(back.affine, world)[:3]
        assert np.allclose(found, np.rint(found), atol=1e-4)
        assert np.asarray(back.dataobj)[tuple(np.rint(found).astype(int))] == pytest.approx(there[(*at, 3)])


def test_a_guess_by_clusters_is_named_so_and_replaces_no_mask(scans: pl.DataFrame, tmp_path: Path) -> None:
    bare = scans.with_columns(mask_path=pl.when(pl.int_range(pl.len()) < 3).then(pl.col("mask_path")))
    steps = parse("crop,contrast,cluster-mask,resize:size=64")
    table = prepare(bare, steps, tmp_path / "out", workers=1).table
    for before, after in zip(bare.to_dicts(), table.to_dicts(), strict=True):
        picture = run(io.read(before["path"]).pixels, steps)
        mask = io.read(after["mask_path"]).pixels > 127
        if before["mask_path"] is None:
            assert after["mask_source"] == "kmeans" and np.array_equal(mask, picture.guess)
        else:
            assert after["mask_source"] == before["mask_source"] != "kmeans"
            assert np.array_equal(mask, picture.with_mask(io.read(before["mask_path"]).pixels > 127))
