"""A run of a diffusion model: a recipe and scans in, a folder with sheets, honest figures and a generator out."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import polars as pl
import torch

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.audit.copying import Copying, find_copies
from tumorscope.datasets import manifest
from tumorscope.errors import OutputError
from tumorscope.evaluation.kid import LEAST, kid
from tumorscope.inference.embedding import Extractor
from tumorscope.inference.generator import Generator
from tumorscope.models.diffusion import Denoiser
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.diffuse import EXAMPLE_SEED, Diffuse, write_sheet
from tumorscope.training.diffusion_data import DiffusionData, Pictures, divided
from tumorscope.training.diffusion_recipe import DiffusionRecipe
from tumorscope.training.engine import Loop
from tumorscope.training.provenance import commit, fingerprint

MANIFEST, RECIPE, MODEL, SAMPLES, CHECKPOINTS = (
    "manifest.parquet",
    "recipe.toml",
    "model.onnx",
    "samples",
    "checkpoints",
)
LOG, FACTS = "metrics.csv", "pictures.json"
PACKAGES = ("torch", "lightning", "numpy")
REFERENCE = {"noise": 0.0601, "image": 0.1161, "kid": "1.66 to 1.76, not falling; Inception features at 75x75"}


def train(
    recipe: DiffusionRecipe,
    sources: Sequence[str | Path | pl.DataFrame],
    run: Path,
    *,
    resume: bool = False,
    cache_folder: Path | None = None,
    offline: Path | None = None,
    progress: bool = False,
) -> Path:
    """Train ``recipe`` on manifests or folders and return the run folder.

    The folder holds ``recipe.toml``, ``manifest.parquet`` (every scan that the generator saw; ``train`` taught it,
    ``val`` picked the epoch), ``metrics.csv`` (an epoch a row), ``samples/`` (a sheet a look), ``checkpoints/``,
    ``model.onnx`` (`inference.generator.Generator`), ``metrics.json`` and ``provenance.json``.

    Parameters
    ----------
    recipe : DiffusionRecipe
    sources : sequence of path or table
    run : Path
    resume : bool
        Go on with a run that was stopped, as if it had not been.
    cache_folder : Path or None
        Where prepared pictures are kept; ``run/cache`` by default.
    offline : Path or None
        Folder with Inception's weights, for KID.
    progress : bool
        Show a bar.

    Raises
    ------
    DataError
        If too few scans are left, a group is cut, or a scan cannot be read.
    OutputError
        If ``run`` holds a run already and ``resume`` is False, or holds one of another recipe.
    TrainingError
        If the loss is no number.
    WeightsError
        If Inception is asked for and its weights cannot be had.
    """
    from tumorscope.training.diffusion_export import export

    start = time.monotonic()
    table = _begun(recipe, sources, run, resume)
    extractor = extractor_of(recipe, offline)
    pictures = Pictures.of(table, recipe, cache_folder or run / "cache")
    engine.write_json({"classes": list(pictures.classes), "features": extractor.name}, run / FACTS)
    network = initial(recipe, pictures)
    data = DiffusionData(pictures, recipe)
    module = Diffuse(network, recipe, pictures, samples=run / SAMPLES, extractor=extractor, data=data.drawn)
    loop = Loop(
        epochs=recipe.fit.epochs,
        monitor="val_closeness",
        tie="val_noise",
        ema=recipe.fit.ema,
        precision=engine.precision_of(recipe.machine.precision),
        deterministic=recipe.machine.deterministic,
        devices=recipe.machine.devices,
        strategy=recipe.machine.strategy,
        log=recipe.machine.log,
    )
    outcome = engine.fit(module, data, run / CHECKPOINTS, loop, log=run / LOG, progress=progress)
    make = module.synthesizer()
    for named in pictures.classes or (None,):
        file = run / SAMPLES / f"best-{named or 'any'}.png"
        write_sheet(make, file, recipe.watch.pictures, recipe.watch.steps, [named])
    measured = measure(pictures, make.sample, extractor, recipe)
    rows = pl.read_csv(run / LOG).filter(pl.col("epoch") == outcome.epoch)
    metrics = {
        "best_epoch": outcome.epoch,
        "epochs": outcome.epochs,
        "validation": {name: rows[name][0] for name in ("val_noise", "val_image") if name in rows.columns},
        **measured,
        "pictures": {side: len(pictures.rows(side)) for side in ("train", "val")},
        "reference": REFERENCE,
    }
    engine.write_json(metrics, run / "metrics.json")
    _write_provenance(recipe, run, table, time.monotonic() - start)
    export(run, run / MODEL)
    return run


def measure(pictures: Pictures, sample: Any, extractor: Extractor, recipe: DiffusionRecipe) -> dict[str, Any]:
    """KID beside its floor, and the copying audit, of fresh pictures of a generator."""
    rows = pictures.rows("val")
    count = max(LEAST, min(recipe.watch.kid_pictures, len(rows)))
    made = sample(range(2 * EXAMPLE_SEED, 2 * EXAMPLE_SEED + count), steps=recipe.watch.steps)
    real = pictures.floats(rows)
    features = extractor(made)
    found: dict[str, Any] = {"kid": None}
    if len(rows) >= LEAST:
        groups = pictures.table["group"].gather(rows.tolist()).to_list()
        found["kid"] = kid(features, extractor(real), features=extractor.name, groups=groups).to_dict()
    found["copying"] = copying_of(pictures, made, extractor).to_dict()
    return found


def copying_of(pictures: Pictures, made: np.ndarray, extractor: Extractor | None = None) -> Copying:
    """How many of some pictures repeat a training scan, beside what held-out real scans get."""
    taught, held = pictures.rows("train"), pictures.rows("val")
    groups = pictures.table["group"].gather(taught.tolist()).to_list()
    return find_copies(
        made, pictures.floats(taught), groups=groups, held_out=pictures.floats(held), extractor=extractor
    )


def extractor_of(recipe: DiffusionRecipe, offline: Path | None = None) -> Extractor:
    """What KID is measured in: Inception where the recipe wants it, or may, and its weights are here; else the scout.

    Raises
    ------
    WeightsError
        If the recipe insists on Inception and there are no weights.
    """
    from tumorscope.inference.embedding import scout_features
    from tumorscope.training.inception import inception_features, inception_here

    wanted = recipe.watch.features
    if wanted == "inception" or (wanted == "auto" and inception_here(offline)):
        return inception_features(offline)
    return scout_features()


def build(recipe: DiffusionRecipe, classes: int) -> Denoiser:
    """The recipe's network, untrained, for so many named classes."""
    chosen = recipe.model
    return Denoiser(
        1,
        chosen.widths,
        chosen.depth,
        embedded=chosen.embedded,
        lowest=chosen.lowest,
        highest=chosen.highest,
        classes=classes,
    )


