"""A segmenter's run: what it leaves, what it holds out, how it resumes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest
from tumorscope.errors import DataError, OutputError, RecipeError
from tumorscope.inference.bundle import Bundle
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.changes import Motion
from tumorscope.training.classifier_recipe import Changes
from tumorscope.training.mask_losses import LOSSES
from tumorscope.training.segmenter_data import MaskData, Masked, draw, patch_at, usable
from tumorscope.training.segmenter_export import export
from tumorscope.training.segmenter_recipe import LOSSES as NAMED
from tumorscope.training.segmenter_recipe import Data, SegmenterRecipe
from tumorscope.training.segmenter_run import initial, train

TINY = {
    "name": "tiny",
    "model": {"architecture": "unet", "pretrained": "no", "width": 0.07, "head": True},
    "input": {"size": 32},
    "phases": [{"epochs": 2, "rate": 3e-3}],
    "fit": {"batch": 4, "ema": 0.5, "clip": 1.0},
    "data": {"folds": 2, "rounds": 50, "foreground": 0.5, "validation": 0.3},
}


@pytest.fixture(scope="module")
def recipe() -> SegmenterRecipe:
    return SegmenterRecipe.model_validate(TINY)


@pytest.fixture(scope="module")
def table(phantoms: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bare = phantoms.with_columns(split=pl.lit(None, pl.String))
    return manifest.write(bare, tmp_path_factory.mktemp("table") / "phantoms.parquet")


@pytest.fixture(scope="module")
def run(recipe: SegmenterRecipe, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, [table], tmp_path_factory.mktemp("runs") / "run")


class TestRun:
    def test_its_files(self, run: Path) -> None:
        names = {path.name for path in run.iterdir()}
        assert names >= {
            "recipe.toml", "manifest.parquet", "metrics.csv", "metrics.json", "predictions.parquet", "masks.parquet",
            "provenance.json", "report.html", "model.onnx", "folds",
        }  # fmt: skip

    def test_every_scan_is_answered_once_by_a_fold_that_did_not_know_its_group(self, run: Path) -> None:
        told = pl.read_parquet(run / "predictions.parquet")
        rows = manifest.read(run / "manifest.parquet")
        assert sorted(told["id"].to_list()) == sorted(rows["id"].to_list())
        hashes = dict(rows.select("id", "sha256").rows())
        for fold, part in told.group_by("fold"):
            known = set(Bundle.load(run / "folds" / f"r0f{fold[0]}" / "model.onnx").metadata.training.scan_hashes)
            assert not known & {hashes[name][:16] for name in part["id"]}

    def test_masks_are_scored_on_the_scans_own_grid(self, run: Path) -> None:
        scores = pl.read_parquet(run / "masks.parquet")
        rows = {row["id"]: row for row in manifest.read(run / "manifest.parquet").to_dicts()}
        one = scores.filter(pl.col("true_size") > 0).to_dicts()[0]
        from tumorscope.datasets.truth import read_mask

        row = rows[one["id"]]
        truth = read_mask(row, (row["height"], row["width"]))
        assert truth is not None and one["true_size"] == truth.sum()

    def test_the_fold_in_the_bundle_is_named(self, run: Path) -> None:
        provenance = json.loads((run / "provenance.json").read_text())
        chosen = run / "folds" / provenance["model_from"] / "model.onnx"
        assert chosen.read_bytes() == (run / "model.onnx").read_bytes()

    def test_folds_are_joined_to_the_mean_of_their_maps_and_settings(self, run: Path, tmp_path: Path) -> None:
        joined = Bundle.load(export(run, tmp_path / "joined.onnx", ensemble=True, half=False))
        folds = [Bundle.load(file) for file in sorted((run / "folds").glob("*/model.onnx"))]
        side = joined.metadata.preparation.size
        batch = np.random.default_rng(0).random((2, side, side), np.float32)
        mean = np.mean([fold.run(batch).mask for fold in folds], axis=0)
        np.testing.assert_allclose(joined.run(batch).mask, mean, atol=2e-3)  # the folds' weights are float16
        limits = [fold.metadata.thresholds.mask for fold in folds]
        assert joined.metadata.thresholds.mask == pytest.approx(np.mean(limits))
        seen = {one for fold in folds for one in fold.metadata.training.scan_hashes}
        assert seen <= set(joined.metadata.training.scan_hashes)

    def test_the_gain_of_the_mirrored_slice_is_told(self, run: Path) -> None:
        for fold in json.loads((run / "provenance.json").read_text())["folds"].values():
            assert set(fold["mirror"]) == {"dice", "dice_mirrored"}
            assert all(0 <= value <= 1 for value in fold["mirror"].values())

    def test_a_finished_run_resumes_to_the_same(self, run: Path, recipe: SegmenterRecipe, table: Path) -> None:
        before = (run / "metrics.csv").read_text(), pl.read_parquet(run / "masks.parquet")
        train(recipe, [table], run, resume=True)
        assert (run / "metrics.csv").read_text() == before[0]
        assert pl.read_parquet(run / "masks.parquet").equals(before[1])

    def test_it_is_not_overwritten(self, run: Path, recipe: SegmenterRecipe, table: Path) -> None:
        with pytest.raises(OutputError, match="holds a run already"):
            train(recipe, [table], run)

    def test_another_recipe_does_not_resume_it(self, run: Path, recipe: SegmenterRecipe, table: Path) -> None:
        with pytest.raises(OutputError, match="another recipe"):
            train(recipes.changed(recipe, {"seed": 9}), [table], run, resume=True)


class TestData:
    def test_a_tumour_without_a_mask_is_left_out_and_refused_where_a_split_names_it(
        self, phantoms: pl.DataFrame
    ) -> None:
        first = pl.int_range(pl.len()) == phantoms["label"].to_list().index(1)
        bare = phantoms.with_columns(mask_path=pl.when(~first).then("mask_path"))
        assert usable(bare.with_columns(split=pl.lit(None, pl.String))).height == phantoms.height - 1
        with pytest.raises(DataError, match="no mask"):
            usable(bare)

    def test_without_any_mask_it_stops(self, phantoms: pl.DataFrame, recipe: SegmenterRecipe, tmp_path: Path) -> None:
        sick = phantoms.filter(pl.col("label") == 1)
        with pytest.raises(DataError, match="none of"):
            usable(sick.with_columns(mask_path=pl.lit(None, pl.String), split=pl.lit(None, pl.String)))
        healthy = phantoms.filter(pl.col("label") == 0)
        with pytest.raises(DataError, match="no scan with a tumour has a mask"):
            Masked.of(healthy, recipe.preparation, tmp_path)

    def test_an_epoch_has_the_share_of_tumours_that_is_asked_for(self) -> None:
        table = pl.DataFrame({"synthetic": [False] * 40})
        truth = np.array([1] * 4 + [0] * 36)
        squares = Masked(None, table, truth, None, np.ones(40, bool))  # type: ignore[arg-type]
        drawn = draw(squares, np.arange(40), Data(foreground=0.25), 1, 0)
        assert len(drawn) == 40 and truth[drawn].sum() == 10
        plain = draw(squares, np.arange(40), Data(), 1, 0)
        assert sorted(plain.tolist()) == list(range(40))

    def test_patches_lie_inside_and_find_the_lesion(self) -> None:
        mask = np.zeros((64, 64), bool)
        mask[60, 3] = True
        rng = np.random.default_rng(0)
        places = [patch_at(mask, 32, rng) for _ in range(200)]
        assert all(0 <= y <= 32 and 0 <= x <= 32 for y, x in places)
        assert np.mean([mask[y : y + 32, x : x + 32].any() for y, x in places]) > 0.4

    def test_batches_of_patches(self, run: Path, recipe: SegmenterRecipe, table: Path) -> None:
        squares = Masked.of(usable(manifest.read(table)), recipe.preparation, run / "cache")
        cut = recipes.changed(recipe, {"data.patch": 32, "input.size": 32})
        rows = np.arange(6, dtype=np.int64)
        batch = next(iter(MaskData(squares, rows, rows, cut, 0).train_dataloader()))
        assert batch["image"].shape == (4, 1, 32, 32) and batch["mask"].shape == (4, 1, 32, 32)

    def test_image_and_mask_move_together(self) -> None:
        mask = np.zeros((64, 64), bool)
        mask[20:34, 30:50] = True
        settings = Changes(rotation=40, zoom=0.3, shift=0.2, shear=0.2, elastic=1.0, elastic_size=0.05)
        for seed in range(5):
            motion = Motion.drawn(64, settings, np.random.default_rng(seed))
            image = motion.apply(mask.astype(np.float32))
            assert ((image > 0.5) != motion.apply_mask(mask)).sum() <= 6  # borders: the image repeats, the mask ends


class TestRecipe:
    def test_losses_are_those_that_exist(self) -> None:
        assert sorted(LOSSES) == sorted(NAMED)

    def test_an_unknown_loss_is_refused_with_the_nearest(self, recipe: SegmenterRecipe) -> None:
        with pytest.raises(RecipeError, match="dice"):
            recipes.changed(recipe, {"loss.terms": {"dise": 1.0}})

    def test_weights_that_do_not_exist_are_not_looked_for(self, recipe: SegmenterRecipe) -> None:
        with pytest.raises(RecipeError, match="there are none of unet"):
            initial(recipes.changed(recipe, {"model.pretrained": "yes"}), 0)

    def test_the_best_weights_are_those_of_the_best_epoch(self, run: Path) -> None:
        for folder in (run / "folds").iterdir():
            record = engine.read_json(folder / "fold.json", {})
            table = pl.read_csv(folder / "metrics.csv")
            best = table.filter(pl.col("epoch") == record["best_epoch"])["val_score"][0]
            assert best == pytest.approx(table["val_score"].max())
