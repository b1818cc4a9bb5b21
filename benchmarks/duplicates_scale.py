"""Time, memory and completeness of the search for duplicates among 10,000 to 200,000 scans.

    python benchmarks/duplicates_scale.py [FOLDER ...] --counts 50000 100000 200000

Works on thumbnails: reading and shrinking the scans, which is linear, cached and parallel in an audit, is not
counted. They are made from the scans in the folders (phantoms without one) by blending two at random, bending the
blend smoothly by some pixels and changing its contrast, so that there are as many distinct heads as wanted that
look like heads. Every fourth is then replaced by a copy of another: turned, shifted a little, its contrast changed,
with noise. Each size is measured in a process of its own. Then for each size:

- seconds, on the clock and of all cores together, of `copies` and of `groups`, and peak memory of the process;
- pairs; planted copies that share a group with their original; largest group;
- pairs wanted, which are the planted ones and those that comparing all with all finds among 10,000 rows drawn from
  the whole, both as far as they pass the two looks; and how many of these the search in the whole missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SAMPLE = 10_000  # rows that are compared all with all
PHANTOMS = 200  # heads that thumbnails are made from where no folder is given
BEND = 0.4  # thumbnail pixels, standard deviation of the bending of a distinct head
NUDGE = 0.15  # the same of a copy
NOISE = 0.03  # of a copy's norm
KNOTS = 4  # a side, from which a bending is interpolated
COPIES = 4  # every fourth is a copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="data sets; phantoms without one")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 50_000, 100_000], help="numbers of scans")
    parser.add_argument("--thumbnails", type=Path, help="keep the folders' thumbnails in this .npy file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(*map(Path, arguments.child))))
        return
    heads = originals(arguments.folders, arguments.thumbnails)
    print(f"{len(heads)} originals; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    titles = ("scans", "copies s", "groups s", "CPU s", "peak MB", "pairs", "groups", "largest", "planted", "found %")
    print(" ".join(f"{title:>9}" for title in (*titles, "wanted", "missed", "load")), flush=True)
    for count in arguments.counts:
        with tempfile.TemporaryDirectory(prefix="tumorscope-scale-") as folder:
            row = child(heads, count, Path(folder))
        shown = [
            count, f"{row['copies']:.1f}", f"{row['groups']:.1f}", f"{row['cpu']:.1f}", f"{row['peak']:.0f}",
            row["pairs"], row["distinct"], row["largest"], row["planted"], f"{100 * row['recalled']:.2f}",
            row["wanted"], row["missed"], f"{os.getloadavg()[0]:.1f}",
        ]  # fmt: skip
        print(" ".join(f"{value:>9}" for value in shown), flush=True)


def originals(folders: list[Path], kept: Path | None) -> Any:
    """Thumbnails (N, 2, 24, 24) that all others are made from."""
    import numpy as np

    from tumorscope.datasets import manifest, phantom
    from tumorscope.datasets.duplicates import fingerprints

    if kept and kept.exists():
        return np.load(kept)
    if folders:
        table = manifest.load(folders, groups=False)
        heads = fingerprints(table["path"].to_list(), channels=table["channel"].to_list(), threads=2, failed={})
        heads = heads[heads.any(axis=(1, 2, 3))]
    else:
        planes = [phantom.make(seed, phantom.PLANES[seed % 3], size=96).image for seed in range(PHANTOMS)]
        heads = fingerprints([plane.astype(np.float32) for plane in planes], threads=2)
    if kept:
        np.save(kept, heads)
    return heads


def child(heads: Any, count: int, folder: Path) -> Any:
    """What a fresh process measures on ``count`` thumbnails."""
    import numpy as np

    prints, parent = drawn(heads, count, np.random.default_rng(count))
    np.save(folder / "prints.npy", prints)
    np.save(folder / "parent.npy", parent)
    del prints
    command = [sys.executable, __file__, "--child", str(folder / "prints.npy"), str(folder / "parent.npy")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def drawn(heads: Any, count: int, rng: Any) -> tuple[Any, Any]:
    """Thumbnails (count, 2, 24, 24) of heads and copies, shuffled, and of each the row that it is a copy of, or -1."""
    import numpy as np

    from tumorscope.datasets.likeness import turned

    prints = np.empty((count, 2, 24, 24), np.float32)
    parent = np.full(count, -1)
    place = rng.permutation(count)
    distinct = count - count // COPIES
    for number in range(count):
        if number < distinct:
            one, other = rng.integers(len(heads), size=2)
            share = rng.uniform(0.2, 0.5)
            picture = (1 - share) * turned(heads[one], 1 if rng.random() < 0.5 else 0) + share * heads[other]
            made = changed(picture, BEND, rng.uniform(0.7, 1.4), 0.0, rng)
        else:
            of = int(place[rng.integers(distinct)])
            picture = turned(prints[of], int(rng.integers(8)))
            made = changed(picture, NUDGE, rng.uniform(0.9, 1.1), NOISE, rng)
            parent[place[number]] = of
        prints[place[number]] = made
    return prints, parent


def changed(picture: Any, bend: float, gamma: float, noise: float, rng: Any) -> Any:
    """Both thumbnails bent alike, with other contrast and noise, again of mean 0 and norm 1."""
    import cv2
    import numpy as np

    across, down = np.meshgrid(np.arange(24, dtype=np.float32), np.arange(24, dtype=np.float32))
    knots = rng.normal(0, bend, (2, KNOTS, KNOTS)).astype(np.float32)
    shift = [cv2.resize(part, (24, 24), interpolation=cv2.INTER_CUBIC) for part in knots]
    result = np.empty((2, 24, 24), np.float32)
    for view in (0, 1):
        flat = np.ascontiguousarray(picture[view], np.float32)
        bent = cv2.remap(flat, across + shift[0], down + shift[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        even = (bent - bent.min()) / max(float(np.ptp(bent)), 1e-6)
        even = even**gamma
        even = even - even.mean()
        even = even / max(float(np.linalg.norm(even)), 1e-6) + noise * rng.standard_normal((24, 24)) / 24
        even = even - even.mean()
        result[view] = even / np.linalg.norm(even)
    return result


def measured(prints_file: Path, parent_file: Path) -> dict[str, Any]:
    """Times and findings on the thumbnails of a file."""
    import resource

    import numpy as np

    from tumorscope.datasets.duplicates import copies, groups

    prints, parent = np.load(prints_file), np.load(parent_file)
    begun, worked = time.perf_counter(), time.process_time()
    pairs = copies(prints)
    between = time.perf_counter()
    group = groups(prints, found=pairs)
    ended, worked = time.perf_counter(), time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    planted = np.flatnonzero(parent >= 0)
    sample = np.sort(np.random.default_rng(0).choice(len(prints), min(SAMPLE, len(prints)), replace=False))
    wanted = agreeing(prints, *all_with_all(prints, sample)) | agreeing(prints, planted, parent[planted])
    found = set((pairs.i * len(prints) + pairs.j).tolist())
    return {
        "copies": between - begun, "groups": ended - between, "cpu": worked, "peak": peak, "pairs": len(pairs.i),
        "distinct": int(group.max()) + 1, "largest": int(np.bincount(group).max()), "planted": len(planted),
        "recalled": float((group[planted] == group[parent[planted]]).mean()), "wanted": len(wanted),
        "missed": len(wanted - found),
    }  # fmt: skip


def all_with_all(prints: Any, sample: Any) -> tuple[Any, Any]:
    """Pairs of rows of the sample that pass the first look, found by comparing all with all."""
    import numpy as np

    from tumorscope.datasets.duplicates import NEAR
    from tumorscope.datasets.likeness import first_look, likeness

    looks = [first_look(prints[sample, view]) for view in (0, 1)]
    left, right = [], []
    for start in range(0, len(sample), 256):
        rows = slice(start, start + 256)
        best = np.maximum(*(likeness(look[rows], look[start:]) for look in looks))
        i, j = np.nonzero(best >= NEAR)
        left.append(i[j > i] + start)
        right.append(j[j > i] + start)
    return sample[np.concatenate(left)], sample[np.concatenate(right)]


def agreeing(prints: Any, one: Any, other: Any) -> set[int]:
    """Those of the pairs of rows that pass both looks, numbered i * N + j with i < j."""
    import numpy as np

    from tumorscope.datasets.duplicates import NEAR, THRESHOLD
    from tumorscope.datasets.likeness import first_look, overlaid, turn_likeness
    from tumorscope.datasets.neighbours import UNDOES

    i, j = np.minimum(one, other), np.maximum(one, other)
    turns = [turn_likeness(first_look(prints[i, view]), first_look(prints[j, view])) for view in (0, 1)]
    flat = np.concatenate(turns, 1)
    view, turn = np.divmod(flat.argmax(1), turns[0].shape[1])
    value = np.maximum(overlaid(prints, i, j, view, turn), overlaid(prints, j, i, view, UNDOES[turn]))
    good = (flat.max(1) >= NEAR) & (value >= THRESHOLD)
    return set((i[good] * len(prints) + j[good]).tolist())


if __name__ == "__main__":
    main()
