"""Generator: one ONNX file with a denoiser and all it takes to make pictures; runs without torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tumorscope.errors import BundleError
from tumorscope.imaging.preparation import Preparation
from tumorscope.inference.bundle import METADATA_KEY, Training, _onnxruntime_errors
from tumorscope.inference.mixing import Schedule
from tumorscope.inference.synthesis import Synthesizer
from tumorscope.scan import FloatArray

INPUTS, OUTPUT = ("noisy", "variance", "named"), "noise"


class GeneratorMetadata(BaseModel):
    """Everything about a generator that is not the network itself; JSON in the ONNX file's metadata."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    task: Literal["generate"] = "generate"
    name: str = Field(min_length=1, description="name of the model")
    version: str = Field(default="0", description="version of tumorscope that wrote it")
    architecture: str = Field(default="", description="widths and depth")
    licence: str = Field(default="", description="SPDX identifier of the weights' licence")
    created: str = Field(default="", description="ISO 8601 date")
    description: str = Field(default="", description="what it was trained on, one or two sentences")
    preparation: Preparation = Field(description="how a slice is brought to the network's square")
    largest_signal: float = Field(description="signal rate at time 0")
    smallest_signal: float = Field(description="signal rate at time 1")
    classes: tuple[str, ...] = Field(
        default=(), description="classes that can be asked for; 0 is any, these count from 1"
    )
    mean: float = Field(description="mean of the pictures it learnt from, in [0, 1]")
    spread: float = Field(gt=0, description="their standard deviation")
    training: Training = Field(default_factory=lambda: Training(), description="what the network has seen")
    metrics: dict[str, Any] = Field(default_factory=dict, description="measured results")

    @property
    def identity(self) -> str:
        """Name and a piece of the training data's fingerprint: what synthetic scans carry as their model."""
        return f"{self.name}@{self.training.fingerprint[:12]}" if self.training.fingerprint else self.name


@dataclass(frozen=True)
class Generator:
    """A denoiser in an ONNX file with its metadata, ready to run on the CPU.

    The graph takes ``noisy`` (N, 1, S, S) float32, ``variance`` (N,) float32 and, where there are classes, ``named``
    (N,) int64, and gives ``noise`` (N, 1, S, S).
    """

    path: Path
    metadata: GeneratorMetadata
    session: onnxruntime.InferenceSession

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Generator:
        """The generator in ``path``, an ``.onnx`` file, or in a run folder that holds ``model.onnx``.

        Raises
        ------
        BundleError
            If there is none, it is damaged, or it is no generator.
        """
        file = Path(path)
        file = file / "model.onnx" if file.is_dir() else file
        if not file.is_file():
            raise BundleError(f"{file}: does not exist; train a generator first (tumorscope synthesize train)")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(os.fspath(file), options, providers=["CPUExecutionProvider"])
        except _onnxruntime_errors as error:
            raise BundleError(_no_generator(file, "ONNX Runtime cannot load it")) from error
        metadata = parse_generator(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), file)
        inputs = [value.name for value in session.get_inputs()]
        wanted = [*INPUTS[: 3 if metadata.classes else 2]]
        if sorted(inputs) != sorted(wanted) or OUTPUT not in [value.name for value in session.get_outputs()]:
            raise BundleError(_no_generator(file, f"its graph takes {', '.join(inputs)}"))
        return cls(file, metadata, session)

    @property
    def synthesizer(self) -> Synthesizer:
        """What makes pictures with this network."""
        facts = self.metadata
        schedule = Schedule(facts.largest_signal, facts.smallest_signal)
        return Synthesizer(self.tell, facts.preparation.size, schedule, facts.classes, facts.mean, facts.spread)

    def tell(self, noisy: FloatArray, variance: FloatArray, named: NDArray[np.int64]) -> FloatArray:
        """The noise (N, 1, S, S) in noisy pictures."""
        values: dict[str, NDArray] = {"noisy": noisy, "variance": variance}
        if self.metadata.classes:
            values["named"] = named
        return np.asarray(self.session.run([OUTPUT], values)[0], np.float32)


def parse_generator(text: str | None, file: Path) -> GeneratorMetadata:
    """The metadata in JSON ``text``; ``file`` names it in errors.

    Raises
    ------
    BundleError
        If there is none, it is of another kind of model, or something in it is wrong.
    """
    if text is None:
        raise BundleError(_no_generator(file, "an ONNX model without tumorscope metadata"))
    try:
        values = json.loads(text)
    except ValueError as error:
        raise BundleError(_no_generator(file, "its metadata is no valid JSON")) from error
    task = values.get("task") if isinstance(values, dict) else None
    if task != "generate":
        raise BundleError(_no_generator(file, f"its task is {task}"))
    try:
        return GeneratorMetadata.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{file}: damaged metadata ({where}: {first['msg'].lower()}); export the generator again"
        ) from error


def _no_generator(file: Path, finding: str) -> str:
    return f"{file}: is no generator ({finding}); use a file made by `tumorscope synthesize train`"
