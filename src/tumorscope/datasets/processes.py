"""The same work on many scans, spread over processes: in order, in bounded memory, a portion at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

AHEAD = 4  # portions in flight for each process: memory stays bounded
FEW = 48  # scans; for fewer no process is started, which takes longer than the work

Task = TypeVar("Task")
Result = TypeVar("Result")


def portions(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, *, size: int = 8
) -> Iterator[list[Result]]:
    """Results of ``work`` on each task, in the tasks' order, ``size`` of them at a time.

    joblib's processes, because threads wait for each other's Python code, OpenCV and Polars do not survive a plain
    fork, and the standard library's other ways run a caller's script once more in every process.

    Parameters
    ----------
    work : callable
        Of a module, or a `functools.partial` of one: it travels to the processes.
    tasks : sequence
    workers : int
        Processes; 1 works in this one, and so do more on fewer than `FEW` tasks.
    size : int
        Tasks handed to a process at once, and results that come back together.

    Examples
    --------
    >>> list(portions(abs, [-1, 2, -3], workers=1, size=2))
    [[1, 2], [3]]
    """
    parts = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    if workers <= 1 or len(tasks) < FEW:
        for part in parts:
            yield [work(task) for task in part]
        return
    import joblib

    count = min(workers, len(parts))
    pool = joblib.Parallel(count, return_as="generator", batch_size=1, pre_dispatch=AHEAD * count)
    yield from pool(joblib.delayed(_alone)(work, part) for part in parts)


def _alone(work: Callable[[Task], Result], part: Sequence[Task]) -> list[Result]:
    """A portion in a process of its own, where OpenCV must not start a thread for each core."""
    import cv2

    cv2.setNumThreads(1)
    return [work(task) for task in part]
