"""``tumorscope weights``: what is listed, fetched, verified, and with which exit code; no network anywhere."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tumorscope.registry import ENTRIES

RESNET = "timm/resnet18.a1_in1k"
CONVNEXT = "timm/convnext_atto.d2_in1k"


def _neighbour() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tumorscope_hub", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hub = _neighbour().hub


@pytest.fixture
def folder(tmp_path: Path, hub: Any) -> Path:
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


class TestList:
    def test_every_network_with_licence_origin_and_place(self, call: Any, folder: Path) -> None:
        (folder / "resnet18.safetensors").write_bytes(b"1")
        answer = call("weights", "list", "--offline", folder)
        assert answer.code == 0 and answer.err == ""
        lines = answer.out.splitlines()
        assert len(lines) == 1 + len(ENTRIES)
        for one, line in zip(ENTRIES, lines[1:], strict=True):
            assert line.startswith(one.name) and one.task in line and one.licence in line and one.hub_id in line
            assert line.endswith(str(folder / "resnet18.safetensors") if one.name == "resnet18" else "not here")
        assert [line for line in lines if "non-commercial" in line] == [line for line in lines if "nvidia/" in line]

    def test_as_json(self, call: Any, hub: Any) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        call("weights", "fetch", "resnet18")
        rows = call("weights", "list", "--json").json["weights"]
        assert [row["name"] for row in rows] == [one.name for one in ENTRIES]
        here = [row["name"] for row in rows if row["path"]]
        assert here == ["resnet18"] and [row["name"] for row in rows if not row["commercial"]] == ["mit-b0"]


class TestFetch:
    def test_into_a_folder(self, call: Any, hub: Any, folder: Path) -> None:
        hub.repositories |= {RESNET: {"model.safetensors": b"1"}, CONVNEXT: {"model.safetensors": b"2"}}
        answer = call("weights", "fetch", "resnet18", "convnext_atto", "resnet18", "--offline", folder, "--json")
        digests = [hashlib.sha256(content).hexdigest() for content in (b"1", b"2")]
        assert answer.code == 0
        assert [(row["name"], row["sha256"]) for row in answer.json["fetched"]] == [
            ("resnet18", digests[0]), ("convnext_atto", digests[1]),
        ]  # fmt: skip
        assert (folder / "SHA256SUMS").read_text().count("\n") == 2
        assert call("weights", "verify", "--offline", folder).code == 0

    def test_the_environment_names_the_folder(
        self, call: Any, hub: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        monkeypatch.setenv("TUMORSCOPE_WEIGHTS", str(folder))
        answer = call("weights", "fetch", "resnet18")
        assert answer.code == 0 and answer.out.startswith(f"resnet18  {hashlib.sha256(b'1').hexdigest()}  {folder}")

    def test_without_network_one_line_and_2(self, call: Any, folder: Path) -> None:
        answer = call("weights", "fetch", "resnet18", "--offline", folder)
        assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1)
        assert "tumorscope: resnet18: not on this machine" in answer.err and "--offline DIR" in answer.err

    def test_some_and_3(self, call: Any, hub: Any, folder: Path) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        answer = call("weights", "fetch", "resnet18", "vgg16", "resnet19", "--offline", folder, "--json")
        assert answer.code == 3 and len(answer.lines) == 2
        assert list(answer.json["failed"]) == ["vgg16", "resnet19"]


class TestVerify:
    def test_a_changed_file(self, call: Any, hub: Any, folder: Path) -> None:
        hub.repositories |= {RESNET: {"model.safetensors": b"1"}, CONVNEXT: {"model.safetensors": b"2"}}
        call("weights", "fetch", "resnet18", "convnext_atto", "--offline", folder)
        (folder / "timm--resnet18.a1_in1k" / "model.safetensors").write_bytes(b"3")
        answer = call("weights", "verify", "--offline", folder)
        assert answer.code == 3 and answer.out.startswith("convnext_atto  as recorded") and len(answer.lines) == 1
        alone = call("weights", "verify", "resnet18", "--offline", folder, "--json")
        assert alone.code == 2 and alone.json["verified"] == [] and "recorded is" in alone.json["problems"][0]

    def test_a_hash_that_nobody_recorded_is_not_well(self, call: Any, folder: Path) -> None:
        (folder / "resnet18.safetensors").write_bytes(b"1")
        answer = call("weights", "verify", "--offline", folder)
        assert answer.code == 2 and "no sha256 is recorded" in answer.err

    def test_nothing_here(self, call: Any, hub: Any) -> None:
        answer = call("weights", "verify")
        assert answer.code == 2 and answer.lines == [
            "tumorscope: weights: none are on this machine; run: tumorscope weights fetch NAME"
        ]


def test_an_unknown_action(call: Any) -> None:
    answer = call("weights", "lst")
    assert answer.code == 2 and "did you mean 'list'? known: list, fetch, verify" in answer.err
    assert call("weights", "fetch").code == 2


@pytest.mark.parametrize("action", ["list", "fetch", "verify"])
def test_help_of_each_action(action: str, call: Any) -> None:
    answer = call("weights", action, "--help")
    assert answer.code == 0 and f"tumorscope weights {action}" in answer.out


def test_models_lists_them_too(call: Any, tiny_bundle: Path) -> None:
    plain, all_ = call("models", tiny_bundle), call("models", tiny_bundle, "--all")
    assert all_.out.startswith(plain.out) and "nvidia" not in plain.out.lower()
    added = all_.out[len(plain.out) :].strip().splitlines()
    assert [line.split()[0] for line in added] == [one.name for one in ENTRIES]
    found = call("models", tiny_bundle, "--all", "--json").json
    assert found["models"][0]["name"] == "tiny" and len(found["pretrained"]) == len(ENTRIES)
    assert "pretrained" not in call("models", tiny_bundle, "--json").json
