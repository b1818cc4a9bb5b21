"""The pages of a report: complete, valid, harmless, readable, whatever they are given."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tumorscope.errors import DataError
from tumorscope.report._row import STATES
from tumorscope.report.html import RESEARCH_ONLY, PredictionReport

META = {"model": "scout", "version": "1.0", "fingerprint": "sha256:12ab", "thresholds": (0.35, 0.55), "command": "x"}
VOID = {"meta", "link", "img", "br", "hr", "input"}
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


class Document(HTMLParser):
    """A page as a browser sees it: its tags balanced, its text, ids, links and pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self.open, f"{path.name}: {self.open} never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, attribute: str) -> list[str]:
        return [value for name, found in self.tags if name == tag and (value := found.get(attribute)) is not None]

    @property
    def ids(self) -> set[str]:
        return {found["id"] or "" for _, found in self.tags if "id" in found}

    @property
    def cards(self) -> list[str]:
        return self.values("article", "id")


def row(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "id": f"scan{number}",
        "path": f"scans/{number}.png",
        "status": "ok",
        "probability": 0.93,
        "decision": "tumor",
        "uncertainty": 0.37,
        "gate": "passed",
        "lesions": 1,
        "area_px": 412.0,
        "area_mm2": None,
        "diameter_px": 25.0,
        "diameter_mm": None,
        "volume_mm3": None,
        "seconds": 0.03,
        "error": None,
        "notes": [],
        "sides_known": False,
    }
    return values | changes


def failure(number: int, error: str = "x.png: 0 bytes; get it again") -> dict[str, Any]:
    return {"id": f"scan{number}", "path": f"scans/{number}.png", "status": "failed", "error": error}


def write(folder: Path, rows: list[dict[str, Any]], **options: Any) -> list[Document]:
    with PredictionReport(folder, "Some scans", META, **options) as report:
        for one in rows:
            report.add(one, {"input": PICTURE, "overlay": np.dstack([PICTURE] * 3)} if one["status"] == "ok" else {})
    check_links(report.pages())
    return [Document(path) for path in report.pages()]


def check_links(pages: list[Path]) -> None:
    """Every link inside the report leads to a page that is there and a place that is on it."""
    documents = {path.name: Document(path) for path in pages}
    for name, document in documents.items():
        for link in document.values("a", "href") + document.values("use", "href"):
            target, _, place = link.partition("#")
            if target == "predictions.csv":
                continue
            assert (target or name) in documents, f"{name} links to {target}"
            assert not place or place in documents[target or name].ids, f"{name} links to {link}"


class TestPaging:
    def test_120_scans_make_3_pages_with_the_right_links(self, tmp_path: Path) -> None:
        pages = write(tmp_path, [row(i) for i in range(1, 121)])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["report-2.html", "report-3.html", "report.html"]
        assert [page.cards for page in pages] == [
            [f"scan-{i}" for i in range(1, 51)],
            [f"scan-{i}" for i in range(51, 101)],
            [f"scan-{i}" for i in range(101, 121)],
        ]
        related = [[(f["rel"], f["href"]) for tag, f in page.tags if tag == "a" and "rel" in f] for page in pages]
        assert set(related[0]) == {("next", "report-2.html")}
        assert set(related[1]) == {("prev", "report.html"), ("next", "report-3.html")}
        assert set(related[2]) == {("prev", "report-2.html")}

    @pytest.mark.parametrize(("scans", "pages"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (21, 6)])
    def test_no_scan_is_lost_or_shown_twice(self, tmp_path: Path, scans: int, pages: int) -> None:
        documents = write(tmp_path, [row(i) for i in range(scans)], page_size=4)
        assert len(documents) == pages
        assert [card for page in documents for card in page.cards] == [f"scan-{i}" for i in range(1, scans + 1)]

    def test_a_shorter_report_leaves_no_page_of_a_longer_one(self, tmp_path: Path) -> None:
        other = tmp_path / "report-of-mine.html"
        other.write_text("mine")
        write(tmp_path, [row(i) for i in range(9)], page_size=2)
        write(tmp_path, [row(i) for i in range(3)], page_size=2)
        assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report-2.html", "report-of-mine.html"}

    def test_a_page_of_no_scans_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot hold 0 scans"):
            PredictionReport(tmp_path, page_size=0)


