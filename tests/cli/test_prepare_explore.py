"""``tumorscope prepare`` and ``tumorscope explore`` as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl


def scans(folder: Path, phantom_folder: Path, count: int = 6) -> Path:
    """A folder of a few phantoms in yes and no."""
    for number, path in enumerate(sorted((phantom_folder / "images").glob("*.png"))[:count]):
        place = folder / "scans" / ("no", "yes")[number % 2] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return folder / "scans"


def test_prepare_and_again(call: Any, phantom_folder: Path, tmp_path: Path) -> None:
    folder = scans(tmp_path, phantom_folder)
    steps = ("--steps", "clean,crop,contrast:method=clahe,resize:size=48")
    answer = call("prepare", folder, "-o", tmp_path / "out", *steps)
    assert answer.code == 0 and answer.out.splitlines()[0] == "6 scans prepared"
    table = pl.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert table.height == 6 and set(table["label"]) == {0, 1} and table["group"].null_count() == 0
    again = call("prepare", folder, "-o", tmp_path / "out", *steps, "--json").json
    assert (again["made"], again["kept"]) == (0, 6) and again["steps"][-1] == {"step": "resize", "size": 48}


def test_prepare_refuses_in_one_line(call: Any, phantom_folder: Path, tmp_path: Path) -> None:
    folder = scans(tmp_path, phantom_folder)
    wrong = call("prepare", folder, "-o", tmp_path / "out", "--steps", "clena")
    assert wrong.code == 2 and "did you mean 'clean'" in wrong.err and not (tmp_path / "out").exists()
    among = call("prepare", folder, "-o", folder)
    assert among.code == 2 and "originals stay untouched" in among.err


def test_explore_writes_a_page(call: Any, phantom_folder: Path, tmp_path: Path) -> None:
    folder = scans(tmp_path, phantom_folder)
    (folder / "no" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    answer = call("explore", folder, "-o", tmp_path / "out", "--sample", 2, "--workers", 1, "--json")
    assert answer.code == 3 and answer.json["scans"] == 7 and len(answer.json["failed"]) == 1
    assert (tmp_path / "out" / "report.html").is_file() and (tmp_path / "out" / "features.csv").is_file()
