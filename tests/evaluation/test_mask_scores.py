from __future__ import annotations

import math
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.boundaries import boundary_f1, hausdorff, mean_surface_distance, surface_dice
from tumorscope.evaluation.lesion_detection import match_lesions
from tumorscope.evaluation.mask_scores import SCHEMA, MaskPair, Rules, evaluate_masks, pairs_of, score_masks
from tumorscope.evaluation.pixel_auc import PixelScores, pixel_auc
from tumorscope.evaluation.segmentation import dice, iou, pixel_confusion, relative_size_error, size_error

NOTHING = np.zeros((20, 24), bool)


def blob(at: tuple[int, int] = (8, 9), radius: float = 4.5, shape: tuple[int, int] = (20, 24)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - at[0], x - at[1]) < radius


def test_a_row_holds_what_the_functions_give() -> None:
    truth, predicted = blob() | blob((17, 20), 2), blob((9, 11), 5)
    probability = np.random.default_rng(0).random(truth.shape)
    spacing = (0.5, 2.0)
    rules = Rules(tolerance=1.5, unit="mm", least_iou=0.2)
    row = score_masks(predicted, truth, probability=probability, spacing=spacing, rules=rules)
    counts, match = pixel_confusion(predicted, truth), match_lesions(predicted, truth, 0.2)
    assert row == {
        "unit": "mm",
        "tolerance": 1.5,
        "empty": "one",
        "tumor": True,
        "marked": True,
        "regions": "several",
        "true_size": truth.sum(),
        "predicted_size": predicted.sum(),
        "size_error": size_error(predicted, truth, spacing),
        "relative_size_error": relative_size_error(predicted, truth),
        "dice": dice(predicted, truth),
        "iou": iou(predicted, truth),
        "pixel_accuracy": counts.accuracy,
        "pixel_precision": counts.precision,
        "pixel_recall": counts.sensitivity,
        "boundary_f1": boundary_f1(predicted, truth, 1.5, spacing),
        "surface_dice": surface_dice(predicted, truth, 1.5, spacing),
        "hd95": hausdorff(predicted, truth, spacing),
        "mean_surface_distance": mean_surface_distance(predicted, truth, spacing),
        "lesions": 2,
        "lesions_predicted": 1,
        "lesions_found": 1,
        "lesion_dice": match.mean_dice,
        "panoptic_quality": match.panoptic_quality,
        "pixel_auc": pixel_auc(probability, truth),
    }
    assert set(row) == set(SCHEMA) - {"id", "problem"}


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (NOTHING, NOTHING, {"dice": 1, "surface_dice": 1, "hd95": None, "pixel_precision": None, "pixel_recall": None}),
        (NOTHING, blob(), {"dice": 0, "surface_dice": 0, "hd95": math.inf, "pixel_precision": None, "pixel_recall": 0}),
        (blob(), NOTHING, {"dice": 0, "surface_dice": 0, "hd95": math.inf, "pixel_precision": 0, "pixel_recall": None}),
    ],
)
def test_empty_masks(predicted, truth, expected) -> None:
    row = score_masks(predicted, truth)
    assert {name: row[name] for name in expected} == expected
    assert score_masks(predicted, truth, rules=Rules(empty="nan"))["dice"] == (
        None if expected["dice"] == 1 else expected["dice"]
    )


def test_pixels_are_the_unit_until_millimetres_are_asked_for() -> None:
    truth, predicted = blob(), blob((8, 11))
    assert score_masks(predicted, truth, spacing=5.0)["hd95"] == 2
    assert score_masks(predicted, truth, spacing=5.0, rules=Rules(unit="mm"))["hd95"] == 10
    with pytest.raises(DataError, match="spacing is not known; give it in mm"):
        score_masks(predicted, truth, rules=Rules(unit="mm"))


