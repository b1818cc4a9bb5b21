"""What the commands say, and where: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tumorscope.inference.batch import Summary
    from tumorscope.inference.predictor import Prediction
    from tumorscope.inference.table import Row
    from tumorscope.io import Item
    from tumorscope.scan import Scan


def complain(text: str) -> None:
    """One line on stderr."""
    print("tumorscope:", " ".join(text.splitlines()), file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """A line on stdout."""
    print(text, flush=True)


def answer_json(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(values, indent=2, default=str), flush=True)


class Watch:
    """A progress bar on stderr, drawn on a terminal only; takes the results of a batch and tells of failures.

    Use it as a context manager and pass ``watch.start`` to `tumorscope.predict`.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close("")

    def start(self, total: int) -> Watch:
        """Begin to count to ``total``."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._doing, total=total)
            self._progress.start()
        return self

    def draw(self, item: Item, scan: Scan, prediction: Prediction) -> None:
        """Nothing: a bar shows no pictures."""

    def add(self, row: Row, drawn: Any) -> None:
        """Count a result; a failure is told at once."""
        if row.error is not None:
            self._tell(row.error)
        if self._progress is not None:
            self._progress.advance(self._task)

    def count(self, done: int, total: int, error: str | None) -> None:
        """Count one of ``total``; a failure is told at once."""
        if done == 1:
            self.start(total)
        if error is not None:
            self._tell(error)
        if self._progress is not None:
            self._progress.advance(self._task)

    def close(self, interrupted: str) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _tell(self, error: str) -> None:
        if self._progress is None:
            complain(error)
        else:
            self._progress.console.print(f"tumorscope: {error}", markup=False, highlight=False, soft_wrap=True)


class Steps:
    """A progress bar on stderr for work in several steps, drawn on a terminal only. A context manager."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Steps:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=None)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def at(self, doing: str, done: int, total: int) -> None:
        """Show what is being done; a step without parts moves to and fro."""
        if self._progress is not None:
            self._progress.update(self._task, description=doing, completed=done, total=total if total > 1 else None)


def describe(summary: Summary) -> str:
    """The counts of a batch in one line."""
    parts = [f"{count} {decision}" for decision, count in sorted(summary.decisions.items())]
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    missing = summary.total - summary.ok - summary.failed
    if missing:
        parts.append(f"{missing} not reached")
    scans = "scan" if summary.total == 1 else "scans"
    line = f"{summary.total} {scans} in {summary.seconds:.1f} s: {', '.join(parts) or 'nothing done'}"
    return f"{line} ({summary.skipped} files passed over: no scans)" if summary.skipped else line