class TestOverview:
    def test_counts_stand_beside_their_words(self, tmp_path: Path) -> None:
        rows = [row(1), row(2), row(3, decision="no_tumor", probability=0.02), row(4, decision="uncertain")]
        rows += [row(5, decision="not_brain_mri", gate="refused: looks like text", probability=None), failure(6)]
        (page,) = write(tmp_path, rows)
        assert "6 scans" in page.text
        assert "2 Tumour 1 Uncertain 1 No tumour 1 Not a brain MRI 1 Failed" in page.text
        assert "passed 4 refused 1 not asked: the file could not be read 1" in page.text

    def test_failures_of_all_pages_are_listed_with_their_reasons(self, tmp_path: Path) -> None:
        first, *_ = write(tmp_path, [failure(i, f"{i}.png: broken; mend it") for i in range(1, 8)], page_size=3)
        assert "7 files that failed" in first.text
        assert all(f"{i}.png: broken; mend it" in first.text for i in range(1, 8))
        assert "report-3.html#scan-7" in first.values("a", "href")

    def test_every_scan_can_be_reached_from_the_first_page(self, tmp_path: Path) -> None:
        first, *_ = write(tmp_path, [row(i) for i in range(10)], page_size=4)
        links = first.values("a", "href")
        assert {"report.html#scan-1", "report-2.html#scan-5", "report-3.html#scan-10"} <= set(links)

    def test_the_table_is_named_where_it_is(self, tmp_path: Path) -> None:
        (without,) = write(tmp_path, [row(1)])
        (tmp_path / "predictions.csv").write_text("id\n")
        (beside,) = write(tmp_path, [row(1)])
        assert "predictions.csv" not in without.text
        assert "predictions.csv" in beside.text

    def test_answers_of_the_gate_without_end_are_gathered(self, tmp_path: Path) -> None:
        (page,) = write(tmp_path, [row(i, gate=f"answer {i}") for i in range(40)])
        assert "other 28" in page.text


class TestCard:
    def card(self, folder: Path, **changes: Any) -> Document:
        (page,) = write(folder, [row(1, **changes)])
        return page

    @pytest.mark.parametrize("decision", ["tumor", "no_tumor", "uncertain", "not_brain_mri"])
    def test_a_decision_is_a_word_and_a_shape_besides_its_colour(self, tmp_path: Path, decision: str) -> None:
        source = self.card(tmp_path, decision=decision).source
        found = re.search(r'<p class="decision (\w+)"><svg[^>]*><use href="#m-(\w+)"/></svg>([^<]+)</p>', source)
        assert found is not None
        assert found.groups() == (decision, decision, STATES[decision])

    def test_shapes_differ(self, tmp_path: Path) -> None:
        shapes = re.findall(r'<symbol id="m-\w+" viewBox="0 0 12 12">(.*?)</symbol>', self.card(tmp_path).source)
        assert len(shapes) == len(set(shapes)) == 6

    def test_the_bar_is_at_the_probability_and_shows_the_zone(self, tmp_path: Path) -> None:
        page = self.card(tmp_path, probability=0.42, decision="uncertain")
        bar = next(found for tag, found in page.tags if tag == "svg" and "bar" in (found.get("class") or ""))
        assert bar["aria-label"] == "Probability of a tumour 0.42, uncertain between 0.35 and 0.55"
        zone = next(found for tag, found in page.tags if tag == "rect" and found.get("class") == "zone")
        assert (zone["x"], zone["width"]) == ("35.0%", "20.0%")
        assert '<svg x="42.0%"' in page.source

    def test_pixels_come_with_the_reason_and_millimetres_without(self, tmp_path: Path) -> None:
        reason = "the file does not state the size of a pixel"
        assert reason in self.card(tmp_path).text
        known = self.card(tmp_path, area_mm2=98.9, diameter_mm=12.3)
        assert reason not in known.text
        assert "Area 98.9 mm² Diameter 12.3 mm" in known.text

    def test_sides_are_said_to_be_known_or_not(self, tmp_path: Path) -> None:
        assert "This file does not say which side is left." in self.card(tmp_path).text
        known = self.card(tmp_path, sides_known=True).text
        assert "This file does not say" not in known
        assert "The file states left and right" in known

    def test_gate_uncertainty_and_notes_are_shown(self, tmp_path: Path) -> None:
        page = self.card(tmp_path, gate="refused: a photograph", notes=["white border made black"])
        assert "Gate refused: a photograph" in page.text
        assert "Uncertainty 0.37" in page.text
        assert "white border made black" in page.text

    def test_a_missing_probability_draws_no_bar(self, tmp_path: Path) -> None:
        page = self.card(tmp_path, probability=None, decision="not_brain_mri")
        assert 'class="bar' not in page.source

    def test_one_threshold_is_a_mark_not_a_zone(self, tmp_path: Path) -> None:
        with PredictionReport(tmp_path, meta={"thresholds": 0.5}) as report:
            report.add(row(1), {})
        source = Document(tmp_path / "report.html").source
        assert 'class="limit" x="50.0%"' in source
        assert 'class="zone"' not in source


