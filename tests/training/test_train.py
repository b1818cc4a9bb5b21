"""A whole run on phantoms: trained, killed, resumed, exported, and used for prediction."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.errors import BundleError, DataError, OutputError
from tumorscope.imaging.preparation import Preparation
from tumorscope.inference.bundle import Bundle
from tumorscope.models.segmenters.detector import Exported
from tumorscope.training.export import export, load_network, store_half, to_onnx
from tumorscope.training.recipe import Recipe, load
from tumorscope.training.train import train

SCRIPT = """
import sys
from pathlib import Path
from tumorscope.training.recipe import Recipe
from tumorscope.training.train import train
if __name__ == "__main__":
    recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
    train(recipe, [sys.argv[2]], Path(sys.argv[3]), resume="--resume" in sys.argv)
"""

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table(phantoms: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest.write(phantoms, tmp_path_factory.mktemp("table") / "phantoms.parquet")


@pytest.fixture(scope="module")
def run(tiny: Recipe, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny, [table], tmp_path_factory.mktemp("runs") / "tiny")


def test_a_run_leaves_what_the_contract_names(run: Path, tiny: Recipe) -> None:
    metrics = pl.read_csv(run / "metrics.csv")
    assert metrics["epoch"].to_list() == [0, 1, 2]
    assert np.isfinite(metrics["train_loss"].to_numpy()).all()
    assert {"val_dice", "val_auc_evidence", "val_auc_head", "val_false_masks"} <= set(metrics.columns)
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["seed"] == tiny.seed and len(provenance["data_fingerprint"]) == 64
    assert (run / "checkpoints" / "averaged.safetensors").exists()


def test_the_same_seed_gives_the_same_metrics(run: Path, tiny: Recipe, table: Path, tmp_path: Path) -> None:
    again = train(tiny, [table], tmp_path / "again")
    assert (again / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_a_killed_run_resumes_and_ends_as_an_unbroken_one(run: Path, tiny: Recipe, table: Path, tmp_path: Path) -> None:
    script, recipe = tmp_path / "script.py", tmp_path / "recipe.json"
    script.write_text(SCRIPT)
    recipe.write_text(tiny.model_dump_json())
    call = [sys.executable, str(script), str(recipe), str(table), str(tmp_path / "run")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(call, **quiet)
    end = time.monotonic() + 240
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() and time.monotonic() < end:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "checkpoints" / "averaged.safetensors").exists()
    assert subprocess.run([*call, "--resume"], **quiet, check=False).returncode == 0
    assert (tmp_path / "run" / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    ours, theirs = (load_file(folder / "checkpoints" / "averaged.safetensors") for folder in (tmp_path / "run", run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_folder_is_not_overwritten(run: Path, tiny: Recipe, table: Path) -> None:
    with pytest.raises(OutputError, match="holds a run already; pass --resume"):
        train(tiny, [table], run)


def test_a_split_that_cuts_a_group_is_refused(phantoms: pl.DataFrame, tiny: Recipe, tmp_path: Path) -> None:
    glued = phantoms.with_columns(group=pl.lit("one"))
    with pytest.raises(DataError, match="one"):
        train(tiny, [glued], tmp_path / "run")


def test_a_row_without_label_and_mask_is_named(phantoms: pl.DataFrame, tiny: Recipe, tmp_path: Path) -> None:
    nothing = pl.lit(None)
    row = pl.int_range(pl.len()) == 0
    rows = phantoms.with_columns(
        label=pl.when(row).then(nothing).otherwise("label"), mask_path=pl.when(row).then(nothing).otherwise("mask_path")
    )
    with pytest.raises(DataError, match="neither label nor mask"):
        train(tiny, [rows], tmp_path / "run")


def test_export_agrees_with_the_network_and_predicts(run: Path, phantoms: pl.DataFrame, tmp_path: Path) -> None:
    from tumorscope.inference.predictor import Predictor

    path = export(run, tmp_path / "tiny.onnx")
    content = path.read_bytes()
    assert str(REPOSITORY).encode() not in content and b"stack_trace" not in content
    bundle = Bundle.load(path, threads=1)
    metadata = bundle.metadata
    assert metadata.preparation == Preparation(size=64)
    trained = phantoms.filter(pl.col("split") == "train")
    assert set(metadata.training.scan_hashes) == {value[:16] for value in trained["sha256"]}
    recipe = load(run / "recipe.toml")
    scan = io.read(phantoms["path"][0])
    square = metadata.preparation.prepare(scan.pixels).pixels[None, None]
    with torch.no_grad():
        mask, score = Exported(load_network(run, recipe))(torch.from_numpy(square))
    outputs = bundle.run(square)
    assert np.abs(outputs.mask - mask.numpy()[:, 0]).max() < 1e-2
    assert np.abs(outputs.score - score.numpy()).max() < 5e-2
    prediction = Predictor(bundle).predict(scan)
    assert prediction.mask.shape == scan.shape


def test_half_storage_is_smaller_and_full_storage_exact(run: Path) -> None:
    recipe = load(run / "recipe.toml")
    network = load_network(run, recipe)
    full = to_onnx(Exported(network), (1, 64, 64), ("mask", "score"), half=False)
    size = full.ByteSize()
    half = store_half(onnx.ModelProto.FromString(full.SerializeToString()))
    assert half.ByteSize() < 0.9 * size  # the graph itself weighs as much as these few weights


def test_an_unfinished_run_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no finished training"):
        export(tmp_path, tmp_path / "x.onnx")
