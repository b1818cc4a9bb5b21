"""The hub's library, its cache real and its network replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tumorscope.errors import WeightsError
from tumorscope.models.hub import Unreachable, cached, download


def test_what_was_downloaded_is_found_again(hub: Any) -> None:
    hub.repositories["a/b"] = {"model.safetensors": b"1"}
    assert cached("a/b", ["model.safetensors"]) is None
    path = download("a/b", ["model.safetensors"])
    assert path.read_bytes() == b"1"
    assert cached("a/b", ["pytorch_model.bin", "model.safetensors"]) == path
    assert cached("a/b", ["pytorch_model.bin"]) is None


def test_the_first_file_that_there_is_is_taken(hub: Any) -> None:
    hub.repositories["a/b"] = {"pytorch_model.bin": b"2"}
    assert download("a/b", ["model.safetensors", "pytorch_model.bin"]).name == "pytorch_model.bin"
    assert [file for _, file in hub.asked] == ["model.safetensors", "pytorch_model.bin"]
    with pytest.raises(WeightsError, match=r"huggingface\.co/a/b holds none of x, y"):
        download("a/b", ["x", "y"])


def test_without_network_one_attempt_and_one_line(hub: Any) -> None:
    with pytest.raises(Unreachable, match=r"a/b cannot be reached \(name or service not known\)") as caught:
        download("a/b", ["model.safetensors", "pytorch_model.bin"])
    assert "\n" not in str(caught.value)
    assert len(hub.asked) == 1, "a second file would wait for the network once more"


def test_other_failures(hub: Any) -> None:
    from huggingface_hub import errors

    def failing(error: Exception) -> WeightsError:
        hub.error = error
        with pytest.raises(WeightsError) as caught:
            download("a/b", ["model.safetensors"])
        assert "\n" not in str(caught.value)
        return caught.value

    denied = errors.GatedRepoError.__new__(errors.GatedRepoError)
    assert "accept its terms" in str(failing(denied))
    absent = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
    assert "check the name" in str(failing(absent))
    assert "No space left" in str(failing(OSError(28, "No space left on device")))
    offline = errors.LocalEntryNotFoundError("offline")
    offline.__cause__ = errors.OfflineModeIsEnabled("long words")
    found = failing(offline)
    assert isinstance(found, Unreachable) and "HF_HUB_OFFLINE is set" in str(found)
    assert not isinstance(failing(absent), Unreachable)


def test_the_librarys_settings_are_put_back(hub: Any) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, logging

    before = logging.get_verbosity(), are_progress_bars_disabled()
    with pytest.raises(Unreachable):
        download("a/b", ["x"])
    assert (logging.get_verbosity(), are_progress_bars_disabled()) == before


def test_a_download_that_is_silent_off_a_terminal(hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled

    seen = []
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda hub_id, file: seen.append(are_progress_bars_disabled()) or str(tmp_path),
    )
    download("a/b", ["x"])
    assert seen == [True]
