"""KID: the estimate against its definition, the floor, and noise above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import DataError
from tumorscope.evaluation.kid import kid, mmd


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = np.mean([kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j])
    return float(xx + yy - 2 * np.mean([kernel(a, b) for a in x for b in y]))


@given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_estimate_is_the_definition(n: int, m: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, width)), rng.normal(size=(m, width)) + 0.5
    assert mmd(x, y) == pytest.approx(by_definition(x, y), abs=1e-9)
    assert mmd(x, y) == pytest.approx(mmd(y, x), abs=1e-9)


def test_the_estimate_is_unbiased() -> None:
    """Over many small sets of one kind it averages zero, which the biased estimate does not."""
    rng = np.random.default_rng(0)
    values = [mmd(*rng.normal(size=(2, 10, 8))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_one_kind_lies_inside_the_floor_and_another_above() -> None:
    rng = np.random.default_rng(1)
    real, same, other = rng.normal(size=(120, 16)), rng.normal(size=(100, 16)), rng.normal(0.6, 1, (100, 16))
    assert kid(same, real, features="drawn").within_floor is True
    found = kid(other, real, features="drawn")
    assert found.within_floor is False and found.value > found.floor_high + 5 * found.floor_deviation
    assert "drawn" in str(found) and found.pictures <= 60


def test_groups_stay_on_one_side_of_the_floor() -> None:
    """Twins on both sides would make the floor negative: the one finds itself in the other."""
    rng = np.random.default_rng(2)
    once = rng.normal(size=(20, 64))
    real = np.concatenate([once, once])
    apart = kid(real, real, features="x", groups=[*range(20), *range(20)])
    torn = kid(real, real, features="x")
    assert torn.floor < apart.floor


def test_few_real_pictures_have_no_floor() -> None:
    rng = np.random.default_rng(3)
    found = kid(rng.normal(size=(20, 4)), rng.normal(size=(6, 4)), features="x")
    assert found.floor is None and found.within_floor is None and found.deviation > 0
    assert "too few" in str(found)


def test_same_seed_same_figures() -> None:
    rng = np.random.default_rng(4)
    sets = rng.normal(size=(2, 30, 4))
    assert kid(*sets, features="x", seed=5) == kid(*sets, features="x", seed=5)


@pytest.mark.parametrize(
    ("made", "real", "words"),
    [
        (np.zeros((3, 4)), np.zeros((9, 4)), "the made pictures are 3"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "one extractor"),
        (np.zeros(9), np.zeros((9, 4)), "shape"),
        (np.full((9, 4), np.nan), np.zeros((9, 4)), "no numbers"),
    ],
)
def test_bad_input_is_one_line(made: np.ndarray, real: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        kid(made, real, features="x")


def test_real_scans_against_each_other_and_against_noise(shared_data) -> None:
    from tumorscope import io
    from tumorscope.imaging.preparation import Preparation
    from tumorscope.inference.embedding import scout_features

    files = sorted((shared_data / "cheng" / "images").glob("*.jpg"))[::50]
    scans = np.stack([Preparation(size=64).prepare(io.read(file).pixels).pixels for file in files])
    extract = scout_features(threads=1)
    seen = extract(scans)
    assert kid(seen[::2], seen[1::2], features=extract.name).within_floor
    noise = kid(extract(np.random.default_rng(0).random(scans.shape)), seen, features=extract.name)
    assert noise.value > 10 * noise.floor_high
