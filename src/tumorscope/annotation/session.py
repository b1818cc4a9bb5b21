"""Annotating from a script or a notebook: clicks, boxes, scribbles and brushes on one scan, with undo and redo."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tumorscope.annotation.draft import Draft, Line, stroke, vertices_of
from tumorscope.annotation.engine import DEFAULT, Candidate, Embedded, Engine, open_engine
from tumorscope.annotation.prompts import Box, Prompts, Scribble
from tumorscope.annotation.records import (
    MOST_LESIONS,
    Annotation,
    Decision,
    Edit,
    Kind,
    Lesion,
    ScanFacts,
    family,
    new_id,
    now,
)
from tumorscope.errors import DataError
from tumorscope.inference.postprocess import Measurements, measure
from tumorscope.io.decoding import label
from tumorscope.scan import BoolArray, FloatArray, Scan

KEEP = 32  # embedded slices held; one of SAM takes 4 MB
WIDEST = 200  # px, radius of the brush


@dataclass(frozen=True)
class _State:
    lesions: tuple[Draft, ...] = ()
    active: str | None = None


class Session:
    """One scan being annotated.

    Every change can be undone and done again, without limit. A failed one (a prompt outside the slice, say) changes
    nothing. Work goes slice by slice along the first axis of a volume.

    Parameters
    ----------
    scan : Scan
        Of one channel.
    engine : Engine or str
        What answers prompts; a name opens one (`engine.ENGINES`). An engine of your own may say its ``family``, one of
        the sources of `records.Lesion`, and the ``checkpoint_sha256`` of its weights.
    clock : callable
        Gives the time of an edit as text.

    Raises
    ------
    DataError
        If the scan has several channels, or the engine is unknown.

    Examples
    --------
    >>> from tumorscope.annotation.prompts import drawn
    >>> class Disc:
    ...     name, version, family = "disc", "1", "classical"
    ...     def embed(self, pixels):
    ...         return Embedded(self.name, pixels.shape, {})
    ...     def segment(self, embedded, prompts, previous=None):
    ...         return (Candidate(drawn(prompts, embedded.shape, positive=True, width=5), 0.9),)
    >>> session = Session(Scan.of(np.eye(32), spacing=(0.5, 0.5)), Disc())
    >>> session.click(10, 12)
    >>> session.brush([(10, 16), (10, 20)], radius=1)
    >>> session.measurements().lesions, session.measurements().diameter_mm
    (1, 6.0)
    >>> session.undo()
    True
    >>> record = session.annotation("me").lesions[0]
    >>> record.mask_source, [edit.kind for edit in record.edits], record.area
    ('classical', ['engine'], 13)
    """

    def __init__(self, scan: Scan, engine: Engine | str = DEFAULT, *, clock: Callable[[], str] = now) -> None:
        if scan.axes[0] == "C":
            raise DataError(f"{label(scan.source.path.name)}: has several channels; choose one with scan.channel")
        self.scan = scan
        self.engine: Engine = open_engine(engine) if isinstance(engine, str) else engine
        self.index = scan.shape[0] // 2 if scan.is_volume else 0
        self._clock = clock
        self._created = clock()
        self._state = _State()
        self._before: list[_State] = []
        self._after: list[_State] = []
        self._embedded: OrderedDict[int, Embedded] = OrderedDict()

    @property
    def pixels(self) -> FloatArray:
        """(H, W) values of the slice that is worked on."""
        return self.scan.pixels[self.index] if self.scan.is_volume else self.scan.pixels

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The last answers of the engine, the best first; none after the mask was changed by hand."""
        lesion = self._lesion()
        return lesion.candidates if lesion is not None and lesion.asked == self.index else ()

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The records of all lesions that have a pixel."""
        return tuple(one.record(self.scan.shape) for one in self._state.lesions if not one.empty)

    def mask(self) -> BoolArray:
        """(H, W) or (D, H, W) mask of the lesion that is worked on; empty where there is none."""
        lesion = self._lesion()
        return np.zeros(self.scan.shape, bool) if lesion is None else lesion.mask(self.scan.shape)

    def measurements(self) -> Measurements:
        """Number of regions, area, diameter and volume of the lesion that is worked on (`inference.postprocess`)."""
        return measure(self.mask(), self.scan.spacing)

    def go(self, index: int) -> None:
        """Work on another slice of a volume, counted from 0. Nothing to undo: no lesion changes.

        Raises
        ------
        DataError
            If there is no such slice.
        """
        count = self.scan.shape[0] if self.scan.is_volume else 1
        if not 0 <= index < count:
            raise DataError(f"slice {index}: the scan has {count}; count them from 0")
        self.index = index

    def lesion(
        self,
        name: str = "lesion",
        tumor_type: str | None = None,
        *,
        mask: BoolArray | None = None,
        prediction: str | None = None,
        model: tuple[str, str] | None = None,
    ) -> str:
        """Begin another lesion and return its id; what follows is about this one.

        Parameters
        ----------
        name, tumor_type : str
        mask : (H, W) or (D, H, W) bool array, optional
            What to begin with: a model's prediction where ``prediction`` or ``model`` says so, else an import.
        prediction : str, optional
            Id of the prediction.
        model : (str, str), optional
            Name and version of the model.

        Raises
        ------
        DataError
            If the mask is not of the scan's shape, or there are too many lesions.
        """
        if len(self._state.lesions) >= MOST_LESIONS:
            raise DataError(f"lesions: there are {MOST_LESIONS} on this scan already; no more can be kept")
        moment = self._clock()
        draft = Draft(new_id(), name, tumor_type, moment, moment)
        if mask is not None:
            draft = draft.begun_with(mask, self.scan.shape, prediction, model)
        draft.record(self.scan.shape)  # a name that no record takes is refused here, not when all is done
        self._do(_State((*self._state.lesions, draft), draft.id))
        return draft.id

    def select(self, lesion: str) -> None:
        """Work on another lesion.

        Raises
        ------
        DataError
            If none has this id.
        """
        if all(one.id != lesion for one in self._state.lesions):
            raise DataError(f"lesion '{lesion}': there is none of this id; ask `lesions`")
        self._do(replace(self._state, active=lesion))

    def remove(self) -> None:
        """Take the lesion that is worked on away, and go on with the last of the others."""
        rest = tuple(one for one in self._state.lesions if one.id != self._state.active)
        self._do(_State(rest, rest[-1].id if rest else None))

    def click(self, y: float, x: float, *, positive: bool = True) -> None:
        """Say that the lesion is here, or with ``positive=False`` that it is not, and let the engine answer.

        Raises
        ------
        DataError
            If the point lies outside the slice, or nothing yet says where the lesion is.
        """
        self._ask(lambda said: said.click(y, x, positive=positive), "click")

    def box(self, top: float, left: float, bottom: float, right: float) -> None:
        """Put a box around the lesion, instead of an earlier one, and let the engine answer; raises as `click`."""
        self._ask(lambda said: said.boxed(Box(float(top), float(left), float(bottom), float(right))), "box")

    def scribble(self, path: Line, *, positive: bool = True) -> None:
        """Draw a line through the lesion, or where it is not, and let the engine answer; raises as `click`."""
        line = Scribble(vertices_of(path), positive)
        self._ask(lambda said: replace(said, scribbles=(*said.scribbles, line)), "scribble")

    def choose(self, candidate: int) -> None:
        """Take another of the engine's `candidates`.

        Raises
        ------
        DataError
            If there is no such answer.
        """
        answers, lesion = self.candidates, self._lesion()
        if lesion is None or not 0 <= candidate < len(answers):
            raise DataError(f"candidate {candidate}: the engine gave {len(answers)} here; count them from 0")
        answer = answers[candidate]
        settled = {**lesion.settled, "candidate": candidate, "quality": answer.quality}
        self._change(
            replace(lesion, settled=settled), answer.mask, "candidate", {"candidate": candidate}, answers=answers
        )

    def brush(self, path: Line, radius: int = 3) -> None:
        """Mark all pixels within ``radius`` of a line, by hand.

        Parameters
        ----------
        path : sequence of (float, float)
            Row and column of each vertex, on the slice.
        radius : int
            In pixels; 0 is one pixel wide.

        Raises
        ------
        DataError
            If the path is empty or leaves the slice, or the radius is out of range.
        """
        self._paint(path, radius, "brush")

    def erase(self, path: Line, radius: int = 3) -> None:
        """Take all pixels within ``radius`` of a line away from the lesion, by hand; arguments as for `brush`."""
        self._paint(path, radius, "erase")

    def clear(self) -> None:
        """Empty the slice of the lesion that is worked on, its prompts too."""
        lesion = self._lesion()
        if lesion is None:
            raise DataError("lesion: none is begun, so nothing can be cleared; click first")
        bare = replace(lesion, prompts={k: v for k, v in lesion.prompts.items() if k != self.index})
        self._change(bare, np.zeros(self.pixels.shape, bool), "clear", {})

    def undo(self) -> bool:
        """Take the last change back; False where there is none."""
        if not self._before:
            return False
        self._after.append(self._state)
        self._state = self._before.pop()
        return True

    def redo(self) -> bool:
        """Do again what was undone last; False where nothing was, or something else was done since."""
        if not self._after:
            return False
        self._before.append(self._state)
        self._state = self._after.pop()
        return True

    def annotation(
        self, annotator: str, decision: Decision | None = None, *, case_id: str | None = None, note: str = ""
    ) -> Annotation:
        """The record of all that was marked.

        Parameters
        ----------
        annotator : str
            A name or a pseudonym.
        decision : str or None
            None: ``corrected`` where a lesion began with a given mask and was changed, else ``accepted``. Without any
            lesion that means: a healthy scan.
        case_id : str or None
            The file's name, when None.
        note : str

        Raises
        ------
        DataError
            If a text is too long or holds control characters.
        """
        kept = self.lesions
        changed = any(one.edits and one.edits[0].kind == "import" and len(one.edits) > 1 for one in kept)
        facts = ScanFacts.of(self.scan)
        return Annotation.from_dict({
            "case_id": case_id or facts.name, "scan": facts, "annotator": annotator, "created": self._created,
            "modified": self._clock(), "decision": decision or ("corrected" if changed else "accepted"), "note": note,
            "lesions": kept,
        })  # fmt: skip

    def _lesion(self) -> Draft | None:
        return next((one for one in self._state.lesions if one.id == self._state.active), None)

    def _or_new(self) -> Draft:
        moment = self._clock()
        return self._lesion() or Draft(new_id(), "lesion", None, moment, moment)

    def _do(self, state: _State) -> None:
        self._before.append(self._state)
        self._after.clear()
        self._state = state

    def _ask(self, say: Callable[[Prompts], Prompts], what: str) -> None:
        """Add to the prompts of the slice and take the engine's best answer."""
        lesion = self._or_new()
        prompts = say(lesion.prompts.get(self.index, Prompts()))
        prompts.check(self.pixels.shape)
        answers = self.engine.segment(self._embed(), prompts, self._previous(lesion))
        if not answers:
            raise DataError(f"engine '{self.engine.name}': gave no answer; add a prompt, or take another engine")
        settled = {
            **lesion.settled,
            "source": getattr(self.engine, "family", None) or family(self.engine.name),
            "engine": self.engine.name,
            "engine_version": self.engine.version,
            "checkpoint_sha256": getattr(self.engine, "checkpoint_sha256", None),
            "candidate": 0,
            "candidates": len(answers),
            "quality": answers[0].quality,
        }
        said = replace(lesion, prompts={**lesion.prompts, self.index: prompts}, settled=settled)
        self._change(said, answers[0].mask, "engine", {"prompt": what}, answers=tuple(answers))

    def _embed(self) -> Embedded:
        held = self._embedded.get(self.index)
        if held is None:
            held = self.engine.embed(self.pixels)
            self._embedded[self.index] = held
            if len(self._embedded) > KEEP:
                self._embedded.popitem(last=False)
        self._embedded.move_to_end(self.index)
        return held

    def _previous(self, lesion: Draft) -> Candidate | None:
        """What the engine is to correct: its own chosen answer, else the mask as it stands, else nothing."""
        marked = lesion.slices.get(self.index)
        if marked is None or not marked.any():
            return None
        if lesion.candidates and lesion.asked == self.index:
            return lesion.candidates[lesion.settled["candidate"]]
        return Candidate(marked, None)

    def _paint(self, path: Line, radius: int, kind: Kind) -> None:
        if not 0 <= radius <= WIDEST:
            raise DataError(f"brush: a radius of {radius} px is out of range; give 0 to {WIDEST}")
        vertices = vertices_of(path)
        touched = stroke(vertices, self.pixels.shape, radius)
        lesion = self._or_new()
        before = lesion.slices.get(self.index, np.zeros(self.pixels.shape, bool))
        if lesion.empty:
            none = dict.fromkeys(("engine", "engine_version", "checkpoint_sha256", "candidate", "quality"))
            lesion = replace(lesion, settled={**lesion.settled, **none, "source": "human", "candidates": 0})
        after = before | touched if kind == "brush" else before & ~touched
        self._change(lesion, after, kind, {"radius": int(radius), "vertices": len(vertices)})

    def _change(
        self, lesion: Draft, mask: BoolArray, kind: Kind, detail: dict[str, Any], answers: tuple[Candidate, ...] = ()
    ) -> None:
        """Put a mask on the slice of a lesion, with its edit, as one step that can be undone."""
        before = lesion.slices.get(self.index, np.zeros(self.pixels.shape, bool))
        after = np.array(mask, bool)
        if after.shape != before.shape:
            sizes = ["x".join(map(str, shape)) for shape in (after.shape, before.shape)]
            raise DataError(f"engine '{self.engine.name}': its mask is {sizes[0]} on a slice of {sizes[1]}; mend it")
        moment = self._clock()
        pixels = int(np.count_nonzero(before ^ after))
        edit = Edit(kind=kind, time=moment, axis=0, index=self.index, pixels=pixels, detail=detail)
        changed = replace(
            lesion,
            slices={**lesion.slices, self.index: after},
            candidates=answers,
            asked=self.index,
            edits=(*lesion.edits, edit),
            finished=moment,
        )
        held = self._state.lesions
        known = any(one.id == lesion.id for one in held)
        rest = tuple(changed if one.id == lesion.id else one for one in held) if known else (*held, changed)
        self._do(_State(rest, lesion.id))
