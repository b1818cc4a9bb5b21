"""The Hugging Face hub: what its cache on this machine holds, and downloads into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tumorscope.errors import MissingExtra, WeightsError
from tumorscope.io.decoding import one_line


class Unreachable(WeightsError):
    """The hub does not answer; another machine may have more luck."""


def cached(hub_id: str, files: Sequence[str]) -> Path | None:
    """The first of the repository's ``files`` that the cache holds; None without one. Asks no network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    found = (try_to_load_from_cache(hub_id, file) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def download(hub_id: str, files: Sequence[str]) -> Path:
    """The first of ``files`` that the repository has, in the cache.

    Parameters
    ----------
    hub_id : str
        ``OWNER/REPOSITORY``.
    files : sequence of str
        Names in the repository, the preferred first.

    Raises
    ------
    Unreachable
        If there is no network, or the download broke off.
    WeightsError
        If the hub has no such repository or none of the files, or asks for a login.
    MissingExtra
        Without the hub's library.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise MissingExtra("downloading weights", "huggingface_hub", "train") from error
    place = f"huggingface.co/{hub_id}"
    for file in files:
        try:
            with _few_words():
                return Path(huggingface_hub.hf_hub_download(hub_id, file))
        except errors.GatedRepoError as error:
            raise WeightsError(f"{place} asks for an account; accept its terms there and run: hf auth login") from error
        except errors.RepositoryNotFoundError as error:
            raise WeightsError(f"no {place}, or it is private; check the name, or run: hf auth login") from error
        except errors.LocalEntryNotFoundError as error:  # a child of the next, but it means another thing
            raise Unreachable(f"not on this machine, and {place} cannot be reached{_cause(error)}") from error
        except errors.EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise Unreachable(f"{place} gave no weights ({one_line(error)})") from error
    raise WeightsError(f"{place} holds none of {', '.join(files)}; download its weights and give the file's path")


def _cause(error: Exception) -> str:
    """What stands behind an error of the hub's library, in brackets; empty where nothing does."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error.__cause__, OfflineModeIsEnabled):
        return " (HF_HUB_OFFLINE is set)"
    return f" ({one_line(error.__cause__)})" if error.__cause__ else ""


@contextmanager
def _few_words() -> Iterator[None]:
    """Within the block the hub's library shows progress on terminals only, and keeps its retries to itself."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    level, silenced = logging.get_verbosity(), not sys.stderr.isatty() and not are_progress_bars_disabled()
    logging.set_verbosity_error()
    if silenced:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if silenced:
            enable_progress_bars()
