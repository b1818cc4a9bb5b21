"""What every test shares: one thread a library, Hypothesis settings, and the way to the real data."""

from __future__ import annotations

import os
from pathlib import Path

# Before NumPy, OpenCV or torch are imported: two pytest workers on two cores must not start four threads each,
# and sums must not depend on how many threads added them.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# No deadline: a shared machine is slow at times. In CI the examples are the same on every run.
settings.register_profile(
    "tumorscope",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tumorscope")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans: ``TUMORSCOPE_TEST_DATA``, or ``../shared/data`` beside the repository.

    The test is skipped, and says why, where there is none. The files are read-only; write to ``tmp_path``.
    """
    named = os.environ.get("TUMORSCOPE_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"{folder}: TUMORSCOPE_TEST_DATA names no folder; fix the path or unset it")
        pytest.skip("needs the real scans: set TUMORSCOPE_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty phantoms of 96 px as PNG with masks, half with a tumour, in mixed planes and contrasts."""
    from tumorscope.datasets import phantom

    return phantom.write_dataset(tmp_path_factory.mktemp("scans") / "phantoms", 60, seed=7, size=96)
