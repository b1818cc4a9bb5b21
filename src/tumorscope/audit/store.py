"""Measurements on disk, by the content of what was measured, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tumorscope import io

log = logging.getLogger("tumorscope")
OPEN = 4  # shards that `Kept` holds in memory


@dataclass(frozen=True)
class Store:
    """A folder of shards: Parquet tables of measurements with a column ``key``, each written whole or not at all.

    Several audits may use one folder at once. A shard that cannot be read is as good as none.

    Parameters
    ----------
    folder : Path
        Made when the first shard is written.
    version : str
        Of what is measured, and how; shards of another version are not seen.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(Path(folder), "1")
    ...     store.add([{"key": "a", "noise": 0.5}], {"key": pl.String, "noise": pl.Float64})
    ...     [rows.rows() for rows in store.find(["a", "b"])]
    [[('a', 0.5)]]
    """

    folder: Path
    version: str

    def find(self, keys: Collection[str]) -> Iterator[pl.DataFrame]:
        """The rows of the wanted keys, shard by shard, none twice."""
        for shard, here in self._shards(keys):
            rows = self._read(shard, here)
            if rows is not None:
                yield rows

    def kept(self, keys: Collection[str]) -> Kept:
        """The rows of the wanted keys, one at a time."""
        return Kept(self, dict(self._shards(keys)))

    def _shards(self, keys: Collection[str]) -> Iterator[tuple[Path, set[str]]]:
        """Shards with wanted keys, and which of them to take from each."""
        wanted = set(keys)
        for shard in sorted(self.folder.glob(f"measured-{self.version}-*.parquet")):
            if not wanted:
                return
            try:
                here = wanted.intersection(pl.read_parquet(shard, columns=["key"])["key"].to_list())
            except (pl.exceptions.PolarsError, OSError) as error:
                _left_out(shard, error)
                continue
            if here:
                wanted -= here
                yield shard, here

    def _read(self, shard: Path, keys: Collection[str]) -> pl.DataFrame | None:
        try:
            rows = pl.read_parquet(shard)
        except (pl.exceptions.PolarsError, OSError) as error:
            _left_out(shard, error)
            return None
        return rows.filter(pl.col("key").is_in(list(keys))).unique("key", keep="first", maintain_order=True)

    def add(self, rows: Sequence[dict[str, Any]], schema: dict[str, type[pl.DataType]]) -> None:
        """Write a shard of these rows.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not rows:
            return
        name = hashlib.sha256("\n".join(sorted(row["key"] for row in rows)).encode()).hexdigest()[:16]
        with io.atomic(self.folder / f"measured-{self.version}-{name}.parquet") as draft:
            pl.DataFrame(rows, schema=schema).write_parquet(draft, compression="zstd", compression_level=1)


class Kept:
    """Rows of a store, got one at a time; few shards are in memory at once, so best in the order they were added in.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(Path(folder), "1")
    ...     store.add([{"key": "a", "noise": 0.5}], {"key": pl.String, "noise": pl.Float64})
    ...     kept = store.kept(["a", "b"])
    ...     kept.get("a"), kept.get("b"), "a" in kept, "b" in kept
    ({'key': 'a', 'noise': 0.5}, None, True, False)
    """

    def __init__(self, store: Store, keys: dict[Path, set[str]]) -> None:
        self._store, self._keys = store, keys
        self._shards = {key: shard for shard, here in keys.items() for key in here}
        self._open: dict[Path, dict[str, dict[str, Any]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._shards

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a key; None where there is none, or its shard can no longer be read."""
        shard = self._shards.get(key)
        if shard is None:
            return None
        if shard not in self._open:
            if len(self._open) == OPEN:
                del self._open[next(iter(self._open))]
            rows = self._store._read(shard, self._keys[shard])
            self._open[shard] = {} if rows is None else {row["key"]: row for row in rows.iter_rows(named=True)}
        return self._open[shard].get(key)


def _left_out(shard: Path, error: Exception) -> None:
    log.warning("%s: is left out (%s); what it held is measured again", shard, str(error).splitlines()[0])
