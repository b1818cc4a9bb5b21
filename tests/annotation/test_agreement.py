"""Agreement of two annotators: symmetric, whole where they are equal, and scikit-learn's kappa."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from tumorscope.annotation import rle
from tumorscope.annotation.agreement import agreement, cohen_kappa
from tumorscope.annotation.records import Annotation, Lesion, ScanFacts
from tumorscope.errors import DataError
from tumorscope.evaluation.boundaries import surface_dice
from tumorscope.evaluation.segmentation import dice
from tumorscope.scan import Scan

SHAPE = (9, 9)
MASKS = st.lists(st.tuples(arrays(bool, SHAPE), arrays(bool, SHAPE)), min_size=1, max_size=5)


def record(case, who, mask, *, spacing=None, decision="accepted", **more):
    facts = ScanFacts.of(Scan.of(np.zeros(mask.shape), spacing=spacing))
    lesions = (Lesion(mask=rle.encode(mask)),) if mask.any() else ()
    return Annotation(case_id=case, scan=facts, annotator=who, lesions=lesions, decision=decision, **more)


def both(pairs, **more):
    return [
        record(str(n), who, mask, **more) for n, pair in enumerate(pairs) for who, mask in zip("ab", pair, strict=True)
    ]


def square(row, column, side=4, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[row : row + side, column : column + side] = True
    return mask


@settings(max_examples=20)
@given(MASKS)
def test_figures_are_those_of_evaluation_and_the_same_both_ways(pairs):
    one, other = (agreement(both(pairs), *names, tolerance=1, rounds=20) for names in ("ab", "ba"))
    assert one.dice.value == pytest.approx(np.mean([dice(*pair) for pair in pairs]))
    assert one.surface_dice.value == pytest.approx(np.mean([surface_dice(*pair, tolerance=1) for pair in pairs]))
    for name in ("dice", "marked_dice", "surface_dice", "lesions", "kappa"):
        assert getattr(one, name).value == pytest.approx(getattr(other, name).value, nan_ok=True)


@settings(max_examples=20)
@given(st.lists(arrays(bool, SHAPE), min_size=1, max_size=4))
def test_equal_masks_agree_wholly(masks):
    found = agreement(both([(mask, mask) for mask in masks]), "a", "b", rounds=20)
    assert found.dice.value == found.surface_dice.value == 1
    assert found.kappa.value == 1 or math.isnan(found.kappa.value)
    assert found.marked_dice.value == 1 or not any(mask.any() for mask in masks)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_kappa_is_the_one_of_scikit_learn(answers):
    first, second = np.array(answers).T
    if len(set(first) | set(second)) < 2:
        assert math.isnan(cohen_kappa(first, second))
    else:
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_of_cohen_s_own_kind_by_hand():
    yes_yes, yes_no, no_yes, no_no = 20, 5, 10, 15
    first = [1] * 25 + [0] * 25
    second = [1] * yes_yes + [0] * yes_no + [1] * no_yes + [0] * no_no
    assert cohen_kappa(first, second) == pytest.approx(0.4)  # p = 0.7, e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5


def test_the_rule_for_scans_that_both_leave_empty():
    pairs = [(square(2, 2), square(2, 2)), (square(0, 0, 0), square(0, 0, 0))]
    values = {
        rule: agreement(both(pairs), "a", "b", empty=rule, rounds=20).dice.value for rule in ("one", "nan", "zero")
    }
    assert values == {"one": 1.0, "nan": 1.0, "zero": 0.5}
    found = agreement(both([*pairs, (square(2, 2), square(0, 0, 0))]), "a", "b", rounds=20)
    assert (found.dice.value, found.marked_dice.value) == (pytest.approx(2 / 3), 0.5)
    assert "count as full agreement (1): 1 here" in found.sentence()
    with pytest.raises(DataError, match="rule"):
        agreement(both(pairs), "a", "b", empty="half")


def test_lesions_are_matched_one_by_one():
    first = square(0, 0, 3) | square(5, 5, 3)
    found = agreement(both([(first, square(0, 0, 3))]), "a", "b", rounds=20)
    assert found.rows.select("a_lesions", "b_lesions", "matched").rows() == [(2, 1, 1)]
    assert found.lesions.value == pytest.approx(2 / 3)


def test_distances_are_in_mm_only_where_all_spacings_are_known():
    shifted = (square(2, 2), square(2, 4))
    in_mm = agreement(both([shifted], spacing=(0.5, 0.5)), "a", "b", tolerance=1, rounds=20)
    assert (in_mm.unit, in_mm.surface_dice.value) == ("mm", 1.0)
    mixed = both([shifted], spacing=(0.5, 0.5)) + [record("x", who, square(2, 2)) for who in "ab"]
    in_px = agreement(mixed, "a", "b", tolerance=1, rounds=20)
    assert in_px.unit == "px"
    assert in_px.surface_dice.value < 1


def test_groups_are_drawn_together():
    pairs = [(square(2, 2), square(2, 2))] * 6 + [(square(2, 2), square(0, 0))] * 6
    alone = agreement(both(pairs), "a", "b", rounds=200)
    grouped = agreement(
        both(pairs), "a", "b", rounds=200, groups={str(n): "left" if n < 6 else "right" for n in range(12)}
    )
    assert grouped.dice.value == alone.dice.value
    assert grouped.dice.high - grouped.dice.low > alone.dice.high - alone.dice.low
    single = agreement(both(pairs), "a", "b", rounds=20, groups={str(n): "one" for n in range(12)})
    assert not single.dice.bounded


def test_only_the_last_decided_annotation_counts():
    old = record("x", "a", square(5, 5), modified="2026-01-01T00:00:00Z")
    new = record("x", "a", square(2, 2), modified="2026-01-02T00:00:00Z")
    draft = record("x", "a", square(0, 0), modified="2026-01-03T00:00:00Z", decision="open")
    given = [
        new,
        old,
        draft,
        record("x", "b", square(2, 2)),
        record("y", "a", square(1, 1)),
        record("x", "c", square(0, 0)),
    ]
    found = agreement(given, "a", "b", rounds=20)
    assert found.dice.value == 1
    assert found.left_out == ("y: only a decided on it",)


def test_masks_of_two_sizes_are_left_out_by_name():
    pairs = [record("x", "a", square(1, 1)), record("x", "b", square(1, 1, shape=(8, 9)))]
    with pytest.raises(DataError, match="9x9"):
        agreement(pairs, "a", "b")
    found = agreement([*pairs, *both([(square(1, 1), square(1, 1))])], "a", "b", rounds=20)
    assert found.rows.height == 1
    assert found.left_out[0].startswith("x: ")


def test_names_that_share_nothing_are_refused():
    given = both([(square(1, 1), square(1, 1))])
    with pytest.raises(DataError, match="annotators: a, b"):
        agreement(given, "a", "z")
    with pytest.raises(DataError, match="twice"):
        agreement(given, "a", "a")
    with pytest.raises(DataError, match="share no scan"):
        agreement([given[0].revised(case_id="q"), given[1]], "a", "b")


def test_the_answer_is_plain_data_and_one_sentence():
    found = agreement(both([(square(0, 0, 0), square(0, 0, 0))]), "a", "b", rounds=20)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["kappa"] == {"value": None, "low": None, "high": None}
    assert plain["cases"] == 1
    assert plain["sentence"].count("\n") == 0
    assert plain["sentence"].startswith("a and b on 1 scan: Dice 1.000 (")
    assert "undefined where at least one marked something" in plain["sentence"]
    assert "poor" in replace(found, kappa=replace(found.kappa, value=-0.1)).sentence()
