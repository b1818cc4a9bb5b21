"""The command `audit`: three sentences and a report, JSON on request, and the exit code of a partial result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tumorscope.cli import main
from tumorscope.datasets import phantom


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_dataset(tmp_path_factory.mktemp("audit") / "scans", 16, seed=3, masks=False, size=96)


def test_it_says_three_sentences_and_where_the_report_is(scans: Path, tmp_path: Path, capsys) -> None:
    assert main(["audit", str(scans), "-o", str(tmp_path), "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("None of 16 scans repeats another one")
    assert lines[3] == f"report: {tmp_path / 'report.html'}"
    assert {"report.html", "audit.json", "clean.parquet", "cache"} <= {path.name for path in tmp_path.iterdir()}


def test_json_is_one_object_and_a_broken_scan_makes_it_partial(scans: Path, tmp_path: Path, capsys) -> None:
    broken = next((scans / "yes").iterdir()).parent / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    try:
        assert main(["audit", str(scans), "-o", str(tmp_path), "--json", "--workers", "1"]) == 3
    finally:
        broken.unlink()
    answer = json.loads(capsys.readouterr().out)
    assert answer["scans"] == 17 and len(answer["unreadable"]) == 1
    assert "broken" in answer["unreadable"][0]["id"]


def test_a_missing_folder_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["audit", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
