"""From a classifier's run to a bundle: one fold's network, or all of them joined, with its calibration."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tumorscope._version import __version__
from tumorscope.errors import BundleError, look_up
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.recalibration import fit_calibrator
from tumorscope.inference.bundle import Bundle, BundleMetadata, Calibration, Thresholds, Training
from tumorscope.training import engine
from tumorscope.training.classifier_fit import build
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.export import to_onnx
from tumorscope.training.provenance import fingerprint
from tumorscope.training.recipe import load
from tumorscope.training.run_folder import DONE, FOLDS, MANIFEST, PREDICTIONS, RECIPE, VALIDATION, folder_of, weights_of

NONE = ("no_tumor", "none", "no", "notumor", "no tumor", "normal", "healthy", "negative")  # names of a class without
FLOOR = 1e-7  # of a mean probability, before its logarithm


class Joined(nn.Module):
    """Logits whose probabilities are the mean of several networks' probabilities."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1) or (N, K) of (N, C, S, S) squares in [0, 1]."""
        parts = [network(image) for network in self.networks]
        if parts[0].shape[1] == 1:
            return torch.logit(torch.stack([part.sigmoid() for part in parts]).mean(0), eps=FLOOR)
        return torch.stack([F.softmax(part, 1) for part in parts]).mean(0).clamp_min(FLOOR).log()


def export(
    run: Path,
    out: Path,
    *,
    fold: str | None = None,
    ensemble: bool = False,
    half: bool = True,
    licence: str = "Apache-2.0",
    description: str = "",
) -> Path:
    """Write the bundle of a finished run and return its path.

    Parameters
    ----------
    run : Path
        A folder of `classifier_run.train`.
    out : Path
        The ``.onnx`` file.
    fold : str or None
        Name of the fold to take, such as ``r0f3``; by default the one that ``provenance.json`` names, which did best
        on its own validation scans.
    ensemble : bool
        Join all folds: the mean of their probabilities. Every scan of the run then counts as seen in training.
    half : bool
        Store weights as float16.
    licence, description : str

    Raises
    ------
    BundleError
        If the run is unfinished, or has no folds to join.
    """
    provenance = engine.read_json(run / "provenance.json", None)
    if provenance is None:
        raise BundleError(f"{run}: holds no finished training; go on with train --resume first")
    recipe = load(run / RECIPE)
    assert isinstance(recipe, ClassifierRecipe)
    names = [""] if "single" in provenance["folds"] else list(provenance["folds"])
    if ensemble and len(names) < 2:
        raise BundleError(f"{run}: has one model only; join the folds of a run with data.folds = 2 or more")
    if ensemble:
        chosen = names
    elif fold is not None:
        if names == [""]:
            raise BundleError(f"{run}: was trained on one split and has no fold '{fold}'; leave the fold out")
        chosen = [look_up(fold, names, f"fold of {run}", BundleError)]
    else:
        chosen = ["" if names == [""] else provenance["model_from"]]
    record = engine.read_json(folder_of(run, chosen[0]) / DONE, {})
    labels = tuple(record["label_names"])
    networks = [network_of(run, name, recipe, labels) for name in chosen]
    module = networks[0] if len(networks) == 1 else Joined(list(networks))
    preparation = recipe.preparation
    shape = (preparation.channels, preparation.size, preparation.size)
    model = to_onnx(module.eval(), shape, ("score",), half=half)
    table = pl.read_parquet(run / MANIFEST)
    known = _known(run, chosen, table)
    metadata = BundleMetadata(
        name=recipe.name,
        version=__version__,
        task="classify",
        labels=labels,
        none=next((place for place, name in enumerate(labels) if name.casefold() in NONE), None),
        architecture=recipe.model.backbone + (f", mean of {len(chosen)} folds" if len(chosen) > 1 else ""),
        licence=licence,
        created=datetime.date.today().isoformat(),
        description=description or _described(chosen, record),
        preparation=preparation,
        calibration=Calibration(evidence_weight=0.0, head_weight=1.0 if ensemble else _inverse(run, chosen[0])),
        thresholds=Thresholds(tumor=0.5, no_tumor=0.5),
        training=Training(
            fingerprint=fingerprint(known),
            sources=tuple(known["source"].drop_nulls().unique(maintain_order=True).to_list()),
            scan_hashes=tuple(sorted({value[:16] for value in known["sha256"].drop_nulls().to_list()})),
            licences=dict(known.select("source", "licence").unique().drop_nulls().sort("source").iter_rows()),
        ),
        metrics=_measured(run, ensemble or fold is not None),
    )
    return Bundle.write(model, metadata, out)


def network_of(run: Path, name: str, recipe: ClassifierRecipe, labels: tuple[str, ...]) -> nn.Module:
    """The network of a fold (the empty name where there is one only) with its best weights, ready to predict."""
    network = build(recipe, 1 if len(labels) == 2 else len(labels))
    engine.load_weights(network, weights_of(run, name))
    return network.eval()


def folds_of(run: Path) -> list[str]:
    """Names of a run's folds; one empty name where it has none."""
    folder = run / FOLDS
    return sorted(one.name for one in folder.iterdir() if (one / DONE).is_file()) if folder.is_dir() else [""]


def _known(run: Path, chosen: list[str], table: pl.DataFrame) -> pl.DataFrame:
    """Manifest rows that taught or chose the model: all but what its fold was tested on, whole or slice by slice."""
    if len(chosen) > 1:
        return table
    tested = pl.read_parquet(folder_of(run, chosen[0]) / PREDICTIONS)["id"]
    scans = {*tested.to_list(), *tested.str.replace(r":\d+$", "").to_list()}
    return table.filter(~pl.col("id").is_in(list(scans)))


def _inverse(run: Path, name: str) -> float:
    """1 over the temperature that the fold's validation scans ask for; 1 where they cannot tell."""
    table = pl.read_parquet(folder_of(run, name) / VALIDATION).drop("repeat", "fold")
    given = Predictions.of(table, VALIDATION)
    if len(set(given.truth.tolist())) < len(given.classes):
        return 1.0
    return 1.0 / fit_calibrator(given, "temperature").temperature


def _described(chosen: list[str], record: dict[str, Any]) -> str:
    if len(chosen) > 1:
        return f"Mean of {len(chosen)} folds; probabilities are not calibrated further."
    which = f"fold {chosen[0]}" if chosen[0] else "the run's only model"
    return f"From {which}, epoch {record['best_epoch']}; temperature fitted on its validation scans."


def _measured(run: Path, other: bool) -> dict[str, Any]:
    """Results of the run for the model card; of the protocol, not of this very network, where it has folds."""
    if other:
        return {}
    found = engine.read_json(run / "metrics.json", {})
    kept = {}
    for part in ("test", "cross_validation"):
        if found.get(part):
            kept[part] = {row["metric"]: [row["value"], row["low"], row["high"]] for row in found[part]["metrics"]}
    return kept
