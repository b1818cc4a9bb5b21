from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tumorscope import io
from tumorscope.errors import ScanError


def test_a_folder_is_one_volume_sorted_in_space(tmp_path: Path, make_series) -> None:
    paths = make_series("s", 5)
    scan = io.read(tmp_path / "s")
    assert scan.axes == "ZYX" and scan.shape == (5, 6, 7) and scan.plane == "axial" and scan.spacing == (5, 0.5, 0.75)
    assert scan.pixels[:, 1, 2].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert set(scan.source.files) == set(paths) and scan.source.notes == ()
    assert np.allclose(scan.affine @ (3, 1, 2, 1), [30 - 2 * 0.75, 40 - 0.5, 15, 1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_lie_where_the_slices_lie(tmp_path: Path, make_series, axis: int) -> None:
    make_series("s", 4, axis=axis)
    scan = io.read(tmp_path / "s")
    assert scan.plane == ("sagittal", "coronal", "axial")[axis]
    mask = scan.pixels >= 1000
    assert mask.sum() == 4
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    marked = np.argwhere(np.asarray(written.dataobj))
    found = np.array([(written.affine @ (*voxel, 1))[:3] for voxel in marked])
    # row 1, column 2 of each slice, straight from the DICOM elements, in LPS
    row, column = {
        2: ([0, 1, 0], [1, 0, 0]), 1: ([0, 0, -1], [1, 0, 0]), 0: ([0, 0, -1], [0, 1, 0]),
    }[axis]  # fmt: skip
    for index in range(4):
        corner = np.array([-30.0, -40.0, -50.0])
        corner[axis] = 5.0 * index
        place = (corner + np.array(row) * 0.5 + np.array(column) * 0.75 * 2) * [-1, -1, 1]
        assert np.abs(found - place).sum(1).min() < 1e-3
    assert np.array_equal(io.read(tmp_path / "m.nii.gz").pixels > 0, mask)  # and the round trip shows the same


def test_gaps_duplicates_and_copies_are_told(tmp_path: Path, make_series) -> None:
    make_series("gap", 4, positions=[0.0, 5, 15, 20])
    scan = io.read(tmp_path / "gap")
    assert scan.shape[0] == 5 and "1 slice is missing: number 3 of 5; its place is blank" in scan.source.notes
    assert scan.pixels[2].max() == scan.pixels.min() == 0
    make_series("double", 4, positions=[0.0, 5, 5, 10])
    scan = io.read(tmp_path / "double")
    assert scan.pixels[:, 1, 2].tolist() == [1000, 1001, 1003]
    assert "1 slice at a position that another holds; the lower instance number was kept" in scan.source.notes
    paths = make_series("copies", 3)
    shutil.copy(paths[0], tmp_path / "copies" / "again.dcm")
    scan = io.read(tmp_path / "copies")
    assert scan.shape[0] == 3 and "1 copy of slices already there left out" in scan.source.notes


def test_echoes_need_a_channel(tmp_path: Path, make_series) -> None:
    make_series("s", 6, positions=[0.0, 5, 10, 0, 5, 10])
    with pytest.raises(ScanError, match=r"2 images at each slice position.*--channel 0 to 1"):
        io.read(tmp_path / "s")
    assert io.read(tmp_path / "s", channel=0).pixels[:, 1, 2].tolist() == [1000, 1001, 1002]
    assert io.read(tmp_path / "s", channel=1).pixels[:, 1, 2].tolist() == [1003, 1004, 1005]


def test_two_series_in_one_folder_are_two_items(tmp_path: Path, make_series) -> None:
    make_series("s", 4)
    make_series("s/other", 3, SeriesInstanceUID="9.9", SeriesNumber=8)
    for path in (tmp_path / "s" / "other").iterdir():
        path.rename(tmp_path / "s" / f"x{path.name}")
    (tmp_path / "s" / "other").rmdir()
    with pytest.raises(ScanError, match=r"holds 2 series \(number 3 with 4, number 8 with 3 files\)"):
        io.read(tmp_path / "s")
    items = io.discover([tmp_path / "s"])
    assert [(item.id, len(item.files)) for item in items] == [("s_series-3", 4), ("s_series-8", 3)]
    assert [item.read().shape[0] for item in items] == [4, 3]
    assert io.read(tmp_path / "s", files=items[1].files).shape[0] == 3


def test_orientations_sizes_and_frames_of_one_series_stand_apart(tmp_path: Path, make_series, make_dicom) -> None:
    make_series("loc", 3)
    for axis in (0, 1):
        for path in make_series(f"loc{axis}", 3, axis=axis):
            path.rename(tmp_path / "loc" / f"{axis}-{path.name}")
    items = [item for item in io.discover([tmp_path / "loc"]) if item.error is None]
    assert sorted(item.read().plane or "" for item in items) == ["axial", "coronal", "sagittal"]


def test_rounding_does_not_tear_a_series_apart(tmp_path: Path, make_dicom) -> None:
    for index in range(4):
        wobble = 0.0005 + (-1) ** index * 1e-7  # either side of where three decimals are rounded
        make_dicom(
            f"s/{index}.dcm", np.full((3, 3), index, np.uint16), InstanceNumber=index,
            ImagePositionPatient=[0, 0, index], ImageOrientationPatient=[1, wobble, 0, -wobble, 1, 0],
            PixelSpacing=[0.9765 + wobble, 0.9765],
        )  # fmt: skip
    assert io.read(tmp_path / "s").shape == (4, 3, 3)


def test_objects_that_are_no_scans_are_left_out_and_noted(tmp_path: Path, make_series, make_dicom, ramp) -> None:
    make_series("s", 3)
    make_dicom("s/seg.dcm", ramp, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG")
    make_dicom("s/sr.dcm", None, Modality="SR")
    (tmp_path / "s" / "notes.txt").write_text("Florence")
    scan = io.read(tmp_path / "s")
    assert scan.shape[0] == 3
    assert "2 DICOM objects that are no scans (segmentation, report or the like) left out" in scan.source.notes[-1]
    (item,) = found = io.discover([tmp_path / "s"])
    assert found.skipped == 3
    assert item.read().source.notes == scan.source.notes


def test_slices_without_positions_follow_their_numbers(tmp_path: Path, make_series) -> None:
    make_series("s", 12, ImagePositionPatient=None, ImageOrientationPatient=None)
    scan = io.read(tmp_path / "s")
    assert scan.pixels[:, 1, 2].tolist() == list(range(1000, 1012))
    assert scan.affine is None and scan.spacing is None and "does not say where its slices lie" in scan.source.notes[0]
    make_series("t", 3, ImagePositionPatient=None, SpacingBetweenSlices=4)
    assert io.read(tmp_path / "t").spacing == (4, 0.5, 0.75)


def test_each_slice_has_its_own_slope(tmp_path: Path, make_dicom) -> None:
    for index, slope in enumerate((1, 2, 4)):
        make_dicom(
            f"s/{index}.dcm", np.full((3, 3), 10, np.uint16), RescaleSlope=slope, RescaleIntercept=0,
            ImagePositionPatient=[0, 0, index], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1],
        )  # fmt: skip
    assert io.read(tmp_path / "s").pixels[:, 0, 0].tolist() == [10, 20, 40]


def test_one_damaged_slice_is_named(tmp_path: Path, make_series) -> None:
    paths = make_series("s", 4)
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[:-30])
    with pytest.raises(ScanError, match=rf"{paths[2].name}: the pixel data is cut short"):
        io.read(tmp_path / "s")


def test_folders_without_a_series(tmp_path: Path, make_dicom) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanError, match="the folder holds no DICOM image; give the files"):
        io.read(tmp_path / "empty")
    make_dicom("one/a.dcm", np.zeros((3, 3), np.uint8))
    assert io.read(tmp_path / "one").axes == "YX"


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ScanError, match=r"the folder cannot be read \(Permission denied\); check its permissions"):
        io.read(tmp_path)


