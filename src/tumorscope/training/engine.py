"""The loop that every task shares: Lightning, with a row an epoch, the best weights, and runs that resume exactly.

One call of `fit` is one phase: an optimiser, a schedule, and epochs until they are over or patience is. A run that is
killed at any moment goes on at its last whole epoch and ends as an unbroken one does, since what an epoch draws depends
on the seed and its number alone.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import lightning.pytorch as L
import polars as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tumorscope import io
from tumorscope.errors import OutputError, RecipeError

LAST, BEST = "last.ckpt", "best.safetensors"
BF16_ON_CPU = ("amx_bf16", "avx512_bf16", "bf16")  # the processor's own words; elsewhere bf16 takes twice fp32's time
EMA_STEPS = 4  # weights are averaged every so many steps, with the decay that belongs to them
PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
MEANT = (  # what Lightning warns of, and is meant: a frozen part, the order of work on few cores, resuming
    r"module\(s\) in eval mode at the start",
    "does not have many workers",
    "resuming from a checkpoint that ended",
    "Checkpoint directory .* exists and is not empty",
)
LOGGERS = {"tensorboard": ("TensorBoardLogger", "tensorboard"), "mlflow": ("MLFlowLogger", "mlflow")}


class Task(Protocol):
    """What `fit` asks of a Lightning module: its network, and the figures of the validation scans just seen."""

    network: nn.Module

    def judged(self) -> dict[str, float]:
        """Figures of the validation scans since the last call, by name."""


@dataclass(frozen=True)
class Loop:
    """How long a phase runs, what it runs on, and which epoch it keeps.

    Parameters
    ----------
    epochs : int
        At most.
    monitor : str
        Figure of `Task.judged` that picks the epoch; the smallest for a loss, the largest for anything else.
    tie : str
        Loss that decides between epochs of the same figure.
    patience : int
        Epochs without a better one that end the phase; 0 for never.
    ema : float
        Decay of averaged weights, which are then validated and kept; 0 for none.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``; see `precision_of`.
    watch : callable or None
        Called after each epoch with its number and the figures; what it raises ends the training.
    """

    epochs: int
    monitor: str
    tie: str = "val_loss"
    patience: int = 0
    ema: float = 0.0
    accumulate: int = 1
    precision: str = "fp32"
    deterministic: bool = False
    devices: int | str = 1
    strategy: str = "auto"
    log: tuple[str, ...] = ()
    first_epoch: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    watch: Callable[[int, Mapping[str, float]], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """Where a phase ended: its best epoch (counted over all phases), the figure there, and epochs run."""

    epoch: int
    value: float
    epochs: int


class Best(L.Callback):
    """Weights of the best epoch so far in a file; ends the phase when patience is over."""

    def __init__(self, file: Path, loop: Loop) -> None:
        self.file, self.loop = file, loop
        self.sign = -1.0 if loop.monitor.endswith("loss") else 1.0
        self.found: dict[str, float] = {"value": -math.inf, "tie": -math.inf, "epoch": -1, "stopped": 0}

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the epoch; this stands before weight averaging takes its weights back."""
        task: Task = cast("Task", pl_module)
        figures = task.judged()
        pl_module.log_dict(figures, prog_bar=True, batch_size=1)
        if self.loop.monitor not in figures:
            known = ", ".join(name.removeprefix("val_") for name in figures)
            raise RecipeError(f"monitor: '{self.loop.monitor}' is no figure of this task; choose one of {known}")
        value, tie = self.sign * figures[self.loop.monitor], -figures.get(self.loop.tie, 0.0)
        if math.isnan(value):  # a figure that the validation scans cannot give: the loss decides
            value = -math.inf
        if (value, tie) > (self.found["value"], self.found["tie"]) or self.found["epoch"] < 0:
            self.found |= {"value": value, "tie": tie, "epoch": float(trainer.current_epoch)}
            if trainer.is_global_zero:
                write_weights(task.network, self.file)
        elif self.loop.patience and trainer.current_epoch - self.found["epoch"] >= self.loop.patience:
            self.found["stopped"] = 1.0
            trainer.should_stop = True
        if self.loop.watch is not None:
            self.loop.watch(self.loop.first_epoch + trainer.current_epoch, figures)

    def state_dict(self) -> dict[str, float]:
        """For the checkpoint."""
        return dict(self.found)

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """From the checkpoint."""
        self.found = dict(state_dict)


