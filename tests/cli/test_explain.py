"""``tumorscope explain``: maps, their scores and the check, as a newcomer types it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

RECIPE = """
name = "tiny"
task = "classify"
model = { backbone = "custom-cnn", pretrained = "no", channels = 1, width = 0.1 }
input = { size = 48 }
phases = [{ epochs = 1 }]
data = { validation = 0.3, test = 0.3, rounds = 20 }
machine = { precision = "fp32", workers = 0 }
"""


@pytest.fixture(scope="module")
def run(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tumorscope.training import recipe as recipes
    from tumorscope.training.classifier_run import train

    return train(recipes.parse(RECIPE, "tiny.toml"), [phantom_folder], tmp_path_factory.mktemp("trained") / "run")


def test_a_run_and_its_own_scans(call: Any, run: Path, phantom_folder: Path, tmp_path: Path) -> None:
    answer = call("explain", run, phantom_folder, "-o", tmp_path / "out", "--scans", "6")
    assert answer.code == 0 and "Grad-CAM of 6 scans" in answer.out and "random weights" in answer.out
    tested = pl.read_parquet(run / "predictions.parquet")["id"].to_list()
    table = pl.read_csv(tmp_path / "out" / "explain.csv")
    assert set(table["id"].to_list()) <= set(tested) and set(table["fold"].to_list()) == {"the only split"}
    assert f"{60 - len(tested)} scans were left out" in answer.out
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"maps", "sheet.png", "explain.csv", "explain.json", "report.html"}
    assert len(list((tmp_path / "out" / "maps").iterdir())) == 6


def test_one_object_on_stdout(call: Any, run: Path, phantom_folder: Path, tmp_path: Path) -> None:
    options = ("--method", "gradcam++", "--scans", "4", "--no-check", "--json", "--class", "tumor")
    answer = call("explain", run, phantom_folder, "-o", tmp_path / "out", *options)
    assert answer.code == 0 and answer.json["scans"] == 4 and answer.json["sanity"] is None
    assert answer.json["method"] == "gradcam++" and 0 <= answer.json["localization"]["energy"][0] <= 1


def test_what_is_typed_wrongly_is_told_in_one_line(call: Any, run: Path, phantom_folder: Path, tmp_path: Path) -> None:
    for options, words in (
        (("--method", "lime"), "lime"),
        (("--class", "tumors"), "did you mean 'tumor'"),
        (("--fold", "r0f0"), "unknown fold"),
    ):
        answer = call("explain", run, phantom_folder, "-o", tmp_path / "out", *options)
        assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1
    empty = call("explain", tmp_path, phantom_folder, "-o", tmp_path / "out")
    assert empty.code == 2 and "no finished training" in empty.err
