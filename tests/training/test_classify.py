"""Rates, optimisers, losses and figures of a classifier, against hand counts, formulas and other libraries."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from tumorscope.training.classifier_recipe import Loss, Phase
from tumorscope.training.classify import ADAM_EPS, figures, loss_of, optimiser_of, probabilities, rate_at

SMALL = settings(max_examples=40)


def phase(**values: object) -> Phase:
    return Phase(epochs=1, **values)


@pytest.mark.parametrize(
    ("values", "step", "rate"),
    [
        # lr0 * rate ** (t / 1000), in steps, continuous (RECIPES.md)
        ({"rate": 1e-4, "schedule": "exponential", "decay": 0.9}, 0, 1e-4),
        ({"rate": 1e-4, "schedule": "exponential", "decay": 0.9}, 500, 9.486832980505138e-05),
        ({"rate": 1e-4, "schedule": "exponential", "decay": 0.9}, 1000, 9e-5),
        ({"rate": 1e-5, "schedule": "exponential", "decay": 0.85}, 2000, 7.225e-6),
        ({"rate": 1e-5, "schedule": "constant"}, 1234, 1e-5),
        ({"rate": 1.0, "final_rate": 0.2}, 0, 1.0),
        ({"rate": 1.0, "final_rate": 0.2}, 1000, 0.6),
        ({"rate": 1.0, "final_rate": 0.2}, 500, 0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5))),
        ({"rate": 1.0, "final_rate": 0.2}, 2000, 0.2),
        ({"rate": 1.0, "final_rate": 0.2}, 9999, 0.2),
        # warm-up: a tenth of 2000 steps, evenly, then the schedule from its beginning
        ({"rate": 1.0, "warmup": 0.1}, 0, 0.005),
        ({"rate": 1.0, "warmup": 0.1}, 99, 0.5),
        ({"rate": 1.0, "warmup": 0.1}, 199, 1.0),
        ({"rate": 1.0, "warmup": 0.1}, 200, 1.0),
        ({"rate": 1.0, "warmup": 0.1}, 1100, 0.5),
        ({"rate": 1e-4, "schedule": "exponential", "decay": 0.9, "warmup": 0.1}, 1200, 9e-5),
        ({"rate": 1.0, "schedule": "constant", "warmup": 0.1}, 200, 1.0),
    ],
)
def test_rates(values: dict, step: int, rate: float) -> None:
    assert rate_at(phase(**values), step, 2000) == pytest.approx(rate, rel=1e-12)


@given(
    steps=st.integers(1, 60),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["constant", "exponential", "cosine"]),
)
@SMALL
def test_a_rate_rises_then_never_does_again(steps: int, warmup: float, schedule: str) -> None:
    one = phase(rate=0.5, warmup=warmup, schedule=schedule, decay=0.01)
    rates = [rate_at(one, step, steps) for step in range(steps)]
    top = round(warmup * steps)
    assert all(0 <= rate <= 0.5 for rate in rates) and max(rates) == pytest.approx(0.5)
    assert all(a < b for a, b in pairwise(rates[:top]))
    assert all(a >= b for a, b in pairwise(rates[max(0, top - 1) :]))


class Tiny(nn.Module):
    """A convolution, a norm and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.dense = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 1)


def test_only_matrices_decay() -> None:
    network = Tiny()
    network.conv.bias.requires_grad_(False)
    optimiser = optimiser_of(network, phase(rate=0.1, weight_decay=0.02))
    decayed, plain = optimiser.param_groups
    assert {id(p) for p in decayed["params"]} == {id(network.conv.weight), id(network.dense.weight)}
    assert {id(p) for p in plain["params"]} == {id(network.norm.weight), id(network.norm.bias), id(network.dense.bias)}
    assert (decayed["weight_decay"], plain["weight_decay"], decayed["lr"]) == (0.02, 0.0, 0.1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.AdamW),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("sgd", torch.optim.SGD),
    ],
)
def test_optimisers_by_name(name: str, kind: type) -> None:
    optimiser = optimiser_of(Tiny(), phase(optimiser=name, momentum=0.8))
    assert type(optimiser) is kind
    if name == "sgd":
        assert optimiser.param_groups[0]["momentum"] == 0.8 and optimiser.param_groups[0]["nesterov"]
    else:
        assert optimiser.param_groups[0]["eps"] == ADAM_EPS == 1e-7  # Keras
    assert not optimiser_of(Tiny(), phase(optimiser="sgd", momentum=0)).param_groups[0]["nesterov"]


