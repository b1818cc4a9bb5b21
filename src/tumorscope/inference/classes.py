"""``classes.csv``: what a bundle of several classes says of each scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.inference.predictor import Prediction
from tumorscope.inference.table import Row
from tumorscope.io import Item, atomic
from tumorscope.scan import Scan

CLASSES = "classes.csv"


class ClassTable:
    """A sink that keeps the probability of each class, as ``OUT/classes.csv`` with ``probability_NAME`` columns.

    Parameters
    ----------
    out : Path
    labels : tuple of str
        Of the bundle, by index.
    """

    def __init__(self, out: Path, labels: tuple[str, ...]) -> None:
        self._file, self._labels = out / CLASSES, labels
        self._rows: list[dict[str, Any]] = []

    def draw(self, item: Item, scan: Scan, prediction: Prediction) -> dict[str, float]:
        """The probabilities of a scan; empty where the gate refused it."""
        return prediction.classes

    def add(self, row: Row, drawn: dict[str, float] | None) -> None:
        """Keep a row."""
        told = {f"probability_{name}": (drawn or {}).get(name) for name in self._labels}
        likely = max(drawn, key=lambda name: drawn[name]) if drawn else None
        self._rows.append({"id": row.id, "path": row.path, "status": row.status, "said": likely, **told})

    def close(self, interrupted: str) -> None:
        """Write the table."""
        texts = {"id": pl.String, "path": pl.String, "status": pl.String, "said": pl.String}
        schema = {**texts, **{f"probability_{name}": pl.Float64 for name in self._labels}}
        with atomic(self._file) as draft:
            pl.DataFrame(self._rows, schema=schema).write_csv(draft)
