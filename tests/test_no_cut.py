"""No public function and no command returns or writes a table in which a family stands on two sides."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.cli import main
from tumorscope.datasets import augment, balance, manifest, sides, splits
from tumorscope.errors import DataError

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}
TIED = ("group", "patient", "case")


@st.composite
def manifests(draw: st.DrawFn) -> pl.DataFrame:
    """Tables whose groups, patients, cases and parents cross each other; parents may be missing from the table."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(8, 30))
    sparse = draw(st.integers(1, 4))
    ids = [f"s{number:03d}" for number in range(count)]
    some = lambda pool, share: [f"{rng.integers(pool)}" if rng.random() < share else None for _ in ids]  # noqa: E731
    known = [*ids, "gone1", "gone2"]
    table = pl.DataFrame(
        {
            "id": ids,
            "group": [f"g{rng.integers(count * sparse)}" for _ in ids],
            "patient": some(count * 2, 0.4),
            "case": some(count * 4, 0.3),
            "source": [f"source{rng.integers(2)}" for _ in ids],
            "parent_id": [
                known[rng.integers(row, len(known))] if rng.random() < 0.15 else None for row in range(count)
            ],
            "label": rng.integers(0, 2, count).tolist(),
        },
        schema_overrides=dict.fromkeys(("patient", "case", "parent_id"), pl.String),
    ).with_columns(path=pl.lit("scan.png"))
    return table.with_columns(parent_id=pl.when(pl.col("parent_id") != pl.col("id")).then("parent_id"))


def kin(df: pl.DataFrame) -> list[set[int]]:
    """Families by brute force: rows that share a key are merged until nothing changes."""
    rows = df.to_dicts()
    keys: list[set[Any]] = []
    for row in rows:
        own = {("id", row["id"]), ("group", row.get("group"))}
        own |= {(kind, row.get("source"), row[kind]) for kind in ("patient", "case") if row.get(kind) is not None}
        own |= {("id", row["parent_id"])} if row.get("parent_id") is not None else set()
        keys.append(own - {("group", None)})
    units = [({number}, set(own)) for number, own in enumerate(keys)]
    merged = True
    while merged:
        merged = False
        for first, second in ((a, b) for place, a in enumerate(units) for b in units[place + 1 :]):
            if first[1] & second[1]:
                units = [unit for unit in units if unit is not first and unit is not second]
                units.append((first[0] | second[0], first[1] | second[1]))
                merged = True
                break
    return [rows for rows, _ in units]


def assert_whole(df: pl.DataFrame) -> None:
    assert "group" not in df.columns or df["group"].null_count() == 0
    for column in {"split", "fold"} & set(df.columns):
        parts = df[column].to_list()
        for rows in kin(df):
            assert len({parts[row] for row in rows} - {None}) <= 1, (column, df[sorted(rows)])


def in_parts(df: pl.DataFrame, seed: int) -> pl.DataFrame:
    return splits.holdout(df, SHARES, seed)


def in_folds(df: pl.DataFrame, seed: int) -> pl.DataFrame:
    return splits.cross_validation(df, 3, 0.2, seed=seed)


def on_disk(df: pl.DataFrame, seed: int) -> pl.DataFrame:
    with scans(df) as (folder, table):
        return augment.augment(in_parts(table, seed), folder / "out", 2, seed=seed).table


