"""Ordered steps from a scan as it was read to a picture to look at or to learn from: settings and a verb each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tumorscope.errors import RecipeError, ScanError, look_up
from tumorscope.imaging import histogram
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.bias import correct_bias
from tumorscope.imaging.cluster_candidates import candidate_mask
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.denoise import denoise
from tumorscope.imaging.edges import unsharp
from tumorscope.imaging.geometry import Box, Letterbox
from tumorscope.imaging.intensity import as_plane, normalize
from tumorscope.imaging.intensity_clusters import intensity_clusters
from tumorscope.imaging.musica import musica
from tumorscope.imaging.palettes import colored
from tumorscope.imaging.regions import region_colors, watershed
from tumorscope.scan import BoolArray, FloatArray


@dataclass(frozen=True)
class Picture:
    """A slice on its way.

    Parameters
    ----------
    pixels : (H, W) float32 array
        Grey values; in 0…1 once `Contrast` has run.
    head : (H, W) bool array
        Where the head is; all True until `Crop` or `Contrast` looked for it.
    box : Box
        Where the picture lies on the slice that was read.
    colors : (H, W, 3) uint8 array or None
        RGB, once a step coloured it. No grey step may follow.
    letterbox : Letterbox or None
        How the picture became a square, once `Resize` ran.
    guess : (H, W) bool array or None
        A guess at a lesion, once `ClusterMask` ran.
    notes : tuple of str
        What the steps found, one sentence each.
    """

    pixels: FloatArray
    head: BoolArray
    box: Box
    colors: NDArray[np.uint8] | None = None
    letterbox: Letterbox | None = None
    guess: BoolArray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: NDArray) -> Picture:
        """The picture that an (H, W) slice starts as."""
        plane = as_plane(image)
        return cls(plane, np.ones(plane.shape, bool), Box.whole(plane.shape))

    def with_mask(self, mask: BoolArray) -> BoolArray:
        """An (H, W) mask of the slice that was read, brought to this picture."""
        cut = np.ascontiguousarray(self.box.cut(mask))
        if self.letterbox is None:
            return cut
        return _in_square(cut, self.letterbox)


class Step(BaseModel):
    """Settings of one step; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def apply(self, picture: Picture) -> Picture:
        """The picture after this step."""
        raise NotImplementedError

    def apply_all(self, pictures: Sequence[Picture]) -> list[Picture]:
        """All slices of a volume after this step."""
        return [self.apply(picture) for picture in pictures]


class Clean(Step):
    """A white background becomes black; bright borders, bars and burned-in letters go."""

    step: Literal["clean"] = "clean"

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        cleaned = clean_background(picture.pixels)
        return replace(picture, pixels=cleaned.image, notes=(*picture.notes, *cleaned.findings))


class Crop(Step):
    """Cut to the head; all slices of a volume by one box."""

    step: Literal["crop"] = "crop"
    mode: Literal["auto", "hard", "soft"] = Field("auto", description="how the head is found")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        return self.apply_all([picture])[0]

    def apply_all(self, pictures: Sequence[Picture]) -> list[Picture]:  # noqa: D102
        crops = [crop_head(picture.pixels, self.mode) for picture in pictures]
        found = [crop.box for crop in crops if crop.mode != "none"] or [crops[0].box]
        box = Box(
            min(one.top for one in found), min(one.left for one in found),
            max(one.bottom for one in found), max(one.right for one in found),
        )  # fmt: skip
        return [
            replace(
                picture,
                pixels=np.ascontiguousarray(box.cut(picture.pixels)),
                head=np.ascontiguousarray(box.cut(crop.head)),
                guess=None if picture.guess is None else np.ascontiguousarray(box.cut(picture.guess)),
                box=_within(picture.box, box),
                notes=(*picture.notes, crop.reason),
            )
            for picture, crop in zip(pictures, crops, strict=True)
        ]


class Contrast(Step):
    """Grey values brought to 0…1."""

    step: Literal["contrast"] = "contrast"
    method: Literal["percentile", "zscore", "equalize", "clahe"] = Field("percentile", description="how they spread")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        where = picture.head if picture.head.any() else None
        if self.method in ("percentile", "zscore"):
            return replace(picture, pixels=normalize(picture.pixels, self.method, where=where))
        scaled = normalize(picture.pixels, where=where)
        spread = histogram.equalize(scaled, where) if self.method == "equalize" else histogram.clahe(scaled)
        return replace(picture, pixels=spread)


class Bias(Step):
    """Slow changes of brightness across the head taken out."""

    step: Literal["bias"] = "bias"
    method: Literal["quick", "n4"] = Field("quick", description="our own fit, or SimpleITK's N4")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        lowest = min(0.0, float(picture.pixels.min()))
        corrected = correct_bias(picture.pixels - np.float32(lowest), self.method, picture.head)
        return replace(picture, pixels=corrected.image + np.float32(lowest))