def test_the_limit_counts_slices(tmp_path: Path, make_series) -> None:
    make_series("s", 5)
    assert io.read(tmp_path / "s", max_pixels=5 * 42).shape[0] == 5
    with pytest.raises(ScanError, match="above the limit of 209"):
        io.read(tmp_path / "s", max_pixels=5 * 42 - 1)


def test_no_identifier_in_ids_notes_or_errors(tmp_path: Path, make_series, make_dicom) -> None:
    make_series("s", 4, positions=[0.0, 5, 15, 20], SeriesDescription="Nightingale", StudyDescription="SECRET")
    make_series("t", 4, positions=[0.0, 5, 0, 5], SeriesDescription="Nightingale")
    items = io.discover([tmp_path / "s", tmp_path / "t"])
    text = repr(items) + repr(items[0].read().source)
    with pytest.raises(ScanError) as caught:
        items[1].read()
    assert not any(word in text + str(caught.value) for word in ("Nightingale", "Florence", "SECRET"))


def test_a_real_oblique_series_and_its_segmentation(shared_data: Path, tmp_path: Path) -> None:
    import pydicom

    folder = tmp_path / "case"
    folder.mkdir()
    for path in (shared_data / "remind_dicom" / "t1_post").iterdir():
        shutil.copyfile(path, folder / path.name)
    shutil.copyfile(shared_data / "remind_dicom" / "tumor_seg.dcm", folder / "tumor_seg.dcm")
    scan = io.read(folder)
    assert scan.shape == (60, 256, 248) and scan.plane == "axial" and scan.source.sides_known
    assert any("left out of the folder" in note for note in scan.source.notes)
    assert any("oblique: the slices stand 21 degrees off axial" in note for note in scan.source.notes)
    # each file's own position is where the affine puts its first pixel
    for path in list(scan.source.files)[::13]:
        data = pydicom.dcmread(path)
        world = np.array([*(np.array(data.ImagePositionPatient) * [-1, -1, 1]), 1])
        file_index = np.rint(np.linalg.inv(scan.grid.affine) @ world)[:3].astype(int)
        assert np.allclose(scan.grid.affine @ (*file_index, 1), world, atol=0.05)
        stored = scan.grid.to_file(scan.pixels)
        assert np.array_equal(stored[file_index[0]], data.pixel_array.astype(np.float32))
    with pytest.raises(ScanError, match="is a DICOM segmentation"):
        io.read(shared_data / "remind_dicom" / "tumor_seg.dcm")
