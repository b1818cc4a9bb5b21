"""Thresholds chosen on validation scans keep what they promise, and the predictor keeps what they say."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.evaluation.segmentation import dice
from tumorscope.inference.bundle import Bundle, BundleMetadata, Calibration, Outputs, Thresholds
from tumorscope.inference.predictor import Predictor
from tumorscope.training import calibrate as module
from tumorscope.training.calibrate import FALSE_MASKS, FOCUS, NO_LESION, Seen, calibrate, look

RULE = Calibration(top_pixels=5)
SIDE = 12  # px of the maps made here
BLANK = SimpleNamespace(
    metadata=BundleMetadata(name="blank", calibration=RULE, thresholds=Thresholds(tumor=0.5, no_tumor=0.5))
)


def seen(pixels: NDArray, label: int, truth: NDArray | None = None, group: str = "", area: float = SIDE * SIDE) -> Seen:
    """What a network whose (S, S) map this is says about a scan of the same grid."""
    map_ = pixels.astype(np.float32)[None]
    return Seen(
        probability=map_[0],
        truth=truth if truth is not None or label else np.zeros(pixels.shape, bool),
        head_area=area,
        label=label,
        evidence=float(RULE.evidence(map_)[0]),
        strength=float(RULE.strength(map_)[0]),
        group=group,
    )


def patch_of(height: float, around: float = 0.01) -> NDArray[np.float64]:
    """A map with a 3x3 patch of one probability in its middle, and another everywhere else."""
    pixels = np.full((SIDE, SIDE), around)
    pixels[4:7, 4:7] = height
    return pixels


PATCH = patch_of(1.0, 0.0) > 0.5


def calibrated(scans: list[Seen]) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """`calibrate` on what the network would have said."""
    with patch.object(module, "look", lambda bundle, row: scans[row["place"]]):
        return calibrate(BLANK, pl.DataFrame({"place": range(len(scans))}))


def probabilities(calibration: Calibration, scans: list[Seen]) -> NDArray[np.float64]:
    """What a bundle with this calibration states about the scans."""
    maps = np.stack([one.probability for one in scans])
    return calibration.probability(maps, np.zeros(len(maps), np.float32))


def outlined(thresholds: Thresholds, calibration: Calibration, scans: list[Seen]) -> list[NDArray[np.bool_]]:
    """The mask that is drawn on each scan."""
    masks = []
    for one, probability in zip(scans, probabilities(calibration, scans), strict=True):
        found = module._segment(one, thresholds.mask, thresholds.mask_seed, thresholds.min_area_fraction)
        share = module.concentration(one.probability, found)
        masks.append(found & thresholds.outlined(float(probability), share))
    return masks


@st.composite
def validations(draw: st.DrawFn, most: int = 24) -> list[Seen]:
    """Scans of both classes, at least one of them with a mask: noise of any level, and blobs in some."""
    labels = draw(st.lists(st.integers(0, 1), min_size=2, max_size=most))
    assume(0 < sum(labels) < len(labels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scans = []
    for place, label in enumerate(labels):
        pixels = rng.random((SIDE, SIDE)) * rng.choice([0.01, 0.3, 1.0])
        if rng.random() < 0.3 + 0.5 * label:
            pixels[PATCH] = np.clip(rng.normal(0.8, 0.2), 0, 1)
        scans.append(seen(pixels, label, PATCH if label else None, group=str(place // draw(st.integers(1, 3)))))
    return scans


class TestOutline:
    certainties = st.lists(st.sampled_from([NO_LESION, 0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=60)

    @given(certainties)
    def test_no_more_scans_than_may_reach_it(self, certain: list[float]) -> None:
        outline = module._outline(certain)
        assert np.mean(np.array(certain) >= outline) <= FALSE_MASKS

    @given(certainties)
    def test_it_is_the_lowest(self, certain: list[float]) -> None:
        outline = module._outline(certain)
        assert outline == 0 or np.mean(np.array(certain) >= np.nextafter(outline, -1)) > FALSE_MASKS

    @pytest.mark.parametrize(("scans", "allowed"), [(1, 0), (15, 0), (16, 1), (24, 1), (30, 1), (31, 2), (200, 13)])
    def test_how_many_healthy_scans_may_have_a_mask(self, scans: int, allowed: int) -> None:
        certain = np.linspace(0, 1, scans, endpoint=False)
        assert (certain >= module._outline(certain.tolist())).sum() == allowed  # the integer part of 0.065 n


class TestStandardError:
    @given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
    def test_without_groups_it_is_the_usual_one(self, values: list[float]) -> None:
        usual = np.std(values, ddof=1) / math.sqrt(len(values))
        found = module._standard_error(np.array(values), [str(n) for n in range(len(values))])
        assert found == pytest.approx(usual, abs=1e-12)

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(2, 5))
    def test_copies_of_a_scan_make_it_no_smaller(self, values: list[float], copies: int) -> None:
        names = [str(n) for n in range(len(values))]
        once = module._standard_error(np.array(values), names)
        assert module._standard_error(np.tile(values, copies), names * copies) == pytest.approx(once, abs=1e-12)

    @pytest.mark.parametrize(
        ("groups", "expected"),
        [
            ("abcd", math.sqrt(1 / 12)),  # variance 1/3 over 4 scans
            ("aabb", 0.5),  # means 1 and 0: the square root of variance 1/2 over 2 groups
            ("abab", 0.0),  # both groups have the mean of all
            ("aaaa", 0.0),
        ],
    )
    def test_by_hand(self, groups: str, expected: float) -> None:
        found = module._standard_error(np.array([1.0, 1.0, 0.0, 0.0]), list(groups))
        assert found == pytest.approx(expected, abs=1e-15)


class TestLaws:
    @settings(max_examples=25)
    @given(validations(most=40))
    def test_few_healthy_scans_get_a_mask_and_the_record_counts_them(self, scans: list[Seen]) -> None:
        calibration, thresholds, record = calibrated(scans)
        drawn = outlined(thresholds, calibration, scans)
        healthy = [mask.any() for mask, one in zip(drawn, scans, strict=True) if one.label == 0]
        assert np.mean(healthy) == pytest.approx(record["false_masks"]) and record["false_masks"] <= FALSE_MASKS
        overlaps = [dice(mask, one.truth, empty="one") for mask, one in zip(drawn, scans, strict=True) if one.label]
        assert np.mean(overlaps) == pytest.approx(record["dice"])

    @settings(max_examples=25)
    @given(validations())
    def test_sensitivity_is_kept_with_the_probabilities_that_the_bundle_states(self, scans: list[Seen]) -> None:
        calibration, thresholds, record = calibrated(scans)
        label = np.array([one.label for one in scans])
        stated = probabilities(calibration, scans)
        for limit, wanted in ((thresholds.tumor, 0.95), (thresholds.no_tumor, 0.99)):
            assert (stated[label == 1] >= limit).mean() >= wanted
            assert (stated[label == 1] > limit).mean() < wanted  # no higher one would do
        assert record["specificity"] == (stated[label == 0] < thresholds.tumor).mean()
        assert (record["scans"], record["tumour_scans"]) == (label.size, label.sum())

    @settings(max_examples=25)
    @given(validations())
    def test_more_evidence_means_more_probability_where_tumours_show_more(self, scans: list[Seen]) -> None:
        evidence = np.array([one.evidence for one in scans])
        leaning = np.cov(evidence, [one.label for one in scans])[0, 1]
        assume(abs(leaning) > 1e-3)
        calibration, _, _ = calibrated(scans)
        ladder = np.linspace(0, 1, 50)[:, None, None] * np.ones((1, SIDE, SIDE))
        steps = np.diff(calibration.probability(ladder, np.zeros(50))) * np.sign(leaning)
        assert (steps >= 0).all() and steps.max() > 0

    @settings(max_examples=25)
    @given(validations())
    def test_what_is_chosen_is_within_one_standard_error_of_the_best(self, scans: list[Seen]) -> None:
        _, thresholds, record = calibrated(scans)
        assert record["least_dice"] <= record["dice"] <= record["highest_dice"]
        assert thresholds.focus in FOCUS and thresholds.no_tumor <= thresholds.tumor

    def test_scans_as_certain_as_can_be_are_never_let_through(self) -> None:
        tumours = [seen(patch_of(0.9), 1, PATCH)] * 20
        alarms = [seen(patch_of(0.9, around=0.2), 0)] * 20
        certain = np.ones(40)  # a logistic function saturates
        limits, record = module._choose_mask([*tumours, *alarms], certain, 0.5)
        assert limits["focus"] > 0 and record["false_masks"] == 0 and record["dice"] == 1

    def test_a_certainty_that_underflows_still_counts_as_a_mask(self) -> None:
        spot = np.full((60, 60), 0.2)
        spot[5:8, 5:8] = 0.9  # a hundredth of all probability: with a large focus its certainty rounds to 0
        alarms, tumours = [seen(spot, 0)] * 4, [seen(patch_of(0.9), 1, PATCH)] * 4
        with patch.object(module, "FOCUS", (16.0,)):
            limits, record = module._choose_mask([*tumours, *alarms], np.full(8, 0.6), 0.5)
        sure = Thresholds(tumor=1, no_tumor=0.5, **limits)
        assert sure.certainty(0.6, 0.01) == 0 and not sure.outlined(0.6, 0.01)
        assert record == {"dice": 1.0, "false_masks": 0.0, "highest_dice": 1.0, "least_dice": 1.0}


class TestGolden:
    def test_the_95th_and_the_99th_of_a_hundred_tumours_set_the_decision(self) -> None:
        heights = np.linspace(0.9, 0.3, 100)
        tumours = [seen(patch_of(height), 1, PATCH) for height in heights]
        calibration, thresholds, record = calibrated([*tumours, *[seen(patch_of(0.1), 0)] * 30])
        stated = probabilities(calibration, tumours)
        assert (thresholds.tumor, thresholds.no_tumor) == (stated[94], stated[98])
        assert (record["auc"], record["specificity"], record["false_masks"]) == (1, 1, 0)

    def test_without_alarms_every_lesion_is_outlined(self) -> None:
        scans = [seen(patch_of(0.9), 1, PATCH), seen(patch_of(0.2), 0)]
        limits, _ = module._choose_mask(scans, np.array([0.9, 0.1]), 0.5)
        assert limits["outline"] == 0

    def test_the_cut_that_leaves_out_a_halo_is_taken(self) -> None:
        pixels = patch_of(0.9)
        pixels[3:8, 3:8] = np.maximum(pixels[3:8, 3:8], 0.3)  # a third of the strength
        limits, record = module._choose_mask([seen(pixels, 1, PATCH), seen(patch_of(0), 0)], np.array([0.9, 0.1]), 0.5)
        assert limits["mask"] == 0.4 and record["dice"] == 1

    @pytest.mark.parametrize(("head_area", "kept"), [(1400, 9), (1600, 0)])
    def test_the_smallest_lesion_is_a_share_of_the_head(self, head_area: float, kept: int) -> None:
        one = seen(patch_of(0.9), 1, PATCH, area=head_area)
        assert module._segment(one, 0.5, 0.7, 0.006).sum() == kept  # 8.4 and 9.6 pixels


class TestOneStandardError:
    """Of 24 tumours one has its evidence all over the head: a large focus leaves it out, and costs 1/24 of the Dice."""

    def chosen(self, missed: int) -> tuple[dict[str, float], dict[str, float]]:
        """Thresholds where so many of the tumours are not seen at all; a healthy scan is as focused as most tumours."""
        spread = seen(patch_of(0.9, around=0.2), 1, PATCH)
        focused = seen(patch_of(0.9, around=0.0), 1, PATCH)
        unseen = seen(np.zeros((SIDE, SIDE)), 1, PATCH)
        alarm = seen(patch_of(0.9, around=0.0), 0)
        scans = [alarm, spread, *[focused] * (23 - missed), *[unseen] * missed]
        scans = [replace(one, group=str(place)) for place, one in enumerate(scans)]
        probability = np.array([0.6, *[0.9] * (24 - missed), *[0.1] * missed])
        return module._choose_mask(scans, probability, 0.5)

    def test_a_loss_beyond_it_is_not_taken(self) -> None:
        limits, record = self.chosen(missed=0)  # all tumours have Dice 1: no error at all
        assert limits["focus"] < max(FOCUS) and record["dice"] == record["highest_dice"] == record["least_dice"] == 1

    def test_a_loss_within_it_is_taken_for_evidence_in_one_place(self) -> None:
        limits, record = self.chosen(missed=4)
        assert limits["focus"] == max(FOCUS)
        assert (record["highest_dice"], record["dice"]) == pytest.approx((20 / 24, 19 / 24))
        error = math.sqrt(20 / 24 * 4 / 24 / 23)  # of a share of 20 in 24, with 23 degrees of freedom
        assert record["least_dice"] == pytest.approx(20 / 24 - error)


class TestWhatIsMissing:
    @pytest.mark.parametrize("labels", [[], [0, 0], [1, 1, 1]])
    def test_one_class_is_refused(self, labels: list[int]) -> None:
        scans = [seen(patch_of(0.9 if label else 0.1), label, PATCH if label else None) for label in labels]
        with pytest.raises(DataError, match="needs scans with and without tumour; hold out both"):
            calibrated(scans)

    def test_tumours_without_masks_are_refused(self) -> None:
        with pytest.raises(DataError, match="no scan with a tumour has a mask to choose thresholds by; hold out some"):
            calibrated([seen(patch_of(0.9), 1), seen(patch_of(0.1), 0), seen(patch_of(0.8), 1)])

    def test_one_mask_is_enough_and_tumours_without_one_count_for_the_decision(self) -> None:
        calibration, thresholds, record = calibrated(
            [seen(patch_of(0.9), 1, PATCH), seen(patch_of(0.7), 1), seen(patch_of(0.1), 0), seen(patch_of(0.2), 0)]
        )
        assert (record["scans"], record["tumour_scans"], record["dice"], record["auc"]) == (4, 2, 1.0, 1.0)
        lowest = calibration.probability(patch_of(0.7).astype(np.float32)[None], np.zeros(1))
        assert thresholds.tumor == lowest[0]


def _tiny() -> ModuleType:
    """The network of three operators of tests/inference."""
    path = Path(__file__).resolve().parent.parent / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tumorscope_tiny_of_calibrate", path)
    assert spec is not None and spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    return tiny


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    return _tiny()


@pytest.fixture(scope="module")
def draft(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("draft") / "draft.onnx"
    return Bundle.load(Bundle.write(tiny.tiny_model(), tiny.tiny_metadata(), path), threads=1)


@pytest.fixture(scope="module")
def heads(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Twenty heads with a lesion and its mask, and twenty without; five of these have a smaller bright spot."""
    folder = tmp_path_factory.mktemp("heads")
    rng = np.random.default_rng(0)
    for number in range(40):
        tumour = number % 2 == 0
        image = tiny.head(seed=number)
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        spot = np.hypot(y - rng.uniform(38, 58), x - rng.uniform(32, 48)) < rng.uniform(*(4, 9) if tumour else (2, 4))
        if tumour or number % 8 == 1:
            image[spot] = rng.uniform(130, 235)
        for name in ("images", "masks"):
            (folder / name).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), (spot & tumour).astype(np.uint8) * 255)
    return manifest.build(folder)


