"""An upload as it streams in: parts go to numbered files in a folder of their own, and never by the client's names."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tumorscope.server.problems import Problem
from tumorscope.server.store import new_id

MOST_FIELDS = 64 * 1024  # bytes of all parts that are no files
MOST_HEADER = 8 * 1024  # bytes of one part's headers
LONGEST_NAME = 180  # characters of a name that are kept
FORM = "multipart/form-data"


@dataclass(frozen=True)
class Part:
    """A file that came in: where it lies, and what the client called it, for showing only."""

    path: Path
    name: str


@dataclass
class Upload:
    """All parts of an upload."""

    files: list[Part] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def received(request: Request, incoming: Path, most: int) -> AsyncIterator[Upload]:
    """The parts of a multipart request, in files that are removed when the block ends.

    Parameters
    ----------
    request : Request
    incoming : Path
        Folder for uploads; this one's own is made in it.
    most : int
        Files at most.

    Raises
    ------
    Problem
        415 for another kind of body, 400 for a damaged one, 413 for too many files.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != FORM.encode() or not boundary:
        raise Problem(415, "type", f"the body is no {FORM}; send files as the form field 'files'")
    folder = incoming / new_id()
    folder.mkdir(parents=True)
    form = _Form(folder, most)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in request.stream():
            await run_in_threadpool(parser.write, chunk)
        await run_in_threadpool(parser.finalize)
        form.close()
        yield form.upload
    except FormParserError as error:
        raise Problem(400, "request", "the form is damaged or cut short; send it again") from error
    finally:
        form.abandon()
        await run_in_threadpool(shutil.rmtree, folder, True)


class _Form:
    """Takes the parser's events; writes a file's bytes as they come."""

    def __init__(self, folder: Path, most: int) -> None:
        self.upload = Upload()
        self._folder, self._most = folder, most
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._file: BinaryIO | None = None
        self._key, self._text, self._seen = "", b"", 0
        self._ended = False

    def callbacks(self) -> dict[str, object]:
        """The methods by the parser's names for them."""
        parts = (
            "part_begin",
            "header_field",
            "header_value",
            "header_end",
            "headers_finished",
            "part_data",
            "part_end",
        )
        return {**{f"on_{name}": getattr(self, f"_{name}") for name in parts}, "on_end": self._end}

    def close(self) -> None:
        """Check that all came."""
        if not self._ended:
            raise Problem(400, "request", "the form is cut short; send it again")

    def abandon(self) -> None:
        """Let go of a file that is open still."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _part_begin(self) -> None:
        self._headers, self._name, self._value = {}, b"", b""
        self._key, self._text = "", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._limit_header()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._limit_header()

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _limit_header(self) -> None:
        if len(self._name) + len(self._value) > MOST_HEADER or len(self._headers) > 32:
            raise Problem(400, "request", "a part of the form has too long a header; send files with shorter names")

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._key = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            return
        if len(self.upload.files) >= self._most:
            raise Problem(413, "too-many", f"more than {self._most} files; send fewer at once")
        path = self._folder / f"{len(self.upload.files):06d}"
        self._file = path.open("xb")
        self.upload.files.append(Part(path, shown_name(options[b"filename"].decode("utf-8", "replace"))))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._seen += end - start
        if self._seen > MOST_FIELDS:
            raise Problem(413, "too-large", "the form's fields are too long; send data as files")
        self._text += data[start:end]

    def _part_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._key:
            self.upload.fields[self._key] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def shown_name(given: str) -> str:
    r"""The last part of a name as it may be shown: one line, no separators, at most `LONGEST_NAME` characters.

    Examples
    --------
    >>> shown_name("../../etc/passwd"), shown_name("C:\\scans\\a.png"), shown_name("a\nb.png"), shown_name("..")
    ('passwd', 'a.png', 'a_b.png', 'scan')
    """
    last = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(char if char.isprintable() else "_" for char in last).strip()
    return clean[:LONGEST_NAME] if clean.strip(".") else "scan"
