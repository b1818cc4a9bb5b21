"""What augmenting before the split does to a network's accuracy: the same recipe, both ways, on the same scans.

    python benchmarks/leaky_training.py DATA [--recipe resnet18] [--copies 10] [--epochs 20] [--size 96] [--out FOLDER]

The leaky way is the reference's: every scan is augmented into several copies first, all of them are then split at
random, and the accuracy is read off the validation part that also picked the epoch; copies of one scan stand on both
sides. It is a script here and not in the library, which has no way to ask for it. The sound way takes as many steps on
the same recipe: the scans are split by group, augmented on the fly, the epoch is picked on validation scans, and the
accuracy is that of a test part that chose nothing.

*Dealt* labels are the true ones dealt anew among the groups of near-copies: nothing in a picture tells them, so
whatever a protocol scores on them beyond the larger class it scores by recognising scans.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from tumorscope.training import recipe as recipes
from tumorscope.training.cache import Cache
from tumorscope.training.changes import changed
from tumorscope.training.classifier_data import Rows, Squares, load
from tumorscope.training.classifier_fit import answers, fit, initial
from tumorscope.training.classifier_recipe import Changes, ClassifierRecipe
from tumorscope.training.classify import figures
from tumorscope.training.divisions import divisions

HELD = 0.2  # of the copies, for the leaky validation
# As the reference augments: RECIPES' figures, written to disk once.
COPY = Changes(flip=0.5, rotation=10, shift=0.05, shear=0.05, zoom=0.1, brightness=0.1)


def main() -> None:
    """Read the arguments, train both ways with true and with dealt labels, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="resnet18")
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20, help="of the leaky training; the sound one takes its steps")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deals", type=int, default=1, help="times that labels are dealt for the sound protocol")
    parser.add_argument("--out", type=Path, help="folder that keeps the runs, so that a stopped call goes on")
    arguments = parser.parse_args()
    chosen = recipes.load(arguments.recipe)
    assert isinstance(chosen, ClassifierRecipe)
    recipe = recipes.changed(
        chosen, {"input.size": arguments.size, "seed": arguments.seed, "model.pretrained": "no", "data.test": HELD}
    )
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        table = load([arguments.data])
        squares = Squares.of(table, recipe.preparation, out / "cache")
        print("| protocol | labels | accuracy | balanced accuracy | AUC | larger class |")
        print("|---|---|---|---|---|---|")
        for name, marked in (("true", squares), ("dealt", dealt(squares, arguments.seed))):
            copied = with_copies(marked, arguments.copies, arguments.seed)
            steps = leaky(copied, recipe, arguments.epochs, out / f"leaky-{name}", name, arguments.copies)
            told = [sound(marked, table, recipe, steps, out / f"sound-{name}")]
            for deal in range(1, arguments.deals if name == "dealt" else 1):
                again = dealt(squares, arguments.seed + deal)
                told.append(sound(again, table, recipe, steps, out / f"sound-{name}-{deal}"))
            times = f", mean of {len(told)} deals" if len(told) > 1 else ""
            mean = {key: float(np.mean([one[key] for one in told])) for key in told[0]}
            row(f"split by group, then augment; a test part that chose nothing{times}", name, mean)
            if len(told) > 1:
                print(f"AUC of each deal: {', '.join(format(one['auc'], '.3f') for one in told)}", flush=True)


def dealt(squares: Squares, seed: int) -> Squares:
    """The squares with their labels dealt anew among the groups; every group has one label."""
    groups = squares.table["group"].to_numpy()
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    labels = np.random.default_rng(seed).permutation(squares.truth[first])
    return replace(squares, truth=labels[number].astype(np.int64))


def with_copies(squares: Squares, copies: int, seed: int) -> Squares:
    """``copies`` augmented copies of each square, in memory."""
    count = len(squares.truth)
    parent = np.tile(np.arange(count), copies)
    images = np.stack(
        [
            np.rint(changed(squares.cache.image(row), COPY, np.random.default_rng([seed, place])) * 255)
            for place, row in enumerate(parent)
        ]
    ).astype(np.uint8)
    cache = Cache(images, np.zeros_like(images), squares.cache.quantiles[parent], squares.cache.table[parent])
    return Squares(cache, squares.table[parent], squares.truth[parent], squares.labels)


def leaky(squares: Squares, recipe: ClassifierRecipe, epochs: int, folder: Path, name: str, copies: int) -> int:
    """Train on a random split of copies, print the figures of the validation part, return the steps taken."""
    order = np.random.default_rng(recipe.seed).permutation(len(squares.truth)).astype(np.int64)
    held = round(HELD * len(order))
    phases = [{**phase.model_dump(), "epochs": epochs, "patience": 0} for phase in recipe.phases[-1:]]
    still = Changes(flip=0, rotation=0, shift=0, shear=0, zoom=0, brightness=0)  # the copies are augmented already
    plain = recipes.changed(recipe, {"phases": phases, "augmentation": still.model_dump(), "fit.monitor": "accuracy"})
    told = trained(squares, plain, order[held:], order[:held], order[:held], folder)
    row(f"augment ×{copies}, then split at random; the validation part that picked the epoch", name, told)
    return epochs * -(-(len(order) - held) // recipe.fit.batch)


def sound(
    squares: Squares, table: pl.DataFrame, recipe: ClassifierRecipe, steps: int, folder: Path
) -> dict[str, float]:
    """Train as many steps on a split by group; the figures of the test part."""
    one = divisions(table, recipe.data, recipe.seed)[0]
    train, val, test = (squares.rows(squares.table["id"].is_in(list(ids))) for ids in (one.train, one.val, one.test))
    epochs = max(1, round(steps / -(-len(train) // recipe.fit.batch)))
    phases = [{**phase.model_dump(), "epochs": epochs, "patience": 0} for phase in recipe.phases[-1:]]
    return trained(squares, recipes.changed(recipe, {"phases": phases}), train, val, test, folder)


def trained(
    squares: Squares, recipe: ClassifierRecipe, train: Rows, val: Rows, judged: Rows, folder: Path
) -> dict[str, float]:
    """Figures of the squares ``judged`` by a model trained on ``train`` and picked on ``val``."""
    kept = folder / "figures.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    network, _ = initial(recipe, squares.labels.outputs, recipe.seed)
    fit(network, recipe, squares, train, val, folder, seed=recipe.seed)
    truth = squares.truth[judged]
    found = figures(answers(network, squares, judged), truth)
    found["larger"] = float(max(np.bincount(truth)) / len(truth))
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def row(protocol: str, labels: str, found: dict[str, float]) -> None:
    """Print a line of the table."""
    shown = " | ".join(f"{found[key]:.3f}" for key in ("accuracy", "balanced_accuracy", "auc", "larger"))
    print(f"| {protocol} | {labels} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
