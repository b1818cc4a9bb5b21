"""Bundle: one ONNX file with all that a prediction needs, and how it is read, written and run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tumorscope.errors import BundleError, MissingExtra, look_up
from tumorscope.imaging.preparation import Preparation
from tumorscope.io import atomic
from tumorscope.scan import FloatArray

SCHEMA_VERSION = 1
METADATA_KEY = "tumorscope"
EMBEDDED = "scout"
LEAST_CONCENTRATION = 1e-3  # added before the logarithm
PROBABILITY_FLOOR = 1e-4
"""Evidence is clipped this far from 0 and 1, so that its logit stays finite."""

_onnxruntime_errors: tuple[type[Exception], ...] = tuple(
    value
    for value in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)


class _Part(BaseModel):
    """A part of the metadata; unknown keys are refused, since they may change what the numbers mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Calibration(_Part):
    """How the network's outputs become one probability.

    ``z = evidence_weight * evidence + head_weight * score + bias`` and ``probability = 1 / (1 + exp(-z))``,
    where the evidence is the logit of the mean of the ``top_pixels`` highest pixel probabilities.

    Examples
    --------
    >>> flat = np.full((1, 1, 16, 16), 0.5, np.float32)
    >>> Calibration(top_pixels=10).probability(flat, np.zeros(1, np.float32))
    array([0.5])
    """

    top_pixels: int = Field(default=100, ge=1, description="pixels on the network's square that make up the evidence")
    evidence_weight: float = Field(default=1.0, description="weight of the mask's evidence, a logit")
    head_weight: float = Field(default=0.0, description="weight of the class head's logit")
    bias: float = Field(default=0.0, description="added to the weighted sum, a logit")

    def strength(self, mask: NDArray) -> NDArray[np.float64]:
        """Mean of the highest pixel probabilities of each (N, ..., S, S) map; shape (N,)."""
        flat = np.asarray(mask).reshape(len(mask), -1)
        count = min(self.top_pixels, flat.shape[1])
        return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1, dtype=np.float64))

    def evidence(self, mask: NDArray) -> NDArray[np.float64]:
        """Logit of the `strength` of each (N, ..., S, S) map; shape (N,)."""
        top = np.clip(self.strength(mask), PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        return np.log(top) - np.log1p(-top)

    def probability(self, mask: NDArray, score: NDArray) -> NDArray[np.float64]:
        """Calibrated probabilities (N,) of pixel probabilities (N, ..., S, S) and head logits (N,)."""
        z = self.evidence_weight * self.evidence(mask) + self.head_weight * np.asarray(score, np.float64) + self.bias
        return 0.5 * (1.0 + np.tanh(0.5 * z))


class Thresholds(_Part):
    """Where probabilities turn into words and masks.

    The limits of a mask are shares of the scan's own `Calibration.strength`: on a scanner that the network does not
    know all its pixel probabilities are lower, the borders of what it sees are not.
    """

    tumor: float = Field(ge=0, le=1, description="decision `tumor` from this probability on")
    no_tumor: float = Field(
        ge=0, le=1, description="decision `no_tumor` below this probability; between lies `uncertain`"
    )
    outline: float = Field(default=0.0, ge=0, le=1, description="lesions are outlined from this certainty on")
    focus: float = Field(
        default=0.0, ge=0, description="how much that certainty falls where the evidence is not in one place"
    )
    mask: float = Field(default=0.5, gt=0, le=1, description="pixels from this share of the strength on form lesions")
    mask_seed: float = Field(
        default=0.5, gt=0, le=1, description="a lesion is kept only if its highest pixel reaches this share"
    )
    min_area_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="smallest lesion, as a share of the head's area"
    )

    def outlined(self, probability: float, concentration: float) -> bool:
        """Whether lesions of this `postprocess.concentration` are drawn on a scan of this tumour probability.

        The certainty is the logistic function of logit(probability) + focus · ln(concentration + 0.001).

        Examples
        --------
        >>> limits = Thresholds(tumor=0.5, no_tumor=0.2, outline=0.6, focus=1.0)
        >>> limits.outlined(0.8, 0.9), limits.outlined(0.8, 0.2)
        (True, False)
        """
        return self.certainty(probability, concentration) >= self.outline and probability >= self.no_tumor

    def certainty(self, probability: float, concentration: float) -> float:
        """What `outlined` compares with the threshold, in 0…1; the probability itself where ``focus`` is 0."""
        if self.focus == 0:
            return probability
        p = min(max(probability, PROBABILITY_FLOOR), 1 - PROBABILITY_FLOOR)
        logit = math.log(p / (1 - p)) + self.focus * math.log(concentration + LEAST_CONCENTRATION)
        return 0.5 * (1 + math.tanh(0.5 * logit))

    @field_validator("no_tumor")
    @classmethod
    def _ordered(cls, value: float, info: Any) -> float:
        if value > info.data.get("tumor", 1.0):
            raise ValueError("no_tumor lies above tumor")
        return value


