"""A bundle is read, checked, run and written."""

import json
import threading

import numpy as np
import onnx
import pytest

from tumorscope.errors import BundleError, MissingExtra, OutputError
from tumorscope.inference.bundle import METADATA_KEY, Bundle, Calibration, Thresholds


def rewritten(path, out, change):
    """A copy of a bundle whose metadata went through ``change`` (a function on the dictionary), None to drop it."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if change is None:
        entries.pop(METADATA_KEY)
    else:
        values = json.loads(entries[METADATA_KEY])
        result = change(values)
        entries[METADATA_KEY] = result if isinstance(result, str) else json.dumps(values)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries)
    onnx.save(model, out)
    return out


class TestReading:
    def test_metadata_come_back_as_they_were_written(self, tiny, tiny_bundle):
        bundle = Bundle.load(tiny_bundle)
        assert bundle.metadata == tiny.metadata()
        assert bundle.metadata.preparation.size == tiny.size

    def test_names_with_blanks_and_accents(self, tiny_bundle, tmp_path):
        path = tmp_path / "modèle ü 脳.onnx"
        path.write_bytes(tiny_bundle.read_bytes())
        assert Bundle.load(path).metadata.name == "tiny"

    @pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"# a model\n", b"\x89PNG\r\n\x1a\n" + bytes(30)])
    def test_a_file_that_is_no_model(self, content, tmp_path):
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(BundleError, match=r"model\.onnx: is not a tumorscope bundle .*; use a file made by"):
            Bundle.load(path)

    def test_a_model_cut_short(self, tiny_bundle, tmp_path):
        path = tmp_path / "model.onnx"
        path.write_bytes(tiny_bundle.read_bytes()[:-200])
        with pytest.raises(BundleError, match="is not a tumorscope bundle"):
            Bundle.load(path)

    def test_a_model_without_our_metadata(self, tiny_bundle, tmp_path):
        path = rewritten(tiny_bundle, tmp_path / "m.onnx", None)
        with pytest.raises(BundleError, match="is not a tumorscope bundle"):
            Bundle.load(path)

    def test_metadata_that_are_no_json(self, tiny_bundle, tmp_path):
        path = rewritten(tiny_bundle, tmp_path / "m.onnx", lambda values: "{broken")
        with pytest.raises(BundleError, match="is not a tumorscope bundle"):
            Bundle.load(path)

    def test_a_newer_schema_tells_to_upgrade(self, tiny_bundle, tmp_path):
        path = rewritten(tiny_bundle, tmp_path / "m.onnx", lambda values: values.update(schema_version=2, novelty=[1]))
        with pytest.raises(BundleError, match=r"schema version 2, .* up to 1; upgrade with: pip install --upgrade"):
            Bundle.load(path)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda values: values.pop("thresholds"), "thresholds"),
            (lambda values: values["calibration"].update(temperature=2.0), "calibration.temperature"),
            (lambda values: values["thresholds"].update(no_tumor=0.9), "no_tumor"),
            (lambda values: values["preparation"].update(sharpen=True), "sharpen"),
        ],
        ids=["missing", "unknown", "contradiction", "preparation"],
    )
    def test_damaged_metadata_name_the_field(self, change, named, tiny_bundle, tmp_path):
        path = rewritten(tiny_bundle, tmp_path / "m.onnx", change)
        with pytest.raises(BundleError, match=rf"m\.onnx: damaged metadata \(.*{named}.*export") as caught:
            Bundle.load(path)
        assert "\n" not in str(caught.value)

    def test_a_graph_of_another_size(self, tiny_bundle, tmp_path):
        path = rewritten(tiny_bundle, tmp_path / "m.onnx", lambda values: values["preparation"].update(size=96))
        with pytest.raises(BundleError, match=r"its preparation makes \(1, 96, 96\)"):
            Bundle.load(path)

    @pytest.mark.parametrize("name", ["missing.onnx", "."])
    def test_no_file(self, name, tmp_path):
        with pytest.raises(BundleError, match=r"does not exist|is a folder"):
            Bundle.load(tmp_path / name)


class TestRunning:
    def test_shapes_and_ranges(self, tiny, tiny_bundle):
        batch = np.random.default_rng(0).random((3, tiny.size, tiny.size), np.float32)
        outputs = Bundle.load(tiny_bundle).run(batch)
        assert outputs.mask.shape == (3, tiny.size, tiny.size)
        assert outputs.score.shape == (3,)
        assert outputs.mask.min() >= 0
        assert outputs.mask.max() <= 1

    def test_a_batch_gives_what_single_runs_give(self, tiny, tiny_bundle):
        bundle = Bundle.load(tiny_bundle)
        batch = np.random.default_rng(1).random((4, tiny.size, tiny.size), np.float32)
        together = bundle.run(batch)
        for index, image in enumerate(batch):
            alone = bundle.run(image[None])
            np.testing.assert_allclose(alone.mask[0], together.mask[index], atol=1e-6)
            np.testing.assert_allclose(alone.score[0], together.score[index], atol=1e-5)

    def test_flip_makes_the_answer_symmetric(self, tiny, tiny_bundle):
        bundle = Bundle.load(tiny_bundle)
        image = np.random.default_rng(2).random((1, tiny.size, tiny.size), np.float32)
        there = bundle.run(image, flip=True)
        back = bundle.run(image[..., ::-1], flip=True)
        np.testing.assert_allclose(there.mask, back.mask[..., ::-1], atol=1e-6)

    def test_flip_changes_nothing_for_a_network_that_does_not_mind(self, tiny, tiny_bundle):
        bundle = Bundle.load(tiny_bundle)
        image = np.random.default_rng(2).random((1, tiny.size, tiny.size), np.float32)
        np.testing.assert_allclose(bundle.run(image, flip=True).mask, bundle.run(image, flip=False).mask, atol=1e-6)

    def test_threads_share_a_session(self, tiny, tiny_bundle):
        bundle = Bundle.load(tiny_bundle, threads=1)
        batch = np.random.default_rng(3).random((2, tiny.size, tiny.size), np.float32)
        expected = bundle.run(batch).mask
        found = []
        workers = [threading.Thread(target=lambda: found.append(bundle.run(batch).mask)) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 8
        assert all(np.array_equal(mask, expected) for mask in found)


class TestCalibration:
    def test_golden_rows(self):
        # the 4 highest of 0.1 ... 0.9 are 0.6 ... 0.9, mean 0.75: logit ln 3; z = 2 ln 3 - 0.5 * 2 + 0.1
        mask = np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(1, 3, 3)
        calibration = Calibration(top_pixels=4, evidence_weight=2.0, head_weight=-0.5, bias=0.1)
        z = 2 * np.log(3) - 1.0 + 0.1
        np.testing.assert_allclose(calibration.evidence(mask), [np.log(3)], rtol=1e-5)
        np.testing.assert_allclose(calibration.probability(mask, np.array([2.0])), [1 / (1 + np.exp(-z))], rtol=1e-5)

    def test_certain_maps_stay_finite(self):
        certain = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)
        evidence = Calibration(top_pixels=1000).evidence(certain)
        np.testing.assert_allclose(evidence, [np.log(1e-4 / (1 - 1e-4)), np.log((1 - 1e-4) / 1e-4)], rtol=1e-6)

    def test_extreme_logits_do_not_overflow(self):
        calibration = Calibration(head_weight=1e6)
        found = calibration.probability(np.full((2, 4, 4), 0.5, np.float32), np.array([-1e4, 1e4]))
        np.testing.assert_array_equal(found, [0.0, 1.0])

    def test_thresholds_in_order(self):
        with pytest.raises(ValueError, match="no_tumor lies above tumor"):
            Thresholds(tumor=0.3, no_tumor=0.5)


class TestWriting:
    def test_other_metadata_of_the_model_stay(self, tiny, tmp_path):
        model = tiny.model()
        onnx.helper.set_model_props(model, {"origin": "a test", METADATA_KEY: "old"})
        path = Bundle.write(model, tiny.metadata(), tmp_path / "b.onnx")
        kept = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert kept["origin"] == "a test"
        assert json.loads(kept[METADATA_KEY])["name"] == "tiny"

    def test_from_a_file(self, tiny, tmp_path):
        onnx.save(tiny.model(), tmp_path / "plain.onnx")
        path = Bundle.write(tmp_path / "plain.onnx", tiny.metadata(), tmp_path / "b.onnx")
        assert Bundle.load(path).metadata == tiny.metadata()

    def test_a_place_that_cannot_be_written(self, tiny, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OutputError):
            Bundle.write(tiny.model(), tiny.metadata(), tmp_path / "file" / "b.onnx")

    def test_without_onnx(self, tiny, tmp_path, monkeypatch):
        model = tiny.model()
        monkeypatch.setitem(__import__("sys").modules, "onnx", None)
        with pytest.raises(MissingExtra, match=r"writing a bundle needs onnx.*tumorscope\[train\]"):
            Bundle.write(model, tiny.metadata(), tmp_path / "b.onnx")
