"""``tumorscope train`` and ``tumorscope export`` as one would type them, on phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tumorscope.datasets import phantom
from tumorscope.inference.bundle import Bundle
from tumorscope.training import classifier_export
from tumorscope.training import recipe as recipes

SMALL = ("model.width=0.1", "input.size=32", "fit.batch=8", "phases.0.epochs=1", "data.rounds=10")
SETTINGS = [word for one in (*SMALL, 'machine.precision="fp32"', "machine.workers=0") for word in ("--set", one)]


def small_graph(module, shape, *_, **__):
    """A graph that says 0, in place of a real export, which takes seconds."""
    from onnx import TensorProto, helper

    floats = TensorProto.FLOAT
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("zero", floats, [shape[0], 1], np.zeros(shape[0])),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "zero"], ["score"]),
    ]
    image = helper.make_tensor_value_info("image", floats, ["N", *shape])
    score = helper.make_tensor_value_info("score", floats, ["N", 1])
    graph = helper.make_graph(nodes, "small", [image], [score], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_export, "to_onnx", small_graph)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty phantoms in the folders yes and no."""
    return phantom.write_dataset(tmp_path_factory.mktemp("scans") / "set", 30, seed=4, masks=False, size=64)


@pytest.fixture
def folds(call, scans: Path, tmp_path: Path) -> Path:
    answer = call("train", "custom-cnn", scans, "-o", tmp_path / "run", "--folds", 2, *SETTINGS)
    assert answer.code == 0, answer.err
    return tmp_path / "run"


