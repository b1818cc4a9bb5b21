from __future__ import annotations

import math
from functools import partial

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation import mask_summary
from tumorscope.evaluation.mask_scores import MaskPair, Rules, evaluate_masks
from tumorscope.evaluation.mask_summary import FIGURES, MAIN, with_size

NOTHING = np.zeros((20, 24), bool)
summarise = partial(mask_summary.summarise, rounds=60)


def rows(*columns: tuple[int, int]) -> np.ndarray:
    """A mask of one row of pixels for each (start, length), all of them apart."""
    mask = NOTHING.copy()
    for number, (start, length) in enumerate(columns):
        mask[2 * number + 1, start : start + length] = True
    return mask


def table() -> pl.DataFrame:
    """Dice by scan: 1, 0.5, 0, and healthy ones: clean, marked."""
    return evaluate_masks(
        [
            MaskPair("a", rows((2, 4)), rows((2, 4)), facts={"group": "p", "tumor_type": "glioma"}),
            MaskPair("b", rows((4, 4)), rows((2, 4)), facts={"group": "p", "tumor_type": "glioma"}),
            MaskPair("c", NOTHING, rows((2, 8), (2, 8)), facts={"group": "q", "tumor_type": None}),
            MaskPair("d", NOTHING, None, facts={"group": "r", "tumor_type": None}),
            MaskPair("e", rows((0, 1)), None, facts={"group": "s", "tumor_type": None}),
        ]
    )


def value(summary, figure: str, by: str = "all", stratum: str = "all") -> float:
    return summary.interval(figure, by, stratum).value


def test_means_by_hand() -> None:
    summary = summarise(table(), figures=list(FIGURES))
    assert value(summary, "dice") == pytest.approx((1 + 0.5 + 0) / 3)
    assert value(summary, "dice_all") == pytest.approx((1 + 0.5 + 0 + 1 + 0) / 5)
    assert value(summary, "false_mask_rate") == pytest.approx(1 / 2)
    assert value(summary, "missed_rate") == pytest.approx(1 / 3)
    assert value(summary, "pixel_precision") == pytest.approx((1 + 0.5) / 2)  # c marked nothing
    assert value(summary, "pixel_recall") == pytest.approx((1 + 0.5 + 0) / 3)
    assert value(summary, "lesion_sensitivity") == pytest.approx(2 / 4)
    assert value(summary, "lesion_precision") == pytest.approx(2 / 3)
    assert value(summary, "lesion_f1") == pytest.approx(4 / 7)
    assert value(summary, "lesion_dice") == pytest.approx((1 + 0.5) / 4)  # by lesion, not by scan
    assert value(summary, "size_error") == pytest.approx(-16 / 3)
    assert value(summary, "absolute_relative_size_error") == pytest.approx(1 / 3)
    assert math.isnan(value(summary, "pixel_auc"))
    counted = dict(summary.table.select("figure", "scans").rows())
    assert (counted["dice"], counted["hd95"], counted["dice_all"], counted["false_mask_rate"]) == (3, 2, 5, 2)
    assert (summary.scans, summary.tumor, summary.healthy) == (5, 3, 2)


def test_lesions_weigh_alike_whatever_scan_they_are_in() -> None:
    two, one = rows((2, 4), (2, 4)), rows((2, 4))
    summary = summarise(evaluate_masks([MaskPair("a", one, two), MaskPair("b", NOTHING, one)]))
    assert value(summary, "lesion_dice") == pytest.approx(1 / 3)


def test_every_row_says_what_it_counts() -> None:
    found = summarise(table(), by="tumor_type").table
    assert found["rule"].null_count() == 0 and (found["rule"].str.len_chars() > 0).all()
    assert set(found["over"]) == {"tumor", "healthy", "all"}
    assert found.filter(by="all")["figure"].to_list() == list(FIGURES)
    assert found.filter(by="tumor_type", stratum="glioma")["figure"].to_list() == list(MAIN)


def test_strata_by_type_regions_and_size() -> None:
    summary = summarise(with_size(table(), [10]), by=("tumor_type", "regions", "size"), rounds=50)
    strata = summary.table.filter(pl.col("by") != "all").select("by", "stratum").unique(maintain_order=True).rows()
    assert strata == [
        ("tumor_type", "glioma"), ("tumor_type", "unknown"), ("tumor_type", "healthy"),
        ("regions", "one"), ("regions", "several"), ("regions", "healthy"),
        ("size", "below 10"), ("size", "10 and more"), ("size", "healthy"),
    ]  # fmt: skip
    assert value(summary, "dice", "tumor_type", "glioma") == pytest.approx(0.75)
    assert value(summary, "dice", "regions", "several") == 0
    assert value(summary, "false_mask_rate", "size", "healthy") == 0.5
    assert math.isnan(value(summary, "dice", "regions", "healthy"))


