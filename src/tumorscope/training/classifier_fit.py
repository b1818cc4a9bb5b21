"""One classifier from its first weights to its best: the phases of a recipe, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tumorscope.errors import RecipeError
from tumorscope.models.classifiers import Classifier
from tumorscope.models.classifiers.network import CUSTOM
from tumorscope.training import phases
from tumorscope.training.classifier_data import EpochData, Rows, Squares, class_weights, held_out, steps_in
from tumorscope.training.classifier_recipe import ClassifierRecipe, Phase
from tumorscope.training.classify import Classify, probabilities
from tumorscope.training.engine import Outcome
from tumorscope.training.phases import Watch


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
    file = located(recipe, offline)
    if file is None:
        return network, "random weights"
    from tumorscope.models import weights

    report = weights.load_into(network.backbone, weights.read(file), origin=_name(recipe), adapt_channels=True)
    return network, report.sentence()


def located(recipe: ClassifierRecipe, offline: Path | None = None) -> Path | None:
    """The file with the weights that training begins with, downloaded where need be; None for random ones."""
    wanted = recipe.model.pretrained
    if wanted == "no":
        return None
    if wanted == "yes" and recipe.model.backbone == CUSTOM:
        raise RecipeError(f"model.pretrained: there are none of {CUSTOM}; write 'no', or name a checkpoint of yours")
    from tumorscope.models import weights

    return weights.locate(_name(recipe), offline=offline)


def require(recipe: ClassifierRecipe, offline: Path | None = None) -> None:
    """Refuse what cannot begin, before hours of preparation: a network that is none, its input, its first weights.

    Raises
    ------
    RecipeError
        If there is no such backbone, or it takes no squares of this size.
    WeightsError
        As `initial`.
    """
    size, channels = recipe.input.size, recipe.model.channels
    with torch.device("meta"), torch.no_grad():  # shapes alone, without memory for weights
        network = build(recipe, 1).eval()
        try:
            network(torch.zeros(1, channels, size, size))
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            finding = f"{recipe.model.backbone} takes no squares of {size} px ({str(error).partition(chr(10))[0]})"
            raise RecipeError(f"input.size: {finding}; give the size that it was made for") from error
    located(recipe, offline)


def _name(recipe: ClassifierRecipe) -> str:
    """What the first weights are called."""
    wanted = recipe.model.pretrained
    return recipe.model.backbone if wanted == "yes" else wanted


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
    watch: Watch | None = None,
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
    watch : callable or None
        Called after each epoch, counted over all phases, with its figures; what it raises ends the training.

    Raises
    ------
    TrainingError
        If the loss is no number.
    OutputError
        If the training was interrupted.
    """
    weighted = recipe.data.balance == "loss"
    weights = class_weights(squares.truth[train], len(squares.labels.values)) if weighted else None

    def stage(phase: Phase, number: int, first: int) -> tuple[Classify, EpochData]:
        data = EpochData(squares, train, val, recipe, seed, first)
        steps = steps_in(len(data.order), recipe.fit) * phase.epochs
        module = Classify(network, recipe, phase, steps=steps, weights=weights, seed=number, names=squares.names)
        return module, data

    return phases.run(network, recipe, stage, folder, seed=seed, progress=progress, watch=watch)


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
