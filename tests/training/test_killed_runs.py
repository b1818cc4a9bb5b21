"""A classifier's run that is killed (SIGKILL) at any moment, and resumed, ends as an unbroken one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tumorscope.datasets import manifest, phantom
from tumorscope.training import classifier_export, classifier_report
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classifier_run import train

pytestmark = pytest.mark.timeout(900)  # eight trainings and another start of torch, all before the first test
SETTINGS = {
    "model.width": 0.1,
    "model.head": ["dense 8", "batchnorm", "dropout 0.5"],
    "input.size": 32,
    "fit.batch": 8,
    "fit.ema": 0.9,
    "fit.clip": 1.0,
    "data.folds": 2,
    "data.rounds": 20,
    "data.balance": "over",
    "machine.precision": "fp32",
    "machine.workers": 0,
    "augmentation.noise": 0.5,
    "phases": [{"epochs": 1, "train": "head", "rate": 1e-3}, {"epochs": 2, "rate": 3e-3}],
}
# Moments at which a run of two folds is killed: in a batch, between the row of an epoch and its checkpoint, between
# two phases, before a fold's answers are written, between two folds, and before the run's own files are.
MOMENTS = ("batch", "row", "phase", "answers", "fold", "log")
SCRIPT = """
import os, signal, sys
from pathlib import Path
from tumorscope.training import classifier_export, classifier_report, classifier_run, engine, phases
from tumorscope.training.classify import Classify
from tumorscope.training.recipe import load

PLACES = {  # what is called, how often before the end, and whether it is done that last time
    "batch": (Classify, "training_step", 9, False),
    "row": (engine.EpochLog, "on_train_epoch_end", 2, True),
    "phase": (phases, "loop_of", 2, False),
    "answers": (classifier_run, "answers", 1, False),
    "fold": (classifier_run, "fit", 2, False),
    "log": (classifier_run, "write_log", 1, False),
}

def die_at(moment):
    owner, name, times, done = PLACES[moment]
    real, left = getattr(owner, name), [times]

    def called(*args, **kwargs):
        left[0] -= 1
        result = real(*args, **kwargs) if left[0] or done else None
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, called)

classifier_export.export = classifier_report.write_report = lambda *_, **__: None
recipe, table, runs, cache = sys.argv[1:5]
for moment in sys.argv[5:]:
    child = os.fork()  # nothing has been computed yet, so that no thread is lost; one start of torch is enough
    if not child:
        die_at(moment)
        classifier_run.train(load(recipe), [table], Path(runs, moment), cache_folder=Path(cache))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
"""


@pytest.fixture(scope="module")
def recipe() -> ClassifierRecipe:
    return recipes.changed(recipes.load("custom-cnn"), SETTINGS)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = phantom.write_dataset(tmp_path_factory.mktemp("scans"), 40, seed=2, masks=False, size=64)
    return manifest.write(manifest.load(folder), tmp_path_factory.mktemp("table") / "scans.parquet")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Runs without an export and without a report, which come after everything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_export, "export", lambda *_, **__: None)
        patch.setattr(classifier_report, "write_report", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def unbroken(recipe: ClassifierRecipe, table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, [table], tmp_path_factory.mktemp("unbroken") / "run", cache_folder=cache)


def facts(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())


@pytest.fixture(scope="module")
def killed(
    unbroken: Path, recipe: ClassifierRecipe, table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a run killed at each of the moments; the unbroken one has filled the cache."""
    place = tmp_path_factory.mktemp("killed")
    (place / "script.py").write_text(SCRIPT)
    (place / "tiny.toml").write_text(recipes.to_toml(recipe))
    call = [sys.executable, place / "script.py", place / "tiny.toml", table, place, cache, *MOMENTS]
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_ends_as_an_unbroken_one(moment, killed, unbroken, recipe, table, cache) -> None:
    broken = killed / moment
    assert (broken / "manifest.parquet").exists() and not (broken / "provenance.json").exists()
    first = broken / "folds" / "r0f0"
    reached = {
        name: (first / name).exists() for name in ("metrics.csv", "phases.json", "best.safetensors", "fold.json")
    }
    assert (
        list(reached.values())
        == {
            "batch": [True, True, False, False],
            "row": [True, True, False, False],
            "phase": [True, True, False, False],
            "answers": [True, True, True, False],
            "fold": [True] * 4,
            "log": [True] * 4,
        }[moment]
    )
    train(recipe, [table], broken, resume=True, cache_folder=cache)
    each = [f"folds/{name}/{file}" for name in ("r0f0", "r0f1") for file in ("metrics.csv", "best.safetensors")]
    for name in ("metrics.csv", "metrics.json", *each):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes(), name
    for name in ("predictions.parquet", "val_predictions.parquet"):
        assert pl.read_parquet(broken / name).equals(pl.read_parquet(unbroken / name))
    assert (
        facts(broken)["folds"] == facts(unbroken)["folds"]
        and facts(broken)["model_from"] == facts(unbroken)["model_from"]
    )
