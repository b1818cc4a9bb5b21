"""The classical baseline: its files, its honesty about groups, and its arithmetic against scikit-learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tumorscope.datasets import manifest, phantom
from tumorscope.errors import BundleError, DataError, OutputError, RecipeError
from tumorscope.evaluation.evaluate import evaluate_predictions
from tumorscope.evaluation.predictions import Predictions
from tumorscope.training import recipe as recipes
from tumorscope.training.classical import Data, columns_of, held_out, out_of_fold, train
from tumorscope.training.classical_model import ClassicalModel, fit, predict
from tumorscope.training.recipe import Classical, Classifier

FILES = {
    "recipe.toml", "manifest.parquet", "features.parquet", "predictions.parquet", "metrics.json", "model.json",
    "provenance.json",
}  # fmt: skip
QUICK = {"folds": 3, "repeats": 2, "rounds": 50}


def quick(**settings: object) -> Classical:
    return Classical(name="quick", validation=QUICK, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """24 phantoms, half with a tumour; every two of one class share a group; and a broken file."""
    folder = phantom.write_dataset(tmp_path_factory.mktemp("classical") / "phantoms", 24, seed=3, size=64)
    table = manifest.load(folder, groups=False)
    place = table.select(pl.col("id").cum_count().over("label"))["id"]
    groups = [f"{label}-{(number - 1) // 2}" for label, number in zip(table["label"], place, strict=True)]
    (folder / "broken.png").write_bytes(b"no picture")
    broken = table[0].with_columns(id=pl.lit("broken"), path=pl.lit(str(folder / "broken.png")))
    table = pl.concat([table.with_columns(pl.Series("group", groups)), broken.with_columns(group=pl.lit("b"))])
    return table.with_columns(patient=pl.lit(None, pl.String), case=pl.lit(None, pl.String))


@pytest.fixture(scope="module")
def run(scans: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    manifest.write(scans, folder / "scans.parquet")
    return train(quick(), [folder / "scans.parquet"], folder / "run")


class TestRun:
    def test_its_files(self, run: Path) -> None:
        assert {path.name for path in run.iterdir()} == FILES
        assert recipes.load(run / "recipe.toml") == quick()
        provenance = json.loads((run / "provenance.json").read_text())
        assert provenance["seed"] == 0 and provenance["scikit-learn"]

    def test_every_scan_was_held_out_with_its_group(self, run: Path) -> None:
        table = pl.read_parquet(run / "predictions.parquet")
        assert table.height == 2 * 24 and table["fold"].null_count() == 0
        folds = table.group_by("repeat", "group").agg(pl.col("fold").n_unique())["fold"]
        assert folds.to_list() == [1] * 2 * 12
        first, second = (table.filter(pl.col("repeat") == number).sort("id") for number in (0, 1))
        assert first["id"].to_list() == second["id"].to_list() and first["fold"].to_list() != second["fold"].to_list()

    def test_the_metrics_are_those_of_the_predictions_within_their_intervals(self, run: Path) -> None:
        found = json.loads((run / "metrics.json").read_text())
        assert found["failed"] == 1
        figures = found["cross_validation"]
        assert (figures["scans"], figures["groups"]) == (24, 12)
        told = {one["metric"]: one for one in figures["metrics"]}
        assert told["accuracy"]["trivial"] == 0.5
        for name in ("accuracy", "balanced_accuracy", "roc_auc", "sensitivity", "specificity"):
            assert told[name]["low"] <= told[name]["value"] <= told[name]["high"]
        table = pl.read_parquet(run / "predictions.parquet")
        own = [
            roc_auc_score(part["label"], part["probability"])
            for part in table.partition_by("repeat", maintain_order=True)
        ]
        assert told["roc_auc"]["value"] == pytest.approx(np.mean(own), abs=1e-3) and told["roc_auc"]["value"] > 0.5

    def test_the_broken_scan_has_a_line(self, run: Path) -> None:
        table = pl.read_parquet(run / "features.parquet").filter(pl.col("problem").is_not_null())
        assert table["id"].to_list() == ["broken"]

    def test_the_model_predicts_again(self, run: Path, scans: pl.DataFrame) -> None:
        said = predict(run / "model.json", scans["path"].to_list())
        model = ClassicalModel.load(run / "model.json")
        own = pl.read_parquet(run / "features.parquet")[:24]
        expected = model.probabilities(own.select(model.features).to_numpy())
        assert said["probability_1"].to_list()[:24] == pytest.approx(expected[:, 1].tolist(), abs=1e-9)
        assert said["seen"].to_list() == [True] * 24 + [None]
        assert said["predicted"][24] is None and "broken.png" in said["problem"][24]
        assert np.mean(said["predicted"].to_numpy()[:24] == scans["label"].to_numpy()[:24]) > 0.7

    def test_no_run_is_written_over(self, run: Path) -> None:
        with pytest.raises(OutputError, match="--resume"):
            train(quick(), [run / "manifest.parquet"], run)

    def test_resuming_measures_nothing_again(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = (run / "metrics.json").read_bytes()
        monkeypatch.setattr("tumorscope.datasets.features.measure", lambda *_, **__: pytest.fail("measured again"))
        train(quick(), [run / "manifest.parquet"], run, resume=True)
        assert (run / "metrics.json").read_bytes() == before

    def test_test_scans_are_held_out_of_everything(self, run: Path, scans: pl.DataFrame, tmp_path: Path) -> None:
        groups = scans["group"].to_list()
        side = ["test" if group in ("0-0", "1-0") else None if group == "0-1" else "train" for group in groups]
        manifest.write(scans.with_columns(pl.Series("split", side)), tmp_path / "split.parquet")
        folder = train(quick(), [tmp_path / "split.parquet"], tmp_path / "run")
        found = json.loads((folder / "metrics.json").read_text())
        assert found["test"]["scans"] == 4 and found["cross_validation"]["scans"] == 18
        tested = pl.read_parquet(folder / "test_predictions.parquet")
        assert set(tested["group"]) == {"0-0", "1-0"} and set(tested["split"]) == {"test"}
        assert not set(tested["id"]) & set(pl.read_parquet(folder / "predictions.parquet")["id"])
        model = ClassicalModel.load(folder / "model.json")
        hashes = {row["sha256"][:16]: row["split"] for row in manifest.read(folder / "manifest.parquet").to_dicts()}
        assert {hashes[one] for one in model.scan_hashes} == {"train"}

    def test_a_cut_group_stops_it(self, scans: pl.DataFrame, tmp_path: Path) -> None:
        side = ["test", *["train"] * 24]
        manifest.write(scans.with_columns(pl.Series("split", side)), tmp_path / "cut.parquet")
        with pytest.raises(DataError, match="split again"):
            train(quick(), [tmp_path / "cut.parquet"], tmp_path / "run")
        assert not (tmp_path / "run" / "model.json").exists()

    def test_one_class_is_not_enough(self, scans: pl.DataFrame, tmp_path: Path) -> None:
        manifest.write(scans.filter(pl.col("label") == 1), tmp_path / "one.parquet")
        with pytest.raises(DataError, match="two are needed"):
            train(quick(), [tmp_path / "one.parquet"], tmp_path / "run")


def blobs(count: int = 60, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that tell the classes a little, classes, and families of three rows."""
    rng = np.random.default_rng(seed)
    family = np.arange(count) // 3
    truth = (family % classes).astype(np.int64)
    values = rng.normal(0, 1, (count, 4)) * [1, 10, 0.1, 5] + truth[:, None] * [1, 10, 0, 0] + 3
    return values, truth, family


