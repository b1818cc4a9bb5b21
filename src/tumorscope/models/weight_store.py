"""Where files of pretrained weights lie: an offline folder, the hub's cache, the hub; each checked by its hash."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumorscope import registry
from tumorscope.errors import WeightsError, look_up
from tumorscope.io.decoding import label, one_line
from tumorscope.io.output import atomic
from tumorscope.models import hub

OFFLINE = "TUMORSCOPE_WEIGHTS"
"""Environment variable that names the offline folder where no option does."""
SUMS = "SHA256SUMS"
"""File in the offline folder with a line ``HASH  FILE`` for each file, as ``sha256sum`` writes and checks it."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""Of files with weights; a name that ends so is a path."""

_FILES = ("model.safetensors", "pytorch_model.bin")  # names that a repository's weights usually have
_HASH = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Found:
    """A file with weights, and what is known of it.

    Parameters
    ----------
    name : str
        As asked for.
    path : Path
    sha256 : str
        Measured.
    expected : str
        Recorded in the registry, in the folder's ``SHA256SUMS``, or by the hub's cache; empty where nowhere.
    """

    name: str
    path: Path
    sha256: str
    expected: str

    @property
    def problem(self) -> str:
        """Why the file is not what it should be, in words; empty where it is."""
        if not self.expected:
            return f"no sha256 is recorded; compare {self.sha256} with its publisher's and add it to {SUMS}"
        if self.sha256 != self.expected:
            return (
                f"sha256 is {self.sha256}, recorded is {self.expected}; delete {label(self.path.resolve())} and run: "
                f"tumorscope weights fetch {self.name}"
            )
        return ""

    def accepted(self) -> Found:
        """Itself, unless its hash is another than the recorded one.

        Raises
        ------
        WeightsError
        """
        if self.expected and self.problem:
            raise WeightsError(f"{label(self.path)}: {self.problem}")
        return self


@dataclass(frozen=True)
class _Wanted:
    """What a name stands for: a repository, its possible files, and names in an offline folder."""

    name: str
    hub_id: str
    files: tuple[str, ...]
    offline: tuple[str, ...]
    sha256: str | None = None


def locate(name: str | Path, *, offline: Path | None = None) -> Path:
    """A local file with the weights that ``name`` stands for.

    A path is taken as it is. For anything else an offline folder is looked through, if there is one, then the hub's
    cache on this machine; where no offline folder is named, the file is downloaded into that cache. A folder holds
    ``NAME.safetensors``, ``NAME.TAG.safetensors``, or ``OWNER--REPOSITORY/model.safetensors``.

    Parameters
    ----------
    name : str or Path
        A path with one of `SUFFIXES`, a name of the registry, any timm model with or without its tag, or a hub id.
    offline : Path, optional
        The folder; by default what the environment variable ``TUMORSCOPE_WEIGHTS`` names. Where there is one, nothing
        is downloaded.

    Returns
    -------
    Path
        Of an existing file, whose hash agrees with the registry, the folder's ``SHA256SUMS`` or the hub's cache
        wherever they know it.

    Raises
    ------
    WeightsError
        If there is no such name, file or folder, no weights can be had, or the file is not what was recorded.
    MissingExtra
        If weights have to be downloaded and the ``train`` extra is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "resnet18.safetensors").write_bytes(b"weights")
    ...     locate("resnet18", offline=Path(folder)).name
    'resnet18.safetensors'
    """
    file = Path(name)
    if isinstance(name, Path) or file.suffix.lower() in SUFFIXES or (len(file.parts) > 1 and file.is_file()):
        if not file.is_file():
            raise WeightsError(f"{label(name)}: no such file; give the path of a file with weights")
        return file
    wanted, folder = _wanted(str(name)), offline_folder(offline)
    path = _here(wanted, folder) or (_downloaded(wanted) if folder is None else None)
    if path is None:
        raise WeightsError(
            f"{wanted.name}: its weights are neither in {label(folder or '')} nor in the hub's cache; "
            f"{_remedy(wanted.name, folder)}"
        )
    return _measured(wanted, path, folder).accepted().path


def present(name: str, *, offline: Path | None = None) -> Path | None:
    """The file that `locate` would take without a download, unchecked; None where there is none.

    Raises
    ------
    WeightsError
        If there is no such name or folder.
    """
    return _here(_wanted(name), offline_folder(offline))


