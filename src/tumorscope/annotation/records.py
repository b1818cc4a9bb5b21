"""The record of a mask: what was marked on a scan, by whom or by what, from which prompts, when, and what was changed.

`Annotation` holds `Lesion` objects, a lesion its `Edit` objects; all are unchangeable, and JSON carries them unchanged.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tumorscope import __version__
from tumorscope.annotation import rle
from tumorscope.annotation.prompts import Prompts
from tumorscope.datasets.facts import sha256
from tumorscope.errors import DataError, ScanError
from tumorscope.io.decoding import label, one_line
from tumorscope.scan import BoolArray, Scan

SCHEMA = 1
"""Of the records' JSON; a reader refuses others."""
MOST_LESIONS = 255
"""Of one scan: the numbers that a uint8 label map has beside 0."""
MOST_EDITS = 20_000
"""Of one lesion: a program gone wrong, not a person."""
LONGEST_DETAIL = 4_000
LONGEST_NAME = 200
LONGEST_NOTE = 20_000

Source = Literal["human", "sam", "sam2", "click", "classical", "model", "import"]
Kind = Literal["brush", "erase", "engine", "candidate", "import", "clear"]
Decision = Literal["accepted", "corrected", "rejected", "open"]

BY_HAND = ("brush", "erase")
DECIDED = ("accepted", "corrected")
"""Decisions under which a mask is ground truth."""
FAMILIES: dict[str, Source] = {
    "click": "click", "random-walker": "classical", "snake": "classical", "grabcut": "classical", "sam-": "sam",
    "sam2": "sam2", "medsam": "sam",
}  # fmt: skip
"""How engine names begin, and the family of each; the longest beginning counts."""


def now() -> str:
    """This moment as records write it: UTC, to the millisecond."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment with a time zone as ISO 8601 in UTC, to the millisecond.

    Examples
    --------
    >>> stamp(datetime.fromisoformat("2026-02-01T10:00:00.5+02:00"))
    '2026-02-01T08:00:00.500Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """An id that no other has: 16 hex digits."""
    return secrets.token_hex(8)


def family(engine: str) -> Source:
    """The ``mask_source`` of what an engine draws, by its name.

    Raises
    ------
    DataError
        If no family is known for it.

    Examples
    --------
    >>> family("sam2.1-hiera-tiny"), family("sam-vit-base"), family("snake")
    ('sam2', 'sam', 'classical')
    """
    held = [start for start in FAMILIES if engine.startswith(start)]
    if not held:
        raise DataError(f"engine '{engine}': its family is unknown; add it to `annotation.records.FAMILIES`")
    return FAMILIES[max(held, key=len)]


def _utc(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone; end it with Z")
    try:
        return stamp(moment)
    except OverflowError as error:
        raise ValueError("a time outside the calendar; give one of this age") from error


def _plain(text: str) -> str:
    if any(not char.isprintable() for char in text):
        raise ValueError("a name with control characters; leave them out")
    return text


Time = Annotated[str, Field(max_length=40), AfterValidator(_utc)]
Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_plain)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """Plain data with known keys; `to_dict` and `from_dict` are each other's inverse."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and text, for JSON."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_dict(cls, given: Any) -> Self:
        """The record in what `to_dict` made or a client sent.

        Raises
        ------
        DataError
            For an unknown key, a missing part, or a value of the wrong kind; one line that names it.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            finding = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                finding = "unknown key, leave it out"
            raise DataError(
                label(f"{cls.__name__.lower()}: {where:.80}: {finding:.160}; see docs/explanation/mask-provenance.md")
            ) from error


class Edit(Record):
    """One change of a lesion's mask."""

    kind: Kind = Field(description="what changed it; `candidate`: another answer of the engine was chosen")
    time: Time = Field(description="when, ISO 8601")
    axis: Literal[0, 1, 2] = Field(default=0, description="array axis across the slice that was worked on")
    index: Index = Field(default=0, description="slice along that axis; 0 in a 2-D scan")
    pixels: Index = Field(description="pixels that the mask gained or lost by it")
    detail: dict[str, Any] = Field(default_factory=dict, description="what else is known: radius, candidate, file")

    @field_validator("detail")
    @classmethod
    def _short(cls, given: dict[str, Any]) -> dict[str, Any]:
        try:
            long = len(json.dumps(given, allow_nan=False))
        except TypeError as error:
            raise ValueError(f"{error}; give plain data") from error
        if long > LONGEST_DETAIL:
            raise ValueError(f"more than {LONGEST_DETAIL} characters of detail; keep what tells the edit")
        return given