def test_intervals_draw_groups_not_scans() -> None:
    rng = np.random.default_rng(0)
    skill = np.repeat(rng.uniform(2, 12, 12), 8).astype(int)
    pairs = [
        MaskPair(str(n), rows((2, length)), rows((2, 12)), facts={"group": n // 8, "alone": n})
        for n, length in enumerate(skill)
    ]
    scores = evaluate_masks(pairs)
    grouped, alone = (summarise(scores, group=name, rounds=400) for name in ("group", "alone"))
    wide, narrow = grouped.interval("dice"), alone.interval("dice")
    assert wide.value == narrow.value == pytest.approx(scores["dice"].mean())
    assert wide.low <= wide.value <= wide.high
    assert 2 < (wide.high - wide.low) / (narrow.high - narrow.low) < 4  # sqrt(8) = 2.8
    groups = grouped.table.filter(figure="dice").row(0, named=True)
    assert (groups["scans"], groups["groups"]) == (96, 12)


def test_where_the_data_cannot_tell_there_is_no_interval() -> None:
    summary = summarise(evaluate_masks([MaskPair(str(n), NOTHING) for n in range(9)]))
    rate = summary.interval("false_mask_rate")
    assert rate.value == 0 and math.isnan(rate.low) and math.isnan(rate.high)
    one = summarise(table().filter(pl.col("group") == "p"))
    assert math.isnan(one.interval("dice").low)


def test_scans_without_a_group_stand_alone() -> None:
    scores = table().with_columns(group=pl.Series([None, None, "q", "r", "s"]))
    found = summarise(scores, rounds=20).table.filter(figure="dice").row(0, named=True)
    assert (found["scans"], found["groups"]) == (3, 3)
    assert summarise(scores.drop("group")).alone == 5


def test_scans_without_a_group_belong_to_their_patient_within_their_source() -> None:
    scores = table().with_columns(
        group=pl.Series([None, None, None, "r", "s"]),
        patient=pl.Series(["1", "1", "1", None, None]),
        source=pl.Series(["x", "x", "y", "x", "x"]),
    )
    summary = summarise(scores)
    found = summary.table.filter(figure="dice").row(0, named=True)
    assert (found["scans"], found["groups"], summary.alone) == (3, 2, 0)


class TestSentence:
    def test_names_all_that_a_reader_needs(self) -> None:
        scores = table().with_columns(mask_source=pl.lit("human"))
        broken = evaluate_masks([MaskPair("f", None)]).with_columns(mask_source=pl.lit("sam"))
        said = summarise(pl.concat([scores, broken], how="diagonal")).sentence()
        for part in (
            "3 scans with a tumour (true masks, drawn by: human): Dice 0.500",
            "a missing mask counting 0",
            "within 2 px of each other",
            "over the 2 scans with a mask",
            "of the scans got no mask",
            "Of 2 healthy scans 50.0%",
            "1 of 6 scans could not be scored; the first: f: there is no predicted mask",
        ):
            assert part in said, part
        assert "nan" not in said and "None" not in said and "\n" not in said

    def test_healthy_scans_alone(self) -> None:
        said = summarise(evaluate_masks([MaskPair("a", NOTHING), MaskPair("b", rows((1, 2)))])).sentence()
        assert said.startswith("Of 2 healthy scans 50.0%")
        assert "No scan has a true lesion" in said and "Intervals take 2 scans that name no group or patient" in said

    def test_nothing_marked(self) -> None:
        said = summarise(evaluate_masks([MaskPair("a", NOTHING, rows((1, 2)))])).sentence()
        assert "no outline to measure a distance from" in said and "100.0% of the scans got no mask" in said
        assert "0.0% of the lesions were found and no lesion was marked." in said


class TestSize:
    def test_bands_keep_their_order(self) -> None:
        sizes = pl.DataFrame({"true_size": [9.0, 10.0, 99.0, 100.0, 0.0, None]})
        assert with_size(sizes, [10, 100])["size"].to_list() == [
            "below 10", "10 to 100", "10 to 100", "100 and more", None, None,
        ]  # fmt: skip

    def test_thirds_without_limits(self) -> None:
        banded = with_size(pl.DataFrame({"true_size": [0.0, *np.arange(1.0, 31.0)]}))
        assert banded["size"].drop_nulls().value_counts()["count"].to_list() == [10, 10, 10]
        assert with_size(pl.DataFrame({"true_size": [5.0, 5.0]}))["size"].n_unique() == 1

    @pytest.mark.parametrize("limits", [[], [0], [5, 5], [9, 3], [math.nan]])
    def test_limits_that_do_not_rise_are_named(self, limits) -> None:
        with pytest.raises(DataError, match="do not rise"):
            with_size(pl.DataFrame({"true_size": [5.0]}), limits)
        with pytest.raises(DataError, match="no scan has a lesion"):
            with_size(pl.DataFrame({"true_size": [0.0]}))


def test_wrong_tables_are_named() -> None:
    scores = table()
    with pytest.raises(DataError, match="did you mean 'plane'"):
        summarise(scores.with_columns(plane=pl.lit("axial")), by="plan")
    with pytest.raises(DataError, match="unknown figure 'dise'"):
        summarise(scores, figures=["dise"])
    with pytest.raises(DataError, match="several values of 'tolerance'"):
        summarise(pl.concat([scores, evaluate_masks([MaskPair("z", NOTHING)], Rules(5))], how="diagonal"))
    with pytest.raises(DataError, match="no scored scan; the first problem: x: there is no predicted"):
        summarise(evaluate_masks([MaskPair("x", None)]))
    with pytest.raises(DataError, match="unknown stratum"):
        summarise(scores, rounds=5).interval("dice", "all", "glioma")
