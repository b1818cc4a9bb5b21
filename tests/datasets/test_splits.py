from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import splits
from tumorscope.datasets.families import families
from tumorscope.errors import DataError

EXAMPLES = settings(deadline=None, max_examples=40)


@st.composite
def manifests(draw: st.DrawFn, least: int = 12, most: int = 60) -> pl.DataFrame:
    """Tables with groups, patients, cases and parents that cross each other."""
    count = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = [f"s{number:03d}" for number in range(count)]
    chosen = lambda pool, share: [f"{rng.integers(pool)}" if rng.random() < share else None for _ in range(count)]  # noqa: E731
    parents = [ids[rng.integers(row)] if row and rng.random() < 0.15 else None for row in range(count)]
    return pl.DataFrame(
        {
            "id": ids,
            "group": [f"g{rng.integers(count)}" for _ in range(count)],
            "patient": chosen(count * 2, 0.5),
            "case": chosen(count * 4, 0.3),
            "source": [f"source{rng.integers(2)}" for _ in range(count)],
            "parent_id": parents,
            "label": rng.integers(0, 2, count).tolist(),
        },
        schema_overrides={"patient": pl.String, "case": pl.String, "parent_id": pl.String},
    )


def parts_of(df: pl.DataFrame, column: str, *keys: str) -> list[int]:
    """How many parts each key stands in."""
    rows = df.filter(pl.all_horizontal(pl.col(column, *keys).is_not_null()))
    return rows.group_by(*keys).agg(pl.col(column).n_unique())[column].to_list()


def assert_nothing_cut(df: pl.DataFrame, column: str) -> None:
    assert max(parts_of(df, column, "group"), default=1) == 1
    assert max(parts_of(df, column, "source", "patient"), default=1) == 1
    assert max(parts_of(df, column, "source", "case"), default=1) == 1
    part = dict(df.select("id", column).rows())
    for own, parent in df.select("id", "parent_id").drop_nulls().rows():
        assert part[own] == part[parent]


@EXAMPLES
@given(manifests(), st.integers(2, 4), st.integers(0, 9))
def test_no_fold_cuts_what_belongs_together(df: pl.DataFrame, folds: int, seed: int) -> None:
    units = len(set(families(df).tolist()))
    if units < folds:
        with pytest.raises(DataError, match="groups cannot fill"):
            splits.grouped_kfold(df, folds, seed)
        return
    result = splits.grouped_kfold(df, folds, seed)
    assert_nothing_cut(result, "fold")
    assert sorted(result["fold"].unique()) == list(range(folds))


@EXAMPLES
@given(manifests(least=20), st.integers(0, 9))
def test_no_holdout_cuts_what_belongs_together(df: pl.DataFrame, seed: int) -> None:
    if len(set(families(df).tolist())) < 3:
        return
    result = splits.holdout(df, seed=seed)
    assert_nothing_cut(result, "split")
    assert set(result["split"]) == {"train", "val", "test"}


