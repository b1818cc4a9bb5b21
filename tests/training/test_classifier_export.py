"""From a classifier's run to a bundle: the same numbers, one export for each family of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tumorscope import io
from tumorscope.errors import BundleError
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.gate import GateResult
from tumorscope.inference.predictor import SEEN_IN_TRAINING, Predictor
from tumorscope.training import classifier_export, classifier_report, classifier_run
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_export import FLOOR, Joined, export, network_of

SIDE = 32
FAMILIES = {
    "resnet50-v1": "test_resnet",
    "convnext-base-v1": "test_convnext",
    "efficientnetv2l-v1": "test_efficientnet",
    "vit-b16": "test_vit",
    "vgg16": "vgg11",
}
MORE = {"efficientnetv2l-v2": "tf_efficientnetv2_b0", "mobilenet": "mobilenetv3_small_050"}
ALL = [*FAMILIES.items(), *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE.items())]


class Porter:
    """A gate that lets everything through."""

    def judge(self, image: np.ndarray, **_: object) -> GateResult:
        return GateResult(passed=True, score=1.0, reason="a head")


def trained(name: str, backbone: str, table: pl.DataFrame, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A run of a small relative, one epoch a phase, without its own export and report."""
    patch.setattr(classifier_export, "export", lambda *_, **__: None)
    patch.setattr(classifier_report, "write_report", lambda *_, **__: None)
    recipe = recipes.load(name)
    settings = {"model.backbone": backbone, "model.pretrained": "no", "input.size": SIDE, "fit.batch": 8}
    settings |= {"machine.precision": "fp32", "machine.workers": 0, "data.rounds": 10}
    settings |= {f"phases.{number}.epochs": 1 for number in range(len(recipe.phases))}
    run = classifier_run.train(recipes.changed(recipe, settings), [table], folder / "run")
    patch.undo()
    return run


@pytest.mark.parametrize(("name", "backbone"), ALL)
def test_a_bundle_says_what_its_network_says(
    name: str, backbone: str, phantoms: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(name, backbone, phantoms, tmp_path, monkeypatch)
    path = export(run, tmp_path / "full.onnx", half=False)
    bundle = Bundle.load(path, threads=1)
    facts = bundle.metadata
    assert (facts.name, facts.task, facts.labels, facts.none) == (name, "classify", ("no_tumor", "tumor"), 0)
    assert facts.architecture == backbone and facts.preparation.size == SIDE
    assert set(facts.training.scan_hashes) == {value[:16] for value in phantoms["sha256"]}  # none was held out
    network = network_of(run, "", recipes.load(run / "recipe.toml"), facts.labels)
    scans = [io.read(one) for one in phantoms["path"][:3].to_list()]
    squares = np.stack([facts.preparation.tinted(facts.preparation.prepare(scan.pixels).pixels) for scan in scans])
    with torch.no_grad():
        logits = network(torch.from_numpy(squares)).numpy()
    assert len(set(logits[:, 0].tolist())) == 3
    assert np.abs(bundle.scores(squares) - logits).max() <= 1e-4
    assert np.abs(bundle.scores(squares[:1]) - logits[:1]).max() <= 1e-4  # any number of scans at once
    weight = facts.calibration.head_weight
    assert weight > 0
    for scan, logit in zip(scans, logits[:, 0], strict=True):
        said = Predictor(bundle, gate=Porter()).predict(scan)
        assert said.probability == pytest.approx(1 / (1 + np.exp(-weight * logit)), abs=1e-4)
        assert said.decision == ("tumor" if said.probability >= 0.5 else "no_tumor")
        assert SEEN_IN_TRAINING in said.notes
    assert str(Path.cwd()).encode() not in path.read_bytes()


@pytest.mark.parametrize("outputs", [1, 3])
def test_joined_networks_say_the_mean_of_their_probabilities(outputs: int) -> None:
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, outputs)) for _ in range(3)]
    images = torch.randn(5, 1, 4, 4)
    with torch.no_grad():
        joined, parts = Joined(networks)(images), [network(images) for network in networks]
    said = (lambda logits: logits.sigmoid()) if outputs == 1 else (lambda logits: logits.softmax(1))
    assert joined.shape == (5, outputs)
    assert torch.allclose(said(joined), torch.stack([said(one) for one in parts]).mean(0), atol=1e-6)


def test_joined_networks_that_are_sure_stay_finite() -> None:
    sure = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False))
    torch.nn.init.constant_(sure[1].weight, 1e4)
    logit = float(Joined([sure, sure])(torch.ones(1, 1, 1, 1)).detach())
    assert logit == pytest.approx(np.log((1 - FLOOR) / FLOOR), rel=0.05)


def test_an_unfinished_run_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no finished training; go on with train --resume"):
        export(tmp_path, tmp_path / "x.onnx")


def test_volumes_that_were_tested_slice_by_slice_count_as_unseen(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    pl.DataFrame({"id": ["v1:3", "v1:4", "scan:7"]}).write_parquet(tmp_path / "checkpoints" / "predictions.parquet")
    table = pl.DataFrame({"id": ["v1", "v2", "scan", "scan:7", "v1:x"]})
    known = classifier_export._known(tmp_path, [""], table)["id"].to_list()
    assert known[0] == "v2" and "scan:7" not in known and "v1:x" in known and "v1" not in known


def test_names_of_folds(tmp_path: Path) -> None:
    assert classifier_export.folds_of(tmp_path) == [""]
    for name, done in (("r0f1", True), ("r0f0", True), ("r0f2", False)):
        (tmp_path / "folds" / name).mkdir(parents=True)
        if done:
            (tmp_path / "folds" / name / "fold.json").write_text("{}")
    assert classifier_export.folds_of(tmp_path) == ["r0f0", "r0f1"]
