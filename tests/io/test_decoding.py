from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from tumorscope.errors import DataError, ScanError
from tumorscope.io.decoding import MAX_PIXELS, check_pixels, decoding, fill_non_finite, label, quiet


def test_the_limit_is_512_cubed() -> None:
    check_pixels("x", (512, 512, 512), MAX_PIXELS)
    with pytest.raises(ScanError, match="above the limit of 134,217,728"):
        check_pixels("x", (512, 512, 513), MAX_PIXELS)


@pytest.mark.parametrize("shape", [(0, 4), (4, -1)])
def test_an_impossible_size_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ScanError, match="impossible size"):
        check_pixels("x", shape, MAX_PIXELS)


@pytest.mark.parametrize("error", [ValueError("bad\nvery bad"), KeyError("x"), MemoryError(), OSError(5, "I/O error")])
def test_every_decoder_error_becomes_one_line(error: Exception) -> None:
    with pytest.raises(ScanError) as caught, decoding("a.png", "PNG"):
        raise error
    assert str(caught.value).startswith("a.png: ") and "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_private_error_quotes_nothing() -> None:
    with pytest.raises(ScanError) as caught, decoding("a", "DICOM file", private=True):
        raise ValueError("Invalid value for VR PN: 'Doe^Jane'")
    assert "Doe" not in str(caught.value)


def test_our_own_errors_and_ctrl_c_pass_unchanged() -> None:
    with pytest.raises(DataError), decoding("a", "PNG"):
        raise DataError("x")
    with pytest.raises(KeyboardInterrupt), decoding("a", "PNG"):
        raise KeyboardInterrupt


def test_quiet_silences_the_libraries_only_inside_and_across_threads() -> None:
    def noisy() -> None:
        warnings.warn_explicit("noise", UserWarning, "f.py", 1, module="pydicom.valuerep")

    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with quiet():
        noisy()
    noisy()  # the other thread is still inside
    leave.set()
    thread.join()
    with pytest.raises(UserWarning):
        noisy()
    with pytest.raises(UserWarning), quiet():
        warnings.warn_explicit("ours", UserWarning, "f.py", 1, module="tumorscope.imaging")


def test_non_finite_values_become_background() -> None:
    values, notes = fill_non_finite("x", np.array([np.nan, 5, np.inf, 2], np.float32))
    assert values.tolist() == [0, 5, 0, 2]
    assert "2 values (50.0 %) are NaN or infinite" in notes[0]
    values, _ = fill_non_finite("x", np.array([-np.inf, -3, 2], np.float32))  # z-scored: darkest, not average
    assert values.tolist() == [-3, -3, 2]
    same = np.ones(3, np.float32)
    assert fill_non_finite("x", same) == (same, ()) or fill_non_finite("x", same)[0] is same
    with pytest.raises(ScanError, match="every value is NaN"):
        fill_non_finite("x", np.full(3, np.nan, np.float32))


def test_labels_keep_letters_and_escape_the_rest() -> None:
    assert label(Path("Größe/脳 1.png")) == "Größe/脳 1.png"
    assert label("a\tb\udcff") == "a\\tb\\udcff"