def fetch(name: str, *, offline: Path | None = None) -> Found:
    """Weights on this machine, downloaded if need be; their hash is recorded where none was.

    Parameters
    ----------
    name : str
        As for `locate`, but no path.
    offline : Path, optional
        Folder to put a copy into, as ``OWNER--REPOSITORY/FILE``, and its hash into ``SHA256SUMS``. Made if absent. By
        default what ``TUMORSCOPE_WEIGHTS`` names; without either the file stays in the hub's cache.

    Raises
    ------
    WeightsError
        If there is no such name, nothing can be downloaded, or the file is not what was recorded.
    OutputError
        If the folder cannot be written to.
    """
    wanted = _wanted(name)
    folder = offline_folder(offline, must_exist=False)
    path = _here(wanted, folder) or _downloaded(wanted)
    if folder is not None and not path.is_relative_to(folder):
        path = _copied(wanted, _measured(wanted, path, None).accepted(), folder)
    found = _measured(wanted, path, folder).accepted()
    if folder is None or found.expected:
        return found
    _record(folder, path, found.sha256)
    return replace(found, expected=found.sha256)


def verify(names: Sequence[str] = (), *, offline: Path | None = None) -> list[Found | WeightsError]:
    """For each name its file with its hash measured, or the error that says why there is none.

    Parameters
    ----------
    names : sequence of str
        As for `locate`, but no paths; without any, all files listed in the offline folder's ``SHA256SUMS`` and all
        networks of the registry that are on this machine.
    offline : Path, optional
        As for `locate`.
    """
    folder = offline_folder(offline)
    if names:
        return [_verified(name, folder) for name in names]
    listed = [] if folder is None else [_listed(folder, file, digest) for file, digest in _sums(folder).items()]
    known = {found.path for found in listed if isinstance(found, Found)}
    others = {path: wanted for wanted in map(_wanted, registry.names()) if (path := _here(wanted, folder))}
    return [*listed, *(_measured(wanted, path, folder) for path, wanted in others.items() if path not in known)]


def offline_folder(offline: Path | None = None, *, must_exist: bool = True) -> Path | None:
    """The offline folder: ``offline``, or what ``TUMORSCOPE_WEIGHTS`` names, or None.

    Raises
    ------
    WeightsError
        If it must exist and does not.
    """
    named = os.environ.get(OFFLINE, "")
    folder = Path(offline) if offline is not None else Path(named) if named else None
    if folder is None or not must_exist or folder.is_dir():
        return folder
    source = "" if offline is not None else f" (from {OFFLINE})"
    raise WeightsError(f"{label(folder)}{source}: no such folder; `tumorscope weights fetch` makes and fills it")


def _copied(wanted: _Wanted, source: Found, folder: Path) -> Path:
    """A copy of the file in the folder, if that has recorded no other hash for it."""
    path = folder / _folder_of(wanted.hub_id) / source.path.name
    recorded = _sums(folder).get(path.relative_to(folder).as_posix(), source.sha256)
    if recorded != source.sha256:
        raise WeightsError(
            f"{label(path)}: {SUMS} records sha256 {recorded}, {wanted.hub_id} now publishes {source.sha256}; "
            "take its line out of the list if the new file is wanted"
        )
    with atomic(path) as temporary:
        shutil.copyfile(source.path, temporary)
        if _hash(temporary) != source.sha256:
            raise WeightsError(f"{label(path)}: the copy is not what was copied; check the disk")
    return path


def _listed(folder: Path, file: str, expected: str) -> Found | WeightsError:
    """A file that the folder's list names, measured."""
    path = folder / file
    if not path.is_file():
        return WeightsError(f"{label(path)}: listed in {SUMS}, but not there; fetch it, or take its line out")
    return Found(_name_of(file), path, _hash(path), expected)


def _verified(name: str, folder: Path | None) -> Found | WeightsError:
    try:
        wanted = _wanted(name)
    except WeightsError as error:
        return error
    path = _here(wanted, folder)
    if path is None:
        return WeightsError(f"{name}: not on this machine; run: tumorscope weights fetch {name}")
    return _measured(wanted, path, folder)


