from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from tumorscope.audit.crossval import Task, balanced_accuracy
from tumorscope.audit.measure import Measured
from tumorscope.errors import DataError

LABELS = [row // 3 % 2 for row in range(150)]
GROUPS = [row // 3 for row in range(150)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=50))
def test_balanced_accuracy_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, said = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(truth)) < 2:
        assert math.isnan(balanced_accuracy(truth, said))
        return
    kept = np.where(np.isin(said, truth), said, truth[0])  # scikit-learn warns of answers that are no class
    assert balanced_accuracy(truth, kept) == pytest.approx(balanced_accuracy_score(truth, kept))


def test_nobody_is_judged_by_a_model_that_saw_its_family(made: Callable[..., Measured]) -> None:
    task = Task.of(made(LABELS, GROUPS).table)
    own = np.array(GROUPS, float)[:, None]  # the only clue is the family itself: a leak would be perfect
    score = task.score([task.predict(KNeighborsClassifier(1), own)], rounds=50)
    assert score.accuracy.value < 0.6
    assert (score.scans, score.groups) == (150, 50)


def test_a_clear_trait_is_found_and_noise_is_not(made: Callable[..., Measured]) -> None:
    task = Task.of(made(LABELS, GROUPS).table)
    clear = np.array(LABELS)[:, None] + np.random.default_rng(0).normal(0, 0.1, (150, 1))
    found = task.assess(KNeighborsClassifier(3), clear, seeds=2)
    assert found.beyond_chance
    assert found.accuracy.low > 0.95
    assert found.sentence("It alone").startswith("It alone predict the label with 100 % accuracy (95 % interval")
    none = task.assess(KNeighborsClassifier(3), np.random.default_rng(1).normal(size=(150, 1)), seeds=2)
    assert not none.beyond_chance
    assert "tell nothing of the label" in none.sentence("They")


def test_guessing_the_larger_class_gets_its_share(made: Callable[..., Measured]) -> None:
    labels = [int(row % 4 == 0) for row in range(80)]
    task = Task.of(made(labels).table)
    score = task.assess(DummyClassifier(strategy="prior"), np.zeros((80, 1)), seeds=1)
    assert score.accuracy.value == score.always == 0.75
    assert score.balanced_accuracy.value == score.chance == 0.5
    assert not score.beyond_chance


def test_three_classes_have_no_auc(made: Callable[..., Measured]) -> None:
    labels = [row % 3 for row in range(90)]
    task = Task.of(made(labels).table)
    score = task.assess(KNeighborsClassifier(1), np.array(labels, float)[:, None], seeds=1)
    assert math.isnan(score.auc.value)
    assert score.chance == pytest.approx(1 / 3)
    assert score.beyond_chance
    assert task.classes == ("no_tumor", "tumor", "other")


def test_unlabelled_and_unreadable_rows_are_left_out(made: Callable[..., Measured]) -> None:
    table = made([0, 1] * 10).table
    table = table.with_columns(
        label=pl.when(pl.col("id") == "s0003").then(None).otherwise("label"),
        problem=pl.when(pl.col("id") == "s0004").then(pl.lit("broken")).otherwise("problem"),
    )
    task = Task.of(table)
    assert not {3, 4} & set(task.rows.tolist())
    assert len(task.rows) == 18


def test_of_a_large_set_whole_families_are_drawn(made: Callable[..., Measured]) -> None:
    task = Task.of(made(LABELS, GROUPS).table, most=60)
    assert 50 < len(task.rows) <= 60
    taken = set(task.rows.tolist())
    assert all({3 * (row // 3), 3 * (row // 3) + 1, 3 * (row // 3) + 2} <= taken for row in taken)


@pytest.mark.parametrize(
    ("labels", "groups", "target", "words"),
    [
        ([1] * 6, None, "label", "only 'tumor' among 6 scans"),
        ([0, 0, 1, 1], [0, 1, 2, 2], "label", "all scans of 'tumor' are one group"),
        ([0, 1], None, "grade", "grade: the manifest has no such column"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    made: Callable[..., Measured], labels: list[int], groups: list[int] | None, target: str, words: str
) -> None:
    table = made(labels, groups).table
    with pytest.raises(DataError, match=words):
        Task.of(table, target)
    assert not Task.possible(table, target)


def test_a_table_without_a_label_at_all(made: Callable[..., Measured]) -> None:
    table = made([0, 1]).table.with_columns(label=pl.lit(None, pl.Int64))
    with pytest.raises(DataError, match="none among 0 scans"):
        Task.of(table)
