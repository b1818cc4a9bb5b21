"""Whether MUSICA, coloured input, augmentation and balanced classes help: one change at a time, on the same folds.

    python benchmarks/ablation.py DATA --out FOLDER [--recipe custom-cnn] [--size 64] [--repeats 2] [--only NAME ...]

The reference claims that MUSICA and augmentation helped every model, and never tested it. Here every variant is trained
on the same repeated folds by group as the plain one; differences are paired scan by scan, have intervals by group, and
are corrected for their number. A stopped call goes on where it was. Writes FOLDER/table.md and FOLDER/report.html.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tumorscope.report.comparison import compare
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import Changes, ClassifierRecipe
from tumorscope.training.classifier_run import train

PLAIN = "plain"
STILL = Changes(flip=0, rotation=0, shift=0, shear=0, zoom=0, brightness=0)
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "musica": {"input.enhance": "musica"},
    "kmeans-colours": {"input.colors": "kmeans", "model.channels": 3},
    "watershed-colours": {"input.colors": "watershed", "model.channels": 3},
    "no-augmentation": {f"augmentation.{key}": value for key, value in STILL.model_dump().items()},
    "over-sampling": {"data.balance": "over"},
    "under-sampling": {"data.balance": "under"},
    "class-weights": {"data.balance": "loss"},
}


def main() -> None:
    """Read the arguments, train every variant, compare each with the plain one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="custom-cnn")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.5, help="of custom-cnn: factor on its filters")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="these variants beside the plain one")
    arguments = parser.parse_args()
    chosen = recipes.load(arguments.recipe)
    assert isinstance(chosen, ClassifierRecipe)
    common = {
        "input.size": arguments.size,
        "model.pretrained": "no",
        "model.width": arguments.width,
        "data.folds": arguments.folds,
        "data.repeats": arguments.repeats,
    }
    runs = []
    for name, settings in VARIANTS.items():
        if arguments.only is not None and name not in (PLAIN, *arguments.only):
            continue
        recipe = recipes.changed(chosen, {**common, **settings, "name": f"{arguments.recipe}, {name}"})
        run = arguments.out / name
        if not (run / "report.html").exists():
            train(recipe, arguments.data, run, resume=run.exists(), cache_folder=arguments.out / "cache")
        runs.append(run)
    found = compare([*runs], arguments.out, against=PLAIN, metric="roc_auc")
    print(found.markdown.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
