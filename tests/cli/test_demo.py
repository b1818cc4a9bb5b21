"""``tumorscope demo``: from nothing to a report, offline."""

import csv
import socket
from pathlib import Path

import pytest


@pytest.fixture
def offline(monkeypatch):
    """No socket can be opened."""

    def refuse(*arguments, **options):
        raise AssertionError("the demo went to the network")

    monkeypatch.setattr(socket, "socket", refuse)


def rows_of(out):
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_made_up_scans_to_a_report(call, tiny_bundle, offline, tmp_path):
    out = tmp_path / "demo"
    answer = call("demo", "-o", out, "--model", tiny_bundle)
    assert answer.code == 0
    assert answer.err == ""
    assert Path(answer.out.splitlines()[-1]) == out / "report.html"
    rows = rows_of(out)
    assert all(row["status"] == "ok" for row in rows)
    assert any(row["volume_mm3"] for row in rows)
    assert sum(row["path"].endswith(".nii.gz") for row in rows) == 1
    assert len(rows) == len(list((out / "scans").iterdir()))
    assert "not a medical device" in answer.out


def test_it_can_be_run_again(call, tiny_bundle, tmp_path):
    first = call("demo", "-o", tmp_path / "demo", "--model", tiny_bundle)
    second = call("demo", "-o", tmp_path / "demo", "--model", tiny_bundle)
    assert second.code == first.code == 0
    assert second.out.splitlines()[-1] == first.out.splitlines()[-1]


def test_own_scans(call, tiny_bundle, good, tmp_path):
    answer = call("demo", "--input", good, "-o", tmp_path / "demo", "--model", tiny_bundle)
    assert answer.code == 0
    assert [row["decision"] for row in rows_of(tmp_path / "demo")] == ["tumor", "no_tumor"]
    assert not (tmp_path / "demo" / "scans").exists()
    assert answer.out.splitlines()[-1].endswith("report.html")


def test_own_scans_that_fail(call, tiny_bundle, good, tmp_path):
    (good / "c.png").write_bytes(b"")
    answer = call("demo", "--input", good, "-o", tmp_path / "demo", "--model", tiny_bundle)
    assert answer.code == 3
    assert len(answer.lines) == 1
    assert answer.out.splitlines()[-1].endswith("report.html")


def test_a_folder_that_is_not_there(call, tiny_bundle, tmp_path):
    answer = call("demo", "--input", tmp_path / "none", "-o", tmp_path / "demo", "--model", tiny_bundle)
    assert answer.code == 2
