"""Where a classifier looks: maps of the scans that it did not learn from, and whether they point at the lesions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.folder import file_name
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, TumorscopeError, look_up
from tumorscope.evaluation.localization import Localization, Located, locate
from tumorscope.imaging.preparation import Prepared
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training.classifier_export import NONE, network_of
from tumorscope.training.classifier_fit import build
from tumorscope.training.classify import probabilities
from tumorscope.training.explain_report import heat, sheet, write_report
from tumorscope.training.explained_run import SINGLE, Run, spread, with_folds
from tumorscope.training.saliency import METHODS, Maps, Target, last_maps, saliency, unit
from tumorscope.training.sanity import Sanity, sanity

SCANS = 50  # explained at most, unless more are asked for
CHECKED = 6  # scans of the sanity check
SHOWN = 24  # scans on the figure sheet

Count = Callable[[int, int, str | None], None]


@dataclass(frozen=True)
class Seen:
    """One scan with its map.

    Attributes
    ----------
    id, fold, truth, said, explained : str
    probability : float
        Of the explained class, as the network gives it (not calibrated).
    pixels, values : (H, W) float32 arrays
        The scan, or one slice of it, and the map in [0, 1] on its grid.
    mask : (H, W) bool array or None
        The true lesion.
    located : Located or None
        Scores; None without a lesion, or where a class without a tumour is explained.
    group : str
    square : (C, S, S) float32 array
        What the network saw.
    target : Target
    """

    id: str
    fold: str
    truth: str
    said: str
    explained: str
    probability: float
    pixels: FloatArray
    values: FloatArray
    mask: BoolArray | None
    located: Located | None
    group: str
    square: FloatArray
    target: Target

    def row(self, method: str) -> dict[str, Any]:
        """A row of ``explain.csv``."""
        scores = dict.fromkeys(Located._fields) if self.located is None else self.located._asdict()
        facts = {"id": self.id, "label": self.truth, "said": self.said, "explained": self.explained}
        return {**facts, "probability": self.probability, "fold": self.fold or SINGLE, "method": method, **scores}


@dataclass(frozen=True)
class Explanation:
    """What `explain` found.

    Attributes
    ----------
    method, layer : str
        The layer is empty for occlusion.
    table : polars.DataFrame
        ``explain.csv``.
    localization : Localization or None
        Of scans with a lesion.
    right : Localization or None
        Of those among them that the model answers rightly.
    sanity : Sanity or None
        None where it was not asked for.
    learnt : int
        Scans left out because the model learnt from them.
    failed : int
        Scans that could not be read.
    report : Path
    """

    method: str
    layer: str
    table: pl.DataFrame
    localization: Localization | None
    right: Localization | None
    sanity: Sanity | None
    learnt: int
    failed: int
    report: Path


def explain(
    run: Path,
    sources: Sequence[str | Path],
    out: Path,
    *,
    method: str = "gradcam",
    fold: str | None = None,
    scans: int = SCANS,
    named: str | None = None,
    check: bool = True,
    command: str = "",
    count: Count | None = None,
) -> Explanation:
    """Maps of where a run's networks look in scans that they did not learn from, with scores where lesions are known.

    A scan of the run is explained by the fold that was tested on it, any other by the fold of ``model.onnx``. Writes
    ``maps/ID.png, sheet.png, explain.csv, explain.json, report.html`` in ``out``. Of a volume the slice with most of
    the lesion is explained, or the middle one.

    Parameters
    ----------
    run : Path
        A folder of `classifier_run.train`.
    sources : sequence of path
        Folders or manifests.
    out : Path
    method : {"gradcam", "gradcam++", "occlusion"}
    fold : str or None
        Take this fold for all scans; those that it learnt from are left out.
    scans : int
        At most so many, spread over labels and groups; 0 for all.
    named : str or None
        The class to explain. By default the tumour, or of several classes the one that the model says.
    check : bool
        Whether the maps are compared with those of random weights.
    command : str
        What was typed, for the report.
    count : callable or None
        Told of each scan: how many are done, of how many, and what went wrong.

    Raises
    ------
    DataError
        For an unknown method, class or fold, an unfinished run, or where no scan can be explained.
    """
    look_up(method, METHODS, "method", DataError)
    opened = Run.open(run)
    opened.target(0, named)
    table = with_folds(manifest.load(list(sources)), opened, fold)
    learnt = table["_fold"].null_count()
    if learnt == table.height:
        raise DataError(
            f"{run}: learnt from all {learnt} scans; give scans that it has not seen, or train with --folds"
        )
    chosen = spread(table.filter(pl.col("_fold").is_not_null()), scans)
    seen, failed, place = _explained(opened, chosen, method, named, out, count)
    found = _scored(seen)
    right = _scored([one for one in seen if one.truth == one.said])
    checked = _checked(opened, seen, method, place) if check else None
    rows = pl.DataFrame([one.row(method) for one in seen], infer_schema_length=None)
    layer = "" if place is None else place.layer
    result = Explanation(method, layer, rows, found, right, checked, learnt, failed, out / "report.html")
    shown = sheet(seen[:SHOWN])
    io.write_image(out / "sheet.png", shown)
    with io.atomic(out / "explain.csv") as draft:
        rows.write_csv(draft)
    write_report(result, opened.recipe, shown, out, command)
    return result


def _explained(
    run: Run, table: pl.DataFrame, method: str, named: str | None, out: Path, count: Count | None
) -> tuple[list[Seen], int, Maps | None]:
    """All scans with their maps, one fold's network in memory at a time, in the table's order."""
    seen: dict[int, Seen] = {}
    done, first, place = 0, "", None
    rows = table.with_row_index("_row")
    for name in rows["_fold"].unique(maintain_order=True).to_list():
        network, place = _loaded(run, name, method)
        for row in rows.filter(pl.col("_fold") == name).to_dicts():
            problem = None
            try:
                one = _look(run, network, place, row, method, named)
                picture = heat(one.pixels, one.values, one.mask)
                io.write_image(out / "maps" / f"{file_name(one.id)}.png", picture)
                seen[row["_row"]] = one
            except TumorscopeError as error:
                problem = str(error)
                first = first or problem
            done += 1
            if count is not None:
                count(done, table.height, problem)
    if not seen:
        raise DataError(f"none of {table.height} scans could be explained; the first: {first}")
    return [seen[number] for number in sorted(seen)], table.height - len(seen), place


def _loaded(run: Run, name: str, method: str) -> tuple[nn.Module, Maps | None]:
    """A fold's network where it runs fastest, and where its last maps are."""
    network = network_of(run.folder, name, run.recipe, run.names).to("cuda" if torch.cuda.is_available() else "cpu")
    preparation = run.recipe.preparation
    return network, None if method == "occlusion" else last_maps(network, preparation.channels, preparation.size)


