"""A tiny diffusion model from recipe to generator: data, exact resuming, export, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tumorscope.datasets import manifest, phantom
from tumorscope.errors import BundleError, DataError, OutputError, RecipeError, TrainingError, WeightsError
from tumorscope.inference.bundle import embedded_path
from tumorscope.inference.embedding import Extractor
from tumorscope.inference.generator import Generator
from tumorscope.models.diffusion import Denoiser
from tumorscope.training import diffusion_run, engine, inception
from tumorscope.training import recipe as recipes
from tumorscope.training.diffuse import Diffuse
from tumorscope.training.diffusion_data import Drawn, Pictures, divided
from tumorscope.training.diffusion_export import to_onnx
from tumorscope.training.diffusion_recipe import Data, DiffusionRecipe
from tumorscope.training.diffusion_run import load_network, train

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "model": {"widths": (8, 12), "depth": 1, "embedded": 8},
    "input": {"size": 32},
    "fit": {"epochs": 3, "steps": 2, "batch": 8, "ema": 0.9, "flip": 0.5},
    "watch": {"every": 2, "pictures": 2, "steps": 2, "kid_pictures": 8, "kid_steps": 2, "features": "scout"},
    "data": {"validation": 0.3},
    "machine": {"precision": "fp32"},
}


@pytest.fixture(scope="module", autouse=True)
def _cheap_features():
    """Row means in place of the scout, which takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            diffusion_run, "extractor_of", lambda *_: Extractor("rows", lambda some: np.asarray(some).mean(axis=2))
        )
        yield


@pytest.fixture(scope="module")
def recipe() -> DiffusionRecipe:
    return DiffusionRecipe.model_validate(TINY)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = phantom.write_dataset(tmp_path_factory.mktemp("heads"), count=24, seed=2, size=64)
    table = manifest.load(folder, groups=False)
    return table.with_columns(group=pl.col("id"))


@pytest.fixture(scope="module")
def run(recipe: DiffusionRecipe, scans: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return train(recipe, [scans], folder / "run", cache_folder=folder / "cache")


def pictures_of(count: int, recipe: DiffusionRecipe, value: float | None = None) -> Pictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (count, 32, 32), np.uint8) if value is None else np.full((count, 32, 32), value, "u1")
    sides = ["train"] * (count - 1) + ["val"]
    names = [f"s{n}" for n in range(count)]
    table = pl.DataFrame({"id": names, "path": [f"{n}.png" for n in names], "group": names, "split": sides})
    return Pictures(images, np.zeros(count, np.int64), (), table)


def test_a_run_holds_what_the_next_steps_need(run: Path, recipe: DiffusionRecipe) -> None:
    rows = pl.read_csv(run / "metrics.csv")
    assert rows["epoch"].to_list() == [0, 1, 2]
    assert {"train_noise", "val_noise", "val_image", "val_kid", "val_closeness"} <= set(rows.columns)
    assert rows["val_kid"].is_nan().to_list() == [True, False, False]  # looked at every 2nd epoch, and the last
    found = engine.read_json(run / "metrics.json", {})
    assert found["kid"]["features"] == "rows" and found["copying"]["pixels"]["pictures"] == 8
    assert found["best_epoch"] in (1, 2) and found["reference"]["noise"] == 0.0601
    sheets = {file.name for file in (run / "samples").iterdir()}
    assert {"epoch-00002.png", "epoch-00003.png", "best-none.png"} <= sheets
    assert recipes.load(run / "recipe.toml") == recipe
    assert set(manifest.read(run / "manifest.parquet")["split"]) == {"train", "val"}


def test_first_error_is_that_of_a_silent_head(scans: pl.DataFrame, recipe: DiffusionRecipe, run: Path) -> None:
    pictures = Pictures.of(manifest.read(run / "manifest.parquet"), recipe, run.parent / "cache")
    module = Diffuse(diffusion_run.initial(recipe, pictures), recipe, pictures)
    big = {key: value.repeat(8, *[1] * (value.ndim - 1)) for key, value in Drawn(pictures, recipe)[0].items()}
    with torch.no_grad():
        noise, _ = module.errors(big, torch.Generator().manual_seed(0))
    assert float(noise) == pytest.approx(0.798, abs=0.01)


