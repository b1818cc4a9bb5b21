"""The engine ``click``: a small network trained by this project, in the package, without torch."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tumorscope.annotation.engine import Candidate, Embedded, check
from tumorscope.annotation.prompts import Box, Point, Prompts, Scribble, drawn
from tumorscope.errors import BundleError, ScanError, WeightsError
from tumorscope.imaging.geometry import Box as Cut
from tumorscope.imaging.geometry import Letterbox
from tumorscope.imaging.preparation import Preparation
from tumorscope.scan import BoolArray, FloatArray

NAME = "click"
LAYERS = ("half", "quarter", "eighth", "sixteenth")  # features, by the share of the square's side
EMBEDDER, ANSWERER = "click-embedder.onnx", "click.onnx"
METADATA_KEY = "tumorscope-click"
DISC = 5  # px of the network's square that a click or a line is across
REACH = 1 / 16  # of the square's side: the spread of the plane that fades around clicks
THRESHOLD = 0.5  # of the candidates' pixel probabilities
SMALLEST_SIDE = 16  # px of a slice in which anything can be pointed at


def planes(prompts: Prompts, previous: NDArray | None, side: int) -> FloatArray:
    """What the network sees of prompts that are given in pixels of its square.

    Parameters
    ----------
    prompts : Prompts
    previous : (S, S) array or None
        Pixel probabilities of the answer to be corrected.
    side : int
        S, the side of the square.

    Returns
    -------
    (6, S, S) float32 array
        Discs and lines of positive and of negative prompts, how near each pixel is to them (a Gaussian of the
        distance), the filled box, and the previous answer.

    Examples
    --------
    >>> seen = planes(Prompts().click(8, 8), None, 32)
    >>> seen.shape, float(seen[0, 8, 8]), float(seen[2, 8, 8]), float(seen[1].max())
    ((6, 32, 32), 1.0, 1.0, 0.0)
    """
    seen = np.zeros((6, side, side), np.float32)
    for plane, positive in ((0, True), (1, False)):
        marked = drawn(prompts, (side, side), positive=positive, width=DISC)
        if marked.any():
            away = cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            seen[plane] = marked
            seen[plane + 2] = np.exp(-0.5 * np.square(away / np.float32(REACH * side)))
    if prompts.box is not None:
        box = prompts.box
        rows = slice(max(0, round(box.top)), max(0, round(box.bottom)) + 1)
        columns = slice(max(0, round(box.left)), max(0, round(box.right)) + 1)
        seen[4, rows, columns] = 1.0
    if previous is not None:
        seen[5] = previous
    return seen


@dataclass(frozen=True)
class Click:
    """The engine; `open` makes one.

    Parameters
    ----------
    version : str
        First digits of the SHA-256 of both networks.
    preparation : Preparation
        How a slice becomes the network's square.
    embedder, answerer : onnxruntime.InferenceSession
        The image encoder, which runs once for a slice, and the decoder, which runs for every prompt.
    facts : dict
        What the network says of its own making: training data, licence, figures.
    """

    version: str
    preparation: Preparation
    embedder: Any = field(repr=False)
    answerer: Any = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    name: str = NAME

    @classmethod
    def open(cls, folder: Path | None = None) -> Click:
        """The engine in the package, or the one that ``tumorscope export`` wrote into ``folder``.

        Raises
        ------
        WeightsError
            If a file is missing or is none of this engine's.
        """
        place = folder or Path(str(resources.files("tumorscope"))) / "weights"
        digest = hashlib.sha256()
        sessions = []
        for name in (EMBEDDER, ANSWERER):
            try:
                content = (place / name).read_bytes()
            except OSError as error:
                raise WeightsError(
                    f"{place / name}: cannot be read ({error.strerror}); train one with: tumorscope train click DATA"
                ) from error
            digest.update(content)
            sessions.append(_session(content, place / name))
        text = sessions[1].get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        try:
            facts = json.loads(text or "")
            preparation = Preparation(**facts.pop("preparation"))
        except (ValueError, KeyError, TypeError, BundleError) as error:
            raise WeightsError(f"{place / ANSWERER}: says nothing of its preparation; export it again") from error
        return cls(digest.hexdigest()[:12], preparation, sessions[0], sessions[1], facts)

    def embed(self, pixels: NDArray[np.floating]) -> Embedded:
        """Features of a (H, W) slice; see `Engine.embed`."""
        prepared = self.preparation.prepare(_checked(pixels))
        found = self.embedder.run(list(LAYERS), {"image": prepared.pixels[None, None]})
        state = dict(zip(LAYERS, found, strict=True))
        cut = prepared.crop.box
        state["crop"] = np.array([cut.top, cut.left, cut.bottom, cut.right])
        return Embedded(self.name, prepared.shape, state)

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        """Three candidates, the best first; see `Engine.segment`."""
        check(embedded, prompts, previous, self.name)
        cut = Cut(*(int(edge) for edge in embedded.state["crop"]))
        letterbox = Letterbox.fit(cut.shape, self.preparation.size)
        before = None if previous is None else _before(previous, cut, letterbox)
        seen = planes(on_square(prompts, cut, letterbox), before, letterbox.size)
        feeds = {name: embedded.state[name] for name in LAYERS} | {"planes": seen[None]}
        masks, qualities = self.answerer.run(["mask", "quality"], feeds)
        candidates = []
        for place in np.argsort(-qualities[0], kind="stable"):
            square = masks[0, place]
            pixels = cut.paste(letterbox.invert(square, "linear"), embedded.shape, 0)
            mask = _pointed_at(pixels > THRESHOLD, prompts)
            candidates.append(Candidate(mask, float(qualities[0, place]), square))
        return tuple(candidates)


def on_square(prompts: Prompts, cut: Cut, letterbox: Letterbox) -> Prompts:
    """Prompts on a slice's grid in pixels of the square that its ``cut`` becomes; what lies outside moves to its edge.

    Examples
    --------
    >>> moved = on_square(Prompts().click(10, 20), Cut(0, 0, 32, 64), Letterbox.fit((32, 64), 64))
    >>> moved.points[0].y, moved.points[0].x
    (26.0, 20.0)
    """
    top, left = letterbox.margins

    def move(y: float, x: float) -> tuple[float, float]:
        row = (y - cut.top + top + 0.5) * letterbox.scale - 0.5
        column = (x - cut.left + left + 0.5) * letterbox.scale - 0.5
        return float(np.clip(row, 0, letterbox.size - 1)), float(np.clip(column, 0, letterbox.size - 1))

    box = prompts.box
    return Prompts(
        tuple(Point(*move(point.y, point.x), point.positive) for point in prompts.points),
        box and Box(*move(box.top, box.left), *move(box.bottom, box.right)),
        tuple(Scribble(tuple(move(y, x) for y, x in line.path), line.positive) for line in prompts.scribbles),
    )


def _before(previous: Candidate, cut: Cut, letterbox: Letterbox) -> NDArray[np.float32]:
    """The answer to be corrected, on the square."""
    if previous.logits is not None and previous.logits.shape == (letterbox.size, letterbox.size):
        return previous.logits
    whole = np.ascontiguousarray(cut.cut(previous.mask), np.float32)
    return letterbox.apply(whole, "area", fill=0)


def _pointed_at(mask: BoolArray, prompts: Prompts) -> BoolArray:
    """The regions of a mask that a positive prompt touches; all of it where none does."""
    if not mask.any():
        return mask
    touched = drawn(prompts, (mask.shape[0], mask.shape[1]), positive=True, width=3)
    box = prompts.box
    if box is not None:
        touched[max(0, round(box.top)) : round(box.bottom) + 1, max(0, round(box.left)) : round(box.right) + 1] = True
    _, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.unique(regions[touched & mask])
    return np.isin(regions, kept) if kept.size else mask


def _session(content: bytes, path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; ONNX Runtime need not print it as well
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        raise WeightsError(f"{path}: is no network that ONNX Runtime can load; export it again") from error


def _checked(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    """The slice, if something can be seen in it."""
    if pixels.ndim != 2 or min(pixels.shape) < SMALLEST_SIDE:
        raise ScanError(f"slice: is {pixels.shape}; give one slice of {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels or more")
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ScanError("slice: holds NaN or infinity; replace them with numbers")
    if low == high:
        raise ScanError(f"slice: every pixel is {low:g}, there is nothing to point at; choose another slice")
    return pixels
