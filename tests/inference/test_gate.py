from __future__ import annotations

import json
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import phantom
from tumorscope.errors import BundleError, ScanError
from tumorscope.inference.gate import Gate, default, feature_names, features, judge
from tumorscope.scan import Scan

PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg", "page.png",
    "text.png", "clock_motion.png", "color.png", "horse.png", "chessboard_GRAY.png",
)  # fmt: skip
PICTURES = Path(skimage.data.__file__).parent


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None, path
    return picture.astype(np.float32)


def page(size: float, dark: bool) -> np.ndarray:
    canvas = np.full((300, 220), 255, np.uint8)
    for line in range(12):
        text = "the quick brown fox jumps over it"
        cv2.putText(canvas, text, (8, 22 + 24 * line), cv2.FONT_HERSHEY_SIMPLEX, size, (10,), 1, cv2.LINE_AA)
    return (255.0 - canvas if dark else canvas.astype(np.float32)).astype(np.float32)


def disc(value: float = 200.0) -> np.ndarray:
    return np.where(np.hypot(*np.mgrid[-100:100, -100:100]) < 70, np.float32(value), np.float32(0))


class TestRules:
    @pytest.mark.parametrize("value", [0, 7, 255, -3.5, 65535])
    def test_a_constant_image_is_blank(self, value: float) -> None:
        result = judge(np.full((40, 50), value, np.float32))
        assert (result.passed, result.score, result.reason) == (False, 0.0, "blank: all pixels have one value")

    @pytest.mark.parametrize("shape", [(2, 1), (1, 40), (20, 400), (23, 23)])
    def test_a_tiny_image_is_too_small(self, shape: tuple[int, int]) -> None:
        image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
        result = judge(image)
        assert not result.passed
        assert result.reason.startswith(f"too small: {shape[0]}x{shape[1]} pixels")

    def test_a_file_that_names_another_modality_is_believed(self) -> None:
        image = phantom.make(1, "axial", "t1").image.astype(np.float32)
        assert judge(image, modality="MR").passed
        result = judge(image, modality="CT")
        assert not result.passed
        assert result.reason == "the file says that it is computed tomography (CT), not MR"

    def test_a_volume_is_no_slice(self) -> None:
        with pytest.raises(ScanError, match="the gate judges single slices"):
            default().judge(Scan.of(np.zeros((3, 40, 40), np.float32)))

    def test_values_that_are_not_finite_are_an_error(self) -> None:
        with pytest.raises(ScanError, match="NaN"):
            judge(np.full((40, 40), np.nan, np.float32))


class TestJudgement:
    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    @pytest.mark.parametrize("contrast", ["t1", "t1ce", "t2", "flair", "pd"])
    def test_phantoms_pass(self, plane: str, contrast: str) -> None:
        for seed, lesion in ((1001, None), (1002, "glioma"), (1003, "meningioma")):
            result = judge(phantom.make(seed, plane, contrast, size=192, lesion=lesion).image.astype(np.float32))
            assert result.passed, (seed, result)
            assert 0.5 <= result.score <= 1

    @pytest.mark.parametrize("name", PHOTOGRAPHS)
    def test_pictures_of_other_things_are_refused(self, name: str) -> None:
        result = judge(read(PICTURES / name))
        assert not result.passed, result
        assert result.reason.startswith("does not look like a brain MRI slice, mostly because of ")

    def test_a_colour_photograph_is_refused(self) -> None:
        picture = cv2.imread(str(PICTURES / "astronaut.png"))
        assert not judge(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)).passed

    @pytest.mark.parametrize("size", [0.35, 0.6])
    @pytest.mark.parametrize("dark", [False, True])
    def test_text_is_refused(self, size: float, dark: bool) -> None:
        assert not judge(page(size, dark)).passed

    @pytest.mark.parametrize("seed", range(5))
    def test_noise_is_refused(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for noise in (rng.random((128, 128)), rng.normal(size=(64, 200)), rng.random((90, 90)) > 0.5):
            assert not judge(noise.astype(np.float32)).passed

    def test_drawings_are_refused(self) -> None:
        ring = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 80, 255, 6).astype(np.float32)
        ramp = np.tile(np.arange(200, dtype=np.float32), (200, 1))
        board = (np.indices((200, 200)) // 25).sum(axis=0) % 2 * np.float32(255)
        for drawing in (disc(), ring, ramp, board):
            assert not judge(drawing).passed

    def test_brightness_and_bit_depth_do_not_matter(self) -> None:
        image = phantom.make(5, "axial", "flair").image.astype(np.float32)
        scores = [judge(scaled).score for scaled in (image, 17 * image, image / 1000 - 3, image * 257)]
        assert np.ptp(scores) < 0.02

    def test_turning_and_mirroring_do_not_matter(self) -> None:
        image = phantom.make(6, "axial", "t1ce", lesion="glioma").image.astype(np.float32)
        for turn in range(4):
            for view in (np.rot90(image, turn), np.rot90(image, turn)[:, ::-1]):
                assert judge(np.ascontiguousarray(view)).passed

    def test_one_brain_among_blank_channels_passes(self) -> None:
        image = phantom.make(8, "axial", "flair").image.astype(np.float32)
        result = judge(np.stack([np.zeros_like(image), image, np.zeros_like(image)]))
        assert result.passed and result.score == pytest.approx(judge(image).score, abs=1e-6)

    def test_known_cleaning_and_crop_give_the_same_answer(self) -> None:
        from tumorscope.imaging.background import clean_background
        from tumorscope.imaging.crop import crop_head

        image = phantom.make(9, "coronal", "t1").image.astype(np.float32)
        clean = clean_background(image).image
        known, found = default().judge(image, clean=clean, crop=crop_head(clean)), judge(image)
        assert known.passed == found.passed and known.score == pytest.approx(found.score, abs=1e-6)


class TestFeatures:
    @settings(max_examples=40)
    @given(
        st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31), st.sampled_from([1e-6, 1.0, 1e6]), st.booleans()
    )
    def test_finite_for_every_size(self, height: int, width: int, seed: int, scale: float, full: bool) -> None:
        rng = np.random.default_rng(seed)
        image = (scale * rng.standard_normal((height, width))).astype(np.float32)
        head = np.ones(image.shape, bool) if full else rng.random(image.shape) < 0.3
        values = features(image, head)
        assert values.shape == (len(feature_names()),)
        assert np.isfinite(values).all()

    def test_constant_image_and_empty_head(self) -> None:
        assert np.isfinite(features(np.zeros((30, 20), np.float32), np.zeros((30, 20), bool))).all()

    def test_names_are_unique(self) -> None:
        assert len(set(feature_names())) == len(feature_names())


