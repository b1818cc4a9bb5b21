from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.datasets import neighbours
from tumorscope.datasets.likeness import TURNS, first_look, likeness, turn_likeness, turned

EXAMPLES = settings(deadline=None, max_examples=15)
SEEDS = st.integers(0, 2**32 - 1)


def clustered(seed: int, families: int, each: int, spread: float) -> NDArray[np.float32]:
    """Prints (families * each, 2, 24, 24): relatives differ by noise of norm ``spread`` and by a turn."""
    rng = np.random.default_rng(seed)
    founders = rng.standard_normal((families, 1, 2, 24, 24))
    founders /= np.linalg.norm(founders, axis=(3, 4), keepdims=True)
    noise = rng.standard_normal((families, each, 2, 24, 24)) * spread * rng.random((families, each, 1, 1, 1)) / 24
    prints = (founders + noise).reshape(-1, 2, 24, 24)
    for row in range(len(prints)):
        prints[row] = turned(prints[row], int(rng.integers(TURNS)))
    prints -= prints.mean((2, 3), keepdims=True)
    prints /= np.linalg.norm(prints, axis=(2, 3), keepdims=True)
    return prints[rng.permutation(len(prints))].astype(np.float32)


def all_with_all(prints: NDArray[np.float32], least: float) -> dict[tuple[int, int], float]:
    looks = [first_look(prints[:, view]) for view in (0, 1)]
    best = np.maximum(*(likeness(look, look) for look in looks))
    return {(i, j): float(best[i, j]) for i, j in zip(*np.nonzero(np.triu(best >= least, 1)), strict=True)}


@EXAMPLES
@given(SEEDS, st.sampled_from([2, 16, 96, 576]))
def test_folded_distance_never_exceeds_that_of_the_nearest_turn(seed: int, kept: int) -> None:
    prints = clustered(seed, 6, 6, 1.0)
    seen = first_look(prints[:, 0])
    folds = neighbours.fold(seen, kept)
    apart = np.linalg.norm(folds[:, None] - folds, axis=2)
    nearest = np.sqrt(np.maximum(2 - 2 * likeness(seen, seen), 0))
    assert (apart <= nearest + 2e-3).all()


@EXAMPLES
@given(SEEDS)
def test_no_turn_changes_what_is_folded(seed: int) -> None:
    prints = clustered(seed, 5, 1, 0.0)[:, 0]
    turns = np.concatenate([turned(prints, turn) for turn in range(TURNS)])
    folds = neighbours.fold(first_look(turns)).reshape(TURNS, 5, -1)
    assert np.abs(folds - folds[0]).max() < 1e-4


@EXAMPLES
@given(SEEDS, st.sampled_from([2, 16, 96, 576]))
def test_the_ceiling_is_exceeded_in_no_turn(seed: int, kept: int) -> None:
    prints = clustered(seed, 6, 6, 1.0)
    seen = first_look(prints[:, 0])
    place = np.random.default_rng(seed).permutation(len(seen))
    left, right = np.triu_indices(len(seen), 1)
    ceiling = neighbours._Signed.of(seen, place, kept).ceiling(left, right)
    best = turn_likeness(seen[place[left]], seen[place[right]]).max(1)
    assert (best <= ceiling + neighbours.ROUNDING).all()
    if kept == 576:
        assert ceiling == pytest.approx(best, abs=1e-4)


def test_the_ceiling_rules_strangers_out() -> None:
    prints = clustered(7, 60, 1, 0.0)
    prints = np.concatenate([prints, turned(prints, 6)])
    signed = neighbours._Signed.of(first_look(prints[:, 0]), np.arange(120), 96)
    left, right = np.triu_indices(60, 1)
    assert (signed.ceiling(left, right) < 0.95).mean() > 0.95
    assert signed.ceiling(np.arange(60), np.arange(60, 120)).min() >= 1 - neighbours.ROUNDING


def test_folding_keeps_strangers_apart() -> None:
    prints = clustered(3, 40, 1, 0.0)
    folds = neighbours.fold(first_look(prints[:, 0]))
    apart = np.linalg.norm(folds[:, None] - folds, axis=2)[np.triu_indices(40, 1)]
    assert np.median(apart) > 0.5


def checked(prints: NDArray[np.float32], least: float) -> neighbours.Near:
    found = neighbours.near_pairs(prints, np.arange(len(prints)), least)
    assert (found.one < found.other).all()
    assert len(set(zip(found.one.tolist(), found.other.tolist(), strict=True))) == len(found.one)
    for one, other, view, turn, value in zip(found.one, found.other, found.view, found.turn, found.value, strict=True):
        laid = first_look(turned(prints[other, view], int(turn))[None])
        assert float((first_look(prints[[one], view]) * laid).sum()) == pytest.approx(value, abs=1e-4)
    return found


