"""The loop that every task shares: which epoch is kept, when a phase ends, what is logged, and going on."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import lightning.pytorch as L
import polars as pl
import pytest
import torch
from lightning.pytorch import loggers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tumorscope.errors import OutputError, RecipeError, TumorscopeError
from tumorscope.training import engine
from tumorscope.training.engine import (
    BEST,
    EMA_STEPS,
    LAST,
    Loop,
    Outcome,
    averaging,
    fit,
    load_weights,
    precision_of,
    read_json,
    write_json,
    write_weights,
)

NAN = math.nan
STEPS = 2  # in an epoch


class Told(L.LightningModule):
    """A single weight that counts steps by gradients of 1, and figures that stand in a list."""

    def __init__(self, figures: list[dict[str, float]], dies_in: int | None = None) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.said, self.dies_in = figures, dies_in

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if self.dies_in == self.current_epoch and batch_idx == 1:
            raise KeyboardInterrupt
        return -self.network.weight.sum()

    def validation_step(self, batch: Tensor, _: int) -> None:
        pass

    def judged(self) -> dict[str, float]:
        return self.said[self.current_epoch]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), lr=1.0)


class Nothing(L.LightningDataModule):
    """Two batches of nothing."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader([torch.zeros(1)] * STEPS, batch_size=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([torch.zeros(1)], batch_size=1)


def run(folder: Path, values: list[float], losses: list[float] | None = None, **loop: object) -> tuple[Outcome, Told]:
    losses = losses or [1.0] * len(values)
    module = Told([{"val_auc": value, "val_loss": loss} for value, loss in zip(values, losses, strict=True)])
    settings = {"epochs": len(values), "monitor": "val_auc", **loop}
    return fit(module, Nothing(), folder, Loop(**settings)), module


def weight(module: Told) -> float:
    return float(module.network.weight.detach())


@pytest.mark.parametrize(
    ("values", "losses", "monitor", "epoch", "value"),
    [
        ([0.5, 0.9, 0.7], None, "val_auc", 1, 0.9),
        ([0.5, 0.6, 0.7], None, "val_auc", 2, 0.7),
        ([0.9, 0.9, 0.9], None, "val_auc", 0, 0.9),  # the first of equals
        ([0.9, 0.9, 0.9], [0.5, 0.3, 0.4], "val_auc", 1, 0.9),  # the loss decides between equals
        ([0.5, 0.9, 0.7], [0.2, 0.4, 0.1], "val_loss", 2, 0.1),  # smallest
        ([NAN, NAN, NAN], [0.5, 0.3, 0.4], "val_auc", 1, -math.inf),  # what cannot be told leaves it to the loss
        ([NAN, 0.1, NAN], [0.5, 0.6, 0.4], "val_auc", 1, 0.1),
    ],
)
def test_the_best_epoch_is_kept(tmp_path, values, losses, monitor, epoch, value) -> None:
    outcome, module = run(tmp_path, values, losses, monitor=monitor)
    assert outcome == Outcome(epoch, value, 3)
    assert weight(module) == STEPS * (epoch + 1)  # one a step: these are that epoch's weights
    fresh = nn.Linear(1, 1, bias=False)
    load_weights(fresh, tmp_path / BEST)
    assert float(fresh.weight.detach()) == STEPS * (epoch + 1)


