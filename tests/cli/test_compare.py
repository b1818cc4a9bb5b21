"""``tumorscope compare``: models matched scan by scan, and which differences are real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Run folders of a good and a bad model, and one that is the good one again; the same scans in another order."""
    rng = np.random.default_rng(3)
    label = np.arange(120) % 2
    good = np.clip(0.5 + 0.6 * (label - 0.5) + 0.15 * rng.standard_normal(120), 0, 1)
    folders = []
    for name, score in (("good", good), ("bad", rng.random(120)), ("again", good)):
        frame = pl.DataFrame({"id": [f"s{n}" for n in range(120)], "label": label, "probability": score})
        frame = frame.with_columns(group=pl.Series([f"g{n // 2}" for n in range(120)]))
        (tmp_path / name).mkdir()
        frame.sample(fraction=1, shuffle=True, seed=len(name)).write_parquet(tmp_path / name / "predictions.parquet")
        pl.DataFrame({"epoch": [0, 1], "train_loss": [1.0, 0.5]}).write_csv(tmp_path / name / "metrics.csv")
        folders.append(tmp_path / name)
    return folders


def test_a_real_difference_is_told_from_none(call: Any, runs: list[Path], tmp_path: Path) -> None:
    found = call("compare", *runs, "-o", tmp_path / "out", "--json").json
    real = {(pair["first"], pair["second"]): pair["real"] for pair in found["pairs"]}
    assert real == {("good", "bad"): True, ("good", "again"): False, ("bad", "again"): True}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for words in ("Which differences are real", "Learning curves", "ConvNeXtBase 2nd", "near-copies"):
        assert words in page
    lines = (tmp_path / "out" / "table.md").read_text("utf-8").splitlines()
    assert lines[0].startswith("| model | scans | groups | ROC-AUC") and lines[2].startswith("| good | 120 | 60 |")


def test_against_one_model_makes_fewer_pairs(call: Any, runs: list[Path], tmp_path: Path) -> None:
    answer = call("compare", *runs, "-o", tmp_path / "out", "--against", "bad")
    assert answer.code == 0 and answer.out.count("higher ROC-AUC than bad") == 2


def test_what_cannot_be_compared_is_told_in_one_line(call: Any, runs: list[Path], tmp_path: Path) -> None:
    alone = call("compare", runs[0], "-o", tmp_path / "out")
    assert alone.code == 2 and "give two or more" in alone.err
    (tmp_path / "empty").mkdir()
    empty = call("compare", runs[0], tmp_path / "empty", "-o", tmp_path / "out")
    assert empty.code == 2 and "holds no predictions.parquet" in empty.err
    wrong = call("compare", *runs, "-o", tmp_path / "out", "--against", "god")
    assert wrong.code == 2 and "did you mean 'good'" in wrong.err
