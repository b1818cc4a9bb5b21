"""Bundles of several classes in use: predictions.csv, classes.csv, and what cannot be said."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import polars as pl
import pytest

from tumorscope.inference.bundle import Bundle, BundleMetadata
from tumorscope.inference.classes import CLASSES, ClassTable
from tumorscope.inference.predictor import NOT_WHERE, WHICH_ONLY, Prediction, Predictor
from tumorscope.inference.table import Row
from tumorscope.io import Item
from tumorscope.scan import Grid, Scan, Source

FOUR = ("glioma", "meningioma", "none", "pituitary")
LOGITS = (0.5, -1.0, 2.0, 0.25)


def model(size: int, logits: tuple[float, ...], slope: float = 0.0):
    """Logits that stand in the file; the first one rises with the square's mean brightness by ``slope``."""
    from onnx import TensorProto, helper

    first = [slope] + [0.0] * (len(logits) - 1)
    constants = [
        helper.make_tensor("base", TensorProto.FLOAT, [len(logits)], logits),
        helper.make_tensor("slope", TensorProto.FLOAT, [1, len(logits)], first),
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "slope"], ["rise"]),
        helper.make_node("Add", ["rise", "base"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, size, size])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", len(logits)])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def bundle_of(tiny, path: Path, labels=FOUR, none=2, logits=LOGITS, slope=0.0, weight=1.0) -> Bundle:
    metadata = BundleMetadata.model_validate(
        tiny.metadata().model_dump()
        | {
            "task": "classify",
            "labels": labels,
            "none": none,
            "calibration": {"evidence_weight": 0.0, "head_weight": weight},
            "thresholds": {"tumor": 0.5, "no_tumor": 0.5},
        }
    )
    return Bundle.load(Bundle.write(model(tiny.size, logits, slope), metadata, path), threads=1)


def scan_of(pixels: np.ndarray) -> Scan:
    order = tuple(range(pixels.ndim))
    grid = Grid(pixels.shape, order, (False,) * pixels.ndim)
    return Scan(pixels.astype(np.float32), "ZYX"[-pixels.ndim :], grid, Source(Path("a.png"), "png"))


def softmax(values) -> np.ndarray:
    raised = np.exp(np.asarray(values, float))
    return raised / raised.sum()


def predicted(tiny, bundle: Bundle, tmp_path: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of predictions.csv and classes.csv of two heads and a file that is none."""
    from tumorscope.report.predictions import predict

    scans = tmp_path / "scans"
    scans.mkdir()
    cv2.imwrite(str(scans / "a.png"), tiny.head())
    cv2.imwrite(str(scans / "b.png"), tiny.head(blob=(40, 30, 15)))
    (scans / "c.png").write_bytes(b"no picture")
    predict([scans], tmp_path / "out", model=bundle.path, report=False, overlays=False)
    tables = []
    for name in ("predictions.csv", CLASSES):
        with (tmp_path / "out" / name).open(encoding="utf-8", newline="") as stream:
            tables.append(list(csv.DictReader(stream)))
    return tables[0], tables[1]


def test_the_probability_of_a_tumour_is_one_less_that_of_none(tiny, tmp_path: Path) -> None:
    rows, classes = predicted(tiny, bundle_of(tiny, tmp_path / "four.onnx"), tmp_path)
    chances = softmax(LOGITS)
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"] == [row["status"] for row in classes]
    for row in rows[:2]:
        assert float(row["probability"]) == pytest.approx(1 - chances[2], abs=1e-6)
        assert row["decision"] == "no_tumor" and row["lesions"] == row["area_px"] == ""
    for row in classes[:2]:
        assert row["said"] == "none"
        said = [float(row[f"probability_{name}"]) for name in FOUR]
        assert said == pytest.approx(chances.tolist(), abs=1e-6) and sum(said) == pytest.approx(1)
    assert classes[2]["said"] == "" and {classes[2][f"probability_{name}"] for name in FOUR} == {""}
    assert [row["id"] for row in classes] == [row["id"] for row in rows]


def test_without_a_class_of_none_there_is_no_probability_of_a_tumour(tiny, tmp_path: Path) -> None:
    three = bundle_of(tiny, tmp_path / "three.onnx", ("glioma", "meningioma", "pituitary"), None, (0.1, 3.0, 0.2))
    rows, classes = predicted(tiny, three, tmp_path)
    for row, told in zip(rows[:2], classes[:2], strict=True):
        assert row["status"] == "ok" and row["decision"] == "uncertain"
        assert row["probability"] == row["uncertainty"] == ""
        assert told["said"] == "meningioma"
    assert WHICH_ONLY in Predictor(three).predict(scan_of(tiny.head())).notes


@pytest.mark.parametrize(
    ("none", "logit", "decision"), [(0, 1.0, "tumor"), (1, 1.0, "no_tumor"), (0, -1.0, "no_tumor")]
)
def test_the_single_logit_of_two_classes_is_that_of_the_second(tiny, tmp_path, none, logit, decision) -> None:
    labels = ("no", "yes") if none == 0 else ("yes", "no")
    two = bundle_of(tiny, tmp_path / "two.onnx", labels, none, (logit,), weight=0.5)
    said = Predictor(two).predict(scan_of(tiny.head()))
    second = 1 / (1 + np.exp(-0.5 * logit))  # the temperature of 2 is in the weight
    assert said.classes == pytest.approx({labels[0]: 1 - second, labels[1]: second})
    assert said.probability == pytest.approx(1 - said.classes[labels[none]]) and said.decision == decision
    assert not said.located and NOT_WHERE in said.notes and not said.mask.any()


def test_a_volume_is_as_its_slice_that_says_most(tiny, tmp_path: Path) -> None:
    bundle = bundle_of(tiny, tmp_path / "v.onnx", ("glioma", "none"), 1, (0.0, 0.0), slope=30.0)
    planes = [tiny.head(seed=seed) for seed in range(6)]
    planes[3] = tiny.head(blob=(48, 40, 25))
    planes[0] = np.zeros_like(planes[0])
    said = Predictor(bundle).predict(scan_of(np.stack(planes)))
    assert said.slices is not None and said.slices[0] is None and len(said.slices) == 6
    own = np.array([np.nan if one is None else one for one in said.slices])
    assert np.nanargmax(own) == 3 and said.classes["glioma"] == pytest.approx(own[3])
    assert said.mask.shape == (6, 96, 80) and not said.mask.any()


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    table = ClassTable(tmp_path, ("a", "b"))
    table.close("")
    assert pl.read_csv(tmp_path / CLASSES).columns == ["id", "path", "status", "said", "probability_a", "probability_b"]


def test_a_row_that_the_gate_refused_has_no_classes(tmp_path: Path) -> None:
    table = ClassTable(tmp_path, ("a", "b"))
    table.add(Row("x", "x.png", "ok"), {})
    table.add(Row("y", "y.png", "ok"), {"a": 0.25, "b": 0.75})
    table.close("")
    assert pl.read_csv(tmp_path / CLASSES).rows() == [
        ("x", "x.png", "ok", None, None, None), ("y", "y.png", "ok", "b", 0.25, 0.75),
    ]  # fmt: skip


def test_drawing_needs_the_classes_alone() -> None:
    class Said:
        classes: ClassVar = {"a": 1.0}

    item = Item(id="a", path=Path("a.png"))
    assert ClassTable(Path(), ("a",)).draw(item, None, Said()) == {"a": 1.0}
    assert Prediction.__dataclass_fields__["classes"].default_factory() == {}