def test_the_predictor_does_what_calibration_found(
    tiny: ModuleType, draft: Bundle, heads: pl.DataFrame, tmp_path: Path
) -> None:
    calibration, thresholds, record = calibrate(draft, heads)
    metadata = draft.metadata.model_copy(update={"calibration": calibration, "thresholds": thresholds})
    final = Bundle.load(Bundle.write(tiny.tiny_model(), metadata, tmp_path / "final.onnx"), threads=1)
    predictor = Predictor(final)
    answers = {row["id"]: predictor.predict(io.read(row["path"])) for row in heads.to_dicts()}
    tumours = heads.filter(pl.col("label") == 1).to_dicts()
    healthy = [answers[own] for own in heads.filter(pl.col("label") == 0)["id"]]
    assert len(tumours) == len(healthy) == 20
    assert sum(answers[row["id"]].decision == "tumor" for row in tumours) == 19
    assert sum(answers[row["id"]].decision == "no_tumor" for row in tumours) == 0
    assert np.mean([one.decision != "tumor" for one in healthy]) == record["specificity"]
    assert np.mean([one.mask.any() for one in healthy]) == record["false_masks"] <= FALSE_MASKS
    overlaps = [dice(answers[row["id"]].mask, module.read_mask(row, (96, 80)), empty="one") for row in tumours]
    assert np.mean(overlaps) == pytest.approx(record["dice"]) and record["dice"] > 0.3


