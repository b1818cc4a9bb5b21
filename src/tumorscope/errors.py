"""Errors that a user can act on, and the exit codes they lead to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line; other programs rely on them."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    PARTIAL = 3


class TumorscopeError(Exception):
    """An error whose text is one line: what it is about, the finding, the remedy.

    Parameters
    ----------
    message : str
        ``"FILE: FINDING; REMEDY"`` as a single line.
    """

    exit_code = Exit.USAGE


class ScanError(TumorscopeError):
    """A file that cannot be read as a scan, or a scan that a step cannot work on."""


class DataError(TumorscopeError):
    """A data set, manifest or split that contradicts itself."""


class BundleError(TumorscopeError):
    """A model file that is no bundle, is damaged, or is of a newer schema."""


class OutputError(TumorscopeError):
    """A result that cannot be written: no permission, no space, a file in the way."""


class RecipeError(TumorscopeError):
    """A recipe with an unknown key, an impossible value, or a missing part."""


class TrainingError(TumorscopeError):
    """A training that cannot go on: its loss is no number."""


class WeightsError(TumorscopeError):
    """Pretrained weights that are not there, are not what they were, or do not fit the network."""


class MissingExtra(TumorscopeError):
    """A feature whose optional packages are not installed.

    Examples
    --------
    >>> str(MissingExtra("training", "torch", "train"))
    "training needs torch, which is not installed; run: pip install 'tumorscope[train]'"
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs {package}, which is not installed; run: pip install 'tumorscope[{extra}]'")


def look_up(name: str, known: Iterable[str], what: str, error: type[TumorscopeError] = TumorscopeError) -> str:
    """``name`` itself when it is one of ``known``; otherwise an error that names the nearest one.

    Examples
    --------
    >>> look_up("hard", ["hard", "soft"], "crop mode")
    'hard'
    >>> look_up("sotf", ["hard", "soft"], "crop mode")
    Traceback (most recent call last):
    ...
    tumorscope.errors.TumorscopeError: unknown crop mode 'sotf'; did you mean 'soft'? known: hard, soft
    """
    options = list(known)
    if name in options:
        return name
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise error(f"unknown {what} '{name}'; {hint}known: {', '.join(options)}")
