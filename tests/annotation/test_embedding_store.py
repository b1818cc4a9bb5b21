"""Embeddings on disk: what comes back, what is forgotten, what survives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tumorscope.annotation.embedding_store import EmbeddingStore, key_of


def test_arrays_come_back_bit_by_bit(tmp_path: Path) -> None:
    given = {"a": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), "b": np.arange(3)}
    store = EmbeddingStore(tmp_path / "new")
    store.write("k", given)
    found = store.read("k")
    assert found is not None and found.keys() == given.keys() and store.holds("k")
    assert all(np.array_equal(found[name], given[name]) and found[name].dtype == given[name].dtype for name in given)
    assert not list((tmp_path / "new").glob(".*"))


@given(arrays(np.float32, (2, 3), elements=st.floats(-9, 9, width=32)), st.integers(0, 5))
def test_any_other_slice_or_engine_has_another_key(pixels: np.ndarray, place: int) -> None:
    other = pixels.copy()
    other.flat[place] += 1
    keys = {key_of(pixels, "e", "1"), key_of(other, "e", "1"), key_of(pixels, "e", "2"), key_of(pixels, "f", "1")}
    keys |= {key_of(pixels.astype(np.float64), "e", "1"), key_of(pixels.T, "e", "1")}
    assert len(keys) == 6


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    block = {"a": np.zeros(1000, np.uint8)}
    size = 1000 + 500  # with the file's own header
    store = EmbeddingStore(tmp_path, 3 * size)
    for age, key in enumerate("abc"):
        store.write(key, block)
        os.utime(tmp_path / f"{key}.npz", (age, age))
    assert store.read("a") is not None  # asked for, so it is the youngest now
    store.write("d", block)
    assert [store.holds(key) for key in "abcd"] == [True, False, True, True]


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, 10)
    store.write("a", {"a": np.zeros(1000, np.uint8)})
    assert store.read("a") is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"no archive at all"])
def test_a_damaged_file_counts_as_absent_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    store = EmbeddingStore(tmp_path)
    (tmp_path / "a.npz").write_bytes(content)
    assert store.read("a") is None
    store.write("a", {"x": np.ones(2)})
    assert store.read("a") is not None


def test_program_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"an": "object"}], dtype=object))
    assert EmbeddingStore(tmp_path).read("a") is None


def test_a_disk_that_refuses_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    EmbeddingStore(tmp_path / "file").write("a", {"x": np.ones(2)})
