"""A folder of files that a command makes: what it is made by, and the names in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tumorscope import io
from tumorscope.errors import OutputError
from tumorscope.io.decoding import label, one_line

LONGEST = 120  # bytes of an id that becomes a file's name as it is; file systems take 255 with all that is added

Note = dict[str, Any]


def file_name(own: str) -> str:
    """The id itself where it can be a file's name everywhere, otherwise a hash of it.

    Examples
    --------
    >>> file_name("3 no"), file_name("a/b")
    ('3 no', 'c14cddc033f64b9dea80ea67')
    """
    plain = own.isprintable() and not own.startswith(".") and not set(own) & set('/\\:*?"<>|')
    return own if plain and len(own.encode()) <= LONGEST else hashlib.sha256(own.encode()).hexdigest()[:24]


def settle(place: Path, name: str, note: Note, otherwise: Callable[[Note], str]) -> None:
    """Write ``note``, what the files in a folder are made by, as ``place/name``; an earlier one must say the same.

    Parameters
    ----------
    place : Path
    name : str
        Of a JSON file.
    note : dict
        Plain data.
    otherwise : callable
        What to say of the folder when its note is another one, which is given.

    Raises
    ------
    OutputError
        If the folder was made otherwise, holds something else, or cannot be written to.
    """
    file = place / name
    if file.is_file():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{label(file)}: cannot be read ({one_line(error)}); choose another folder") from error
        if there != note:
            raise OutputError(f"{label(place)}: {otherwise(there)}; choose another folder, or remove this one")
        return
    if place.is_file() or (place.is_dir() and any(not entry.name.startswith(".") for entry in place.iterdir())):
        raise OutputError(f"{label(place)}: exists and holds something else; choose an empty or a new folder")
    with io.atomic(file) as draft:
        draft.write_text(json.dumps(note, indent=2), encoding="utf-8")
