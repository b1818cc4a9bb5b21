from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import balance
from tumorscope.datasets.families import families
from tumorscope.errors import DataError

EXAMPLES = settings(max_examples=15)
METHODS = [balance.oversample, balance.undersample, balance.weigh]


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Split manifests with groups of one to five rows and up to three classes, both in train."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for group in range(draw(st.integers(4, 25))):
        split = ["train", "val", "test", None][rng.integers(4)] if group > 3 else "train"
        for member in range(rng.integers(1, 6)):
            label = int(rng.choice(3, p=[0.6, 0.3, 0.1])) if group > 1 else group
            rows.append({"id": f"s{group}-{member}", "group": f"g{group}", "split": split, "label": label})
    return pl.DataFrame(rows).with_columns(path=pl.col("id") + ".png")


def counts(df: pl.DataFrame, split: str | None = "train") -> dict[int, int]:
    return dict(df.filter(pl.col("split").eq_missing(split))["label"].value_counts().rows())


@EXAMPLES
@given(tables(), st.integers(0, 5))
def test_oversampling_makes_classes_even_and_keeps_every_row(df: pl.DataFrame, seed: int) -> None:
    result = balance.oversample(df, seed=seed)
    assert set(counts(result).values()) == {max(counts(df).values())}
    assert result.head(df.height).drop("parent_id").select(df.columns).equals(df)
    added = result.tail(result.height - df.height)
    parents = {row["id"]: row for row in df.to_dicts()}
    for row in added.to_dicts():
        assert {**parents[row["parent_id"]], "id": row["id"], "parent_id": row["parent_id"]} == row
    assert result["id"].n_unique() == result.height


@EXAMPLES
@given(tables(), st.integers(0, 5))
def test_every_row_of_a_class_is_repeated_equally_often(df: pl.DataFrame, seed: int) -> None:
    result = balance.oversample(df, seed=seed)
    times = result.filter(split="train").group_by(pl.coalesce("parent_id", "id"), "label").len()
    for _, rows in times.group_by("label"):
        assert rows["len"].max() - rows["len"].min() <= 1


@EXAMPLES
@given(tables(), st.integers(0, 5))
def test_undersampling_makes_classes_even_and_adds_nothing(df: pl.DataFrame, seed: int) -> None:
    result = balance.undersample(df, seed=seed)
    assert set(counts(result).values()) == {min(counts(df).values())}
    assert result.select(df.columns).equals(df.filter(pl.col("id").is_in(result["id"].to_list())))


@EXAMPLES
@given(tables(), st.integers(0, 5))
def test_undersampling_opens_at_most_one_family_of_a_class(df: pl.DataFrame, seed: int) -> None:
    result = balance.undersample(df, seed=seed)
    before = df.filter(split="train").group_by("label", "group").len()
    after = result.filter(split="train").group_by("label", "group").len()
    joined = before.join(after, on=["label", "group"], suffix="_after")
    opened = joined.filter(pl.col("len") != pl.col("len_after")).group_by("label").len()
    assert opened["len"].max() in (None, 1)


@pytest.mark.parametrize("method", METHODS)
@EXAMPLES
@given(df=tables())
def test_nothing_but_the_training_side_changes(method: Callable[..., pl.DataFrame], df: pl.DataFrame) -> None:
    held_out = pl.col("split").ne_missing("train")
    assert method(df).filter(held_out).select(df.columns).equals(df.filter(held_out))


@EXAMPLES
@given(tables())
def test_weights_average_one_and_weigh_classes_alike(df: pl.DataFrame) -> None:
    result = balance.weigh(df)
    train = result.filter(split="train")
    assert train["weight"].mean() == pytest.approx(1)
    sums = train.group_by("label").agg(pl.col("weight").sum())["weight"]
    assert sums.max() == pytest.approx(sums.min())
    assert result.filter(pl.col("split").ne_missing("train"))["weight"].null_count() == df.height - train.height
    assert balance.class_weights(df) == pytest.approx(dict(train.select("label", "weight").unique().rows()))


