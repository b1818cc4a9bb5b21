"""From a run of a diffusion model to a generator: the best weights as ONNX, with all it takes to make pictures."""

from __future__ import annotations

import datetime
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import polars as pl
import torch
from torch import Tensor, nn

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.inference.bundle import METADATA_KEY, Training
from tumorscope.inference.generator import INPUTS, OUTPUT, GeneratorMetadata
from tumorscope.models.diffusion import Denoiser
from tumorscope.training import engine
from tumorscope.training.diffusion_run import FACTS, MANIFEST, load_network
from tumorscope.training.export import OPSET, store_half, without_traces
from tumorscope.training.provenance import fingerprint


class Unnamed(nn.Module):
    """A denoiser that knows no classes, with two inputs."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, variance: Tensor) -> Tensor:
        """The noise."""
        return self.network(noisy, variance)


def export(run: Path, out: Path, *, half: bool = True, licence: str = "Apache-2.0", description: str = "") -> Path:
    """Write the generator of a run and return its path.

    Parameters
    ----------
    run : Path
        A folder of `diffusion_run.train`.
    out : Path
        The ``.onnx`` file.
    half : bool
        Store weights as float16.
    licence, description : str

    Raises
    ------
    OutputError
        If the run holds no weights, or ``out`` cannot be written.
    """
    network, recipe = load_network(run)
    table = pl.read_parquet(run / MANIFEST)
    classes = tuple(engine.read_json(run / FACTS, {"classes": []})["classes"])
    model = to_onnx(network, recipe.input.size, half=half)
    sources = table["source"].drop_nulls().unique(maintain_order=True).to_list()
    metadata = GeneratorMetadata(
        name=recipe.name,
        version=__version__,
        architecture=f"residual U-Net, widths {list(recipe.model.widths)}, depth {recipe.model.depth}",
        licence=licence,
        created=datetime.date.today().isoformat(),
        description=description or f"DDIM of {table.height} scans from {', '.join(sources)}",
        preparation=recipe.preparation,
        largest_signal=recipe.mixing.largest_signal,
        smallest_signal=recipe.mixing.smallest_signal,
        classes=classes,
        mean=float(network.mean),
        spread=float(network.spread),
        training=Training(
            fingerprint=fingerprint(table),
            sources=tuple(sources),
            scan_hashes=tuple(sorted({value[:16] for value in table["sha256"].drop_nulls().to_list()})),
            licences=dict(table.select("source", "licence").unique().drop_nulls().sort("source").iter_rows()),
        ),
        metrics=_measured(run),
    )
    return write(model, metadata, out)


def to_onnx(network: Denoiser, size: int, *, half: bool = True) -> onnx.ModelProto:
    """The denoiser as an ONNX model: ``noisy``, ``variance`` and, where it knows classes, ``named`` to ``noise``."""
    count = 3 if network.classes else 2
    example = (torch.zeros(2, network.channels, size, size), torch.zeros(2), torch.zeros(2, dtype=torch.long))[:count]
    batch = torch.export.Dim("batch")
    plain = (network if network.classes else Unnamed(network)).eval()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # that all inputs share one, which is meant
        path = Path(folder) / "network.onnx"
        program = torch.onnx.export(
            plain,
            example,
            input_names=list(INPUTS[:count]),
            output_names=[OUTPUT],
            dynamic_shapes={name: {0: batch} for name in INPUTS[:count]},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
        model = without_traces(onnx.load(str(path)))
    return store_half(model) if half else model


def write(model: onnx.ModelProto, metadata: GeneratorMetadata, out: Path) -> Path:
    """``out``, a generator made of an ONNX model and its metadata."""
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata.model_dump_json()})
    with io.atomic(out) as draft:
        draft.write_bytes(model.SerializeToString())
    return out


def _measured(run: Path) -> dict[str, Any]:
    found = engine.read_json(run / "metrics.json", {})
    return {name: found[name] for name in ("validation", "kid", "copying", "best_epoch") if name in found}