def test_labels_dealt_at_random_are_not_predicted_from_copies() -> None:
    # sixty scans, each with a copy: a split that parts copies would score near 1
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(60, 40)), 2, axis=0)
    truth = np.repeat(np.arange(60) % 2, 2)
    table = pl.DataFrame(
        {
            "id": [f"s{row:03d}" for row in range(120)],
            "group": [f"g{row // 2}" for row in range(120)],
            "label": truth,
            "fold": pl.Series([None] * 120, dtype=pl.Int64),
            "split": pl.Series([None] * 120, dtype=pl.String),
            "source": ["made"] * 120,
        }
    )
    family = np.arange(120) // 2
    whole = np.ones(120, bool)
    data = Data(table, values, [str(n) for n in range(40)], truth, (0, 1), ("no", "yes"), family, whole)
    loaded = quick(classifier={"strength": 1000.0})
    folds = data.folds(loaded)
    assert len(folds) == 2 and not np.array_equal(folds[0], folds[1])
    chances = np.stack([held_out(loaded, data, fold, 0) for fold in folds])
    found = evaluate_predictions(Predictions.of(out_of_fold(data, folds, chances)), rounds=20)
    assert found.groups == 60 and 0.3 < found["roc_auc"].interval.value < 0.7
    own = table.with_columns(fold=pl.Series(family % 4))
    given = Data(own, values, data.names, truth, (0, 1), ("no", "yes"), family, whole).folds(loaded)
    assert len(given) == 1 and given[0].tolist() == (family % 4).tolist()  # the manifest's own folds