class Prompted(Record):
    """What was pointed at on one slice."""

    axis: Literal[0, 1, 2] = 0
    index: Index = 0
    prompts: dict[str, Any] = Field(description="points, box, scribbles, as `annotation.prompts` writes them")

    @field_validator("prompts")
    @classmethod
    def _mean_something(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _said(lambda: Prompts.from_dict(given).to_dict())


class Lesion(Record):
    """One lesion of a scan."""

    id: Id = Field(default_factory=new_id)
    name: Name = "lesion"
    tumor_type: Name | None = Field(default=None, description="glioma, meningioma, ...; null: not said")
    mask: dict[str, Any] = Field(description="run lengths on the scan's grid, see `annotation.rle`")
    source: Source = Field(default="human", description="what drew the mask that the edits began with")
    engine: Name | None = Field(default=None, description="name of the engine, or of the model predicted with")
    engine_version: Name | None = None
    checkpoint_sha256: Sha256 | None = Field(default=None, description="of weights that are not the published ones")
    prompts: tuple[Prompted, ...] = Field(
        default=(), description="what was pointed at, slice by slice", max_length=4096
    )
    candidate: Index | None = Field(default=None, description="which answer was chosen, from 0 on")
    candidates: Index = Field(default=0, description="how many answers there were")
    quality: Finite | None = Field(default=None, description="IoU with the truth that the engine predicted")
    model_prediction: Name | None = Field(default=None, description="id of the prediction that the work began with")
    started: Time = Field(default_factory=now)
    finished: Time = Field(default_factory=now)
    edits: tuple[Edit, ...] = Field(default=(), max_length=MOST_EDITS)

    @field_validator("mask")
    @classmethod
    def _adds_up(cls, given: dict[str, Any]) -> dict[str, Any]:
        _said(lambda: rle.check(given))
        return given

    @field_validator("finished")
    @classmethod
    def _after(cls, finished: str, info: Any) -> str:
        if finished < info.data.get("started", finished):
            raise ValueError("it ends before it began; correct the times")
        return finished

    @property
    def pixels(self) -> BoolArray:
        """The mask, (H, W) or (D, H, W)."""
        return rle.decode_any(self.mask)

    @property
    def area(self) -> int:
        """Marked pixels or voxels."""
        return rle.area(self.mask)

    @property
    def mask_source(self) -> str | None:
        """What a manifest calls the maker of this mask; None for an imported one of which nothing is known.

        ``human`` where the last edit was by hand, or nothing but a hand drew; else the family of the engine. To choose
        another candidate or to clear a slice is no drawing, nor is a stroke that changes no pixel.

        Examples
        --------
        >>> edit = Edit(kind="engine", time="2026-01-01T00:00:00Z", pixels=9)
        >>> lesion = Lesion(mask=rle.encode(np.ones((3, 3), bool)), source="click", edits=(edit,))
        >>> lesion.mask_source
        'click'
        >>> brushed = edit.model_copy(update={"kind": "brush"})
        >>> lesion.model_copy(update={"edits": (edit, brushed)}).mask_source
        'human'
        """
        drawing = [one.kind for one in self.edits if one.kind != "clear" and (one.pixels or one.kind not in BY_HAND)]
        if self.source == "human" or (drawing and drawing[-1] in BY_HAND):
            return "human"
        return None if self.source == "import" else self.source


class ScanFacts(Record):
    """Which scan was annotated, without what identifies a patient."""

    sha256: Sha256 = Field(description="of the file, or of a series' files; of the pixels where there is no file")
    name: Name = Field(description="the file's name without its folders")
    shape: tuple[Index, ...] = Field(min_length=2, max_length=3, description="(H, W) or (D, H, W)")
    axes: Literal["YX", "ZYX", "CYX", "CZYX"]
    spacing: tuple[Finite, ...] | None = Field(default=None, description="mm along the axes; null: not known")
    affine: tuple[tuple[Finite, ...], ...] | None = Field(default=None, description="index to RAS+ mm, 4x4")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        axes = len(self.axes.removeprefix("C"))
        if len(self.shape) != axes or 0 in self.shape:
            raise ValueError(f"shape {list(self.shape)} does not fit the axes {self.axes}")
        if self.spacing is not None and (len(self.spacing) != axes or min(self.spacing) <= 0):
            raise ValueError(f"spacing {list(self.spacing)} is not one number above 0 for each of {axes} axes")
        if self.affine is not None and [len(row) for row in self.affine] != [4] * 4:
            raise ValueError("the affine is no 4x4 matrix")
        return self

    @classmethod
    def of(cls, scan: Scan, *, name: str | None = None) -> Self:
        """The facts of a scan; its file is read once more for the hash.

        ``name`` replaces the file's, where that one could identify a patient.

        Raises
        ------
        ScanError
            As `fingerprint`.

        Examples
        --------
        >>> ScanFacts.of(Scan.of(np.zeros((4, 5), np.float32), spacing=(1.0, 0.5))).spacing
        (1.0, 0.5)
        """
        affine = scan.affine
        own = name or scan.source.path.name
        return cls(
            sha256=fingerprint(scan),
            name="".join(char if char.isprintable() else "_" for char in own)[-LONGEST_NAME:] or "scan",
            shape=scan.shape,
            axes=scan.axes,  # type: ignore[arg-type]
            spacing=scan.spacing,
            affine=None if affine is None else tuple(map(tuple, np.asarray(affine, float).tolist())),
        )


def fingerprint(scan: Scan) -> str:
    """Hash of the scan's file or files; of its shape and pixels where it was not read from one.

    Raises
    ------
    ScanError
        If a file is there and cannot be read.

    Examples
    --------
    >>> image = np.zeros((4, 5), np.float32)
    >>> fingerprint(Scan.of(image)) == fingerprint(Scan.of(image.reshape(5, 4)))
    False
    """
    files = scan.source.files or (scan.source.path,)
    if scan.source.format != "array" and all(file.is_file() for file in files):
        try:
            return sha256(files)
        except OSError as error:
            raise ScanError(f"{label(files[0])}: cannot be read ({one_line(error)}); check its permissions") from error
    pixels = np.ascontiguousarray(scan.pixels, "<f4")
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


class Annotation(Record):
    """All lesions that one annotator marked on one scan, and the decision on it."""

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")  # type: ignore[arg-type]
    id: Id = Field(default_factory=new_id)
    case_id: Name = Field(min_length=1, description="what the work list calls the scan")
    scan: ScanFacts
    annotator: Name = Field(default="", description="a name or a pseudonym, as the annotator gave it")
    software: dict[str, Name] = Field(default_factory=lambda: {"tumorscope": __version__}, max_length=20)
    created: Time = Field(default_factory=now)
    modified: Time = Field(default_factory=now)
    revision: Index = 1
    decision: Decision = Field(default="open", description="accepted and corrected masks are ground truth")
    note: str = Field(default="", max_length=LONGEST_NOTE)
    lesions: tuple[Lesion, ...] = Field(default=(), max_length=MOST_LESIONS)

    @model_validator(mode="after")
    def _on_one_grid(self) -> Self:
        seen = set()
        for lesion in self.lesions:
            shape = tuple(lesion.mask["size"])
            if shape != self.scan.shape:
                raise ValueError(f"lesion {lesion.id} is {_size(shape)}, its scan {_size(self.scan.shape)}")
            if lesion.id in seen:
                raise ValueError(f"two lesions have the id {lesion.id}")
            seen.add(lesion.id)
        return self

    @property
    def decided(self) -> bool:
        """Whether its masks are ground truth: accepted or corrected."""
        return self.decision in DECIDED

    @property
    def marked(self) -> tuple[Lesion, ...]:
        """The lesions with at least one pixel."""
        return tuple(lesion for lesion in self.lesions if lesion.area)

    @property
    def label(self) -> int | None:
        """1 with a lesion, 0 for a scan decided on without one, None while it is open or after it was rejected."""
        return (1 if self.marked else 0) if self.decided else None

    @property
    def mask_source(self) -> str | None:
        """What a manifest calls the maker of all masks together: of the largest lesion that no human finished.

        ``human`` only where a human finished every lesion, or decided that there is none. None where an imported lesion
        without a known maker is the largest such.
        """
        others = [lesion for lesion in self.marked if lesion.mask_source != "human"]
        return max(others, key=lambda lesion: lesion.area).mask_source if others else "human"

    @property
    def tumor_type(self) -> str | None:
        """The one type that all lesions have; None where they differ or it was not said."""
        types = {lesion.tumor_type for lesion in self.marked}
        return types.pop() if len(types) == 1 else None

    def mask(self) -> BoolArray:
        """(H, W) or (D, H, W) union of all lesions."""
        result = np.zeros(self.scan.shape, bool)
        for lesion in self.lesions:
            result |= lesion.pixels
        return result

    def label_map(self) -> NDArray[np.uint8]:
        """(H, W) or (D, H, W) numbers of the lesions, from 1 on in their order; 0 where there is none.

        Where lesions overlap, the later one stands.

        Examples
        --------
        >>> scan = ScanFacts.of(Scan.of(np.zeros((1, 3), np.float32)))
        >>> masks = [np.array([[1, 1, 0]]) > 0, np.array([[0, 1, 0]]) > 0]
        >>> lesions = tuple(Lesion(mask=rle.encode(mask)) for mask in masks)
        >>> Annotation(case_id="a", scan=scan, lesions=lesions).label_map().tolist()
        [[1, 2, 0]]
        """
        result = np.zeros(self.scan.shape, np.uint8)
        for number, lesion in enumerate(self.lesions, start=1):
            result[lesion.pixels] = number
        return result

    def revised(self, **changes: Any) -> Self:
        """The next revision, with these fields changed, checked anew, and the time of now.

        Raises
        ------
        DataError
            As `from_dict`.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return self.from_dict({**values, "modified": now(), "revision": self.revision + 1, **changes})


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _said(check: Callable[[], Any]) -> Any:
    """What ``check`` gives; a DataError of it as the ValueError that pydantic reports."""
    try:
        return check()
    except DataError as error:
        raise ValueError(str(error)) from error
