"""Groups of a manifest: what must stay on one side of every split."""

from __future__ import annotations

import logging
from collections.abc import Hashable

import polars as pl

from tumorscope.datasets import duplicates
from tumorscope.datasets.families import ancestry, join, keys_of

log = logging.getLogger("tumorscope")


def assign_groups(
    df: pl.DataFrame, threshold: float = duplicates.THRESHOLD, *, near: bool = True, threads: int = 4
) -> pl.DataFrame:
    """``df`` with ``group`` filled in every row.

    Rows are one group when they share a patient, a case, an ancestor or bytes, when they are
    near-duplicates, or when their ``group`` says so already; and so on in steps, across sources.
    A group bears the name of its source and of its first member in alphabetical order.

    Parameters
    ----------
    df : polars.DataFrame
        A manifest with readable paths.
    threshold : float
        Correlation from which two scans are near-duplicates.
    near : bool
        Whether to look for near-duplicates; without them no image is read.
    threads : int
        Files read at once.

    Examples
    --------
    >>> df = pl.DataFrame({"id": ["a", "b", "c"], "patient": ["1", "1", None]})
    >>> assign_groups(df, near=False)["group"].to_list()
    ['a', 'a', 'c']
    """
    ties: list[list[Hashable]] = [list(keys) for keys in ancestry(df)]
    for keys in keys_of(df).values():
        for tied, key in zip(ties, keys, strict=True):
            if key is not None:
                tied.append(key)
    if "sha256" in df.columns:
        for tied, digest in zip(ties, df["sha256"].to_list(), strict=True):
            if digest is not None:
                tied.append(("sha256", digest))
    if near:
        for tied, number in zip(ties, _clusters(df, threshold, threads), strict=True):
            tied.append(("near", number))
    unit = join(ties).tolist()
    sources = df["source"].to_list() if "source" in df.columns else [None] * df.height
    names: dict[int, str] = {}
    for number, own, source in zip(unit, df["id"].to_list(), sources, strict=True):
        name = f"{source}:{own}" if source else str(own)
        names[number] = min(names.get(number, name), name)
    return df.with_columns(pl.Series("group", [names[number] for number in unit], dtype=pl.String))


def _clusters(df: pl.DataFrame, threshold: float, threads: int) -> list[int]:
    failed: dict[int, str] = {}
    channels = df["channel"].to_list() if "channel" in df.columns else None
    prints = duplicates.fingerprints(df["path"].to_list(), channels=channels, threads=threads, failed=failed)
    for index in sorted(failed):
        log.warning("%s; it is compared with nothing", failed[index])
    return [int(number) for number in duplicates.groups(prints, threshold)]
