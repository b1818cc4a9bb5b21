"""Features out of an ONNX file: the bytes that are added, and what comes out."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from tumorscope.datasets import phantom
from tumorscope.errors import BundleError
from tumorscope.inference.bundle import embedded_path
from tumorscope.inference.embedding import pooled_before, scout_features, with_output


@pytest.fixture(scope="module")
def content() -> bytes:
    return embedded_path().read_bytes()


def test_the_pooled_value_is_the_one_that_onnx_finds(content: bytes) -> None:
    made = {name: node for node in onnx.load_model_from_string(content).graph.node for name in node.output}
    name = "score"
    while made[name].op_type != "ReduceMean":
        name = made[name].input[0]
    assert pooled_before(content, "score") == name


def test_the_added_bytes_declare_one_more_output(content: bytes) -> None:
    name = pooled_before(content, "score")
    before, after = (onnx.load_model_from_string(one).graph for one in (content, with_output(content, name)))
    assert [value.name for value in after.output] == [*(value.name for value in before.output), name]
    assert after.node == before.node and len(after.initializer) == len(before.initializer)


def test_features_lead_to_the_score_that_the_bundle_gives(content: bytes) -> None:
    """The class head on our features is the score: a linear layer, so that it fits them exactly."""
    name = pooled_before(content, "score")
    session = onnxruntime.InferenceSession(with_output(content, name), providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[-1]
    image = np.random.default_rng(0).random((3, 1, side, side), np.float32)
    features, score = session.run([name, "score"], {"image": image})
    ours = scout_features(threads=1)(image[:, 0])
    np.testing.assert_allclose(ours, features.reshape(3, -1), atol=1e-5)
    graph = onnx.load_model_from_string(content).graph
    weights = {one.name.removesuffix(".half"): onnx.numpy_helper.to_array(one) for one in graph.initializer}
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    w, b = (weights[gemm.input[place]].astype(np.float32) for place in (1, 2))
    np.testing.assert_allclose(ours @ w.T + b, score.reshape(3, 1), atol=1e-3)


def test_scans_and_noise_lie_apart() -> None:
    extract = scout_features(threads=1)
    scans = np.stack([phantom.make(seed, size=64).image / 255 for seed in range(3)])
    seen = extract(np.concatenate([scans, np.random.default_rng(0).random((2, 64, 64))]))
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert apart[:3, :3].max() < apart[:3, 3:].min()


@pytest.mark.parametrize("shape", [(64, 64), (0, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="give"):
        scout_features(threads=1)(np.zeros(shape))


def test_a_file_without_pooled_maps_is_refused(tmp_path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match="does not come from pooled maps"):
        scout_features(tmp_path / "x.onnx")
    with pytest.raises(BundleError, match="cannot be read"):
        scout_features(tmp_path / "none.onnx")
