"""Fits the gate ("is this a brain MRI slice?") and tells how it does on what it was not fitted on.

    python benchmarks/fit_gate.py DATA -o src/tumorscope/weights/gate.json --table table.md

DATA holds the folders navoneel, cheng, healthy, tumor_unmasked, progression, remind_dicom, and lgg, which is
evaluated only (its licence). Pictures that are no brain slices are drawn by the project or come with installed
packages; ``--pictures NAME=FOLDER`` adds folders of such pictures, e.g. icons or screenshots of this machine.
``--cache FILE.npz`` keeps the measures between runs.

The table: for each source, the share of its unaltered slices that is refused by the shipped gate and by a gate
fitted without that source; for each family, the share of its pictures, varied copies included, that pass the
shipped gate, a gate that knows the family but not the picture, and a gate that does not know the family. The
threshold is the highest at which no source, held out, loses more than ``--refused`` of its slices.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.training.gate_fit import Table, collect, fit, held_out, logits, pictures, with_threshold
from tumorscope.training.gate_sources import Picture, lgg_slices

LGG = ("lgg pre-contrast", "lgg FLAIR", "lgg post-contrast")


def lgg_table(data: Path) -> Table:
    planes = (
        (Picture(picture.pixels[channel], LGG[channel], picture.name), True, False)
        for picture in lgg_slices(data)
        for channel in range(3)
    )
    return collect(planes)


def threshold(table: Table, held: NDArray, share: float) -> float:
    """Highest logit at which no held-out source of 50 slices and more loses over ``share`` of its own slices."""
    own = table.brain & ~table.varied
    origins = [name for name in np.unique(table.origin[own]) if (own & (table.origin == name)).sum() >= 50]
    return float(min(np.quantile(held[own & (table.origin == name)], share, method="lower") for name in origins))


def rows(table: Table, own: NDArray, new: NDArray, strange: NDArray) -> list[str]:
    """Lines of the report: refused slices by source, passed pictures by family."""
    lines = ["| brain slices of | slices | refused | refused, source held out |", "|---|---|---|---|"]
    chosen = table.brain & ~table.varied
    for name in dict.fromkeys(table.origin[chosen]):
        lines.append(line(name, chosen & (table.origin == name), own < 0, new < 0))
    title = "| other pictures | pictures | passed | passed, picture held out | passed, family held out |"
    lines += ["", title, "|---|---|---|---|---|"]
    passed = (own >= 0, new >= 0, strange >= 0)
    for name in dict.fromkeys(table.origin[~table.brain]):
        lines.append(line(name, ~table.brain & (table.origin == name), *passed))
    lines.append(line("all of them", ~table.brain, *passed))
    lines.append(line("all of them, unaltered", ~table.brain & ~table.varied, *passed))
    return lines


def line(name: str, where: NDArray, *hits: NDArray) -> str:
    cells = " | ".join(f"{int(hit[where].sum())} ({hit[where].mean():.1%})" for hit in hits)
    return f"| {name} | {int(where.sum())} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--pictures", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--refused", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.monotonic()

    def say(what: object) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {what}", file=sys.stderr, flush=True)

    if given.cache and given.cache.exists():
        table = Table.load(given.cache)
    else:
        extra = {name: Path(folder) for name, folder in (item.split("=", 1) for item in given.pictures)}
        chosen = pictures(given.data, given.seed, extra)
        table = collect(chosen, lambda count: say(f"{count} pictures measured") if count % 1000 == 0 else None)
        if given.cache:
            table.save(given.cache)
    say(f"{table.brain.sum()} brain slices, {(~table.brain).sum()} other pictures")
    new, strange = (
        held_out(table, families=families, seed=given.seed, progress=lambda fold: say(f"held out: {fold}"))
        for families in (False, True)
    )
    cut = threshold(table, new, given.refused)
    gate = with_threshold(fit(table, given.seed), cut)
    given.out.write_text(json.dumps(gate.to_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    say(f"threshold at logit {cut:.2f}; wrote {given.out} ({given.out.stat().st_size / 1000:.0f} kB)")
    report = rows(table, logits(gate, table.values), new - cut, strange - cut)
    lgg = lgg_table(given.data)
    refused = logits(gate, lgg.values) < 0
    report += ["", "| LGG, never fitted on | slices | refused |", "|---|---|---|"]
    for name in LGG:
        where = lgg.origin == name
        report.append(f"| {name} | {where.sum()} | {refused[where].sum()} ({refused[where].mean():.1%}) |")
    text = "\n".join(report) + "\n"
    if given.table:
        given.table.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