def test_the_decay_of_adam_is_decoupled_from_its_gradient() -> None:
    """One step of AdamW: w (1 - rate · decay) - rate · sign(gradient), as the first step's moments cancel."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    optimiser = optimiser_of(network, phase(optimiser="adam", rate=0.1, weight_decay=0.5))
    network.weight.grad = torch.full((1, 1), 3.0)
    optimiser.step()
    assert float(network.weight.detach()) == pytest.approx(2 * (1 - 0.1 * 0.5) - 0.1, abs=1e-6)


LOGITS = [-30.0, -3.0, -0.5, 0.0, 0.2, 1.0, 4.0, 30.0]


@pytest.mark.parametrize("label", [0, 1])
def test_binary_cross_entropy_is_torchs(label: int) -> None:
    logits, labels = torch.tensor(LOGITS)[:, None], torch.full((len(LOGITS),), label)
    ours = loss_of(logits, labels, Loss())
    assert torch.allclose(ours, F.binary_cross_entropy_with_logits(logits[:, 0], labels.float()))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_torchvisions(gamma: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 1) * 3, torch.randint(0, 2, (50,))
    ours = loss_of(logits, labels, Loss(kind="focal", gamma=gamma))
    theirs = sigmoid_focal_loss(logits[:, 0], labels.float(), alpha=-1, gamma=gamma, reduction="mean")
    assert torch.allclose(ours, theirs, rtol=1e-5)


def test_focal_loss_of_several_classes_is_its_formula() -> None:
    """(1 - p) ** gamma · -ln p, of p = 0.5 and 0.2 with gamma 2: 0.25 ln 2 and 0.64 ln 5."""
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]).log()
    ours = float(loss_of(logits, torch.tensor([0, 2]), Loss(kind="focal")))
    assert ours == pytest.approx((0.25 * math.log(2) + 0.64 * math.log(5)) / 2, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_cross_entropy_of_classes_with_smoothing_is_torchs(classes: int) -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(30, classes) * 2, torch.randint(0, classes, (30,))
    for smoothing in (0.0, 0.1):
        ours = loss_of(logits, labels, Loss(smoothing=smoothing))
        assert torch.allclose(ours, F.cross_entropy(logits, labels, label_smoothing=smoothing))


def test_two_logits_and_their_difference_are_one_loss() -> None:
    torch.manual_seed(2)
    pair, labels = torch.randn(20, 2), torch.randint(0, 2, (20,))
    one = (pair[:, 1] - pair[:, 0])[:, None]
    for settings_ in (Loss(), Loss(kind="focal"), Loss(smoothing=0.2)):
        assert torch.allclose(loss_of(one, labels, settings_), loss_of(pair, labels, settings_))
    assert torch.allclose(probabilities(one), probabilities(pair)[:, 1])


def test_weights_count_rows_and_the_mean_is_over_rows() -> None:
    logits, labels = torch.zeros(4, 1), torch.tensor([0, 0, 0, 1])
    weighted = float(loss_of(logits, labels, Loss(), torch.tensor([2 / 3, 2.0])))
    assert weighted == pytest.approx(math.log(2))  # weights of 1 on average change nothing where all rows cost alike
    dear = float(loss_of(logits, labels, Loss(), torch.tensor([0.0, 4.0])))
    assert dear == pytest.approx(math.log(2))


def test_a_loss_is_counted_in_fp32() -> None:
    loss = loss_of(torch.tensor([[60.0]], dtype=torch.float16), torch.tensor([0]), Loss())
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(60.0)


@given(seed=st.integers(0, 5000), count=st.integers(4, 60))
@SMALL
def test_binary_figures_are_scikit_learns(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, count - 2)])
    said = np.round(rng.random(count), 1)  # with ties
    found, answer = figures(said, labels), (said >= 0.5).astype(int)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, answer))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, answer))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, answer, zero_division=0))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, said))
    both = metrics.jaccard_score(labels, answer, average=None, labels=[0, 1], zero_division=0)
    assert found["iou"] == pytest.approx(both.mean())  # of both classes, as Keras' BinaryIoU and the reference


@given(seed=st.integers(0, 5000), classes=st.integers(3, 5))
@SMALL
def test_figures_of_several_classes_are_scikit_learns(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 20)])
    said = rng.dirichlet(np.ones(classes), len(labels))
    found, answer = figures(said, labels), said.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, answer))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, answer))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, answer, average="macro", zero_division=0))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, said, multi_class="ovr", average="macro"))


def test_what_the_scans_cannot_tell_is_no_number() -> None:
    one_class = figures(np.array([0.2, 0.8]), np.array([1, 1]))
    assert math.isnan(one_class["auc"]) and one_class["accuracy"] == 0.5
    absent = figures(np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]), np.array([0, 1]))
    assert absent["accuracy"] == 1.0 and absent["balanced_accuracy"] == 1.0 and absent["auc"] == 1.0
