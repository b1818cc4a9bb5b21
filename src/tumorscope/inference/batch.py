"""Batches: any number of scans through a predictor, in a memory that does not grow with their number."""

from __future__ import annotations

import csv
import errno
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import cv2

from tumorscope.errors import Exit, OutputError, TumorscopeError
from tumorscope.inference.predictor import Prediction, Predictor, Stopped
from tumorscope.inference.table import TABLE, Row, Table, writing
from tumorscope.io import Item, atomic, write_mask
from tumorscope.scan import Scan

FEW = 8
"""Up to this many inputs are worked on one after the other with all cores; more are worked on side by side."""
MOST_WORKERS = 8
"""More scans at once than this cost memory and gain little."""
AHEAD = 4
"""Scans in flight for each worker: a slow one does not hold up the others, and memory stays bounded."""


class Sink(Protocol):
    """Something that takes each result as it comes: a report, a progress bar."""

    def draw(self, item: Item, scan: Scan, prediction: Prediction) -> Any:
        """What `add` needs of a scan, made in the worker's thread, so that the scan itself can be let go."""

    def add(self, row: Row, drawn: Any) -> None:
        """Take one result; in the caller's thread, in the order of the inputs. ``drawn`` is None for a failure."""

    def close(self, interrupted: str) -> None:
        """Finish; called once. ``interrupted`` says why the batch ended early and is empty otherwise."""


@dataclass(frozen=True)
class Options:
    """How a batch is run.

    Parameters
    ----------
    channel : int or None
        The sequence to read from files that hold several, counted from 0.
    masks : bool
        Whether masks are written.
    workers : int or None
        Scans worked on at once; None chooses by their number and the cores.
    """

    channel: int | None = None
    masks: bool = True
    workers: int | None = None


@dataclass
class Summary:
    """What a batch came to: ``total`` scans, and files passed over (``skipped``) because they are no scans."""

    out: Path
    total: int
    skipped: int = 0
    ok: int = 0
    failed: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def exit_code(self) -> Exit:
        """0 all well, 2 nothing usable, 3 some failed or were not reached."""
        if self.interrupted:
            return Exit.PARTIAL
        if not self.ok:
            return Exit.USAGE
        return Exit.PARTIAL if self.failed else Exit.OK

    def count(self, row: Row) -> None:
        """Take a row into the counts."""
        if row.status == "ok":
            self.ok += 1
            self.decisions[str(row.decision)] += 1
        else:
            self.failed += 1


@dataclass
class _Done:
    """What a worker hands back: a row, and of the scan only what the sinks asked for."""

    row: Row
    drawn: list[Any] = field(default_factory=list)


