"""Text drawn into pictures, anti-aliased, in a face that holds Latin, Greek and Cyrillic letters."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write(
    canvas: NDArray[np.uint8],
    text: str,
    centre: tuple[float, float],
    size: int,
    colour: tuple[int, int, int],
    *,
    halo: bool = False,
) -> None:
    """Draw ``text`` into an (H, W, 3) canvas in place, centred on (row, column); what lies outside is cut off.

    ``halo`` darkens the surroundings of the letters, so that they can be read on bright tissue too.
    """
    height, width = canvas.shape[:2]
    layer = Image.new("L", (width, height))
    ImageDraw.Draw(layer).text((centre[1], centre[0]), text, fill=255, font=_font(size), anchor="mm")
    if halo:
        shade = np.asarray(layer.filter(ImageFilter.GaussianBlur(size / 8)), np.float32)[..., None]
        canvas[...] = np.rint(canvas * (1 - np.minimum(1.0, shade / 90) * 0.75))
    weight = np.asarray(layer, np.float32)[..., None] / 255
    canvas[...] = np.rint(canvas * (1 - weight) + np.asarray(colour, np.float32) * weight)


def elide(text: str, width: float, size: int) -> str:
    """``text`` on one line, short enough for ``width`` px: its middle gives way to an ellipsis.

    Examples
    --------
    >>> elide("no 17", 100, 12)
    'no 17'
    >>> short = elide("a-very-long-name-of-a-file-0017.jpg", 120, 12)
    >>> "…" in short, short.endswith("jpg"), short.startswith("a-")
    (True, True, True)
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    font = _font(size)
    if font.getlength(line) <= width:
        return line
    shortest, longest = 0, min(len(line) - 1, 512)
    while shortest < longest:
        keep = (shortest + longest + 1) // 2
        if font.getlength(_without_middle(line, keep)) <= width:
            shortest = keep
        else:
            longest = keep - 1
    return _without_middle(line, shortest)


def _without_middle(text: str, keep: int) -> str:
    """Both ends of ``text``, ``keep`` letters together, around an ellipsis."""
    return text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    """DejaVu Sans, which comes with Matplotlib (found without importing it), else Pillow's own face."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        face = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if face.is_file():
            return ImageFont.truetype(str(face), size)
    return ImageFont.load_default(size)
