"""A network of three operators that calls bright blobs lesions, as a bundle, and scans made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SIZE = 64


def tiny_model():
    """Pixel probability: how much brighter than 0.75 the 5x5 neighbourhood is; score: the brightest of them."""
    from onnx import TensorProto, helper

    square = ["N", 1, SIZE, SIZE]
    floats = {"limit": 0.75, "slope": 40.0}
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in floats.items()]
    constants.append(helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))
    nodes = [
        helper.make_node("AveragePool", ["image"], ["mean"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Sub", ["mean", "limit"], ["over"]),
        helper.make_node("Mul", ["over", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["mask"]),
        helper.make_node("GlobalMaxPool", ["logit"], ["top"]),
        helper.make_node("Reshape", ["top", "flat"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, square)],
        [
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, square),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def open_gate():
    """A gate, as a bundle carries it, that lets every slice through: its score is the logistic of 9."""
    from tumorscope.inference.gate import SCHEMA_VERSION, feature_names

    names = list(feature_names())
    plain = [0.0] * len(names)
    return {
        "schema_version": SCHEMA_VERSION,
        "names": names,
        "centre": plain,
        "scale": [1.0] * len(names),
        "trees": [[[0.0]]] * 5,
        "landmarks": [plain],
        "weights": [0.0],
        "width": 1.0,
        "mix": [9.0, 0.0, 0.0],
    }


def tiny_metadata(**changes):
    """Metadata that fit the tiny model; ``changes`` replace whole fields."""
    from tumorscope.imaging.preparation import Preparation
    from tumorscope.inference.bundle import BundleMetadata

    values = {
        "name": "tiny",
        "version": "1",
        "licence": "Apache-2.0",
        "preparation": Preparation(size=SIZE, clean=False, crop="hard"),
        "calibration": {"top_pixels": 20, "evidence_weight": 1.0},
        "thresholds": {"tumor": 0.6, "no_tumor": 0.4, "mask": 0.5, "mask_seed": 0.7, "min_area_fraction": 0.001},
        "gate": open_gate(),
        **changes,
    }
    return BundleMetadata.model_validate(values)


def head(shape=(96, 80), blob=None, seed=0):
    """A grey disc with grain on black; ``blob`` is (y, x, radius) of something bright in it. uint8."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y - shape[0] / 2) / (0.42 * shape[0])) ** 2 + ((x - shape[1] / 2) / (0.42 * shape[1])) ** 2 < 1
    image = np.where(inside, 10 + 100 * np.random.default_rng(seed).random(shape), 0)
    if blob is not None:
        image[np.hypot(y - blob[0], x - blob[1]) < blob[2]] = 235
    return image.astype(np.uint8)


@pytest.fixture(scope="session")
def tiny():
    """The functions above, for tests that vary them."""
    from types import SimpleNamespace

    return SimpleNamespace(model=tiny_model, metadata=tiny_metadata, head=head, size=SIZE)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Path:
    """The tiny model as a bundle on disk."""
    from tumorscope.inference.bundle import Bundle

    return Bundle.write(tiny_model(), tiny_metadata(), tmp_path_factory.mktemp("bundle") / "tiny.onnx")
