"""What outlining by a share of the scan's own strength gives, beside a fixed probability, on an unknown scanner.

    python benchmarks/scout_outlines.py DATA [--model BUNDLE] [--channel 1]

DATA holds the folder ``lgg``. Prints the mean Dice over its tumour slices when a mask is drawn on every one of them:
pixels from a fixed probability on, and from the same share of the strength on, each with and without averaging over
the mirrored slice; and the AUC of the evidence.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.truth import read_mask
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.segmentation import dice
from tumorscope.inference.bundle import Bundle

LIMITS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--channel", type=int, default=1)
    given = parser.parse_args()
    bundle = Bundle.load(given.model, threads=1)
    rows = manifest.load(given.data / "lgg").with_columns(channel=pl.lit(given.channel)).to_dicts()
    with ThreadPoolExecutor(2) as pool:
        seen = [one for one in pool.map(lambda row: look(bundle, row), rows) if one]
    for flip in (False, True):
        part = [one[flip] for one in seen]
        label = np.array([one["label"] for one in part])
        evidence = np.array([one["evidence"] for one in part])
        print(f"{'with' if flip else 'without'} the mirrored slice: AUC of the evidence {roc_auc(label, evidence):.3f}")
        print("| limit | fixed | share of the strength |\n|---|---|---|")
        for limit in LIMITS:
            fixed, share = (np.nanmean([one[kind][limit] for one in part]) for kind in ("fixed", "share"))
            print(f"| {limit} | {fixed:.3f} | {share:.3f} |")


def look(bundle: Bundle, row: dict[str, Any]) -> dict[bool, dict[str, Any]] | None:
    """Evidence, and Dice at each limit, of one slice without and with its mirror image; None for a blank one."""
    pixels = io.read(row["path"], channel=row["channel"]).pixels
    if pixels.min() == pixels.max():
        return None
    truth = read_mask(row, pixels.shape)
    assert truth is not None
    prepared = bundle.metadata.preparation.prepare(pixels)
    found = {}
    for flip in (False, True):
        mask = bundle.run(prepared.pixels[None], flip=flip).mask
        strength = float(bundle.metadata.calibration.strength(mask)[0])
        map_ = prepared.to_input_grid(mask[0]) * prepared.head
        found[flip] = {
            "label": int(truth.any()),
            "evidence": float(bundle.metadata.calibration.evidence(mask)[0]),
            "fixed": {limit: dice(map_ >= limit, truth, empty="nan") if truth.any() else np.nan for limit in LIMITS},
            "share": {
                limit: dice(map_ >= limit * strength, truth, empty="nan") if truth.any() else np.nan for limit in LIMITS
            },
        }
    return found


if __name__ == "__main__":
    main()
