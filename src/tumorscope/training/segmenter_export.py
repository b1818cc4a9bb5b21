"""From a segmenter's weights to a bundle that detects and outlines."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
import torch
from torch import Tensor, nn

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.errors import BundleError, look_up
from tumorscope.inference.bundle import Bundle, BundleMetadata, Calibration, Thresholds, Training
from tumorscope.training import engine
from tumorscope.training.calibrate import calibrate
from tumorscope.training.export import to_onnx
from tumorscope.training.losses import EVIDENCE_SHARE
from tumorscope.training.provenance import fingerprint
from tumorscope.training.run_folder import MANIFEST, MODEL, RECIPE, folder_of, weights_of
from tumorscope.training.segmenter_recipe import SegmenterRecipe

Settings = TypeVar("Settings", Calibration, Thresholds)


class Probabilities(nn.Module):
    """What a bundle's graph gives: pixel probabilities, and the head's logit (0 where there is no head)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, 1, S, S) and logits (N,) of (N, C, S, S) squares in [0, 1]."""
        out = self.network(image)
        mask = out.mask.sigmoid()
        return mask, mask.mean(dim=(1, 2, 3)) * 0 if out.score is None else out.score


class Joined(nn.Module):
    """The mean of several networks' `Probabilities`."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList([Probabilities(network) for network in networks])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """As `Probabilities.forward`."""
        masks, scores = zip(*(network(image) for network in self.networks), strict=True)
        return torch.stack(masks).mean(0), torch.stack(scores).mean(0)


def bundle(
    network: nn.Module,
    recipe: SegmenterRecipe,
    known: pl.DataFrame,
    val: pl.DataFrame,
    out: Path,
    *,
    half: bool = True,
    flip: bool = False,
    description: str = "",
    licence: str = "Apache-2.0",
) -> Path:
    """Write a bundle of a network, calibrated and with thresholds chosen on validation rows, and return its path.

    Parameters
    ----------
    network : nn.Module
        Gives a `Segmented`, or what `Probabilities` gives.
    recipe : SegmenterRecipe
    known : polars.DataFrame
        Manifest rows that taught or chose the network.
    val : polars.DataFrame
        Those that choose the thresholds.
    out : Path
    half : bool
        Store weights as float16.
    flip : bool
        Average with the left-right mirrored slice when it predicts; thresholds are chosen that way too.
    description, licence : str

    Raises
    ------
    DataError
        If the validation rows lack scans with or without a tumour, or masks.
    """
    preparation = recipe.preparation
    size = preparation.size
    model = to_onnx(
        network if isinstance(network, Joined) else Probabilities(network),
        (preparation.channels, size, size),
        ("mask", "score"),
        half=half,
    )
    metadata = BundleMetadata(
        name=recipe.name,
        version=__version__,
        architecture=recipe.model.architecture + (f", {recipe.model.encoder}" if recipe.model.encoder else ""),
        licence=licence,
        created=datetime.date.today().isoformat(),
        description=description,
        preparation=preparation,
        calibration=Calibration(top_pixels=max(1, round(EVIDENCE_SHARE * size * size))),
        thresholds=Thresholds(tumor=0.5, no_tumor=0.5),
        test_time_flip=flip,
        training=Training(
            fingerprint=fingerprint(known),
            sources=tuple(known["source"].drop_nulls().unique(maintain_order=True).to_list()),
            scan_hashes=tuple(sorted({value[:16] for value in known["sha256"].drop_nulls().to_list()})),
            licences=dict(known.select("source", "licence").unique().drop_nulls().sort("source").iter_rows()),
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Bundle.load(Bundle.write(model, metadata, Path(folder) / "draft.onnx"))
        calibration, thresholds, record = calibrate(draft, val)
    found = {"calibration": calibration, "thresholds": thresholds, "metrics": {"validation": record}}
    return Bundle.write(model, metadata.model_copy(update=found), out)


def export(run: Path, out: Path, *, fold: str | None = None, ensemble: bool = False, half: bool = True) -> Path:
    """Write the bundle of a finished run: one of its divisions', by default the best on its validation, or all joined.

    Joined folds leave no scan that could choose thresholds: calibration and thresholds are the means of the folds' own,
    each chosen on scans that its network had not seen, and every scan of the run counts as seen in training.

    Raises
    ------
    BundleError
        If the run is unfinished, has no such fold, or one model only where several are to be joined.
    """
    provenance = engine.read_json(run / "provenance.json", None)
    if provenance is None:
        raise BundleError(f"{run}: holds no finished training; go on with train --resume first")
    single = "single" in provenance["folds"]
    if ensemble:
        if single:
            raise BundleError(f"{run}: has one model only; join the folds of a run with data.folds = 2 or more")
        return _joined(run, list(provenance["folds"]), out, half)
    name = "" if single else provenance["model_from"]
    if fold is not None:
        name = look_up(fold, list(provenance["folds"]), f"fold of {run}", BundleError)
    with io.atomic(out) as path:
        shutil.copyfile(folder_of(run, "" if single else name) / MODEL, path)
    return out


def _joined(run: Path, names: list[str], out: Path, half: bool) -> Path:
    """A bundle of all folds: the mean of their maps and scores, under the means of their settings."""
    from tumorscope.training.recipe import load
    from tumorscope.training.segmenter_run import build

    recipe = load(run / RECIPE)
    assert isinstance(recipe, SegmenterRecipe)
    networks: list[nn.Module] = []
    for name in names:
        network = build(recipe)
        engine.load_weights(network, weights_of(run, name))
        networks.append(network.eval())
    own = [Bundle.load(folder_of(run, name) / MODEL).metadata for name in names]
    first = own[0]
    table = pl.read_parquet(run / MANIFEST)
    known = table.filter(pl.col("split").is_null() | (pl.col("split") != "test"))
    metadata = first.model_copy(
        update={
            "architecture": f"{first.architecture}, mean of {len(names)} folds",
            "created": datetime.date.today().isoformat(),
            "calibration": _mean(Calibration, [one.calibration for one in own]),
            "thresholds": _mean(Thresholds, [one.thresholds for one in own]),
            "training": first.training.model_copy(
                update={
                    "fingerprint": fingerprint(known),
                    "scan_hashes": tuple(sorted({value[:16] for value in known["sha256"].drop_nulls().to_list()})),
                }
            ),
            "metrics": {"folds": {name: one.metrics.get("validation") for name, one in zip(names, own, strict=True)}},
        }
    )
    size = recipe.preparation.size
    model = to_onnx(Joined(networks), (recipe.preparation.channels, size, size), ("mask", "score"), half=half)
    return Bundle.write(model, metadata, out)


def _mean(kind: type[Settings], given: Sequence[Settings]) -> Settings:
    """Settings whose every number is the mean of those given.

    Examples
    --------
    >>> _mean(Thresholds, [Thresholds(tumor=0.4, no_tumor=0.2), Thresholds(tumor=0.6, no_tumor=0.3)]).tumor
    0.5
    """
    parts = [one.model_dump() for one in given]
    means = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    whole = {name for name, value in parts[0].items() if isinstance(value, int)}
    return kind.model_validate({name: round(value) if name in whole else value for name, value in means.items()})