class TestModel:
    @pytest.mark.parametrize("balance", [False, True])
    @pytest.mark.parametrize("classes", [2, 3])
    def test_logistic_regression_is_scikit_learns(self, classes: int, balance: bool) -> None:
        values, truth, family = blobs(classes=classes)
        truth[:4] = 0
        settings = Classifier(strength=0.5, limit=1e9, balance=balance)  # type: ignore[call-arg]
        names = [str(number) for number in range(classes)]
        model = fit(values, truth, family, settings, names="abcd", labels=range(classes), label_names=names)
        weight = "balanced" if balance else None
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, class_weight=weight)).fit(values, truth)
        np.testing.assert_allclose(model.probabilities(values), theirs.predict_proba(values), atol=1e-4)

    def test_a_support_vector_machine_is_scikit_learns(self) -> None:
        from sklearn.svm import SVC

        values, truth, family = blobs()
        settings = Classifier(kind="svm", strength=1.0, limit=1e9)  # type: ignore[call-arg]
        model = fit(values, truth, family, settings, names="abcd")
        theirs = make_pipeline(StandardScaler(), SVC(C=1.0, gamma=1 / 4)).fit(values, truth)
        np.testing.assert_allclose(model.margin(values)[:, 0], theirs.decision_function(values), atol=1e-4)
        order = np.argsort(model.margin(values)[:, 0])
        assert (np.diff(model.probabilities(values)[order, 1]) >= 0).all()
        assert np.mean(model.probabilities(values)[:, 1]) == pytest.approx(truth.mean(), abs=0.1)

    @pytest.mark.parametrize("kind", ["logistic", "svm"])
    def test_a_file_gives_the_same_answers(self, kind: str, tmp_path: Path) -> None:
        values, truth, family = blobs()
        values[3, 1] = np.nan
        model = fit(values, truth, family, Classifier(kind=kind), names="abcd")  # type: ignore[call-arg]
        again = ClassicalModel.load(model.write(tmp_path / "m.json"))
        assert again == model
        assert np.isfinite(model.probabilities(values)).all()
        assert np.array_equal(again.probabilities(values), model.probabilities(values))

    def test_a_constant_and_a_missing_feature_say_nothing(self) -> None:
        values, truth, family = blobs()
        values[:, 2], values[:, 3] = 1e6, np.nan
        model = fit(values, truth, family, Classifier(), names="abcd")  # type: ignore[call-arg]
        other = values.copy()
        other[:, 2:] = [1e6, 5]
        assert model.coefficients[0][2:] == pytest.approx((0, 0))
        np.testing.assert_allclose(model.probabilities(other), model.probabilities(values), atol=1e-9)

    def test_what_is_no_model_is_refused(self, tmp_path: Path) -> None:
        values, truth, family = blobs()
        model = fit(values, truth, family, Classifier(), names="abcd")  # type: ignore[call-arg]
        text = model.model_dump(mode="json")
        for change, match in (
            ({"format": "other"}, "format"),
            ({"mean": [0.0]}, "do not fit together"),
            ({"scale": [0.0] * 4}, "do not fit together"),
            ({"labels": [0, 1, 2]}, "do not fit together"),
            ({"feature_version": 0}, "version 0"),
            ({"code": "x"}, "code"),
        ):
            (tmp_path / "m.json").write_text(json.dumps(text | change))
            with pytest.raises(BundleError, match=match):
                ClassicalModel.load(tmp_path / "m.json")
        (tmp_path / "m.json").write_bytes(b"\x80\x04pickle")
        with pytest.raises(BundleError, match="no classical model"):
            ClassicalModel.load(tmp_path / "m.json")
        with pytest.raises(BundleError, match="cannot be read"):
            ClassicalModel.load(tmp_path / "absent.json")
        with pytest.raises(DataError, match="none was found"):
            (tmp_path / "empty").mkdir()
            predict(model, tmp_path / "empty")

    def test_what_cannot_be_fitted_is_refused(self) -> None:
        values, truth, family = blobs(classes=3)
        names = ["a", "b", "c"]
        with pytest.raises(DataError, match="set kind to logistic"):
            fit(values, truth, family, Classifier(kind="svm"), names="abcd", labels=range(3), label_names=names)  # type: ignore[call-arg]
        with pytest.raises(DataError, match="no training scan is 'c'"):
            fit(values, truth % 2, family, Classifier(), names="abcd", labels=range(3), label_names=names)  # type: ignore[call-arg]


