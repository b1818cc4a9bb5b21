"""Synthetic scans in a manifest: bound to all that their generator saw, so that no split can part them."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tumorscope.datasets import splits
from tumorscope.datasets.families import families
from tumorscope.datasets.schema import conform, validate
from tumorscope.datasets.sides import TRAIN, refuse_known
from tumorscope.errors import DataError

DIGITS = 16  # of a SHA-256 that tell a scan, as bundles keep them


def bound(real: pl.DataFrame, synthetic: pl.DataFrame, seen: Iterable[str], model: str) -> pl.DataFrame:
    """Real and synthetic rows in one manifest, in which the generator's scans and pictures are one group.

    The group takes in every family (`datasets.families`) of ``real`` of which the generator saw a scan. So
    whatever splits by group puts them on one side: where a synthetic scan teaches, nothing that its generator saw can
    validate or test. Where ``real`` is split already, the pictures stand on the training side, and a generator that
    saw a scan of another side is refused.

    Parameters
    ----------
    real : polars.DataFrame
        A manifest with ``sha256``; best the one that the generator was trained on, or more.
    synthetic : polars.DataFrame
        Rows with at least ``id`` and ``path``; ``synthetic``, ``group``, ``split`` are set here.
    seen : iterable of str
        SHA-256 of each file that taught or chose the generator, or the first 16 digits of it.
    model : str
        Name of the generator; the group's name comes from it.

    Returns
    -------
    polars.DataFrame
        The rows of ``real``, then the synthetic ones, with the column ``model`` beside the manifest's own.

    Raises
    ------
    DataError
        If none of the generator's scans is in ``real``, a synthetic id is taken, or a side is contradicted.

    Examples
    --------
    >>> real = pl.DataFrame({"id": ["a", "b"], "path": ["a", "b"], "sha256": ["1" * 64, "2" * 64], "group": ["g", "h"]})
    >>> joined = bound(real, pl.DataFrame({"id": ["s"], "path": ["s"]}), ["1" * 64], "ddim")
    >>> joined.select("id", "group", "synthetic").rows()
    [('a', 'made by ddim', None), ('b', 'h', None), ('s', 'made by ddim', True)]
    """
    table = validate(conform(real, "manifest"), "manifest")
    made = conform(synthetic, "synthetic scans")
    refuse_known(table, made["id"].to_list())
    known = {digest[:DIGITS] for digest in seen}
    hit = table["sha256"].str.slice(0, DIGITS).is_in(list(known)).fill_null(False)
    if not hit.any():
        raise DataError(
            f"{model}: none of the {len(known)} scans that it saw is in the manifest; give the data it was trained on"
        )
    unit = pl.Series("_unit", families(table))
    tied = unit.is_in(unit.filter(hit).unique())
    group = f"made by {model}"
    table = table.with_columns(group=pl.when(tied).then(pl.lit(group)).otherwise(pl.col("group")))
    sides = set(table.filter(tied)["split"].drop_nulls().to_list())
    if sides - {TRAIN}:
        other = ", ".join(sorted(sides - {TRAIN}))
        raise DataError(
            f"{model}: saw scans of the part '{other}', which its pictures would carry into training; "
            "split first and train the generator on that manifest"
        )
    if table.filter(tied)["fold"].is_not_null().any():
        raise DataError(f"{model}: the manifest is in folds, of which its scans fill several; split it after joining")
    made = made.with_columns(
        synthetic=pl.lit(True),
        group=pl.lit(group),
        split=pl.lit(TRAIN if table["split"].is_not_null().any() else None, pl.String),
        fold=pl.lit(None, pl.Int64),
        model=pl.lit(model),
    )
    return splits.check(validate(pl.concat([table, made], how="diagonal_relaxed"), "manifest"))