class Training(_Part):
    """What the network has seen."""

    fingerprint: str = Field(default="", description="hash over the training manifest")
    sources: tuple[str, ...] = Field(default=(), description="names of the collections")
    scan_hashes: tuple[str, ...] = Field(default=(), description="first 16 hex digits of each training file's SHA-256")
    licences: dict[str, str] = Field(default_factory=dict, description="licence of each collection")


class BundleMetadata(_Part):
    """Everything about a bundle that is not the network itself; JSON in the ONNX file's metadata."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1, description="name of the model")
    version: str = Field(default="0", description="version of the model")
    task: Literal["detect-segment", "classify"] = "detect-segment"
    labels: tuple[str, ...] = Field(default=("no_tumor", "tumor"), min_length=2, description="classes, by index")
    none: int | None = Field(default=0, ge=0, description="index of the class without tumour; None where there is none")
    architecture: str = Field(default="", description="encoder, decoder and head")
    licence: str = Field(default="", description="SPDX identifier of the weights' licence")
    created: str = Field(default="", description="ISO 8601 date")
    description: str = Field(default="", description="what it is for, one or two sentences")
    preparation: Preparation = Field(default_factory=Preparation, description="how a slice is brought to the network")
    calibration: Calibration = Field(default_factory=lambda: Calibration(), description="outputs to one probability")
    thresholds: Thresholds
    test_time_flip: bool = Field(default=False, description="average with the left-right mirrored slice")
    gate: dict[str, Any] = Field(default_factory=dict, description="statistics of the gate; see `Gate.from_dict`")
    training: Training = Field(default_factory=lambda: Training(), description="what the network has seen")
    metrics: dict[str, Any] = Field(default_factory=dict, description="measured results, for the model card")

    @property
    def of_several(self) -> bool:
        """Whether there is more to say than one probability of a tumour."""
        return len(self.labels) > 2 or self.none is None

    def classes(self, score: NDArray) -> NDArray[np.float64]:
        """Calibrated probabilities (N, K) of a classifier's logits, (N, 1) of the second of two classes or (N, K).

        Examples
        --------
        >>> facts = BundleMetadata(name="x", task="classify", thresholds=Thresholds(tumor=0.5, no_tumor=0.5))
        >>> facts.model_copy(update={"calibration": Calibration(head_weight=1)}).classes(np.zeros((1, 1))).tolist()
        [[0.5, 0.5]]
        """
        logits = self.calibration.head_weight * np.asarray(score, np.float64)
        if logits.shape[1] == 1:  # two classes: the logit of the first is 0
            logits = np.concatenate([np.zeros_like(logits), logits + self.calibration.bias], axis=1)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    @field_validator("preparation", mode="before")
    @classmethod
    def _known_settings(cls, value: Any) -> Any:
        if isinstance(value, dict):
            known = [field.name for field in fields(Preparation)]
            for key in value:
                look_up(key, known, "preparation setting", BundleError)
        return value


class Outputs(NamedTuple):
    """What a network says about N slices: pixel probabilities (N, S, S) and head logits (N,), float32."""

    mask: FloatArray
    score: FloatArray


@dataclass(frozen=True)
class Bundle:
    """A network in an ONNX file, with its metadata, ready to run on the CPU.

    The graph takes ``image`` (N, C, S, S) float32 in [0, 1], one channel or three colours as the preparation makes
    them. One that detects and segments gives ``mask`` (N, 1, S, S), pixel probabilities, and ``score`` (N,), the class
    head's logit; one that classifies gives ``score`` (N, K), logits of the classes, or (N, 1) of the second of two.
    Running it is safe from several threads.
    """

    path: Path
    metadata: BundleMetadata
    session: onnxruntime.InferenceSession

    @classmethod
    def load(cls, path: str | Path | None = None, *, threads: int | None = None) -> Bundle:
        """The bundle in ``path``; without one, the embedded scout.

        Parameters
        ----------
        path : str, Path or None
            An ``.onnx`` file written by `write`.
        threads : int or None
            Threads within one run; None for one per core. Several runs at once go best with 1 each.

        Raises
        ------
        BundleError
            If the file is missing, no ONNX model, no tumorscope bundle, damaged, or of a newer schema.
        """
        file = embedded_path() if path is None else Path(path)
        if not file.is_file():
            finding = "is a folder" if file.is_dir() else "does not exist"
            remedy = "give the path of a bundle, a file that ends in .onnx"
            if path is None:
                remedy = (
                    "the embedded model is missing from this installation: install tumorscope again, or use --model"
                )
            raise BundleError(f"{file}: {finding}; {remedy}")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised; ONNX Runtime need not print it as well
        try:
            with file.open("rb"):
                pass
            session = onnxruntime.InferenceSession(os.fspath(file), options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise BundleError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
        except _onnxruntime_errors as error:
            raise BundleError(_not_a_bundle(file, "ONNX Runtime cannot load it")) from error
        metadata = parse_metadata(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), file)
        _check_graph(session, metadata, file)
        return cls(file, metadata, session)

    def run(self, batch: NDArray, *, flip: bool | None = None) -> Outputs:
        """The network's outputs for (N, C, S, S) slices, or grey ones (N, S, S), in [0, 1].

        With ``flip`` (None: as the metadata says) the outputs are averaged with those of the mirrored slices.
        """
        images = np.ascontiguousarray(batch, dtype=np.float32)
        if images.ndim == 3:
            images = images[:, None]
        outputs = self._once(images)
        if self.metadata.test_time_flip if flip is None else flip:
            mirrored = self._once(np.ascontiguousarray(images[..., ::-1]))
            mask = 0.5 * (outputs.mask + mirrored.mask[..., ::-1])
            outputs = Outputs(mask, 0.5 * (outputs.score + mirrored.score))
        return outputs

    def _once(self, images: FloatArray) -> Outputs:
        mask, score = self.session.run(["mask", "score"], {"image": images})
        size = images.shape[-1]
        return Outputs(
            np.asarray(mask, np.float32).reshape(len(images), size, size),
            np.asarray(score, np.float32).reshape(len(images)),
        )

    def scores(self, batch: NDArray) -> FloatArray:
        """A classifier's logits, (N, K) or of two classes (N, 1), for (N, C, S, S) slices in [0, 1]."""
        (score,) = self.session.run(["score"], {"image": np.ascontiguousarray(batch, dtype=np.float32)})
        return np.asarray(score, np.float32).reshape(len(batch), -1)

    @staticmethod
    def write(model: Any, metadata: BundleMetadata, out: str | Path) -> Path:
        """``out``, a bundle made of an ONNX model (path or ``ModelProto``) and its metadata.

        Raises
        ------
        MissingExtra
            If the package onnx is not installed.
        OutputError
            If ``out`` cannot be written.
        """
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("writing a bundle", "onnx", "train") from error
        proto = onnx.load(os.fspath(model)) if isinstance(model, (str, Path)) else model
        kept = {entry.key: entry.value for entry in proto.metadata_props if entry.key != METADATA_KEY}
        kept[METADATA_KEY] = metadata.model_dump_json()
        onnx.helper.set_model_props(proto, kept)
        with atomic(Path(out)) as temporary:
            temporary.write_bytes(proto.SerializeToString())
        return Path(out)


