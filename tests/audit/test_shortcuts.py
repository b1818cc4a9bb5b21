from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope.audit import shortcuts as module
from tumorscope.audit.measure import Measured, measure
from tumorscope.audit.shortcuts import Origin, around, background, border, file_features, file_traits, origin, shortcuts
from tumorscope.datasets import manifest
from tumorscope.errors import DataError

LABELS = [row % 2 for row in range(80)]


@pytest.fixture(autouse=True)
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TREES", 25)


def test_a_difference_of_files_is_found_and_named(made: Callable[..., Measured]) -> None:
    plain = made(LABELS)
    larger = plain.table.with_columns(bytes=pl.col("bytes") + 6000 * pl.col("label"))
    found = file_traits(replace(plain, table=larger))
    assert found.score.accuracy.value > 0.9
    assert found.score.beyond_chance
    assert {found.traits[0][0], found.traits[1][0]} == {"bytes", "bytes per pixel"}
    assert found.traits[0][1] > 0.9
    assert found.sentence().startswith("File size, dimensions and format alone predict the label with ")
    assert "always guessing the larger class gives 50 %" in found.sentence()


def test_files_without_a_difference_tell_nothing(made: Callable[..., Measured]) -> None:
    found = file_traits(made(LABELS))
    assert not found.score.beyond_chance
    assert "tell nothing of the label" in found.sentence()
    assert {name for name, _ in found.traits}.isdisjoint({"suffix", "mode", "bits"})  # they never vary


def test_words_count_as_traits(made: Callable[..., Measured]) -> None:
    plain = made(LABELS)
    table = plain.table.with_columns(
        suffix=pl.when(pl.col("label") == 1).then(pl.lit(".JPG")).otherwise(pl.lit(".jpg"))
    )
    assert file_traits(replace(plain, table=table)).traits[0] == ("suffix", 1.0)


def test_missing_words_and_numbers_are_no_obstacle(made: Callable[..., Measured]) -> None:
    table = made(LABELS).table.with_columns(mode=pl.lit(None, pl.String), bits=pl.lit(None, pl.Int64))
    features = file_features(table)
    assert features["mode"].shape == (80, 0)
    assert np.isnan(features["bits"]).all()
    assert file_traits(replace(made(LABELS), table=table)).score.scans == 80


def painted(measured: Measured, where: tuple[slice, slice]) -> Measured:
    """The set with a grey patch in the surroundings of each scan of label 1."""
    squares = np.full_like(measured.around, 20)
    squares += np.random.default_rng(0).integers(0, 9, squares.shape).astype(np.uint8)
    squares[np.array(LABELS) == 1, *where] += 90
    table = measured.table.with_columns(scan_width=pl.lit(240), scan_height=pl.lit(240))
    return replace(measured, table=table, around=squares)


def test_a_mark_at_the_edge_is_seen_by_border_and_surroundings(made: Callable[..., Measured]) -> None:
    marked = painted(made(LABELS), (slice(0, 3), slice(10, 40)))
    assert border(marked).score.accuracy.value > 0.95
    assert around(marked).score.accuracy.value > 0.95


def test_a_mark_further_in_is_not_seen_by_the_border(made: Callable[..., Measured]) -> None:
    marked = painted(made(LABELS), (slice(10, 20), slice(10, 20)))
    assert not border(marked).score.beyond_chance
    assert around(marked).score.accuracy.value > 0.95


def test_the_border_of_a_wide_picture_is_its_own_and_not_the_paddings(made: Callable[..., Measured]) -> None:
    marked = painted(made(LABELS), (slice(12, 14), slice(10, 38)))
    wide = replace(marked, table=marked.table.with_columns(scan_height=pl.lit(120)))
    assert border(wide).score.accuracy.value > 0.95
    assert not border(marked).score.beyond_chance


def test_a_noisy_background_is_found(made: Callable[..., Measured]) -> None:
    plain = made(LABELS)
    spread = pl.col("background_spread") + 0.01 * pl.col("label")
    found = background(replace(plain, table=plain.table.with_columns(background_spread=spread)))
    assert found.score.accuracy.value > 0.9
    assert found.traits[0][0] == "background spread"


def test_an_origin_that_is_the_label_is_called_so(made: Callable[..., Measured]) -> None:
    found = origin(made(LABELS, source=[f"set{label}" for label in LABELS]))
    assert found.explained == pytest.approx(1)
    assert found.shortcut.score.accuracy.value == 1
    assert found.sentence().startswith("Each data set holds one class only")
    assert found.counts.rows() == [("set0", 0, 40), ("set1", 1, 40)]


def test_an_origin_with_the_same_shares_explains_nothing(made: Callable[..., Measured]) -> None:
    found = origin(made(LABELS, source=[f"set{row // 2 % 2}" for row in range(80)]))
    assert found.explained == pytest.approx(0, abs=1e-9)
    assert not found.shortcut.score.beyond_chance
    assert found.sentence().endswith("the origin explains 0 % of the label")


def test_explained_share_by_hand(made: Callable[..., Measured]) -> None:
    labels = [0] * 30 + [1] * 10 + [1] * 40
    found = origin(made(labels, source=["a"] * 40 + ["b"] * 40))
    whole = -(0.375 * np.log(0.375) + 0.625 * np.log(0.625))
    left = 0.5 * -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found.explained == pytest.approx(1 - left / whole)


def test_of_several_sources_each_is_also_tested_alone(made: Callable[..., Measured]) -> None:
    labels = [row % 2 for row in range(40)] + [1] * 40
    found = shortcuts(made(labels, source=["mixed"] * 40 + ["tumours"] * 40))
    names = [one.shortcut.name if isinstance(one, Origin) else one.name for one in found]
    assert names == ["file", "border", "background", "around", "source", "mixed:file"]
    assert found[-1].sentence().startswith("Within mixed: file size")


def test_phantoms_come_from_one_scanner(phantom_set: Measured) -> None:
    found = shortcuts(phantom_set)
    assert [one.name for one in found if not isinstance(one, Origin)] == ["file", "border", "background", "around"]
    assert not any(one.score.beyond_chance for one in found[1:3] if not isinstance(one, Origin))


def test_one_class_is_nothing_to_predict(made: Callable[..., Measured]) -> None:
    with pytest.raises(DataError, match="only 'tumor' among 20 scans"):
        shortcuts(made([1] * 20))


@pytest.mark.slow
def test_files_of_navoneel_tell_three_of_four_labels(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = file_traits(measure(manifest.load(shared_data / "navoneel")))
    assert found.score.accuracy.low <= 0.74 <= found.score.accuracy.high
    assert found.score.always == pytest.approx(155 / 253)
    assert found.score.accuracy.low > found.score.always