class TestStorage:
    def test_round_trip_through_json(self) -> None:
        gate = default()
        again = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
        values = np.random.default_rng(0).standard_normal((50, len(gate.names)))
        assert np.array_equal(again.scores(values), gate.scores(values))
        assert again.to_dict() == gate.to_dict()

    @pytest.mark.parametrize("part", ["names", "centre", "trees", "landmarks", "weights", "width", "mix"])
    def test_a_missing_part_is_named(self, part: str) -> None:
        data = default().to_dict()
        del data[part]
        with pytest.raises(BundleError, match=part):
            Gate.from_dict(data)

    def test_another_schema_and_other_features_are_refused(self) -> None:
        data = default().to_dict()
        with pytest.raises(BundleError, match="schema 99"):
            Gate.from_dict(data | {"schema_version": 99})
        with pytest.raises(BundleError, match="other features"):
            Gate.from_dict(data | {"names": [*data["names"][:-1], "detail.unknown"]})

    def test_far_from_everything_the_kernel_says_nothing(self) -> None:
        gate = default()
        far = np.full((1, len(gate.names)), 20.0) * np.where(np.arange(len(gate.names)) % 2, 1, -1)
        assert abs(gate.kernel(far)[0]) < 0.05


class TestRealSlices:
    @pytest.mark.parametrize(
        ("folder", "step"),
        [("navoneel/yes", 2), ("navoneel/no", 2), ("cheng/images", 25), ("healthy", 10), ("tumor_unmasked", 10)],
    )
    def test_at_most_one_in_a_hundred_is_refused(self, shared_data: Path, folder: str, step: int) -> None:
        files = sorted((shared_data / folder).glob("*.[jJ]*[gG]"))[::step]
        refused = [path.name for path in files if not judge(read(path)).passed]
        assert len(refused) <= max(1, len(files) // 100), refused

    def test_lgg_in_every_channel(self, shared_data: Path) -> None:
        files = [path for path in sorted((shared_data / "lgg").glob("*/*_1[0-9].png"))][::2]
        assert files
        for channel in range(3):
            planes = [(path.name, cv2.imread(str(path))[..., channel].astype(np.float32)) for path in files]
            refused = [name for name, plane in planes if np.ptp(plane) > 0 and not judge(plane).passed]
            assert len(refused) <= max(1, len(planes) // 100), refused

    def test_volumes_and_dicom(self, shared_data: Path) -> None:
        volume = np.asarray(nibabel.load(shared_data / "progression/01/Pre_Scan_T1.nii.gz").dataobj, np.float32)
        planes = [volume[..., z] for z in range(0, 20, 3)]
        planes += [
            pydicom.dcmread(path).pixel_array.astype(np.float32)
            for path in sorted((shared_data / "remind_dicom/t1_post").glob("*.dcm"))[::10]
        ]
        assert all(judge(plane).passed for plane in planes)
