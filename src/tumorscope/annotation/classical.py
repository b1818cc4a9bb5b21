"""The classical engines: random walker, snake and GrabCut, seeded by prompts; no network, no training.

They see grey values only. Where a lesion differs from its surroundings they follow its outline closely; where it does
not, or a click is all there is, they are no match for a trained network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import random_walker

from tumorscope.annotation.engine import Candidate, Embedded, check
from tumorscope.annotation.prompts import Prompts, drawn
from tumorscope.errors import DataError, ScanError, look_up
from tumorscope.imaging.intensity import as_plane, normalize
from tumorscope.imaging.snakes import snake
from tumorscope.scan import BoolArray, FloatArray

VERSION = "1"  # raise when answers change
SMALLEST_SIDE = 8  # px of a slice in which a seed and its surroundings have room
REACH = 0.22  # of the slice's shorter side: how far a lesion may reach from what was pointed at, without a box
MARGIN = 0.35  # of the box's longer side: how far the window goes beyond a box, to show what is around the lesion
LEAST_MARGIN = 6  # px
LARGEST_WINDOW = 128  # px; a larger window is worked on at a coarser scale, so that a call takes a fraction of a second
SEED = 3  # px that a click or a line is across
CORE = 0.75  # of a box's height and width: the ellipse in its middle that is taken for lesion
LIKE = 0.16  # of the slice's range of grey: what differs less from the seed may be lesion
BETA = 1500.0  # how much a step of grey costs the random walker
ROUND = 2.5  # times the depth of the even patch around a click: how far a first guess reaches from it
SNAKE_STEPS, FEW_STEPS = (
    24,
    4,
)  # even, see `_snaked`; from a first guess, and from an answer with the errors at the clicks taken out
DEEP = 0.5  # of the depth of the first guess: what lies deeper GrabCut does not doubt
OPEN, LEAST_OPEN = 1.8, 6.0  # of the depth of an error, and px: how far around a correcting click an answer may change
_ONE_SNAKE = Lock()
CUTS = 4  # rounds of GrabCut
SMOOTH = 1.0  # px: blur before grey values are compared, since MRI is grainy


class Window(NamedTuple):
    """The part of a slice that is looked at: its grey values in 0…1, and the seeds in it, all of one size.

    ``lesion`` and ``other`` are certain; ``maybe`` is where the lesion can be at all, everything else is certain too.
    ``start`` is a first guess; ``corrects`` says that it is an answer that clicks contradict.
    """

    grey: FloatArray
    lesion: BoolArray
    other: BoolArray
    maybe: BoolArray
    start: BoolArray
    corrects: bool = False


@dataclass(frozen=True)
class Classical:
    """An engine of one of `METHODS`.

    Work is done in a window around the prompts, so that a call takes well under a second on a slice of 512×512. There
    is one candidate, and it has no quality.

    Parameters
    ----------
    name : {"random-walker", "snake", "grabcut"}
        ``random-walker``: each pixel goes to the seeds that a random walker, who shuns steps of grey, reaches first
        [1]_. ``snake``: a contour parts the window into an inside and an outside, each as even as it can be [2]_.
        ``grabcut``: mixtures of grey values for lesion and surroundings, and the cheapest cut between them [3]_.

    References
    ----------
    .. [1] Grady, "Random walks for image segmentation", IEEE PAMI 28(11), 2006.
    .. [2] Márquez-Neila, Baumela, Alvarez, "A morphological approach to curvature-based evolution of curves and
       surfaces", IEEE PAMI 36(1), 2014.
    .. [3] Rother, Kolmogorov, Blake, "GrabCut", ACM Transactions on Graphics 23(3), 2004.

    Examples
    --------
    >>> pixels = np.where(np.hypot(*np.mgrid[-32:32, -32:32]) < 9, 200.0, 50.0)
    >>> engine = Classical("random-walker")
    >>> found = engine.segment(engine.embed(pixels), Prompts().click(32, 32))
    >>> bool((found[0].mask == (pixels > 100)).mean() > 0.99)
    True
    """

    name: str
    version: str = VERSION

    def __post_init__(self) -> None:
        look_up(self.name, METHODS, "classical method", DataError)

    def embed(self, pixels: NDArray[np.floating]) -> Embedded:
        """Grey values of a (H, W) slice in 0…1, a little smoothed; see `Engine.embed`."""
        plane = as_plane(pixels, "slice")
        if min(plane.shape) < SMALLEST_SIDE:
            raise ScanError(
                f"slice: is {plane.shape[0]}x{plane.shape[1]}; give one of {SMALLEST_SIDE} pixels or more a side"
            )
        if plane.min() == plane.max():
            raise ScanError(f"slice: every pixel is {plane.flat[0]:g}, nothing can be told apart; choose another slice")
        grey = cv2.GaussianBlur(normalize(plane), (0, 0), SMOOTH)
        return Embedded(self.name, (plane.shape[0], plane.shape[1]), {"grey": grey})

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        """One candidate without a quality; see `Engine.segment`."""
        check(embedded, prompts, previous, self.name)
        grey = embedded.state["grey"]
        before = None if previous is None else previous.mask
        rows, columns = window_of(prompts, before, embedded.shape)
        window = seeded(grey, prompts, before, rows, columns)
        small = METHODS[self.name](window)
        found = np.zeros(embedded.shape, bool)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        whole = small if small.shape[::-1] == size else cv2.resize(small.astype(np.float32), size) > 0.5
        found[rows, columns] = whole
        positive = drawn(prompts, embedded.shape, positive=True, width=SEED)
        found = (found | positive) & ~drawn(prompts, embedded.shape, positive=False, width=SEED)
        kept = positive if before is None else positive | before
        return (Candidate(_touched(found, kept), None),)


def window_of(prompts: Prompts, previous: BoolArray | None, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that hold the prompts and the answer before, and enough around them.

    Examples
    --------
    >>> window_of(Prompts().click(50, 50), None, (100, 200))
    (slice(17, 84, None), slice(17, 84, None))
    """
    marked = [(point.y, point.x) for point in prompts.points]
    marked += [vertex for line in prompts.scribbles for vertex in line.path]
    reach = float(LEAST_MARGIN)
    if prompts.box is None:
        reach = max(reach, REACH * min(shape) * 1.5)
    else:
        box = prompts.box
        marked += [(box.top, box.left), (box.bottom, box.right)]
        reach = max(reach, MARGIN * max(box.bottom - box.top, box.right - box.left))
    if previous is not None and previous.any():
        around = np.argwhere(previous)
        marked += [tuple(around.min(axis=0)), tuple(around.max(axis=0))]
    places = np.array(marked, np.float64)
    first = np.floor(places.min(axis=0) - reach).astype(int)
    last = np.ceil(places.max(axis=0) + reach).astype(int)
    rows, columns = (
        slice(max(0, int(low)), min(size, int(high) + 1)) for low, high, size in zip(first, last, shape, strict=True)
    )
    return rows, columns


