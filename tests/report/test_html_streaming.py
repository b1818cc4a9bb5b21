"""A report while it is written: whole whenever it stops, and small in memory however long it gets."""

from __future__ import annotations

import errno
import gc
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumorscope.errors import DataError, OutputError
from tumorscope.report._spool import Spool
from tumorscope.report.html import PredictionReport

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def row(number: int) -> dict[str, Any]:
    measured = {"probability": 0.93, "uncertainty": 0.37, "lesions": 1, "area_px": 412.0, "diameter_px": 25.0}
    return {
        "id": f"scan{number}",
        "path": f"{number}.png",
        "status": "ok",
        "decision": "tumor",
        "gate": "passed",
    } | measured


def failure(number: int, error: str) -> dict[str, Any]:
    return {"id": f"scan{number}", "path": f"{number}.png", "status": "failed", "error": error}


def cards(page: Path) -> list[str]:
    return re.findall(r'<article class="card" id="([^"]+)"', page.read_text())


def words(page: Path) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", "", page.read_text(), flags=re.S).split())


def check_links(pages: list[Path]) -> None:
    """Each page is whole, and each of its links leads to a page that is there and a scan that is on it."""
    sources = {page.name: page.read_text() for page in pages}
    for name, source in sources.items():
        assert source.endswith("</html>")
        for target, place in re.findall(r'href="([^"#]*)#?([^"]*)"', source):
            assert (target or name) in sources, f"{name} links to {target}"
            assert not place or f'id="{place}"' in sources[target or name], f"{name} links to {target}#{place}"


class TestInterruption:
    def test_ctrl_c_leaves_a_valid_report_that_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), PredictionReport(tmp_path, page_size=2) as report:
            for number in range(5):
                report.add(row(number), {"input": PICTURE})
            raise KeyboardInterrupt
        check_links(report.pages())
        assert [len(cards(page)) for page in report.pages()] == [2, 2, 1]
        assert "This run was interrupted after 5 scans: it was stopped by the user" in words(tmp_path / "report.html")

    def test_an_error_is_named_and_goes_on(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError), PredictionReport(tmp_path) as report:
            report.add(row(1), {})
            raise OutputError("masks/1.png: no space left; make room")
        assert "after 1 scan: masks/1.png: no space left; make room" in words(tmp_path / "report.html")

    def test_a_finished_run_says_nothing_of_the_kind(self, tmp_path: Path) -> None:
        with PredictionReport(tmp_path) as report:
            report.add(row(1), {})
        assert "interrupted" not in words(tmp_path / "report.html")
        assert "not complete" not in words(tmp_path / "report.html")

    @pytest.mark.parametrize("scans", [2, 3, 4, 5, 6, 9])
    def test_a_killed_run_leaves_whole_pages_that_say_so(self, tmp_path: Path, scans: int) -> None:
        report = PredictionReport(tmp_path, page_size=2)
        for number in range(scans):
            report.add(row(number), {"input": PICTURE})
        there = sorted(tmp_path.iterdir())  # what a kill -9 at this moment would leave
        full = scans // 2
        assert {path.name for path in there} == {path.name for path in report.pages()}
        assert len(there) == full
        check_links(there)
        said = f"This report is not complete. It holds the first {2 * full} scans"
        assert said in words(tmp_path / "report.html")
        report.close()

    def test_a_piece_that_did_not_fit_is_taken_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with PredictionReport(tmp_path) as report:
            report.add(row(1), {"input": PICTURE})
            whole, calls = Spool.write, []

            def full_disk(spool: Spool, piece: str) -> None:
                calls.append(piece)
                if len(calls) == 2:  # the card is on disk, the line of the table is not
                    raise OSError(errno.ENOSPC, "No space left on device")
                whole(spool, piece)

            with monkeypatch.context() as patch:
                patch.setattr(Spool, "write", full_disk)
                with pytest.raises(OutputError, match=r"No space left on device\); choose a folder"):
                    report.add(row(2), {"input": PICTURE})
            report.add(row(3), {"input": PICTURE})
        assert cards(tmp_path / "report.html") == ["scan-1", "scan-2"]
        assert "scan3" in words(tmp_path / "report.html")
        assert "scan2" not in words(tmp_path / "report.html")

    def test_closing_twice_changes_nothing_and_adding_after_it_is_refused(self, tmp_path: Path) -> None:
        report = PredictionReport(tmp_path)
        report.add(row(1), {})
        before = report.close().read_bytes()
        assert report.close("too late").read_bytes() == before
        with pytest.raises(DataError, match="closed"):
            report.add(row(2), {})

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("in the way")
        with pytest.raises(OutputError, match="out: the report cannot be written"):
            PredictionReport(tmp_path / "out")

    def test_a_page_that_cannot_be_written_is_named_and_nothing_is_left_open(self, tmp_path: Path) -> None:
        report = PredictionReport(tmp_path)
        report.add(row(1), {})
        (tmp_path / "report.html").mkdir()
        (tmp_path / "report.html" / "in the way").touch()
        with pytest.raises(OutputError, match=r"report\.html"):
            report.close()


class TestMemory:
    def test_memory_does_not_grow_with_the_number_of_scans(self, tmp_path: Path) -> None:
        colour = np.dstack([PICTURE] * 3)
        with PredictionReport(tmp_path) as report:

            def add(first: int, last: int) -> None:
                for number in range(first, last):
                    one = failure(number, "x" * 200) if number % 5 == 0 else row(number)
                    report.add(one, {"input": PICTURE, "overlay": colour, "enhanced": PICTURE})

            add(0, 100)  # templates, fonts and caches are in place
            gc.collect()
            tracemalloc.start()
            try:
                add(100, 600)
                gc.collect()
                kept, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert kept < 100_000
        assert peak < 3_000_000
