"""A report to be read from top to bottom: a few sentences first, then sections with tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope._version import __version__
from tumorscope.errors import DataError
from tumorscope.io import atomic
from tumorscope.report._row import text
from tumorscope.report.html import JPEG_QUALITY, RESEARCH_ONLY, _environment

LONGEST = 200  # rows of a table; the rest is counted in a line beneath
OPEN = 12  # rows up to which a table is shown at once; a longer one is unfolded on demand


@dataclass(frozen=True)
class Table:
    """Rows of a section.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequences
        Cells: text, numbers or None, which is shown as a dash.
    caption : str
        A line above, or empty.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture of a section: (H, W) or (H, W, 3) uint8 RGB, with a caption that also tells those who cannot see it."""

    image: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a document.

    Parameters
    ----------
    title : str
    sentences : sequence of str
        What was found, in plain words.
    tables, figures : sequences
        The evidence.
    alarm : bool
        Whether the finding would spoil a result: it gets a mark in the table of contents.
    hint : str
        How to read it, or what to do; shown smaller.
    """

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table] = field(default_factory=tuple)
    figures: Sequence[Figure] = field(default_factory=tuple)
    alarm: bool = False
    hint: str = ""


def write_document(
    path: Path, title: str, lead: Sequence[str], sections: Sequence[Section], facts: Mapping[str, Any]
) -> Path:
    """``path``, an HTML page that needs nothing but a browser.

    Parameters
    ----------
    path : Path
        The file; written under a temporary name and renamed.
    title : str
        Heading.
    lead : sequence of str
        The sentences that a busy person needs.
    sections : sequence of Section
    facts : mapping
        What is said about the run at the foot; date and version are added.

    Raises
    ------
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "report.html"
    >>> page = write_document(file, "Audit", ["All well."], [Section("Copies", ["None."])], {}).read_text("utf-8")
    >>> "<h1>Audit</h1>" in page and "All well." in page
    True
    """
    template = _environment().get_template("document.html.j2")
    stamp = {"date": datetime.now().astimezone().isoformat(" ", "seconds"), "tumorscope": __version__}
    page = template.render(
        title=text(title),
        version=__version__,
        research_only=RESEARCH_ONLY,
        lead=[text(sentence) for sentence in lead],
        sections=[_shown(number, section) for number, section in enumerate(sections, start=1)],
        facts=[(text(name), text(value)) for name, value in {**facts, **stamp}.items()],
    )
    with atomic(path) as draft:
        draft.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _shown(number: int, section: Section) -> dict[str, Any]:
    return {
        "anchor": f"s{number}",
        "title": text(section.title),
        "sentences": [_sentence(text(one)) for one in section.sentences],
        "hint": text(section.hint),
        "alarm": section.alarm,
        "tables": [_table(table) for table in section.tables],
        "figures": [{"source": _data(figure.image), "caption": text(figure.caption)} for figure in section.figures],
    }


def _sentence(words: str) -> str:
    """The words with a capital at the beginning and a full stop at the end."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?", ":")) else ".")


def _table(table: Table) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in table.rows[:LONGEST]]
    for row in rows:
        if len(row) != len(table.columns):
            raise DataError(f"table '{table.caption}': a row of {len(row)} cells under {len(table.columns)} headings")
    return {
        "caption": text(table.caption),
        "columns": [
            {"text": text(name), "number": bool(rows) and all(row[number]["number"] for row in rows)}
            for number, name in enumerate(table.columns)
        ],
        "folded": len(rows) > OPEN,
        "count": len(table.rows),
        "rows": rows,
        "more": max(0, len(table.rows) - LONGEST),
    }


def _cell(value: Any) -> dict[str, Any]:
    """A cell as text, and whether it is a number."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return {"text": "–", "number": False}
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    shown = f"{value:.3g}" if isinstance(value, float | np.floating) else text(value)
    return {"text": shown, "number": number}


def _data(image: NDArray[np.uint8]) -> str:
    """A picture as a data URI."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise DataError(f"picture: {image.dtype} {image.shape}; pass uint8 (H, W) or (H, W, 3)")
    blue_first = np.ascontiguousarray(image if image.ndim == 2 else image[..., ::-1])
    _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