class TestPictures:
    def decoded(self, folder: Path, **images: np.ndarray) -> list[np.ndarray]:
        with PredictionReport(folder) as report:
            report.add(row(1), images)
        sources = Document(folder / "report.html").values("img", "src")
        data = [np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8) for source in sources]
        return [cv2.imdecode(one, cv2.IMREAD_COLOR)[..., ::-1] for one in data]

    def test_colours_arrive_as_they_were(self, tmp_path: Path) -> None:
        orange = np.full((32, 32, 3), (255, 138, 52), np.uint8)
        (seen,) = self.decoded(tmp_path, overlay=orange)
        assert np.abs(seen.astype(int) - orange).max() < 8

    def test_large_pictures_become_thumbnails_and_small_ones_stay(self, tmp_path: Path) -> None:
        big, wide, small, line = self.decoded(
            tmp_path,
            input=np.zeros((1427, 1275), np.uint8),
            overlay=np.zeros((100, 4000, 3), np.uint8),
            enhanced=PICTURE,
            truth=np.zeros((1, 3000), np.uint8),
        )
        assert big.shape == (256, 229, 3)
        assert wide.shape == (13, 512, 3)
        assert small.shape == (64, 64, 3)
        assert line.shape == (1, 512, 3)

    def test_the_sheet_of_a_volume_keeps_its_size(self, tmp_path: Path) -> None:
        (sheet,) = self.decoded(tmp_path, slices=np.zeros((700, 1000, 3), np.uint8))
        assert sheet.shape == (700, 1000, 3)

    def test_what_is_no_picture_is_refused_and_not_counted(self, tmp_path: Path) -> None:
        with PredictionReport(tmp_path) as report:
            for picture in (np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)):
                with pytest.raises(DataError, match="scan1: picture 'input' is"):
                    report.add(row(1), {"input": picture})
            report.add(row(2), {"input": PICTURE})
        assert Document(tmp_path / "report.html").cards == ["scan-1"]


class TestSafety:
    HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\udce9\u202egnp.exe"

    def hostile(self, folder: Path) -> list[Document]:
        name = self.HOSTILE
        bad = row(1, id=name, path=name, gate=name, notes=[name])
        meta = {"model": name, "command": name, name: name, "thresholds": {"low": 0.3, "high": 0.6}}
        with PredictionReport(folder, name, meta, page_size=2) as report:
            report.add(bad, {"input": PICTURE, name: PICTURE})
            for number in range(2, 5):
                report.add(failure(number, name) | {"id": name}, {})
            report.close(name)
        return [Document(path) for path in report.pages()]

    def test_names_are_text_and_never_markup(self, tmp_path: Path) -> None:
        for page in self.hostile(tmp_path):
            assert sum(tag == "script" for tag, _ in page.tags) == 1
            assert not any("onerror" in found for _, found in page.tags)
            assert all(source.startswith("data:image/jpeg;base64,") for source in page.values("img", "src"))
            assert "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;" in page.text

    def test_an_undecodable_name_is_shown_escaped(self, tmp_path: Path) -> None:
        assert "\\udce9" in self.hostile(tmp_path)[0].text

    def test_pages_need_no_host_and_no_file(self, tmp_path: Path) -> None:
        for page in write(tmp_path, [row(i) for i in range(5)], page_size=2):
            hosts = re.findall(r"(?:https?:)?//([\w.-]+\.\w+)", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.source))
            assert set(hosts) <= {"www.w3.org"}
            assert not page.values("link", "href")
            assert not page.values("script", "src")
            assert all(source.startswith("data:") for source in page.values("img", "src"))
            assert "@import" not in page.source

    def test_only_the_style_and_the_script_of_the_report_may_run(self, tmp_path: Path) -> None:
        (page,) = write(tmp_path, [row(1)])
        policy = next(found["content"] or "" for tag, found in page.tags if found.get("http-equiv"))
        assert "default-src 'none'" in policy
        for tag in ("style", "script"):
            content = re.search(rf"<{tag}>(.*?)</{tag}>", page.source, re.S)
            assert content is not None
            digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert not any("style" in found for _, found in page.tags)


class TestEveryPage:
    def test_the_research_sentence_stands_once(self, tmp_path: Path) -> None:
        for page in write(tmp_path, [row(i) for i in range(5)], page_size=2):
            assert page.text.count(RESEARCH_ONLY) == 1

    def test_what_the_run_was_is_at_the_foot(self, tmp_path: Path) -> None:
        for page in write(tmp_path, [row(i) for i in range(5)], page_size=2):
            foot = page.text.partition("About this run")[2]
            for said in ("Model scout", "Model version 1.0", "sha256:12ab", "0.35, 0.55", "Command x", "Date 2"):
                assert said in foot

    def test_it_can_be_read_without_seeing_or_clicking(self, tmp_path: Path) -> None:
        for page in write(tmp_path, [row(i) for i in range(5)], page_size=2):
            pictures = [found for tag, found in page.tags if tag == "img"]
            assert pictures
            assert all((found.get("alt") or "").startswith("scan") for found in pictures)
            assert all("scope" in found for tag, found in page.tags if tag == "th")
            drawings = [found for tag, found in page.tags if tag == "svg" and found.get("class") != "free"]
            assert all("aria-hidden" in found or "aria-label" in found for found in drawings)
            ids = [found["id"] for _, found in page.tags if "id" in found]
            assert len(ids) == len(set(ids))
            assert ("html", {"lang": "en-GB"}) in page.tags
