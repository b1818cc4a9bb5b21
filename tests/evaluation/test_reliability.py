from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import brier, ece
from tumorscope.evaluation.reliability import brier_skill, reliability

rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


@given(rows, st.integers(1, 20), st.sampled_from(["width", "mass"]))
@settings(deadline=None, max_examples=120)
def test_laws(pairs, bins, binning):
    labels, values = np.array(pairs).T
    diagram = reliability(labels, values, bins, binning)
    assert diagram.count.sum() == len(labels)
    assert (diagram.lower <= diagram.stated + 1e-12).all() and (diagram.stated <= diagram.upper + 1e-12).all()
    assert (diagram.low <= diagram.observed).all() and (diagram.observed <= diagram.high).all()
    parts = diagram.miscalibration - diagram.resolution + diagram.uncertainty + diagram.within
    assert parts == pytest.approx(brier(labels, values), abs=1e-12)
    assert diagram.bias == pytest.approx(values.mean() - labels.mean(), abs=1e-9)
    assert 0 <= diagram.ece <= diagram.mce + 1e-12 <= 1 + 1e-9
    if binning == "width":
        assert diagram.ece == pytest.approx(ece(labels, values, bins), abs=1e-12)


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=40)
def test_bins_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=200)
    labels = rng.uniform(size=200) < values
    observed, stated = calibration_curve(labels, values, n_bins=8)
    diagram = reliability(labels, values, 8)
    np.testing.assert_allclose(diagram.observed, observed)
    np.testing.assert_allclose(diagram.stated, stated)


def test_murphys_parts_by_hand():
    # two stated values, each in a bin of its own: .2 came true 1 in 4, .8 came true 2 in 2
    labels, values = [1, 0, 0, 0, 1, 1], [0.2] * 4 + [0.8] * 2
    diagram = reliability(labels, values, 10)
    assert diagram.miscalibration == pytest.approx((4 * 0.05**2 + 2 * 0.2**2) / 6)
    assert diagram.resolution == pytest.approx((4 * 0.25**2 + 2 * 0.5**2) / 6)
    assert diagram.uncertainty == pytest.approx(0.25)
    assert diagram.within == pytest.approx(0, abs=1e-12)
    assert brier_skill(labels, values) == pytest.approx(1 - brier(labels, values) / 0.25)


def test_bins_of_equal_mass_hold_equal_numbers_and_part_no_ties():
    values = np.concatenate([np.zeros(50), np.linspace(0.1, 1, 50)])
    diagram = reliability(np.zeros(100), values, 4, "mass")
    assert diagram.count[0] >= 50 and diagram.count.sum() == 100
    edge = reliability([0] * 6, [0, 0, 0.5, 0.5, 1, 1], 2, "mass")
    assert edge.count.tolist() == [2, 4] and edge.lower.tolist() == [0, 0.5]  # a bin takes in its lower edge
    assert reliability([0, 1], [0.3, 0.3], 5, "mass").count.tolist() == [2]
    even = reliability(np.zeros(40), np.linspace(0, 1, 40), 4, "mass")
    assert even.count.tolist() == [10, 10, 10, 10]


def test_words():
    sure = reliability([0, 1] * 50, [0.0, 1.0] * 50)
    assert "taken at their word" in sure.sentence()
    assert "too high in total" in reliability([0, 0, 0, 1], [0.9] * 4).sentence()
    assert "too low in total" in reliability([1, 1, 1, 0], [0.1] * 4).sentence()
    both = reliability([0] * 10 + [1] * 10, [0.3] * 10 + [0.7] * 10)
    assert "in both directions" in both.sentence()


def test_groups_widen_the_interval():
    labels, values = [1, 1, 1, 0] * 5, [0.7] * 20
    alone, tied = reliability(labels, values), reliability(labels, values, groups=np.repeat(range(5), 4))
    copies = reliability(np.repeat(labels, 3), np.repeat(values, 3), groups=np.repeat(range(20), 3))
    assert tied.low[0] == pytest.approx(alone.low[0], abs=0.2)
    assert copies.low[0] == pytest.approx(alone.low[0], abs=0.02)


def test_no_skill_and_one_class():
    assert brier_skill([0, 1], [0.5, 0.5]) == 0
    assert math.isnan(brier_skill([1, 1], [0.5, 0.6]))


@pytest.mark.parametrize(
    ("labels", "values", "options", "finding"),
    [
        ([0, 1], [-2.0, 2.0], {}, "sigmoid"),
        ([0, 1], [0.5, math.nan], {}, "NaN"),
        ([0, 1], [0.5, 0.6], {"bins": 0}, "bins"),
        ([0, 1], [0.5, 0.6], {"binning": "widht"}, "did you mean 'width'"),
    ],
)
def test_wrong_input_is_named(labels, values, options, finding):
    with pytest.raises(DataError, match=finding):
        reliability(labels, values, **options)