@pytest.mark.parametrize(
    ("patience", "values", "epochs", "best"),
    [
        (1, [0.5, 0.4, 0.9], 2, 0),
        (2, [0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 5, 2),
        (2, [0.5, 0.5, 0.5, 0.9], 3, 0),  # as good is no better
        (0, [0.5, 0.4, 0.3, 0.9], 4, 3),
        (9, [0.5, 0.4, 0.3], 3, 0),
    ],
)
def test_patience_ends_a_phase(tmp_path, patience, values, epochs, best) -> None:
    outcome, _ = run(tmp_path, values, patience=patience)
    assert (outcome.epochs, outcome.epoch) == (epochs, best)
    assert pl.read_csv(tmp_path / "metrics.csv").height == epochs
    again, module = run(tmp_path, values, patience=patience)  # a phase that has ended is not run again
    assert again == outcome and weight(module) == STEPS * (best + 1)
    assert pl.read_csv(tmp_path / "metrics.csv").height == epochs


def test_a_row_an_epoch(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, [0.5, 0.75], [0.3, 0.2], first_epoch=4, facts={"phase": 1})
    rows = pl.read_csv(tmp_path / "metrics.csv")
    assert rows.columns == ["epoch", "step", "rate", "phase", "val_auc", "val_loss"]
    assert rows.select("epoch", "step", "phase", "val_auc").rows() == [(4, 2, 1, 0.5), (5, 4, 1, 0.75)]
    assert rows["rate"].to_list() == [1.0, 1.0] and outcome.epoch == 5


def test_a_monitor_that_is_no_figure_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'val_dice' is no figure of this task; choose one of auc, loss"):
        run(tmp_path, [0.5], monitor="val_dice")


@pytest.mark.parametrize("dies_in", [0, 1, 2])
def test_an_interrupted_phase_says_so_and_goes_on_as_if_unbroken(tmp_path: Path, dies_in: int) -> None:
    figures = [{"val_auc": value, "val_loss": 1.0} for value in (0.5, 0.9, 0.7)]
    loop, log = Loop(epochs=3, monitor="val_auc", first_epoch=10), tmp_path / "log.csv"
    listens = signal.getsignal(signal.SIGINT)
    with pytest.raises(OutputError, match=rf"interrupted in epoch {10 + dies_in}; run again with --resume"):
        fit(Told(figures, dies_in), Nothing(), tmp_path / "broken", loop, log=log)
    assert signal.getsignal(signal.SIGINT) is listens
    assert (tmp_path / "broken" / LAST).is_file() == (dies_in > 0)
    module = Told(figures)
    outcome = fit(module, Nothing(), tmp_path / "broken", loop, log=log)
    whole = Told(figures)
    assert fit(whole, Nothing(), tmp_path / "whole", loop) == outcome == Outcome(11, 0.9, 3)
    assert log.read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
    assert weight(module) == weight(whole)


def test_rows_of_epochs_that_run_again_are_dropped(tmp_path: Path) -> None:
    """A run killed between its row and its checkpoint has one row too many."""
    figures = [{"val_auc": value, "val_loss": 1.0} for value in (0.5, 0.9, 0.7)]
    loop = Loop(epochs=3, monitor="val_auc")
    with pytest.raises(OutputError):
        fit(Told(figures, 2), Nothing(), tmp_path, loop)
    log = tmp_path / "metrics.csv"
    rows = pl.read_csv(log)
    pl.concat([rows, rows[-1:].with_columns(epoch=pl.lit(2, pl.Int64), val_auc=pl.lit(0.111))]).write_csv(log)
    fit(Told(figures), Nothing(), tmp_path, loop)
    assert pl.read_csv(log)["epoch"].to_list() == [0, 1, 2] and 0.111 not in pl.read_csv(log)["val_auc"].to_list()


def test_averaged_weights_are_judged_and_kept(tmp_path: Path) -> None:
    """The first average is the weight after step 1; every fourth step draws it on by 1 - decay ** 4."""
    decay = 0.5
    outcome, module = run(tmp_path, [0.1, 0.2, 0.3], ema=decay)
    assert outcome.epoch == 2
    assert weight(module) == pytest.approx(1 + (1 - decay**EMA_STEPS) * (5 - 1))  # after the steps 1 and 5 of 6
    assert averaging(0.0) == [] and len(averaging(0.9)) == 1


def test_gradients_are_gathered_over_batches(tmp_path: Path) -> None:
    _, module = run(tmp_path, [0.1, 0.2, 0.3], accumulate=2)
    assert weight(module) == 3  # one step an epoch, of the mean gradient
    assert pl.read_csv(tmp_path / "metrics.csv")["step"].to_list() == [1, 2, 3]


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [precision_of(name) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for told, precision in (({"avx2": True}, "fp32"), ({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=told: told, raising=False)
        assert precision_of("auto") == precision
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for real, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda real=real, **_: real)
        assert precision_of("auto") == precision


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    one, other = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
    one(torch.rand(2, 1, 8, 8))  # batch statistics too
    one.to(memory_format=torch.channels_last)
    write_weights(one, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_json_is_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    assert read_json(file, {"a": 1}) == {"a": 1}
    write_json({"b": [1, None]}, file)
    assert read_json(file, {}) == {"b": [1, None]} == json.loads(file.read_text())
    with pytest.raises(TypeError):
        write_json({"b": object()}, file)
    assert read_json(file, {}) == {"b": [1, None]} and list(tmp_path.iterdir()) == [file]


def test_a_logger_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        def __init__(self, **_: object) -> None:
            raise ModuleNotFoundError("no module named mlflow")

    monkeypatch.setattr(loggers, "MLFlowLogger", Absent)
    with pytest.raises(TumorscopeError, match="mlflow"):
        run(tmp_path, [0.5], log=("mlflow",))


def test_a_logger_gets_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def csv_logger(save_dir: str) -> loggers.CSVLogger:
        made.append(loggers.CSVLogger(save_dir))
        return made[-1]

    monkeypatch.setattr(loggers, "TensorBoardLogger", csv_logger)
    run(tmp_path, [0.5, 0.6], log=("tensorboard",))
    assert made[0].save_dir == str(tmp_path / "tensorboard")
    logged = pl.read_csv(next((tmp_path / "tensorboard").rglob("metrics.csv")))
    assert logged["val_auc"].drop_nulls().to_list() == pytest.approx([0.5, 0.6])


def test_what_lightning_needs_of_a_callback() -> None:
    assert engine.Best.__qualname__ == "Best"  # the key under which a checkpoint keeps its state