class Denoise(Step):
    """Less noise."""

    step: Literal["denoise"] = "denoise"
    method: Literal["gaussian", "median", "bilateral", "nlm"] = Field("nlm", description="how it is taken out")
    strength: float = Field(1.0, ge=0, description="1 is made for the noise that was measured")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        return replace(picture, pixels=denoise(picture.pixels, self.method, self.strength))


class Sharpen(Step):
    """Edges steeper, by the difference to a blurred copy."""

    step: Literal["sharpen"] = "sharpen"
    amount: float = Field(1.0, ge=0, description="share of the difference that is added")
    sigma: float = Field(1.5, gt=0, description="standard deviation of the blur, px")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        return replace(picture, pixels=unsharp(picture.pixels, self.amount, self.sigma))


class Musica(Step):
    """Weak detail amplified at every scale."""

    step: Literal["musica"] = "musica"
    form: Literal["vuylsteke", "reference", "dippel"] = Field("vuylsteke", description="curve of the amplification")
    levels: int = Field(6, ge=1, description="levels of the pyramid")
    gain: float = Field(1.0, ge=0, description="factor of all detail")
    exponent: float = Field(0.7, gt=0, description="below 1: weak detail grows more")
    crossover: float = Field(0.01, gt=0, le=1, description="share of the largest detail below which gain is even")
    keep_black: bool = Field(True, description="near-black background stays as it is")
    noise: float = Field(0.0, ge=0, description="detail below so many times the noise is not amplified")
    edge: float = Field(1.0, gt=0, description="boost of the finest level; the next two get part of it")
    latitude: float = Field(1.0, gt=0, le=1, description="share of the broad differences that is left")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        settings = self.model_dump(exclude={"step"})
        return replace(picture, pixels=np.clip(musica(picture.pixels, **settings), *_range(picture.pixels)))


class Skull(Step):
    """Scalp and skull taken out, in part or in full."""

    step: Literal["skull"] = "skull"
    amount: Literal["none", "partial", "full"] = Field("full", description="how much of it goes")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        from tumorscope.imaging.skull import strip_skull  # its snakes bring scikit-image and SciPy: slow to import

        return replace(picture, pixels=strip_skull(picture.pixels, self.amount))


class Resize(Step):
    """A square of one size, the picture in its middle."""

    step: Literal["resize"] = "resize"
    size: int = Field(256, ge=8, description="side of the square, px")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        letterbox = Letterbox.fit(picture.pixels.shape, self.size)
        head = _in_square(picture.head, letterbox)
        guess = None if picture.guess is None else _in_square(picture.guess, letterbox)
        pixels = letterbox.apply(picture.pixels, "area", fill=float(picture.pixels.min()))
        return replace(picture, pixels=pixels, head=head, guess=guess, letterbox=letterbox)


class ClusterMask(Step):
    """A guess at a lesion for scans without a mask: the most salient part of the brightest or darkest cluster."""

    step: Literal["cluster-mask"] = "cluster-mask"
    clusters: int = Field(3, ge=2, le=20, description="number of clusters of grey values")
    bright: bool = Field(True, description="the brightest cluster, not the darkest")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        guess = candidate_mask(picture.pixels, picture.head, k=self.clusters, bright=self.bright)
        return replace(picture, guess=guess)


class ClusterColors(Step):
    """Each pixel in the colour of its cluster of grey values, black for the darkest and red for the brightest."""

    step: Literal["cluster-colors"] = "cluster-colors"
    clusters: int = Field(10, ge=2, le=20, description="number of clusters")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        labels = intensity_clusters(picture.pixels, self.clusters).labels
        return replace(picture, colors=colored(labels, self.clusters))


class WatershedColors(Step):
    """Each watershed region in the colour of its mean grey value."""

    step: Literal["watershed-colors"] = "watershed-colors"
    colors: int = Field(10, ge=2, le=20, description="colours of the palette")

    def apply(self, picture: Picture) -> Picture:  # noqa: D102
        where = picture.head if picture.head.any() else None
        regions = watershed(picture.pixels, where=where)
        return replace(picture, colors=region_colors(regions, picture.pixels, self.colors))


AnyStep = Annotated[
    Clean
    | Crop
    | Contrast
    | Bias
    | Denoise
    | Sharpen
    | Musica
    | Skull
    | Resize
    | ClusterMask
    | ClusterColors
    | WatershedColors,
    Field(discriminator="step"),
]
STEPS: dict[str, type[Step]] = {
    kind.model_fields["step"].default: kind
    for kind in (
        Clean, Crop, Contrast, Bias, Denoise, Sharpen, Musica, Skull, Resize, ClusterMask, ClusterColors,
        WatershedColors,
    )
}  # fmt: skip
"""Every step by its name."""
DEFAULT = "clean,crop,contrast,musica"
COLORING = ("cluster-colors", "watershed-colors")
_STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)


