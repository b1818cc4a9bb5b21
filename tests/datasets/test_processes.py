"""Results come in order and in portions, from one process as from two."""

from __future__ import annotations

import os

import pytest

from tumorscope.datasets import processes
from tumorscope.datasets.processes import portions


def who(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_results_arrive_in_order_and_in_portions() -> None:
    assert [len(part) for part in portions(abs, range(-10, 0), workers=1, size=4)] == [4, 4, 2]
    assert [one for part in portions(abs, range(-10, 0), workers=1, size=4) for one in part] == list(range(10, 0, -1))
    assert list(portions(abs, [], workers=2)) == []


def test_no_task_is_done_before_it_is_asked_for() -> None:
    done: list[int] = []
    results = portions(done.append, range(9), workers=1, size=2)
    assert done == []
    next(results)
    assert done == [0, 1]


def test_several_processes_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW", 2)
    found = [one for part in portions(who, range(7), workers=2, size=3) for one in part]
    assert [square for square, _ in found] == [number * number for number in range(7)]
    assert os.getpid() not in {process for _, process in found}
    assert {process for part in portions(who, [1], workers=2) for _, process in part} == {os.getpid()}


def test_an_error_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW", 2)
    with pytest.raises(TypeError):
        list(portions(abs, [1, 2, "three"], workers=2, size=1))  # type: ignore[list-item]
