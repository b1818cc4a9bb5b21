from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tumorscope import io
from tumorscope.errors import ScanError
from tumorscope.io.formats import FORMATS, sniff_head


@pytest.mark.parametrize(
    ("save_as", "format"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("TIFF", "tiff"), ("BMP", "bmp"), ("WEBP", "webp")],
)
def test_content_decides_and_not_the_name(tmp_path: Path, save_as: str, format: str) -> None:
    path = tmp_path / "scan.txt"
    Image.new("L", (9, 8)).save(path, format=save_as)
    assert io.sniff(path) == format


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.hdr"])
def test_nifti_plain_zipped_and_pair(tmp_path: Path, name: str) -> None:
    import nibabel as nib

    kind = nib.Nifti1Pair if name == "v.hdr" else nib.Nifti1Image
    nib.save(kind(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / name)
    assert io.sniff(tmp_path / name) == "nifti"


def test_nifti2_and_big_endian(tmp_path: Path) -> None:
    import nibabel as nib

    nib.save(nib.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "two.nii")
    swapped = nib.Nifti1Image(np.zeros((3, 4, 5), ">i2"), np.eye(4), nib.Nifti1Header(endianness=">"))
    nib.save(swapped, tmp_path / "big.nii")
    assert io.sniff(tmp_path / "two.nii") == io.sniff(tmp_path / "big.nii") == "nifti"


def test_dicom_with_and_without_preamble(make_dicom) -> None:
    path = make_dicom("a", np.zeros((4, 4), np.uint8))
    assert io.sniff(path) == "dicom"
    path.write_bytes(path.read_bytes()[132:])
    assert io.sniff(path) == "dicom"


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\0" * 500, "only zero bytes"),
        (b"patient,label\n1,2\n", "plain text"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GIF89a" + bytes(50), "GIF image"),
        (b"%PDF-1.7\n", "PDF document"),
        (b"PK\x03\x04" + bytes(50), "ZIP archive"),
        (gzip.compress(b"just some text", mtime=0), "gzip archive"),
        (gzip.compress(bytes(4000), mtime=0)[:30], "gzip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (bytes(range(256)), "of no known kind"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: bytes, finding: str) -> None:
    path = tmp_path / "scan.jpg"
    path.write_bytes(content)
    with pytest.raises(ScanError, match=f"scan.jpg: .*{finding}") as caught:
        io.sniff(path)
    assert "\n" not in str(caught.value)


def test_missing_folder_pipe_and_impossible_names(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="no such file; check the path"):
        io.sniff(tmp_path / "none.png")
    with pytest.raises(ScanError, match="is a folder"):
        io.sniff(tmp_path)
    with pytest.raises(ScanError, match="cannot be opened"):
        io.sniff(tmp_path / ("x" * 5000))
    with pytest.raises(ScanError, match="cannot be opened"):
        io.sniff("a\0b.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ScanError, match="not a regular file"):  # and does not wait for a writer
        io.sniff(tmp_path / "pipe.png")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ScanError, match=r"locked.png: cannot be opened \(Permission denied\); check its permissions"):
        io.sniff(path)


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines\x1b.png"
    path.write_bytes(b"")
    with pytest.raises(ScanError) as caught:
        io.sniff(path)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@given(st.binary(max_size=600))
@settings(max_examples=300)
def test_any_bytes_give_a_format_or_one_line(content: bytes) -> None:
    try:
        assert sniff_head("x", content) in FORMATS
    except ScanError as error:
        assert "\n" not in str(error)
