"""What every reader shares: the size limit, one-line errors, and silence from the libraries below."""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, TumorscopeError
from tumorscope.scan import FloatArray, Source

# Values (pixels or voxels, times colour channels) that one scan may hold: 2**27 is a 512 x 512 x 512 volume, and half
# a gigabyte as float32. Compared with the header before anything is decoded.
MAX_PIXELS = 2**27

# The libraries whose warnings would reach the user in place of our one line, and could quote a patient's name.
_NOISY = r"(pydicom|PIL|nibabel|tifffile|imagecodecs|openjpeg|rle|jpeg_ls|gdcm|tumorscope\.io)(\.|$)"

for _name in ("tifffile", "pydicom", "openjpeg", "rle"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_lock = threading.Lock()
_readers = 0
_filter: object = None


def label(path: Path | str) -> str:
    r"""``path`` as it may stand in a one-line message: control characters and undecodable bytes escaped.

    Examples
    --------
    >>> label("scans/two\nlines.jpg")
    'scans/two\\nlines.jpg'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(path))


def one_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type where it has none, at most 160 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return label(lines[0].strip().rstrip(".")[:160]) if lines else type(error).__name__


def check_pixels(path: Path | str, shape: Sequence[int], limit: int) -> None:
    """Refuse a size that a header announces, before memory is spent on it.

    Raises
    ------
    ScanError
        If an axis is empty, or the product of ``shape`` exceeds ``limit``.

    Examples
    --------
    >>> check_pixels("bomb.png", (60000, 60000), MAX_PIXELS)
    Traceback (most recent call last):
    ...
    tumorscope.errors.ScanError: bomb.png: 60000x60000 is 3,600,000,000 values, above the limit of 134,217,728; \
make it smaller, or raise max_pixels if the file can be trusted
    """
    size = "x".join(str(int(n)) for n in shape)
    if any(n < 1 for n in shape):
        raise ScanError(f"{label(path)}: the header gives the impossible size {size}; fetch the file again")
    total = math.prod(int(n) for n in shape)
    if total > limit:
        raise ScanError(
            f"{label(path)}: {size} is {total:,} values, above the limit of {limit:,}; "
            "make it smaller, or raise max_pixels if the file can be trusted"
        )


def check_channel(path: Path | str, channel: int | None, count: int) -> None:
    """Refuse a channel that a file with ``count`` of them does not have; None is always fine.

    Raises
    ------
    ScanError
        If ``channel`` is not between 0 and ``count - 1``.
    """
    if channel is not None and not 0 <= channel < count:
        raise ScanError(f"{label(path)}: there is no channel {channel}; it has {count}, counted from 0")


def noted(source: Source, *notes: str) -> Source:
    """The source with findings added to its notes."""
    return replace(source, notes=(*source.notes, *notes)) if notes else source


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block the libraries below warn nobody. Safe in threads: the last one out removes the filter."""
    global _readers, _filter
    with _lock:
        _readers += 1
        if _readers == 1 or _filter not in warnings.filters:
            warnings.filterwarnings("ignore", module=_NOISY)
            _filter = warnings.filters[0]
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0 and _filter in warnings.filters:
                warnings.filters.remove(_filter)  # type: ignore[attr-defined]


@contextmanager
def decoding(path: Path | str, what: str, *, private: bool = False) -> Iterator[None]:
    """Turn whatever a decoder raises within the block into one `ScanError` about ``path``.

    Parameters
    ----------
    path : Path
        The file, named in the message.
    what : str
        What the file should be, such as ``"JPEG"``.
    private : bool
        Leave the library's own words out, because they may quote what stands in the header.

    Raises
    ------
    ScanError
        For every exception that is not already one of ours.
    """
    try:
        with quiet():
            yield
    except TumorscopeError:
        raise
    except MemoryError as error:
        raise ScanError(f"{label(path)}: not enough memory to decode this {what}; make it smaller") from error
    except PermissionError as error:
        raise ScanError(f"{label(path)}: cannot be opened ({one_line(error)}); check its permissions") from error
    except Exception as error:  # decoders raise nearly everything on damaged bytes
        why = type(error).__name__ if private else one_line(error)
        raise ScanError(
            f"{label(path)}: the {what} is damaged, cut short or of an unsupported kind ({why}); "
            "fetch it again, or export it anew"
        ) from error


def fill_non_finite(path: Path | str, values: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """``values`` with NaN and infinities set to the background, and a note that says how many.

    The background is 0 where no finite value is negative, otherwise the smallest finite value.

    Raises
    ------
    ScanError
        If no value is finite.

    Examples
    --------
    >>> fill_non_finite("x", np.array([np.nan, 3, np.inf], np.float32))[0].tolist()
    [0.0, 3.0, 0.0]
    """
    finite: NDArray[np.bool_] = np.isfinite(values)
    missing = int(values.size - np.count_nonzero(finite))
    if missing == 0:
        return values, ()
    if missing == values.size:
        raise ScanError(f"{label(path)}: every value is NaN or infinite; export the scan again")
    background = min(0.0, float(values[finite].min()))
    share = 100 * missing / values.size
    note = f"{missing:,} values ({share:.1f} %) are NaN or infinite and were set to the background, {background:g}"
    return np.where(finite, values, np.float32(background)), (note,)
