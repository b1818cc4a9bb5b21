"""Reading as a whole: every real file, from many threads, and fast enough."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tumorscope import io
from tumorscope.errors import ScanError


def test_threads_read_the_same_as_one(tmp_path: Path, ramp, make_dicom, make_nifti) -> None:
    import tifffile
    from PIL import Image

    paths = [make_dicom("a.dcm", ramp), make_nifti("v.nii.gz", np.stack([ramp] * 3, -1))]
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp"):
        Image.fromarray(ramp).save(tmp_path / name)
        paths.append(tmp_path / name)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    (tmp_path / "bad.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-50])
    paths += [tmp_path / "a.tif", tmp_path / "bad.jpg"]

    def result(path: Path) -> object:
        try:
            return io.read(path).pixels.tobytes()
        except ScanError as error:
            return str(error)

    alone = [result(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(result, paths * 20)) == alone * 20


def test_reading_leaves_the_callers_warning_filters_alone(tmp_path: Path, make_dicom, ramp) -> None:
    before = list(warnings.filters)
    io.read(make_dicom("a.dcm", ramp))
    assert warnings.filters == before


def test_importing_io_is_light() -> None:
    heavy = ["cv2", "PIL", "pydicom", "nibabel", "tifffile", "polars", "scipy", "torch", "imagecodecs"]
    code = f"import sys, tumorscope.io; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_files_of_a_series_may_be_given_as_text(tmp_path: Path, make_series) -> None:
    paths = make_series("s", 3)
    assert io.read(str(tmp_path / "s"), files=[str(path) for path in paths]).shape[0] == 3


@pytest.mark.parametrize("folder", ["navoneel", "cheng", "healthy", "tumor_unmasked", "lgg", "progression"])
def test_every_real_file(shared_data: Path, folder: str) -> None:
    items = io.discover([shared_data / folder])
    assert len(items) > 10
    for item in items[:: 1 if len(items) < 400 else 9]:
        scan = item.read()
        assert np.isfinite(scan.pixels).all() and scan.pixels.min() >= 0
        assert scan.axes in ("YX", "CYX", "ZYX")
        assert scan.source.sides_known == (folder == "progression")


def test_a_256_pixel_jpeg_takes_less_than_five_milliseconds(shared_data: Path) -> None:
    paths = sorted((shared_data / "cheng" / "images").glob("*.jpg"))[:60]
    io.read(paths[0])

    def best(path: Path) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            io.read(path)
            times.append(time.perf_counter() - start)
        return min(times)

    assert np.median([best(path) for path in paths]) < 0.005
