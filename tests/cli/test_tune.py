"""``tumorscope tune``: as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tumorscope.datasets import phantom

QUICK = [
    word
    for setting in ("model.width=0.1", "input.size=32", "phases.0.epochs=1", "data.rounds=20", "data.validation=0.3")
    for word in ("--set", setting)
]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_dataset(tmp_path_factory.mktemp("tune") / "phantoms", 36, seed=3, size=48)


def test_a_search_as_it_is_typed(call: Any, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text('optimiser = ["adam", "sgd"]\n[fit]\nbatch = [8]\n')
    typed = ("tune", "custom-cnn", scans, "-o", tmp_path / "out", "--space", tmp_path / "space.toml", "--folds", "0")
    answer = call(*typed, "--sampler", "grid", *QUICK)
    assert answer.code == 0 and answer.out.splitlines()[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    assert "on scans that no trial saw, on the test scans" in answer.out
    trials = pl.read_csv(tmp_path / "out" / "trials.csv")
    assert sorted(trials["optimiser"]) == ["adam", "sgd"] and trials["fit.batch"].to_list() == [8, 8]
    again = call(*typed, "--sampler", "grid", *QUICK)
    assert again.code == 2 and "--resume" in again.err and len(again.lines) == 1
    resumed = call(*typed, "--sampler", "grid", *QUICK, "--resume", "--json")
    assert resumed.code == 0 and resumed.json["best"]["search"] == "train"
    assert resumed.json["recipe"] == str(tmp_path / "out" / "best.toml")
    assert resumed.json["sentences"][0] == answer.out.splitlines()[0]


def test_what_is_mistyped_is_told_in_one_line(call: Any, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text('"fit.bacth" = [8]\n')
    for options, words in (
        (("custom-cnn", "--space", tmp_path / "space.toml"), "did you mean 'batch'"),
        (("custom-cnn", "--sampler", "bayes"), "tpe"),
        (("custom-cnn", "--set", "fit.bacth=8"), "did you mean 'batch'"),
        (("custom-cnn", "--sampler", "grid"), "give --trials"),
        (("custom-cnn", "--trials", "0"), "--trials"),
        (("classical",), "only recipes of task 'classify' can be tuned"),
        (("custom-cmm",), "did you mean 'custom-cnn'"),
    ):
        answer = call("tune", options[0], scans, "-o", tmp_path / "out", *options[1:])
        assert answer.code == 2 and len(answer.lines) == 1 and words in answer.err, options
    assert not (tmp_path / "out").exists()
