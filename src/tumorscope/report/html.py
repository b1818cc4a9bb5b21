"""The report of a prediction run: pages of HTML that need nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorscope._version import __version__
from tumorscope.errors import DataError, OutputError, TumorscopeError
from tumorscope.io import atomic
from tumorscope.report._row import STATES, Reading, number_of, read_row, text
from tumorscope.report._spool import Page, Spool, all_or_nothing, writing
from tumorscope.report.figures import to_display

RESEARCH_ONLY = "Research software, not a medical device; nothing on this page is a diagnosis."
PAGE_SIZE = 50  # scans; some three megabytes of pictures
THUMBNAIL = (256, 512)  # px, height and width at most
WIDE = (900, 1200)  # px, the same for sheets of slices
JPEG_QUALITY = 86
KINDS = 12  # different answers of the gate that are counted apart; later ones are "other"

PICTURES = {
    "input": ("Input", "the scan as it was read"),
    "enhanced": ("Enhanced", "the scan with weak detail amplified"),
    "overlay": ("Overlay", "the scan with an outline around what the model marked"),
    "truth": ("Reference", "the scan with an outline around the reference"),
    "slices": ("Slices that matter", "slices of the volume with an outline around what the model marked"),
}
META = {
    "model": "Model",
    "version": "Model version",
    "fingerprint": "Training data fingerprint",
    "thresholds": "Thresholds",
    "command": "Command",
    "date": "Date",
    "tumorscope": "tumorscope",
}


class PredictionReport:
    """Report of a run, written while it goes on: memory does not grow with the number of scans.

    ``report.html`` holds the overview and the first page, ``report-2.html`` and so on the others.
    A page is written when it is full, and the overview with it, each to a temporary name first; so
    what lies in the folder is a valid report at any time, and says when it is not complete.

    Parameters
    ----------
    folder : Path
        Where the pages go; made if it is not there. Pages of an earlier report are replaced.
    title : str
        Heading of every page.
    meta : mapping, optional
        What is said about the run at the foot of every page, free of patient identifiers: ``model``,
        ``version``, ``fingerprint`` (of the training data), ``thresholds``, ``command``, ``date``,
        ``tumorscope``, and whatever else the caller wants to be read. ``thresholds`` is a pair (low,
        high), or a mapping with these keys: a probability of ``high`` or more is a tumour, below
        ``low`` none, and between the two the model does not decide.
    page_size : int
        Scans on a page.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with PredictionReport(folder, "Two scans", {"thresholds": (0.35, 0.55)}) as report:
    ...     report.add({"id": "a", "status": "ok", "decision": "tumor", "probability": 0.93}, {})
    ...     report.add({"id": "b", "status": "failed", "error": "b.png: 0 bytes; get it again"}, {})
    >>> [page.name for page in report.pages()]
    ['report.html']
    """

    def __init__(
        self,
        folder: Path,
        title: str = "Prediction report",
        meta: Mapping[str, Any] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        if page_size < 1:
            raise DataError(f"report: a page cannot hold {page_size} scans; give 1 or more")
        self.folder, self.title, self.page_size = Path(folder), text(title), page_size
        self._facts = {"date": datetime.now().astimezone().isoformat(" ", "seconds"), "tumorscope": __version__}
        self._facts |= dict(meta or {})
        self._zone = _zone(self._facts.get("thresholds"))
        self._environment = _environment()
        self._parts: Any = self._environment.get_template("parts.html.j2").module
        self._counts = dict.fromkeys(STATES, 0)
        self._gates: dict[str, int] = {}
        self._finished = 0  # pages that are complete
        self._closed = False
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._failures, self._index = Spool(self.folder), Spool(self.folder)
            self._first = self._page = self._before = Page(self.folder, 1)

    def __enter__(self) -> PredictionReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(interrupted=_why(error))
        except OutputError as failure:  # the first error is the one to act on; this one goes with it
            error.add_note(str(failure))

    @property
    def count(self) -> int:
        """Scans added so far."""
        return sum(self._counts.values())

    def pages(self) -> list[Path]:
        """The files of the report that are written, in order."""
        return [self.folder / page_name(number) for number in range(1, max(1, self._finished) + 1)]

    def add(self, row: Mapping[str, Any], images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Put one scan into the report.

        Parameters
        ----------
        row : mapping
            The columns of predictions.csv, plus ``notes`` (list of str) and ``sides_known`` (bool).
            None, NaN and the empty string are unknown. ``path`` is shown as it is given.
        images : mapping of str to (H, W) or (H, W, 3) uint8 array
            ``"input"``, ``"overlay"``, ``"enhanced"``, ``"truth"``, and ``"slices"`` for the sheet of
            a volume, which gets the full width; shown in this order of the mapping.

        Raises
        ------
        DataError
            If the status or the decision is unknown, or a picture is not one.
        OutputError
            If there is no room to write.
        """
        if self._closed:
            raise DataError(f"{self.folder}: the report is closed; add scans before closing it")
        number = self.count + 1
        reading = read_row(row, number, volume="slices" in images)
        pictures = [_picture(key, image, reading.id) for key, image in images.items()]
        card = self._parts.card(reading, pictures, self._zone)
        line = self._parts.line(reading)
        with writing(self.folder):
            if self._page.count == self.page_size:
                self._page = Page(self.folder, self._page.number + 1)
            with all_or_nothing(self._page.cards, self._page.lines, self._failures):
                if reading.state == "failed":
                    self._failures.write(self._parts.failure(reading, page_name(self._page.number)))
                self._page.add(reading, line, card)
        self._tally(reading)
        if self._page.count == self.page_size:
            self._finish_page()
            self._write_page(self._first, self._finished, state="running")

    def close(self, interrupted: str = "") -> Path:
        """Write what is not written yet, and return the path of ``report.html``.

        Parameters
        ----------
        interrupted : str
            Why the run stopped early, in a few words; empty when it came to its end.
        """
        path = self.folder / page_name(1)
        if self._closed:
            return path
        self._closed = True
        try:
            if self._page.number > self._finished and self._page.count:
                self._finish_page()
            state = "interrupted" if interrupted else "done"
            self._write_page(self._first, self._finished, state=state, why=interrupted)
            with writing(self.folder):
                self._remove_older_pages()
        finally:
            for spool in (self._failures, self._index, self._first, self._before, self._page):
                spool.close()
        return path

    def _tally(self, reading: Reading) -> None:
        """Count what the scan came to and, if it could be read, what the gate said."""
        self._counts[reading.state] += 1
        if reading.state != "failed":
            kind = reading.gate_kind if reading.gate_kind in self._gates or len(self._gates) < KINDS else "other"
            self._gates[kind] = self._gates.get(kind, 0) + 1

    def _finish_page(self) -> None:
        """Write the current page, and the one before once more, which can now point to it."""
        page, before = self._page, self._before
        if page is not self._first:
            self._write_page(page, page.number)
            if before is not self._first:
                self._write_page(before, page.number)
        with writing(self.folder):
            self._index.write(self._parts.page_line(page, page_name(page.number), STATES))
        self._finished, self._before = page.number, page
        if before is not self._first:
            before.close()

    def _write_page(self, page: Page, last: int, *, state: str = "", why: str = "") -> None:
        """Write one page of ``last``; the ``state`` of the run is told on the first, with the overview."""
        context = {
            "title": self.title,
            "research_only": RESEARCH_ONLY,
            "version": __version__,
            "facts": [(_label(key), _said(self._facts[key])) for key in self._keys()],
            "zone": self._zone,
            "states": STATES,
            "page": page,
            "previous": page_name(page.number - 1) if page.number > 1 else None,
            "next": page_name(page.number + 1) if page.number < last else None,
            "overview": None if page.number > 1 else self._overview(state, why),
        }
        template = self._environment.get_template("page.html.j2")
        path = self.folder / page_name(page.number)
        with (
            writing(path),
            atomic(path) as temporary,
            open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
        ):
            file.writelines(template.generate(context))

    def _keys(self) -> list[str]:
        """What is said about the run: the known facts in their order, then the caller's own."""
        return [key for key in META if key in self._facts] + [key for key in self._facts if key not in META]

    def _overview(self, state: str, why: str) -> dict[str, Any]:
        """What ``report.html`` tells about the whole run."""
        total = self.count
        bars, start = [], 0.0
        for code, count in self._counts.items():
            if count:
                bars.append((code, 100 * start / total, 100 * count / total))
                start += count
        return {
            "state": state,
            "why": why,
            "total": total,
            "counts": self._counts,
            "bars": bars,
            "gates": sorted(self._gates.items(), key=lambda item: -item[1]),
            "failures": self._failures,
            "pages": self._finished,
            "index": self._index,
            "table": "predictions.csv" if (self.folder / "predictions.csv").is_file() else None,
        }

    def _remove_older_pages(self) -> None:
        """Pages beyond the last one, which an earlier and longer report left in the folder."""
        for name in os.listdir(self.folder):
            match = re.fullmatch(r"report-(\d+)\.html", name)
            if match and int(match[1]) > max(1, self._finished):
                (self.folder / name).unlink()