@EXAMPLES
@given(manifests(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_the_rows_does_not_matter(df: pl.DataFrame, random: Any, seed: int) -> None:
    if len(set(families(df).tolist())) < 3:
        return
    order = list(range(df.height))
    random.shuffle(order)
    for split in (lambda t: splits.grouped_kfold(t, 3, seed), lambda t: splits.holdout(t, seed=seed)):
        straight, shuffled = split(df), split(df[order])
        assert straight.sort("id").equals(shuffled.sort("id"))


@EXAMPLES
@given(st.integers(0, 999), st.integers(0, 99), st.integers(2, 5))
def test_folds_are_even_in_size_and_in_labels(seed: int, split_seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 150, 400)
    label = rng.integers(0, 2, 150)[group]
    df = pl.DataFrame({"id": [str(n) for n in range(400)], "group": group.astype(str), "label": label})
    result = splits.grouped_kfold(df, folds, split_seed)
    largest = int(df["group"].value_counts()["count"].max())
    sizes = result["fold"].value_counts()["count"]
    assert sizes.max() - sizes.min() <= 2 * largest
    for value in (0, 1):
        counts = result.filter(pl.col("label") == value)["fold"].value_counts()["count"]
        assert len(counts) == folds
        assert counts.max() - counts.min() <= 2 * largest


def test_holdout_keeps_its_shares_within_each_label() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(1000) < 0.2).astype(int)
    df = pl.DataFrame(
        {"id": [str(n) for n in range(1000)], "group": [str(n // 2) for n in range(1000)], "label": label}
    )
    df = df.with_columns(label=pl.col("label").first().over("group"))
    result = splits.holdout(df, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=3)
    for value in (0, 1):
        rows = result.filter(pl.col("label") == value)
        for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            assert (rows["split"] == name).mean() == pytest.approx(share, abs=0.02)


def test_the_seed_changes_the_split() -> None:
    df = pl.DataFrame({"id": [str(n) for n in range(60)], "group": [str(n) for n in range(60)], "label": [0, 1] * 30})
    assert splits.holdout(df, seed=1)["split"].to_list() != splits.holdout(df, seed=2)["split"].to_list()
    assert splits.grouped_kfold(df, seed=1)["fold"].to_list() != splits.grouped_kfold(df, seed=2)["fold"].to_list()


@EXAMPLES
@given(st.integers(0, 9999), st.integers(5, 40), st.integers(0, 25), st.integers(0, 5))
def test_blocks_keep_the_distance_and_cut_no_group(seed: int, block: int, gap: int, split_seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(2000, 600, replace=False))
    group = [f"g{n // int(rng.integers(2, 5))}" if rng.random() < 0.5 else f"far{rng.integers(80)}" for n in numbers]
    df = pl.DataFrame({"id": [f"{n:04d}" for n in numbers], "group": group})
    df = df.with_columns(source=pl.lit("s"), label=pl.lit(1))
    result = splits.blocks(df, block=block, gap=gap, seed=split_seed)
    used = result.filter(pl.col("split").is_not_null()).with_columns(n=pl.col("id").cast(pl.Int64)).sort("n")
    for (a, first), (b, second) in itertools.pairwise(used.select("n", "split").rows()):
        assert first == second or b - a > gap
    assert max(parts_of(result, "split", "group"), default=1) == 1


def test_blocks_drop_the_gap_from_the_larger_part() -> None:
    df = pl.DataFrame({"id": [str(n) for n in range(1, 401)]})
    result = splits.blocks(df, {"train": 0.75, "test": 0.25}, block=100, gap=5)
    test = result.filter(pl.col("split") == "test")["id"].cast(pl.Int64)
    assert len(test) == 100
    assert 300 - 10 <= (result["split"] == "train").sum() <= 300 - 5
    assert result["split"].null_count() == 300 - (result["split"] == "train").sum()


def test_blocks_measure_the_gap_in_numbers_not_in_rows() -> None:
    numbers = [*range(1, 51), *range(101, 151)]
    df = pl.DataFrame({"id": [f"{n:04d}" for n in numbers]})
    result = splits.blocks(df, {"train": 0.5, "test": 0.5}, block=50, gap=20)
    assert result["split"].null_count() == 0


def test_blocks_do_not_hang_on_the_order_of_the_rows() -> None:
    df = pl.DataFrame({"id": [f"{n:04d}" for n in range(500)], "group": [f"g{n // 7}" for n in range(500)]})
    shuffled = df.sample(fraction=1, shuffle=True, seed=1)
    assert splits.blocks(df, seed=4).sort("id").equals(splits.blocks(shuffled, seed=4).sort("id"))


def test_blocks_spread_tumour_types() -> None:
    types = ["meningioma"] * 700 + ["glioma"] * 1400 + ["pituitary"] * 900
    df = pl.DataFrame({"id": [f"{n:04d}" for n in range(3000)], "tumor_type": types})
    result = splits.blocks(df, {"train": 0.8, "test": 0.2}, block=40, gap=0)
    for name in ("meningioma", "glioma", "pituitary"):
        rows = result.filter(pl.col("tumor_type") == name)
        assert (rows["split"] == "test").mean() == pytest.approx(0.2, abs=0.06)


def ordered_and_not() -> pl.DataFrame:
    """Forty numbers of each of ten groups in ``a``, and in ``b`` a copy of every eighth and 40 of its own."""
    rows = [{"id": f"a{n:03d}", "source": "a", "group": f"a{n // 40}", "label": 1} for n in range(400)]
    rows += [{"id": f"b-{n}", "source": "b", "group": f"a{n // 40}", "label": 1} for n in range(0, 400, 8)]
    rows += [{"id": f"own-{n}", "source": "b", "group": f"b{n}", "label": n % 2} for n in range(40)]
    return pl.DataFrame(rows)


def test_by_source_sends_copies_where_their_ordered_originals_are() -> None:
    df = ordered_and_not()
    result = splits.by_source(df, {"train": 0.7, "val": 0.1, "test": 0.2}, ordered=["a"], block=40, gap=5)
    assert max(parts_of(result, "split", "group")) == 1
    cut = set(result.filter((pl.col("source") == "a") & pl.col("split").is_null())["group"])
    copies = result.filter((pl.col("source") == "b") & pl.col("group").str.starts_with("a"))
    assert cut
    for group, split in copies.select("group", "split").rows():
        assert (split is None) == (group in cut)
    own = result.filter(pl.col("id").str.starts_with("own"))
    assert own["split"].null_count() == 0
    assert own["split"].n_unique() == 3


def test_by_source_keeps_together_what_is_tied_through_another_source() -> None:
    """Two rows of an ordered source, far apart in number, are copies of one row elsewhere."""
    rows = [{"id": f"a{n:03d}", "source": "a", "group": f"a{n}", "patient": None, "label": 1} for n in range(100)]
    rows += [{"id": "b", "source": "b", "group": "a5", "patient": "p", "label": 1}]
    rows += [{"id": "c", "source": "b", "group": "a95", "patient": "p", "label": 1}]
    df = pl.DataFrame(rows, infer_schema_length=None)
    for seed in range(6):
        result = splits.by_source(df, {"train": 0.5, "test": 0.5}, ordered=["a"], block=10, gap=0, seed=seed)
        tied = result.filter(pl.col("id").is_in(["a005", "a095", "b", "c"]))["split"]
        assert tied.drop_nulls().n_unique() <= 1
        assert result["split"].null_count() <= 3


def test_cross_validation_gives_folds_beside_a_test() -> None:
    df = pl.DataFrame({"id": [f"{n}" for n in range(100)], "label": [0, 1] * 50}).with_columns(group=pl.col("id"))
    result = splits.cross_validation(df, 4, test=0.2)
    assert dict(result["split"].value_counts().rows()) == {"train": 80, "test": 20}
    assert dict(result["fold"].value_counts().rows()) == {None: 20, 0: 20, 1: 20, 2: 20, 3: 20}
    assert result.filter(split="test")["fold"].null_count() == 20
    alone = splits.cross_validation(df.with_columns(split=pl.lit("old")), 5)
    assert alone["split"].null_count() == 100 and alone["fold"].null_count() == 0


def test_cross_validation_by_blocks_leaves_a_gap_between_any_two_folds() -> None:
    df = pl.DataFrame({"id": [f"{n:03d}" for n in range(300)], "label": 1}).with_columns(source=pl.lit("a"))
    df = df.with_columns(group=pl.col("id"))
    result = splits.cross_validation(df, 3, ordered=["a"], block=25, gap=4)
    used = result.filter(pl.col("fold").is_not_null()).with_columns(n=pl.col("id").cast(pl.Int64)).sort("n")
    assert used.height < 300
    for (a, first), (b, second) in itertools.pairwise(used.select("n", "fold").rows()):
        assert first == second or b - a > 4


def test_the_strata_of_by_source_can_be_named() -> None:
    df = pl.DataFrame({"id": [f"{n}" for n in range(90)], "grade": [f"{n % 3}" for n in range(90)], "label": 1})
    df = df.with_columns(group=pl.col("id"))
    result = splits.by_source(df, {"train": 2 / 3, "test": 1 / 3}, stratify=["grade"])
    assert result.filter(split="test")["grade"].value_counts()["count"].to_list() == [10, 10, 10]
    assert result.columns == [*df.columns, "source", "split"]
    with pytest.raises(DataError, match="plane: is no column to stratify by"):
        splits.by_source(df, stratify=["plane"])


def test_by_source_wants_known_sources() -> None:
    with pytest.raises(DataError, match="unknown source 'c'"):
        splits.by_source(ordered_and_not(), ordered=["c"])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"group": ["g", "g"]}, "split: group 'g' is in test and train"),
        ({"patient": ["07", "07"], "source": ["s", "s"]}, "split: patient '07' is in test and train"),
        ({"case": ["c", "c"]}, "split: case 'c' is in test and train"),
        ({"parent_id": [None, "a"]}, "split: family 'a' is in test and train"),
        ({"parent_id": ["x", "x"]}, "split: family 'a' is in test and train"),
    ],
)
def test_check_names_what_is_cut(columns: dict[str, list[str | None]], words: str) -> None:
    df = pl.DataFrame({"id": ["a", "b"], "split": ["train", "test"], **columns})
    with pytest.raises(DataError, match=words) as caught:
        splits.check(df)
    assert "\n" not in str(caught.value)


