"""Training throughput against a bare PyTorch loop, and an exported classifier against PyTorch.

    python benchmarks/training_speed.py [--models resnet18 convnext_atto] [--steps 8] [--rounds 3] [--threads 2]

The bare loop takes random tensors of the same shape, with the same network, loss and optimiser; ours draws prepared
scans from the memory-mapped cache, changes them at random, and trains through Lightning. The two take turns, several
rounds in one process, and the best of each counts. Loading and network share the cores.

The exported network runs on ONNX Runtime with as many threads as PyTorch, at batch 1; the largest difference of their
logits on prepared scans is printed beside the ratio of their times (best of many calls, in turns).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import onnxruntime
import torch

from tumorscope.datasets import manifest, phantom
from tumorscope.imaging.preparation import Preparation
from tumorscope.models.classifiers import Classifier
from tumorscope.training import engine
from tumorscope.training.classifier_data import EpochData, Squares, held_out
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classify import Classify, loss_of, optimiser_of
from tumorscope.training.export import to_onnx

SIZE, BATCH, SCANS = 224, 32, 64
CALLS = 30  # of each at batch 1


def main() -> None:
    """Read the arguments, time everything, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "convnext_atto"])
    parser.add_argument("--steps", type=int, default=8, help="in each timed stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        squares = scans(Path(folder))
        print(f"{SIZE} px, batch {BATCH}, {arguments.threads} threads; scans a second\n")
        print("| network | precision | bare loop on random tensors | tumorscope | ratio |")
        print("|---|---|---|---|---|")
        for name in arguments.models:
            for precision in arguments.precisions:
                training(name, precision, squares, Path(folder), arguments.steps, arguments.rounds)
        print("\n| network | PyTorch, batch 1 | ONNX Runtime | times as fast | largest difference of logits |")
        print("|---|---|---|---|---|")
        for name in arguments.models:
            exported(name, squares, arguments.threads)


def scans(folder: Path) -> Squares:
    """Prepared phantoms, half of them with a tumour."""
    table = manifest.load(phantom.write_dataset(folder / "phantoms", SCANS, size=SIZE))
    return Squares.of(table, Preparation(size=SIZE), folder / "cache")


def recipe_of(name: str, precision: str) -> ClassifierRecipe:
    """A recipe of one phase with the reference's augmentation."""
    return ClassifierRecipe.model_validate(
        {
            "name": name,
            "model": {"backbone": name, "pretrained": "no"},
            "input": {"size": SIZE},
            "phases": [{"epochs": 1, "rate": 1e-4, "schedule": "constant"}],
            "fit": {"batch": BATCH},
            "machine": {"precision": precision},
        }
    )


def training(name: str, precision: str, squares: Squares, folder: Path, steps: int, rounds: int) -> None:
    """Time both loops in turns and print a line."""
    recipe = recipe_of(name, precision)
    rows = np.resize(np.arange(len(squares.truth)), steps * BATCH).astype(np.int64)
    bare, ours = [], []
    for number in range(rounds):
        bare.append(time_bare(recipe, steps))
        ours.append(time_ours(recipe, squares, rows, folder / f"{name}-{precision}-{number}"))
    best = [steps * BATCH / min(seconds) for seconds in (bare, ours)]
    print(f"| {name} | {precision} | {best[0]:.1f} | {best[1]:.1f} | {best[1] / best[0]:.2f} |", flush=True)


def time_bare(recipe: ClassifierRecipe, steps: int) -> float:
    """Seconds of ``steps`` steps on one random batch, after two that warm up."""
    network = Classifier.of(recipe.model.backbone, outputs=1).to(memory_format=torch.channels_last).train()
    optimiser = optimiser_of(network, recipe.phases[0])
    images = torch.rand(BATCH, 1, SIZE, SIZE)
    labels = torch.randint(0, 2, (BATCH,))
    half = recipe.machine.precision == "bf16"
    begin = 0.0
    for step in range(steps + 2):
        if step == 2:
            begin = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss_of(logits, labels, recipe.loss).backward()
        optimiser.step()
    return time.perf_counter() - begin


class Clock(L.Callback):
    """Seconds from the end of the second step to the end of the last."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *batch: object) -> None:
        """Note the time."""
        self.end = time.perf_counter()
        if batch[-1] == 1:
            self.begin = self.end


def time_ours(recipe: ClassifierRecipe, squares: Squares, rows: np.ndarray, folder: Path) -> float:
    """Seconds of as many steps through the library's loader, module and Lightning."""
    warm = np.concatenate([rows[: 2 * BATCH], rows])
    network = Classifier.of(recipe.model.backbone, outputs=1)
    module = Classify(network, recipe, recipe.phases[0], steps=len(warm) // BATCH)
    clock = Clock()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision=engine.PRECISIONS[recipe.machine.precision],
        callbacks=[clock],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=EpochData(squares, warm, warm[:2], recipe, 0))
    return clock.end - clock.begin


def exported(name: str, squares: Squares, threads: int) -> None:
    """Compare the exported network with PyTorch at batch 1 and print a line."""
    network = Classifier.of(name, outputs=1).eval()
    model = to_onnx(network, (1, SIZE, SIZE), ("score",), half=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batches = [batch["image"][:1] for batch in held_out(squares, np.arange(len(squares.truth), dtype=np.int64))]
    own, theirs, apart = [], [], 0.0
    for call in range(CALLS):
        image = batches[call % len(batches)]
        with torch.inference_mode():
            begin = time.perf_counter()
            first = network(image).numpy()
            own.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        (second,) = session.run(None, {"image": image.numpy()})
        theirs.append(time.perf_counter() - begin)
        apart = max(apart, float(np.abs(first - second).max()))
    fast = min(own) / min(theirs)
    print(f"| {name} | {min(own) * 1000:.0f} ms | {min(theirs) * 1000:.0f} ms | {fast:.1f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
