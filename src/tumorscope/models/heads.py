"""What stands between a backbone's features and the classes, in words. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LAYER = re.compile(r"(batchnorm|dense|dropout)(?: (\d+(?:\.\d+)?))?")


class Layer(NamedTuple):
    """One layer of a head: its kind, and its units or its dropped share (0 where it has none)."""

    kind: str
    value: float


def layers(head: Sequence[str]) -> list[Layer]:
    """The layers that a head's words stand for.

    Raises
    ------
    ValueError
        For words that are none of ``batchnorm``, ``dense UNITS`` and ``dropout SHARE``.

    Examples
    --------
    >>> layers(("batchnorm", "dense 128", "dropout 0.3"))
    [Layer(kind='batchnorm', value=0.0), Layer(kind='dense', value=128.0), Layer(kind='dropout', value=0.3)]
    """
    found = []
    for words in head:
        match = LAYER.fullmatch(words.strip())
        if match is None or (match[1] != "batchnorm") != (match[2] is not None):
            raise ValueError(f"'{words}' is no layer; write 'batchnorm', 'dense UNITS' or 'dropout SHARE'")
        value = float(match[2] or 0)
        if match[1] == "dense" and (value < 1 or value != int(value)):
            raise ValueError(f"'{words}': units are a whole number from 1 on")
        if match[1] == "dropout" and value >= 1:
            raise ValueError(f"'{words}': a share lies below 1")
        found.append(Layer(match[1], value))
    return found
