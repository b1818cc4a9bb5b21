from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tumorscope import io
from tumorscope.errors import OutputError, ScanError
from tumorscope.scan import Scan


def test_the_name_appears_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.nii.gz"
    with io.atomic(target) as temporary:
        assert temporary.parent == target.parent and temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new" and os.listdir(target.parent) == ["a.nii.gz"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)), io.atomic(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a.txt: cannot be written \(No space left on device\); check space"):  # noqa: SIM117
        with io.atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OutputError, match="No space left"), io.atomic(tmp_path / "a"), open("/dev/full", "w") as file:
        file.write("x" * 100_000)
        file.flush()


def test_what_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.png", tmp_path / "folder", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(OutputError, match="cannot be written") as caught, io.atomic(target) as temporary:
            temporary.write_text("x")
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        io.write_image(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
    assert os.listdir(tmp_path) == []


@given(st.integers(1, 20), st.integers(1, 20), st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_images_are_written_as_given(tmp_path: Path, height: int, width: int, coloured: bool) -> None:
    shape = (height, width, 3) if coloured else (height, width)
    image = np.random.default_rng(height).integers(0, 256, shape, np.uint8)
    io.write_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as written:
        assert np.array_equal(np.asarray(written), image)


@pytest.mark.parametrize("image", [np.zeros((3, 3)), np.zeros((3, 3, 4), np.uint8), np.zeros((0, 3), np.uint8)])
def test_what_is_no_image_is_refused(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(ScanError, match="is no image; pass uint8"):
        io.write_image(tmp_path / "a.png", image)


def test_mask_shapes_and_suffixes_are_checked(tmp_path: Path) -> None:
    flat, volume = Scan.of(np.zeros((4, 5))), Scan.of(np.zeros((3, 4, 5)))
    with pytest.raises(ScanError, match="the mask is 5x4, the scan 4x5; give one of equal shape"):
        io.write_mask(tmp_path / "m.png", np.zeros((5, 4)), flat)
    with pytest.raises(ScanError, match="does not fit a PNG; name it"):
        io.write_mask(tmp_path / "m.png", np.zeros((3, 4, 5)), volume)
    with pytest.raises(OutputError, match=r"as \.png or \.nii\.gz"):
        io.write_mask(tmp_path / "m.jpg", np.zeros((4, 5)), flat)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_masks_of_any_type_become_0_and_255(tmp_path: Path, kind: type) -> None:
    mask = np.array([[0, 1], [1, 0], [1, 1]]).astype(kind)
    io.write_mask(tmp_path / "m.png", mask, Scan.of(np.zeros((3, 2))))
    with Image.open(tmp_path / "m.png") as written:
        assert written.mode == "L" and np.asarray(written).tolist() == (mask.astype(int) * 255).tolist()


def test_a_volume_without_affine_keeps_its_spacing(tmp_path: Path) -> None:
    scan = Scan.of(np.zeros((3, 4, 5)), spacing=(5, 1, 2))
    mask = np.random.default_rng(0).random((3, 4, 5)) > 0.5
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    assert written.header.get_zooms() == (2, 1, 5) and int(written.header["sform_code"]) == 0
    assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), mask)
    io.write_mask(tmp_path / "f.nii", mask[0], Scan.of(np.zeros((4, 5)), spacing=(1, 2)))
    assert nib.load(tmp_path / "f.nii").header.get_zooms() == (2, 1, 1)


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path) -> None:
    scan = Scan.of(np.zeros((3, 4, 5)))
    for name in ("a.nii.gz", "b.nii.gz"):
        io.write_mask(tmp_path / name, np.ones((3, 4, 5)), scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + 60


def test_a_sheared_affine_stands_in_the_sform_alone(tmp_path: Path, make_series) -> None:
    make_series("s", 4)
    scan = io.read(tmp_path / "s")
    from dataclasses import replace

    sheared = scan.grid.affine.copy()
    sheared[1, 0] = 1.5
    tilted = replace(scan, grid=replace(scan.grid, affine=sheared))
    io.write_mask(tmp_path / "m.nii.gz", np.ones(scan.shape), tilted)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.allclose(written.affine, sheared[:, [2, 1, 0, 3]]) and int(written.header["qform_code"]) == 0
    io.write_mask(tmp_path / "m.nii.gz", np.ones(scan.shape), scan)
    assert int(nib.load(tmp_path / "m.nii.gz").header["qform_code"]) == 1
