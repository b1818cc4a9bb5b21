"""Phantom scans: heads that never belonged to anyone, for the demo, the tests and first experiments.

An :class:`~tumorscope.datasets.phantom_anatomy.Anatomy` is drawn slice by slice, a
:class:`~tumorscope.datasets.phantom_lesions.Lesion` is grown in it, and a scanner's traits are laid over both: tissue
contrast, coil shading (bias field), blur and Rician noise. Everything follows from one seed. Phantoms look like MRI at
a glance; nothing that a model scores on them says how it does on patients.
"""

from __future__ import annotations

import csv
import gzip
import io as streams
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.phantom_lesions import LESIONS
from tumorscope.datasets.phantom_scanner import CONTRASTS, PLANES, Subject, slice_points
from tumorscope.datasets.phantom_shapes import Field, Points
from tumorscope.errors import DataError, look_up

_FIELD_OF_VIEW_MM = 236.0
_VOLUME_CENTRE_MM = 8.0  # the head's middle lies this far above the third ventricle
_SELLA_MM = {"axial": -22.0, "coronal": 20.0, "sagittal": 2.0}
_OFFSETS_MM = {"axial": (-25.0, 52.0), "coronal": (-58.0, 45.0), "sagittal": (6.0, 46.0)}

# file, plane, contrast, lesion, seed, offset in mm, bits per pixel
_DEMO = (
    ("axial_t1ce_glioma.png", "axial", "t1ce", "glioma", 1, 24.0, 8),
    ("axial_flair_glioma.jpg", "axial", "flair", "glioma", 2, 30.0, 8),
    ("axial_t2_healthy.jpg", "axial", "t2", None, 3, 14.0, 8),
    ("axial_t1ce_healthy.dcm", "axial", "t1ce", None, 4, 20.0, 16),
    ("coronal_t1ce_meningioma.png", "coronal", "t1ce", "meningioma", 5, -12.0, 16),
    ("coronal_t1_healthy.tif", "coronal", "t1", None, 6, 6.0, 16),
    ("sagittal_t1ce_metastasis.png", "sagittal", "t1ce", "metastasis", 7, 20.0, 8),
    ("sagittal_t1_healthy.png", "sagittal", "t1", None, 8, 13.0, 8),
)
_DEMO_VOLUME = ("volume_t1ce_glioma.nii.gz", 5)
_TUMORS = ("glioma", "meningioma", "metastasis", "pituitary")


