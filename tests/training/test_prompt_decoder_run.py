"""A decoder's run on a tiny SAM and SAM 2: what it leaves, what learns, who is held out, zero-shot, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from tumorscope import io
from tumorscope.annotation.engine import open_engine
from tumorscope.annotation.prompts import Box, Prompts
from tumorscope.datasets import manifest, phantom
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, OutputError, RecipeError, TrainingError
from tumorscope.evaluation.segmentation import dice
from tumorscope.models.promptable.architectures import tiny
from tumorscope.models.promptable.loading import load, random_network, save
from tumorscope.models.promptable.network import PromptableNetwork
from tumorscope.report.comparison import compare
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import Phase
from tumorscope.training.mask_losses import weighted
from tumorscope.training.prompt_decoder_data import Boxed, Lesions, grown, off, usable
from tumorscope.training.prompt_decoder_recipe import PromptRecipe
from tumorscope.training.prompt_decoder_run import column, train
from tumorscope.training.prompting import PromptDecoder

NAMES = {"sam": "sam-vit-base", "sam2": "sam2.1-hiera-tiny"}


@pytest.fixture(scope="module", params=list(NAMES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def weights(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / kind
    save(random_network(tiny(second=kind == "sam2"), spread=0.05), folder, name=NAMES[kind], single=False)
    return folder


def recipe_of(kind: str, weights: Path, **changes: Any) -> PromptRecipe:
    values = {
        "name": "tiny",
        "model": {"network": NAMES[kind], "pretrained": str(weights)},
        "prompt": {"grow": 6},
        "phases": [{"epochs": 2, "optimiser": "adam", "rate": 3e-3, "schedule": "constant"}],
        "data": {"folds": 2, "rounds": 50, "validation": 0.3},
        "machine": {"precision": "fp32"},
    }
    return PromptRecipe.model_validate(values | changes)


@pytest.fixture(scope="module")
def table(phantoms: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bare = phantoms.with_columns(split=pl.lit(None, pl.String))
    return manifest.write(bare, tmp_path_factory.mktemp("table") / "phantoms.parquet")


@pytest.fixture(scope="module")
def recipe(kind: str, weights: Path) -> PromptRecipe:
    return recipe_of(kind, weights)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(recipe: PromptRecipe, table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, [table], tmp_path_factory.mktemp("runs") / "tuned", cache_folder=cache)


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return phantom.make(3, size=96, lesion="glioma").image.astype(np.float32)


@pytest.fixture(scope="module")
def untrained(kind: str, weights: Path, table: Path, cache: Path, run: Path) -> Path:
    zero = recipe_of(kind, weights, phases=[])
    return train(zero, [table], run.with_name("zero-shot"), cache_folder=cache)


class TestRun:
    def test_its_files(self, run: Path) -> None:
        assert {path.name for path in run.iterdir()} >= {
            "recipe.toml", "manifest.parquet", "metrics.csv", "metrics.json", "predictions.parquet", "masks.parquet",
            "provenance.json", "report.html", "engine", "folds",
        }  # fmt: skip

    def test_only_the_decoder_learns(self, kind: str, run: Path, weights: Path) -> None:
        before, after = (load_file(place / "model.safetensors") for place in (weights, run / "engine"))
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed and all(name.startswith("mask_decoder.") for name in changed)
        assert not any("conv_s" in name for name in changed)

    def test_it_learns(self, recipe: PromptRecipe, image: NDArray) -> None:
        network = load(recipe.model.network, Path(recipe.model.pretrained)).network
        module = PromptDecoder(network, recipe, recipe.phases[0], steps=1)
        features = {name: torch.from_numpy(value)[None] for name, value in network.embed(image).items()}
        truth = torch.zeros(1, 1, network.map_size, network.map_size, dtype=torch.bool)
        truth[..., 3:9, 4:12] = True
        batch = {**features, "box": torch.tensor([[[8.0, 6.0, 48.0, 36.0]]]), "truth": truth}
        optimiser = torch.optim.Adam([one for one in module.network.parameters() if one.requires_grad], lr=1e-2)
        losses = []
        for _ in range(60):
            loss = weighted(recipe.loss.terms, module(batch), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[0] > 0.5 and losses[-1] < 0.2

    def test_every_tumour_is_answered_once_and_healthy_scans_are_not_asked(self, run: Path, table: Path) -> None:
        rows = manifest.read(table)
        told = pl.read_parquet(run / "predictions.parquet")
        assert sorted(told["id"].to_list()) == sorted(rows.filter(pl.col("label") == 1)["id"].to_list())

    def test_folds_do_not_share_groups(self, run: Path) -> None:
        told = pl.read_parquet(run / "predictions.parquet")
        assert told.group_by("group").agg(pl.col("fold").n_unique())["fold"].max() == 1

    def test_figures_stand_with_intervals_and_jitters(self, run: Path) -> None:
        metrics = json.loads((run / "metrics.json").read_text())
        assert [one["jitter"] for one in metrics["jitter"]] == [0.1, 0.0, 0.05, 0.2]
        told = pl.read_parquet(run / "predictions.parquet")
        for one in metrics["jitter"]:
            assert one["dice"] == pytest.approx(told[column(one["jitter"])].mean())
            assert one["low"] <= one["dice"] <= one["high"]
        main = next(one for one in metrics["masks"]["figures"] if one["figure"] == "dice" and one["by"] == "all")
        assert main["value"] == pytest.approx(metrics["jitter"][0]["dice"])
        assert metrics["learning"].keys() == {"train_dice", "train_loss", "val_dice", "val_loss"}

    def test_masks_are_those_that_were_scored(self, run: Path) -> None:
        rows = {row["id"]: row for row in manifest.read(run / "manifest.parquet").to_dicts()}
        for one in pl.read_parquet(run / "masks.parquet").head(3).to_dicts():
            said = io.read(run / "folds" / f"r0f{one['fold']}" / "held_out" / "masks" / f"{one['id']}.png").pixels > 0
            truth = read_mask(rows[one["id"]], said.shape)
            assert truth is not None and one["dice"] == pytest.approx(dice(said, truth))

    def test_the_checkpoint_opens_as_an_engine_and_says_what_the_run_said(self, kind: str, run: Path) -> None:
        opened = open_engine(NAMES[kind], run / "engine")
        fold = json.loads((run / "provenance.json").read_text())["model_from"]
        told = pl.read_parquet(run / "folds" / fold / "predictions.parquet").to_dicts()[0]
        row = manifest.read(run / "manifest.parquet").filter(pl.col("id") == told["id"]).to_dicts()[0]
        scan = io.read(row["path"])
        truth = read_mask(row, scan.shape)
        box = Box.around(truth)
        found = opened.segment(opened.embed(scan.pixels), Prompts(box=box))
        assert len(found) == 1 and dice(found[0].mask, truth) == pytest.approx(told[column(0.0)], abs=0.01)

    def test_a_finished_run_resumes_to_the_same(
        self, run: Path, recipe: PromptRecipe, table: Path, cache: Path
    ) -> None:
        before = (run / "metrics.json").read_text(), (run / "engine" / "model.safetensors").read_bytes()
        train(recipe, [table], run, resume=True, cache_folder=cache)
        assert ((run / "metrics.json").read_text(), (run / "engine" / "model.safetensors").read_bytes()) == before

    def test_it_is_not_overwritten(self, run: Path, recipe: PromptRecipe, table: Path) -> None:
        with pytest.raises(OutputError, match="holds a run already"):
            train(recipe, [table], run)


class TestZeroShot:
    def test_nothing_is_trained_and_no_engine_is_written(self, untrained: Path) -> None:
        assert not (untrained / "engine").exists() and not (untrained / "metrics.csv").exists()
        assert json.loads((untrained / "metrics.json").read_text())["protocol"]["trained"] is False
        assert "zero-shot" in (untrained / "report.html").read_text()

    def test_it_is_a_row_of_compare_on_the_same_boxes(self, run: Path, untrained: Path, tmp_path: Path) -> None:
        found = compare([run, untrained], tmp_path / "out", rounds=200)
        one = found.tests.table().to_dicts()[0]
        means = [pl.read_parquet(place / "masks.parquet")["dice"].mean() for place in (run, untrained)]
        assert (one["first"], one["second"]) == ("tuned", "zero-shot")
        assert one["difference"] == pytest.approx(means[0] - means[1])
        assert "| zero-shot | yes |" in found.markdown.read_text() and found.report.is_file()

    def test_compare_refuses_a_model_without_masks(self, run: Path, tmp_path: Path) -> None:
        pl.DataFrame({"id": ["a"], "label": [1], "probability": [0.5]}).write_csv(tmp_path / "plain.csv")
        with pytest.raises(DataError, match=r"masks\.parquet"):
            compare([run, tmp_path / "plain.csv"], tmp_path / "out")


class TestData:
    def test_grown_boxes_hold_the_truth_and_stay_on_the_slice(self) -> None:
        rng, box = np.random.default_rng(0), np.array([5.0, 6.0, 20.0, 30.0])
        boxes = np.array([grown(box, 20, (40, 44), rng) for _ in range(200)])
        assert (boxes[:, :2] <= box[:2]).all() and (boxes[:, 2:] >= box[2:]).all()
        assert (boxes >= 0).all() and boxes.max(axis=0).tolist()[2:] == [39, 43]
        assert np.abs(boxes - box).max() <= 20 and len(np.unique(boxes[:, 2])) > 50

    def test_boxes_of_held_out_scans_hang_on_the_scan_alone(
        self, recipe: PromptRecipe, table: Path, cache: Path
    ) -> None:
        lesions = self.lesions(recipe, table, cache)
        one, other = lesions.items[:2]
        assert np.array_equal(off(one, 0.1), off(one, 0.1)) and np.array_equal(off(one, 0.0), one.box)
        assert not np.array_equal(off(one, 0.1), one.box)
        assert not np.allclose(off(one, 0.1) - one.box, off(other, 0.1) - other.box)

    def test_a_training_item_hangs_on_seed_epoch_and_place(
        self, recipe: PromptRecipe, table: Path, cache: Path
    ) -> None:
        network = load(recipe.model.network, Path(recipe.model.pretrained)).network
        boxed = Boxed(self.lesions(recipe, table, cache), network, recipe, 1)
        first, again, later = (boxed[item]["box"] for item in ((0, 0, 0), (0, 0, 0), (1, 0, 0)))
        assert torch.equal(first, again) and not torch.equal(first, later)

    def test_slices_are_embedded_once(
        self, recipe: PromptRecipe, table: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = self.lesions(recipe, table, cache)
        monkeypatch.setattr(PromptableNetwork, "embed", lambda *_: pytest.fail("embedded again"))
        again = self.lesions(recipe, table, cache)
        assert [one.key for one in again.items] == [one.key for one in first.items]

    def test_volumes_give_their_marked_slices(self, recipe: PromptRecipe, tmp_path: Path) -> None:
        import nibabel

        pixels = np.random.default_rng(0).normal(size=(40, 36, 5)).astype(np.float32)
        mask = np.zeros(pixels.shape, np.uint8)
        mask[10:20, 12:30, 1:3] = 1
        for name, values in (("v.nii.gz", pixels), ("v_mask.nii.gz", mask)):
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
        rows = manifest.load(tmp_path).with_columns(label=pl.lit(1, pl.Int64))
        network = load(recipe.model.network, Path(recipe.model.pretrained)).network
        lesions = Lesions.of(usable(rows), network, "1", tmp_path / "cache")
        scan = io.read(rows["path"][0])
        truth = read_mask(rows.to_dicts()[0], scan.shape)
        assert truth is not None and [one.slice for one in lesions.items] == np.flatnonzero(truth.any((1, 2))).tolist()
        assert len(lesions.items) == 2

    def test_without_masks_it_stops(self, phantoms: pl.DataFrame) -> None:
        with pytest.raises(DataError, match="none of"):
            usable(phantoms.filter(pl.col("label") == 0))

    @staticmethod
    def lesions(recipe: PromptRecipe, table: Path, cache: Path) -> Lesions:
        network = load(recipe.model.network, Path(recipe.model.pretrained)).network
        return Lesions.of(usable(manifest.read(table)), network, "test", cache / "test")


class TestRecipe:
    def test_they_come_with_the_package_and_say_what_the_mission_says(self) -> None:
        for name in ("sam-decoder", "sam2-decoder"):
            found = recipes.load(name)
            assert isinstance(found, PromptRecipe) and found.loss.terms == {"dice-squared": 1.0}
            assert found.prompt.grow == 20 and found.phases[0].rate == 1e-5 and found.phases[0].optimiser == "adam"
        assert recipes.load("sam-zero-shot").epochs == 0

    @pytest.mark.parametrize("name", ["sam-decoder", "sam2-decoder", "sam-zero-shot"])
    def test_they_survive_toml(self, name: str) -> None:
        assert recipes.parse(recipes.to_toml(recipes.load(name)), name) == recipes.load(name)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"model.network": "sam-vit-bse"}, "sam-vit-base"),
            ({"model.pretrained": "no"}, "random encoder"),
            ({"prompt.jitter": [0.0, 0.1]}, "no test"),
            ({"loss.terms": {"dise": 1.0}}, "dice"),
            ({"fit.monitor": "auc"}, "fit.monitor"),
        ],
    )
    def test_what_it_refuses(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(RecipeError, match=words):
            recipes.changed(recipes.load("sam-decoder"), change)

    def test_a_loss_that_is_no_number_names_the_scans(self, recipe: PromptRecipe) -> None:
        network = load(recipe.model.network, Path(recipe.model.pretrained)).network
        phase = Phase.model_validate({"epochs": 1})
        module = PromptDecoder(network, recipe, phase, steps=1, names=["scan-7"])
        with torch.no_grad():
            next(iter(module.network.parameters())).fill_(torch.nan)
        image = np.random.default_rng(0).normal(size=(48, 48))
        features = {name: torch.from_numpy(value)[None] for name, value in network.embed(image).items()}
        side = network.map_size
        batch = {**features, "box": torch.ones(1, 1, 4), "truth": torch.ones(1, 1, side, side, dtype=torch.bool)}
        with pytest.raises(TrainingError, match="scan-7"):
            module.training_step({**batch, "row": torch.tensor([0])}, 0)


def test_the_best_epoch_is_kept(run: Path) -> None:
    for folder in (run / "folds").iterdir():
        record = engine.read_json(folder / "fold.json", {})
        table = pl.read_csv(folder / "metrics.csv")
        assert record["validation"] == pytest.approx(table["val_dice"].max())