def test_check_lets_pass_what_is_not_cut() -> None:
    df = pl.DataFrame({"id": ["a", "b"], "group": ["g", "g"], "split": ["train", None]})
    assert splits.check(df) is df
    same_name = pl.DataFrame(
        {"id": ["a", "b"], "patient": ["1", "1"], "source": ["s", "t"], "split": ["train", "test"]}
    )
    assert splits.check(same_name) is same_name


def test_check_looks_at_folds_too() -> None:
    with pytest.raises(DataError, match=r"fold: group 'g' is in 0 and 1; split again with splits\.grouped_kfold"):
        splits.check(pl.DataFrame({"id": ["a", "b"], "group": ["g", "g"], "fold": [0, 1]}))


PLAIN = pl.DataFrame({"id": ["1", "2", "3"], "group": ["1", "2", "3"], "label": [0, 1, 1]})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: splits.grouped_kfold(PLAIN, 1), "1 is not a number of folds"),
        (lambda: splits.grouped_kfold(PLAIN, 4), "3 groups cannot fill 4 folds"),
        (lambda: splits.grouped_kfold(PLAIN.drop("group")), "3 of 3 rows have no group"),
        (lambda: splits.holdout(PLAIN.with_columns(group=pl.lit(None))), "3 of 3 rows have no group"),
        (lambda: splits.holdout(PLAIN, {"train": 0.8, "test": 0.1}), "no shares of a whole"),
        (lambda: splits.holdout(PLAIN, {"train": 1.0, "test": 0.0}), "no shares of a whole"),
        (lambda: splits.holdout(PLAIN, {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.4}), "3 groups cannot fill 4 parts"),
        (lambda: splits.grouped_kfold(PLAIN, 2, stratify="grade"), "grade: is no column to stratify by"),
        (lambda: splits.blocks(PLAIN, order="number"), "number: the manifest has no such column"),
        (lambda: splits.blocks(PLAIN.with_columns(id=pl.lit("scan"))), "'scan' holds no number"),
        (lambda: splits.blocks(PLAIN), "1 blocks cannot fill 3 parts"),
        (lambda: splits.blocks(PLAIN, block=0), "make no blocks"),
        (lambda: splits.cross_validation(PLAIN, 1), "1 is not a number of folds"),
        (lambda: splits.cross_validation(PLAIN, 2, test=1.0), "1 is no share that leaves scans for the folds"),
        (lambda: splits.cross_validation(PLAIN, 3, test=0.5), "3 groups cannot fill 4 parts"),
        (lambda: splits.blocks(PLAIN.with_columns(source=pl.col("id"))), "3 sources share no numbering"),
    ],
)
def test_what_cannot_be_split_is_said_in_one_line(call: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_blocks_run_on_until_they_cut_no_group() -> None:
    df = pl.DataFrame({"id": [f"{n:04d}" for n in range(700)], "group": [f"g{n // 7}" for n in range(700)]})
    assert splits.blocks(df, block=40, gap=0)["split"].null_count() == 0


def test_no_part_stays_empty_however_small_its_share() -> None:
    df = pl.DataFrame({"id": list("abcd"), "group": list("abcd"), "label": [1] * 4})
    assert set(splits.holdout(df, {"train": 0.98, "val": 0.01, "test": 0.01})["split"]) == {"train", "val", "test"}


def test_no_part_stays_empty_when_one_family_is_nearly_everything() -> None:
    df = pl.DataFrame({"id": [str(n) for n in range(20)], "group": ["big"] * 18 + ["x", "y"], "label": [1] * 20})
    assert set(splits.holdout(df)["split"]) == {"train", "val", "test"}