@dataclass(frozen=True)
class Phantom:
    """One 2-D phantom scan.

    Attributes
    ----------
    image : (H, W) uint8 array, or uint16 with values up to 4095
        The scan. By the radiological convention the right side is on the left of axial and coronal slices; sagittal
        slices look to the left.
    mask : (H, W) bool array
        The lesion: the tumour on t1 and t1ce, tumour and oedema together on t2, flair and pd.
    label : int
        1 when ``mask`` holds a pixel, otherwise 0.
    params : dict
        What was drawn: seed, plane, contrast, lesion, offset_mm, pixel_mm, noise, bias, blur.
    tissues : (H, W) uint8 array
        Values of :class:`~tumorscope.datasets.phantom_anatomy.Tissue`.
    brain : (H, W) bool array
        The inside of the skull: brain, fluid, vessels, dura, and any lesion.
    head : (H, W) bool array
        All that is not air around the head.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.bool_]
    label: int
    params: dict[str, Any]
    tissues: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    head: NDArray[np.bool_]


@dataclass(frozen=True)
class PhantomVolume:
    """One axial phantom volume, slices from the neck upward.

    Attributes
    ----------
    image : (D, H, W) uint16 array
        Values up to 4095; rows run from front to back, columns from the patient's right to the left.
    mask : (D, H, W) bool array
        The lesion, outlined as for :class:`Phantom`.
    spacing : (3,) floats
        Millimetres along D, H and W.
    affine : (4, 4) float array
        Index (d, h, w) to RAS+ world millimetres.
    params : dict
        What was drawn.
    """

    image: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]
    params: dict[str, Any]


def make(
    seed: int,
    plane: str = "axial",
    contrast: str = "t1ce",
    size: int = 256,
    lesion: str | None = None,
    *,
    noise: float | None = None,
    bias: float | None = None,
    offset: float | None = None,
    radius: float | None = None,
    bits: int = 8,
) -> Phantom:
    """A 2-D phantom scan, the same bytes for the same arguments.

    Parameters
    ----------
    seed : int
        Names the subject, the lesion and the noise. One seed gives one head in every plane and contrast.
    plane : {"axial", "coronal", "sagittal"}
    contrast : {"t1", "t1ce", "t2", "flair", "pd"}
    size : int
        Height and width in pixels, at least 16; the field of view stays 236 mm.
    lesion : {"glioma", "meningioma", "metastasis", "pituitary", "edema"}, optional
        None for a healthy head.
    noise : float, optional
        Standard deviation of the noise in each of the two receiver channels, as a share of the brightest tissue;
        drawn from 0.008 to 0.028 when absent.
    bias : float, optional
        Strength of the coil shading (standard deviation of its logarithm); drawn from 0.03 to 0.15 when absent.
    offset : float, optional
        Where the slice lies along its axis, in millimetres from the head's centre; drawn when absent.
    radius : float, optional
        Mean radius of the lesion in millimetres; drawn to suit its kind when absent.
    bits : {8, 16}
        uint8, or uint16 with 12 bits in use.

    Raises
    ------
    DataError
        For an unknown plane, contrast, lesion or bit depth, or an impossible size.

    Examples
    --------
    >>> scan = make(7, "axial", "flair", size=64, lesion="glioma")
    >>> scan.image.shape, scan.image.dtype.name, scan.label, bool(scan.mask.any())
    ((64, 64), 'uint8', 1, True)
    >>> make(7, size=64).label
    0
    """
    _check(contrast, lesion, bits)
    look_up(plane, PLANES, "plane", DataError)
    if size < 16:
        raise DataError(f"phantom: a size of {size} pixels shows nothing; ask for 16 or more")
    subject = Subject(seed, contrast, noise, bias)
    drawn = _offset(np.random.default_rng([seed, 2, PLANES.index(plane)]), plane, lesion)
    at = drawn if offset is None else offset
    pixel = _FIELD_OF_VIEW_MM / size
    points = subject.place(slice_points(plane, at, (size, size), (pixel, pixel)), plane)
    grown = subject.grow(lesion, points, radius)
    drawing = subject.draw(points, pixel, grown)
    image = subject.scan(drawing.image, points)
    params = {
        "seed": seed, "plane": plane, "contrast": contrast, "lesion": lesion, "offset_mm": round(at, 2),
        "pixel_mm": pixel, "noise": subject.noise, "bias": subject.bias, "blur": subject.blur,
    }  # fmt: skip
    mask = drawing.mask
    return Phantom(_quantised(image, bits), mask, int(mask.any()), params, drawing.tissues, drawing.brain, drawing.head)


def make_volume(
    seed: int,
    shape: tuple[int, int, int] = (48, 192, 192),
    spacing: tuple[float, float, float] = (3.0, 1.0, 1.0),
    contrast: str = "t1ce",
    lesion: str | None = "glioma",
    *,
    noise: float | None = None,
    bias: float | None = None,
    radius: float | None = None,
) -> PhantomVolume:
    """An axial phantom volume; arguments as for :func:`make`, with ``spacing`` in millimetres.

    Examples
    --------
    >>> volume = make_volume(1, shape=(12, 48, 48), spacing=(10, 4, 4))
    >>> volume.image.shape, bool(volume.mask.any()), volume.affine[2, 0]
    ((12, 48, 48), True, np.float64(10.0))
    """
    _check(contrast, lesion, 16)
    if min(shape) < 1 or min(spacing) <= 0:
        raise DataError(f"phantom: shape {shape} with spacing {spacing} is empty; give positive numbers")
    depth, height, width = shape
    subject = Subject(seed, contrast, noise, bias)
    heights = (np.arange(depth) - (depth - 1) / 2) * spacing[0] + _VOLUME_CENTRE_MM
    pixel = float(np.sqrt(spacing[1] * spacing[2]))

    def slice_at(height_mm: float) -> Points:
        return subject.place(slice_points("axial", height_mm, (height, width), spacing[1:]), "volume")

    wanted = _SELLA_MM["axial"] if lesion == "pituitary" else np.random.default_rng([seed, 2]).uniform(0.0, 40.0)
    middle = slice_at(float(heights[np.argmin(np.abs(heights - wanted))]))
    grown = subject.grow(lesion, middle, radius)
    image = np.empty(shape, np.uint16)
    mask = np.empty(shape, bool)
    for index, height_mm in enumerate(heights):
        points = slice_at(float(height_mm))
        drawing = subject.draw(points, pixel, grown)
        image[index] = _quantised(subject.scan(drawing.image, points), 16)
        mask[index] = drawing.mask
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing[0], -spacing[1], -spacing[2], 1.0
    affine[:3, 3] = (width - 1) / 2 * spacing[2], (height - 1) / 2 * spacing[1], heights[0]
    params = {"seed": seed, "contrast": contrast, "lesion": lesion, "noise": subject.noise, "bias": subject.bias}
    return PhantomVolume(image, mask, (float(spacing[0]), float(spacing[1]), float(spacing[2])), affine, params)


def write_demo(folder: str | Path) -> list[Path]:
    """Phantom files in every format that is read: eight 2-D scans, half with a tumour, and one volume with a glioma.

    Parameters
    ----------
    folder : path
        Made when missing; files of the same names are replaced.

    Returns
    -------
    list of Path
        The scans, 2-D ones first. File names tell plane, contrast and lesion.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    root, paths = Path(folder), []
    for name, plane, contrast, lesion, seed, offset, bits in _DEMO:
        scan = make(seed, plane, contrast, lesion=lesion, offset=offset, bits=bits)
        _write(root / name, _dicom(scan) if name.endswith(".dcm") else _raster(scan.image, Path(name).suffix))
        paths.append(root / name)
    name, seed = _DEMO_VOLUME
    _write(root / name, _nifti(make_volume(seed)))
    return [*paths, root / name]


