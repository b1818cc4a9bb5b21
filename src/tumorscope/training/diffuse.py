"""Lightning module of a diffusion model: noise is told, the picture watched, sheets and KID drawn on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumorscope import io
from tumorscope.errors import TrainingError
from tumorscope.evaluation.kid import LEAST, kid
from tumorscope.inference.embedding import Extractor
from tumorscope.inference.synthesis import Synthesizer, Tell
from tumorscope.models.diffusion import Denoiser
from tumorscope.models.diffusion.schedule import draw_times, mix, rates, take_apart
from tumorscope.report.figures import contact_sheet
from tumorscope.training.diffusion_data import SALT, Batch, Pictures
from tumorscope.training.diffusion_recipe import DiffusionRecipe

ADAM_EPS = 1e-7  # Keras'; torch has 1e-8
NAMED = 8  # files of a batch that an error lists
SHEET_TILE = 96  # px
FIRST_SEED = 0  # of the pictures on a sheet; the same noises in every epoch
EXAMPLE_SEED = 1_000_000  # of the pictures for KID, which no sheet shows


class Diffuse(L.LightningModule):
    """A denoiser under a recipe.

    The loss is the mean absolute error of the noise; that of the picture is watched. Both are on the scale of pictures
    of mean 0 and variance 1. Noise and times of a step hang on the seed, the epoch and the step alone; those of the
    validation pictures are the same in every epoch.

    Parameters
    ----------
    network : Denoiser
    recipe : DiffusionRecipe
    pictures : Pictures
    samples : Path or None
        Folder of the sheets; none are drawn without it.
    extractor : Extractor or None
        What KID is measured in; without it there is none.
    data : Drawn or None
        Told the epoch before it is drawn.
    """

    def __init__(
        self,
        network: Denoiser,
        recipe: DiffusionRecipe,
        pictures: Pictures,
        *,
        samples: Path | None = None,
        extractor: Extractor | None = None,
        data: Any = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if recipe.machine.channels_last else network
        self.recipe, self.pictures, self.samples, self.extractor, self.data = recipe, pictures, samples, extractor, data
        self._sums: dict[str, list[float]] = {}
        self._real: NDArray[np.float32] | None = None
        if recipe.machine.compile:
            self.network.compile()

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's figures, and tell the data which epoch it is."""
        self._sums = {}
        if self.data is not None:
            self.data.epoch = self.current_epoch

    def on_fit_start(self) -> None:
        """Nothing is denormal: halves the time of some steps on a CPU."""
        torch.set_flush_denormal(True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean absolute error of the noise; one that is no number stops the training and names the files."""
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, self.current_epoch, batch_idx))
        noise_error, picture_error = self.errors(batch, generator)
        if not torch.isfinite(noise_error):
            files = [self.pictures.table["path"][int(row)] for row in batch["row"].tolist()]
            raise TrainingError(
                f"epoch {self.current_epoch}, batch {batch_idx}: the loss is {float(noise_error.detach())} "
                f"({', '.join(files[:NAMED])}{', …' if len(files) > NAMED else ''}); "
                "look at these files, lower the rate, or clip the gradient (fit.clip = 1)"
            )
        self._add("train", len(batch["row"]), noise_error, picture_error)
        return noise_error

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same errors on validation pictures."""
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, SALT["validation"], batch_idx))
        self._add("val", len(batch["row"]), *self.errors(batch, generator))

    def errors(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean absolute errors of the noise and of the picture, of freshly mixed pictures."""
        picture = self.network.normalised(batch["image"])
        noise = torch.randn(picture.shape, generator=generator).to(picture)
        signal_rate, noise_rate = rates(self.recipe.schedule, draw_times(len(picture), generator).to(picture))
        noisy = mix(picture, noise, signal_rate, noise_rate)
        if self.recipe.machine.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        told = self.network(noisy, noise_rate.flatten() ** 2, batch["named"]).float()
        with torch.no_grad():
            apart = (take_apart(noisy, told, signal_rate, noise_rate) - picture).abs().mean()
        return (told - noise).abs().mean(), apart

    def judged(self) -> dict[str, float]:
        """``val_noise``, ``val_image``, their training twins, ``val_kid`` (NaN between looks) and what picks the epoch.

        That is ``val_closeness``: minus KID, or minus the noise error where no KID is measured at all.
        """
        found = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {name: sums for name, sums in self._sums.items() if name.startswith("train")}
        distance = math.nan
        every, number = self.recipe.watch.every, self.current_epoch + 1
        look = number == self.recipe.fit.epochs or (every and number % every == 0)
        if look:
            distance = self._look(number)
        found["val_kid"] = distance
        found["val_closeness"] = -distance if self.extractor is not None else -found["val_noise"]
        return found

    def synthesizer(self) -> Synthesizer:
        """What makes pictures with the network as it is now."""
        facts = float(self.network.mean), float(self.network.spread)
        size = self.recipe.input.size
        return Synthesizer(tell_of(self.network), size, self.recipe.schedule, self.pictures.classes, *facts)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the norm of the gradient where the recipe asks for it."""
        if self.recipe.fit.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.fit.clip)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, as Keras': everything that learns decays."""
        settings = self.recipe.fit
        return torch.optim.AdamW(
            self.network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay, eps=ADAM_EPS, fused=True
        )

    def _add(self, side: str, count: int, noise: Tensor, picture: Tensor) -> None:
        for name, value in (("noise", noise), ("image", picture)):
            sums = self._sums.setdefault(f"{side}_{name}", [0.0, 0.0])
            sums[0] += float(value.detach()) * count
            sums[1] += count

    def _look(self, epoch: int) -> float:
        """Draw the epoch's sheet and return its KID, NaN where none can be told."""
        settings, make = self.recipe.watch, self.synthesizer()
        if self.samples is not None:
            write_sheet(make, self.samples / f"epoch-{epoch:05d}.png", settings.pictures, settings.steps)
        rows = self.pictures.rows("val")
        if self.extractor is None or len(rows) < LEAST:
            return math.nan
        if self._real is None:
            self._real = self.extractor(self.pictures.floats(rows))
        count = min(settings.kid_pictures, len(rows))
        if count < LEAST:
            return math.nan
        seeds = range(EXAMPLE_SEED, EXAMPLE_SEED + count)
        made = self.extractor(make.sample(seeds, steps=settings.kid_steps))
        groups = self.pictures.table["group"].gather(rows.tolist()).to_list()
        return kid(made, self._real, features=self.extractor.name, groups=groups, seed=self.recipe.seed).value


def tell_of(network: Denoiser) -> Tell:
    """The network as `inference.synthesis` calls it, in inference mode and fp32, on the device where it is."""

    def tell(noisy: NDArray, variance: NDArray, named: NDArray) -> NDArray[np.float32]:
        device = next(network.parameters()).device
        training = network.training
        network.eval()
        with torch.inference_mode():
            given = [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in (noisy, variance, named)]
            told = network(*given).float().cpu().numpy()
        network.train(training)
        return told

    return tell


def write_sheet(
    make: Synthesizer, file: Path, count: int, steps: int, classes: Sequence[str | None] | None = None
) -> Path:
    """``file``, a PNG with ``count`` pictures of any class, or so many of each class named, and its path."""
    images: list[NDArray] = []
    for named in classes or [None]:
        seeds = range(FIRST_SEED, FIRST_SEED + count)
        images += [np.rint(one * 255).astype(np.uint8) for one in make.sample(seeds, steps=steps, named=named)]
    io.write_image(file, contact_sheet(images, columns=8, tile=max(SHEET_TILE, make.size)))
    return file


def _seed(seed: int, epoch: int, batch: int) -> int:
    return (seed * 2_147_483_629 + epoch * 1_000_003 + batch * 65_537 + 1) % 2**63
