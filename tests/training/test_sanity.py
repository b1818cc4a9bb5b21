"""The sanity check: methods that ignore the weights are found out, and the weights go from the top down."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tumorscope.datasets import phantom
from tumorscope.errors import DataError
from tumorscope.models.classifiers import Classifier
from tumorscope.training.sanity import STAGES, randomised, rank_correlation, sanity

SIDE = 48


def fresh() -> nn.Module:
    return Classifier.of("custom-cnn", ["dense 8"], outputs=1, channels=1, width=0.1).eval()


@pytest.fixture(scope="module")
def squares() -> list[np.ndarray]:
    images = [phantom.make(seed, size=SIDE).image for seed in range(3)]
    return [image[None].astype(np.float32) / 255 for image in images]


def drawn(weights: torch.Tensor) -> np.ndarray:
    """A map that follows from some weights alone."""
    seed = abs(hash(weights.numpy().tobytes())) % 2**32
    return np.random.default_rng(seed).random((SIDE, SIDE), np.float32)


def test_an_edge_map_is_found_out(squares: list[np.ndarray]) -> None:
    def edges(_network: nn.Module, square: np.ndarray) -> np.ndarray:
        return np.abs(cv2.Laplacian(square[0], cv2.CV_32F))

    found = sanity(edges, fresh(), fresh, squares)
    assert not found.trusted and [stage.mean for stage in found.stages] == pytest.approx([1.0] * len(STAGES))
    assert "Edges is untrustworthy" in found.sentence("Edges")


def test_a_map_that_hangs_on_the_weights_passes_and_falls_where_they_lie(squares: list[np.ndarray]) -> None:
    network = fresh()
    for layer, kept in (("head.classes", 0), ("backbone.9", 1), ("backbone.0", 2)):  # stages that leave it alone

        def explain(other: nn.Module, _square: np.ndarray, name: str = layer) -> np.ndarray:
            found = next(module for key, module in other.named_modules() if key == name)
            return drawn(next(iter(found.parameters())).data)

        found = sanity(explain, network, fresh, squares, seeds=1)
        assert [stage.mean == pytest.approx(1) for stage in found.stages] == [True] * kept + [False] * (3 - kept)
        assert found.trusted and abs(found.stages[-1].mean) < 0.1
        assert "what the network learnt" in found.sentence("This")


def test_the_networks_are_left_alone_and_the_draws_repeat(squares: list[np.ndarray]) -> None:
    network = fresh()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()

    def explain(other: nn.Module, square: np.ndarray) -> np.ndarray:
        return drawn(other.head.classes.weight.data)

    twice = [sanity(explain, network, fresh, squares) for _ in range(2)]
    assert twice[0] == twice[1] and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_all_weights_and_statistics_are_replaced() -> None:
    one, two = fresh(), fresh()
    one.backbone[0][1].running_mean += 5
    whole = randomised(one, two, 1.0).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in two.state_dict().items())
    head = randomised(one, two, 0.0).state_dict()
    changed = {name.split(".")[0] for name, value in one.state_dict().items() if not torch.equal(value, head[name])}
    assert changed == {"head"}


def test_maps_without_contrast() -> None:
    assert math.isnan(rank_correlation(np.zeros((3, 3)), np.eye(3))) and rank_correlation(np.eye(3), np.zeros(9)) == 0
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    with pytest.raises(DataError, match="bring both to one grid"):
        rank_correlation(np.eye(2), np.eye(3))
    blank = sanity(lambda *_: np.zeros((2, 2)), fresh(), fresh, [None], seeds=1)
    assert not blank.trusted and "cannot be told" in blank.sentence("This")
    with pytest.raises(DataError, match="there are no scans"):
        sanity(lambda *_: np.eye(2), fresh(), fresh, [])
