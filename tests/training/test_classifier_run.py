"""A classifier's whole run on phantoms: its folder, its folds, one of them or all joined, and what stops it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, namedtuple
from pathlib import Path

import cv2
import numpy as np
import onnx
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tumorscope.datasets import manifest, phantom
from tumorscope.errors import BundleError, DataError, OutputError, RecipeError, TrainingError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.inference.bundle import Bundle
from tumorscope.training import classifier_export, classifier_report
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_data import Squares
from tumorscope.training.classifier_export import export, network_of
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classifier_run import train
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.run_folder import chosen_of

SIDE = 32
TINY = {
    "model.width": 0.1,
    "model.head": ["dense 8", "dropout 0.5"],
    "input.size": SIDE,
    "fit.batch": 8,
    "data.rounds": 20,
    "machine.precision": "fp32",
    "machine.workers": 0,
    "augmentation.noise": 0.5,
    "phases": [{"epochs": 1, "train": "head", "rate": 1e-3}, {"epochs": 2, "rate": 3e-3}],
}
FOLDS = {"data.folds": 2, "fit.ema": 0.9, "fit.clip": 1.0, "data.balance": "over"}


def recipe_of(name: str = "custom-cnn", **settings: object) -> ClassifierRecipe:
    return recipes.changed(recipes.load(name), TINY | {key.replace("__", "."): one for key, one in settings.items()})


def stub(module: nn.Module, shape: tuple[int, int, int], *_: object, **__: object) -> onnx.ModelProto:
    """A graph with the module's input and outputs that says its last bias: a real export takes seconds."""
    from onnx import TensorProto, helper

    with torch.no_grad():
        outputs = module(torch.zeros(1, *shape)).shape[1]
    last = module.head.classes.bias.detach().numpy() if hasattr(module, "head") else np.zeros(outputs, np.float32)
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("zero", TensorProto.FLOAT, [shape[0], outputs], np.zeros(shape[0] * outputs)),
        helper.make_tensor("bias", TensorProto.FLOAT, [outputs], last),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "zero"], ["flat"]),
        helper.make_node("Add", ["flat", "bias"], ["score"]),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "stub",
        [helper.make_tensor_value_info("image", floats, ["N", *shape])],
        [helper.make_tensor_value_info("score", floats, ["N", outputs])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a real export and without a report."""
    monkeypatch.setattr(classifier_export, "to_onnx", stub)
    monkeypatch.setattr(classifier_report, "write_report", lambda *_, **__: None)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Forty phantoms of 64 px in the folders yes and no."""
    return manifest.load(phantom.write_dataset(tmp_path_factory.mktemp("scans"), 40, seed=2, masks=False, size=64))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def table(scans: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest.write(scans, tmp_path_factory.mktemp("table") / "scans.parquet")


@pytest.fixture(scope="module")
def run(table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with everything."""
    return train(recipe_of(), [table], tmp_path_factory.mktemp("run") / "run", cache_folder=cache, command="typed")


@pytest.fixture(scope="module")
def folds(table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two folds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_export, "to_onnx", stub)
        return train(recipe_of(**FOLDS), [table], tmp_path_factory.mktemp("folds") / "run", cache_folder=cache)


def divisions_named(*names: str) -> list[Division]:
    nobody = frozenset()
    return [Division(name, 0, number, nobody, nobody, nobody) for number, name in enumerate(names)]


def facts(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())


class TestARun:
    def test_leaves_what_the_contract_names(self, run: Path, scans: pl.DataFrame) -> None:
        names = "recipe.toml manifest.parquet metrics.csv metrics.json predictions.parquet val_predictions.parquet"
        assert {*names.split(), "checkpoints", "model.onnx", "report.html", "provenance.json"} == {
            one.name for one in run.iterdir()
        }
        assert recipes.load(run / "recipe.toml") == recipe_of()
        assert manifest.read(run / "manifest.parquet")["id"].to_list() == scans["id"].to_list()
        assert not list(run.rglob("*.ckpt")) and not list(run.rglob("*.part*"))

    def test_logs_an_epoch_a_row(self, run: Path) -> None:
        rows = pl.read_csv(run / "metrics.csv")
        assert rows["epoch"].to_list() == [0, 1, 2] and rows["phase"].to_list() == [0, 1, 1]
        figures = {f"{part}_{name}" for part in ("train", "val") for name in ("loss", "auc", "accuracy", "f1", "iou")}
        assert figures <= set(rows.columns) and np.isfinite(rows.select(figures).to_numpy()).all()

    def test_tests_scans_that_taught_and_chose_nothing(self, run: Path, scans: pl.DataFrame) -> None:
        (one,) = divisions(scans, recipe_of().data, 0)
        said = pl.read_parquet(run / "predictions.parquet")
        assert set(said["id"]) == one.test and set(pl.read_parquet(run / "val_predictions.parquet")["id"]) == one.val
        label = dict(scans.select("id", "label").rows())
        assert said["label"].to_list() == [label[name] for name in said["id"]]
        found = json.loads((run / "metrics.json").read_text())["test"]
        auc = next(row["value"] for row in found["metrics"] if row["metric"] == "roc_auc")
        assert auc == pytest.approx(roc_auc(said["label"].to_numpy(), said["probability"].to_numpy()))
        assert found["scans"] == len(one.test)

    def test_says_where_it_comes_from(self, run: Path) -> None:
        told = facts(run)
        assert {"tumorscope", "python", "torch", "lightning", "timm", "numpy", "git", "device"} <= set(told)
        assert (told["seed"], told["precision"], told["initial_weights"]) == (0, "fp32", "random weights")
        assert told["model_from"] == "the only split" and list(told["folds"]) == ["single"]
        assert len(told["data_fingerprint"]) == 64
        log, best = pl.read_csv(run / "metrics.csv"), told["folds"]["single"]
        assert best["validation"] == pytest.approx(log["val_auc"].max(), abs=1e-6)
        assert log.filter(pl.col("epoch") == best["best_epoch"])["val_auc"][0] == log["val_auc"].max()

    def test_ends_in_a_bundle_of_its_best_weights(self, run: Path, scans: pl.DataFrame, cache: Path) -> None:
        bundle = Bundle.load(run / "model.onnx", threads=1)
        squares = Squares.of(scans, bundle.metadata.preparation, cache)
        said = pl.read_parquet(run / "predictions.parquet")
        place = {name: row for row, name in enumerate(squares.table["id"].to_list())}
        images = np.stack([squares.cache.image(place[name])[None] for name in said["id"].to_list()])
        logits = bundle.scores(images)[:, 0]
        assert np.abs(1 / (1 + np.exp(-logits)) - said["probability"].to_numpy()).max() < 5e-3  # halved weights
        tested = set(scans.filter(pl.col("id").is_in(said["id"].to_list()))["sha256"].str.slice(0, 16))
        known = {value[:16] for value in scans["sha256"]}
        assert set(bundle.metadata.training.scan_hashes) == known - tested
        assert bundle.metadata.metrics["test"].keys() >= {"accuracy", "roc_auc"}

    def test_has_a_report(self, run: Path) -> None:
        page = (run / "report.html").read_text()
        assert "How it learnt" in page and "custom-cnn" in page and "random weights" in page and "typed" in page

    def test_is_not_overwritten(self, run: Path, table: Path) -> None:
        with pytest.raises(OutputError, match="holds a run already; pass --resume"):
            train(recipe_of(), [table], run)

    def test_is_not_resumed_with_another_recipe(self, run: Path, table: Path) -> None:
        with pytest.raises(OutputError, match="was begun with another recipe"):
            train(recipe_of(fit__batch=9), [table], run, resume=True)

    def test_has_no_folds_to_join(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="has one model only; join the folds of a run with"):
            export(run, tmp_path / "x.onnx", ensemble=True)
        with pytest.raises(BundleError, match="was trained on one split and has no fold 'r0f0'"):
            export(run, tmp_path / "x.onnx", fold="r0f0")

    @pytest.mark.usefixtures("quick")
    def test_resumed_when_it_is_over_stays_as_it_is(self, run: Path, table: Path, cache: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(run, tmp_path / "copy")
        train(recipe_of(), [table], copy, resume=True, cache_folder=cache)
        for name in ("metrics.csv", "metrics.json", "predictions.parquet", "checkpoints/best.safetensors"):
            assert (copy / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.usefixtures("quick")
class TestASeed:
    def test_gives_the_same_metrics_byte_for_byte(self, run: Path, table: Path, cache: Path, tmp_path: Path) -> None:
        again = train(recipe_of(), [table], tmp_path / "again", cache_folder=cache)
        for name in ("metrics.csv", "metrics.json", "checkpoints/best.safetensors"):
            assert (again / name).read_bytes() == (run / name).read_bytes()
        other = train(recipe_of(seed=1), [table], tmp_path / "other", cache_folder=cache)
        assert (other / "metrics.csv").read_bytes() != (run / "metrics.csv").read_bytes()

    def test_gives_the_same_in_deterministic_mode(self, table: Path, cache: Path, tmp_path: Path) -> None:
        strict = recipe_of(machine__deterministic=True)
        one, other = (train(strict, [table], tmp_path / name, cache_folder=cache) for name in ("one", "other"))
        assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


class TestFolds:
    def test_each_scan_is_tested_once_by_a_fold_that_knew_nothing_of_its_group(self, folds, scans) -> None:
        said = pl.read_parquet(folds / "predictions.parquet")
        assert Counter(said["id"].to_list()) == Counter(scans["id"].to_list())
        parts = divisions(scans, recipe_of(**FOLDS).data, 0)
        group = dict(scans.select("id", "group").rows())
        for one in parts:
            place = folds / "folds" / one.name
            tested = pl.read_parquet(place / "predictions.parquet")
            chose = pl.read_parquet(place / "val_predictions.parquet")
            assert set(tested["id"]) == one.test and set(chose["id"]) == one.val
            assert {*tested["fold"]} == {one.fold} and {*tested["repeat"]} == {one.repeat}
            knew = {group[name] for name in one.train | one.val}
            assert not knew & {group[name] for name in one.test}
        found = json.loads((folds / "metrics.json").read_text())["cross_validation"]
        assert found["scans"] == scans.height

    def test_the_best_by_its_own_validation_scans_becomes_the_model(self, folds: Path, scans: pl.DataFrame) -> None:
        told = facts(folds)
        best = max(told["folds"], key=lambda name: told["folds"][name]["validation"])
        assert told["model_from"] == best
        bundle = Bundle.load(folds / "model.onnx", threads=1)
        weights = load_file(folds / "folds" / best / "best.safetensors")
        said = bundle.scores(np.zeros((1, 1, SIDE, SIDE), np.float32))
        assert said[0] == pytest.approx(weights["head.classes.bias"].numpy())
        assert f"From fold {best}, epoch" in bundle.metadata.description
        tested = pl.read_parquet(folds / "folds" / best / "predictions.parquet")["id"].to_list()
        rest = scans.filter(~pl.col("id").is_in(tested))
        assert set(bundle.metadata.training.scan_hashes) == {value[:16] for value in rest["sha256"]}
        assert bundle.metadata.metrics["cross_validation"]

    def test_any_fold_can_be_exported(self, folds: Path, tmp_path: Path, quick: None) -> None:
        other = next(name for name in facts(folds)["folds"] if name != facts(folds)["model_from"])
        bundle = Bundle.load(export(folds, tmp_path / "other.onnx", fold=other), threads=1)
        assert f"From fold {other}" in bundle.metadata.description and not bundle.metadata.metrics
        copy = shutil.copytree(folds, tmp_path / "copy")
        (copy / "provenance.json").write_text(json.dumps(facts(folds) | {"model_from": other}))
        assert f"From fold {other}" in Bundle.load(export(copy, tmp_path / "x.onnx")).metadata.description
        with pytest.raises(BundleError, match=r"unknown fold of .* 'r0f9'; did you mean 'r0f[01]'"):
            export(folds, tmp_path / "x.onnx", fold="r0f9")

    @pytest.mark.parametrize(
        ("monitor", "values", "best"),
        [("auc", [0.7, 0.9, 0.8], "r0f1"), ("loss", [0.7, 0.9, 0.6], "r0f2"), ("auc", [None, 0.4, None], "r0f1")],
    )
    def test_the_best_is_told_by_the_monitored_figure(self, monitor, values, best, tmp_path) -> None:
        parts = divisions_named("r0f0", "r0f1", "r0f2")
        for one, value in zip(parts, values, strict=True):
            (tmp_path / "folds" / one.name).mkdir(parents=True)
            (tmp_path / "folds" / one.name / "fold.json").write_text(json.dumps({"validation": value}))
        assert chosen_of(recipe_of(fit__monitor=monitor), tmp_path, parts) == best

    def test_all_of_them_joined_say_the_mean_of_their_probabilities(self, folds, scans, cache, tmp_path) -> None:
        bundle = Bundle.load(export(folds, tmp_path / "joined.onnx", ensemble=True, half=False), threads=1)
        recipe = recipe_of(**FOLDS)
        squares = Squares.of(scans, recipe.preparation, cache)
        images = np.stack([squares.cache.image(row)[None] for row in range(6)])
        networks = [network_of(folds, name, recipe, ("no_tumor", "tumor")) for name in ("r0f0", "r0f1")]
        with torch.no_grad():
            each = [network(torch.from_numpy(images)).sigmoid().numpy()[:, 0] for network in networks]
        assert np.abs(each[0] - each[1]).max() > 1e-4
        said = bundle.metadata.classes(bundle.scores(images))[:, 1]
        assert np.abs(said - np.mean(each, axis=0)).max() < 1e-5
        assert set(bundle.metadata.training.scan_hashes) == {value[:16] for value in scans["sha256"]}
        assert "mean of 2 folds" in bundle.metadata.architecture

    def test_the_log_is_the_mean_over_folds(self, folds: Path) -> None:
        each = [pl.read_csv(folds / "folds" / name / "metrics.csv") for name in ("r0f0", "r0f1")]
        mean = pl.read_csv(folds / "metrics.csv")
        assert mean["folds"].to_list() == [2, 2, 2]
        for column in ("val_auc", "train_loss"):
            assert mean[column].to_list() == pytest.approx(((each[0][column] + each[1][column]) / 2).to_list())

    def test_the_report_tells_of_each(self, folds: Path) -> None:
        page = (folds / "report.html").read_text()
        assert "r0f0" in page and "r0f1" in page and "Mean over the 2 folds" in page


TYPES = ("glioma", "meningioma", "none", "pituitary")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Forty-eight phantoms of three kinds of tumour and none, labelled by kind."""
    place = tmp_path_factory.mktemp("kinds")
    rows = []
    for number in range(48):
        kind = TYPES[number % 4]
        made = phantom.make(900 + number, size=64, lesion=None if kind == "none" else kind)
        cv2.imwrite(str(place / f"{number:02d}.png"), made.image)
        path = str(place / f"{number:02d}.png")
        rows.append(
            {"id": f"{number:02d}", "path": path, "label": number % 4, "label_name": kind, "group": f"{number}"}
        )
    return manifest.load(pl.DataFrame(rows), groups=False)


class TestSeveralClasses:
    @pytest.mark.usefixtures("quick")
    def test_none_and_three_kinds_from_the_same_recipe(self, kinds, tmp_path, capsys) -> None:
        from tumorscope.cli import main

        run = train(recipe_of(), [kinds], tmp_path / "run")
        bundle = Bundle.load(run / "model.onnx", threads=1)
        assert (bundle.metadata.labels, bundle.metadata.none) == (TYPES, 2)
        said = pl.read_parquet(run / "predictions.parquet")
        chances = said.select(f"probability_{name}" for name in TYPES).to_numpy()
        assert np.allclose(chances.sum(1), 1) and set(said["label"]) <= set(TYPES)
        found = json.loads((run / "metrics.json").read_text())["test"]
        assert {row["metric"] for row in found["metrics"]} >= {"accuracy", "macro_roc_auc"}
        scan = kinds["path"][0]
        assert main(["predict", scan, "-o", str(tmp_path / "out"), "--model", str(run / "model.onnx")]) == 0
        capsys.readouterr()
        (row,) = pl.read_csv(tmp_path / "out" / "predictions.csv").to_dicts()
        (told,) = pl.read_csv(tmp_path / "out" / "classes.csv").to_dicts()
        if row["decision"] != "not_brain_mri":
            assert row["probability"] == pytest.approx(1 - told["probability_none"], abs=1e-5)
            assert told["said"] == max(TYPES, key=lambda name: told[f"probability_{name}"])

    @pytest.mark.usefixtures("quick")
    def test_without_a_class_of_none_no_tumour_can_be_told(self, kinds: pl.DataFrame, tmp_path: Path) -> None:
        run = train(recipe_of(), [kinds.filter(pl.col("label") != 2)], tmp_path / "run")
        metadata = Bundle.load(run / "model.onnx").metadata
        assert metadata.labels == ("glioma", "meningioma", "pituitary") and metadata.none is None
        two = train(recipe_of(), [kinds.filter(pl.col("label").is_in([0, 3]))], tmp_path / "two")
        said = pl.read_parquet(two / "predictions.parquet")
        assert Bundle.load(two / "model.onnx").metadata.none is None
        assert np.allclose(said["probability_glioma"] + said["probability_pituitary"], 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"machine__precision": "bf16"},
        {"machine__channels_last": False},
        {"input__colors": "kmeans", "input__clusters": 4, "model__channels": 3},
        {"loss__smoothing": 0.1, "phases": [{"epochs": 1, "optimiser": "rmsprop", "warmup": 0.5}]},
    ],
)
@pytest.mark.usefixtures("quick")
def test_other_settings_run(settings: dict, table: Path, cache: Path, tmp_path: Path) -> None:
    run = train(recipe_of(**settings), [table], tmp_path / "run", cache_folder=cache)
    assert np.isfinite(pl.read_csv(run / "metrics.csv")["val_loss"].to_numpy()).all()
    assert Bundle.load(run / "model.onnx").metadata.preparation == recipe_of(**settings).preparation


@pytest.mark.usefixtures("quick")
def test_synthetic_scans_are_learnt_from_alone_and_capped(scans, cache, tmp_path) -> None:
    made = scans.with_columns(
        id="made-" + pl.col("id"), parent_id=pl.col("id"), synthetic=pl.lit(True), source=pl.lit("made")
    )
    both = pl.concat([scans, made], how="diagonal_relaxed")
    recipe = recipe_of(data__synthetic=0.2, data__folds=2, phases=[{"epochs": 1}])
    run = train(recipe, [both], tmp_path / "run", cache_folder=cache)
    for name in ("predictions.parquet", "val_predictions.parquet"):
        assert not pl.read_parquet(run / name)["id"].str.starts_with("made-").any()
    for one in divisions(both, recipe.data, 0):
        real = sum(not name.startswith("made-") for name in one.train)
        steps = pl.read_csv(run / "folds" / one.name / "metrics.csv")["step"][0]
        assert steps == -(-(real + real // 4) // 8)  # a fifth of what is drawn, in batches of eight
    with pytest.raises(BundleError):
        export(tmp_path, tmp_path / "x.onnx")


@pytest.mark.usefixtures("quick")
class TestWhatStopsARun:
    @pytest.mark.parametrize("batch", [8, 64])
    def test_a_loss_that_is_no_number(self, batch: int, table: Path, cache: Path, tmp_path: Path) -> None:
        wild = [{"epochs": 3, "rate": 1e30, "optimiser": "sgd", "schedule": "constant"}]
        words = (
            r"epoch 0, (batch \d: the loss is|validation: the network's answer is) (nan|inf) \(.*\.png.*\); look at "
        )
        with pytest.raises(TrainingError, match=words) as caught:
            train(recipe_of(fit__batch=batch, phases=wild), [table], tmp_path / "run", cache_folder=cache)
        named = re.findall(r"phantom-\d+\.png", str(caught.value))
        assert len(named) == (8 if batch == 8 else 6) and "\n" not in str(
            caught.value
        )  # the batch, or all of validation
        assert ("validation" in str(caught.value)) == (batch == 64)  # a single step an epoch

    def test_one_class_only(self, scans: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"label: 20 scans have one class only \(1\); training needs two"):
            train(recipe_of(), [scans.filter(pl.col("label") == 1)], tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_group_on_two_sides(self, scans: pl.DataFrame, tmp_path: Path) -> None:
        cut = scans.with_columns(
            group=pl.lit("one"),
            split=pl.when(pl.int_range(pl.len()) < 20).then(pl.lit("train")).otherwise(pl.lit("val")),
        )
        with pytest.raises(DataError, match="group 'one' is in train and val"):
            train(recipe_of(), [cut], tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_file_that_is_gone(self, scans: pl.DataFrame, tmp_path: Path) -> None:
        gone = scans.with_columns(
            path=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("/gone/x.png")).otherwise("path")
        )
        table = manifest.write(gone, tmp_path / "scans.parquet")
        with pytest.raises(DataError, match=r"row 4 has path /gone/x\.png, which is not there"):
            train(recipe_of(), [table], tmp_path / "run")

    @pytest.mark.parametrize("label", ["maybe", "-1", "0.5"])
    def test_a_label_that_is_none(self, label: str, scans: pl.DataFrame, tmp_path: Path) -> None:
        rows = scans.select("id", "path", pl.col("label").cast(pl.String))
        rows = rows.with_columns(label=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(label)).otherwise("label"))
        rows.write_csv(tmp_path / "scans.csv")
        with pytest.raises(DataError, match="label"):
            train(recipe_of(), [tmp_path / "scans.csv"], tmp_path / "run")

    def test_a_disk_that_is_full_and_a_larger_one_afterwards(
        self, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = namedtuple("usage", "total used free")
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 1000))
            with pytest.raises(OutputError, match=r"the prepared scans need .* GB, 0\.0 GB are free; make room"):
                train(recipe_of(), [table], tmp_path / "run")
        one = [{"epochs": 1}]
        with pytest.raises(OutputError, match="another recipe"):
            train(recipe_of(phases=one), [table], tmp_path / "run", resume=True)
        assert (train(recipe_of(), [table], tmp_path / "run", resume=True) / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[fit]\nbacth = 4\n", r"x\.toml: unknown key in fit 'bacth'; did you mean 'batch'\?"),
        ("[modell]\n", r"unknown key in the recipe 'modell'; did you mean 'model'\?"),
        ("[augmentation]\nrotate = 4\n", r"unknown key in augmentation 'rotate'; did you mean 'rotation'\?"),
        ("[data]\nfold = 4\n", r"unknown key in data 'fold'; did you mean 'folds'\?"),
        ("[machine]\nworker = 1\n", r"unknown key in machine 'worker'; did you mean 'workers'\?"),
        ("[fit]\nmonitor = 'dice'\n", r"fit\.monitor: input should be .*'auc'"),
        ("[data]\nfolds = 1\n", "data: value error, folds: one fold leaves nothing to train on"),
        ("[input]\nsize = 16\n", r"input\.size: input should be greater than or equal to 32"),
    ],
)
def test_a_typo_gets_the_nearest_key(settings: str, words: str) -> None:
    text = 'name = "x"\ntask = "classify"\nmodel.backbone = "resnet18"\nphases = [{ epochs = 1 }]\n'
    if settings.startswith("[modell]"):
        settings = "modell.backbone = 'x'\n"
        text = text.replace("model.", "modell.", 1).split("\n", 3)[3]
        text = 'name = "x"\ntask = "classify"\nmodell = 3\nmodel = { backbone = "resnet18" }\n' + text
        settings = ""
    with pytest.raises(RecipeError, match=words):
        recipes.parse(text + settings, "x.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("phases = [{ epochs = 1, lr = 0.1 }]\nmodel.backbone = 'x'\n", r"unknown key in phases\.0 'lr'"),
        ("phases = [{ epochs = 1 }]\nmodel = { backbone = 'x', head = ['dense'] }\n", r"'dense' is no layer; write"),
        ("phases = []\nmodel.backbone = 'x'\n", "phases: .* at least 1 item"),
        ("phases = [{ epochs = 1 }]\n", "model: field required"),
    ],
)
def test_what_a_recipe_lacks_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        recipes.parse('name = "x"\ntask = "classify"\n' + text, "x.toml")
    assert "\n" not in str(caught.value)