@contextlib.contextmanager
def scans(df: pl.DataFrame) -> Iterator[tuple[Path, pl.DataFrame]]:
    """A folder, and the table with one readable scan in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scans").mkdir()
        cv2.imwrite(str(folder / "scans" / "scan.png"), np.arange(64, dtype=np.uint8).reshape(8, 8))
        yield folder, df.with_columns(path=pl.lit(str(folder / "scans" / "scan.png")))


MAKERS: dict[str, Callable[[pl.DataFrame, int], pl.DataFrame]] = {
    "splits.grouped_kfold": lambda df, seed: splits.grouped_kfold(df, 3, seed),
    "splits.holdout": in_parts,
    "splits.blocks": lambda df, seed: splits.blocks(
        df.with_columns(source=pl.lit("one")), SHARES, block=3, gap=1, seed=seed
    ),
    "splits.by_source": lambda df, seed: splits.by_source(df, SHARES, seed=seed),
    "splits.by_source ordered": lambda df, seed: splits.by_source(
        df, SHARES, ordered=["source0"], block=2, gap=1, seed=seed
    ),
    "splits.cross_validation": in_folds,
    "splits.cross_validation ordered": lambda df, seed: splits.cross_validation(
        df, 2, 0.2, ordered=["source1"], block=2, gap=1, seed=seed
    ),
    "sides.training_side": lambda df, seed: sides.training_side(in_folds(df, seed), fold=seed % 3),
    "sides.without_held_out_copies": lambda df, seed: sides.without_held_out_copies(in_parts(df, seed)),
    "balance.oversample": lambda df, seed: balance.oversample(in_parts(df, seed), seed=seed),
    "balance.oversample fold": lambda df, seed: balance.oversample(in_folds(df, seed), seed=seed, fold=0),
    "balance.undersample": lambda df, seed: balance.undersample(in_parts(df, seed), seed=seed),
    "balance.undersample fold": lambda df, seed: balance.undersample(in_folds(df, seed), seed=seed, fold=1),
    "balance.weigh": lambda df, seed: balance.weigh(in_parts(df, seed)),
    "augment.offspring": lambda df, seed: pl.concat(
        [
            manifest.conform(in_parts(df, seed), "test"),
            augment.offspring(in_parts(df, seed), "/nowhere", 2),
        ]
    ),
    "augment.augment": on_disk,
}
PASSED_ON = {"splits.check", "sides.need_patients"}  # hand back the table that they were given, or refuse it
TOO_FEW = (
    "cannot fill", "too few classes", "every training row is a copy", "no scan is on the side", "are in folds",
    "is not in the table", "unknown source",
)  # fmt: skip


def test_every_public_function_that_returns_a_table_is_tried() -> None:
    """A function that is added later must be added to MAKERS too."""
    modules: list[ModuleType] = [splits, sides, balance, augment]
    returning = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and any(word in str(inspect.signature(function).return_annotation) for word in ("DataFrame", "Augmented"))
    }
    assert returning == {name.partition(" ")[0] for name in MAKERS} | PASSED_ON


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=12)
@given(df=manifests(), seed=st.integers(0, 9))
def test_no_function_cuts_a_family(name: str, df: pl.DataFrame, seed: int) -> None:
    try:
        result = MAKERS[name](df, seed)
    except DataError as error:
        assert any(words in str(error) for words in TOO_FEW), error
        return
    assert_whole(result)
    assert set(result.columns) & {"split", "fold"}


def cut(df: pl.DataFrame, column: str, kind: str) -> tuple[pl.DataFrame, str]:
    """The table split without care, with one family of a kind torn apart, and that family's name."""
    table = df.with_columns(
        [pl.lit(None, pl.String).alias(name) for name in ("patient", "case", "parent_id")],
    ).with_columns(group=pl.col("id"), source=pl.lit("one"))
    whole = splits.grouped_kfold(table, 3) if column == "fold" else in_parts(table, 0)
    parts = whole[column].to_list()
    first, second = 0, next(row for row, part in enumerate(parts) if part != parts[0])
    if kind == "parent_id":
        return whole.with_columns(parent_id=pl.when(id=df["id"][second]).then(pl.lit(df["id"][first]))), df["id"][first]
    ours = pl.col("id").is_in([df["id"][first], df["id"][second]])
    other = pl.col(kind) if kind == "group" else pl.lit(None, pl.String)
    return whole.with_columns(pl.when(ours).then(pl.lit("torn-7")).otherwise(other).alias(kind)), "torn-7"


REFUSERS: dict[str, Callable[[pl.DataFrame], object]] = {
    "splits.check": splits.check,
    "sides.training_side": lambda df: sides.training_side(df, fold=0 if "fold" in df.columns else None),
    "balance.oversample": lambda df: balance.oversample(df, fold=0 if "fold" in df.columns else None),
    "balance.undersample": lambda df: balance.undersample(df, fold=0 if "fold" in df.columns else None),
    "balance.weigh": lambda df: balance.weigh(df, fold=0 if "fold" in df.columns else None),
    "augment.offspring": lambda df: augment.offspring(df, "/nowhere", 1, fold=0 if "fold" in df.columns else None),
    "augment.augment": lambda df: augment.augment(df, "/nowhere", 1, fold=0 if "fold" in df.columns else None),
}