class EpochLog(L.Callback):
    """One row an epoch in ``metrics.csv``; on resuming, rows of epochs that will run again are dropped."""

    def __init__(self, path: Path, first: int = 0, facts: Mapping[str, float] | None = None) -> None:
        self.path, self.first, self.facts = path, first, dict(facts or {})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of finished epochs."""
        if self.path.exists() and trainer.is_global_zero:
            rows = pl.read_csv(self.path)
            self._write(rows.filter(pl.col("epoch") < self.first + trainer.current_epoch))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        place = {"epoch": self.first + trainer.current_epoch, "step": trainer.global_step, "rate": rate}
        row = pl.DataFrame([{**place, **self.facts, **figures}])
        rows = pl.read_csv(self.path) if self.path.exists() else None
        self._write(row if rows is None or rows.is_empty() else pl.concat([rows, row], how="diagonal_relaxed"))

    def _write(self, rows: pl.DataFrame) -> None:
        with io.atomic(self.path) as path:
            rows.write_csv(path)


def fit(
    module: L.LightningModule,
    data: L.LightningDataModule,
    folder: Path,
    loop: Loop,
    *,
    log: Path | None = None,
    progress: bool = False,
) -> Outcome:
    """Train ``module`` for one phase and leave its network with the weights of the best epoch.

    Parameters
    ----------
    module : LightningModule
        Also a `Task`.
    data : LightningDataModule
    folder : Path
        Gets ``best.safetensors``, and ``last.ckpt``, from which an unfinished phase goes on.
    loop : Loop
    log : Path or None
        The table with a row an epoch; ``metrics.csv`` in the folder by default.
    progress : bool
        Show a bar.

    Raises
    ------
    OutputError
        If the training was interrupted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / LAST
    best = Best(folder / BEST, loop)
    rows = [EpochLog(log or folder / "metrics.csv", loop.first_epoch, loop.facts)]
    before = _state_of(last)
    if before is None or not (before[1]["stopped"] or before[0] >= loop.epochs):
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        trainer = _trainer(loop, folder, [best, *averaging(loop.ema), *rows], progress)
        with denormals_flushed(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)  # of Lightning about torch, not the user's
            for meant in MEANT:
                warnings.filterwarnings("ignore", f".*{meant}", UserWarning)
            _run(trainer, module, data, last if before else None, loop.first_epoch)
        ran = trainer.current_epoch
    else:
        ran = before[0]
        best.load_state_dict(before[1])
    load_weights(cast("Task", module).network, folder / BEST)
    return Outcome(loop.first_epoch + int(best.found["epoch"]), best.sign * best.found["value"], ran)


def _run(
    trainer: L.Trainer, module: L.LightningModule, data: L.LightningDataModule, last: Path | None, first: int
) -> None:
    """Let the trainer work; Ctrl-C, on which it ends the process and goes deaf to the next one, becomes an error."""
    listens = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, listens or signal.default_int_handler)
        epoch = first + trainer.current_epoch
        raise OutputError(f"training: interrupted in epoch {epoch}; run again with --resume to go on") from None


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within, numbers under 1e-38 are 0: on a CPU they take many times as long as others, and mean nothing here."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def precision_of(wanted: str) -> str:
    """``fp32``, ``bf16`` or ``fp16``: what is wanted, or with ``auto`` bf16 where it is not emulated in software."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if any(can.get(name) for name in BF16_ON_CPU) else "fp32"


def write_weights(network: nn.Module, file: Path) -> None:
    """The network's weights as safetensors."""
    with io.atomic(file) as path:
        save_file({name: value.detach().contiguous().cpu() for name, value in network.state_dict().items()}, path)


def load_weights(network: nn.Module, file: Path) -> None:
    """Give the network the weights of a file that `write_weights` made for one like it."""
    state: dict[str, Tensor] = load_file(file)
    network.load_state_dict(state)


def averaging(decay: float) -> list[L.Callback]:
    """The callback that averages weights; none for a decay of 0."""
    if not decay:
        return []
    return [EMAWeightAveraging(decay=decay**EMA_STEPS, update_every_n_steps=EMA_STEPS)]


def read_json(file: Path, default: Any) -> Any:
    """What a JSON file holds, ``default`` where it is absent."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else default


def write_json(values: Any, file: Path) -> None:
    """Write a JSON file, whole or not at all."""
    with io.atomic(file) as path:
        path.write_text(json.dumps(values, indent=2), encoding="utf-8")


def _state_of(last: Path) -> tuple[int, dict[str, float]] | None:
    """Epochs that a checkpoint has behind it, and what `Best` knew; None without a checkpoint."""
    if not last.is_file():
        return None
    kept = torch.load(last, map_location="cpu", weights_only=True)
    return int(kept["epoch"]) + 1, kept["callbacks"][Best.__qualname__]


def _trainer(loop: Loop, folder: Path, callbacks: list[L.Callback], progress: bool) -> L.Trainer:
    keep = ModelCheckpoint(
        folder, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    return L.Trainer(
        max_epochs=loop.epochs,
        accelerator="auto",
        devices=loop.devices,
        strategy=loop.strategy,
        precision=PRECISIONS[loop.precision],
        accumulate_grad_batches=loop.accumulate,
        deterministic=loop.deterministic or None,
        use_distributed_sampler=False,
        callbacks=[*callbacks, keep, *([TQDMProgressBar(refresh_rate=10)] if progress else [])],
        logger=[_logger(name, folder) for name in loop.log] or False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,
    )


def _logger(name: str, folder: Path) -> Any:
    from lightning.pytorch import loggers

    kind, package = LOGGERS[name]
    build: Callable[..., Any] = getattr(loggers, kind)
    try:
        return build(save_dir=str(folder / name))
    except ModuleNotFoundError as error:
        raise RecipeError(f"machine.log: {name} is not installed; run: pip install {package}") from error
