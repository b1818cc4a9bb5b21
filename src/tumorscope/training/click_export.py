"""From a finished run of ``click`` to the two ONNX files that `annotation.click` opens."""

from __future__ import annotations

import datetime
import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx.helper
import polars as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tumorscope._version import __version__
from tumorscope.annotation.click import ANSWERER, EMBEDDER, LAYERS, METADATA_KEY
from tumorscope.datasets import manifest
from tumorscope.errors import BundleError, RecipeError
from tumorscope.io import atomic
from tumorscope.models.promptable.click_network import PLANES, Answerer, ClickNetwork, Embedder
from tumorscope.training.export import OPSET, WEIGHTS, store_half, without_traces
from tumorscope.training.provenance import fingerprint
from tumorscope.training.recipe import ClickRecipe, load
from tumorscope.training.train import preparation_of


def export(
    run: Path, out: Path, *, half: bool = True, licence: str = "Apache-2.0", metrics: dict[str, Any] | None = None
) -> Path:
    """Write the engine of a finished run into the folder ``out`` and return it.

    Parameters
    ----------
    run : Path
    out : Path
        Gets ``click-embedder.onnx`` and ``click.onnx``.
    half : bool
        Store weights as float16; they become float32 again when the engine is opened.
    licence : str
        Of the weights, SPDX.
    metrics : dict, optional
        Measured figures for the engine's facts.

    Raises
    ------
    BundleError
        If the run has no weights yet.
    RecipeError
        If it is a run of another task.
    """
    if not (run / WEIGHTS).exists():
        raise BundleError(f"{run}: holds no finished training ({WEIGHTS} is missing); run train with --resume first")
    recipe = load(run / "recipe.toml")
    if not isinstance(recipe, ClickRecipe):
        raise RecipeError(f"{run}: is a run of the task {recipe.task}; give one of the recipe click")
    network = load_network(run, recipe)
    side = recipe.phases[-1].size
    table = manifest.read(run / "manifest.parquet", check_files=False)
    learnt = table.filter(pl.col("split") == "train")
    facts = {
        "version": __version__,
        "created": datetime.date.today().isoformat(),
        "licence": licence,
        "preparation": replace(preparation_of(recipe), size=side).to_dict(),
        "training": {
            "fingerprint": fingerprint(learnt),
            "sources": learnt["source"].unique(maintain_order=True).to_list(),
            "licences": dict(learnt.select("source", "licence").unique().drop_nulls().sort("source").iter_rows()),
        },
        "metrics": metrics or {},
    }
    image = torch.zeros(2, 1, side, side)
    features = tuple(one.detach() for one in network.embed(image))
    planes = torch.zeros(2, PLANES, side, side)
    out.mkdir(parents=True, exist_ok=True)
    for name, module, example, inputs, outputs in (
        (EMBEDDER, Embedder(network), (image,), ("image",), LAYERS),
        (ANSWERER, Answerer(network), (*features, planes), (*LAYERS, "planes"), ("mask", "quality")),
    ):
        model = _onnx(module, example, inputs, outputs)
        model = store_half(model) if half else model
        if name == ANSWERER:
            onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(facts)})
        with atomic(out / name) as path:
            path.write_bytes(model.SerializeToString())
    return out


def load_network(run: Path, recipe: ClickRecipe) -> ClickNetwork:
    """The run's network with its averaged weights, ready to answer."""
    model = recipe.model
    network = ClickNetwork(model.encoder, model.encoder_channels, model.prompt_channels, model.decoder_channels)
    network.load_state_dict(load_file(run / WEIGHTS))
    return network.eval()


def _onnx(module: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    batch = torch.export.Dim("batch")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        warnings.filterwarnings("ignore", message="# The axis name: batch", category=UserWarning)  # one batch for all
        path = Path(folder) / "network.onnx"
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_shapes=tuple({0: batch} for _ in example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
        return without_traces(onnx.load(str(path)))
