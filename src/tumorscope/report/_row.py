"""One row of predictions.csv as a person reads it: words, rounded numbers, units and reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumorscope.errors import DataError, look_up

# What a scan can come to, in the order of every table. The code is also the name of its mark in the templates.
STATES = {
    "tumor": "Tumour",
    "uncertain": "Uncertain",
    "no_tumor": "No tumour",
    "not_brain_mri": "Not a brain MRI",
    "unknown": "No decision",
    "failed": "Failed",
}
NO_SPACING = "in pixels: the file does not state the size of a pixel"
SIDES = {
    True: "The file states left and right: the patient's right is on the left of axial and coronal pictures.",
    False: "This file does not say which side is left.",
}


@dataclass(frozen=True)
class Fact:
    """A measurement: what, how much with its unit, and why it is not better (empty when it is)."""

    label: str
    value: str
    reason: str = ""


@dataclass(frozen=True)
class Reading:
    """What a card and a line of the table show of one scan.

    ``order`` holds what its columns are sorted by, None for what is unknown.
    """

    number: int
    id: str
    path: str
    state: str
    word: str
    probability: float | None
    probability_text: str
    uncertainty_text: str
    gate: str
    gate_kind: str
    lesions: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    sides: str
    seconds: str
    error: str
    order: dict[str, float | None]


def read_row(row: Mapping[str, Any], number: int, *, volume: bool = False) -> Reading:
    """The row's values in words. ``number`` counts the scans of a report from 1; ``volume`` tells what was scanned.

    Raises
    ------
    DataError
        If ``status`` or ``decision`` is none of those that predictions.csv knows.

    Examples
    --------
    >>> reading = read_row({"id": "7", "status": "ok", "decision": "tumor", "probability": 0.934}, 1)
    >>> reading.word, reading.probability_text, reading.gate
    ('Tumour', '0.93', 'not judged')
    """
    status = look_up(text(row.get("status")) or "ok", ("ok", "failed"), "status", DataError)
    decision = text(row.get("decision"))
    failed = status == "failed"
    state = "failed" if failed else look_up(decision or "unknown", STATES, "decision", DataError)
    probability, uncertainty = number_of(row.get("probability")), number_of(row.get("uncertainty"))
    gate, gate_kind = _gate(row.get("gate"), state)
    lesions = number_of(row.get("lesions"))
    facts = measurements(row, volume=volume)
    return Reading(
        number=number,
        id=text(row.get("id")) or f"scan {number}",
        path=text(row.get("path")),
        state=state,
        word=STATES[state],
        probability=None if probability is None else min(1.0, max(0.0, probability)),
        probability_text=probability_text(probability),
        uncertainty_text="" if uncertainty is None else f"{uncertainty:.2f}",
        gate=gate,
        gate_kind=gate_kind,
        lesions="" if lesions is None else f"{lesions:.0f}",
        facts=facts,
        notes=tuple(text(note) for note in row.get("notes") or ()),
        sides="" if failed else SIDES[bool(row.get("sides_known"))],
        seconds=_seconds(number_of(row.get("seconds"))),
        error=text(row.get("error")),
        order={
            "probability": probability,
            "uncertainty": uncertainty,
            "lesions": lesions,
            "state": float(list(STATES).index(state)),
        },
    )


def measurements(row: Mapping[str, Any], *, volume: bool = False) -> tuple[Fact, ...]:
    """Volume, area and diameter: in millimetres where known, else in pixels with the reason.

    Examples
    --------
    >>> [fact.value for fact in measurements({"area_px": 412, "area_mm2": 103.04, "diameter_px": 25.2})]
    ['103 mm²', '25 px']
    >>> measurements({"area_px": 0, "area_mm2": None})
    ()
    """
    facts = []
    size = number_of(row.get("volume_mm3"))
    if size:
        facts.append(Fact("Volume", f"{size / 1000:.1f} cm³" if size >= 1000 else f"{_grouped(size)} mm³"))
    area = "Area of the largest slice" if volume else "Area"
    for label, known, counted, unit in (
        (area, "area_mm2", "area_px", "mm²"),
        ("Diameter", "diameter_mm", "diameter_px", "mm"),
    ):
        millimetres, pixels = number_of(row.get(known)), number_of(row.get(counted))
        if millimetres:
            facts.append(Fact(label, f"{_grouped(millimetres)} {unit}"))
        elif pixels:
            facts.append(Fact(label, f"{_grouped(round(pixels))} px", NO_SPACING))
    return tuple(facts)


def probability_text(value: float | None) -> str:
    """Two decimals, and never a certainty that was only rounded.

    Examples
    --------
    >>> probability_text(0.9996), probability_text(0.5), probability_text(None)
    ('> 0.99', '0.50', '')
    """
    if value is None:
        return ""
    if value > 0.99:
        return "> 0.99"
    return "< 0.01" if value < 0.01 else f"{value:.2f}"


def number_of(value: object) -> float | None:
    """A finite number, or None for what is empty, NaN or no number. Takes the text of a CSV field too.

    Examples
    --------
    >>> number_of("0.25"), number_of(""), number_of(float("nan"))
    (0.25, None, None)
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def text(value: object) -> str:
    """``value`` as one line of text; empty for None."""
    return "" if value is None else " ".join(str(value).split())


def _gate(value: object, state: str) -> tuple[str, str]:
    """What the gate said, in full, and the kind it is counted under (the words before a colon)."""
    refused = state == "not_brain_mri"
    if isinstance(value, str) and number_of(value) is None:
        said = text(value)
        return (said, said.split(":")[0].strip()[:40] or said[:40]) if said else ("not judged", "not judged")
    if value is None:
        return "not judged", "not judged"
    if isinstance(value, bool):
        refused = not value
    word = "refused" if refused else "passed"
    number = None if isinstance(value, bool) else number_of(value)
    return (word if number is None else f"{word} (score {number:.2f})"), word


def _grouped(value: float) -> str:
    """Whole numbers from 100 on and for counts, one decimal below; thousands apart."""
    shown = f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.1f}"
    return shown.replace(",", "\u202f")


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
