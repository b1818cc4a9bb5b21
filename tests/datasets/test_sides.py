from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tumorscope.datasets import sides
from tumorscope.errors import DataError

FOLDS = pl.DataFrame(
    {
        "id": list("abcdef"),
        "group": ["a", "b", "c", "d", "e", "a"],
        "split": ["train", "train", "train", "test", None, "train"],
        "fold": [0, 1, 2, None, None, 0],
        "parent_id": [None, None, None, None, None, "a"],
    }
)


def test_a_fold_becomes_the_held_out_side_without_its_copies() -> None:
    result = sides.training_side(FOLDS, fold=0)
    assert result["split"].to_list() == ["val", "train", "train", "test", None, None]
    assert result["fold"].null_count() == 6


def test_copies_stay_where_their_fold_is_trained_on() -> None:
    assert sides.training_side(FOLDS, fold=1)["split"].to_list() == ["train", "val", "train", "test", None, "train"]


def test_folds_alone_do_as_well() -> None:
    df = FOLDS.drop("split", "parent_id")
    assert sides.training_side(df, fold=2)["split"].to_list() == ["train", "train", "val", None, None, "train"]


def test_a_split_that_is_there_is_left_alone() -> None:
    df = FOLDS.drop("fold")
    assert sides.training_side(df).equals(df)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sides.training_side(FOLDS.drop("split", "fold")), "no scan is on a side yet; split first"),
        (lambda: sides.training_side(FOLDS), "in folds 0 to 2 and none was chosen"),
        (lambda: sides.training_side(FOLDS, 7), "in folds 0 to 2 and there is no fold 7"),
        (lambda: sides.training_side(FOLDS.drop("fold"), 0), "in no folds, so that fold 0 cannot be held out"),
        (lambda: sides.training_side(FOLDS.with_columns(group=pl.lit(None))), "6 of 6 rows have no group"),
        (
            lambda: sides.training_side(FOLDS.drop("fold").with_columns(split=pl.lit("test"))),
            r"no scan is on the side 'train' \(found test\)",
        ),
        (
            lambda: sides.training_side(FOLDS.with_columns(group=pl.lit("g")), 0),
            "split: group 'g' is in test and train",
        ),
        (lambda: sides.need_patients(FOLDS), r"patient: 6 of 6 rows name none \(first: a\)"),
        (lambda: sides.refuse_known(FOLDS, ["x", "A"]), "A: the manifest has this id already"),
    ],
)
def test_what_has_no_training_side_is_said_in_one_line(call: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_rows_that_a_fold_leaves_in_training_must_not_be_its_family() -> None:
    """A hand-made table: one row of a family in fold 0, the other in no fold but on the training side."""
    df = pl.DataFrame({"id": list("abc"), "group": ["g", "g", "h"], "split": "train", "fold": [0, None, 1]})
    with pytest.raises(DataError, match="split: group 'g' is in train and val"):
        sides.training_side(df, fold=0)


def test_tally_counts_families_patients_and_labels() -> None:
    df = pl.DataFrame(
        {
            "id": list("abcde"),
            "group": ["g", "g", "h", "i", "j"],
            "patient": ["1", "1", "2", "2", None],
            "label": [1, 1, 0, 0, None],
            "label_name": ["tumor", "tumor", "none", None, None],
            "split": ["test", "test", "train", "train", None],
        }
    )
    train, test, unused = sides.tally(df)
    assert (train.name, train.scans, train.groups, train.patients, train.labels) == (
        "train",
        2,
        1,
        1,
        {"0": 1, "none": 1},
    )
    assert (test.name, test.scans, test.groups, test.patients, test.labels) == ("test", 2, 1, 1, {"tumor": 2})
    assert (unused.name, unused.scans, unused.patients, unused.labels) == (None, 1, 0, {"unknown": 1})


def test_need_patients_lets_pass_what_names_them() -> None:
    df = FOLDS.with_columns(patient=pl.lit("p"))
    assert sides.need_patients(df) is df