def seeded(grey: FloatArray, prompts: Prompts, previous: BoolArray | None, rows: slice, columns: slice) -> Window:
    """The window with its seeds, at a scale on which it is not larger than `LARGEST_WINDOW`.

    Parameters
    ----------
    grey : (H, W) float32 array
        In 0…1.
    prompts : Prompts
    previous : (H, W) bool array or None
        The answer to be corrected.
    rows, columns : slice
        From `window_of`.
    """
    shape = (grey.shape[0], grey.shape[1])
    lesion = drawn(prompts, shape, positive=True, width=SEED)
    other = drawn(prompts, shape, positive=False, width=SEED)
    boxed, middle = _of_box(prompts, shape)
    cut = grey[rows, columns]
    scale = min(1.0, LARGEST_WINDOW / max(cut.shape))
    size = tuple(max(2, round(one * scale)) for one in cut.shape)
    lesion, other, boxed, middle = (_resized(one[rows, columns], size) for one in (lesion, other, boxed, middle))
    cut = cut if size == cut.shape else cv2.resize(cut, size[::-1], interpolation=cv2.INTER_AREA)
    seeds = lesion if lesion.any() else middle
    if previous is not None and previous.any():
        return _corrected(cut, _resized(previous[rows, columns], size), lesion, other)
    if prompts.box is None:
        maybe = _reach(cut, boxed, seeds, scale, shape)
        start = _grown(cut, seeds, maybe & ~other & (_away(seeds) <= max(LEAST_OPEN, ROUND * _even(cut, seeds))))
    else:
        maybe = boxed
        start = _grown(cut, seeds, boxed & ~other) | (middle & ~other)
    core = cv2.erode(start.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & middle
    return Window(cut, (lesion | core) & ~other, other, maybe | lesion, (start | lesion) & ~other)


def _walked(window: Window) -> BoolArray:
    """Pixels that the random walker takes for lesion."""
    labels = np.zeros(window.grey.shape, np.int8)
    labels[_outside(window)] = 2
    labels[window.lesion] = 1
    if not (labels == 1).any() or not (labels == 2).any():
        return window.start
    if (labels == 0).sum() == 0:
        return labels == 1
    chances = random_walker(window.grey.astype(np.float64), labels, beta=BETA, mode="bf", return_full_prob=True)
    return np.asarray(chances[0] > chances[1])


def _snaked(window: Window) -> BoolArray:
    """The inside of a snake that begins at the first guess.

    scikit-image takes two smoothing operators in turn, and goes on with the other one in the next call: an even number
    of steps, one call at a time, is the same every time.
    """
    steps = FEW_STEPS if window.corrects else SNAKE_STEPS
    with _ONE_SNAKE:
        found = snake(window.grey, window.start, method="chan-vese", iterations=steps)
    return (found & ~_outside(window) & ~_far(window)) | window.lesion


def _cut(window: Window) -> BoolArray:
    """What GrabCut takes for lesion."""
    labels = np.full(window.grey.shape, cv2.GC_PR_BGD, np.uint8)
    labels[window.start] = cv2.GC_PR_FGD
    depth = _away(~window.start)
    labels[depth > DEEP * depth.max()] = cv2.GC_FGD  # the cheapest cut would be around the seed alone
    labels[_outside(window) | _far(window)] = cv2.GC_BGD
    labels[window.lesion] = cv2.GC_FGD
    sure = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if sure.sum() < 5 or (~sure).sum() < 5:  # fewer pixels than the mixtures have parts
        return window.start
    picture = np.repeat(np.rint(window.grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, None, *models, CUTS, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


METHODS: dict[str, Callable[[Window], BoolArray]] = {"random-walker": _walked, "snake": _snaked, "grabcut": _cut}


def _outside(window: Window) -> BoolArray:
    """What is certainly no lesion: negative prompts, what lies out of reach, and the window's rim."""
    outside = window.other | ~window.maybe
    rim = np.ones(outside.shape, bool)
    rim[1:-1, 1:-1] = False
    return (outside | rim) & ~window.lesion


def _far(window: Window) -> BoolArray:
    """What lies further from the first guess than a part of its own radius."""
    return _away(window.start) > LEAST_OPEN / 2 + ROUND / 4 * float(np.sqrt(window.start.sum() / np.pi))


def _of_box(prompts: Prompts, shape: tuple[int, int]) -> tuple[BoolArray, BoolArray]:
    """The filled box, and the ellipse in its middle; everything and nothing without a box."""
    box = prompts.box
    if box is None:
        return np.ones(shape, bool), np.zeros(shape, bool)
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y >= box.top - 0.5) & (y <= box.bottom + 0.5) & (x >= box.left - 0.5) & (x <= box.right + 0.5)
    half = (max(1.0, CORE * (box.bottom - box.top + 1) / 2), max(1.0, CORE * (box.right - box.left + 1) / 2))
    centre = ((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    return inside, ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 <= 1


def _reach(grey: FloatArray, boxed: BoolArray, seeds: BoolArray, scale: float, shape: tuple[int, int]) -> BoolArray:
    """Where a lesion with these seeds can be: in the box, or not far from them."""
    if not boxed.all() or not seeds.any():
        return boxed
    return boxed & (_away(seeds) <= REACH * min(shape) * scale)


def _grown(grey: FloatArray, seeds: BoolArray, within: BoolArray) -> BoolArray:
    """The region around the seeds whose grey values are like theirs."""
    if not seeds.any():
        return seeds
    like = (np.abs(grey - np.median(grey[seeds])) <= LIKE) & within
    opened = cv2.morphologyEx((like | seeds).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
    return _touched(opened | seeds, seeds)


def _corrected(grey: FloatArray, before: BoolArray, lesion: BoolArray, other: BoolArray) -> Window:
    """The window of an answer that clicks contradict: only what is near those clicks is open again.

    A click in the middle of what is wrong lies as far from the outline as the error is deep; `OPEN` times that is open.
    """
    open_again, start = np.zeros(before.shape, bool), before.copy()
    for wrong, value in ((lesion & ~before, True), (other & before, False)):
        count, clicks = cv2.connectedComponents(wrong.astype(np.uint8))
        same = before != value  # the side that has to give way
        depth = cv2.distanceTransform(np.pad(same, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        for number in range(1, count):
            click = clicks == number
            deep = float(depth[click].max())
            if value and deep > LEAST_OPEN:
                deep = min(deep, _even(grey, click))
            away = _away(click)
            open_again |= away <= max(LEAST_OPEN, OPEN * deep)
            start[away <= max(LEAST_OPEN / 2, 0.8 * deep)] = value
    start = (start | lesion) & ~other
    certain, refused = (before & ~open_again) | lesion, (~before & ~open_again) | other
    return Window(grey, certain & ~other, refused & ~lesion, ~refused | lesion, start, True)


def _away(marked: BoolArray) -> FloatArray:
    """Distance of each pixel to the nearest marked one; far where none is."""
    if not marked.any():
        return np.full(marked.shape, np.float32(sum(marked.shape)))
    return cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _even(grey: FloatArray, click: BoolArray) -> float:
    """How far from a click grey values stay alike, in pixels: the depth of a lesion that was missed altogether."""
    like = np.abs(grey - np.median(grey[click])) <= LIKE
    depth = cv2.distanceTransform(np.pad(like | click, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(depth[1:-1, 1:-1][click].max())


def _touched(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The connected parts of a mask that hold a seed, their holes filled; all of it where none does."""
    if not mask.any():
        return mask
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    kept = np.unique(parts[seeds & mask])
    found = np.isin(parts, kept) if kept.size else mask
    return _largest(found) if not kept.size else found


def _largest(mask: BoolArray) -> BoolArray:
    """The largest connected part of a mask."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else mask


def _resized(mask: BoolArray, size: tuple[int, ...]) -> BoolArray:
    """A mask at another size; no seed is lost."""
    if mask.shape == size:
        return mask
    share = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return share > (0.0 if mask.mean() < 0.05 else 0.5)
