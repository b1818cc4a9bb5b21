from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from tumorscope import io
from tumorscope.errors import ScanError

HERE = {
    "ImagePositionPatient": [-30, -40, 50],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.5, 0.75],
}


@pytest.fixture
def deep(ramp: NDArray) -> NDArray[np.uint16]:
    return ramp.astype(np.uint16) * 16 + 5


def test_values_spacing_and_plane(make_dicom, deep: NDArray) -> None:
    scan = io.read(make_dicom("a.dcm", deep, **HERE))
    assert scan.axes == "YX" and scan.plane == "axial" and scan.spacing == (0.5, 0.75)
    assert scan.source.modality == "MR" and scan.source.bits == 16 and scan.source.sides_known
    assert np.array_equal(scan.pixels, deep)
    assert np.allclose(scan.affine @ (0, 3, 4, 1), [30 - 4 * 0.75, 40 - 3 * 0.5, 50, 1])


def test_without_position_there_is_spacing_but_no_side(make_dicom, deep: NDArray) -> None:
    scan = io.read(make_dicom("a.dcm", deep, PixelSpacing=[0.5, 0.75]))
    assert scan.spacing == (0.5, 0.75) and scan.affine is None and scan.plane is None and not scan.source.sides_known
    assert io.read(make_dicom("b.dcm", deep)).spacing is None
    assert io.read(make_dicom("c.dcm", deep, PixelSpacing=[0, 0.75])).spacing is None