def _look(
    run: Run, network: nn.Module, place: Maps | None, row: dict[str, Any], method: str, named: str | None
) -> Seen:
    """One scan, what the network says of it, and why."""
    pixels, mask = _slice(row)
    prepared: Prepared = run.recipe.preparation.prepare(pixels)
    square = run.recipe.preparation.tinted(prepared.pixels)
    device = next(network.parameters()).device
    with torch.inference_mode():
        answer = probabilities(network(torch.from_numpy(square)[None].to(device)))[0].cpu().numpy()
    each = np.array([1 - answer, answer]) if run.outputs == 1 else answer
    said = int(each.argmax())
    number = run.target(said, named)
    target = Target.of(number, run.outputs)
    values = unit(prepared.to_input_grid(saliency(method, network, square, target, place)))
    located = None
    if mask is not None and mask.any() and run.names[number].casefold() not in NONE:
        located = locate(values, mask, prepared.head)
    return Seen(
        id=row["id"],
        fold=row["_fold"],
        truth=run.truth(row, mask),
        said=run.names[said],
        explained=run.names[number],
        probability=float(each[number]),
        pixels=pixels,
        values=values,
        mask=mask,
        located=located,
        group=str(row.get("group") or row["id"]),
        square=square,
        target=target,
    )


def _slice(row: dict[str, Any]) -> tuple[FloatArray, BoolArray | None]:
    """A row's scan and lesion, (H, W) each; of a volume the slice with most of the lesion, or the middle one."""
    scan = io.read(row["path"], channel=row.get("channel"))
    if scan.axes[0] == "C":
        raise DataError(
            f"{row['path']}: holds {scan.pixels.shape[0]} sequences; name one in the manifest's channel column"
        )
    mask = read_mask(row, scan.shape)
    if not scan.is_volume:
        return scan.pixels, mask
    number = scan.shape[0] // 2 if mask is None or not mask.any() else int(mask.sum(axis=(1, 2)).argmax())
    return scan.pixels[number], None if mask is None else mask[number]


def _scored(seen: Sequence[Seen]) -> Localization | None:
    scored = [(one.located, one.group) for one in seen if one.located is not None]
    return Localization.of([found for found, _ in scored], [group for _, group in scored]) if scored else None


def _checked(run: Run, seen: Sequence[Seen], method: str, place: Maps | None) -> Sanity:
    """The sanity check of one fold's network, on scans that it finds most of the explained class in."""
    fold = seen[0].fold
    own = [one for one in seen if one.fold == fold and not math.isnan(one.probability)]
    own = sorted(own, key=lambda one: -one.probability)[:CHECKED]
    network, _ = _loaded(run, fold, "occlusion")
    device = next(network.parameters()).device

    def look(other: nn.Module, item: tuple[FloatArray, Target]) -> FloatArray:
        return saliency(method, other, *item, place)

    def fresh() -> nn.Module:
        return build(run.recipe, run.outputs).to(device).eval()

    return sanity(look, network, fresh, [(one.square, one.target) for one in own])
