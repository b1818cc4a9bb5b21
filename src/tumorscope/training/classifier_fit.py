"""One classifier from its first weights to its best: the phases of a recipe, in order."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray

from tumorscope.models.classifiers import Classifier
from tumorscope.training import engine
from tumorscope.training.classifier_data import EpochData, Rows, Squares, class_weights, held_out, steps_in
from tumorscope.training.classifier_recipe import ClassifierRecipe, Phase
from tumorscope.training.classify import Classify, probabilities
from tumorscope.training.engine import Loop, Outcome

PHASES, WEIGHTS, LOG = "phases.json", "best.safetensors", "metrics.csv"


def build(recipe: ClassifierRecipe, outputs: int) -> Classifier:
    """The recipe's network, with random weights."""
    chosen = recipe.model
    return Classifier.of(
        chosen.backbone,
        chosen.head,
        outputs=outputs,
        channels=chosen.channels,
        size=recipe.input.size,
        width=chosen.width,
    )


def initial(recipe: ClassifierRecipe, outputs: int, seed: int, offline: Path | None = None) -> tuple[Classifier, str]:
    """The network that training begins with, and where its weights come from in a few words.

    Raises
    ------
    WeightsError
        If the recipe wants pretrained weights that cannot be had.
    """
    torch.manual_seed(seed)
    network = build(recipe, outputs)
    wanted = recipe.model.pretrained
    if wanted == "no":
        return network, "random weights"
    from tumorscope.models import weights

    name = recipe.model.backbone if wanted == "yes" else wanted
    file = weights.locate(name, offline=offline)
    report = weights.load_into(network.backbone, weights.read(file), origin=str(name))
    return network, f"{report.origin} ({report.share:.0%} of the backbone's parameters)"


def fit(
    network: Classifier,
    recipe: ClassifierRecipe,
    squares: Squares,
    train: Rows,
    val: Rows,
    folder: Path,
    *,
    seed: int,
    progress: bool = False,
) -> Outcome:
    """Train ``network`` through all phases; it ends with the best weights that any phase found.

    Parameters
    ----------
    network : Classifier
        With the weights that training begins with.
    recipe : ClassifierRecipe
    squares : Squares
    train, val : (n,) int array
        Squares that are learnt from, and that pick the epoch.
    folder : Path
        Gets ``metrics.csv``, ``best.safetensors``, ``phases.json`` and what an unfinished phase goes on from.
    seed : int
    progress : bool

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
        stage = folder / f"phase{number}"
        if number < len(done):
            engine.load_weights(network, stage / engine.BEST)
            continue
        outcome = _phase(network, recipe, number, phase, squares, train, val, folder, done, seed, progress)
        done.append({"epoch": outcome.epoch, "value": outcome.value, "epochs": outcome.epochs})
        engine.write_json(done, folder / PHASES)
        (stage / engine.LAST).unlink(missing_ok=True)
    sign = -1 if recipe.fit.monitor == "loss" else 1
    best = max(range(len(done)), key=lambda number: (sign * np.nan_to_num(done[number]["value"], nan=-np.inf), number))
    engine.load_weights(network, folder / f"phase{best}" / engine.BEST)
    engine.write_weights(network, folder / WEIGHTS)
    return Outcome(int(done[best]["epoch"]), done[best]["value"], int(sum(one["epochs"] for one in done)))


def _phase(
    network: Classifier,
    recipe: ClassifierRecipe,
    number: int,
    phase: Phase,
    squares: Squares,
    train: Rows,
    val: Rows,
    folder: Path,
    done: list[dict[str, float]],
    seed: int,
    progress: bool,
) -> Outcome:
    L.seed_everything(seed + number, workers=True, verbose=False)
    torch.set_flush_denormal(True)
    first = int(sum(one["epochs"] for one in done))
    data = EpochData(squares, train, val, recipe, seed, first)
    weighted = recipe.data.balance == "loss"
    module = Classify(
        network,
        recipe,
        phase,
        steps=steps_in(len(data.order), recipe) * phase.epochs,
        weights=class_weights(squares.truth[train], len(squares.labels.values)) if weighted else None,
        seed=seed + number,
        names=squares.names,
    )
    machine = recipe.machine
    loop = Loop(
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
    )
    return engine.fit(module, data, folder / f"phase{number}", loop, log=folder / LOG, progress=progress)


@torch.inference_mode()
def answers(network: Classifier, squares: Squares, rows: Rows) -> NDArray[np.float64]:
    """Probabilities of some squares: of the second of two classes (n,), or of each (n, K)."""
    network = network.eval()
    device = next(network.parameters()).device
    parts = [probabilities(network(batch["image"].to(device))).cpu().numpy() for batch in held_out(squares, rows)]
    network.cpu()
    if not parts:
        return np.zeros((0,) if squares.labels.outputs == 1 else (0, squares.labels.outputs))
    return np.concatenate(parts).astype(np.float64)