@pytest.mark.parametrize(
    ("cosines", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([-1, 0, 0, 0, 1, 0], "axial"),
        ([-1, 0, 0, 0, -1, 0], "axial"),
        ([0, 1, 0, 1, 0, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 0, 0, 1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([0, -1, 0, 0, 0, 1], "sagittal"),
        ([0, 0, 1, 0, 1, 0], "sagittal"),
    ],
)
def test_one_slice_is_shown_upright_and_its_mask_lies_on_the_file(
    tmp_path: Path, make_dicom, deep: NDArray, cosines: list[float], plane: str
) -> None:
    from PIL import Image

    path = make_dicom("a.dcm", deep, **{**HERE, "ImageOrientationPatient": cosines})
    scan = io.read(path)
    assert scan.plane == plane
    down, right = scan.affine[:3, 1], scan.affine[:3, 2]
    assert down[1 if plane == "axial" else 2] < 0 and right[1 if plane == "sagittal" else 0] < 0
    mask = scan.pixels > 1500
    io.write_mask(tmp_path / "m.png", mask, scan)
    with Image.open(tmp_path / "m.png") as written:
        assert written.size == (30, 40) and np.array_equal(np.asarray(written) > 0, deep > 1500)


def test_rescale_signed_and_monochrome1(make_dicom) -> None:
    values = np.array([[-5, 0, 7]], np.int16)
    scan = io.read(make_dicom("a.dcm", values, RescaleSlope=2, RescaleIntercept=-10))
    assert scan.pixels.tolist() == [[-20, -10, 4]]
    scan = io.read(make_dicom("b.dcm", np.array([[0, 100, 255]], np.uint8), PhotometricInterpretation="MONOCHROME1"))
    assert scan.pixels.tolist() == [[255, 155, 0]]
    twelve = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    scan = io.read(make_dicom("c.dcm", np.array([[0, 4095]], np.uint16), **twelve))
    assert scan.pixels.tolist() == [[4095, 0]]
    scan = io.read(make_dicom("d.dcm", values, PhotometricInterpretation="MONOCHROME1"))
    assert scan.pixels.tolist() == [[4, -1, -8]]  # -1 - v stays within the signed range


def test_unused_bits_are_cut_off(make_dicom) -> None:
    overlay = np.array([[0x0FFF, 0x8001, 0xF7FF]], np.uint16)
    scan = io.read(make_dicom("a.dcm", overlay, BitsStored=12, HighBit=11))
    assert scan.pixels.tolist() == [[4095, 1, 2047]]
    scan = io.read(make_dicom("b.dcm", np.array([[0x0FFF, 0x07FF]], np.int16), BitsStored=12, HighBit=11))
    assert scan.pixels.tolist() == [[-1, 2047]]  # a 12-bit sign
    scan = io.read(make_dicom("c.dcm", np.array([[0xFFF0, 0x0010]], np.uint16), BitsStored=12, HighBit=15))
    assert scan.pixels.tolist() == [[4095, 1]]


def test_padding_becomes_background(make_dicom) -> None:
    values = np.array([[-2000, 3, 9]], np.int16)
    padding = {"PixelPaddingValue": -2000}
    assert io.read(make_dicom("a.dcm", values, **padding)).pixels.tolist() == [[3, 3, 9]]
    constant = np.full((2, 2), -2000, np.int16)
    assert (io.read(make_dicom("b.dcm", constant, **padding)).pixels == -2000).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression(make_dicom, deep: NDArray, syntax) -> None:
    deep = np.pad(deep, 5)  # JPEG 2000 wants 32 pixels
    scan = io.read(make_dicom("a.dcm", deep, syntax=syntax))
    assert np.array_equal(scan.pixels, deep)
    scan = io.read(make_dicom("s.dcm", deep.astype(np.int16) - 900, syntax=syntax))
    assert np.array_equal(scan.pixels, deep.astype(np.float32) - 900)


def test_colour_is_judged_like_everywhere(make_dicom, ramp: NDArray) -> None:
    scan = io.read(make_dicom("a.dcm", np.stack([ramp] * 3, -1)))
    assert scan.axes == "YX" and np.array_equal(scan.pixels, ramp)
    different = np.stack([ramp, 255 - ramp, np.roll(ramp, 9, 0)], -1)
    path = make_dicom("b.dcm", different)
    assert io.read(path).axes == "CYX"
    assert np.array_equal(io.read(path, channel=1).pixels, 255 - ramp)


def test_frames_without_places_keep_their_order(tmp_path: Path, make_dicom, deep: NDArray) -> None:
    import nibabel as nib

    frames = np.stack([np.roll(deep, i, 0) for i in range(5)])
    scan = io.read(make_dicom("a.dcm", frames))
    assert scan.axes == "ZYX" and np.array_equal(scan.pixels, frames) and scan.spacing is None
    assert "does not say where its slices lie" in scan.source.notes[0]
    scan = io.read(make_dicom("b.dcm", frames, PixelSpacing=[0.5, 0.75], SpacingBetweenSlices=4))
    assert scan.spacing == (4, 0.5, 0.75)
    io.write_mask(tmp_path / "m.nii.gz", frames > 1500, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), frames > 1500)
    assert written.header.get_zooms() == pytest.approx((0.75, 0.5, 4))


def _enhanced(make_dicom, frames: NDArray, heights: list[float], **more) -> Path:
    from pydicom.dataset import Dataset

    def group(**items: dict) -> Dataset:
        made = Dataset()
        for name, elements in items.items():
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(made, name, [inner])
        return made

    orientations = more.pop("orientations", [[1, 0, 0, 0, 1, 0]] * len(heights))
    per_frame = [
        group(
            PlanePositionSequence={"ImagePositionPatient": [-30, -40, height]},
            PlaneOrientationSequence={"ImageOrientationPatient": cosines},
            PixelValueTransformationSequence={"RescaleSlope": slope, "RescaleIntercept": 0, "RescaleType": "US"},
        )
        for height, cosines, slope in zip(heights, orientations, more.pop("slopes", [1] * len(heights)), strict=True)
    ]
    shared = [group(PixelMeasuresSequence={"PixelSpacing": [0.5, 0.75], "SliceThickness": 5})]
    return make_dicom(
        "enhanced.dcm",
        frames,
        PerFrameFunctionalGroupsSequence=per_frame,
        SharedFunctionalGroupsSequence=shared,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        **more,
    )


def test_enhanced_frames_are_sorted_by_their_own_places(tmp_path: Path, make_dicom, deep: NDArray) -> None:
    import nibabel as nib

    frames = np.stack([deep + i for i in range(4)])
    path = _enhanced(make_dicom, frames, [10, 0, 15, 5], slopes=[1, 2, 1, 1])
    scan = io.read(path)
    assert scan.spacing == (5, 0.5, 0.75) and scan.plane == "axial" and scan.source.notes == ()
    expected = frames[[1, 3, 0, 2]].astype(np.float32)
    expected[0] *= 2  # each frame has its own slope
    assert np.array_equal(scan.pixels, expected)
    assert np.allclose(scan.affine @ (1, 0, 0, 1), [30, 40, 5, 1])
    mask = scan.pixels == scan.pixels[2, 7, 9]
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    (first, *_) = np.argwhere(mask)
    (voxel, *_) = np.argwhere(np.asarray(written.dataobj).transpose(2, 1, 0))
    assert np.allclose(scan.affine @ (*first, 1), written.affine @ (*voxel[::-1], 1), atol=1e-4)


def test_enhanced_with_two_images_a_position_needs_a_channel(make_dicom, deep: NDArray) -> None:
    frames = np.stack([deep + i for i in range(4)])
    path = _enhanced(make_dicom, frames, [0, 5, 0, 5])
    with pytest.raises(ScanError, match=r"2 images at each slice position.*--channel 0 to 1"):
        io.read(path)
    assert np.array_equal(io.read(path, channel=1).pixels, frames[2:])
    with pytest.raises(ScanError, match="no channel 2; it has 2"):
        io.read(path, channel=2)


def test_enhanced_localiser_gives_its_largest_orientation(make_dicom, deep: NDArray) -> None:
    frames = np.stack([deep[:30, :30] + i for i in range(3)])
    axial, coronal = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]
    scan = io.read(_enhanced(make_dicom, frames, [0, 3, 5], orientations=[axial, coronal, axial]))
    assert scan.shape == (2, 30, 30) and "1 frame of other orientations" in scan.source.notes[0]


