"""A run of a promptable segmenter: its decoder fine-tuned on boxes, or nothing trained, and honest figures of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import transformers

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.evaluation.mask_scores import MaskPair, evaluate_masks, pairs_of
from tumorscope.evaluation.mask_summary import MaskSummary, summarise
from tumorscope.evaluation.results import known
from tumorscope.evaluation.segmentation import dice
from tumorscope.models.promptable.loading import Loaded, load, save, version_of
from tumorscope.models.promptable.network import PromptableNetwork
from tumorscope.training import engine, phases
from tumorscope.training.classifier_data import steps_in
from tumorscope.training.classifier_recipe import Phase
from tumorscope.training.divisions import Division
from tumorscope.training.engine import Outcome
from tumorscope.training.prompt_decoder_data import BoxData, Lesions, divided, off, planes_of, usable
from tumorscope.training.prompt_decoder_recipe import PromptRecipe
from tumorscope.training.prompting import PromptDecoder
from tumorscope.training.run_folder import (
    DONE,
    PREDICTIONS,
    begun,
    chosen_of,
    folder_of,
    gathered,
    learning,
    weights_of,
    write_log,
    write_provenance,
)
from tumorscope.training.segmenter_run import FACTS, HELD_OUT, MASKS

ENGINE = "engine"
"""Folder of a run with the network that `annotation.engine.open_engine` opens."""


def train(
    recipe: PromptRecipe,
    sources: Sequence[str | Path],
    run: Path,
    *,
    resume: bool = False,
    cache_folder: Path | None = None,
    offline: Path | None = None,
    progress: bool = False,
    command: str = "",
) -> Path:
    """Fine-tune the recipe's decoder, judge it on scans that chose nothing, and return the run folder.

    Only scans with a tumour and a mask take part: a box says that there is one. A held-out slice is answered for a box
    around its truth whose sides are off at random, the same for every model; the network's single answer counts. The
    folder holds what a segmenter's run does, without a bundle: ``engine/`` is a checkpoint for
    ``annotate --engine NAME``. Without phases nothing is trained or written there, and the figures are zero-shot.

    Parameters and errors as for `classifier_run.train`; WeightsError if the weights cannot be had.
    """
    from tumorscope.training.prompt_decoder_report import write_report

    start = time.monotonic()
    loaded = _loaded(recipe, offline)
    table = begun(recipe, run, resume, lambda: usable(manifest.load(list(sources))), divided)
    version = version_of(loaded.sha256, transformers.__version__)
    folder = (cache_folder or run / "cache") / f"embeddings-{recipe.model.network}"
    lesions = Lesions.of(table, loaded.network, version, folder)
    parts = divided(table, recipe.data, recipe.seed)
    first = {name: value.clone() for name, value in loaded.network.decoder.state_dict().items()}
    for one in parts:
        loaded.network.decoder.load_state_dict(first)
        _fold(recipe, loaded, lesions, table, one, run, progress)
    told, scores = gathered(run, parts, PREDICTIONS), gathered(run, parts, MASKS)
    chosen = chosen_of(recipe, run, parts)
    write_provenance(recipe, run, parts, chosen, loaded.origin, time.monotonic() - start)
    found = judged(recipe, scores)
    by_jitter = of_jitters(recipe, told, scores)
    metrics = _metrics(recipe, found, by_jitter, parts)
    if recipe.phases:
        write_log(run, parts)
        metrics["learning"] = learning(run, parts)
        engine.load_weights(loaded.network.decoder, weights_of(run, chosen))
        save(loaded.network, run / ENGINE, name=recipe.model.network, single=True)
    engine.write_json(metrics, run / "metrics.json")
    write_report(recipe, run, found, by_jitter, scores, command)
    return run


def _loaded(recipe: PromptRecipe, offline: Path | None) -> Loaded:
    """The network with the weights that the recipe begins with, asked for one mask a box."""
    wanted = recipe.model.pretrained
    loaded = load(recipe.model.network, None if wanted == "yes" else Path(wanted), offline=offline)
    single = PromptableNetwork.of(loaded.network.model, loaded.network.frame.kind, single=True)
    return replace(loaded, network=single)


def fit(
    network: PromptableNetwork,
    recipe: PromptRecipe,
    lesions: Lesions,
    one: Division,
    folder: Path,
    *,
    seed: int,
    progress: bool = False,
) -> Outcome:
    """Train the decoder through all phases; parameters and errors as for `phases.run`."""
    train, val = lesions.rows(one.train), lesions.rows(one.val)
    names = [item.id for item in lesions.items]

    def stage(phase: Phase, number: int, first: int) -> tuple[PromptDecoder, BoxData]:
        data = BoxData(lesions, network, train, val, recipe, number, first)
        steps = steps_in(len(data.order), recipe.fit) * phase.epochs
        return PromptDecoder(network, recipe, phase, steps=steps, names=names), data

    return phases.run(network.decoder, recipe, stage, folder, seed=seed, progress=progress)


def _fold(
    recipe: PromptRecipe,
    loaded: Loaded,
    lesions: Lesions,
    table: pl.DataFrame,
    one: Division,
    run: Path,
    progress: bool,
) -> None:
    """Train and question one division's decoder, unless an earlier call did."""
    folder = folder_of(run, one)
    if (folder / DONE).exists():
        return
    seed = recipe.seed + 1000 * one.repeat + max(one.fold, 0)
    outcome = Outcome(-1, float("nan"), 0)
    if recipe.phases:
        torch.manual_seed(seed)
        outcome = fit(loaded.network, recipe, lesions, one, folder, seed=seed, progress=progress)
    loaded.network.model.cpu().eval()
    rows = table.filter(pl.col("id").is_in(list(one.test)))
    told, scores = _held_out(recipe, loaded.network, lesions, rows, folder / HELD_OUT)
    place = {"repeat": pl.lit(one.repeat, pl.Int64), "fold": pl.lit(one.fold, pl.Int64)}
    for answers, file in ((told, PREDICTIONS), (scores, MASKS)):
        with io.atomic(folder / file) as path:
            answers.with_columns(split=pl.lit("test"), **place).write_parquet(path)
    counts = {part: len(lesions.rows(ids)) for part, ids in (("train", one.train), ("val", one.val))}
    record = {
        "repeat": one.repeat,
        "fold": one.fold,
        "best_epoch": outcome.epoch,
        "epochs": outcome.epochs,
        "monitor": recipe.fit.monitor,
        "validation": None if np.isnan(outcome.value) else outcome.value,
        "scans": {**counts, "test": len(lesions.rows(one.test))},
        "weights": loaded.origin,
    }
    engine.write_json(record, folder / DONE)


