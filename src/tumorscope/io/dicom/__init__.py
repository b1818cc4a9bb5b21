"""DICOM files and folders: header, pixel values, slices in order, scans. Imported when the first one is read."""

from tumorscope.io.dicom.series import group, natural, read_group, read_series, several
from tumorscope.io.dicom.single import read_dicom

__all__ = ["group", "natural", "read_dicom", "read_group", "read_series", "several"]
