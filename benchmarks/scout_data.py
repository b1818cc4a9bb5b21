"""The manifest that scout is trained and tested on: sources, groups, split, and what was left out and why.

    python benchmarks/scout_data.py DATA -o scout_data.parquet

DATA holds the folders ``cheng``, ``healthy``, ``tumor_unmasked`` and ``progression``. Cheng has no patient
ids: it is split by blocks of 60 neighbouring numbers with a gap of 10. Healthy and unmasked tumour scans are
split by near-duplicate group, progression by patient: 04 is kept for the test. Unmasked tumour scans that
look like a held-out scan of Cheng (correlation above 0.90 at 24x24: perhaps another slice of the same
patient) are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope.datasets import duplicates, manifest, splits

SHARES = {"train": 0.75, "val": 0.10, "test": 0.15}
LOOKS_ALIKE = 0.90
TEST_PATIENT = "04"
SEED = 17


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    table = scout_manifest(arguments.data)
    manifest.write(table, arguments.out)
    with pl.Config(tbl_rows=-1):
        print(
            table.group_by("source", "split")
            .agg(pl.len().alias("scans"), pl.col("group").n_unique())
            .sort("source", "split")
        )


def scout_manifest(data: Path) -> pl.DataFrame:
    """The four sources with ``split`` filled; rows left out have a null split."""
    cheng = manifest.load(data / "cheng").with_columns(group=pl.lit(None, pl.String))
    cheng = splits.blocks(cheng, SHARES, block=60, gap=10, seed=SEED)
    number = cheng["id"].str.extract(r"(\d+)$").cast(pl.Int64)
    part = (cheng["split"] != cheng["split"].shift(1)).fill_null(True).cum_sum()
    cheng = cheng.with_columns(group="cheng:" + part.cast(pl.String) + ":" + (number // 60).cast(pl.String))
    healthy = splits.holdout(manifest.load(data / "healthy"), SHARES, seed=SEED)
    unmasked = splits.holdout(manifest.load(data / "tumor_unmasked"), SHARES, seed=SEED, stratify="tumor_type")
    progression = manifest.load(data / "progression").with_columns(
        split=pl.when(pl.col("patient") == TEST_PATIENT).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    unmasked = without_look_alikes(unmasked, cheng)
    table = pl.concat([cheng, healthy, unmasked, progression], how="diagonal_relaxed")
    return splits.check(table, by="split")


def without_look_alikes(unmasked: pl.DataFrame, cheng: pl.DataFrame) -> pl.DataFrame:
    """``unmasked`` with a null split for whole groups in which a scan looks like a held-out one of ``cheng``."""
    held = duplicates.fingerprints(cheng.filter(pl.col("split").is_in(["val", "test"]))["path"].to_list())
    mine = duplicates.fingerprints(unmasked["path"].to_list())
    both = [
        (mine.reshape(len(mine), -1) @ other.reshape(len(other), -1).T).max(1) for other in (held, held[:, :, ::-1])
    ]
    alike = np.maximum(*both) > LOOKS_ALIKE
    groups = unmasked.filter(pl.Series(alike))["group"].unique().to_list()
    return unmasked.with_columns(split=pl.when(pl.col("group").is_in(groups)).then(None).otherwise(pl.col("split")))


if __name__ == "__main__":
    main()
