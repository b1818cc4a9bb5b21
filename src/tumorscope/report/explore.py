"""`explore`: a folder as pictures and tables; what is there before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope import io
from tumorscope.datasets import features
from tumorscope.errors import DataError, TumorscopeError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.imaging.cluster_sweep import Sweep, sweep
from tumorscope.imaging.features import NAMES
from tumorscope.io import atomic
from tumorscope.report import exploration
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.exploration import Sample

SAMPLE = 20  # scans shown, drawn from all classes
SHOWN = 6  # of them in figures that take a row a scan
SWEPT = 10  # of them in the k-means sweep
TOLD = 14  # features in the chart: those that part the classes most, or vary most

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exploration:
    """What was made: the page, the table of features, the sweep, and one line for each scan that failed."""

    report: Path
    features: pl.DataFrame
    sweep: Sweep
    failed: tuple[str, ...]


def explore(
    table: pl.DataFrame,
    out: Path,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    workers: int = 2,
    command: str = "",
    progress: Progress = lambda doing, done, total: None,
) -> Exploration:
    """Pictures of a sample and features of all scans of a manifest, as ``out/report.html`` and tables beside it.

    ``features.parquet`` and ``features.csv`` hold a row a scan, ``kmeans.csv`` the four indices of each swept scan
    over k.

    Parameters
    ----------
    table : polars.DataFrame
        A manifest.
    out : Path
        A folder; made where it is missing.
    sample : int
        Scans shown, as many of each label as there are.
    seed : int
        Of the draw.
    workers : int
        Processes that measure features.
    command : str
        What was typed, for the foot of the page.
    progress : callable
        Called with (what is being done, how far, of how much).

    Raises
    ------
    DataError
        If no scan can be read.
    OutputError
        If a file cannot be written.
    """
    found = features.measure(
        table, workers=workers, progress=lambda done, total, problem: progress("measuring features", done, total)
    )
    samples = drawn(table, sample, seed, progress)
    swept = []
    for number, one in enumerate(samples[:SWEPT]):
        progress("k-means over k", number, min(SWEPT, len(samples)))
        swept.append(sweep(one.head, seed=seed))
    curves = _together(swept)
    progress("drawing", 0, 1)
    labelled = _with_labels(found, table)
    with atomic(out / "features.parquet") as draft:
        labelled.write_parquet(draft)
    with atomic(out / "features.csv") as draft:
        labelled.write_csv(draft)
    with atomic(out / "kmeans.csv") as draft:
        _sweep_table(curves, [one.id for one in samples[:SWEPT]]).write_csv(draft)
    failed = tuple(found["problem"].drop_nulls().to_list())
    sections = [
        _grey_values(samples), _clusters(samples, curves), _enhanced(samples), _regions(samples), _features(labelled),
        *_failed(failed),
    ]  # fmt: skip
    counts = labelled.group_by("label_name").len().sort("label_name", nulls_last=True).rows()
    told = ", ".join(f"{count} {name or 'without a label'}" for name, count in counts)
    lead = [f"{table.height} scans: {told}.", f"{len(samples)} of them are shown.", str(curves.suggestion)]
    facts = {"scans": table.height, "shown": len(samples), "seed": seed, "command": command}
    report = write_document(out / "report.html", "What the scans look like", lead, sections, facts)
    return Exploration(report, labelled, curves, failed)


def drawn(table: pl.DataFrame, count: int, seed: int, progress: Progress) -> list[Sample]:
    """Up to ``count`` readable scans, as many of each label as there are, one of a group before a second of it.

    Raises
    ------
    DataError
        If none can be read.
    """
    rng = np.random.default_rng(seed)
    rows = table.with_columns(order=pl.Series(rng.permutation(table.height))).sort("order")
    turn = pl.int_range(pl.len()).over("group") if rows["group"].null_count() == 0 else pl.lit(0)
    rows = rows.with_columns(turn=turn).sort("turn", "order").with_columns(rank=pl.int_range(pl.len()).over("label"))
    samples: list[Sample] = []
    problem = ""
    for row in rows.sort("rank", "label", maintain_order=True).iter_rows(named=True):
        if len(samples) == count:
            break
        progress("reading the sample", len(samples), count)
        try:
            scan = io.read(row["path"], channel=row["channel"])
            samples.append(Sample.of(row["id"], scan.middle()))
        except TumorscopeError as error:
            problem = str(error)
    if not samples:
        raise DataError(f"explore: no scan can be read; the last: {problem}")
    return samples


def _together(found: list[Sweep]) -> Sweep:
    """One sweep of several images."""
    parts = ("within", "between", "silhouette", "calinski_harabasz")
    return Sweep(found[0].ks, *(np.concatenate([getattr(one, name) for one in found]) for name in parts))


def _sweep_table(found: Sweep, ids: list[str]) -> pl.DataFrame:
    count, ks = found.within.shape
    return pl.DataFrame(
        {
            "id": np.repeat(ids, ks),
            "k": np.tile(found.ks, count),
            "within": found.within.ravel(),
            "between": found.between.ravel(),
            "silhouette": found.silhouette.ravel(),
            "calinski_harabasz": found.calinski_harabasz.ravel(),
        }
    )


def _with_labels(found: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    names = [name for name in ("label", "label_name", "group", "source") if name in table.columns]
    return found.select("id").hstack(table.select(names)).hstack(found.drop("id"))


def _grey_values(samples: list[Sample]) -> Section:
    pictures = exploration.distributions(samples)
    caption = "Image, crop and cumulative distribution of grey values"
    figures = [
        Figure(image, f"{caption}, scans {number * exploration.BATCH + 1} and on")
        for number, image in enumerate(pictures)
    ]
    said = ["How each scan spreads its grey values, before and after the crop"]
    hint = "A curve that jumps at 0 has much black around the head; the crop's curve is what a network sees."
    return Section("Grey values", said, (), figures, hint=hint)


def _clusters(samples: list[Sample], found: Sweep) -> Section:
    means = found.means
    rows = [(int(k), *(float(means[name][place]) for name in means)) for place, k in enumerate(found.ks)]
    columns = ("k", "within", "between", "silhouette", "Calinski–Harabasz")
    curves = Figure(
        exploration.sweep_curves(found), f"Indices of k-means on x, y and grey value, {found.within.shape[0]} scans"
    )
    sheet = exploration.clusters(samples[:SHOWN], found.suggestion.k)
    colours = Figure(sheet, "Clusters of grey values, the darkest black, the brightest red")
    hint = "The rules answer different questions and often disagree; none of them knows what a tumour is."
    table = Table(columns, rows, "Means over the swept scans")
    return Section("Clusters", [str(found.suggestion)], [table], [curves, colours], hint=hint)


def _enhanced(samples: list[Sample]) -> Section:
    sheet = exploration.enhancements(samples[:SHOWN])
    return Section("Enhancement", ["The same scans by other ways of contrast"], (), [Figure(sheet, "One scan a row")])


def _regions(samples: list[Sample]) -> Section:
    sheet = exploration.regions(samples[:SHOWN])
    hint = (
        "Regions have the colour of their mean grey value. Left against right shows how far a scan is from its mirror "
        "image about the mid-line that was found."
    )
    said = ["What belongs together in a scan"]
    return Section("Regions and symmetry", said, (), [Figure(sheet, "One scan a row")], hint=hint)


def _features(table: pl.DataFrame) -> Section:
    """The features that part the classes most, or as they come where there is one class."""
    known = table.filter(pl.col("problem").is_null())
    found = sorted((_feature(known, name) for name in NAMES), key=lambda one: -abs((one[2] or 0.5) - 0.5))
    rows = [(name, *spread, auc) for name, spread, auc in found]
    chosen = [name for name, _, _ in found[:TOLD]]
    chart = exploration.feature_chart(known, chosen, known["label_name"])
    said = [f"{len(NAMES)} features of each head; features.parquet has them all"]
    hint = (
        "An AUC far from 0.5 parts the classes by this feature alone, on all scans and without a test: a hint and no "
        "result. What parts two classes may be the collection they came from; tumorscope audit tells."
    )
    listed = Table(("feature", "5 %", "median", "95 %", "AUC alone"), rows, "All features")
    return Section("Features", said, [listed], [Figure(chart, "The features that part the classes most")], hint=hint)


def _feature(known: pl.DataFrame, name: str) -> tuple[str, tuple[float | None, ...], float | None]:
    """Name, 5th, 50th and 95th percentile, and AUC of one feature."""
    rows = known.filter(pl.col(name).is_not_null())
    values = rows[name].to_numpy().astype(float)
    if not values.size:
        return name, (None, None, None), None
    label = rows["label"]
    auc = None
    if label.null_count() == 0 and set(label.unique().to_list()) == {0, 1}:
        auc = float(roc_auc(label.to_numpy(), values))
    return name, tuple(float(value) for value in np.percentile(values, (5, 50, 95))), auc


def _failed(failed: tuple[str, ...]) -> list[Section]:
    if not failed:
        return []
    table = Table(("problem",), [(one,) for one in failed])
    return [Section("Scans that could not be read", [f"{len(failed)} scans"], [table], alarm=True)]
