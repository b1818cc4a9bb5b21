"""A generator's training scans can never validate a model that used its pictures."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import manifest, splits
from tumorscope.datasets.synthetic import bound
from tumorscope.errors import DataError


def real(groups: list[int], patients: list[int | None]) -> pl.DataFrame:
    count = len(groups)
    return pl.DataFrame(
        {
            "id": [f"r{n}" for n in range(count)],
            "path": [f"r{n}.png" for n in range(count)],
            "label": [n % 2 for n in range(count)],
            "source": ["a"] * count,
            "group": [f"g{n}" for n in groups],
            "patient": [None if n is None else f"p{n}" for n in patients],
            "sha256": [f"{n:064d}"[::-1] for n in range(count)],
        },
        schema_overrides={"patient": pl.String},
    )


def pictures(count: int) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"s{n}" for n in range(count)], "path": [f"s{n}.png" for n in range(count)]})


@settings(max_examples=25)
@given(st.data())
def test_no_split_lets_a_generators_scans_judge_what_its_pictures_taught(data: st.DataObject) -> None:
    count = data.draw(st.integers(12, 40))
    groups = data.draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    patients = data.draw(st.lists(st.none() | st.integers(0, count), min_size=count, max_size=count))
    table = real(groups, patients)
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6, unique=True))
    seen = [table["sha256"][n] for n in chosen]
    joined = bound(table, pictures(5), [digest[:16] for digest in seen], "ddim")
    seed = data.draw(st.integers(0, 99))
    cuts = [
        lambda: splits.holdout(joined, {"train": 0.6, "val": 0.2, "test": 0.2}, seed, stratify=None)["split"],
        lambda: splits.grouped_kfold(joined, 3, seed, stratify=None)["fold"],
        lambda: splits.by_source(joined.with_columns(source=pl.lit("a")), {"train": 0.5, "val": 0.5}, seed=seed)[
            "split"
        ],
        lambda: splits.cross_validation(joined.with_columns(source=pl.lit("a")), 2, 0.3, seed=seed)["split"],
    ]
    for cut in cuts:
        try:
            part = cut().to_list()
        except DataError as error:  # the group took so much that too few are left
            assert "groups cannot fill" in str(error)
            continue
        sides = dict(zip(joined["id"].to_list(), part, strict=True))
        made = {sides[f"s{n}"] for n in range(5)}
        assert len(made) == 1
        mates = {f"r{n}" for n in chosen}
        mates |= {f"r{n}" for n in range(count) if groups[n] in {groups[k] for k in chosen}}
        mates |= {
            f"r{n}" for n in range(count) if patients[n] is not None and patients[n] in {patients[k] for k in chosen}
        }
        assert {sides[name] for name in mates} == made


def test_without_the_tie_some_split_leaks() -> None:
    """The companion: rows merely put together are parted, so that the law above says something."""
    table = real(list(range(20)), [None] * 20)
    loose = pl.concat([table, pictures(5).with_columns(group=pl.lit("own"))], how="diagonal")
    parts = splits.holdout(loose, {"train": 0.5, "val": 0.5}, 0, stratify=None)
    sides = dict(parts.select("id", "split").rows())
    assert any(sides[f"r{n}"] != sides["s0"] for n in range(20))


def test_a_split_manifest_takes_pictures_on_its_training_side() -> None:
    table = real([0, 1, 2, 3], [None] * 4).with_columns(split=pl.Series(["train", "train", "val", "test"]))
    joined = bound(table, pictures(2), [table["sha256"][0]], "ddim")
    assert joined.filter(pl.col("synthetic"))["split"].to_list() == ["train", "train"]
    assert joined.filter(pl.col("synthetic"))["model"].to_list() == ["ddim", "ddim"]
    assert joined["group"].to_list() == ["made by ddim", "g1", "g2", "g3", "made by ddim", "made by ddim"]


@pytest.mark.parametrize("side", ["val", "test"])
def test_a_generator_that_saw_another_side_is_refused(side: str) -> None:
    table = real([0, 1, 2], [None] * 3).with_columns(split=pl.Series(["train", "train", side]))
    with pytest.raises(DataError, match=f"saw scans of the part '{side}'"):
        bound(table, pictures(1), [table["sha256"][2]], "ddim")


def test_folds_are_refused() -> None:
    table = real([0, 1], [None, None]).with_columns(fold=pl.Series([0, 1]))
    with pytest.raises(DataError, match="in folds"):
        bound(table, pictures(1), [table["sha256"][0]], "ddim")


def test_strange_data_and_taken_names_are_refused() -> None:
    table = real([0, 1], [None, None])
    with pytest.raises(DataError, match="none of the 1 scans"):
        bound(table, pictures(1), ["f" * 64], "ddim")
    with pytest.raises(DataError, match="R0: the manifest has this id"):
        bound(table, pictures(1).with_columns(id=pl.lit("R0")), [table["sha256"][0]], "ddim")


def test_the_tie_lives_through_a_file_and_a_new_grouping(tmp_path) -> None:
    """Groups are kept when a manifest is joined with the same real scans again: bytes tie them."""
    table = real([0, 1, 2], [None] * 3)
    joined = bound(table, pictures(2), [table["sha256"][1]], "ddim")
    again = manifest.assign_groups(
        pl.concat([joined, table.with_columns(id="again-" + pl.col("id"))], how="diagonal_relaxed"), near=False
    )
    group = dict(again.select("id", "group").rows())
    assert group["again-r1"] == group["r1"] == group["s0"] and group["again-r0"] != group["s0"]
