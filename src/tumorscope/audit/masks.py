"""What is wrong with the masks of a data set: each finding with its file, how much, and what to do.

What is measured of a mask on its scan is kept by the content of both, as `measure` keeps what it measures.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.mask_facts import SCHEMA, STORED, Facts, Small, look, packed, unpacked
from tumorscope.audit.mask_findings import KINDS, STRANGERS, Finding, alone, misnamed, repeated, shared, sources
from tumorscope.audit.mask_fit import Edges
from tumorscope.audit.measure import content_key, file_size
from tumorscope.audit.store import Store
from tumorscope.datasets.processes import portions
from tumorscope.datasets.truth import RULE

USED = ("id", "path", "mask_path", "channel", "label", "label_name", "patient", "case", "source", "sha256")
NEIGHBOURS = (-2, -1, 1, 2)  # places in the order of patient and number
STRANGER = 32  # places away: another patient as a rule
PORTION = 16  # scans handed to a process at once
VERSION = "1"  # raise when anything changes that `mask_facts` measures, or that it is measured by
SHARD = 256  # masks a file of the cache, up to 2.5 MB; a killed run loses fewer than these

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Masks:
    """What was found in the masks of a data set.

    Parameters
    ----------
    scans : int
        Scans of the data set, with or without a mask.
    table : polars.DataFrame
        One row a mask: `mask_facts.SCHEMA`, then ``source``, and ``neighbour`` and ``neighbour_fit``: the scan whose
        mask fits this one best among those next to it.
    findings : tuple of Finding
        In the order of `KINDS`.
    rule : str
        How grey values become a mask.
    """

    scans: int
    table: pl.DataFrame
    findings: tuple[Finding, ...]
    rule: str = RULE

    def counts(self) -> dict[str, int]:
        """Findings of each kind, those with none left out."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def frame(self) -> pl.DataFrame:
        """The findings as a table: ``kind, id, file, what, amount, remedy``."""
        names = ("kind", "id", "file", "what", "amount", "remedy")
        kinds = dict.fromkeys(names, pl.String) | {"amount": pl.Float64}
        return pl.DataFrame([{name: getattr(finding, name) for name in names} for finding in self.findings], kinds)

    def sentence(self) -> str:
        """How many masks there are, and what is wrong with them."""
        if not self.table.height:
            return f"none of {self.scans} scans has a mask"
        empty = (self.table["marked"] == 0).sum()
        text = f"{self.table.height} of {self.scans} scans have a mask" + (f", {empty} of them empty" if empty else "")
        counts = self.counts()
        if not counts:
            return f"{text}; nothing is wrong with them"
        return f"{text}; {'; '.join(f'{number} {KINDS[kind]}' for kind, number in counts.items())}"


