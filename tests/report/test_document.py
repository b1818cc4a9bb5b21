"""A document says everything that it was given, and nothing in it can run or fetch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tumorscope.errors import DataError
from tumorscope.report.document import LONGEST, Figure, Section, Table, write_document


def _page(tmp_path: Path, *sections: Section, lead: tuple[str, ...] = ("Short.",)) -> str:
    return write_document(tmp_path / "report.html", "A title", lead, sections, {"command": "audit x"}).read_text(
        "utf-8"
    )


def test_sentences_tables_and_pictures_are_there(tmp_path: Path) -> None:
    table = Table(("name", "share"), [("a.png", 0.25), (None, float("nan"))], "Two scans")
    picture = Figure(np.zeros((20, 30, 3), np.uint8), "a black sheet")
    page = _page(tmp_path, Section("Copies", ["Two are one."], [table], [picture], alarm=True, hint="Drop one."))
    for piece in (
        "A title",
        "Short.",
        "Two are one.",
        "Drop one.",
        "a.png",
        "0.25",
        "Two scans",
        "audit x",
        "look here",
    ):
        assert piece in page
    assert page.count("<td>–</td>") == 2
    assert 'alt="a black sheet"' in page and "data:image/jpeg;base64," in page
    assert page.count('href="#s1"') >= 1 and 'id="s1"' in page


def test_what_was_given_cannot_become_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    section = Section(evil, [evil], [Table((evil,), [(evil,)], evil)], [Figure(np.zeros((4, 4), np.uint8), evil)])
    page = _page(tmp_path, section, lead=(evil,))
    assert evil not in page and "&lt;script&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "default-src 'none'" in page and "script-src" not in page


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [(f"row{number}x",) for number in range(LONGEST + 7)]
    page = _page(tmp_path, Section("Many", ["Many."], [Table(("id",), rows)]))
    assert f"row{LONGEST - 1}x" in page and f"row{LONGEST}x" not in page
    assert "and 7 more" in page


def test_a_row_that_does_not_fit_its_headings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a row of 1 cells under 2 headings"):
        _page(tmp_path, Section("Bad", [], [Table(("a", "b"), [(1,)])]))
    assert not (tmp_path / "report.html").exists()


def test_a_picture_of_another_type_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="float64"):
        _page(tmp_path, Section("Bad", [], [], [Figure(np.zeros((4, 4)), "x")]))
