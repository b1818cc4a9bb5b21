"""Words and numbers of a card: rounded honestly, in units that are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import DataError
from tumorscope.report._row import NO_SPACING, measurements, number_of, probability_text, read_row


@given(st.floats(0, 1))
def test_a_probability_is_never_rounded_to_certainty(value: float) -> None:
    shown = probability_text(value)
    assert shown not in ("0.00", "1.00")
    assert abs(float(shown.strip("<> ")) - value) < 0.0101


def test_millimetres_come_before_pixels() -> None:
    facts = measurements({"area_px": 400, "area_mm2": 96.04, "diameter_px": 25.0, "diameter_mm": 12.25})
    assert [(fact.value, fact.reason) for fact in facts] == [("96.0 mm²", ""), ("12.2 mm", "")]


def test_pixels_come_with_the_reason() -> None:
    facts = measurements({"area_px": 12400, "area_mm2": None, "diameter_px": 140.4, "diameter_mm": ""})
    assert [(fact.value, fact.reason) for fact in facts] == [("12\u202f400 px", NO_SPACING), ("140 px", NO_SPACING)]


@pytest.mark.parametrize(
    ("size", "shown"), [(412.4, "412 mm³"), (9211, "9.2 cm³"), (1000, "1.0 cm³"), (8.25, "8.2 mm³")]
)
def test_volumes_have_a_readable_unit(size: float, shown: str) -> None:
    assert measurements({"volume_mm3": size})[0].value == shown


def test_the_area_of_a_volume_is_called_what_it_is() -> None:
    labels = [fact.label for fact in measurements({"volume_mm3": 90, "area_mm2": 30}, volume=True)]
    assert labels == ["Volume", "Area of the largest slice"]


@pytest.mark.parametrize("nothing", [None, "", "nan", float("nan"), float("inf"), "n/a", []])
def test_what_is_no_number_is_unknown(nothing: object) -> None:
    assert number_of(nothing) is None


@pytest.mark.parametrize(
    ("gate", "decision", "said", "kind"),
    [
        ("passed", "tumor", "passed", "passed"),
        ("refused: looks like text", "not_brain_mri", "refused: looks like text", "refused"),
        (True, "tumor", "passed", "passed"),
        (False, "not_brain_mri", "refused", "refused"),
        (0.25, "tumor", "passed (score 0.25)", "passed"),
        ("4", "not_brain_mri", "refused (score 4.00)", "refused"),
        (None, "tumor", "not judged", "not judged"),
        ("", "tumor", "not judged", "not judged"),
    ],
)
def test_the_gate_in_words(gate: object, decision: str, said: str, kind: str) -> None:
    reading = read_row({"id": "a", "status": "ok", "gate": gate, "decision": decision}, 1)
    assert (reading.gate, reading.gate_kind) == (said, kind)


def test_a_row_of_the_csv_file_reads_like_the_row_itself() -> None:
    values = {"id": "a", "status": "ok", "decision": "tumor", "probability": 0.934, "lesions": 2, "area_px": 30.0}
    assert read_row(values, 1) == read_row({key: str(value) for key, value in values.items()}, 1)


@pytest.mark.parametrize(("field", "value"), [("decision", "tumour"), ("status", "done")])
def test_a_word_outside_the_contract_is_refused(field: str, value: str) -> None:
    with pytest.raises(DataError, match=f"unknown {field} '{value}'"):
        read_row({"id": "a", "status": "ok", "decision": "tumor", field: value}, 1)


def test_a_failed_scan_says_nothing_of_sides_or_decision() -> None:
    reading = read_row({"id": "a", "status": "failed", "decision": "", "error": "a.png: 0 bytes; get it again"}, 1)
    assert (reading.word, reading.sides, reading.probability) == ("Failed", "", None)
