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
        wanted = set(keys)
        for shard in sorted(self.folder.glob(f"measured-{self.version}-*.parquet")):
            if not wanted:
                return
            try:
                here = wanted.intersection(pl.read_parquet(shard, columns=["key"])["key"].to_list())
                rows = pl.read_parquet(shard) if here else None
            except (pl.exceptions.PolarsError, OSError) as error:
                log.warning("%s: is left out (%s); its scans are measured again", shard, str(error).splitlines()[0])
                continue
            if rows is not None:
                wanted -= here
                yield rows.filter(pl.col("key").is_in(list(here))).unique("key", keep="first", maintain_order=True)

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
