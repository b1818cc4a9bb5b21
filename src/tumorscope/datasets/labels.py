"""Labels of scans: from labels.csv, from folder and file names, from the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.datasets.catalog import Layout
from tumorscope.datasets.layouts import Entry, class_word
from tumorscope.datasets.schema import SCHEMA
from tumorscope.errors import DataError

#: Names of the two labels of detection.
NAMES = ("no_tumor", "tumor")
#: Columns that a labels.csv may settle: all but those that are read from the files.
SETTLED = tuple(set(SCHEMA) - {"id", "path", "mask_path", "width", "height", "sha256", "source", "synthetic"})
WHOLE = tuple(name for name in SETTLED if SCHEMA[name] == pl.Int64)
LABELLING = ("label", "label_name", "tumor_type", "patient")


def read_labels(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of a labels.csv by casefolded id, empty cells left out; nothing when there is no such file.

    Raises
    ------
    DataError
        If it is no table, lacks ``id`` or anything that labels, repeats an id, or has text for a number.
    """
    if not path.is_file():
        return {}
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        words = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as CSV ({words}); save it as UTF-8 CSV") from error
    if "id" not in table.columns or not set(table.columns) & set(LABELLING):
        raise DataError(f"{path}: needs a column 'id' and one of {', '.join(LABELLING)}; add them")
    rows: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(table.iter_rows(named=True), start=2):
        key = (row["id"] or "").strip().casefold()
        if not key or key in rows:
            what = "the id of an earlier line" if key else "no id"
            raise DataError(f"{path}: line {line} has {what}; give each scan one line")
        rows[key] = {name: value.strip() for name, value in row.items() if name in SETTLED and (value or "").strip()}
        for name in WHOLE:
            if name in rows[key]:
                rows[key][name] = _whole(rows[key][name], name, path, line)
    return rows


def _whole(value: str, name: str, path: Path, line: int) -> int:
    try:
        return int(value)
    except ValueError:
        raise DataError(
            f"{path}: line {line} has {name} '{value}', which is no integer; correct it or leave it empty"
        ) from None


def label_of(entry: Entry, given: Mapping[str, Any], known: Layout | None, classes: Sequence[str]) -> dict[str, Any]:
    """Label, its name and the tumour type: by labels.csv, else by folder or file name, else by the collection.

    Examples
    --------
    >>> label_of(Entry(Path("a/yes/1.png"), "yes/1.png", word="tumor"), {}, None, ())
    {'label': 1, 'label_name': 'tumor', 'tumor_type': None}
    >>> label_of(Entry(Path("a/1.png"), "1.png"), {"tumor_type": "glioma"}, None, ())["tumor_type"]
    'glioma'
    """
    word = given.get("tumor_type") or entry.word
    if word is not None and word in classes:
        return {"label": classes.index(word), "label_name": word.removeprefix("="), "tumor_type": None}
    meaning = (class_word(word) or word.casefold()) if word else None
    value = given.get("label")
    if value is None and meaning is not None:
        value = int(meaning != "none")
    if value is None and known is not None:
        value = known.label
    if meaning in (None, "tumor") and value == 1 and known is not None:
        meaning = known.tumor_type
    return {
        "label": value,
        "label_name": given.get("label_name") or name_of(value, known),
        "tumor_type": None if meaning in ("none", "tumor") else meaning,
    }


def name_of(label: int | None, known: Layout | None) -> str | None:
    """Name of a label's value; None when it has none."""
    names = known.label_names if known else NAMES
    return names[label] if label is not None and label < len(names) else None
