"""Which rows of a manifest belong together, and therefore to one side of every split."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Key = tuple[str, ...]


def keys_of(df: pl.DataFrame) -> dict[str, list[Key | None]]:
    """Key of each row by ``group``, by ``patient`` and by ``case``; None where it has none.

    A patient and a case are named within their ``source``: patient 01 of two collections is two
    people. A group is one group wherever it stands.

    Examples
    --------
    >>> keys_of(pl.DataFrame({"id": ["a"], "source": ["s"], "patient": ["01"]}))["patient"]
    [('patient', 's', '01')]
    """
    blank: list[str | None] = [None] * df.height
    names = ("source", "group", "patient", "case")
    column = {name: df[name].to_list() if name in df.columns else blank for name in names}
    within = [str(value) if value is not None else "" for value in column["source"]]
    keys: dict[str, list[Key | None]] = {
        "group": [None if value is None else ("group", str(value)) for value in column["group"]]
    }
    for kind in ("patient", "case"):
        pairs = zip(within, column[kind], strict=True)
        keys[kind] = [None if value is None else (kind, source, str(value)) for source, value in pairs]
    return keys


def ancestry(df: pl.DataFrame) -> list[list[Key]]:
    """Keys that tie a row to its own id and to its parent's, whether or not the parent is in the table."""
    ids = df["id"].to_list()
    parents = df["parent_id"].to_list() if "parent_id" in df.columns else [None] * df.height
    tied: list[list[Key]] = [[("id", str(own))] for own in ids]
    for keys, parent in zip(tied, parents, strict=True):
        if parent is not None:
            keys.append(("id", str(parent)))
    return tied


def families(df: pl.DataFrame) -> NDArray[np.int64]:
    """Number of the family of each row, (N,): rows tied by group, patient, case or parent, directly or in steps.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "group": ["g", "g", None], "parent_id": [None, None, "b"]})
    >>> families(df).tolist()
    [0, 0, 0]
    """
    tied = ancestry(df)
    for keys in keys_of(df).values():
        for index, key in enumerate(keys):
            if key is not None:
                tied[index].append(key)
    return join(tied)


def join(tied: Sequence[Iterable[Hashable]]) -> NDArray[np.int64]:
    """Number of the connected set of each row, where rows that share a key are connected.

    Examples
    --------
    >>> join([["x"], ["y"], ["x", "z"], ["z"]]).tolist()
    [0, 1, 0, 0]
    """
    root = list(range(len(tied)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    first: dict[Hashable, int] = {}
    for index, keys in enumerate(tied):
        for key in keys:
            ours, theirs = find(index), find(first.setdefault(key, index))
            root[max(ours, theirs)] = min(ours, theirs)
    number: dict[int, int] = {}
    return np.array([number.setdefault(find(index), len(number)) for index in range(len(tied))], np.int64)