@pytest.mark.parametrize("kind", [*TIED, "parent_id"])
@pytest.mark.parametrize("column", ["split", "fold"])
@settings(max_examples=2)
@given(df=manifests())
def test_a_cut_table_is_refused_by_name(column: str, kind: str, df: pl.DataFrame) -> None:
    torn, name = cut(df, column, kind)
    for refuse in REFUSERS.values():
        with pytest.raises(DataError, match=f"^{column}: .*'{name}' is in .* and ") as caught:
            refuse(torn)
        assert "\n" not in str(caught.value)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of a command in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        return int(main([str(argument) for argument in arguments])), said.getvalue()


@settings(max_examples=6)
@given(df=manifests(), seed=st.integers(0, 9), folds=st.booleans())
def test_no_command_cuts_a_family(df: pl.DataFrame, seed: int, folds: bool) -> None:
    with scans(df) as (folder, table):
        manifest.write(table, folder / "in.parquet")
        how = ("--folds", 3, "--test", 0.2) if folds else ("--val", 0.25, "--test", 0.25)
        code, said = run("split", folder / "in.parquet", "-o", folder / "split.parquet", "--seed", seed, *how)
        if code:
            assert code == 2 and any(words in said for words in TOO_FEW), said
            return
        assert_whole(manifest.read(folder / "split.parquet"))
        chosen = ("--fold", 1) if folds else ()
        written = [folder / "split.parquet"]
        for name, command in {
            "augmented": ("augment", "--copies", 1),
            "over.parquet": ("balance",),
            "under.parquet": ("balance", "--method", "under"),
            "weights.parquet": ("balance", "--method", "weights"),
        }.items():
            code, said = run(*command, folder / "split.parquet", "-o", folder / name, "--seed", seed, *chosen)
            if code:
                assert code == 2 and any(words in said for words in TOO_FEW), said
                continue
            made = folder / name / "manifest.parquet" if name == "augmented" else folder / name
            result = manifest.read(made)
            assert_whole(result)
            assert_held_out_is_as_given(table, result)
            written.append(made)
        code, said = run("split", written[-1], "-o", folder / "again.parquet", "--again", "--seed", seed)
        if not code:
            assert_whole(manifest.read(folder / "again.parquet"))


def assert_held_out_is_as_given(given: pl.DataFrame, result: pl.DataFrame) -> None:
    """Validation and test hold rows of the given table only."""
    held_out = result.filter(pl.col("split").is_in(["val", "test"]))
    assert set(held_out["id"]) <= set(given["id"])
    assert held_out["parent_id"].null_count() == held_out.height


@pytest.mark.parametrize("kind", [*TIED, "parent_id"])
@pytest.mark.parametrize("column", ["split", "fold"])
def test_commands_refuse_a_cut_manifest_by_name(column: str, kind: str) -> None:
    df = pl.DataFrame({"id": [f"s{number}" for number in range(12)], "label": [0, 1] * 6})
    with scans(df) as (folder, table):
        torn, name = cut(table, column, kind)
        manifest.write(torn, folder / "torn.csv")
        for command in (("split",), ("augment", "--copies", 1, "--fold", 0), ("balance", "--fold", 0)):
            arguments = command if column == "fold" else tuple(word for word in command if word not in ("--fold", 0))
            code, said = run(*arguments, folder / "torn.csv", "-o", folder / "out.parquet")
            assert code == 2 and said.count("\n") == 1
            assert f"{column}: " in said and f"'{name}' is in " in said
            assert not (folder / "out.parquet").exists()
        code, said = run("split", folder / "torn.csv", "-o", folder / "out.parquet", "--again")
        assert code == 0, said
        assert_whole(manifest.read(folder / "out.parquet"))


def test_the_check_of_this_file_sees_a_torn_family() -> None:
    df = pl.DataFrame(
        {"id": list("abc"), "group": list("xyz"), "parent_id": [None, "a", "b"], "split": ["p", None, "q"]}
    )
    with pytest.raises(AssertionError):
        assert_whole(df)
