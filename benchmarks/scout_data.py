"""The manifest that scout is trained and tested on: sources, groups, split, and what was left out and why.

    python benchmarks/scout_data.py DATA -o scout_data.parquet --phantoms FOLDER

DATA holds the folders ``cheng``, ``healthy``, ``tumor_unmasked``, ``progression`` and ``navoneel``. All are grouped
together, near-duplicates across collections included, mirrored and turned ones too. Cheng has no patient ids: it is
split by blocks of 60 neighbouring numbers with a gap of 10, and a scan elsewhere that is a copy of one of its takes
the side that one has. Navoneel is never trained on: whatever is tied to one of its scans goes to the test. The other
healthy and unmasked scans are split by group, progression by patient: 04 is kept for the test. Unmasked tumour scans
that merely look like a held-out scan of Cheng (correlation above 0.90: perhaps another slice of the same patient)
are left out. So are the groups of the healthy collection that are no MRI (CT) or in which a lesion is seen, by the eye
of an engineer and not of a radiologist: `healthy_marks.csv` names a scan of each. They stay in the test, where
`scout_card.py` reports figures with and without them. Phantoms are drawn into FOLDER and train only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope.datasets import duplicates, manifest, phantom, splits
from tumorscope.datasets.families import families

SOURCES = ("cheng", "healthy", "tumor_unmasked", "progression", "navoneel")
SHARES = {"train": 0.72, "val": 0.14, "test": 0.14}
HEALTHY = {"train": 0.68, "val": 0.22, "test": 0.10}  # the scans tied to navoneel are held out besides
LOOKS_ALIKE = 0.90
MARKS = Path(__file__).with_name("healthy_marks.csv")
TEST_PATIENT = "04"
PHANTOMS = 500
SEED = 17


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--phantoms", type=Path, required=True, help="folder to draw the phantoms into")
    arguments = parser.parse_args()
    table = scout_manifest(arguments.data)
    table = pl.concat([table, drawn(arguments.phantoms)], how="diagonal_relaxed")
    manifest.write(splits.check(table, by="split"), arguments.out)
    with pl.Config(tbl_rows=-1):
        print(
            table.group_by("source", "split")
            .agg(pl.len().alias("scans"), pl.col("group").n_unique())
            .sort("source", "split")
        )


def scout_manifest(data: Path) -> pl.DataFrame:
    """The real sources with ``split`` filled; rows left out have a null split."""
    table = manifest.load([data / name for name in SOURCES])
    unit = families(table)
    tied = np.isin(unit, unit[(table["source"] == "navoneel").to_numpy()])
    held = table.filter(pl.Series(tied)).with_columns(
        split=pl.when(pl.col("source").is_in(["navoneel", "healthy"])).then(pl.lit("test"))
    )
    rest = table.filter(pl.Series(~tied))
    of = {name: rest.filter(pl.col("source") == name) for name in SOURCES}
    both = splits.by_source(pl.concat([of["cheng"], of["tumor_unmasked"]]), SHARES, ordered=["cheng"], seed=SEED)
    healthy = without_marked(splits.holdout(of["healthy"], HEALTHY, seed=SEED))
    side = pl.when(pl.col("patient") == TEST_PATIENT).then(pl.lit("test")).otherwise(pl.lit("train"))
    progression = of["progression"].with_columns(split=side)
    return pl.concat([without_look_alikes(in_blocks(both)), healthy, progression, held], how="diagonal_relaxed")


def in_blocks(table: pl.DataFrame) -> pl.DataFrame:
    """``table`` with Cheng's groups named by block and side, so that intervals resample blocks and not the chain."""
    cheng = table.filter(pl.col("source") == "cheng")
    number = cheng["id"].str.extract(r"(\d+)$").cast(pl.Int64)
    cheng = cheng.with_columns(number=number).sort("number")
    part = (cheng["split"].fill_null("") != cheng["split"].fill_null("").shift(1)).fill_null(True).cum_sum()
    name = "cheng:" + part.cast(pl.String) + ":" + (cheng["number"] // 60).cast(pl.String)
    return pl.concat([cheng.with_columns(group=name).drop("number"), table.filter(pl.col("source") != "cheng")])


def without_marked(table: pl.DataFrame) -> pl.DataFrame:
    """``table`` with a null split for the training and validation groups that hold a marked scan."""
    marked = table.join(pl.read_csv(MARKS), on="id", how="semi")["group"].unique().to_list()
    out = (pl.col("split") != "test") & pl.col("group").is_in(marked)
    return table.with_columns(split=pl.when(out).then(None).otherwise(pl.col("split")))


def without_look_alikes(table: pl.DataFrame) -> pl.DataFrame:
    """``table`` with a null split for whole groups of unmasked scans that look like a held-out one of Cheng."""
    held = table.filter((pl.col("source") == "cheng") & pl.col("split").is_in(["val", "test"]))
    mine = table.filter((pl.col("source") == "tumor_unmasked") & (pl.col("split") == "train"))
    prints = duplicates.fingerprints([*held["path"].to_list(), *mine["path"].to_list()])
    count = held.height
    alike = np.concatenate(
        [
            duplicates.correlations(prints, np.arange(start, min(start + 100, len(prints))), slice(0, count)).max(1)
            for start in range(count, len(prints), 100)
        ]
    )
    groups = mine.filter(pl.Series(alike > LOOKS_ALIKE))["group"].unique().to_list()
    out = (pl.col("source") == "tumor_unmasked") & pl.col("group").is_in(groups)
    return table.with_columns(split=pl.when(out).then(None).otherwise(pl.col("split")))


def drawn(folder: Path) -> pl.DataFrame:
    """Phantoms of all planes, contrasts and lesions, for training."""
    if not folder.exists():
        phantom.write_dataset(folder, count=PHANTOMS, seed=SEED, size=224)
    return manifest.load(folder).with_columns(source=pl.lit("phantom"), split=pl.lit("train"))


if __name__ == "__main__":
    main()
