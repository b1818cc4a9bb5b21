"""``tumorscope models`` and ``tumorscope doctor``."""

import json

import pytest

from tumorscope.cli import doctor


class TestModels:
    def test_facts_of_a_bundle(self, call, tiny_bundle):
        answer = call("models", tiny_bundle, "--json")
        (fact,) = answer.json["models"]
        assert answer.code == 0
        assert fact["name"] == "tiny"
        assert fact["schema_version"] == 1
        assert fact["thresholds"]["tumor"] == 0.6
        assert fact["training"]["scan_hashes"] == 0
        assert fact["bytes"] == tiny_bundle.stat().st_size

    def test_as_text(self, call, tiny_bundle):
        answer = call("models", tiny_bundle)
        assert "thresholds.tumor" in answer.out
        assert "Apache-2.0" in answer.out

    def test_a_file_that_is_none(self, call, tmp_path):
        (tmp_path / "x.onnx").write_bytes(b"no")
        answer = call("models", tmp_path / "x.onnx")
        assert answer.code == 2
        assert len(answer.lines) == 1


class TestDoctor:
    def test_all_well(self, call, monkeypatch):
        monkeypatch.setattr(doctor, "_model", lambda: {"name": "scout"})
        answer = call("doctor", "--json")
        facts = answer.json
        assert answer.code == 0
        assert facts["problems"] == []
        assert all(facts["codecs"].values())
        assert "CPUExecutionProvider" in facts["providers"]
        assert call("doctor").out.rstrip().endswith("all well")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (("_version", lambda name: None), "package numpy is missing"),
            (("_codecs", lambda: {"DICOM JPEG": False}), "no decoder for DICOM JPEG"),
            (("_temporary", lambda: (_ for _ in ()).throw(OSError("read-only"))), "temporary: OSError: read-only"),
        ],
    )
    def test_a_problem_is_named_and_1(self, change, told, call, monkeypatch):
        monkeypatch.setattr(doctor, *change)
        answer = call("doctor", "--json")
        assert answer.code == 1
        assert told in answer.json["problems"]
        assert f"PROBLEM: {told}" in call("doctor").out

    def test_missing_extras_come_with_the_command(self, monkeypatch):
        monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1")
        said = doctor._extras()
        assert "torch" in said["train"]
        assert "pip install 'tumorscope[train]'" in said["train"]
        assert said["serve"] == "installed"
        assert json.dumps(said)
