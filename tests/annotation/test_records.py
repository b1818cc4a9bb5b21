"""Records: what stands in them, what they refuse, and what a manifest makes of them."""

import json
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tumorscope import io
from tumorscope.annotation import rle
from tumorscope.annotation.engine import ENGINES
from tumorscope.annotation.prompts import Prompts
from tumorscope.annotation.records import Annotation, Edit, Lesion, Prompted, ScanFacts, family, fingerprint, stamp
from tumorscope.datasets.facts import sha256
from tumorscope.datasets.schema import MASK_SOURCES
from tumorscope.errors import DataError
from tumorscope.scan import Scan

AT = "2026-03-01T10:00:00.000Z"
SCAN = ScanFacts.of(Scan.of(np.arange(30).reshape(5, 6), spacing=(1.0, 0.5), name="7.png"))
MASKS = arrays(bool, (5, 6))


def edit(kind, **more):
    return Edit(kind=kind, time=AT, pixels=3, **more)


def lesion(mask=None, **more):
    mask = np.eye(5, 6, dtype=bool) if mask is None else mask
    return Lesion(mask=rle.encode(mask), started=AT, finished=AT, **more)


def annotation(*lesions, **more):
    return Annotation(case_id="7", scan=SCAN, lesions=lesions, created=AT, modified=AT, **more)


@given(st.lists(MASKS, max_size=4))
def test_a_record_survives_json(masks):
    prompts = Prompted(index=0, prompts=Prompts().click(1, 2).to_dict())
    made = annotation(
        *(
            lesion(mask, prompts=(prompts,), edits=(edit("brush", detail={"radius": 2}),), quality=0.5, candidate=1)
            for mask in masks
        ),
        annotator="Zoë", note="two\nlines", decision="corrected",
    )  # fmt: skip
    again = Annotation.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert np.array_equal(again.mask(), np.any([np.zeros((5, 6), bool), *masks], axis=0))
    assert np.array_equal(again.label_map() > 0, again.mask())


def test_the_json_has_the_keys_of_the_contract():
    made = annotation(lesion()).to_dict()
    assert made["schema"] == 1
    assert sorted(made) == sorted(
        ("schema", "id", "case_id", "scan", "annotator", "software", "created", "modified", "revision", "decision",
         "note", "lesions")
    )  # fmt: skip
    assert sorted(made["scan"]) == ["affine", "axes", "name", "sha256", "shape", "spacing"]
    assert sorted(made["lesions"][0]) == sorted(
        ("id", "name", "tumor_type", "mask", "source", "engine", "engine_version", "checkpoint_sha256", "prompts",
         "candidate", "candidates", "quality", "model_prediction", "started", "finished", "edits")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("more",), 1, "unknown key"),
        (("schema",), 2, "schema"),
        (("decision",), "perhaps", "decision"),
        (("revision",), -1, "revision"),
        (("revision",), "1", "revision"),
        (("annotator",), "a\nb", "annotator"),
        (("case_id",), "", "case_id"),
        (("created",), "2026-03-01T10:00:00", "zone"),
        (("created",), "yesterday", "created"),
        (("scan", "shape"), [6, 5], "lesion"),
        (("scan", "shape"), [5], "shape"),
        (("scan", "shape"), [0, 6], "shape"),
        (("scan", "spacing"), [1.0], "spacing"),
        (("scan", "spacing"), [1.0, 0.0], "spacing"),
        (("scan", "spacing"), [1.0, float("nan")], "spacing"),
        (("scan", "affine"), [[1.0]], "affine"),
        (("scan", "sha256"), "abc", "sha256"),
        (("lesions", 0, "mask", "counts"), [1], "add up"),
        (("lesions", 0, "source"), "magic", "source"),
        (("lesions", 0, "quality"), float("inf"), "quality"),
        (("lesions", 0, "id"), "../x", "id"),
        (("lesions", 0, "finished"), "2020-01-01T00:00:00Z", "before it began"),
        (("lesions", 0, "edits", 0, "kind"), "magic", "kind"),
        (("lesions", 0, "edits", 0, "axis"), 3, "axis"),
        (("lesions", 0, "edits", 0, "detail"), {"a": "x" * 5000}, "detail"),
        (("lesions", 0, "prompts"), [{"index": 0, "prompts": {"points": [{"y": 1}]}}], "prompts"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(path, value, word):
    made = annotation(lesion(edits=(edit("brush"),))).to_dict()
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DataError, match=word) as caught:
        Annotation.from_dict(made)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("given", [None, 3, "x", []])
def test_what_is_no_record_at_all_is_refused(given):
    with pytest.raises(DataError):
        Annotation.from_dict(given)