def write_dataset(folder: str | Path, count: int, seed: int = 0, masks: bool = True, *, size: int = 128) -> Path:
    """A folder of PNG scans of different heads, every second one with a tumour, in mixed planes and contrasts.

    Parameters
    ----------
    folder : path
        Made when missing.
    count : int
        Number of scans.
    seed : int
        Head k has the seed ``1000 * seed + k``: data sets of different seeds share no head up to 1,000 scans.
    masks : bool
        Whether to write ``images/`` and ``masks/`` (0 and 255; black for healthy heads) beside a ``labels.csv``, or
        the folders ``yes/`` and ``no/`` alone.
    size : int
        Height and width in pixels.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    DataError
        If ``count`` is not positive.
    OutputError
        If a file cannot be written.
    """
    if count < 1:
        raise DataError(f"phantom: a data set of {count} scans is none; ask for 1 or more")
    root = Path(folder)
    table = streams.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("id", "label", "tumor_type", "patient", "sequence", "plane", "mask_source"))
    for number in range(count):
        own = 1000 * seed + number
        rng = np.random.default_rng([own, 5])
        plane, contrast = PLANES[rng.integers(len(PLANES))], CONTRASTS[rng.integers(len(CONTRASTS))]
        lesion = _TUMORS[rng.integers(len(_TUMORS))] if number % 2 else None
        scan = make(own, plane, contrast, size, lesion)
        name = f"phantom-{own:04d}"
        where = "images" if masks else "yes" if scan.label else "no"
        _write(root / where / f"{name}.png", _raster(scan.image, ".png"))
        if masks:
            _write(root / "masks" / f"{name}.png", _raster(scan.mask.astype(np.uint8) * np.uint8(255), ".png"))
        rows.writerow((name, scan.label, lesion, name, contrast, plane, "phantom"))
    if masks:
        _write(root / "labels.csv", table.getvalue().encode())
    return root


def _write(path: Path, content: bytes) -> None:
    with io.atomic(path) as temporary:
        temporary.write_bytes(content)


def _raster(image: NDArray, suffix: str) -> bytes:
    stretched = image if image.dtype == np.uint8 else image << 4  # 12 bits to the top of 16, as viewers expect
    return cv2.imencode(suffix, stretched)[1].tobytes()


def _nifti(volume: PhantomVolume) -> bytes:
    """A gzipped NIfTI-1 file, its array indexed (column, row, slice) as scanners' converters write it."""
    import nibabel as nib

    image = nib.Nifti1Image(volume.image.transpose(2, 1, 0), volume.affine[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def _dicom(scan: Phantom) -> bytes:
    """An MR Image Storage file of an axial scan; nobody's name is in it."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    seed, pixel, offset = str(scan.params["seed"]), scan.params["pixel_mm"], scan.params["offset_mm"]
    height, width = scan.image.shape
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(data, keyword, generate_uid(entropy_srcs=["tumorscope phantom", seed, keyword]))
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PatientName, data.PatientID, data.Modality = "PHANTOM", "PHANTOM", "MR"
    data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = scan.params["contrast"], 1, 1
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    corner = [-(width - 1) / 2 * pixel, -(height - 1) / 2 * pixel, offset]
    data.ImagePositionPatient = [round(value, 4) for value in corner]
    data.PixelSpacing, data.SliceThickness = [round(pixel, 6)] * 2, 5
    data.Rows, data.Columns = height, width
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = scan.image.astype("<u2").tobytes()
    buffer = streams.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _check(contrast: str, lesion: str | None, bits: int) -> None:
    look_up(contrast, CONTRASTS, "contrast", DataError)
    if lesion is not None:
        look_up(lesion, LESIONS, "lesion", DataError)
    if bits not in (8, 16):
        raise DataError(f"phantom: {bits} bits are not offered; ask for 8 or 16")


def _offset(rng: np.random.Generator, plane: str, lesion: str | None) -> float:
    """Where a slice lies along its axis: healthy and most diseased heads alike, pituitary tumours through the sella."""
    side = 1.0 if plane != "sagittal" or rng.uniform() < 0.5 else -1.0
    drawn = float(rng.uniform(*_OFFSETS_MM[plane]))
    if lesion == "pituitary":
        return side * (_SELLA_MM[plane] + float(rng.uniform(-1.5, 1.5)))
    return side * drawn


def _quantised(image: Field, bits: int) -> NDArray:
    """Integers with the brightest signal a little below the end of the scale, as consoles store them."""
    top = 255 if bits == 8 else 4095
    scaled = image * (top / 1.05)
    return np.clip(np.rint(scaled), 0, top).astype(np.uint8 if bits == 8 else np.uint16)