class TestTrain:
    def test_with_folds_and_settings(self, folds: Path) -> None:
        recipe = recipes.load(folds / "recipe.toml")
        assert (recipe.data.folds, recipe.model.width, recipe.input.size, recipe.epochs) == (2, 0.1, 32, 1)
        assert sorted(one.name for one in (folds / "folds").iterdir()) == ["r0f0", "r0f1"]
        assert (folds / "model.onnx").is_file() and (folds / "report.html").is_file()

    def test_says_how_good_it_is_and_where_the_model_comes_from(self, call, scans: Path, tmp_path: Path) -> None:
        answer = call("train", "custom-cnn", scans, "-o", tmp_path / "run", "--pretrained", "no", *SETTINGS)
        assert answer.code == 0 and answer.err == ""
        assert "scans in" in answer.out and "(from the only split)" in answer.out
        assert str(tmp_path / "run" / "model.onnx") in answer.out and "report.html" in answer.out
        again = call("train", "custom-cnn", scans, "-o", tmp_path / "run", *SETTINGS)
        assert again.code == 2 and "holds a run already; pass --resume" in again.err
        resumed = call("train", "custom-cnn", scans, "-o", tmp_path / "run", "--resume", "--json", *SETTINGS)
        assert resumed.code == 0 and resumed.json["recipe"] == "custom-cnn" and "test" in resumed.json

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--set", "fit.bacth=4"], "did you mean 'batch'"),
            (["--set", "fit.batch"], "is no KEY=VALUE; write for example --set fit.batch=16"),
            (["--set", "=4"], "is no KEY=VALUE"),
            (["--set", "fit.batch=four"], "fit.batch: input should be a valid integer"),
            (["--folds", "1"], "one fold leaves nothing to train on"),
            (["--pretrained", "yes"], "model.pretrained: there are none of custom-cnn"),
        ],
    )
    def test_wrong_options_are_one_line(
        self, call, scans: Path, tmp_path: Path, options: list[str], words: str
    ) -> None:
        answer = call("train", "custom-cnn", scans, "-o", tmp_path / "run", *SETTINGS, *options)
        assert answer.code == 2 and len(answer.lines) == 1 and words in answer.err

    def test_an_unknown_recipe_gets_the_nearest(self, call, scans: Path, tmp_path: Path) -> None:
        answer = call("train", "resnet-18", scans, "-o", tmp_path / "run")
        assert answer.code == 2 and "did you mean 'resnet18'" in answer.err

    def test_weights_that_cannot_be_had_stop_it_and_the_way_out_is_named(
        self, call, scans: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").mkdir()
        answer = call("train", "vit-b16", scans, "-o", tmp_path / "run", "--offline", tmp_path / "empty")
        assert answer.code == 2 and "--pretrained no" in answer.err and len(answer.lines) == 1
        assert not (tmp_path / "run").exists()  # so that the next try finds no run begun

    @pytest.mark.parametrize(
        ("backbone", "words"),
        [("resnet181", "did you mean resnet18"), ("crossvit_tiny_240", "takes no squares of 32 px")],
    )
    def test_a_network_that_cannot_be_is_refused_at_once(self, call, scans, tmp_path, backbone, words) -> None:
        given = (*SETTINGS, "--pretrained", "no", "--set", f"model.backbone={backbone}")
        answer = call("train", "resnet18", scans, "-o", tmp_path / "run", *given)
        assert answer.code == 2 and words in answer.err and len(answer.lines) == 1
        assert not (tmp_path / "run").exists()

    def test_values_are_toml_or_plain_words(self, call, scans: Path, tmp_path: Path) -> None:
        more = ("--set", "fit.monitor=loss", "--set", "model.head=['dense 4']", "--set", "augmentation.flip=0")
        answer = call("train", "custom-cnn", scans, "-o", tmp_path / "run", *SETTINGS, *more)
        assert answer.code == 0, answer.err
        recipe = recipes.load(tmp_path / "run" / "recipe.toml")
        assert (recipe.fit.monitor, recipe.model.head, recipe.augmentation.flip) == ("loss", ("dense 4",), 0.0)

    def test_no_scans_of_one_class(self, call, scans: Path, tmp_path: Path) -> None:
        answer = call("train", "custom-cnn", scans / "yes", "-o", tmp_path / "run", *SETTINGS)
        assert answer.code == 2 and len(answer.lines) == 1
        assert not (tmp_path / "run").exists()


class TestExport:
    def test_the_best_fold_another_one_or_all_joined(self, call, folds: Path, tmp_path: Path) -> None:
        best = json.loads((folds / "provenance.json").read_text())["model_from"]
        for name, options in (("best", []), ("other", ["--fold", "r0f0"]), ("all", ["--ensemble", "--full"])):
            out = tmp_path / f"{name}.onnx"
            answer = call("export", folds, "-o", out, *options)
            assert answer.code == 0 and answer.out.strip() == str(out), answer.err
            told = Bundle.load(out).metadata
            words = {"best": f"fold {best}", "other": "fold r0f0", "all": "Mean of 2 folds"}[name]
            assert words in told.description and told.task == "classify"
        told = call("export", folds, "-o", out, "--json").json
        assert told["model"] == str(out) and told["bytes"] == out.stat().st_size

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--fold", "r0f7"], "did you mean 'r0f"),
            (["--gate", "gate.json"], "--gate is nothing for a run of the task classify; leave it out"),
        ],
    )
    def test_wrong_options_are_one_line(
        self, call, folds: Path, tmp_path: Path, options: list[str], words: str
    ) -> None:
        answer = call("export", folds, "-o", tmp_path / "x.onnx", *options)
        assert answer.code == 2 and words in answer.err and len(answer.lines) == 1

    def test_a_folder_that_is_no_run(self, call, scans: Path, tmp_path: Path) -> None:
        answer = call("export", scans, "-o", tmp_path / "x.onnx")
        assert answer.code == 2 and "is no run (recipe.toml is missing)" in answer.err

    @pytest.mark.parametrize(
        ("name", "options", "words"),
        [
            ("classical", [], "a run of the task classical has no bundle"),
            ("scout", ["--ensemble"], "--ensemble is nothing for a run of the task detect-segment"),
            ("scout", ["--fold", "r0f0"], "--fold is nothing for a run of the task detect-segment"),
            ("scout", [], "holds no finished training"),
            ("resnet18", [], "holds no finished training"),
        ],
    )
    def test_what_a_task_does_not_have(self, call, tmp_path: Path, name: str, options: list[str], words: str) -> None:
        (tmp_path / "recipe.toml").write_text(recipes.to_toml(recipes.load(name)))
        answer = call("export", tmp_path, "-o", tmp_path / "x.onnx", *options)
        assert answer.code == 2 and words in answer.err and len(answer.lines) == 1
