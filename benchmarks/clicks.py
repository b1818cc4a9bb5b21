"""Figures of a prompted engine: Dice after clicks, clicks to Dice 0.80, boxes that are off, and the time a click takes.

    python benchmarks/clicks.py MANIFEST                                   # the engine click, held-out scans
    python benchmarks/clicks.py MANIFEST --split test --engine grabcut --most 5
    python benchmarks/clicks.py DATA/lgg --checkpoint RUN/engine           # FLAIR; --channel 2 is post-contrast

DATA is a manifest or a folder that tumorscope knows. With a filled ``split`` column only the rows of --split count, so
that a run's own manifest gives its held-out scans. Lesions under --least pixels are left out and counted. Intervals are
bootstrapped by group (patient, block). Clicks go to the middle of the largest error; the answer that the engine itself
rates best counts, never the best of three. Nothing is chosen on these scans.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.annotation.engine import ENGINES, Engine, open_engine
from tumorscope.annotation.trial import GOAL, JITTERS, MOST_CLICKS, Trial, boxed, clicked, correlation
from tumorscope.datasets import manifest
from tumorscope.datasets.truth import read_mask
from tumorscope.evaluation.statistics import bootstrap

SHOWN = (1, 2, 3, 5)  # clicks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest, or folder")
    parser.add_argument("--split", default="test", help="rows that count, where the manifest has splits")
    parser.add_argument("--source", help="only rows of this source")
    parser.add_argument("--channel", type=int, help="another channel than the manifest's")
    parser.add_argument("--engine", default="click", choices=list(ENGINES))
    parser.add_argument("--checkpoint", type=Path, help="weights instead of the published ones")
    parser.add_argument("--most", type=int, default=MOST_CLICKS, help="clicks at most")
    parser.add_argument("--least", type=int, default=20, help="smallest lesion, pixels")
    parser.add_argument("--limit", type=int, help="only so many scans, evenly spread")
    parser.add_argument("--out", type=Path, help="CSV with a row for each slice")
    arguments = parser.parse_args()
    engine = open_engine(arguments.engine, arguments.checkpoint)
    rows = chosen(arguments)
    found, small = [], 0
    for row in rows.iter_rows(named=True):
        scan = io.read(row["path"])
        channel = (row["channel"] or 0) if arguments.channel is None else arguments.channel
        pixels = scan.pixels if scan.axes[0] != "C" else scan.channel(channel).pixels
        truth = read_mask(row, pixels.shape)
        if truth is None or not truth.any():
            continue
        volume = pixels.ndim == 3
        for index in range(len(pixels)) if volume else (0,):
            plane, marked = (pixels[index], truth[index]) if volume else (pixels, truth)
            if marked.sum() < arguments.least:
                small += bool(marked.any())
                continue
            found.append({"id": row["id"], "slice": index, "group": row["group"] or row["patient"] or row["id"]})
            found[-1] |= tried(engine, plane, marked, len(found), arguments.most)
    table = pl.DataFrame(found)
    if arguments.out:
        table.drop("trial").write_csv(arguments.out)
    tell(table, engine, small, arguments.most)


def chosen(arguments: argparse.Namespace) -> pl.DataFrame:
    """The rows that count."""
    table = manifest.load([arguments.data])
    if table["split"].null_count() < table.height:
        table = table.filter(pl.col("split") == arguments.split)
    if arguments.source:
        table = table.filter(pl.col("source") == arguments.source)
    table = table.filter(pl.col("mask_path").is_not_null() & (pl.col("label") != 0).fill_null(True))
    if arguments.limit and table.height > arguments.limit:
        table = table[np.linspace(0, table.height - 1, arguments.limit).astype(int).tolist()]
    return table


def tried(engine: Engine, plane: np.ndarray, truth: np.ndarray, number: int, most: int) -> dict[str, object]:
    """Trial and times of one slice."""
    begun = time.perf_counter()
    embedded = engine.embed(plane)
    ready = time.perf_counter()
    trial = clicked(engine, embedded, truth, most)
    done = time.perf_counter()
    boxes = boxed(engine, embedded, truth, np.random.default_rng(number))
    return {
        **{f"dice_{clicks}": trial.at(clicks) for clicks in SHOWN},
        "clicks": trial.clicks_to(GOAL, most),
        **{f"box_{round(100 * share)}": value for share, value in boxes.items()},
        "embed_ms": 1000 * (ready - begun),
        "click_ms": 1000 * (done - ready) / len(trial.after),
        "trial": trial,
    }


def tell(table: pl.DataFrame, engine: Engine, small: int, most: int) -> None:
    """Print the figures."""
    groups = table["group"].to_numpy()
    print(
        f"{engine.name} {engine.version}: {table.height} slices in {len(set(groups))} groups; {small} lesions too small"
    )
    names = [f"dice_{clicks}" for clicks in SHOWN] + ["clicks"] + [f"box_{round(100 * share)}" for share in JITTERS]
    for name in names:
        interval = bootstrap(np.mean, table[name].to_numpy(), groups=groups, rounds=1000)
        print(f"  {name:8} {interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    never = float((table["clicks"] >= most).mean())
    trials: list[Trial] = table["trial"].to_list()
    print(f"  Dice {GOAL:.2f} not reached within {most} clicks: {100 * never:.1f} % (counted as {most})")
    print(f"  predicted against real IoU of the first answers: correlation {correlation(trials):.3f}")
    print(
        f"  {table['embed_ms'].median():.0f} ms to embed, {table['click_ms'].median():.0f} ms a click "
        f"(median; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