def test_a_stopped_run_ends_as_an_unbroken_one(
    run: Path, recipe: DiffusionRecipe, scans: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Diffuse.on_train_epoch_start

    def stop(module: Diffuse) -> None:
        if module.current_epoch == 2:
            raise KeyboardInterrupt
        begin(module)

    with monkeypatch.context() as patch:
        patch.setattr(Diffuse, "on_train_epoch_start", stop)
        with pytest.raises((OutputError, KeyboardInterrupt, SystemExit)):
            train(recipe, [scans], tmp_path / "run", cache_folder=run.parent / "cache")
    with pytest.raises(OutputError, match="--resume"):
        train(recipe, [scans], tmp_path / "run")
    with pytest.raises(OutputError, match="another recipe"):
        train(recipe.model_copy(update={"seed": 4}), [scans], tmp_path / "run", resume=True)
    again = train(recipe, [scans], tmp_path / "run", resume=True, cache_folder=run.parent / "cache")
    whole, broken = (pl.read_csv(one / "metrics.csv").fill_nan(-1) for one in (run, again))
    assert whole.equals(broken)
    assert (run / "checkpoints/best.safetensors").read_bytes() == (again / "checkpoints/best.safetensors").read_bytes()


def test_the_generator_draws_what_the_network_draws(run: Path) -> None:
    network, _ = load_network(run)
    generator = Generator.load(run, threads=1)
    rng = np.random.default_rng(0)
    noisy, variance = rng.standard_normal((5, 1, 32, 32), np.float32), rng.random(5, np.float32)
    named = np.array([0, 1, 2, 0, 1])
    with torch.no_grad():
        ours = network(torch.from_numpy(noisy), torch.from_numpy(variance), torch.from_numpy(named)).numpy()
    np.testing.assert_allclose(generator.tell(noisy, variance, named), ours, atol=5e-3)
    facts = generator.metadata
    assert facts.classes[-1] == "none" or "none" in facts.classes
    assert facts.mean == pytest.approx(float(network.mean)) and facts.preparation.size == 32
    assert len(facts.training.scan_hashes) == 24


def test_same_seed_same_picture_in_any_batch(run: Path) -> None:
    make = Generator.load(run, threads=1).synthesizer
    many = np.rint(make.sample(range(18), steps=3) * 255)
    for seed in (0, 5, 17):
        assert np.array_equal(np.rint(make.sample([seed], steps=3)[0] * 255), many[seed])


def test_a_generator_without_classes_has_two_inputs() -> None:
    model = to_onnx(Denoiser(1, widths=(8, 12), depth=1), 16, half=False)
    assert [one.name for one in model.graph.input] == ["noisy", "variance"]


def test_of_a_split_manifest_the_training_side_alone_is_seen(scans: pl.DataFrame) -> None:
    sides = ["train"] * 12 + ["val"] * 6 + ["test"] * 6
    seen = divided(scans.with_columns(split=pl.Series(sides)), Data(), 0)
    assert set(seen["id"]) == set(scans["id"][:12]) and set(seen["split"]) == {"train", "val"}


def test_groups_stay_whole_and_synthetic_scans_out(scans: pl.DataFrame) -> None:
    table = scans.with_columns(
        group=pl.Series([f"g{n // 3}" for n in range(24)]), synthetic=pl.Series([False] * 21 + [True] * 3)
    )
    seen = divided(table, Data(validation=0.3), 1)
    assert not seen["synthetic"].any() and seen.height == 21
    assert seen.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


def test_a_model_of_healthy_anatomy_sees_no_tumour(scans: pl.DataFrame) -> None:
    assert set(divided(scans, Data(keep="none"), 0)["label"]) == {0}
    assert set(divided(scans, Data(keep="tumor"), 0)["label"]) == {1}


def test_fewer_pictures_than_a_batch_come_more_than_once(recipe: DiffusionRecipe) -> None:
    drawn = Drawn(pictures_of(4, recipe), recipe)  # three to learn from, eight in a batch
    rows = torch.cat([drawn[n]["row"] for n in range(2)]).tolist()
    assert len(rows) == 16 and all(sorted(rows[n : n + 3]) == [0, 1, 2] for n in range(0, 15, 3))


def test_batches_hang_on_seed_and_epoch(recipe: DiffusionRecipe) -> None:
    pictures = pictures_of(40, recipe)
    one, other = Drawn(pictures, recipe), Drawn(pictures, recipe)
    assert torch.equal(one[1]["image"], other[1]["image"])
    other.epoch = 1
    assert not torch.equal(one[1]["row"], other[1]["row"])


def test_a_loss_that_is_no_number_names_the_files(recipe: DiffusionRecipe) -> None:
    pictures = pictures_of(4, recipe)
    module = Diffuse(diffusion_run.build(recipe, 0), recipe, pictures)
    batch = Drawn(pictures, recipe)[0]
    batch["image"][0] = float("nan")
    with pytest.raises(TrainingError, match=r"the loss is nan \(s\d.png, .*lower the rate"):
        module.training_step(batch, 0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_picture_teaches_nothing(scans: pl.DataFrame, count: int) -> None:
    with pytest.raises(DataError, match=f"{count} scans are left"):
        divided(scans.head(count), Data(), 0)


def test_folds_are_refused(scans: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="choose a fold"):
        divided(scans.with_columns(fold=pl.lit(1)), Data(), 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input.size": 33}, "multiple of 2"),
        ({"model.widths": [8]}, "model.widths"),
        ({"model.embedded": 7}, "model.embedded"),
        ({"mixing.smallest_signal": 0.99}, "smallest_signal is not below"),
        ({"fit.batch": 1}, "fit.batch"),
        ({"watch.feature": "scout"}, "did you mean 'features'"),
    ],
)
def test_recipes_that_cannot_be(recipe: DiffusionRecipe, change: dict, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipes.changed(recipe, change)


def test_weights_of_another_recipe_and_none_at_all(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no trained weights"):
        load_network(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.safetensors").write_bytes((run / "checkpoints/best.safetensors").read_bytes())
    other = recipes.changed(recipes.load(run / "recipe.toml"), {"model.widths": [8, 16]})
    (tmp_path / "recipe.toml").write_text(recipes.to_toml(other))
    with pytest.raises(OutputError, match="of another recipe"):
        load_network(tmp_path)
    (tmp_path / "recipe.toml").write_text(recipes.to_toml(recipes.load("classical")))
    with pytest.raises(OutputError, match="task 'classical'"):
        load_network(tmp_path)


def test_other_models_are_no_generators(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no generator \\(its task is"):
        Generator.load(embedded_path())
    with pytest.raises(BundleError, match="does not exist"):
        Generator.load(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot load it"):
        Generator.load(tmp_path)


def test_inception_is_asked_for_only_where_its_weights_are(tmp_path: Path) -> None:
    assert not inception.inception_here(tmp_path)
    with pytest.raises(WeightsError, match="inception"):
        inception.inception_features(tmp_path)


def test_pooled_features_of_a_network_at_75_px() -> None:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    extract = inception.extractor_from(network)
    seen = extract(np.full((3, 20, 20), 0.75, np.float32))
    np.testing.assert_allclose(seen, np.full((3, 3), 0.5), atol=1e-6)
