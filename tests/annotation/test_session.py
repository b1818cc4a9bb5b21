"""Sessions: every change can be undone and done again, and the record says what happened."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.annotation.engine import Candidate, Embedded, check
from tumorscope.annotation.prompts import Prompts
from tumorscope.annotation.session import KEEP, Session
from tumorscope.errors import DataError
from tumorscope.inference.postprocess import measure
from tumorscope.scan import Scan


class Discs:
    """A disc of radius 2 around each positive click or scribble vertex, the box filled, discs taken out at negative
    ones, on top of what it is to correct; two more answers, one row lower and one row higher."""

    name, version = "click-discs", "3"

    def __init__(self):
        self.embedded = []
        self.previous = None

    def embed(self, pixels):
        self.embedded.append(pixels.copy())
        return Embedded(self.name, pixels.shape, {})

    def segment(self, embedded, prompts: Prompts, previous=None):
        check(embedded, prompts, previous, self.name)
        self.previous = previous
        rows, columns = np.indices(embedded.shape)
        mask = np.zeros(embedded.shape, bool) if previous is None else previous.mask.copy()
        if prompts.box:
            box = prompts.box
            mask |= (rows >= box.top) & (rows <= box.bottom) & (columns >= box.left) & (columns <= box.right)
        said = [(one.y, one.x, one.positive) for one in prompts.points]
        said += [(y, x, line.positive) for line in prompts.scribbles for y, x in line.path]
        for y, x, positive in said:
            disc = (rows - y) ** 2 + (columns - x) ** 2 <= 4
            mask = mask | disc if positive else mask & ~disc
        masks = [mask, np.roll(mask, 1, axis=0), np.roll(mask, -1, axis=0)]
        return tuple(Candidate(one, 0.9 - place / 10, np.float32([place])) for place, one in enumerate(masks))


def session(shape=(21, 17), **more):
    return Session(Scan.of(np.random.default_rng(0).random(shape), **more), Discs())


def seen(one):
    """All that a session knows, as plain data."""
    return [lesion.to_dict() for lesion in one.lesions], one.mask().tobytes(), len(one.candidates), one._state


ROWS, COLUMNS = st.integers(0, 20), st.integers(0, 16)
PATHS = st.lists(st.tuples(ROWS, COLUMNS), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("click"), ROWS, COLUMNS),
    st.tuples(st.just("box"), st.just(3), st.just(4), st.integers(3, 20), st.integers(4, 16)),
    st.tuples(st.just("scribble"), PATHS),
    st.tuples(st.just("brush"), PATHS, st.integers(0, 4)),
    st.tuples(st.just("erase"), PATHS, st.integers(0, 4)),
    st.tuples(st.just("lesion"), st.sampled_from(["left", "right"])),
    st.tuples(st.just("choose"), st.integers(0, 2)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("remove")),
)


def did(one, step):
    """Whether a step could be done; where it could not, nothing may have changed."""
    before = seen(one)
    try:
        getattr(one, step[0])(*step[1:])
    except DataError:
        assert seen(one) == before
        return False
    return True


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=8))
def test_undo_and_redo_walk_the_same_states_back_and_forth(steps):
    one = session()
    states = [seen(one)]
    for step in steps:
        if did(one, step):
            states.append(seen(one))
    for state in reversed(states[:-1]):
        assert one.undo()
        assert seen(one) == state
    assert not one.undo()
    for state in states[1:]:
        assert one.redo()
        assert seen(one) == state
    assert not one.redo()
    for state in reversed(states[:-1]):
        assert one.undo()
        assert seen(one) == state
    assert not one.undo()


@settings(max_examples=30)
@given(st.lists(STEPS, min_size=1, max_size=5), STEPS)
def test_a_new_step_forgets_what_was_undone(steps, last):
    one = session()
    for step in steps:
        did(one, step)
    one.undo()
    if did(one, last):
        assert not one.redo()


@settings(max_examples=30)
@given(PATHS, st.integers(0, 4))
def test_a_brush_marks_what_lies_within_its_radius(path, radius):
    one = session()
    one.brush(path, radius)
    rows, columns = np.indices((21, 17))
    for y, x in path:
        assert one.mask()[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2].all()
    if len(path) == 1:
        assert one.mask().sum() == ((rows - path[0][0]) ** 2 + (columns - path[0][1]) ** 2 <= radius**2).sum()
    marked = one.mask()
    one.erase(path, radius)
    assert marked.any()
    assert not one.mask().any()
    assert one.lesions == ()


def test_a_slice_is_embedded_once():
    one = session((5, 21, 17))
    for index in (2, 4, 2, 4):
        one.go(index)
        one.click(10, 8)
        one.click(12, 8)
    assert len(one.engine.embedded) == 2
    for held, index in zip(one.engine.embedded, (2, 4), strict=True):
        assert np.array_equal(held, one.scan.pixels[index])


def test_embedded_slices_are_bounded():
    one = session((KEEP + 5, 9, 9))
    for index in range(KEEP + 5):
        one.go(index)
        one.click(4, 4)
    assert len(one._embedded) == KEEP
    one.click(5, 5)
    assert len(one.engine.embedded) == KEEP + 5


def test_the_engine_sees_its_own_answer_again_until_a_hand_changes_the_mask():
    one = session()
    one.click(10, 8)
    assert one.engine.previous is None
    one.choose(1)
    one.click(12, 8)
    assert one.engine.previous.logits == np.float32([1])
    one.brush([(1, 1)], 0)
    assert one.candidates == ()
    one.click(13, 8)
    assert one.engine.previous.logits is None
    assert one.engine.previous.mask[1, 1]


def test_the_record_tells_prompts_edits_candidate_and_times():
    ticks = (f"2026-01-01T00:00:{second:02d}.000Z" for second in range(60))
    one = Session(Scan.of(np.random.default_rng(0).random((21, 17)), name="7.png"), Discs(), clock=lambda: next(ticks))
    one.lesion("left", "glioma")
    one.click(10, 8)
    one.click(2, 2, positive=False)
    one.choose(2)
    one.erase([(9, 8)], 1)
    made = one.annotation("ann", note="seen twice")
    (left,) = made.lesions
    assert (left.name, left.tumor_type, left.engine, left.engine_version) == ("left", "glioma", "click-discs", "3")
    assert (left.source, left.mask_source, left.candidate, left.candidates) == ("click", "human", 2, 3)
    assert left.quality == pytest.approx(0.7)
    assert [edit.kind for edit in left.edits] == ["engine", "engine", "candidate", "erase"]
    assert left.edits[0].pixels == 13
    assert left.edits[-1].pixels == 13 - left.area
    assert Prompts.from_dict(left.prompts[0].prompts) == Prompts().click(10, 8).click(2, 2, positive=False)
    assert left.started < left.edits[0].time < left.edits[-1].time == left.finished
    assert (made.case_id, made.annotator, made.decision, made.note) == ("7.png", "ann", "accepted", "seen twice")
    assert np.array_equal(made.mask(), one.mask())


def test_lesions_are_worked_on_one_at_a_time():
    one = session()
    first = one.lesion("first")
    one.click(5, 5)
    one.lesion("second")
    one.click(15, 10)
    assert not one.mask()[5, 5]
    one.select(first)
    assert one.mask()[5, 5]
    assert not one.mask()[15, 10]
    one.brush([(1, 1)], 0)
    assert [lesion.area for lesion in one.lesions] == [14, 13]
    one.remove()
    assert [lesion.name for lesion in one.lesions] == ["second"]
    with pytest.raises(DataError, match="none of this id"):
        one.select(first)


def test_measurements_are_those_of_predict():
    one = session(spacing=(0.5, 2.0))
    one.box(3, 4, 6, 9)
    assert one.measurements() == measure(one.mask(), (0.5, 2.0))
    assert one.measurements().area_mm2 == 24.0


def test_a_volume_is_marked_on_the_slice_that_is_worked_on():
    one = session((4, 21, 17), spacing=(5.0, 1.0, 1.0))
    assert one.index == 2
    one.click(10, 8)
    one.go(0)
    one.brush([(3, 3)], 0)
    one.clear()
    assert np.flatnonzero(one.mask().any(axis=(1, 2))).tolist() == [2]
    assert one.measurements().volume_mm3 == 65.0
    (lesion,) = one.lesions
    assert [(edit.kind, edit.index) for edit in lesion.edits] == [("engine", 2), ("brush", 0), ("clear", 0)]
    assert [asked.index for asked in lesion.prompts] == [2]
    for wrong in (-1, 4):
        with pytest.raises(DataError, match="the scan has 4"):
            one.go(wrong)


def test_a_prediction_that_was_changed_is_corrected_and_else_accepted():
    given = np.zeros((21, 17), bool)
    given[3:8, 4:9] = True
    one = session()
    one.lesion("from the model", mask=given, prediction="p1", model=("scout", "1.0"))
    untouched = one.annotation("ann")
    assert untouched.decision == "accepted"
    assert (untouched.lesions[0].mask_source, untouched.lesions[0].model_prediction) == ("model", "p1")
    given[:] = False
    assert one.mask().sum() == 25
    one.click(15, 10)
    assert one.engine.previous.logits is None
    changed = one.annotation("ann")
    assert (changed.decision, changed.lesions[0].mask_source, changed.lesions[0].area) == ("corrected", "click", 38)


def test_a_session_without_lesions_is_a_healthy_scan():
    made = session().annotation("ann")
    assert (made.label, made.lesions) == (0, ())


def test_an_engine_may_say_its_family():
    one = session()
    one.engine.name, one.engine.family = "mine", "sam"
    one.click(10, 8)
    assert one.lesions[0].source == "sam"


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (lambda one: one.click(30, 3), "outside"),
        (lambda one: one.click(3, 3, positive=False), "nothing says"),
        (lambda one: one.box(8, 8, 2, 2), "ends before"),
        (lambda one: one.scribble([]), "vertex"),
        (lambda one: one.scribble([(1, 2, 3)]), "vertex"),
        (lambda one: one.scribble([(1, float("nan"))]), "vertex"),
        (lambda one: one.brush([("a", "b")]), "vertex"),
        (lambda one: one.brush([(1, 99)]), "outside"),
        (lambda one: one.brush([(1, 1)], -1), "radius"),
        (lambda one: one.brush([(1, 1)], 1000), "radius"),
        (lambda one: one.choose(0), "candidate"),
        (lambda one: one.clear(), "none is begun"),
        (lambda one: one.lesion("a\nb"), "control"),
        (lambda one: one.lesion(mask=np.zeros((2, 2), bool)), "2x2"),
    ],
)
def test_a_step_that_means_nothing_is_refused_and_changes_nothing(step, word):
    one = session()
    before = seen(one)
    with pytest.raises(DataError, match=word):
        step(one)
    assert seen(one) == before
    assert not one.undo()


def test_several_channels_must_be_told_apart_first():
    scan = Scan.of(np.zeros((3, 5, 5), np.float32))
    coloured = Scan(scan.pixels, "CYX", scan.grid, scan.source)
    with pytest.raises(DataError, match="channels"):
        Session(coloured, Discs())


def test_the_smallest_scan_can_be_marked():
    one = session((1, 1))
    one.brush([(0, 0)], 0)
    assert one.annotation("ann").mask().tolist() == [[True]]
