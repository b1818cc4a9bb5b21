"""Makers of files for the reading tests: rasters, NIfTI volumes and DICOM slices with known content."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

MakeDicom = Callable[..., Path]
MakeNifti = Callable[..., Path]


@pytest.fixture
def ramp() -> NDArray[np.uint8]:
    """A 40 x 30 grey image without any symmetry."""
    rows, columns = np.mgrid[0:40, 0:30]
    return (rows * 3 + columns * 4 + (rows * columns) % 7).astype(np.uint8)


@pytest.fixture
def make_dicom(tmp_path: Path) -> MakeDicom:
    """``make(name, pixels, **elements)`` writes an MR slice and returns its path. An element of None is left out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    def make(name: str, pixels: NDArray | None, *, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> Path:
        data = Dataset()
        data.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
        data.SOPInstanceUID = generate_uid()
        data.SeriesInstanceUID = "1.2.3.4"
        data.Modality = "MR"
        data.PatientName = "Nightingale^Florence"
        data.PatientID = "SECRET-1820"
        if pixels is not None:
            coloured = pixels.shape[-1] == 3 and pixels.ndim > 2
            data.SamplesPerPixel = 3 if coloured else 1
            data.PhotometricInterpretation = "RGB" if coloured else "MONOCHROME2"
            if coloured:
                data.PlanarConfiguration = 0
            image = pixels.shape[:-1] if coloured else pixels.shape
            data.Rows, data.Columns = image[-2:]
            if len(image) == 3:
                data.NumberOfFrames = image[0]
            data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
            data.HighBit = data.BitsStored - 1
            data.PixelRepresentation = int(pixels.dtype.kind == "i")
            data.PixelData = pixels.tobytes()
            data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        for keyword, value in elements.items():
            if value is not None:
                setattr(data, keyword, value)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        if syntax != ExplicitVRLittleEndian:
            data.compress(syntax, generate_instance_uid=False)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return make


@pytest.fixture
def make_series(make_dicom: MakeDicom) -> Callable[..., list[Path]]:
    """``make(folder, count, ...)`` writes slices 5 mm apart; slice number i has the value ``10 * i`` and a mark."""

    def make(
        folder: str, count: int, *, positions: list[float] | None = None, axis: int = 2, **elements: Any
    ) -> list[Path]:
        cosines = {2: [1, 0, 0, 0, 1, 0], 1: [1, 0, 0, 0, 0, -1], 0: [0, 1, 0, 0, 0, -1]}[axis]
        paths = []
        for index, where in enumerate(positions or [5.0 * i for i in range(count)]):
            pixels = np.full((6, 7), 10 * index, np.uint16)
            pixels[1, 2] = 1000 + index
            position = [-30.0, -40.0, -50.0]
            position[axis] = where
            given = {
                "ImagePositionPatient": position,
                "ImageOrientationPatient": cosines,
                "PixelSpacing": [0.5, 0.75],
                "InstanceNumber": index + 1,
                "SeriesNumber": 3,
                **elements,
            }
            # names in an order that is not the order in space
            paths.append(make_dicom(f"{folder}/{(index * 7) % 11:02d}-{index}.dcm", pixels, **given))
        return paths

    return make


@pytest.fixture
def make_nifti(tmp_path: Path) -> MakeNifti:
    """``make(name, array, affine, units="mm", **header fields)`` writes a NIfTI-1 and returns its path."""
    import nibabel as nib

    def make(
        name: str, array: NDArray, affine: NDArray | None = None, *, units: str | None = "mm", **fields: Any
    ) -> Path:
        image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
        if units:
            image.header.set_xyzt_units(units)
        path = tmp_path / name
        nib.save(image, path)
        if fields:  # into the bytes, because nibabel sets codes of its own when it saves
            content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
            header = nib.Nifti1Header(content[:348], check=False)
            for field, value in fields.items():
                header[field] = value
            content = header.binaryblock + content[348:]
            path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return make
