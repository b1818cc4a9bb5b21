"""The phases of a recipe in order, each from the best weights of the last: what every task's training is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import lightning.pytorch as L
import numpy as np
from torch import nn

from tumorscope.training import engine
from tumorscope.training.classifier_recipe import ClassifierRecipe, Phase
from tumorscope.training.engine import Loop, Outcome
from tumorscope.training.prompt_decoder_recipe import PromptRecipe
from tumorscope.training.segmenter_recipe import SegmenterRecipe

PHASES, WEIGHTS, LOG = "phases.json", "best.safetensors", "metrics.csv"

Recipe = ClassifierRecipe | PromptRecipe | SegmenterRecipe
Watch = Callable[[int, Mapping[str, float]], None]  # number of the epoch, figures by name
Stage = Callable[[Phase, int, int], tuple[L.LightningModule, L.LightningDataModule]]


def run(
    network: nn.Module,
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    *,
    seed: int,
    progress: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train ``network`` through all phases; it ends with the best weights that any phase found.

    Parameters
    ----------
    network : nn.Module
        With the weights that training begins with.
    recipe : ClassifierRecipe, PromptRecipe or SegmenterRecipe
    stage : callable
        Module and data of a phase, from the phase, its seed, and the number of epochs behind it.
    folder : Path
        Gets ``metrics.csv``, ``best.safetensors``, ``phases.json`` and what an unfinished phase goes on from.
    seed : int
    progress : bool
        Show a bar.
    watch : callable or None
        Called after each epoch, counted over all phases, with its figures; what it raises ends the training.

    Raises
    ------
    TrainingError
        If the loss is no number.
    OutputError
        If the training was interrupted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, float]] = engine.read_json(folder / PHASES, [])
    for number, phase in enumerate(recipe.phases):
        place = folder / f"phase{number}"
        if number < len(done):
            engine.load_weights(network, place / engine.BEST)
            continue
        L.seed_everything(seed + number, workers=True, verbose=False)
        first = int(sum(one["epochs"] for one in done))
        module, data = stage(phase, seed + number, first)
        loop = loop_of(recipe, phase, number, first, watch)
        outcome = engine.fit(module, data, place, loop, log=folder / LOG, progress=progress)
        done.append({"epoch": outcome.epoch, "value": outcome.value, "epochs": outcome.epochs})
        engine.write_json(done, folder / PHASES)
        (place / engine.LAST).unlink(missing_ok=True)
    sign = -1 if recipe.fit.monitor == "loss" else 1
    best = max(range(len(done)), key=lambda number: (sign * np.nan_to_num(done[number]["value"], nan=-np.inf), number))
    engine.load_weights(network, folder / f"phase{best}" / engine.BEST)
    engine.write_weights(network, folder / WEIGHTS)
    return Outcome(int(done[best]["epoch"]), done[best]["value"], int(sum(one["epochs"] for one in done)))


def loop_of(recipe: Recipe, phase: Phase, number: int, first: int, watch: Watch | None = None) -> Loop:
    """What the engine has to know of a phase, the ``number``-th, with ``first`` epochs behind it."""
    machine = recipe.machine
    return Loop(
        epochs=phase.epochs,
        monitor=f"val_{recipe.fit.monitor}",
        patience=phase.patience,
        ema=recipe.fit.ema,
        accumulate=recipe.fit.accumulate,
        precision=engine.precision_of(machine.precision),
        deterministic=machine.deterministic,
        devices=machine.devices,
        strategy=machine.strategy,
        log=machine.log,
        first_epoch=first,
        facts={"phase": number},
        watch=watch,
    )
