"""One scan through a bundle: the gate first, then probability, decision, mask, measurements."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorscope.errors import BundleError, ScanError
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.gate import GateResult
from tumorscope.inference.postprocess import concentration
from tumorscope.inference.predictor import (
    SEEN_IN_TRAINING,
    Predictor,
    Stopped,
    entropy,
    file_hash,
    smooth_slices,
)
from tumorscope.scan import Grid, Scan, Source


class Porter:
    """A gate that lets through what ``rule`` says."""

    def __init__(self, rule=lambda image: True):
        self.rule = rule
        self.seen = 0

    def judge(self, image, modality=None):
        self.seen += 1
        passed = bool(self.rule(image))
        return GateResult(passed=passed, score=1.0 if passed else 0.0, reason="a head" if passed else "no head")


class Dimmed:
    """A bundle whose pixel probabilities are a share of what they were, with other metadata."""

    def __init__(self, bundle, share, **changes):
        values = {**bundle.metadata.model_dump(), **changes}
        self.metadata, self._bundle, self._share = type(bundle.metadata).model_validate(values), bundle, share
        self.path = bundle.path

    def run(self, batch):
        outputs = self._bundle.run(batch)
        return outputs._replace(mask=outputs.mask * np.float32(self._share))


@pytest.fixture(scope="session")
def bundle(tiny_bundle):
    return Bundle.load(tiny_bundle, threads=1)


@pytest.fixture
def predictor(bundle):
    return Predictor(bundle, gate=Porter())


def channels(*planes):
    pixels = np.stack(planes).astype(np.float32)
    return Scan(pixels, "CYX", Grid(planes[0].shape, (0, 1), (False, False)), Source(path_of("c.png"), "png"))


def path_of(name):
    from pathlib import Path

    return Path(name)


class TestSlice:
    def test_a_bright_blob_is_a_tumour_where_it_lies(self, tiny, predictor):
        image = tiny.head(blob=(40, 30, 9))
        found = predictor.predict(Scan.of(image, spacing=(0.5, 0.5)))
        assert found.decision == "tumor"
        assert found.probability > 0.9
        truth = image > 200
        assert found.mask.shape == image.shape
        assert 2 * (found.mask & truth).sum() / (found.mask.sum() + truth.sum()) > 0.8
        assert found.measurements.lesions == 1
        assert found.measurements.area_mm2 == found.measurements.area_px / 4
        assert found.measurements.volume_mm3 is None
        assert found.slices is None

    def test_a_plain_head_has_none_and_its_mask_is_empty(self, tiny, predictor):
        found = predictor.predict(Scan.of(tiny.head()))
        assert found.decision == "no_tumor"
        assert not found.mask.any()
        assert found.measurements.lesions == 0
        assert found.measurements.area_mm2 is None

    @pytest.mark.parametrize(
        ("probability", "word"), [(0.6, "tumor"), (0.59, "uncertain"), (0.4, "uncertain"), (0.39, "no_tumor")]
    )
    def test_thresholds(self, probability, word, predictor):
        assert predictor.decide(probability) == word

    def test_a_network_half_as_sure_everywhere_outlines_the_same(self, tiny, bundle):
        limits = {"tumor": 0.9, "no_tumor": 0.0, "mask": 0.5, "mask_seed": 0.7}
        sure, unsure = (Dimmed(bundle, share, thresholds=limits) for share in (1.0, 0.5))
        image = Scan.of(tiny.head(blob=(40, 30, 9)))
        first, second = (Predictor(one, gate=Porter()).predict(image) for one in (sure, unsure))
        assert second.probability < first.probability
        assert first.mask.any()
        assert np.array_equal(first.mask, second.mask)
        volume = Scan.of(np.stack([tiny.head(blob=(40, 30, 9), seed=k) for k in range(4)]))
        first, second = (Predictor(one, gate=Porter()).predict(volume) for one in (sure, unsure))
        assert first.mask.any()
        assert np.array_equal(first.mask, second.mask)

    def test_below_the_outline_threshold_no_mask_is_drawn(self, tiny, bundle):
        limits = {"tumor": 0.6, "no_tumor": 0.4, "outline": 1.0}
        found = Predictor(Dimmed(bundle, 1.0, thresholds=limits), gate=Porter()).predict(
            Scan.of(tiny.head(blob=(40, 30, 9)))
        )
        assert found.decision == "tumor"
        assert not found.mask.any()
        assert any("no region is sure enough" in note for note in found.notes)

    def test_evidence_all_over_the_head_is_not_drawn_where_focus_is_asked_for(self, tiny, bundle):
        limits = {"tumor": 0.6, "no_tumor": 0.4, "mask": 0.5, "mask_seed": 0.7, "outline": 0.5}
        image = Scan.of(tiny.head(blob=(40, 30, 9)))
        plain = Predictor(Dimmed(bundle, 1.0, thresholds=limits), gate=Porter()).predict(image)
        strict = Predictor(Dimmed(bundle, 1.0, thresholds={**limits, "focus": 1000.0}), gate=Porter()).predict(image)
        assert plain.mask.any() and plain.probability == strict.probability
        assert 0 < concentration(plain.probability_map, plain.mask) < 0.99
        assert not strict.mask.any()

    def test_refused_scans_get_no_answer(self, tiny, bundle):
        found = Predictor(bundle, gate=Porter(lambda image: False)).predict(Scan.of(tiny.head(blob=(40, 30, 9))))
        assert found.decision == "not_brain_mri"
        assert found.probability is None
        assert found.uncertainty is None
        assert not found.mask.any()
        assert found.measurements.lesions is None

    def test_no_tumour_means_an_empty_mask_whatever_the_pixels_say(self, tiny, tmp_path):
        strict = tiny.metadata(thresholds={"tumor": 0.9999999, "no_tumor": 0.9999998})
        bundle = Bundle.load(Bundle.write(tiny.model(), strict, tmp_path / "b.onnx"))
        found = Predictor(bundle, Porter()).predict(Scan.of(tiny.head(blob=(40, 30, 9))))
        assert found.decision == "no_tumor"
        assert found.probability_map.max() > 0.9
        assert not found.mask.any()

    def test_the_same_scan_gives_the_same_answer_for_any_linear_intensity(self, tiny, predictor):
        image = tiny.head(blob=(40, 30, 9)).astype(np.float32)
        one = predictor.predict(Scan.of(image))
        two = predictor.predict(Scan.of(image * 37 - 1200))
        assert two.probability == pytest.approx(one.probability, abs=1e-3)
        assert (one.mask ^ two.mask).sum() <= 2

    @pytest.mark.parametrize(
        ("image", "finding"),
        [
            (np.zeros((1, 1)), "1x1 pixels, too small"),
            (np.zeros((200, 1)), "1x200 pixels, too small"),
            (np.zeros((64, 64)), "every pixel is 0, there is nothing to see"),
            (np.full((64, 64), 255), "every pixel is 255"),
            (np.full((64, 64), np.nan), "hold NaN or infinity"),
            (np.where(np.eye(64) > 0, np.inf, 0), "hold NaN or infinity"),
        ],
    )
    def test_nothing_to_see_is_an_error(self, image, finding, predictor):
        with pytest.raises(ScanError, match=finding):
            predictor.predict(Scan.of(image, name="x.png"))

    def test_uncertainty_is_the_entropy(self):
        assert entropy(0.0) == 0
        assert entropy(0.25) == pytest.approx(0.811278, abs=1e-6)
        assert entropy(0.25) == pytest.approx(entropy(0.75))


class TestChannels:
    def test_several_sequences_need_a_choice(self, tiny, predictor):
        with pytest.raises(ScanError, match=r"holds 2 channels .*--channel 0 to 1"):
            predictor.predict(channels(tiny.head(), tiny.head(blob=(40, 30, 9))))

    def test_the_chosen_one_counts(self, tiny, bundle):
        scan = channels(tiny.head(), tiny.head(blob=(40, 30, 9)))
        words = [Predictor(bundle, Porter(), channel=index).predict(scan).decision for index in (0, 1)]
        assert words == ["no_tumor", "tumor"]

    def test_a_photograph_is_refused_before_anyone_asks_for_a_channel(self, bundle):
        colours = np.random.default_rng(0).random((3, 64, 64))
        found = Predictor(bundle, Porter(lambda image: False)).predict(channels(*colours))
        assert found.decision == "not_brain_mri"
        assert found.mask.shape == (64, 64)


class TestVolume:
    def volume(self, tiny, where=range(4, 8), depth=12):
        plain = [tiny.head(seed=z) for z in range(depth)]
        for z in where:
            plain[z] = tiny.head(blob=(40, 30, 9), seed=z)
        plain[0] = plain[-1] = np.zeros_like(plain[0])
        return Scan.of(np.stack(plain), spacing=(5.0, 1.0, 1.0))

    def test_decision_mask_and_volume(self, tiny, predictor):
        found = predictor.predict(self.volume(tiny))
        assert found.decision == "tumor"
        assert sorted(np.flatnonzero(found.mask.any(axis=(1, 2)))) == [4, 5, 6, 7]
        assert found.measurements.lesions == 1
        assert found.measurements.volume_mm3 == found.mask.sum() * 5
        assert found.slices[0] is None
        assert found.slices[5] > 0.9
        assert "2 of 12 slices are blank" in " ".join(found.notes)

    def test_slices_that_alone_have_no_tumour_add_nothing(self, tiny, tmp_path):
        metadata = tiny.metadata(calibration={"top_pixels": 150})
        predictor = Predictor(Bundle.load(Bundle.write(tiny.model(), metadata, tmp_path / "b.onnx")), Porter())
        plain = [tiny.head(seed=z) for z in range(14)]
        for z in (3, 4, 5):
            plain[z] = tiny.head(blob=(40, 30, 12), seed=z)
        for z in (9, 10):
            plain[z] = tiny.head(blob=(40, 30, 5), seed=z)
        found = predictor.predict(Scan.of(np.stack(plain)))
        assert found.probability_map[9].max() > 0.9
        assert found.slices[9] < 0.4
        assert sorted(np.flatnonzero(found.mask.any(axis=(1, 2)))) == [3, 4, 5]

    def test_nothing_found(self, tiny, predictor):
        found = predictor.predict(self.volume(tiny, where=()))
        assert found.decision == "no_tumor"
        assert found.measurements.volume_mm3 == 0

    def test_slices_agree_with_the_same_slices_alone(self, tiny, predictor):
        scan = self.volume(tiny)
        found = predictor.predict(scan)
        for z in (2, 5):
            alone = predictor.predict(Scan.of(scan.pixels[z]))
            assert found.slices[z] == pytest.approx(alone.probability, abs=1e-5)

    def test_the_majority_of_the_central_slices_decides(self, tiny, bundle):
        scan = self.volume(tiny)
        for share, passes in ((0.3, False), (0.8, True)):
            judged = iter(np.arange(7) < 7 * share)
            gate = Porter(lambda image, judged=judged: next(judged))
            assert Predictor(bundle, gate).predict(scan).gate.passed is passes
            assert gate.seen <= 7

    def test_all_blank(self, predictor):
        with pytest.raises(ScanError, match="every pixel is 0"):
            predictor.predict(Scan.of(np.zeros((4, 32, 32))))

    def test_every_slice_of_one_value(self, predictor):
        ramp = np.broadcast_to(np.arange(5)[:, None, None], (5, 40, 40))
        with pytest.raises(ScanError, match="every slice is blank"):
            predictor.predict(Scan.of(ramp))

    def test_a_few_bright_voxels_are_not_blank(self, predictor):
        sparse = np.zeros((5, 64, 64))
        sparse[2, 30:33, 30:33] = 1
        slices = predictor.predict(Scan.of(sparse)).slices
        assert [value is None for value in slices] == [True, True, False, True, True]

    def test_one_slice(self, tiny, predictor):
        found = predictor.predict(Scan.of(tiny.head(blob=(40, 30, 9))[None]))
        assert found.decision == "tumor"
        assert found.mask.shape == (1, 96, 80)

    def test_it_can_be_stopped(self, tiny, predictor):
        with pytest.raises(Stopped):
            predictor.predict(self.volume(tiny), stop=lambda: True)

    def test_smoothing_keeps_constants_and_skips_the_blank(self):
        np.testing.assert_allclose(smooth_slices(np.array([0.5, 0.5, np.nan, 0.5])), [0.5, 0.5, np.nan, 0.5])
        np.testing.assert_allclose(smooth_slices(np.array([0, 0, 1, 0, 0.0])), [0, 0.25, 0.5, 0.25, 0])


class TestGate:
    def test_the_bundle_s_own_is_used(self, tiny, bundle):
        assert Predictor(bundle).predict(Scan.of(tiny.head())).gate.score == pytest.approx(1 / (1 + np.exp(-9)))

    def test_a_damaged_one_names_the_bundle(self, tiny, tmp_path):
        path = Bundle.write(tiny.model(), tiny.metadata(gate={"schema_version": 99}), tmp_path / "b.onnx")
        with pytest.raises(BundleError, match=r"b\.onnx: gate: schema 99"):
            Predictor(Bundle.load(path))

    def test_another_modality_in_the_header_is_refused(self, tiny, bundle):
        scan = Scan.of(tiny.head())
        scan = replace(scan, source=replace(scan.source, modality="CT"))
        assert Predictor(bundle).predict(scan).decision == "not_brain_mri"


class TestSeenInTraining:
    def test_a_training_scan_is_named(self, tiny, tiny_bundle, tmp_path):
        import cv2

        for name, seed in (("seen.png", 1), ("new.png", 2)):
            cv2.imwrite(str(tmp_path / name), tiny.head(seed=seed))
        metadata = tiny.metadata(training={"scan_hashes": [file_hash(tmp_path / "seen.png")]})
        path = Bundle.write(tiny.model(), metadata, tmp_path / "b.onnx")
        predictor = Predictor(Bundle.load(path), Porter())
        for name, seen in (("seen.png", True), ("new.png", False)):
            scan = Scan.of(tiny.head())
            scan = replace(scan, source=replace(scan.source, path=tmp_path / name))
            assert (SEEN_IN_TRAINING in predictor.predict(scan).notes) is seen

    def test_the_hash_is_the_start_of_sha256(self, tmp_path):
        (tmp_path / "abc").write_bytes(b"abc")
        assert file_hash(tmp_path / "abc") == "ba7816bf8f01cfea"
        assert json.dumps(file_hash(tmp_path / "abc"))