def test_what_is_no_scan_is_named(make_dicom, ramp: NDArray) -> None:
    seg = make_dicom("seg.dcm", ramp, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG")
    with pytest.raises(ScanError, match="is a DICOM segmentation, not a scan; give the series"):
        io.read(seg)
    dose = make_dicom("dose.dcm", ramp, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2", Modality="RTDOSE")
    with pytest.raises(ScanError, match="is a DICOM radiotherapy dose, not a scan"):
        io.read(dose)
    report = make_dicom("sr.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    with pytest.raises(ScanError, match=r"without an image \(Basic Text SR Storage\), it has no pixel data"):
        io.read(report)
    empty = make_dicom("none.dcm", None, Rows=40, Columns=30, BitsAllocated=8)
    with pytest.raises(ScanError, match="has no pixel data, or ends before it"):
        io.read(empty)


def test_cut_short(make_dicom, deep: NDArray) -> None:
    deep = np.pad(deep, 5)
    for name, syntax in (("plain.dcm", None), ("rle.dcm", RLELossless), ("j2k.dcm", JPEG2000Lossless)):
        path = make_dicom(name, deep, **({"syntax": syntax} if syntax else {}))
        content, whole = path.read_bytes(), io.read(path).pixels
        for size in np.linspace(1, len(content) - 20, 25).astype(int):
            path.write_bytes(content[:size])
            try:
                assert np.array_equal(io.read(path).pixels, whole)
            except ScanError as error:
                assert "\n" not in str(error) and "Nightingale" not in str(error) and "SECRET" not in str(error)
    path = make_dicom("short.dcm", deep, PixelData=deep.tobytes()[:-100])
    with pytest.raises(ScanError, match=r"the pixel data is cut short \(3,900 of 4,000 bytes\)"):
        io.read(path)


def test_a_frame_bomb_is_refused_from_its_header(make_dicom, ramp: NDArray) -> None:
    with pytest.raises(ScanError, match="above the limit"):
        io.read(make_dicom("a.dcm", ramp, NumberOfFrames=2_000_000))


def test_no_preamble_and_big_endian(make_dicom, deep: NDArray) -> None:
    path = make_dicom("a.dcm", deep, **HERE)
    path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(io.read(path).pixels, deep)


def test_nothing_that_names_the_patient_leaves_the_file(make_dicom, deep: NDArray) -> None:
    scan = io.read(make_dicom("a.dcm", deep, SeriesDescription="Nightingale T1", BurnedInAnnotation="YES", **HERE))
    assert "Nightingale" not in repr(scan.source) and "SECRET" not in repr(scan.source)
    assert scan.source.notes == ("the file says that text is burned into its pixels",)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagePositionPatient", "RescaleSlope", "InstanceNumber"])
def test_a_malformed_element_counts_as_absent(make_dicom, deep: NDArray, keyword: str) -> None:
    from pydicom.tag import Tag

    path = make_dicom("a.dcm", deep, **{**HERE, "RescaleSlope": 2, "InstanceNumber": 77})
    content = path.read_bytes()
    vr = {"InstanceNumber": b"IS"}.get(keyword, b"DS")
    tag = Tag(keyword)
    mark = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + vr
    start = content.index(mark) + 8
    length = int.from_bytes(content[start - 2 : start], "little")
    path.write_bytes(content[:start] + b"oops!"[:length].ljust(length, b"?") + content[start + length :])
    assert io.read(path).shape == deep.shape


def test_library_samples_read_or_give_one_line() -> None:
    import pydicom

    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    read, refused = {}, {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                read[path.name] = io.read(path)
            except ScanError as error:
                refused[path.name] = str(error)
                assert "\n" not in str(error)
    assert len(read) >= 60
    reference = read["MR_small.dcm"].pixels
    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        assert np.array_equal(read[f"MR_small_{name}.dcm"].pixels, reference), name
    assert {"JPEG-lossy.dcm", "JPGExtended.dcm"} <= set(read)  # 12-bit JPEG
    assert "cut short (8,130 of 8,192 bytes)" in refused["MR_truncated.dcm"]
    assert "DICOMDIR index" in refused["DICOMDIR"]
    assert "segmentation" in refused["liver_1frame.dcm"]