def test_two_lesions_of_one_id_are_refused():
    made = annotation(lesion(id="a"), lesion(id="b")).to_dict()
    made["lesions"][1]["id"] = "a"
    with pytest.raises(DataError, match="two lesions"):
        Annotation.from_dict(made)


def test_times_are_kept_in_utc():
    assert Edit(kind="brush", time="2026-03-01T12:00:00+02:00", pixels=0).time == AT
    assert stamp(datetime.fromisoformat("2026-03-01T04:30:00-05:30")) == AT


@pytest.mark.parametrize(
    ("source", "kinds", "expected"),
    [
        ("click", ["engine"], "click"),
        ("click", ["engine", "candidate"], "click"),
        ("click", ["engine", "brush"], "human"),
        ("click", ["engine", "erase"], "human"),
        ("click", ["brush", "engine"], "click"),
        ("click", ["engine", "brush", "clear"], "human"),
        ("sam2", ["engine", "clear", "engine"], "sam2"),
        ("human", ["brush"], "human"),
        ("human", [], "human"),
        ("model", ["import"], "model"),
        ("model", ["import", "erase"], "human"),
        ("import", ["import"], None),
        ("import", ["import", "brush"], "human"),
    ],
)
def test_the_maker_of_a_mask_is_who_drew_last(source, kinds, expected):
    one = lesion(source=source, edits=tuple(edit(kind) for kind in kinds))
    assert one.mask_source == expected
    assert expected is None or expected in MASK_SOURCES


def test_a_stroke_that_changes_nothing_makes_no_human_of_an_engine():
    nothing = Edit(kind="brush", time=AT, pixels=0)
    assert lesion(source="click", edits=(edit("engine"), nothing)).mask_source == "click"


def test_one_lesion_of_an_engine_keeps_a_scan_from_being_drawn_by_a_human():
    large, small = np.ones((5, 6), bool), np.eye(5, 6, dtype=bool)
    by_hand, by_click, by_sam = lesion(large), lesion(small, source="click"), lesion(~small, source="sam")
    assert annotation(by_hand).mask_source == "human"
    assert annotation(by_hand, by_click).mask_source == "click"
    assert annotation(by_hand, by_click, by_sam).mask_source == "sam"
    assert annotation(by_hand, lesion(np.zeros((5, 6), bool), source="sam")).mask_source == "human"
    assert annotation().mask_source == "human"


@pytest.mark.parametrize(
    ("decision", "empty", "full"),
    [("open", None, None), ("rejected", None, None), ("accepted", 0, 1), ("corrected", 0, 1)],
)
def test_the_label_follows_from_decision_and_lesions(decision, empty, full):
    assert annotation(decision=decision).label == empty
    assert annotation(lesion(), decision=decision).label == full
    assert annotation(lesion(np.zeros((5, 6), bool)), decision=decision).label == empty


def test_a_type_counts_where_all_lesions_have_it():
    glioma, unnamed = lesion(tumor_type="glioma"), lesion()
    assert annotation(glioma).tumor_type == "glioma"
    assert annotation(glioma, unnamed).tumor_type is None
    assert annotation().tumor_type is None


def test_a_revision_counts_on_and_is_checked():
    first = annotation()
    second = first.revised(decision="accepted", lesions=(lesion(),))
    assert (second.revision, second.label, second.id) == (2, 1, first.id)
    assert second.modified > first.modified
    with pytest.raises(DataError, match="decision"):
        first.revised(decision="perhaps")


def test_every_engine_has_a_family_that_a_manifest_knows():
    assert {family(name) for name in ENGINES} <= set(MASK_SOURCES)
    with pytest.raises(DataError, match="family"):
        family("magic")


def test_facts_hold_the_file_s_hash_and_no_folder(tmp_path):
    path = tmp_path / "doe" / "7.png"
    io.write_image(path, np.full((4, 5), 9, np.uint8))
    facts = ScanFacts.of(io.read(path))
    assert (facts.sha256, facts.name, facts.shape) == (sha256([path]), "7.png", (4, 5))
    assert "doe" not in json.dumps(facts.to_dict())


def test_arrays_are_known_by_their_pixels():
    image = np.zeros((4, 5), np.float32)
    other = image.copy()
    other[0, 0] = 1
    assert fingerprint(Scan.of(image)) == fingerprint(Scan.of(image.copy(), name="x"))
    assert fingerprint(Scan.of(image)) != fingerprint(Scan.of(other))


def test_a_time_outside_the_calendar_is_refused():
    with pytest.raises(DataError, match="outside the calendar"):
        Annotation.from_dict({**annotation().to_dict(), "created": "0001-01-01T00:00:00+14:00"})
