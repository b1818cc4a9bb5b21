from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.audit.labels import balance, disagreements, plant, suspects
from tumorscope.audit.measure import Measured
from tumorscope.audit.traits import PREPARATION
from tumorscope.datasets import phantom
from tumorscope.errors import DataError

PLANTED = (3, 22, 41, 50, 77, 98)  # 5 % of 120


@pytest.fixture(scope="module")
def axial_or_sagittal() -> Measured:
    """Phantoms labelled by their plane, which any classifier tells apart: 120, of two in a group."""
    rows, heads = [], []
    for number in range(120):
        plane = ("axial", "sagittal")[number // 2 % 2]
        scan = phantom.make(500 + number, plane, ("t1ce", "flair")[number // 4 % 2], 64)
        heads.append(np.rint(PREPARATION.prepare(scan.image).pixels * 255).astype(np.uint8))
        rows.append({"id": f"p{number:03d}", "path": f"p{number:03d}.png", "label": int(plane == "sagittal")})
    table = pl.DataFrame(rows).with_columns(
        label_name=pl.col("label").replace_strict({0: "axial", 1: "sagittal"}, return_dtype=pl.String),
        group=pl.Series([f"g{number // 2}" for number in range(120)]),
        source=pl.lit("phantoms"),
        problem=pl.lit(None, pl.String),
    )
    nothing = np.zeros((120, 2, 24, 24), np.float32), np.zeros((120, 48, 48), np.uint8)
    return Measured(table, nothing[0], np.stack(heads), nothing[1])


def with_errors(measured: Measured) -> Measured:
    wrong = pl.Series(range(120)).is_in(PLANTED)
    label = measured.table["label"].to_numpy() ^ wrong.to_numpy()
    names = ["sagittal" if one else "axial" for one in label]
    return replace(measured, table=measured.table.with_columns(label=pl.Series(label), label_name=pl.Series(names)))


def test_planted_errors_are_found_and_stand_first(axial_or_sagittal: Measured) -> None:
    found = suspects(with_errors(axial_or_sagittal))
    first = set(found.table["row"].head(len(PLANTED)).to_list())
    assert first == set(PLANTED)
    assert found.table.height <= len(PLANTED) + 2
    assert (found.table["given"] < found.table["other"]).all()
    margin = (found.table["other"] - found.table["given"]).to_list()
    assert margin == sorted(margin, reverse=True)
    for row in found.table.iter_rows(named=True):
        assert {row["label"], row["looks_like"]} == {"axial", "sagittal"}
        assert row["id"] == f"p{row['row']:03d}"
    assert found.recall > 0.6
    assert found.precision >= 0.5
    assert found.sentence().startswith(f"{found.table.height} of 120 scans look like another class")


def test_labels_without_errors_raise_no_suspicion(axial_or_sagittal: Measured) -> None:
    assert suspects(axial_or_sagittal).table.height == 0


def test_labels_that_no_picture_tells_raise_no_suspicion(axial_or_sagittal: Measured) -> None:
    label = np.random.default_rng(3).integers(0, 2, 60).repeat(2)
    names = pl.Series([("no", "yes")[one] for one in label])
    dealt = axial_or_sagittal.table.with_columns(label=pl.Series(label), label_name=names)
    found = suspects(replace(axial_or_sagittal, table=dealt))
    assert found.table.height <= 3


def test_one_class_has_no_suspects(axial_or_sagittal: Measured) -> None:
    table = axial_or_sagittal.table.with_columns(label=pl.lit(1))
    with pytest.raises(DataError, match="needs two classes"):
        suspects(replace(axial_or_sagittal, table=table))


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count, classes = draw(st.integers(6, 40)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, count)])
    return truth, rng.dirichlet(np.ones(classes), len(truth))


@given(answers())
def test_a_suspect_has_another_class_that_is_likelier_than_its_own(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, found = case
    order, other = disagreements(truth, found)
    assert len(set(order.tolist())) == len(order)
    assert (other != truth[order]).all()
    margin = found[order, other] - found[order, truth[order]]
    assert (margin > 0).all()
    assert (np.diff(margin) <= 1e-12).all()
    usual = [np.quantile(found[truth == number, number], 0.1) for number in range(found.shape[1])]
    assert all(found[row, own] >= usual[own] for row, own in zip(order, other, strict=True))


def test_thresholds_are_each_classs_own() -> None:
    truth = np.array([0] * 20 + [1] * 20)
    found = np.array([0.9] * 19 + [0.45] + [0.45] * 20)  # class 1 is never told with more than .55
    order, other = disagreements(truth, np.stack([found, 1 - found], axis=1))
    assert (order.tolist(), other.tolist()) == ([19], [1])
    found[20:] = 0.05  # now .55 is nothing for a member of class 1
    assert len(disagreements(truth, np.stack([found, 1 - found], axis=1))[0]) == 0


def test_sure_answers_leave_no_suspect() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    assert len(disagreements(truth, np.eye(3)[truth])[0]) == 0


@given(st.integers(2, 60), st.integers(2, 4), st.integers(0, 99))
def test_planting_turns_whole_families(groups: int, classes: int, seed: int) -> None:
    family = np.repeat(np.arange(groups), 2)
    truth = family % classes
    turned, wrong = plant(truth, family, classes, np.random.default_rng(seed))
    assert np.array_equal(turned != truth, wrong)
    assert np.array_equal(wrong[::2], wrong[1::2])
    assert wrong[::2].sum() == max(1, round(0.05 * groups))
    assert set(turned.tolist()) <= set(range(classes))


def test_counts_by_hand() -> None:
    table = pl.DataFrame(
        {
            "source": ["a", "a", "a", "b", "b", "b"],
            "label": [0, 0, 1, 1, 1, None],
            "label_name": ["no", "no", "yes", "yes", "yes", None],
            "group": ["g", "g", "h", "i", "j", "k"],
        }
    )
    found = balance(table)
    assert found.counts.rows() == [
        ("a", 0, "no", 2, 1),
        ("a", 1, "yes", 1, 1),
        ("b", 1, "yes", 2, 2),
        ("b", None, None, 1, 1),
    ]
    assert found.ratio == 1.5
    assert found.sentence() == (
        "2 no (1 distinct), 3 yes (3 distinct); 1.5 of the largest class for one of the smallest; 1 scans have no label"
    )


def test_no_labels_at_all() -> None:
    table = pl.DataFrame({"source": ["a"], "label": [None], "label_name": [None], "group": ["g"]})
    assert balance(table.cast({"label": pl.Int64, "label_name": pl.String})).sentence() == "no scan has a label"
