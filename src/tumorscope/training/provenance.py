"""Where a run's numbers come from: the state of the code, and the scans."""

from __future__ import annotations

import hashlib
import subprocess

import polars as pl


def commit() -> str | None:
    """The commit of the folder that is worked in; None where there is none, or no git."""
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return git.stdout.strip() or None


def fingerprint(table: pl.DataFrame) -> str:
    """Hash of the scans' contents in a manifest, the same in any order.

    Examples
    --------
    >>> one, other = pl.DataFrame({"sha256": ["a", "b"]}), pl.DataFrame({"sha256": ["b", "a"]})
    >>> fingerprint(one) == fingerprint(other)
    True
    """
    return hashlib.sha256("".join(sorted(table["sha256"].drop_nulls().to_list())).encode()).hexdigest()