@pytest.mark.parametrize("method", METHODS)
@EXAMPLES
@given(df=tables(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(method: Any, df: pl.DataFrame, order: Any) -> None:
    rows = list(range(df.height))
    order.shuffle(rows)
    assert method(df).sort("id").equals(method(df[rows]).sort("id"))


def test_the_seed_changes_the_choice() -> None:
    df = pl.DataFrame({"id": [f"s{n}" for n in range(40)], "label": [0] * 30 + [1] * 10, "split": "train"})
    df = df.with_columns(group=pl.col("id"))
    chosen = {tuple(balance.undersample(df, seed=seed)["id"]) for seed in range(5)}
    assert len(chosen) == 5


def test_classes_by_another_column_and_rows_without_a_class() -> None:
    df = pl.DataFrame({"id": list("abcde"), "tumor_type": ["glioma", "glioma", "glioma", "pituitary", None]})
    df = df.with_columns(group=pl.col("id"), split=pl.lit("train"))
    over = balance.oversample(df, "tumor_type")
    assert over["tumor_type"].drop_nulls().value_counts()["count"].to_list() == [3, 3]
    assert over["tumor_type"].null_count() == 1
    assert balance.undersample(df, "tumor_type")["tumor_type"].null_count() == 1


def test_balanced_twice_is_balanced_once() -> None:
    df = pl.DataFrame({"id": list("abcd"), "label": [0, 0, 0, 1], "group": list("abcd"), "split": "train"})
    once = balance.oversample(df)
    assert balance.oversample(once).equals(once)


def test_a_fold_is_held_out_first() -> None:
    df = pl.DataFrame({"id": list("abcdef"), "label": [0, 0, 1, 0, 0, 1], "group": list("abcdef")})
    df = df.with_columns(fold=pl.Series([0, 0, 0, 1, 1, 1]))
    result = balance.oversample(df, fold=0)
    assert counts(result, "val") == {0: 2, 1: 1}
    assert counts(result) == {0: 2, 1: 2}
    assert result["fold"].null_count() == result.height


def test_families_are_what_undersampling_keeps_whole() -> None:
    """A patient's slices bear different groups here, and still go or stay together."""
    df = pl.DataFrame(
        {
            "id": [f"s{n}" for n in range(12)],
            "group": [f"g{n}" for n in range(12)],
            "patient": ["p"] * 5 + ["q"] * 4 + [None] * 3,
            "label": [0] * 9 + [1] * 3,
            "split": "train",
        }
    )
    kept = balance.undersample(df, seed=1)
    units = dict(zip(df["id"], families(df).tolist(), strict=True))
    assert len({units[own] for own in kept.filter(label=0)["id"]}) == 1


PLAIN = pl.DataFrame({"id": list("abc"), "label": [0, 0, 1], "group": list("abc"), "split": ["train"] * 3})


@pytest.mark.parametrize("method", [*METHODS, balance.class_weights])
@pytest.mark.parametrize(
    ("df", "words"),
    [
        (PLAIN.drop("split"), "split: no scan is on a side yet; split first"),
        (PLAIN.drop("group"), "group: 3 of 3 rows have no group"),
        (PLAIN.drop("label"), "label: is no column to balance by"),
        (PLAIN.with_columns(label=pl.lit(1)), "too few classes to balance"),
        (PLAIN.with_columns(split=pl.lit("test")), "no scan is on the side 'train'"),
        (PLAIN.with_columns(fold=pl.Series([0, 1, 1])), "the scans are in folds 0 to 1 and none was chosen"),
        (
            PLAIN.with_columns(group=pl.lit("same"), split=pl.Series(["train", "train", "test"])),
            "split: group 'same' is in test and train",
        ),
    ],
)
def test_what_cannot_be_balanced_is_said_in_one_line(method: Any, df: pl.DataFrame, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        method(df)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_an_id_that_is_taken_is_named() -> None:
    df = pl.concat([PLAIN, PLAIN.head(1).with_columns(id=pl.lit("C-R1"), group=pl.lit("d"))])
    with pytest.raises(DataError, match="c-r1: the manifest has this id already"):
        balance.oversample(df)