def initial(recipe: DiffusionRecipe, pictures: Pictures) -> Denoiser:
    """The network that training begins with: random weights, and the scale of the training pictures."""
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    network = build(recipe, len(pictures.classes))
    taught = pictures.floats(pictures.rows("train"))
    network.mean.fill_(float(taught.mean(dtype=np.float64)))
    network.spread.fill_(float(taught.std(dtype=np.float64)))
    return network


def load_network(run: Path) -> tuple[Denoiser, DiffusionRecipe]:
    """The best network of a run, with its recipe.

    Raises
    ------
    OutputError
        If the run has no weights, or they are of another recipe.
    """
    weights = run / CHECKPOINTS / engine.BEST
    if not weights.is_file():
        raise OutputError(f"{run}: holds no trained weights; run tumorscope synthesize train with --resume first")
    recipe = recipes.load(run / RECIPE)
    if not isinstance(recipe, DiffusionRecipe):
        raise OutputError(f"{run}: is a run of the task '{recipe.task}', not of a generator; name another folder")
    network = build(recipe, len(engine.read_json(run / FACTS, {"classes": []})["classes"]))
    try:
        engine.load_weights(network, weights)
    except RuntimeError as error:
        raise OutputError(f"{weights}: is of another recipe than {RECIPE} beside it; put the right one back") from error
    return network.eval(), recipe


def generator_of(place: Path) -> Generator:
    """The generator of a run folder or file."""
    return Generator.load(place)


def _begun(recipe: DiffusionRecipe, sources: Sequence[Any], run: Path, resume: bool) -> pl.DataFrame:
    """The run's manifest: written now, or by the call that this one goes on with."""
    file = run / MANIFEST
    if file.exists():
        if not resume:
            raise OutputError(f"{run}: holds a run already; pass --resume to go on with it, or another folder")
        if (run / RECIPE).exists() and recipes.load(run / RECIPE) != recipe:
            raise OutputError(f"{run}: was begun with another recipe; resume it with the same, or use another folder")
        return manifest.read(file)
    table = divided(manifest.load(list(sources)), recipe.data, recipe.seed)
    with io.atomic(run / RECIPE) as path:
        path.write_text(recipes.to_toml(recipe), encoding="utf-8")
    manifest.write(table, file)
    return table


def _write_provenance(recipe: DiffusionRecipe, run: Path, table: pl.DataFrame, seconds: float) -> None:
    record = {
        "tumorscope": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "git": commit(),
        "seed": recipe.seed,
        "precision": engine.precision_of(recipe.machine.precision),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "data_fingerprint": fingerprint(table),
        "seconds_of_last_call": round(seconds, 1),
    }
    engine.write_json(record, run / "provenance.json")
