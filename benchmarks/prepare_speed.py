"""Cost of `prepare` for each image over the number of images, its memory, and what a second process gains.

    python benchmarks/prepare_speed.py [--counts 100 1000 10000] [--steps clean,crop,contrast,musica]

Phantoms of 256 px are drawn once and linked under as many names as are asked for. Each measurement runs in a process of
its own; its peak memory is that of the process and of its largest child. Loading the manifest, which hashes every file,
is not part of the time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DIFFERENT = 40  # phantoms drawn; more names than these link to them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--steps", default="clean,crop,contrast,musica")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", nargs=4, metavar=("SCANS", "COUNT", "STEPS", "WORKERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        scans, count, steps, workers = arguments.one
        measured(Path(scans), int(count), steps, int(workers))
        return
    from tumorscope.datasets import phantom

    with tempfile.TemporaryDirectory(prefix="tumorscope-prepare-") as folder:
        scans = phantom.write_dataset(Path(folder) / "phantoms", DIFFERENT, seed=1, size=256) / "images"
        print(f"steps {arguments.steps}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{'images':>8}{'workers':>9}{'seconds':>9}{'ms an image':>13}{'peak MB':>9}", flush=True)
        for count in arguments.counts:
            for workers in arguments.workers:
                one = ["--one", str(scans), str(count), arguments.steps, str(workers)]
                subprocess.run([sys.executable, __file__, *one], check=True)


def measured(scans: Path, count: int, steps: str, workers: int) -> None:
    """One line of the table."""
    import polars as pl

    from tumorscope.datasets.facts import sha256
    from tumorscope.datasets.prepare import prepare
    from tumorscope.imaging.steps import parse

    files = sorted(scans.glob("*.png"))
    hashes = [sha256([file]) for file in files]
    rows = [
        {"id": f"s{n:06d}", "path": str(files[n % len(files)]), "sha256": hashes[n % len(files)]} for n in range(count)
    ]
    with tempfile.TemporaryDirectory(prefix="tumorscope-prepared-") as out:
        begun = time.perf_counter()
        prepare(pl.DataFrame(rows), parse(steps), out, workers=workers)
        seconds = time.perf_counter() - begun
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024
    peak = (own + children) * unit / 1e6
    print(f"{count:>8}{workers:>9}{seconds:>9.1f}{1000 * seconds / count:>13.2f}{peak:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
