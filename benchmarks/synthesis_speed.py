"""A training step of the denoiser against the recipe written naively, and what sampling spends outside the network.

    python benchmarks/synthesis_speed.py [--side 64] [--batch 64] [--steps 3] [--rounds 3] [--threads 2]

The naive step is fp32 in torch's default memory order with a plain AdamW, as the recipe reads; ours is the one that
`tumorscope synthesize train` takes (memory order, precision and fused optimiser as the machine allows), on the same
pictures. The two take turns, and the best stretch of each counts. Sampling runs the exported generator on ONNX Runtime.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from tumorscope.imaging.preparation import Preparation
from tumorscope.inference.generator import Generator, GeneratorMetadata
from tumorscope.inference.synthesis import Synthesizer
from tumorscope.models.diffusion import Denoiser
from tumorscope.training import engine
from tumorscope.training.diffuse import Diffuse
from tumorscope.training.diffusion_data import Drawn, Pictures
from tumorscope.training.diffusion_export import to_onnx, write
from tumorscope.training.diffusion_recipe import DiffusionRecipe

SAMPLED, SAMPLING_STEPS = 64, 20


def main() -> None:
    """Read the arguments, time both, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="in each timed stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=SAMPLED, help="that are sampled; 0 for none")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training(arguments.side, arguments.batch, arguments.steps, arguments.rounds)
    if arguments.pictures:
        sampling(arguments.side, arguments.pictures, arguments.threads)


def training(side: int, batch: int, steps: int, rounds: int) -> None:
    """Time both steps in turns and print a line."""
    recipe = DiffusionRecipe.model_validate(
        {
            "name": "speed",
            "model": {"conditional": False},
            "input": {"size": side},
            "fit": {"epochs": 1, "steps": steps, "batch": batch},
        }
    )
    pictures = pictures_of(side, batch)
    batches = [Drawn(pictures, recipe)[number] for number in range(steps)]
    naive = Naive()
    module = Diffuse(Denoiser(1), recipe, pictures)
    optimiser = module.configure_optimizers()
    precision = engine.precision_of(recipe.machine.precision)

    def plain(number: int) -> None:
        naive.step(batches[number]["image"])

    def ours(number: int) -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss, _ = module.errors(batches[number], torch.Generator().manual_seed(number))
        loss.backward()
        optimiser.step()

    torch.set_flush_denormal(True)
    best = {"naive": np.inf, "ours": np.inf}
    timed(plain, 1), timed(ours, 1)
    for _ in range(rounds):
        best["naive"] = min(best["naive"], timed(plain, steps))
        best["ours"] = min(best["ours"], timed(ours, steps))
    ratio = best["naive"] / best["ours"]
    print("| side, batch, threads | naive fp32 step | ours | precision | times as fast |\n|---|---|---|---|---|")
    place = f"{side}, {batch}, {torch.get_num_threads()}"
    print(f"| {place} | {best['naive']:.3f} s | {best['ours']:.3f} s | {precision} | {ratio:.2f} |", flush=True)


class Naive:
    """The recipe as it reads."""

    def __init__(self) -> None:
        self.network = Denoiser(1).train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=1e-4, foreach=False)

    def step(self, image: torch.Tensor) -> None:
        """One step on pictures of mean 0 and variance 1."""
        angle = np.arccos(0.95) + torch.rand(len(image), 1, 1, 1) * (np.arccos(0.02) - np.arccos(0.95))
        noise = torch.randn_like(image)
        noisy = angle.cos() * image + angle.sin() * noise
        self.optimiser.zero_grad()
        told = self.network(noisy, angle.sin().flatten() ** 2)
        (told - noise).abs().mean().backward()
        self.optimiser.step()


def timed(step: Callable[[int], None], count: int) -> float:
    """Seconds of a step, the mean of ``count``."""
    begin = time.perf_counter()
    for number in range(count):
        step(number)
    return (time.perf_counter() - begin) / count


def sampling(side: int, count: int, threads: int) -> None:
    """Time sampling and the calls of the network in it, and print a line."""
    with tempfile.TemporaryDirectory() as folder:
        facts = GeneratorMetadata(
            name="speed",
            preparation=Preparation(size=side),
            largest_signal=0.95,
            smallest_signal=0.02,
            mean=0.3,
            spread=0.3,
        )
        file = write(to_onnx(Denoiser(1).eval(), side), facts, Path(folder) / "speed.onnx")
        generator = Generator.load(file, threads=threads)
    inside = 0.0

    def tell(*given: np.ndarray) -> np.ndarray:
        nonlocal inside
        begin = time.perf_counter()
        told = generator.tell(*given)
        inside += time.perf_counter() - begin
        return told

    make = Synthesizer(tell, side, mean=0.3, spread=0.3)
    make.sample(range(2), steps=1)
    inside, begin = 0.0, time.perf_counter()
    make.sample(range(count), steps=SAMPLING_STEPS)
    whole = time.perf_counter() - begin
    print("\n| pictures, steps | seconds | in the network |\n|---|---|---|")
    print(f"| {count}, {SAMPLING_STEPS} | {whole:.1f} | {inside / whole:.1%} |", flush=True)


def pictures_of(side: int, count: int) -> Pictures:
    """Random pictures to learn from, and one to look at."""
    images = np.random.default_rng(0).integers(0, 256, (count + 1, side, side), np.uint8)
    names = [str(number) for number in range(count + 1)]
    table = pl.DataFrame({"id": names, "path": names, "group": names, "split": ["train"] * count + ["val"]})
    return Pictures(images, np.zeros(count + 1, np.int64), (), table)


if __name__ == "__main__":
    main()