@EXAMPLES
@given(SEEDS, st.sampled_from([0.2, 0.5, 0.9]), st.floats(0.4, 1.2))
def test_the_pairs_are_those_of_comparing_all_with_all(seed: int, least: float, spread: float) -> None:
    prints = clustered(seed, 12, 6, spread)
    found = checked(prints, least)
    wanted = all_with_all(prints, least)
    rounding = {pair for pair, value in all_with_all(prints, least - 1e-4).items() if abs(value - least) < 1e-4}
    pairs = set(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert pairs - rounding == set(wanted) - rounding


def test_in_cells_too_nearly_all_pairs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = clustered(1, 200, 5, 0.5)
    wanted = all_with_all(prints, 0.8)
    assert len(wanted) > 500
    monkeypatch.setattr(neighbours, "ALL", 0)
    monkeypatch.setattr(neighbours, "CELL", 40)
    monkeypatch.setattr(neighbours, "PROBES", 12)
    found = checked(prints, 0.8)
    pairs = set(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert pairs <= set(wanted) and len(pairs) > 0.99 * len(wanted)


@pytest.mark.parametrize(("products", "at_once", "owned"), [(1, 7, 1), (1000, 64, 33), (2**18, 8192, 1024)])
def test_blocks_of_any_size_find_the_same(
    monkeypatch: pytest.MonkeyPatch, products: int, at_once: int, owned: int
) -> None:
    prints = clustered(8, 20, 4, 0.5)
    wanted = neighbours.near_pairs(prints, np.arange(80), 0.8)
    assert len(wanted.one) > 30
    for name, value in (("PRODUCTS", products), ("AT_ONCE", at_once), ("OWNED", owned), ("ALL", 0), ("CELL", 10)):
        monkeypatch.setattr(neighbours, name, value)
    found = checked(prints, 0.8)
    assert np.array_equal(found.one, wanted.one) and np.array_equal(found.other, wanted.other)


def test_cells_are_compared_with_the_nearest_only(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = neighbours.fold(first_look(clustered(2, 500, 2, 0.3)[:, 0]))
    monkeypatch.setattr(neighbours, "ALL", 0)
    monkeypatch.setattr(neighbours, "CELL", 20)
    monkeypatch.setattr(neighbours, "PROBES", 5)
    cells = neighbours._cells(folds)
    assert sorted(np.concatenate(cells).tolist()) == list(range(1000))
    ends = np.cumsum([0, *(len(cell) for cell in cells)])
    links = list(neighbours._links(folds[np.concatenate(cells)], ends))
    assert all(cell in others and (others >= cell).all() for cell, others in links)
    assert sum(len(others) for _, others in links) <= len(cells) * (5 + 1)


@pytest.mark.parametrize("all_", [0, 10_000])
def test_rows_are_chosen_and_the_blind_are_left_out(monkeypatch: pytest.MonkeyPatch, all_: int) -> None:
    monkeypatch.setattr(neighbours, "ALL", all_)
    prints = clustered(4, 3, 1, 0.0)
    prints = np.concatenate([prints, prints[:, :, ::-1], np.zeros((4, 2, 24, 24), np.float32)])
    found = neighbours.near_pairs(prints, np.array([9, 1, 4, 7, 0, 6]), 0.9)
    assert found.one.tolist() == [1] and found.other.tolist() == [2] and found.turn.tolist() == [2]
    for rows in (np.zeros(0, np.int64), np.array([6, 7]), np.array([2])):
        assert len(neighbours.near_pairs(prints, rows, 0.9).one) == 0


def test_one_view_is_enough() -> None:
    prints = clustered(5, 4, 1, 0.0)
    prints[1, 1] = prints[0, 1]
    prints[3, 0], prints[3, 1] = prints[2, 0], 0
    found = checked(prints, 0.9)
    assert list(zip(found.one.tolist(), found.other.tolist(), found.view.tolist(), strict=True)) == [
        (0, 1, 1),
        (2, 3, 0),
    ]


def test_a_pair_found_in_one_view_is_judged_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = clustered(9, 6, 2, 0.3)
    wanted = neighbours.near_pairs(prints, np.arange(12), 0.9)
    assert len(wanted.one) == 6 and set(wanted.view.tolist()) == {0, 1}
    search = neighbours._near_in_view
    for view in (0, 1):
        sought = iter([search if view == 0 else blind, blind if view == 0 else search])
        monkeypatch.setattr(neighbours, "_near_in_view", lambda *given, sought=sought: next(sought)(*given))
        found = neighbours.near_pairs(prints, np.arange(12), 0.9)
        for name in ("one", "other", "view", "turn", "value"):
            assert np.array_equal(getattr(found, name), getattr(wanted, name))


def blind(*given: object) -> NDArray[np.int64]:
    return neighbours.NO_PAIRS


def test_each_turn_is_undone_by_its_partner() -> None:
    corner = np.arange(9).reshape(3, 3)
    for turn in range(TURNS):
        assert np.array_equal(turned(turned(corner, turn), int(neighbours.UNDOES[turn])), corner)
    one, other = first_look(clustered(6, 2, 1, 0.0)[:, 0])
    there, back = turn_likeness(one[None], other[None])[0], turn_likeness(other[None], one[None])[0]
    assert back[neighbours.UNDOES] == pytest.approx(there, abs=1e-6)
