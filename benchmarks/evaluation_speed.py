"""Time of evaluating 100,000 predictions with 2,000 bootstrap rounds by group, and whether intervals cover.

    python benchmarks/evaluation_speed.py [--rows 100000] [--rounds 2000] [--coverage]

*Speed.* Made-up predictions in groups of three scans on average, with the columns that slices are made of, are written
to a CSV file, read, and evaluated: every metric with its interval, calibration and conformal sets fitted on 10,000
others, curves, slices. Wall and processor time are given, best of three; the aim is under 30 s on two cores. Beside it
stands, in the same run, the plain bootstrap (rows copied for each resample) of the AUC alone, on 20 rounds, scaled up.

*Coverage* (--coverage). Of intervals at 95 %: how often they hold the true value, over data sets made up anew from one
known distribution, of 200 scans of 100 patients and 60 scans of 60; several minutes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.comparison import auc_interval
from tumorscope.evaluation.evaluate import evaluate_predictions
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.scoring import BinaryScorer, intervals, point
from tumorscope.evaluation.statistics import bootstrap, share

TIMES = 3
PLAIN_ROUNDS = 20
SETS = 400  # made-up data sets for each setting
LARGE = 400_000  # rows whose metrics stand for the true ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--coverage", action="store_true", help="measure coverage instead of time")
    arguments = parser.parse_args()
    if arguments.coverage:
        coverage()
    else:
        speed(arguments.rows, arguments.rounds)


def made_up(size: int, seed: int, first: int = 0, alike: float = 1.0, each: float = 3.0) -> pl.DataFrame:
    """Predictions of a model that is right more often than not; scans of a patient share part of their luck."""
    rng = np.random.default_rng(seed)
    patient = np.cumsum(rng.uniform(size=size) < 1 / each)
    label = (rng.uniform(size=patient[-1] + 1) < 0.5)[patient].astype(int)
    luck = rng.normal(0, alike, patient[-1] + 1)[patient]
    logit = 2.4 * label - 1.2 + luck + rng.normal(0, 1, size)
    return pl.DataFrame(
        {
            "id": [f"s{first + k}" for k in range(size)],
            "label": label,
            "probability": np.round(expit(logit), 6),
            "patient": [f"p{seed}-{k}" for k in patient],
            "plane": rng.choice(["axial", "coronal", "sagittal"], size),
            "sequence": rng.choice(["T1", "T1c", "T2", "FLAIR"], size),
            "source": rng.choice(list("abcdef"), patient[-1] + 1)[patient],
            "quality": rng.uniform(size=size),
            "size": rng.gamma(2, 10, size),
        }
    )


def speed(rows: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "predictions.csv")
        made_up(rows, 0).write_csv(file)
        validation = Predictions.of(made_up(10_000, 1, first=rows), "validation")
        read, evaluated, processor, plain = [], [], [], []
        for _ in range(TIMES):
            begun = time.perf_counter()
            predictions = Predictions.read(file)
            read.append(time.perf_counter() - begun)
            begun, worked = time.perf_counter(), time.process_time()
            found = evaluate_predictions(predictions, validation, rounds=rounds)
            evaluated.append(time.perf_counter() - begun)
            processor.append(time.process_time() - worked)
            begun = time.perf_counter()
            bootstrap(roc_auc, predictions.truth, predictions.scores, groups=predictions.groups, rounds=PLAIN_ROUNDS)
            plain.append((time.perf_counter() - begun) * rounds / PLAIN_ROUNDS)
    print(f"{rows} predictions in {found.groups} groups, {rounds} rounds, best of {TIMES}")
    print(f"  read and checked     {min(read):8.1f} s")
    print(f"  evaluated            {min(evaluated):8.1f} s   (processor {min(processor):.1f} s)")
    print(f"  plain bootstrap, AUC {min(plain):8.1f} s   (scaled from {PLAIN_ROUNDS} rounds)")
    for sentence in found.sentences()[:6]:
        print("  " + sentence)


def coverage() -> None:
    for size, each in ((200, 2.0), (60, 1.0)):
        large = made_up(LARGE, 10**6, alike=1.0, each=each)
        scorer = BinaryScorer(large["label"], large["probability"])
        true = point(scorer, LARGE)
        held: Counter[str] = Counter()
        for seed in range(SETS):
            table = made_up(size, seed, alike=1.0, each=each)
            label, probability = table["label"].to_numpy(), table["probability"].to_numpy()
            groups = table["patient"].to_numpy()
            spans = intervals(BinaryScorer(label, probability), groups, rounds=500, seed=seed)
            for name in ("roc_auc", "pr_auc", "accuracy", "sensitivity", "mcc", "brier"):
                held[f"{name}, bootstrap by group"] += spans[name].low <= true[name] <= spans[name].high
            alone = intervals(BinaryScorer(label, probability), np.arange(size), rounds=500, seed=seed)["roc_auc"]
            held["roc_auc, bootstrap by scan"] += alone.low <= true["roc_auc"] <= alone.high
            for name, by in (("DeLong", None), ("DeLong for groups", groups)):
                span = auc_interval(label, probability, by)
                held[f"roc_auc, {name}"] += span.low <= true["roc_auc"] <= span.high
            span = share((probability >= 0.5) == label, groups)
            held["accuracy, Wilson by group"] += span.low <= true["accuracy"] <= span.high
        print(f"{size} scans, {each:g} of a patient: share of {SETS} intervals at 95 % that hold the true value")
        for name, count in sorted(held.items()):
            print(f"  {name:32} {100 * count / SETS:5.1f} %")


if __name__ == "__main__":
    main()