class TestPredictions:
    def test_rows_in_no_fold_are_not_told_and_several_classes_go_by_name(self) -> None:
        table = pl.DataFrame({"id": list("abcdef"), "group": list("uvwxyz"), "source": ["made"] * 6})
        truth = np.array([0, 1, 2, 0, 1, 2])
        whole = np.ones(6, bool)
        data = Data(table, np.zeros((6, 1)), ["f"], truth, (1, 2, 3), ("one", "two", "three"), np.arange(6), whole)
        chances = np.stack([np.eye(3)[truth], np.eye(3)[truth[::-1]]])
        told = out_of_fold(data, [np.array([0, 0, 1, 1, -1, 0]), np.array([1, 1, 0, 0, 0, 1])], chances)
        assert told.height == 11 and "e" not in told.filter(pl.col("repeat") == 0)["id"].to_list()
        given = Predictions.of(told)
        assert given.classes == ("one", "two", "three")
        first = given.only(given.repeats()[0])
        assert np.array_equal(first.decisions(), first.truth)
        assert evaluate_predictions(given, rounds=20)["accuracy"].interval.value == pytest.approx((1 + 2 / 6) / 2)


class TestRecipe:
    def test_groups_of_features(self) -> None:
        assert columns_of(quick(features={"groups": ["asymmetry"]}))[0] == "asymmetry_correlation"
        with pytest.raises(RecipeError, match="did you mean 'edge'"):
            columns_of(quick(features={"groups": ["edges"]}))

    def test_the_package_recipe_uses_no_place_of_the_head_and_no_mask(self) -> None:
        loaded = recipes.load("classical")
        assert isinstance(loaded, Classical)
        names = columns_of(loaded)
        assert len(names) == 87
        assert not [name for name in names if name.startswith(("midline", "original_shape"))]


LIGHT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning", "monai", "timm", "segmentation_models_pytorch", "onnx"):
            raise ModuleNotFoundError(f"no {name} (blocked by the test)", name=name)
sys.meta_path.insert(0, Absent())
from tumorscope.cli import main
code = main(["train", sys.argv[1], sys.argv[2], "-o", sys.argv[3], "--json"])
from tumorscope.training.classical_model import predict
assert predict(sys.argv[3] + "/model.json", sys.argv[2]).height == 25
sys.exit(code)
"""


def test_the_command_trains_and_predicts_without_torch(scans: pl.DataFrame, tmp_path: Path) -> None:
    manifest.write(scans, tmp_path / "scans.parquet")
    (tmp_path / "quick.toml").write_text(
        'name = "quick"\ntask = "classical"\n[features]\nside = 64\n[validation]\nfolds = 2\nrepeats = 1\nrounds = 20\n'
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LIGHT,
            *map(str, (tmp_path / "quick.toml", tmp_path / "scans.parquet", tmp_path / "run")),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 3, done.stderr  # one scan is broken, the others are done
    assert json.loads(done.stdout)["cross_validation"]["scans"] == 24
    assert "broken.png" in done.stderr and "Traceback" not in done.stderr