def _held_out(
    recipe: PromptRecipe, network: PromptableNetwork, lesions: Lesions, rows: pl.DataFrame, place: Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Dice of each held-out scan at every jitter, and all scores of the masks at the one that counts."""
    told, pairs = [], []
    truths = {pair.id: pair for pair in pairs_of(rows, {})}
    for row in rows.iter_rows(named=True):
        _, truth = planes_of(row)
        masks = {share: _answered(network, lesions, row["id"], truth.shape, share) for share in recipe.prompt.jitter}
        facts = {name: row.get(name) for name in FACTS}
        told.append(facts | {column(share): dice(mask, truth) for share, mask in masks.items()})
        scan = io.read(row["path"], channel=row.get("channel"))
        mask = masks[recipe.prompt.jitter[0]]
        io.write_mask(place / "masks" / f"{row['id']}{'.nii.gz' if scan.is_volume else '.png'}",
                      mask if scan.is_volume else mask[0], scan)  # fmt: skip
        pair = truths[row["id"]]
        said, true = (mask, truth) if scan.is_volume else (mask[0], truth[0])
        pairs.append(MaskPair(pair.id, said, true, spacing=scan.spacing, facts=pair.facts))
    return pl.DataFrame(told, infer_schema_length=None), evaluate_masks(pairs)


def _answered(
    network: PromptableNetwork, lesions: Lesions, name: str, shape: tuple[int, ...], share: float
) -> np.ndarray:
    """(D, H, W) mask of a scan: the answer to a box on every slice with a lesion."""
    found = np.zeros(shape, bool)
    for row in lesions.rows(frozenset({name})):
        one = lesions.items[row]
        answer = network.answer(lesions.embedding(int(row)), one.shape, box=off(one, share))
        found[one.slice] = answer.masks[0] > 0
    return found


def column(share: float) -> str:
    """Name of the column of Dice at a jitter.

    Examples
    --------
    >>> column(0.1), column(0)
    ('dice_jitter_10', 'dice_jitter_0')
    """
    return f"dice_jitter_{100 * share:g}"


def judged(recipe: PromptRecipe, scores: pl.DataFrame) -> MaskSummary | None:
    """Means of the held-out masks with intervals by group; None where nothing was held out."""
    if scores.is_empty():
        return None
    by = [name for name in ("tumor_type", "plane", "source") if name in scores.columns and scores[name].n_unique() > 1]
    return summarise(scores, by, rounds=recipe.data.rounds)


def of_jitters(recipe: PromptRecipe, told: pl.DataFrame, scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Mean Dice with its interval by group at each jitter, the one that counts first."""
    if scores.is_empty():
        return []
    summary = partial(summarise, figures=("dice",), rounds=recipe.data.rounds)
    found = []
    for share in recipe.prompt.jitter:
        values = scores.select("id", "repeat").join(
            told.select("id", "repeat", pl.col(column(share)).alias("dice")), on=["id", "repeat"], how="left",
            maintain_order="left",
        )["dice"]  # fmt: skip
        interval = summary(scores.with_columns(dice=values)).interval("dice")
        numbers = {"dice": interval.value, "low": interval.low, "high": interval.high}
        found.append({"jitter": share, **known(numbers)})
    return found


def _metrics(
    recipe: PromptRecipe, found: MaskSummary | None, by_jitter: list[dict[str, Any]], parts: list[Division]
) -> dict[str, Any]:
    return {
        "masks": None if found is None else {"sentence": found.sentence(), "figures": found.table.to_dicts()},
        "jitter": by_jitter,
        "protocol": {
            "split": "by group: patient, case, near-duplicate cluster, ancestor",
            "divisions": len(parts),
            "trained": bool(recipe.phases),
            "monitor": recipe.fit.monitor,
            "bootstrap_rounds": recipe.data.rounds,
            "masks": "the network's single answer to a box around the truth whose sides are off at random by up to "
            f"{100 * recipe.prompt.jitter[0]:g} % of its length, on the scans' own grids; scans with a tumour only",
        },
    }