def parse(text: str) -> tuple[Step, ...]:
    """The steps that ``text`` names in order, each with its settings behind colons.

    Parameters
    ----------
    text : str
        ``"clean,crop:mode=soft,contrast:method=clahe,resize:size=224"``.

    Raises
    ------
    RecipeError
        For an unknown step or setting (the nearest one is named), a bad value, or a grey step behind a coloured one.

    Examples
    --------
    >>> parse("crop:mode=hard,resize:size=64")
    (Crop(step='crop', mode='hard'), Resize(step='resize', size=64))
    """
    found = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, *settings = part.split(":")
        values: dict[str, Any] = {"step": name}
        for setting in settings:
            key, _, value = setting.partition("=")
            values[key.strip()] = value.strip()
        found.append(step(values))
    return checked(found)


def step(values: dict[str, Any]) -> Step:
    """One step from its settings as plain data, such as a table of a TOML file.

    Raises
    ------
    RecipeError
        As `parse`.

    Examples
    --------
    >>> step({"step": "resize", "size": 64}).size
    64
    """
    name = look_up(str(values.get("step", "")), STEPS, "step", RecipeError)
    for key in values:
        look_up(key, STEPS[name].model_fields, f"setting of step '{name}'", RecipeError)
    try:
        return _STEP.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][-1]) if first["loc"] else "settings"
        raise RecipeError(
            f"step '{name}': {key}: {first['msg'].lower()}; see docs/how-to/prepare-and-explore.md"
        ) from error


def checked(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, after a check that there are some and that nothing follows a colouring one.

    Raises
    ------
    RecipeError
        If not.

    Examples
    --------
    >>> [one.step for one in checked([Crop(), ClusterColors()])]
    ['crop', 'cluster-colors']
    >>> checked([ClusterColors(), Crop()])
    Traceback (most recent call last):
        ...
    tumorscope.errors.RecipeError: steps: 'cluster-colors' makes colours, and no step can follow it; put it last
    """
    names = [one.model_dump()["step"] for one in steps]
    if not names:
        raise RecipeError(f"steps: none is named; give some of {', '.join(STEPS)}")
    for name in names[:-1]:
        if name in COLORING:
            raise RecipeError(f"steps: '{name}' makes colours, and no step can follow it; put it last")
    return tuple(steps)


def run(image: NDArray, steps: Sequence[Step]) -> Picture:
    """The picture that an (H, W) slice becomes.

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    Examples
    --------
    >>> disc = 100.0 * (np.hypot(*np.mgrid[-40:40, -30:30]) < 25)
    >>> run(disc, parse("crop,contrast,resize:size=32")).pixels.shape
    (32, 32)
    """
    picture = Picture.of(image)
    for one in steps:
        picture = one.apply(picture)
    return picture


def run_volume(volume: NDArray, steps: Sequence[Step]) -> list[Picture]:
    """The pictures that the slices of a (D, H, W) volume become; `Crop` cuts all by one box.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or a step that colours or resizes, which a volume cannot take.

    Examples
    --------
    >>> cone = np.stack([100.0 * (np.hypot(*np.mgrid[-40:40, -30:30]) < radius) for radius in (10, 25)])
    >>> steps = parse("crop")
    >>> [run(plane, steps).pixels.shape for plane in cone], [one.pixels.shape for one in run_volume(cone, steps)]
    ([(25, 25), (55, 55)], [(55, 55), (55, 55)])
    """
    if volume.ndim != 3:
        raise ScanError(f"volume: {volume.ndim}-D array of shape {volume.shape}; pass (D, H, W)")
    for one in steps:
        name = one.model_dump()["step"]
        if name in (*COLORING, "resize"):
            raise ScanError(f"step '{name}' is for 2-D scans, and this is a volume; leave it out or cut it into slices")
    pictures = [Picture.of(plane) for plane in volume]
    for one in steps:
        pictures = one.apply_all(pictures)
    return pictures


def _within(outer: Box, inner: Box) -> Box:
    """A box of a box's content, on the grid that the outer one lies on."""
    return Box(
        outer.top + inner.top, outer.left + inner.left, outer.top + inner.bottom, outer.left + inner.right
    )  # fmt: skip


def _in_square(mask: BoolArray, letterbox: Letterbox) -> BoolArray:
    """A mask brought to the square that its picture was brought to."""
    return letterbox.apply(mask.astype(np.uint8), "nearest", fill=0).astype(bool)


def _range(pixels: FloatArray) -> tuple[float, float]:
    return float(pixels.min()), float(pixels.max())