def embedded_path() -> Path:
    """Where the embedded bundle lies in this installation."""
    return Path(str(resources.files("tumorscope"))) / "weights" / f"{EMBEDDED}.onnx"


def parse_metadata(text: str | None, file: Path) -> BundleMetadata:
    """The metadata in JSON ``text``; ``file`` names it in errors.

    Raises
    ------
    BundleError
        If there is none, it is no JSON, of a newer schema, or lacks or misspells something.
    """
    if text is None:
        raise BundleError(_not_a_bundle(file, "an ONNX model without tumorscope metadata"))
    try:
        values = json.loads(text)
    except ValueError as error:
        raise BundleError(_not_a_bundle(file, "its metadata is no valid JSON")) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BundleError(_not_a_bundle(file, "its metadata has no schema version"))
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{file}: is a bundle of schema version {version}, this tumorscope reads up to {SCHEMA_VERSION}; "
            "upgrade with: pip install --upgrade tumorscope"
        )
    try:
        return BundleMetadata.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{file}: damaged metadata ({where}: {first['msg'].lower()}); export the bundle again"
        ) from error
    except BundleError as error:
        raise BundleError(f"{file}: damaged metadata ({error}); export the bundle again") from error


def _check_graph(session: onnxruntime.InferenceSession, metadata: BundleMetadata, file: Path) -> None:
    inputs = {value.name: value for value in session.get_inputs()}
    outputs = {value.name for value in session.get_outputs()}
    wanted = {"mask", "score"} if metadata.task == "detect-segment" else {"score"}
    if set(inputs) != {"image"} or not wanted <= outputs:
        finding = f"its graph has inputs {sorted(inputs)} and outputs {sorted(outputs)}"
        finding += f", not image and {' and '.join(sorted(wanted))}"
        raise BundleError(f"{file}: {finding}; export the bundle again")
    size = metadata.preparation.size
    shape = inputs["image"].shape
    made = (metadata.preparation.channels, size, size)
    if len(shape) != 4 or any(isinstance(n, int) and n != m for n, m in zip(shape[1:], made, strict=True)):
        raise BundleError(
            f"{file}: its graph takes images of {shape}, its preparation makes {made}; export the bundle again"
        )


def _not_a_bundle(file: Path, finding: str) -> str:
    return (
        f"{file}: is not a tumorscope bundle ({finding}); use a file made by `tumorscope export`, or leave --model out"
    )
