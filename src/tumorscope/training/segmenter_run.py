"""A run of a segmenter: a recipe and scans with masks in, a folder with honest figures and a bundle out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.errors import RecipeError
from tumorscope.evaluation.evaluate import Evaluation, evaluate_predictions
from tumorscope.evaluation.mask_scores import evaluate_masks, pairs_of
from tumorscope.evaluation.mask_summary import MaskSummary, summarise
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.segmentation import dice
from tumorscope.inference.bundle import Bundle
from tumorscope.models.segmenters.network import Segmenter, segmenter
from tumorscope.report.predictions import predict
from tumorscope.training import engine, phases
from tumorscope.training.classifier_data import Rows, steps_in
from tumorscope.training.classifier_recipe import Phase
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.engine import Outcome
from tumorscope.training.run_folder import (
    DONE,
    MODEL,
    PREDICTIONS,
    begun,
    chosen_of,
    folder_of,
    gathered,
    learning,
    write_log,
    write_provenance,
)
from tumorscope.training.segmenter_data import MaskData, Masked, usable
from tumorscope.training.segmenter_recipe import SegmenterRecipe
from tumorscope.training.segmenting import THRESHOLD, Segment

# Names in `registry` of the pretrained encoders of our own architectures; others have the name of their encoder.
ENCODERS = {
    "deeplabv3plus": "resnet50",
    "basnet": "resnet34.tv_in1k",
    "segformer-b0": "mit-b0",
    **dict.fromkeys(("fcn-8s", "fcn-16s", "fcn-32s"), "vgg19"),
}
HELD_OUT, MASKS = "held_out", "masks.parquet"
FACTS = ("id", "path", "group", "patient", "case", "parent_id", "source", "plane", "sequence", "tumor_type", "label")


def train(
    recipe: SegmenterRecipe,
    sources: Sequence[str | Path],
    run: Path,
    *,
    resume: bool = False,
    cache_folder: Path | None = None,
    offline: Path | None = None,
    progress: bool = False,
    command: str = "",
) -> Path:
    """Train ``recipe`` on manifests or folders, judge it on scans that chose nothing, and return the run folder.

    Each division's network becomes a bundle, whose thresholds are chosen on its own validation scans; the bundle then
    predicts its test scans as `predict` would, and those masks are scored on the scans' own grids. The folder holds
    what a classifier's run does, and ``masks.parquet`` with a row of scores for each held-out scan.

    Parameters and errors as for `classifier_run.train`; DataError also where calibration lacks validation scans with
    and without a tumour.
    """
    from tumorscope.training.segmenter_export import export
    from tumorscope.training.segmenter_report import write_report

    start = time.monotonic()
    table = begun(recipe, run, resume, lambda: usable(manifest.load(list(sources))))
    squares = Masked.of(table, recipe.preparation, cache_folder or run / "cache")
    parts = divisions(table, recipe.data, recipe.seed)
    origin = ""
    for one in parts:
        origin = _fold(recipe, squares, table, one, run, offline, progress) or origin
    told = gathered(run, parts, PREDICTIONS)
    scores = gathered(run, parts, MASKS)
    chosen = chosen_of(recipe, run, parts)
    write_log(run, parts)
    write_provenance(recipe, run, parts, chosen, origin, time.monotonic() - start)
    found, masks = judged(recipe, told, scores)
    engine.write_json(_metrics(recipe, found, masks, run, parts), run / "metrics.json")
    export(run, run / MODEL)
    write_report(recipe, run, found, masks, scores, command)
    return run


def build(recipe: SegmenterRecipe) -> Segmenter:
    """The recipe's network, with random weights."""
    chosen = recipe.model
    return segmenter(
        chosen.architecture,
        encoder=chosen.encoder,
        channels=chosen.channels,
        size=recipe.data.patch or recipe.input.size,
        width=chosen.width,
        head=chosen.head,
    )


def initial(recipe: SegmenterRecipe, seed: int, offline: Path | None = None) -> tuple[Segmenter, str]:
    """The network that training begins with, and where its weights come from in a few words.

    Raises
    ------
    WeightsError
        If the recipe wants pretrained weights that cannot be had.
    """
    torch.manual_seed(seed)
    network = build(recipe)
    wanted = recipe.model.pretrained
    if wanted == "no":
        return network, "random weights"
    from tumorscope.models import weights

    name = wanted
    if wanted == "yes":
        chosen = recipe.model.architecture
        name = ENCODERS.get(chosen, (recipe.model.encoder or "").removeprefix("tu-"))
        if not name:
            raise RecipeError(f"model.pretrained: there are none of {chosen}; write 'no', or name a checkpoint")
    state = weights.read(weights.locate(name, offline=offline))
    report = weights.load_into(network.encoder, state, origin=name, adapt_channels=True)
    return network, report.sentence()


def fit(
    network: Segmenter,
    recipe: SegmenterRecipe,
    squares: Masked,
    train: Rows,
    val: Rows,
    folder: Path,
    *,
    seed: int,
    progress: bool = False,
    watch: phases.Watch | None = None,
) -> Outcome:
    """Train ``network`` through all phases; parameters and errors as for `phases.run`."""

    def stage(phase: Phase, number: int, first: int) -> tuple[Segment, MaskData]:
        data = MaskData(squares, train, val, recipe, seed, first)
        steps = steps_in(len(data.order), recipe.fit) * phase.epochs
        return Segment(network, recipe, phase, steps=steps, seed=number, names=squares.names), data

    return phases.run(network, recipe, stage, folder, seed=seed, progress=progress, watch=watch)


