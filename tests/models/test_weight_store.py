"""Where weights are found, what is recorded of them, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tumorscope import registry
from tumorscope.errors import WeightsError
from tumorscope.models.weight_store import Found, fetch, locate, present, verify

RESNET = "timm/resnet18.a1_in1k"
Write = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path, hub: Any) -> Path:
    """An empty offline folder, and a hub without network."""
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def put(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLocate:
    @pytest.mark.parametrize("name", ["own.safetensors", "run.ckpt", "OLD.PTH"])
    def test_a_file_is_taken_as_it_is(self, name: str, tmp_path: Path, hub: Any) -> None:
        file = put(tmp_path / name)
        assert locate(file) == file
        assert locate(str(file)) == file
        assert "no such file" in refusal(locate, str(tmp_path / f"no-{name}"))
        assert hub.asked == []

    @pytest.mark.parametrize(
        "file", ["resnet18.safetensors", "resnet18.a1_in1k.safetensors", "timm--resnet18.a1_in1k/model.safetensors"]
    )
    def test_names_in_an_offline_folder(self, file: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = put(folder / file)
        for name in ("resnet18", "resnet18.a1_in1k", RESNET, f"hf-hub:{RESNET}"):
            assert locate(name, offline=folder) == path
        monkeypatch.setenv("TUMORSCOPE_WEIGHTS", str(folder))
        assert locate("resnet18") == present("resnet18") == path

    def test_a_tag_alone_is_no_name_for_a_file(self, folder: Path) -> None:
        """``a1_in1k`` is a tag of resnet18, resnet34 and resnet50."""
        put(folder / "a1_in1k.safetensors")
        assert present("resnet18", offline=folder) is None

    def test_other_weights_of_a_network_are_other_weights(self, folder: Path) -> None:
        put(folder / "resnet34.safetensors")
        assert present("resnet34", offline=folder) is not None
        assert present("resnet34.tv_in1k", offline=folder) is None

    def test_a_folder_named_like_a_network_is_no_file(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "resnet18").mkdir()
        monkeypatch.chdir(tmp_path)
        path = put(folder / "resnet18.safetensors")
        assert locate("resnet18", offline=folder) == path

    def test_any_timm_model_and_any_repository(self, folder: Path) -> None:
        path = put(folder / "timm--resnet10t.c3_in1k" / "model.safetensors")
        assert locate("resnet10t", offline=folder) == locate("resnet10t.c3_in1k", offline=folder) == path
        own = put(folder / "clinic--mri-resnet" / "pytorch_model.bin")
        assert locate("clinic/mri-resnet", offline=folder) == own

    def test_weights_that_are_not_there_are_told_in_one_line(self, folder: Path, hub: Any) -> None:
        text = refusal(locate, "resnet18", offline=folder)
        assert text.startswith("resnet18: its weights are neither in ")
        assert f"tumorscope weights fetch resnet18 --offline {folder}" in text and "--pretrained no" in text
        assert hub.asked == [], "an offline folder means no network"
        text = refusal(locate, "resnet18")
        assert "cannot be reached (name or service not known)" in text
        assert "tumorscope weights fetch resnet18 --offline DIR" in text and "--pretrained no" in text
        assert hub.asked == [(RESNET, "model.safetensors")]

    def test_the_hub_and_then_its_cache(self, hub: Any, folder: Path) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        path = locate("resnet18")
        assert path.read_bytes() == b"1"
        assert locate("resnet18") == locate("resnet18", offline=folder) == path
        assert len(hub.asked) == 1

    def test_unknown_names(self, folder: Path) -> None:
        assert "did you mean 'resnet18'" in refusal(locate, "resnet19")
        assert "unknown weights of resnet18 'a9_in1k'; did you mean 'a3_in1k'" in refusal(locate, "resnet18.a9_in1k")
        assert "timm publishes no weights" in refusal(locate, "coatnet_0_224")
        assert "no hub id" in refusal(locate, "a/b/c")
        assert "no such folder" in refusal(locate, "resnet18", offline=folder / "absent")

    def test_a_folder_that_the_environment_names_and_is_not_there(
        self, hub: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUMORSCOPE_WEIGHTS", "absent")
        assert refusal(locate, "resnet18").startswith("absent (from TUMORSCOPE_WEIGHTS): no such folder")


class TestHashes:
    def test_a_changed_file_is_refused(self, folder: Path, sums: Write) -> None:
        path = put(folder / "resnet18.safetensors")
        sums(folder)
        assert locate("resnet18", offline=folder) == path
        path.write_bytes(b"other")
        text = refusal(locate, "resnet18", offline=folder)
        assert hashlib.sha256(b"other").hexdigest() in text and hashlib.sha256(b"weights").hexdigest() in text
        assert "tumorscope weights fetch resnet18" in text

    def test_a_file_that_is_not_listed_is_not_refused(self, folder: Path, sums: Write) -> None:
        put(folder / "resnet34.safetensors")
        sums(folder)
        path = put(folder / "resnet18.safetensors")
        assert locate("resnet18", offline=folder) == path

    def test_the_registry_stands_above_a_folder(
        self, folder: Path, sums: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dataclasses import replace

        put(folder / "resnet18.safetensors")
        sums(folder)
        one = replace(registry.entry("resnet18"), sha256="0" * 64)
        monkeypatch.setattr(registry, "ENTRIES", (one,))
        assert f"recorded is {'0' * 64}" in refusal(locate, "resnet18", offline=folder)

    def test_a_damaged_cache_is_refused_and_the_file_behind_the_link_named(self, hub: Any) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        blob = locate("resnet18").resolve()
        blob.write_bytes(b"2")
        assert f"delete {blob} and run" in refusal(locate, "resnet18")

    @pytest.mark.parametrize(
        "line", ["{0} *./resnet18.safetensors", "{0}  resnet18.safetensors", "# words\n\n{1}  resnet18.safetensors"]
    )
    def test_spellings_of_the_list(self, line: str, folder: Path) -> None:
        path = put(folder / "resnet18.safetensors")
        digest = hashlib.sha256(b"weights").hexdigest()
        (folder / "SHA256SUMS").write_text(line.format(digest, digest.upper()) + "\n")
        assert locate("resnet18", offline=folder) == path
        path.write_bytes(b"other")
        assert "recorded is" in refusal(locate, "resnet18", offline=folder)

    def test_a_list_that_is_none(self, folder: Path) -> None:
        put(folder / "resnet18.safetensors")
        (folder / "SHA256SUMS").write_text("resnet18.safetensors\n")
        assert "SHA256SUMS: line 1 is no 'HASH  FILE'" in refusal(locate, "resnet18", offline=folder)


class TestFetch:
    def test_the_first_fetch_records(self, hub: Any, tmp_path: Path) -> None:
        hub.repositories |= {RESNET: {"model.safetensors": b"1"}, "nvidia/mit-b0": {"pytorch_model.bin": b"3"}}
        folder = tmp_path / "made" / "weights"
        found = fetch("resnet18", offline=folder)
        fetch("mit-b0", offline=folder)
        assert found.path == folder / "timm--resnet18.a1_in1k" / "model.safetensors"
        assert found.path.read_bytes() == b"1" and not found.path.is_symlink()
        assert (folder / "SHA256SUMS").read_text().splitlines() == [
            f"{hashlib.sha256(b'3').hexdigest()}  nvidia--mit-b0/pytorch_model.bin",
            f"{hashlib.sha256(b'1').hexdigest()}  timm--resnet18.a1_in1k/model.safetensors",
        ]
        assert locate("resnet18", offline=folder) == found.path
        assert sorted(path.name for path in folder.iterdir()) == [
            "SHA256SUMS", "nvidia--mit-b0", "timm--resnet18.a1_in1k",
        ]  # fmt: skip

    def test_the_second_does_nothing(self, hub: Any, folder: Path) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        first = fetch("resnet18", offline=folder)
        assert fetch("resnet18", offline=folder) == first
        assert len(hub.asked) == 1

    def test_other_weights_under_the_same_name_are_refused(self, hub: Any, folder: Path) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        path = fetch("resnet18", offline=folder).path
        path.unlink()
        hub.cache.rename(hub.cache.with_name("gone"))
        hub.repositories[RESNET] = {"model.safetensors": b"2"}
        text = refusal(fetch, "resnet18", offline=folder)
        assert "now publishes" in text and hashlib.sha256(b"1").hexdigest() in text
        assert not path.exists()

    def test_into_the_cache(self, hub: Any) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        found = fetch("resnet18")
        assert found.path.is_relative_to(hub.cache) and found.sha256 == found.expected
        assert fetch(RESNET) == found

    def test_without_network(self, hub: Any, folder: Path) -> None:
        assert "cannot be reached" in refusal(fetch, "resnet18", offline=folder)
        assert list(folder.iterdir()) == []
        hub.repositories["a/b"] = {}
        text = refusal(fetch, "a/b", offline=folder)
        assert "holds none of" in text and "machine with network" not in text


class TestVerify:
    def test_all_that_is_here(self, hub: Any, folder: Path) -> None:
        hub.repositories |= {RESNET: {"model.safetensors": b"1"}, "own/net": {"model.safetensors": b"2"}}
        fetch("own/net", offline=folder)
        fetch("resnet18", offline=folder)
        good = verify(offline=folder)
        assert [one.name for one in good if isinstance(one, Found) and not one.problem] == ["own/net", "resnet18"]
        put(folder / "own--net" / "model.safetensors", b"3")
        bad, fine = verify(offline=folder)
        assert isinstance(bad, Found) and "recorded is" in bad.problem
        assert isinstance(fine, Found) and not fine.problem

    def test_nothing_is_called_verified_that_was_compared_with_nothing(self, folder: Path) -> None:
        put(folder / "resnet18.safetensors")
        (one,) = verify(offline=folder)
        assert isinstance(one, Found) and one.problem.startswith("no sha256 is recorded; compare")

    def test_what_is_listed_and_gone(self, hub: Any, folder: Path) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        fetch("resnet18", offline=folder).path.unlink()
        listed, cached = verify(offline=folder)
        assert isinstance(listed, WeightsError) and "listed in SHA256SUMS, but not there" in str(listed)
        assert isinstance(cached, Found) and not cached.problem

    def test_by_name(self, hub: Any) -> None:
        hub.repositories[RESNET] = {"model.safetensors": b"1"}
        fetch("resnet18")
        here, absent, unknown = verify(["resnet18", "vgg16", "resnet19"])
        assert isinstance(here, Found) and not here.problem
        assert isinstance(absent, WeightsError) and "run: tumorscope weights fetch vgg16" in str(absent)
        assert isinstance(unknown, WeightsError) and "did you mean" in str(unknown)
        assert verify() == [here]

    def test_nothing_here(self, hub: Any) -> None:
        assert verify() == []