def test_files_give_what_arrays_give(tmp_path: Path) -> None:
    truth, predicted = blob(), blob((9, 11), 5)
    probability = np.random.default_rng(0).integers(0, 65536, truth.shape).astype(np.uint16)
    for name, image in (("t", truth * np.uint8(255)), ("p", predicted * np.uint8(1)), ("likely", probability)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    files = MaskPair("f", *(tmp_path / f"{name}.png" for name in ("p", "t", "likely")))
    table = evaluate_masks([MaskPair("a", predicted, truth, probability), files])
    assert table.drop("id").row(0) == table.drop("id").row(1)


def test_a_volume_is_measured_by_its_own_spacing(tmp_path: Path) -> None:
    truth = np.zeros((9, 10, 11), np.uint8)
    truth[3:6, 4:7, 5:8] = 1
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    nib.save(nib.Nifti1Image(truth, affine), tmp_path / "t.nii.gz")
    nib.save(nib.Nifti1Image(np.roll(truth, 1, axis=2), affine), tmp_path / "p.nii.gz")
    nib.save(nib.Nifti1Image(truth, np.diag([2.0, 3.0, 5.0, 1.0])), tmp_path / "q.nii.gz")
    pairs = [MaskPair(name, tmp_path / f"{name}.nii.gz", tmp_path / "t.nii.gz") for name in ("p", "q")]
    table = evaluate_masks(pairs, Rules(unit="mm"))
    assert table["hd95"][0] == pytest.approx(4) and table["true_size"][0] == pytest.approx(27 * 24)
    assert "affine of the true mask" in table["problem"][1]


def test_what_cannot_be_scored_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((5, 6), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    pairs = [
        MaskPair("good", blob(), blob()),
        MaskPair("size", tmp_path / "small.png", blob()),
        MaskPair("missing", tmp_path / "nowhere.png", blob()),
        MaskPair("text", blob(), tmp_path / "text.png"),
        MaskPair("values", blob() * 3, blob()),
        MaskPair("nan", np.where(blob(), np.nan, 0), blob()),
        MaskPair("none", None, blob()),
        MaskPair("axes", np.zeros(5, bool)),
        MaskPair("likely", blob(), blob(), np.full(NOTHING.shape, np.nan)),
        MaskPair("last", NOTHING, blob()),
    ]
    table = evaluate_masks(pairs)
    assert table["id"].to_list() == [pair.id for pair in pairs]
    assert table["dice"].to_list() == [1.0, *[None] * 8, 0.0]
    words = ["the true mask is 20x24, the predicted one is 5x6", "no such file", "text.png", "other than 0 and 1"]
    words += ["other than 0 and 1", "there is no predicted mask", "1 axes", "480 probabilities are NaN"]
    for word, problem in zip(words, table["problem"][1:-1], strict=True):
        assert word in problem and "\n" not in problem


def test_rules_facts_and_order_stand_in_the_table() -> None:
    pairs = [MaskPair(str(n), blob(), blob(), facts={"group": n // 2, "plane": None}) for n in range(20)]
    seen: list[int] = []
    table = evaluate_masks(iter(pairs), Rules(tolerance=3), workers=3, progress=seen.append)
    assert table["id"].to_list() == [str(n) for n in range(20)] and seen == list(range(1, 21))
    assert table["group"].to_list() == [n // 2 for n in range(20)]
    assert set(table["tolerance"]) == {3.0} and table.columns[: len(SCHEMA)] == list(SCHEMA)
    assert table.equals(evaluate_masks(pairs, Rules(tolerance=3), workers=1))


def test_pairs_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def pairs():
        for n in range(100):
            taken.append(n)
            yield MaskPair(str(n), blob(), blob())

    ahead: list[int] = []
    evaluate_masks(pairs(), workers=2, progress=lambda done: ahead.append(len(taken) - done))
    assert max(ahead) <= 8


def test_pixels_of_all_scans_are_ranked_together() -> None:
    scores = PixelScores()
    likely = [np.full(NOTHING.shape, 0.2), np.where(blob(), 0.9, 0.1)]
    evaluate_masks([MaskPair("a", NOTHING, None, likely[0]), MaskPair("b", blob(), blob(), likely[1])], pixels=scores)
    assert scores.pixels == 2 * NOTHING.size and scores.auc == 1


def test_what_would_confuse_the_table_is_refused() -> None:
    with pytest.raises(DataError, match="id 'a' comes twice"):
        evaluate_masks([MaskPair("a", blob(), blob())] * 2)
    with pytest.raises(DataError, match="fact 'dice' has the name of a figure"):
        evaluate_masks([MaskPair("a", blob(), blob(), facts={"dice": 1})])
    with pytest.raises(DataError, match="unknown unit of distances"):
        Rules(unit="cm")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="pass 0 or more"):
        Rules(tolerance=-1)
    assert evaluate_masks([]).height == 0


def test_a_manifest_gives_pairs() -> None:
    table = pl.DataFrame(
        {
            "id": ["mask", "healthy", "unknown", "unmasked"],
            "mask_path": ["m.png", None, None, None],
            "label": [1, 0, None, 1],
            "group": ["g1", "g2", "g3", "g4"],
            "mask_source": ["human", None, None, None],
        }
    )
    pairs = list(pairs_of(table, {"mask": "p.png"}))
    assert [(pair.id, pair.predicted, pair.truth) for pair in pairs] == [
        ("mask", "p.png", "m.png"),
        ("healthy", None, None),
    ]
    assert pairs[0].facts == {"label": 1, "group": "g1", "mask_source": "human"}
