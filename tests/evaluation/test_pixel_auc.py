from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from tumorscope.errors import DataError
from tumorscope.evaluation.pixel_auc import PixelScores, pixel_auc

maps = hnp.array_shapes(min_dims=1, max_dims=3, max_side=7).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
        hnp.arrays(bool, shape),
    )
)


@settings(max_examples=40)
@given(maps, st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]))
def test_equals_scikit_learn(pair, kind) -> None:
    values, mask = pair
    stored = (values * 255).astype(kind) if np.issubdtype(kind, np.integer) else values.astype(kind)
    found = pixel_auc(stored, mask)
    if mask.all() or not mask.any():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(mask.ravel(), stored.ravel()))


@settings(max_examples=40)
@given(maps)
def test_turning_the_map_round_turns_the_figure_round(pair) -> None:
    values, mask = (pair[0] * 255).astype(np.uint8), pair[1]
    assert pixel_auc(255 - values, mask) == pytest.approx(1 - pixel_auc(values, mask), nan_ok=True)


def test_many_pixels_do_not_overflow() -> None:
    mask = np.zeros((2000, 2000), bool)
    mask[:1000] = True
    assert pixel_auc(mask.astype(np.uint8), mask) == 1
    assert pixel_auc(mask.astype(np.float32), mask) == 1


@settings(max_examples=40)
@given(st.lists(maps, min_size=1, max_size=4), st.sampled_from([np.uint8, np.uint16]))
def test_the_pooled_figure_is_that_of_all_pixels(scans, kind) -> None:
    top = np.iinfo(kind).max
    scores, values, truth = PixelScores(), [], []
    for probability, mask in scans:
        stored = np.rint(probability * top).astype(kind)
        scores.add(stored, mask)
        values.append(stored.ravel())
        truth.append(mask.ravel())
    assert scores.pixels == sum(part.size for part in values)
    expected = pixel_auc(np.concatenate(values), np.concatenate(truth))
    assert scores.auc == pytest.approx(expected, nan_ok=True)


def test_images_and_floats_share_one_scale() -> None:
    scores = PixelScores()
    scores.add(np.array([128], np.uint8), [1])
    scores.add(np.array([128 / 255]), [0])
    scores.add(np.array([128 * 257], np.uint16), [0])
    assert scores.auc == 0.5


def test_threads_lose_no_pixel() -> None:
    scores = PixelScores()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: scores.add(np.full(50, seed / 40), np.arange(50) < 25), range(40)))
    assert scores.pixels == 2000 and scores.auc == 0.5


@pytest.mark.parametrize(
    ("probability", "truth", "match"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "one grid"),
        (np.array([0.1, np.nan]), np.array([0, 1]), "1 probabilities are NaN"),
        (np.array([0.1, 0.2]), np.array([0, 255]), "mask > 0"),
        (np.array(["a", "b"]), np.array([0, 1]), "pass floats"),
    ],
)
def test_wrong_input_is_named(probability, truth, match) -> None:
    with pytest.raises(DataError, match=match):
        pixel_auc(probability, truth)
    with pytest.raises(DataError, match=match):
        PixelScores().add(probability, truth)


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(DataError, match="sigmoid"):
        PixelScores().add(np.array([-2.0, 3.0]), [0, 1])
    assert pixel_auc(np.array([-2.0, 3.0]), [0, 1]) == 1