class TestLook:
    def test_a_scan_without_mask_has_its_label_and_nothing_marked(self, draft: Bundle, heads: pl.DataFrame) -> None:
        row = {**heads.filter(pl.col("label") == 0).row(0, named=True), "mask_path": None, "group": None}
        found = look(draft, row)
        assert found.truth.shape == found.probability.shape == (96, 80) and not found.truth.any()
        assert (found.label, found.group, found.probability.dtype) == (0, row["id"], np.float32)
        assert look(draft, {**row, "label": 1}).truth is None

    def test_the_mask_says_more_than_the_label(self, draft: Bundle, heads: pl.DataFrame) -> None:
        row = {**heads.filter(pl.col("label") == 1).row(0, named=True), "label": 0, "group": "g"}
        found = look(draft, row)
        assert found.label == 1 and found.group == "g"
        assert np.array_equal(found.truth, cv2.imread(row["mask_path"], cv2.IMREAD_GRAYSCALE) > 127)

    def test_nothing_is_seen_outside_the_head(self, draft: Bundle, heads: pl.DataFrame) -> None:
        everywhere = Outputs(np.ones((1, 64, 64), np.float32), np.zeros(1, np.float32))
        suspicious = SimpleNamespace(metadata=draft.metadata, run=lambda batch: everywhere)
        row = heads.row(0, named=True)
        head = draft.metadata.preparation.prepare(io.read(row["path"]).pixels).head
        found = look(suspicious, row)
        assert found.head_area == head.sum() < 96 * 80
        assert np.array_equal(found.probability, head)

    def test_a_volume_is_passed_over(self, draft: Bundle, tmp_path: Path) -> None:
        path = tmp_path / "v.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((9, 8, 7), np.float32), np.eye(4)), path)
        row = {"id": "v", "path": str(path), "label": 1}
        assert look(draft, row) is None
        with pytest.raises(DataError, match="needs scans with and without tumour"):
            calibrate(draft, pl.DataFrame([row]))
