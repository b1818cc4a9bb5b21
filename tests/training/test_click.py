"""The network behind `click`, from prompts to the engine that a viewer opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from tumorscope import io
from tumorscope.annotation.click import ANSWERER, METADATA_KEY, Click, on_square, planes
from tumorscope.annotation.engine import Candidate, open_engine
from tumorscope.annotation.prompts import Box, Prompts, Scribble
from tumorscope.datasets import manifest
from tumorscope.errors import BundleError, DataError, RecipeError, ScanError, WeightsError
from tumorscope.imaging.geometry import Box as Cut
from tumorscope.imaging.geometry import Letterbox
from tumorscope.models.promptable.click_network import Answer, ClickNetwork
from tumorscope.training.click_data import Annotating, one_lesion
from tumorscope.training.click_export import export, load_network
from tumorscope.training.click_recipe import Annotator, ClickLoss
from tumorscope.training.clicking import begin_with, loss_of
from tumorscope.training.recipe import ClickRecipe, Recipe, changed, load
from tumorscope.training.train import train

SIDE = 64


@pytest.fixture(scope="module")
def recipe() -> ClickRecipe:
    small = {
        "model": {"encoder_channels": [8, 8, 8, 8], "prompt_channels": [4] * 4, "decoder_channels": [8] * 4},
        "input": {"cache_size": SIDE},
        "phases": [{"epochs": 2, "size": SIDE, "batch": 4}],
        "data": {"epoch_scans": 8, "validation": 0.2, "test": 0.2},
        "augmentation": {"paste": 1.0},
        "optimiser": {"ema": 0.5},
    }
    return ClickRecipe.model_validate(
        {"name": "click", "task": "click", "workers": 0, "phases": small["phases"], **small}
    )


@pytest.fixture(scope="module")
def run(recipe: ClickRecipe, phantoms: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("click")
    table = manifest.write(phantoms, folder / "phantoms.parquet")
    done = train(recipe, [table], folder / "run")
    export(done, done / "engine")
    return done


@pytest.fixture(scope="module")
def engine(run: Path) -> Click:
    opened = open_engine("click", run / "engine")
    assert isinstance(opened, Click)
    return opened


@pytest.fixture(scope="module")
def slice_(phantoms: pl.DataFrame) -> np.ndarray:
    return io.read(phantoms.filter(pl.col("label") == 1)["path"][0]).pixels


def test_the_run_says_how_it_went(run: Path) -> None:
    log = pl.read_csv(run / "metrics.csv")
    assert log["epoch"].to_list() == [0, 1]
    assert {"val_dice_1", "val_dice_3", "train_iou", "train_best_iou"} <= set(log.columns)
    assert (log["train_best_iou"] >= log["train_iou"]).all()


def test_the_engine_answers_as_the_network_does(
    run: Path, recipe: ClickRecipe, engine: Click, slice_: np.ndarray
) -> None:
    embedded = engine.embed(slice_)
    prompts = Prompts().click(slice_.shape[0] / 2, slice_.shape[1] / 2)
    network = load_network(run, recipe)
    square = engine.preparation.prepare(slice_)
    cut, letterbox = square.crop.box, square.letterbox
    seen = planes(on_square(prompts, cut, letterbox), None, SIDE)
    with torch.no_grad():
        said = network(torch.from_numpy(square.pixels[None, None]), torch.from_numpy(seen[None]))
    answers = engine.segment(embedded, prompts)
    order = np.argsort(-said.quality[0].numpy(), kind="stable")
    assert [one.quality for one in answers] == pytest.approx(said.quality[0].sigmoid().numpy()[order], abs=5e-3)
    for one, place in zip(answers, order, strict=True):  # half-precision weights
        assert one.logits is not None
        np.testing.assert_allclose(one.logits, said.mask[0, place].sigmoid().numpy(), atol=5e-3)


def test_candidates_lie_on_the_slices_grid_best_first(engine: Click, slice_: np.ndarray) -> None:
    tall = np.pad(slice_, ((10, 31), (0, 0)))
    answers = engine.segment(engine.embed(tall), Prompts().click(60, 40))
    assert [one.mask.shape for one in answers] == [tall.shape] * 3
    assert sorted((one.quality for one in answers), reverse=True) == [one.quality for one in answers]


def test_an_earlier_answer_is_seen_with_and_without_its_own_map(engine: Click, slice_: np.ndarray) -> None:
    embedded, prompts = engine.embed(slice_), Prompts().click(40, 40)
    alone = engine.segment(embedded, prompts)[0]
    mask = np.zeros_like(slice_, bool)
    mask[30:50, 30:50] = True
    for previous in (Candidate(mask, None), Candidate(mask, None, np.full((SIDE, SIDE), 0.9, np.float32))):
        corrected = engine.segment(embedded, prompts, previous)[0]
        assert corrected.logits is not None and not np.allclose(corrected.logits, alone.logits)


def test_the_version_is_that_of_the_weights(run: Path, engine: Click, tmp_path: Path) -> None:
    assert engine.version == Click.open(run / "engine").version
    for file in (run / "engine").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = onnx.load(tmp_path / ANSWERER)
    model.producer_version = "another"
    onnx.save(model, tmp_path / ANSWERER)
    assert Click.open(tmp_path).version != engine.version


def test_a_folder_without_an_engine_says_what_to_do(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read .* train one with"):
        Click.open(tmp_path)
    for file in (run / "engine").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = onnx.load(tmp_path / ANSWERER)
    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]
    del model.metadata_props[:]
    onnx.save(model, tmp_path / ANSWERER)
    with pytest.raises(WeightsError, match="says nothing of its preparation"):
        Click.open(tmp_path)
    (tmp_path / ANSWERER).write_bytes(b"no network")
    with pytest.raises(WeightsError, match="no network that ONNX Runtime can load"):
        Click.open(tmp_path)


@pytest.mark.parametrize(
    "bad", [np.full((40, 40), np.nan), np.full((40, 40), 3.0), np.ones((40, 8)), np.ones((4, 40, 40))]
)
def test_what_shows_nothing_is_refused(engine: Click, bad: np.ndarray) -> None:
    with pytest.raises(ScanError, match="slice:"):
        engine.embed(bad.astype(np.float32))


def test_prompts_that_mean_nothing_are_refused(engine: Click, slice_: np.ndarray) -> None:
    with pytest.raises(DataError, match="nothing says where"):
        engine.segment(engine.embed(slice_), Prompts())


def test_planes_say_where_and_what() -> None:
    line = Scribble(((40.0, 10.0), (40.0, 20.0)), positive=False)
    seen = planes(Prompts(scribbles=(line,)).click(10, 50).boxed(Box(5, 6, 7, 9)), np.full((64, 64), 0.25), 64)
    assert seen[0, 10, 50] == 1 and seen[0].sum() == 13  # a disc five pixels across
    assert seen[1, 40, 10:21].all() and not seen[1, :37].any()
    assert seen[2, 10, 50] == 1 > seen[2, 10, 56] > seen[2, 10, 60] > 0
    assert seen[4].sum() == 12 and seen[4, 5, 6] == 1
    assert (seen[5] == 0.25).all()


def test_prompts_follow_the_slice_onto_the_square() -> None:
    cut, letterbox = Cut(10, 20, 110, 70), Letterbox.fit((100, 50), 64)
    mask = np.zeros((120, 90), np.float32)
    mask[60:63, 40:43] = 1
    square = letterbox.apply(cut.cut(mask), "area")
    middle = np.array(np.unravel_index(square.argmax(), square.shape))
    point = on_square(Prompts().click(61, 41), cut, letterbox).points[0]
    assert np.abs(middle - [point.y, point.x]).max() < 1
    outside = on_square(Prompts().click(119, 89), cut, letterbox).points[0]
    assert outside.y == 63 and 0 <= outside.x < 63


def test_the_best_candidate_learns_most() -> None:
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[:, 4:12, 4:12] = True
    good = torch.where(truth, 8.0, -8.0)
    logits = torch.stack([good, -good, torch.zeros_like(good)], 1).requires_grad_()
    loss, parts = loss_of(Answer(logits, torch.tensor([[9.0, -9.0, -9.0]])), truth, ClickLoss(all=0.0))
    assert parts["best_iou"] == parts["iou"] == 1
    assert loss < 0.05
    loss.backward()
    assert logits.grad is not None and float(logits.grad[:, 1:].abs().max()) == 0


def test_an_annotator_begins_with_a_box_or_a_click_and_corrects() -> None:
    truth = np.zeros((32, 32), bool)
    truth[8:20, 8:20] = True
    boxes = Annotating(truth, Annotator(box=1.0, jitter=0.0), np.random.default_rng(0))
    boxes.begin()
    assert boxes.prompts.box == Box(8, 8, 19, 19)
    clicks = Annotating(truth, Annotator(box=0.0, centre=1.0), np.random.default_rng(0))
    clicks.begin()
    assert truth[int(clicks.prompts.points[0].y), int(clicks.prompts.points[0].x)]
    clicks.correct(np.ones_like(truth))
    assert not clicks.prompts.points[1].positive
    clicks.correct(truth)
    assert len(clicks.prompts.points) == 2


def test_one_of_several_lesions_is_asked_for() -> None:
    mask = np.zeros((40, 40), bool)
    mask[2:10, 2:10] = mask[20:30, 20:30] = True
    seen = {int(one_lesion(mask, np.random.default_rng(seed)).sum()) for seed in range(20)}
    assert seen == {64, 100, 164}


def test_the_scouts_encoder_can_be_where_it_begins(recipe: ClickRecipe, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from tumorscope.models.segmenters import DetectorSegmenter

    scout = DetectorSegmenter("unet", "tu-resnet18", (8, 8, 8, 8), (8, 8, 8, 8), 0.0)
    save_file(scout.state_dict(), tmp_path / "scout.safetensors")
    network = ClickNetwork("tu-resnet18", (8, 8, 8, 8), (4, 4, 4, 4), (8, 8, 8, 8))
    begin_with(network, tmp_path / "scout.safetensors")
    assert torch.equal(network.encoder.model.conv1.weight, scout.encoder.model.conv1.weight)
    wider = ClickNetwork("tu-resnet18", (16, 8, 8, 8), (4, 4, 4, 4), (8, 8, 8, 8))
    with pytest.raises(WeightsError, match=r"encoder\.model.* is \(8, "):
        begin_with(wider, tmp_path / "scout.safetensors")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        begin_with(network, tmp_path / "nothing.safetensors")


def test_the_recipe_refuses_what_it_would_not_use() -> None:
    with pytest.raises(RecipeError, match="take 'loss' out of the phases"):
        changed(load("click"), {"phases.0.loss": {"dice": 1.0}})


def test_only_a_finished_run_of_its_own_is_exported(run: Path, tmp_path: Path, tiny: Recipe) -> None:
    with pytest.raises(BundleError, match="holds no finished training"):
        export(tmp_path, tmp_path / "engine")
    facts = json.loads(
        {entry.key: entry.value for entry in onnx.load(run / "engine" / ANSWERER).metadata_props}[METADATA_KEY]
    )
    assert facts["training"]["sources"] and facts["preparation"]["size"] == SIDE