def plan(count: int, workers: int | None = None) -> tuple[int, int]:
    """Scans at once, and threads within one run of the network, for ``count`` inputs.

    Examples
    --------
    >>> plan(1)[0], plan(5000, workers=3)[0]
    (1, 3)
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers is None:
        workers = 1 if count <= FEW else min(cores, MOST_WORKERS)
    workers = max(1, min(workers, count))
    return workers, max(1, cores // workers)


def predict_many(
    items: Sequence[Item],
    predictor: Predictor,
    out: str | Path,
    options: Options | None = None,
    sinks: Sequence[Sink] = (),
) -> Summary:
    """Predict every item and write ``OUT/predictions.csv`` and ``OUT/masks``; results keep the items' order.

    A scan that fails becomes a row with its error and the others go on. Ctrl-C ends the batch after the
    scans in work: their rows and all before them are kept.

    Parameters
    ----------
    items : sequence of Item
        From `tumorscope.io.discover`.
    predictor : Predictor
    out : str or Path
        Made if it does not exist; see `former` for what it may hold.
    options : Options or None
    sinks : sequence of Sink
        Take each result; nothing is kept of it afterwards.

    Raises
    ------
    OutputError
        When a result cannot be written. The rows finished until then are kept if there is room for them.
    """
    options = options or Options()
    folder = Path(out)
    if options.masks:
        _make(folder / "masks")
    workers, _ = plan(len(items), options.workers)
    summary = Summary(folder, len(items))
    begun = time.perf_counter()
    failure: OutputError | None = None
    with _one_thread_each(workers), _interruptible() as stop:
        with atomic(folder / TABLE) as temporary, Table(temporary, folder / TABLE) as table:
            worker = _Worker(predictor, folder, options, sinks, stop)
            for done in _in_order(worker, items, workers, stop):
                error = done if isinstance(done, OutputError) else _take(done, table, summary, sinks)
                if error:
                    failure = failure or error
                    stop.set()
        summary.interrupted = failure is None and summary.ok + summary.failed < len(items)
        why = "Ctrl-C" if summary.interrupted else str(failure or "")
        for sink in sinks:
            try:
                sink.close(why)
            except OutputError as error:
                failure = failure or error
    summary.seconds = time.perf_counter() - begun
    if failure:
        raise OutputError(f"{failure} ({summary.ok} of {len(items)} scans were done before)") from failure
    return summary


def former(out: str | Path, *, overwrite: bool = False) -> list[str]:
    """Ids of the results that ``out`` holds from an earlier batch; nothing is made or changed.

    Raises
    ------
    OutputError
        If it is no folder, or holds results and ``overwrite`` is not set.
    """
    folder = Path(out)
    table = folder / TABLE
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file, not a folder; give another -o")
        if not table.exists():
            return []
        if not overwrite:
            raise OutputError(
                f"{folder}: holds results already ({TABLE}); give another -o, or add --overwrite to replace them"
            )
        with table.open(encoding="utf-8", newline="") as stream:
            return [row["id"] for row in csv.DictReader(stream) if row.get("id")]


def sweep(out: str | Path, ids: Sequence[str]) -> None:
    """Remove the masks and overlays of earlier results that ``predictions.csv`` no longer names."""
    folder = Path(out)
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        present = {row["id"] for row in csv.DictReader(stream)}
    for name in ids:
        if name in present or Path(name).name != name:
            continue
        for stale in (f"masks/{name}.png", f"masks/{name}.nii.gz", f"overlays/{name}.png"):
            (folder / stale).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Worker:
    """What one thread does with one item."""

    predictor: Predictor
    folder: Path
    options: Options
    sinks: Sequence[Sink]
    stop: threading.Event

    def __call__(self, item: Item) -> _Done | OutputError | None:
        """The result of an item; None when the batch was stopped before it was done, an error to stop it."""
        if self.stop.is_set():
            return None
        begun = time.perf_counter()
        try:
            return self._predict(item, begun)
        except Stopped:
            return None
        except TumorscopeError as error:
            if isinstance(error, OutputError) and not _is_about_the_name(error):
                self._forget(item)
                return error
            return _Done(_failed(item, str(error), begun))
        except MemoryError:
            return _Done(_failed(item, f"{item.path}: does not fit into memory; cut it into smaller parts", begun))
        except Exception as error:
            if os.environ.get("TUMORSCOPE_DEBUG"):
                traceback.print_exc()
            finding = f"internal error, {type(error).__name__}: {error}"
            return _Done(_failed(item, f"{item.path}: {finding}; TUMORSCOPE_DEBUG=1 shows where", begun))

    def _predict(self, item: Item, begun: float) -> _Done:
        scan = item.read(channel=self.options.channel)
        prediction = self.predictor.predict(scan, stop=self.stop.is_set)
        if self.options.masks and prediction.located:
            suffix = ".nii.gz" if scan.is_volume else ".png"
            write_mask(self.folder / "masks" / f"{item.id}{suffix}", prediction.mask, scan)
        drawn = [sink.draw(item, scan, prediction) for sink in self.sinks]
        return _Done(Row.of(item, prediction, time.perf_counter() - begun), drawn)

    def _forget(self, item: Item) -> None:
        """Remove the mask of an item that gets no row."""
        for suffix in (".png", ".nii.gz"):
            with suppress(OSError):
                (self.folder / "masks" / f"{item.id}{suffix}").unlink(missing_ok=True)


def _in_order(
    work: Callable[[Item], _Done | OutputError | None], items: Sequence[Item], workers: int, stop: threading.Event
) -> Iterator[_Done | OutputError]:
    """Results in the order of the items, ``AHEAD`` in flight for each worker."""
    waiting: deque[Future[_Done | OutputError | None]] = deque()
    coming = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="tumorscope") as pool:
        while True:
            while len(waiting) < AHEAD * workers and not stop.is_set():
                item = next(coming, None)
                if item is None:
                    break
                waiting.append(pool.submit(work, item))
            if not waiting:
                return
            done = waiting.popleft().result()
            if done is not None:
                yield done


def _take(done: _Done, table: Table, summary: Summary, sinks: Sequence[Sink]) -> OutputError | None:
    """Record a result; the error when that cannot be done."""
    try:
        table.add(done.row)
        summary.count(done.row)
        for index, sink in enumerate(sinks):
            sink.add(done.row, done.drawn[index] if done.drawn else None)
    except OutputError as error:
        return error
    return None


def _failed(item: Item, error: str, begun: float) -> Row:
    line = " ".join(error.splitlines())
    return Row(item.id, str(item.path), "failed", seconds=time.perf_counter() - begun, error=line)


def _is_about_the_name(error: OutputError) -> bool:
    """Whether only this one result cannot be written: its name is too long for the file system."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENAMETOOLONG


def _make(folder: Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _one_thread_each(workers: int) -> Iterator[None]:
    """OpenCV on one thread while several workers run; they fill the cores by themselves."""
    before = cv2.getNumThreads()
    if workers > 1:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets instead of raising; a second one raises as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