def masks(
    table: pl.DataFrame,
    prints: NDArray[np.float32] | None = None,
    *,
    cache: str | Path | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Masks:
    """What is wrong with the masks that a manifest names. Each scan with a mask is read once, or not at all.

    A scan that fails becomes a finding, and the others go on.

    Parameters
    ----------
    table : polars.DataFrame
        A manifest (`datasets.manifest.load`), or the table of a `Measured`.
    prints : (N, 2, 24, 24) float array or None
        `Measured.prints` of the same rows: scans that are copies of each other may have equal masks.
    cache : str or Path or None
        A folder where measurements are kept by the content of mask and scan, as `measure` keeps its own; None keeps
        nothing. Masks are hashed each time, scans where the manifest tells no ``sha256``. What could not be read is
        tried again each time.
    workers : int
        Processes that read at once; 1 reads in this one.
    progress : callable or None
        Called with (masks done, masks in all).

    Raises
    ------
    OutputError
        If the cache cannot be written.

    Examples
    --------
    >>> masks(pl.DataFrame({"id": ["a"], "path": ["a.png"], "mask_path": [None]})).sentence()
    'none of 1 scans has a mask'
    """
    every = table.select([name for name in USED if name in table.columns]).to_dicts()
    places = [place for place, row in enumerate(every) if row.get("mask_path")]
    places.sort(key=lambda place: _order(every[place]))
    rows = [every[place] for place in places]
    window = _Window()
    facts: list[Facts] = []
    for done, (fact, small) in enumerate(_looks(rows, cache, workers), start=1):
        facts.append(fact | {"source": rows[done - 1].get("source")})
        window.add(fact, small)
        if progress:
            progress(done, len(rows))
    for fact, (other, fit) in zip(facts, window.best, strict=True):
        fact |= {"neighbour": other, "neighbour_fit": fit}
    found = [finding for row, fact in zip(rows, facts, strict=True) for finding in alone(row, fact)]
    found += misnamed(every, rows)
    found += shared(rows)
    found += repeated(rows, facts, None if prints is None else prints[places])
    found += sources(facts, window.others)
    found.sort(key=lambda finding: list(KINDS).index(finding.kind))
    more = {"source": pl.String, "neighbour": pl.String, "neighbour_fit": pl.Float64}
    return Masks(table.height, pl.DataFrame(facts, schema={**SCHEMA, **more}), tuple(found))


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sources, then patients, then slices by number: neighbours in it are neighbours in the head."""
    digits = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", row["id"])]
    return str(row.get("source")), str(row.get("patient")), digits


def _looks(
    rows: Sequence[Mapping[str, Any]], cache: str | Path | None, workers: int
) -> Iterator[tuple[Facts, Small | None]]:
    """Facts of the rows, in their order: from the cache, or by several processes where that pays."""
    wanted = ("id", "path", "mask_path", "channel")
    tasks = [{name: row.get(name) for name in wanted} for row in rows]
    if cache is None:
        yield from _measured(tasks, workers)
        return
    store = Store(Path(cache), f"masks-{VERSION}")
    with ThreadPoolExecutor(max(1, workers)) as pool:  # hashing leaves Python's lock to others
        keys = list(pool.map(_key, rows))
    kept = store.kept(keys)
    measured = _measured([task for task, key in zip(tasks, keys, strict=True) if key not in kept], workers)
    fresh: list[Facts] = []
    try:
        for task, key in zip(tasks, keys, strict=True):
            known = kept.get(key)
            if known is not None:
                yield unpacked(task, known)
                continue
            found = look(task) if key in kept else next(measured)  # a shard may be deleted meanwhile
            if found[0]["problem"] is None:
                fresh.append({"key": key, **packed(*found)})
            if len(fresh) >= SHARD:
                store.add(fresh, STORED)
                fresh = []
            yield found
    finally:
        store.add(fresh, STORED)


def _measured(tasks: Sequence[Mapping[str, Any]], workers: int) -> Iterator[tuple[Facts, Small | None]]:
    for part in portions(look, tasks, workers, size=PORTION):
        yield from part


def _key(row: Mapping[str, Any]) -> str:
    """What the facts of a row's mask are kept under: the content of mask and scan."""
    mask, scan = Path(row["mask_path"]), Path(row["path"])
    own = content_key(mask, None, None, file_size(mask))
    return f"{own} {content_key(scan, row.get('channel'), row.get('sha256'), file_size(scan))}"


class _Window:
    """The last scans in order, so that each mask can be tried on its neighbours without reading anything again."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, str, Small | None, Edges | None]] = deque(maxlen=STRANGER + 1)
        self.best: list[tuple[str | None, float | None]] = []
        self.others: list[dict[str, float]] = []
        """For each mask: how its scan fits the mask of the next, of the one before, and of a stranger."""

    def add(self, fact: Mapping[str, Any], small: Small | None) -> None:
        """Take the next scan and compare it with those before it, both ways."""
        here = len(self.best)
        edges = None if small is None else Edges.of(small[0])
        self.best.append((None, None))
        self.others.append({})
        for there, name, other, their_edges in self._last:
            back = here - there
            if edges is None or other is None or small is None or other[1].shape != small[1].shape:
                continue
            if -back in NEIGHBOURS:
                self._note(here, name, edges.fit(other[1]), "that of the scan before" if back == 1 else None)
            if back in NEIGHBOURS and their_edges is not None:
                fit = their_edges.fit(small[1])
                self._note(there, str(fact["id"]), fit, "that of the next scan" if back == 1 else None)
            if back == STRANGER:
                self.others[here][STRANGERS] = edges.fit(other[1])
        self._last.append((here, str(fact["id"]), small, edges))

    def _note(self, place: int, name: str, fit: float, kind: str | None) -> None:
        best = self.best[place][1]
        if best is None or fit > best:
            self.best[place] = (name, fit)
        if kind:
            self.others[place][kind] = fit
