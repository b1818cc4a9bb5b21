from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import pytest

from tumorscope.audit.store import Store
from tumorscope.errors import OutputError

COLUMNS = {"key": pl.String, "value": pl.Int64}


def rows(*keys: str) -> list[dict[str, object]]:
    return [{"key": key, "value": ord(key)} for key in keys]


def keys_of(store: Store, wanted: list[str]) -> list[str]:
    return sorted(key for part in store.find(wanted) for key in part["key"])


def test_each_key_comes_once_whatever_the_shards_hold(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", "1")
    store.add(rows("a", "b"), COLUMNS)
    store.add(rows("b", "c"), COLUMNS)
    assert keys_of(store, ["a", "b", "c", "d"]) == ["a", "b", "c"]
    assert keys_of(store, ["c"]) == ["c"]
    assert keys_of(store, []) == []


def test_another_version_sees_nothing(tmp_path: Path) -> None:
    Store(tmp_path, "1").add(rows("a"), COLUMNS)
    assert keys_of(Store(tmp_path, "2"), ["a"]) == []
    assert keys_of(Store(tmp_path, "1"), ["a"]) == ["a"]


def test_a_damaged_shard_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path, "1")
    store.add(rows("a"), COLUMNS)
    (tmp_path / "measured-1-0000.parquet").write_bytes(b"PAR1 cut")
    with caplog.at_level(logging.WARNING, "tumorscope"):
        assert keys_of(store, ["a", "z"]) == ["a"]
    assert "measured again" in caplog.text


def test_nothing_is_no_shard(tmp_path: Path) -> None:
    Store(tmp_path / "cache", "1").add([], COLUMNS)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        Store(tmp_path / "cache", "1").add(rows("a"), COLUMNS)


def test_one_row_at_a_time_gives_what_finding_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tumorscope.audit.store.OPEN", 2)
    store = Store(tmp_path, "1")
    for pair in ("ab", "bc", "de", "fg"):
        store.add(rows(*pair), COLUMNS)
    kept = store.kept(list("acdgz"))
    for key in "agdcagcd":
        assert kept.get(key) == {"key": key, "value": ord(key)} and key in kept
    assert kept.get("z") is None and "z" not in kept
    assert kept.get("b") is None and "b" not in kept  # not asked for


def test_a_shard_that_vanishes_gives_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path, "1")
    store.add(rows("a"), COLUMNS)
    kept = store.kept(["a"])
    for shard in tmp_path.glob("*.parquet"):
        shard.unlink()
    with caplog.at_level(logging.WARNING, "tumorscope"):
        assert "a" in kept and kept.get("a") is None
    assert "measured again" in caplog.text