def _fold(
    recipe: SegmenterRecipe,
    squares: Masked,
    table: pl.DataFrame,
    one: Division,
    run: Path,
    offline: Path | None,
    progress: bool,
) -> str:
    """Train, export and question one division's model, unless an earlier call did; says where it began."""
    from tumorscope.training.segmenter_export import bundle

    folder = folder_of(run, one)
    if (folder / DONE).exists():
        return str(engine.read_json(folder / DONE, {})["weights"])
    ids = squares.table["id"]
    train, val, test = (squares.rows(ids.is_in(list(names))) for names in (one.train, one.val, one.test))
    seed = recipe.seed + 1000 * one.repeat + max(one.fold, 0)
    network, origin = initial(recipe, seed, offline)
    outcome = fit(network, recipe, squares, train, val, folder, seed=seed, progress=progress)
    known = table.filter(pl.col("id").is_in([*one.train, *one.val]))
    chooses = table.filter(pl.col("id").is_in(list(one.val)))
    bundle(network.cpu().eval(), recipe, known, chooses, folder / MODEL, flip=recipe.fit.mirror)
    told, scores = _held_out(table.filter(pl.col("id").is_in(list(one.test))), folder)
    place = {"repeat": pl.lit(one.repeat, pl.Int64), "fold": pl.lit(one.fold, pl.Int64)}
    for rows, file in ((told, PREDICTIONS), (scores, MASKS)):
        with io.atomic(folder / file) as path:
            rows.with_columns(split=pl.lit("test"), **place).write_parquet(path)
    record = {
        "repeat": one.repeat,
        "fold": one.fold,
        "best_epoch": outcome.epoch,
        "epochs": outcome.epochs,
        "monitor": recipe.fit.monitor,
        "validation": None if np.isnan(outcome.value) else outcome.value,
        "scans": {"train": len(train), "val": len(val), "test": len(test)},
        "weights": origin,
        "mirror": mirrored(folder / MODEL, squares, val),
    }
    engine.write_json(record, folder / DONE)
    return origin


def mirrored(model: Path, squares: Masked, rows: Rows) -> dict[str, float | None]:
    """Mean Dice of a bundle on squares with a tumour, without and with the mirrored slice averaged in.

    Pixels from the threshold `segmenting.THRESHOLD` on count as lesion in both, so that nothing is chosen here.
    """
    opened = Bundle.load(model)
    found: dict[str, list[float]] = {"dice": [], "dice_mirrored": []}
    for row in rows:
        truth = squares.cache.mask(int(row))
        if not (squares.known[row] and truth.any()):
            continue
        image = squares.cache.image(int(row))
        batch = opened.metadata.preparation.tinted(image)[None] if image.ndim == 2 else image.transpose(2, 0, 1)[None]
        for name, flip in (("dice", False), ("dice_mirrored", True)):
            found[name].append(dice(opened.run(batch, flip=flip).mask[0] >= THRESHOLD, truth))
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def _held_out(rows: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the division's bundle says of its test scans, and how its masks score, by the path that `predict` takes."""
    place = folder / HELD_OUT
    manifest.write(rows, place / "scans.parquet")
    predict([place / "scans.parquet"], place, model=folder / MODEL, overlays=False, report=False, overwrite=True)
    said = pl.read_csv(place / "predictions.csv", schema_overrides={"id": pl.String})
    facts = rows.select([name for name in FACTS if name in rows.columns]).with_columns(pl.col("label").clip(0, 1))
    answers = said.select("id", "status", "probability", "decision")
    told = facts.join(answers, on="id", how="left", maintain_order="left")
    masks = {file.name.removesuffix(".nii.gz").removesuffix(".png"): file for file in (place / "masks").iterdir()}
    return told, evaluate_masks(pairs_of(rows, masks))


def judged(
    recipe: SegmenterRecipe, told: pl.DataFrame, scores: pl.DataFrame
) -> tuple[Evaluation | None, MaskSummary | None]:
    """Whether (the decision) and where (the masks), of the held-out scans; None where nothing was held out."""
    if told.is_empty():
        return None, None
    rounds = recipe.data.rounds
    one = told["repeat"].n_unique() == 1
    given = Predictions.of(told.drop("repeat", "fold") if one else told, PREDICTIONS)
    by = [name for name in ("tumor_type", "plane", "source") if name in scores.columns and scores[name].n_unique() > 1]
    return evaluate_predictions(given, rounds=rounds, seed=recipe.seed), summarise(scores, by, rounds=rounds)


def _metrics(
    recipe: SegmenterRecipe, found: Evaluation | None, masks: MaskSummary | None, run: Path, parts: list[Division]
) -> dict[str, Any]:
    kind = "test" if len(parts) == 1 else "cross_validation"
    protocol = {
        "split": "by group: patient, case, near-duplicate cluster, ancestor",
        "divisions": len(parts),
        "monitor": recipe.fit.monitor,
        "bootstrap_rounds": recipe.data.rounds,
        "masks": "of each division's bundle, thresholds chosen on its validation scans, on the scans' own grids",
    }
    where = None if masks is None else {"sentence": masks.sentence(), "figures": masks.table.to_dicts()}
    return {
        kind: None if found is None else found.to_dict(),
        "masks": where,
        "learning": learning(run, parts),
        "protocol": protocol,
    }
