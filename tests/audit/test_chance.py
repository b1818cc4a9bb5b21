from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from tumorscope.audit.chance import Chance, classifier, deal, nearest, random_labels
from tumorscope.audit.crossval import balanced_accuracy
from tumorscope.audit.measure import Measured
from tumorscope.errors import DataError

GROUPS = [row // 4 for row in range(240)]
LABELS = [group % 2 for group in GROUPS]


def copies() -> np.ndarray:
    """Features in which the four of a group are near-copies, and groups are strangers."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 8))[GROUPS] + rng.normal(0, 0.01, (240, 8))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=60), st.integers(0, 99))
def test_a_deal_gives_each_family_the_label_of_one(rows: list[tuple[int, int]], seed: int) -> None:
    family, label = (np.array(column) for column in zip(*rows, strict=True))
    label = np.array([label[np.flatnonzero(family == own)[0]] for own in family])  # one label in a family
    dealt = deal(label, family, np.random.default_rng(seed))
    ends = {own: set(dealt[family == own].tolist()) for own in set(family.tolist())}
    assert all(len(labels) == 1 for labels in ends.values())
    before = Counter(int(label[family == own][0]) for own in ends)
    assert Counter(next(iter(labels)) for labels in ends.values()) == before


def test_a_deal_breaks_the_tie_between_picture_and_label() -> None:
    dealt = deal(np.array(LABELS), np.array(GROUPS), np.random.default_rng(0))
    assert 0.3 < np.mean(dealt == LABELS) < 0.7


def test_memory_scores_chance_when_folds_cut_no_group(made: Callable[..., Measured]) -> None:
    table = made(LABELS, GROUPS).table
    found = random_labels(classifier(nearest(), copies()), table, deals=15)
    assert found.low <= 0.5 <= found.high
    assert not found.leaks
    assert (found.scans, found.groups, found.chance) == (240, 60, 0.5)
    assert "gives nothing away" in found.sentence()


def test_the_same_memory_scores_full_marks_when_folds_cut_groups() -> None:
    features, scores = copies(), []
    for number in range(5):
        dealt = deal(np.array(LABELS), np.array(GROUPS), np.random.default_rng(number))
        said = np.empty(240, int)
        for learn, answer in KFold(5, shuffle=True, random_state=number).split(features):
            said[answer] = classifier(nearest(), features)(learn, dealt[learn], answer)
        scores.append(balanced_accuracy(dealt, said))
    leaky = Chance("folds by scan", 1.0, tuple(scores), 0.5, 240, 60)
    assert leaky.low > 0.9
    assert leaky.leaks
    assert "the protocol itself tells the answer" in leaky.sentence()


def test_what_can_be_learned_beats_every_deal(made: Callable[..., Measured]) -> None:
    features = np.array(LABELS)[:, None] + np.random.default_rng(1).normal(0, 0.1, (240, 1))
    found = random_labels(classifier(nearest(), features), made(LABELS, GROUPS).table, deals=19)
    assert found.true > 0.95
    assert found.p_value == 1 / 20
    assert found.low <= 0.5 <= found.high


def test_no_pipeline_is_shown_a_group_on_both_sides(made: Callable[..., Measured]) -> None:
    groups, answered = np.array(GROUPS), Counter[int]()

    def spy(learn: np.ndarray, labels: np.ndarray, answer: np.ndarray) -> np.ndarray:
        assert not set(groups[learn]) & set(groups[answer])
        assert len(labels) == len(learn)
        answered.update(answer.tolist())
        return np.zeros(len(answer), int)

    found = random_labels(spy, made(LABELS, GROUPS).table, deals=3)
    assert set(answered.values()) == {4}
    assert found.true == 0.5


@pytest.mark.parametrize("protocol", ["scan", "random", "augmented"])
def test_leaky_protocols_are_refused(made: Callable[..., Measured], protocol: str) -> None:
    with pytest.raises(DataError, match=r"both sides; use 'group', or see benchmarks/leaky_protocol\.py"):
        random_labels(classifier(nearest(), copies()), made(LABELS, GROUPS).table, protocol=protocol)


def test_an_unknown_protocol_gets_the_nearest(made: Callable[..., Measured]) -> None:
    with pytest.raises(DataError, match="did you mean 'group'"):
        random_labels(classifier(nearest(), copies()), made(LABELS, GROUPS).table, protocol="groups")
