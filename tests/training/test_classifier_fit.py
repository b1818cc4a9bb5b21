"""What the settings of a classifier's recipe do to its training, on phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tumorscope.datasets import manifest, phantom
from tumorscope.errors import RecipeError
from tumorscope.training import classifier_fit
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_data import Squares
from tumorscope.training.classifier_recipe import ClassifierRecipe

TINY = {
    "model.width": 0.1,
    "model.head": ["dense 8", "dropout 0.5"],
    "input.size": 32,
    "fit.batch": 8,
    "machine.precision": "fp32",
    "machine.workers": 0,
    "augmentation.noise": 0.5,
}
STILL = {  # nothing is drawn but the order
    "model.head": ["dense 8"],
    "augmentation": {name: 0 for name in ("flip", "rotation", "shift", "shear", "zoom", "brightness")},
}


def recipe_of(**settings: object) -> ClassifierRecipe:
    chosen = TINY | {key.replace("__", "."): one for key, one in settings.items()}
    return recipes.changed(recipes.load("custom-cnn"), chosen)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Squares:
    """Forty phantoms, half with a tumour."""
    folder = phantom.write_dataset(tmp_path_factory.mktemp("scans"), 40, seed=2, masks=False, size=64)
    return Squares.of(manifest.build(folder), recipe_of().preparation, tmp_path_factory.mktemp("cache"))


def fitted(recipe: ClassifierRecipe, squares: Squares, folder: Path) -> tuple[pl.DataFrame, nn.Module, object]:
    """The log, the network and the outcome of a training on 24 scans that 16 choose for."""
    network, _ = classifier_fit.initial(recipe, 1, 0)
    rows = np.random.default_rng(0).permutation(40)  # the folder of those without stands first
    outcome = classifier_fit.fit(network, recipe, squares, rows[:24], rows[24:], folder, seed=0)
    return pl.read_csv(folder / "metrics.csv"), network, outcome


def test_patience_ends_a_phase_and_the_next_begins(squares: Squares, tmp_path: Path) -> None:
    still = {"train": "head", "rate": 1e-30, "epochs": 9, "schedule": "constant"}
    log, _, outcome = fitted(
        recipe_of(**STILL, phases=[{**still, "patience": 2}, {**still, "epochs": 2}]), squares, tmp_path
    )
    assert log["phase"].to_list() == [0, 0, 0, 1, 1] and log["epoch"].to_list() == list(range(5))
    assert outcome.epochs == 5


@pytest.mark.parametrize("monitor", ["loss", "auc", "accuracy", "balanced_accuracy", "f1"])
def test_the_monitored_figure_picks_the_epoch(monitor: str, squares: Squares, tmp_path: Path) -> None:
    phases = [{"epochs": 5, "rate": 1e-2, "optimiser": "adam"}]
    log, _, outcome = fitted(recipe_of(fit__monitor=monitor, phases=phases), squares, tmp_path)
    values = log[f"val_{monitor}"]
    best = values.min() if monitor == "loss" else values.max()
    assert values[outcome.epoch] == best and outcome.value == pytest.approx(best, abs=1e-6)
    equals = log.filter(pl.col(f"val_{monitor}") == best)
    assert log["val_loss"][outcome.epoch] == equals["val_loss"].min()


def test_a_phase_that_spoils_the_weights_is_not_what_is_kept(squares: Squares, tmp_path: Path) -> None:
    still = {"epochs": 1, "train": "head", "rate": 1e-30, "optimiser": "sgd", "momentum": 0, "schedule": "constant"}
    recipe = recipe_of(**STILL, fit__monitor="loss", phases=[still, {**still, "rate": 50.0}])
    log, network, outcome = fitted(recipe, squares, tmp_path)
    assert log["val_loss"][1] > log["val_loss"][0] and outcome.epoch == 0
    first = classifier_fit.initial(recipe, 1, 0)[0]
    assert torch.equal(network.head.classes.weight, first.head.classes.weight)


def test_gathered_batches_are_one_large_batch(squares: Squares, tmp_path: Path) -> None:
    head = {"epochs": 2, "train": "head", "rate": 0.1, "optimiser": "sgd", "momentum": 0, "schedule": "constant"}
    both = []
    for batch, accumulate in ((4, 2), (8, 1)):
        recipe = recipe_of(**STILL, fit__batch=batch, fit__accumulate=accumulate, phases=[head])
        log, network, _ = fitted(recipe, squares, tmp_path / str(batch))
        both.append((log["step"].to_list(), network.head.dense0.weight.detach()))
    assert both[0][0] == both[1][0] == [3, 6]
    assert torch.allclose(both[0][1], both[1][1], atol=1e-6)


def test_the_gradient_is_clipped(squares: Squares, tmp_path: Path) -> None:
    step = {"epochs": 1, "train": "head", "rate": 1.0, "optimiser": "sgd", "momentum": 0, "schedule": "constant"}
    for clip in (0.0, 1e-3):
        recipe = recipe_of(**STILL, fit__batch=24, fit__clip=clip, phases=[step])
        before = classifier_fit.initial(recipe, 1, 0)[0].head.state_dict()
        after = fitted(recipe, squares, tmp_path / str(clip))[1].head.state_dict()
        moved = sum(float((after[name] - before[name]).square().sum()) for name in before) ** 0.5
        assert moved == pytest.approx(clip, rel=1e-3) if clip else moved > 0.01


def test_averaged_weights_are_kept(squares: Squares, tmp_path: Path) -> None:
    phase = [{"epochs": 3, "rate": 1e-2, "schedule": "constant"}]
    (_, plain, _), (_, averaged, _) = (
        fitted(recipe_of(fit__ema=ema, fit__monitor="loss", phases=phase), squares, tmp_path / str(ema))
        for ema in (0.0, 0.9)
    )
    start = classifier_fit.initial(recipe_of(), 1, 0)[0].state_dict()
    far = [
        sum(float((one.state_dict()[name] - start[name]).square().sum()) for name in start if "weight" in name)
        for one in (plain, averaged)
    ]
    assert 0 < far[1] < far[0]


@pytest.mark.parametrize(("balance", "steps"), [("none", 3), ("loss", 3), ("over", 4), ("under", 2)])
def test_classes_are_balanced(balance: str, steps: int, squares: Squares, tmp_path: Path) -> None:
    sick, well = (np.flatnonzero(squares.truth == label) for label in (1, 0))
    rows = np.concatenate([well[:16], sick[:8]])
    recipe = recipe_of(**STILL, data__balance=balance, phases=[{"epochs": 1, "train": "head", "rate": 1e-30}])
    network, _ = classifier_fit.initial(recipe, 1, 0)
    nn.init.zeros_(network.head.classes.weight)
    nn.init.constant_(network.head.classes.bias, 1.0)
    rest = np.concatenate([well[16:], sick[8:]])
    classifier_fit.fit(network, recipe, squares, rows, rest, tmp_path, seed=0)
    log = pl.read_csv(tmp_path / "metrics.csv")
    assert log["step"].to_list() == [steps]
    cost = np.log1p(np.exp([1.0, -1.0]))  # of a scan without and with a tumour, at a logit of 1
    weight = {"none": [16, 8], "loss": [12, 12], "over": [16, 16], "under": [8, 8]}[balance]
    assert log["train_loss"][0] == pytest.approx(np.average(cost, weights=weight), rel=1e-5)


def test_focal_loss_is_less_than_cross_entropy(squares: Squares, tmp_path: Path) -> None:
    still = [{"epochs": 1, "train": "head", "rate": 1e-30}]
    losses = [
        fitted(recipe_of(**STILL, loss__kind=kind, phases=still), squares, tmp_path / kind)[0]["val_loss"][0]
        for kind in ("focal", "cross-entropy")
    ]
    assert 0.15 * losses[1] < losses[0] < 0.4 * losses[1]  # a quarter, near one half


def test_the_own_network_has_no_weights_to_begin_with() -> None:
    with pytest.raises(RecipeError, match=r"model\.pretrained: there are none of custom-cnn"):
        classifier_fit.initial(recipe_of(model__pretrained="yes"), 1, 0)


def test_first_weights_hang_on_the_seed_alone() -> None:
    one, same, other = (classifier_fit.initial(recipe_of(), 1, seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.classes.weight"], other["head.classes.weight"])


def test_weights_of_another_run_can_be_the_first(tmp_path: Path) -> None:
    from tumorscope.training import engine

    other = classifier_fit.initial(recipe_of(), 1, 9)[0]
    engine.write_weights(other.backbone, tmp_path / "mine.safetensors")
    recipe = recipe_of(model__pretrained=str(tmp_path / "mine.safetensors"))
    network, origin = classifier_fit.initial(recipe, 1, 0)
    assert "mine.safetensors" in origin and "100" in origin
    assert all(
        torch.equal(value, other.backbone.state_dict()[name]) for name, value in network.backbone.state_dict().items()
    )


def test_answers_come_in_the_order_asked_for(squares: Squares) -> None:
    network = classifier_fit.initial(recipe_of(), 1, 0)[0]
    rows = np.array([7, 3, 30, 7])
    said = classifier_fit.answers(network, squares, rows)
    assert said.shape == (4,) and said.dtype == np.float64 and said[0] == said[3] and not network.training
    assert classifier_fit.answers(network, squares, rows[:0]).shape == (0,)
    with torch.no_grad():
        image = torch.from_numpy(squares.cache.image(3))[None, None]
        assert said[1] == pytest.approx(float(network(image).sigmoid()), abs=1e-6)
