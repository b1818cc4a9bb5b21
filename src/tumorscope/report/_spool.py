"""Pieces of HTML that wait on disk until their page is written."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from markupsafe import Markup

from tumorscope.errors import OutputError
from tumorscope.report._row import Reading

CHUNK = 1 << 16  # bytes copied at a time


class Spool:
    """Text that is appended to and read again, in a file without a name: it is gone whenever the process is.

    Parameters
    ----------
    folder : Path
        The file system that has the room; nothing is seen in the folder itself.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the report
        self.size = 0

    def write(self, piece: str) -> None:
        """Append a piece. One that was cut short (Ctrl-C, full disk) does not count, the next overwrites it."""
        data = piece.encode("utf-8", "backslashreplace")
        self._file.seek(self.size)
        self._file.write(data)
        self._file.flush()
        self.size += len(data)

    def __bool__(self) -> bool:
        return self.size > 0

    def __iter__(self) -> Iterator[Markup]:
        """The text in chunks, safe for a template: what was written here had been escaped."""
        return (Markup(piece) for piece in codecs.iterdecode(self._chunks(), "utf-8"))

    def _chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, CHUNK):
            self._file.seek(start)
            yield self._file.read(min(CHUNK, self.size - start))

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class Page:
    """A page in the making: its table lines and its cards on disk, what its scans came to here."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.lines, self.cards = Spool(folder), Spool(folder)
        self.start = 0
        self.states: list[str] = []

    def add(self, reading: Reading, line: str, card: str) -> None:
        """Append one scan."""
        self.cards.write(card)
        self.lines.write(line)
        self.start = self.start or reading.number
        self.states.append(reading.state)

    @property
    def count(self) -> int:
        """Scans on the page."""
        return len(self.states)

    def close(self) -> None:
        """Give the space back."""
        self.lines.close()
        self.cards.close()


@contextmanager
def all_or_nothing(*spools: Spool) -> Iterator[None]:
    """Take back what was written to ``spools`` inside when something goes wrong."""
    sizes = [spool.size for spool in spools]
    try:
        yield
    except BaseException:
        for spool, size in zip(spools, sizes, strict=True):
            spool.size = size
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError inside into the `OutputError` that a person can act on."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        finding = f"the report cannot be written ({reason})"
        raise OutputError(f"{path}: {finding}; choose a folder with room and permission") from error