def _wanted(name: str) -> _Wanted:
    """What a name of the registry, of timm, or a hub id stands for."""
    plain = name.removeprefix("hf-hub:").removeprefix("hf_hub:")
    for one in registry.ENTRIES:
        if plain in (one.name, one.tagged, one.hub_id):
            stems = dict.fromkeys((one.name, one.tagged))
            offline = tuple(f"{stem}.safetensors" for stem in stems)
            return _Wanted(one.name, one.hub_id, one.files, offline, one.sha256)
    if "/" in plain:
        if not _HUB_ID.fullmatch(plain):
            raise WeightsError(f"{label(name)}: no hub id; give OWNER/REPOSITORY, or a file that ends in {SUFFIXES[0]}")
        return _Wanted(plain, plain, _FILES, ())
    hub_id = _timm_hub_id(plain)
    return _Wanted(plain, hub_id, _FILES, (f"{plain}.safetensors", f"{hub_id.rpartition('/')[2]}.safetensors"))


def _timm_hub_id(name: str) -> str:
    """Where timm's weights for a model lie, those of a tag or its default ones."""
    model, _, tag = name.partition(".")
    try:
        import timm
    except ModuleNotFoundError:
        return registry.entry(name).hub_id
    if not timm.is_model(model):
        return registry.entry(name).hub_id  # for its error, which names the nearest
    if tag:
        tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{model}.*")]
        look_up(tag, tags, f"weights of {model}", WeightsError)
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsError(f"{name}: timm publishes no weights for it; give a file, or pass --pretrained no")
    return str(config.hf_hub_id)


def _here(wanted: _Wanted, folder: Path | None) -> Path | None:
    """The file in the folder or in the hub's cache; None where there is none."""
    repository = _folder_of(wanted.hub_id)
    for candidate in (*wanted.offline, *(f"{repository}/{file}" for file in wanted.files)) if folder else ():
        path = Path(folder or "", candidate)
        if path.is_file():
            return path
    return hub.cached(wanted.hub_id, wanted.files)


def _downloaded(wanted: _Wanted) -> Path:
    """The file in the hub's cache after a download."""
    try:
        return hub.download(wanted.hub_id, wanted.files)
    except hub.Unreachable as error:
        raise WeightsError(f"{wanted.name}: {error}; {_remedy(wanted.name, None)}") from error
    except WeightsError as error:
        raise WeightsError(f"{wanted.name}: {error}") from error


def _remedy(name: str, folder: Path | None) -> str:
    return (
        f"on a machine with network run: tumorscope weights fetch {name} --offline {label(folder or 'DIR')} "
        "and copy that folder here; or pass --pretrained no"
    )


def _measured(wanted: _Wanted, path: Path, folder: Path | None) -> Found:
    """The file's hash beside the recorded one."""
    expected = wanted.sha256 or ""
    if not expected and folder is not None and path.is_relative_to(folder):
        expected = _sums(folder).get(path.relative_to(folder).as_posix(), "")
    elif not expected and _HASH.fullmatch(path.resolve().name):
        expected = path.resolve().name  # the hub's cache names large files by the hash that the hub stated
    return Found(wanted.name, path, _hash(path), expected)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{label(path)}: cannot be read ({one_line(error)}); check its permissions") from error


def _sums(folder: Path) -> dict[str, str]:
    """Hash of each file by its path in the folder; nothing where there is no list.

    Raises
    ------
    WeightsError
        If a line is not what ``sha256sum`` writes.
    """
    file = folder / SUMS
    if not file.exists():
        return {}
    sums = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{label(file)}: cannot be read ({one_line(error)}); write it with sha256sum") from error
    for number, line in enumerate(lines, 1):
        digest, _, name = line.strip().partition(" ")
        name = name.strip().removeprefix("*").removeprefix("./")
        if not line.strip() or line.startswith("#"):
            continue
        if not _HASH.fullmatch(digest.lower()) or not name:
            raise WeightsError(f"{label(file)}: line {number} is no 'HASH  FILE'; write it with sha256sum")
        sums[name] = digest.lower()
    return sums


def _record(folder: Path, path: Path, digest: str) -> None:
    """Add the file's hash to the folder's list."""
    sums = _sums(folder) | {path.relative_to(folder).as_posix(): digest}
    with atomic(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())), encoding="utf-8")


def _folder_of(hub_id: str) -> str:
    """Name of a repository's folder, as the hub's cache spells it."""
    return hub_id.replace("/", "--")


def _name_of(file: str) -> str:
    """The name by which a file of an offline folder is fetched again."""
    for name in registry.names():
        wanted = _wanted(name)
        if file in wanted.offline or file.startswith(f"{_folder_of(wanted.hub_id)}/"):
            return name
    return file.partition("/")[0].replace("--", "/", 1)
