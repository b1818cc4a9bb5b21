"""``predictions.csv``: its rows, and how it grows without ever being half-written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tumorscope.errors import OutputError
from tumorscope.inference.predictor import Prediction
from tumorscope.io import Item

TABLE = "predictions.csv"


@dataclass(frozen=True)
class Row:
    """One line of ``predictions.csv``; None is an empty field and means unknown."""

    id: str
    path: str
    status: str
    probability: float | None = None
    decision: str | None = None
    uncertainty: float | None = None
    gate: str | None = None
    lesions: int | None = None
    area_px: float | None = None
    area_mm2: float | None = None
    diameter_px: float | None = None
    diameter_mm: float | None = None
    volume_mm3: float | None = None
    seconds: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, item: Item, prediction: Prediction, seconds: float) -> Row:
        """The row of a scan that was predicted."""
        return cls(
            id=item.id,
            path=str(item.path),
            status="ok",
            probability=prediction.probability,
            decision=prediction.decision,
            uncertainty=prediction.uncertainty,
            gate="passed" if prediction.gate.passed else f"refused: {prediction.gate.reason}",
            seconds=seconds,
            **asdict(prediction.measurements),
        )

    def cells(self) -> list[str]:
        """The fields as text: numbers with up to six decimals.

        Examples
        --------
        >>> Row("7", "scans/7.png", "ok", probability=0.25, lesions=1).cells()[:9]
        ['7', 'scans/7.png', 'ok', '0.25', '', '', '', '1', '']
        """
        return [_cell(getattr(self, name)) for name in COLUMNS]


COLUMNS = tuple(column.name for column in fields(Row))


class Table:
    """``predictions.csv`` as it grows: a row is in the file as a whole or not at all.

    Parameters
    ----------
    path : Path
        Where it is written.
    shown : Path
        The name that errors give it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path, shown: Path) -> None:
        self._shown = shown
        self._length = 0
        with writing(shown):
            self._file = path.open("wb", buffering=0)
        self._write(COLUMNS)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Append a row.

        Raises
        ------
        OutputError
            If there is no room for it; what stood before it stays whole.
        """
        self._write(row.cells())

    def _write(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        rest = memoryview(line.getvalue().encode("utf-8", "backslashreplace"))
        length = len(rest)
        with writing(self._shown):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(self._length)
                self._file.seek(self._length)
                raise
        self._length += length


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into an error that names ``path`` and the remedy."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free the place or give another -o") from error


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)
