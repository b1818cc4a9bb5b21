"""Features of pictures from our own scout: what its class head looks at, taken out of the ONNX file without onnx.

A protobuf message may be given in pieces; what a later piece adds to a list is appended. So one more output is declared
by a few bytes behind the file's content, and ONNX Runtime takes the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tumorscope.errors import BundleError
from tumorscope.inference.bundle import embedded_path
from tumorscope.scan import FloatArray

POOLING = ("ReduceMean", "GlobalAveragePool")
BATCH = 16
# Numbers of fields in ONNX's schema (onnx.proto): the model's graph, its nodes and outputs, names in them.
GRAPH, NODE, OUTPUT, NODE_INPUT, NODE_OUTPUT, NODE_KIND, VALUE_NAME = 7, 1, 12, 1, 2, 4, 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of protobuf fields


@dataclass(frozen=True)
class Extractor:
    """Features of pictures, with the name that stands beside every figure made from them.

    Parameters
    ----------
    name : str
    features : callable
        (N, S, S) float pictures in [0, 1] to (N, F) float32.
    """

    name: str
    features: Callable[[NDArray], FloatArray]

    def __call__(self, pictures: NDArray) -> FloatArray:
        """Features (N, F) of (N, S, S) pictures in [0, 1]."""
        array = np.asarray(pictures, np.float32)
        if array.ndim != 3 or array.size == 0:
            raise BundleError(f"features: pictures of shape {array.shape}; give (N, S, S) in [0, 1]")
        return self.features(array)


def scout_features(path: str | Path | None = None, *, threads: int | None = None) -> Extractor:
    """Extractor of the pooled maps before the scout's class head, resized to its square.

    Parameters
    ----------
    path : path or None
        A bundle that detects and segments; the embedded one by default.
    threads : int or None

    Raises
    ------
    BundleError
        If the file cannot be read or its score does not come from pooled maps.

    Examples
    --------
    >>> extract = scout_features(threads=1)
    >>> extract.name, extract(np.zeros((2, 64, 64))).shape[0]
    ('scout, pooled maps', 2)
    """
    file = embedded_path() if path is None else Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}); give the path of a bundle") from error
    tensor = pooled_before(content, "score")
    if tensor is None:
        raise BundleError(f"{file}: its score does not come from pooled maps; use the embedded scout")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(with_output(content, tensor), options, providers=["CPUExecutionProvider"])
    side = int(session.get_inputs()[0].shape[-1])

    def features(pictures: NDArray) -> FloatArray:
        resized = np.stack([_resized(one, side) for one in pictures])[:, None]
        parts = [
            session.run([tensor], {"image": resized[start : start + BATCH]})[0]
            for start in range(0, len(resized), BATCH)
        ]
        return np.concatenate(parts).reshape(len(pictures), -1).astype(np.float32)

    return Extractor(f"{file.stem}, pooled maps", features)


def with_output(model: bytes, tensor: str) -> bytes:
    """An ONNX file's content that also gives out the inner value named ``tensor``."""
    value = _field(VALUE_NAME, tensor.encode())
    return model + _field(GRAPH, _field(OUTPUT, value))


def pooled_before(model: bytes, output: str) -> str | None:
    """Name of the last pooled value on the way to ``output``, along first inputs; None where there is none."""
    made: dict[str, tuple[str, str]] = {}
    for graph in (value for number, value in _fields(model) if number == GRAPH):
        for node in (value for number, value in _fields(graph) if number == NODE):
            parts: dict[int, list[str]] = {}
            for number, value in _fields(node):
                if number in (NODE_INPUT, NODE_OUTPUT, NODE_KIND):
                    parts.setdefault(number, []).append(value.decode())
            for name in parts.get(NODE_OUTPUT, []):
                made[name] = (parts[NODE_KIND][0], parts.get(NODE_INPUT, [""])[0])
    seen: set[str] = set()
    while output in made and output not in seen:
        seen.add(output)
        kind, before = made[output]
        if kind in POOLING:
            return output
        output = before
    return None


def _resized(picture: NDArray, side: int) -> FloatArray:
    shrinking = picture.shape[0] > side
    resized = cv2.resize(
        np.ascontiguousarray(picture, np.float32), (side, side),
        interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR,
    )  # fmt: skip
    return np.asarray(resized, np.float32)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of every field of a protobuf message that holds bytes; others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == BYTES:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind == VARINT:
            _, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value, at


def _field(number: int, content: bytes) -> bytes:
    return _written(number << 3 | BYTES) + _written(len(content)) + content


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
