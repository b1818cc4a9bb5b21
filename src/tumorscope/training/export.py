"""From a finished run to a bundle: averaged weights as ONNX, calibrated, thresholds chosen on validation."""

from __future__ import annotations

import datetime
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import polars as pl
import torch
from safetensors.torch import load_file
from torch import nn

from tumorscope._version import __version__
from tumorscope.datasets import manifest
from tumorscope.errors import BundleError
from tumorscope.inference import bundle as bundles
from tumorscope.inference.bundle import Bundle, BundleMetadata, Thresholds, Training
from tumorscope.models.segmenters import DetectorSegmenter, Exported
from tumorscope.training.calibrate import calibrate
from tumorscope.training.losses import EVIDENCE_SHARE
from tumorscope.training.provenance import fingerprint
from tumorscope.training.recipe import Recipe, load
from tumorscope.training.train import preparation_of

WEIGHTS = "checkpoints/averaged.safetensors"
OPSET = 20


def export(
    run: Path,
    out: Path,
    *,
    half: bool = True,
    gate: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    licence: str = "Apache-2.0",
    description: str = "",
) -> Path:
    """Write the bundle of a finished run and return its path.

    Parameters
    ----------
    run : Path
        A run folder with ``recipe.toml``, ``manifest.parquet`` and averaged weights.
    out : Path
        The ``.onnx`` file to write.
    half : bool
        Store weights as float16; they become float32 again when the model is loaded.
    gate : dict, optional
        A fitted gate, see `inference.gate.Gate.to_dict`.
    metrics : dict, optional
        Measured results for the model card.
    licence, description : str
        Licence of the weights (SPDX) and a sentence about them.

    Raises
    ------
    BundleError
        If the run has no weights yet.
    """
    if not (run / WEIGHTS).exists():
        raise BundleError(f"{run}: holds no finished training ({WEIGHTS} is missing); run train with --resume first")
    recipe = load(run / "recipe.toml")
    assert isinstance(recipe, Recipe)
    table = manifest.read(run / "manifest.parquet", check_files=False)
    network = load_network(run, recipe)
    size = recipe.phases[-1].size
    model = to_onnx(Exported(network), (1, size, size), ("mask", "score"), half=half)
    train_rows = table.filter(pl.col("split") == "train")
    metadata = BundleMetadata(
        name=recipe.name,
        version=__version__,
        architecture=f"{recipe.model.architecture}, {recipe.model.encoder} {list(recipe.model.encoder_channels)}",
        licence=licence,
        created=datetime.date.today().isoformat(),
        description=description,
        preparation=replace(preparation_of(recipe), size=size),
        calibration=bundles.Calibration(top_pixels=round(EVIDENCE_SHARE * size * size)),
        thresholds=Thresholds(tumor=0.5, no_tumor=0.5),
        gate=gate or {},
        training=Training(
            fingerprint=fingerprint(train_rows),
            sources=tuple(train_rows["source"].unique(maintain_order=True).to_list()),
            scan_hashes=tuple(sorted({value[:16] for value in train_rows["sha256"].drop_nulls().to_list()})),
            licences=dict(train_rows.select("source", "licence").unique().drop_nulls().sort("source").iter_rows()),
        ),
        metrics=metrics or {},
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Bundle.load(Bundle.write(model, metadata, Path(folder) / "draft.onnx"))
        calibration, thresholds, record = calibrate(draft, table.filter(pl.col("split") == "val"))
    metadata = metadata.model_copy(
        update={
            "calibration": calibration,
            "thresholds": thresholds,
            "metrics": {**metadata.metrics, "validation": record},
        }
    )
    return Bundle.write(model, metadata, out)


def load_network(run: Path, recipe: Recipe) -> DetectorSegmenter:
    """The run's network with its averaged weights, ready to predict."""
    network = DetectorSegmenter(**recipe.model.model_dump())
    network.load_state_dict(load_file(run / WEIGHTS))
    return network.eval()


def to_onnx(
    network: nn.Module, shape: tuple[int, int, int], outputs: Sequence[str], *, half: bool = True
) -> onnx.ModelProto:
    """The network as an ONNX model with the input ``image``, ``(N, *shape)`` for any N, and named outputs."""
    example = torch.zeros(2, *shape)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        path = Path(folder) / "network.onnx"
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=["image"],
            output_names=[*outputs],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
        model = without_traces(onnx.load(str(path)))
    return store_half(model) if half else model


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter notes of its making: source lines and folders of this machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with large float32 weights stored as float16 and cast back at load; arithmetic stays float32."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < 1024 or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model