def page_name(number: int) -> str:
    """File name of a page, counted from 1.

    Examples
    --------
    >>> page_name(1), page_name(2)
    ('report.html', 'report-2.html')
    """
    return "report.html" if number == 1 else f"report-{number}.html"


def _environment() -> jinja2.Environment:
    """Templates that escape everything, with the style and the script they carry, and the hashes of both."""
    loader = jinja2.PackageLoader("tumorscope.report")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for name, file in (("style", "report.css"), ("script", "sort.js")):
        content = loader.get_source(environment, file)[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        environment.globals |= {name: Markup(content), f"{name}_hash": f"sha256-{digest}"}
    return environment


def _picture(key: str, image: NDArray[np.uint8], name: str) -> dict[str, Any]:
    """A picture as the card needs it: caption, text for those who cannot see it, data URI, size."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = to_display(array)
    if array.size == 0 or array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise DataError(f"{name}: picture '{key}' is {array.dtype} {array.shape}; pass uint8 (H, W) or (H, W, 3)")
    tallest, widest = WIDE if key == "slices" else THUMBNAIL
    factor = min(1.0, tallest / array.shape[0], widest / array.shape[1])
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    if factor < 1:
        smaller = cv2.resize(np.ascontiguousarray(array), (width, height), interpolation=cv2.INTER_AREA)
        array = np.asarray(smaller, np.uint8)
    chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # thin lines keep their colour
    blue_first = np.ascontiguousarray(array if array.ndim == 2 else array[..., ::-1])
    _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *chroma])
    caption, meaning = PICTURES.get(key, (text(key).capitalize(), text(key)))
    return {
        "caption": caption,
        "alt": f"{name}: {meaning}",
        "wide": key == "slices",
        "width": width,
        "height": height,
        "source": "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode(),
    }


def _zone(thresholds: object) -> tuple[float, float] | None:
    """Bounds of the uncertain zone, from a pair, a mapping with ``low`` and ``high``, or one number."""
    if isinstance(thresholds, Mapping):
        pair: tuple[object, ...] = (thresholds.get("low"), thresholds.get("high"))
    elif isinstance(thresholds, list | tuple):
        pair = tuple(thresholds)
    else:
        pair = (thresholds, thresholds)
    low, *_, high = (number_of(value) for value in pair) if pair else (None, None)
    if low is None or high is None or len(pair) != 2:
        return None
    return min(low, high), max(low, high)


def _said(value: object) -> str:
    """A value of the run's facts as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{text(key)} {_said(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said(item) for item in value)
    return text(value) or "not stated"


def _label(key: str) -> str:
    return META.get(key) or key[:1].upper() + key[1:].replace("_", " ")


def _why(error: BaseException) -> str:
    """What stopped the run, in a few words."""
    if isinstance(error, KeyboardInterrupt):
        return "it was stopped by the user"
    return text(error) if isinstance(error, TumorscopeError) else f"an internal error ({type(error).__name__})"
