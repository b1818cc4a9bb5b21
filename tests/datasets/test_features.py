from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from tumorscope import io
from tumorscope.datasets import features, manifest, phantom, processes
from tumorscope.imaging.features import NAMES, head_features
from tumorscope.imaging.shape import shape_2d, shape_3d


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Eight phantoms of 64 px with masks where there is a tumour, and a broken file."""
    folder = phantom.write_dataset(tmp_path_factory.mktemp("features") / "phantoms", 8, seed=1, size=64)
    table = manifest.load(folder, groups=False)
    broken = table[0].with_columns(id=pl.lit("broken"), path=pl.lit(str(folder / "broken.png")))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return pl.concat([table[:4], broken, table[4:]])


@pytest.fixture(scope="module")
def measured(scans: pl.DataFrame) -> pl.DataFrame:
    return features.measure(scans)


def test_one_row_a_scan_in_order_and_a_broken_file_is_one_line(scans: pl.DataFrame, measured: pl.DataFrame) -> None:
    assert measured["id"].to_list() == scans["id"].to_list()
    assert measured.columns == list(features.SCHEMA)
    assert dict(measured.schema) == features.SCHEMA
    (problem,) = measured["problem"].drop_nulls().to_list()
    assert "broken.png" in problem and "\n" not in problem
    broken = measured.filter(pl.col("id") == "broken").drop("id", "problem")
    assert all(value is None for value in broken.row(0))
    rest = measured.filter(pl.col("id") != "broken")
    assert rest.select(NAMES).null_count().sum_horizontal().item() == 0


def test_the_features_are_those_of_the_head(scans: pl.DataFrame, measured: pl.DataFrame) -> None:
    expected = head_features(io.read(scans["path"][2]).middle())
    assert measured.select(NAMES).row(2, named=True) == pytest.approx(expected)


def test_only_a_lesion_has_a_shape(scans: pl.DataFrame, measured: pl.DataFrame) -> None:
    seen = 0
    for row, found in zip(scans.iter_rows(named=True), measured.iter_rows(named=True), strict=True):
        if row["id"] == "broken" or not row["label"]:
            assert found["shape_unit"] is found["original_shape2D_PixelSurface"] is None
            continue
        mask = io.read(row["mask_path"]).pixels > 127
        assert found["original_shape2D_Perimeter"] == pytest.approx(shape_2d(mask)["Perimeter"])
        assert found["shape_unit"] == "px" and found["original_shape_MeshVolume"] is None
        seen += 1
    assert seen >= 2
    bare = features.measure(scans[:2], shapes=False)
    assert bare.select(features.SHAPES).null_count().row(0) == (2,) * len(features.SHAPES)


def test_a_volume_in_millimetres(tmp_path: Path) -> None:
    volume = phantom.make_volume(seed=2, shape=(8, 40, 36), spacing=(12.0, 5.0, 5.0), lesion="glioma")
    rows = _write_volume(tmp_path, volume)
    (found,) = features.measure(rows).iter_rows(named=True)
    assert found["problem"] is None
    assert found["shape_unit"] == "mm"
    scan, mask = io.read(rows["path"][0]), io.read(rows["mask_path"][0])
    expected = shape_3d(mask.pixels > 0.5, scan.spacing)
    assert found["original_shape_VoxelVolume"] == pytest.approx(expected["VoxelVolume"])
    assert found["original_shape2D_Perimeter"] is None
    assert found["edge_density"] == pytest.approx(head_features(scan.pixels[4])["edge_density"])


def _write_volume(folder: Path, volume: phantom.PhantomVolume) -> pl.DataFrame:
    import nibabel as nib

    affine = np.diag([5.0, 5.0, 12.0, 1.0])
    for name, array in (("scan", volume.image), ("mask", volume.mask)):
        stored = np.asarray(array, np.float32).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(stored, affine), folder / f"{name}.nii.gz")
    paths = {"path": [str(folder / "scan.nii.gz")], "mask_path": [str(folder / "mask.nii.gz")]}
    return pl.DataFrame({"id": ["v"], **paths})


def test_a_mask_of_another_size_is_a_problem_of_its_scan(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "m.png"), np.full((10, 20), 255, np.uint8))
    rows = pl.DataFrame({"id": ["a"], "path": [str(tmp_path / "a.png")], "mask_path": [str(tmp_path / "m.png")]})
    assert "mask is 10x20" in features.measure(rows)["problem"][0]
    assert features.measure(rows, shapes=False)["problem"][0] is None


def test_several_processes_say_the_same(
    scans: pl.DataFrame, measured: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FEW", 1)
    seen: list[tuple[int, int, bool]] = []
    parallel = features.measure(
        scans, workers=2, progress=lambda done, total, problem: seen.append((done, total, problem is not None))
    )
    assert parallel.equals(measured)
    assert seen == [(row + 1, 9, row == 4) for row in range(9)]


def test_rows_come_before_the_last_scan_is_read(scans: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    own = features.measure_one

    def spied(row: Any, **settings: Any) -> Any:
        read.append(row["id"])
        return own(row, **settings)

    monkeypatch.setattr(features, "measure_one", spied)
    rows = features.stream(scans)
    assert next(rows)["id"] == scans["id"][0] and len(read) < scans.height
    rows.close()
    assert len(read) < scans.height


def test_an_internal_error_is_told_with_its_file(monkeypatch: pytest.MonkeyPatch, scans: pl.DataFrame) -> None:
    monkeypatch.setattr(features, "head_features", lambda *_: 1 / 0)
    problem = features.measure(scans[:1])["problem"][0]
    assert scans["path"][0] in problem and "ZeroDivisionError" in problem
