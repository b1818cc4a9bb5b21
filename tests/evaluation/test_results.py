from __future__ import annotations

import json
import math

import pytest

from tumorscope.evaluation.results import METRICS, Result, known
from tumorscope.evaluation.scoring import DECIDED, MULTICLASS, PER_CLASS, RANKED, STATED
from tumorscope.evaluation.statistics import Interval


@pytest.mark.parametrize("name", [*DECIDED, *RANKED, *STATED, *MULTICLASS, *(f"{one} of glioma" for one in PER_CLASS)])
def test_every_metric_has_a_title_and_a_sentence(name):
    result = Result(name, Interval(0.5, 0.4, 0.6), 0.3)
    assert result.title in result.sentence().lower() or result.title[1:] in result.sentence()
    assert "{" not in result.sentence() and "0.400 to 0.600" in result.sentence()
    assert name.partition(" of ")[0] in METRICS


def test_the_held_value_stands_in_the_title():
    result = Result("sensitivity_at_specificity", Interval(0.5, 0.4, 0.6), fixed=0.9)
    assert result.title == "sensitivity at 90 % specificity" and "at most 10 % false alarms" in result.sentence()


def test_beyond_trivial():
    assert Result("roc_auc", Interval(0.7, 0.6, 0.8), 0.5).beyond_trivial
    assert not Result("roc_auc", Interval(0.55, 0.45, 0.65), 0.5).beyond_trivial
    assert Result("brier", Interval(0.1, 0.05, 0.15), 0.25).beyond_trivial
    assert not Result("roc_auc", Interval(math.nan, math.nan, math.nan), 0.5).beyond_trivial


def test_json_holds_no_nan():
    result = Result("mcc", Interval(math.nan, math.nan, math.nan, reason="tumour is never said"))
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["value"] is None and "never said" in text
    assert known({"a": [math.inf, (1.0, math.nan)]}) == {"a": [None, [1.0, None]]}
