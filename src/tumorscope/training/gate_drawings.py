"""Drawn negatives for the gate: text, charts, screens, drawings, patterns, noise and scenes of leaves.

Each function takes a random generator and returns one picture: (H, W) or (H, W, 3) float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from tumorscope.training.gate_bodies import SIDE, Image, Rng, blob, texture

SENTENCE = (
    "the of and to in patient report scan slice finding left right region value table figure 12.5 0.8 2024 "
    "method result with without normal signal mm total invoice date address order chapter measured copy page"
)
WORDS = SENTENCE.split()
FONTS = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf"))


def _font(rng: Rng, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS[rng.integers(len(FONTS))]), size)


def _as_image(canvas: Pillow.Image) -> Image:
    return np.asarray(canvas, np.float32) / np.float32(255)


def text(rng: Rng) -> Image:
    """A page, a few large words, or light words on dark."""
    width, height = int(rng.integers(160, 640)), int(rng.integers(160, 640))
    paper, ink = (255, int(rng.integers(0, 90))) if rng.random() < 0.7 else (0, int(rng.integers(150, 256)))
    canvas = Pillow.new("L", (width, height), paper)
    pen = ImageDraw.Draw(canvas)
    size = int(rng.choice([8, 10, 12, 16, 24, 48, 90]))
    font, margin = _font(rng, size), int(rng.integers(2, 50))
    y = margin
    while y < height - margin - size:
        if rng.random() < 0.9:
            count = max(int((width - 2 * margin) / (3.2 * size)), 1)
            pen.text((margin, y), " ".join(rng.choice(WORDS, count)), fill=ink, font=font)
        y += int(size * rng.uniform(1.1, 1.8)) + 1
    return _as_image(canvas)


def chart(rng: Rng) -> Image:
    """A diagram: lines, bars, points, a pie, a heat map or contours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dark = rng.random() < 0.25
    figure = Figure(figsize=(rng.uniform(2, 5), rng.uniform(2, 5)), dpi=72, facecolor="black" if dark else "white")
    axes = figure.add_subplot(facecolor="black" if dark else "white")
    axes.tick_params(colors="white" if dark else "black")
    kind, count = rng.integers(6), int(rng.integers(3, 40))
    if kind == 0:
        axes.plot(np.cumsum(rng.standard_normal((count, 3)), axis=0))
    elif kind == 1:
        axes.bar(np.arange(count), rng.random(count), color=rng.random(3))
    elif kind == 2:
        across, up = rng.standard_normal((2, 10 * count))
        axes.scatter(across, up, c=rng.random(10 * count), s=rng.uniform(2, 80))
    elif kind == 3:
        axes.pie(rng.random(3 + count // 6))
    elif kind == 4:
        axes.imshow(rng.random((count, count)), cmap=str(rng.choice(["viridis", "gray", "jet"])))
    else:
        axes.contourf(texture(rng, 2.0, 64), cmap=str(rng.choice(["viridis", "gray"])))
    if rng.random() < 0.3:
        axes.set_axis_off()
    painter = FigureCanvasAgg(figure)
    painter.draw()
    return np.asarray(painter.buffer_rgba(), np.float32)[..., :3] / np.float32(255)


def screen(rng: Rng) -> Image:
    """A screen or form: bars, panels, buttons, lines of text."""
    ground = int(rng.integers(0, 50)) if rng.random() < 0.5 else int(rng.integers(215, 256))
    canvas = np.full((240, 320, 3), ground, np.uint8)
    tone = (255 - ground,) * 3
    cv2.rectangle(canvas, (0, 0), (320, int(rng.integers(8, 30))), rng.integers(0, 256, 3).tolist(), -1)
    for _ in range(rng.integers(3, 14)):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 20, 10), (280, 210, 160, 90)))
        shade = rng.integers(0, 256, 3).tolist() if rng.random() < 0.3 else [int(rng.integers(0, 256))] * 3
        cv2.rectangle(canvas, (x, y), (x + w, y + h), shade, -1 if rng.random() < 0.6 else 1)
        if rng.random() < 0.7:
            word, size = str(rng.choice(WORDS)), float(rng.uniform(0.3, 0.8))
            cv2.putText(canvas, word, (x + 3, y + 12), cv2.FONT_HERSHEY_SIMPLEX, size, tone, 1, cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


def shapes(rng: Rng) -> Image:
    """Flat shapes on a flat ground: circles, rings, polygons, lines; often on black."""
    canvas = np.full((SIDE, SIDE), 0 if rng.random() < 0.6 else int(rng.integers(0, 256)), np.uint8)
    for _ in range(int(rng.choice([1, 1, 2, 3, 5, 10, 30]))):
        value = int(rng.integers(50, 256))
        x, y = (int(v) for v in rng.uniform(0.2, 0.8, 2) * SIDE)
        fill = -1 if rng.random() < 0.6 else int(rng.integers(1, 12))
        kind = rng.integers(4)
        if kind == 0:
            cv2.circle(canvas, (x, y), int(rng.integers(5, 110)), value, fill, cv2.LINE_AA)
        elif kind == 1:
            wide, high = (int(v) for v in rng.integers(8, 115, 2))
            cv2.ellipse(canvas, (x, y), (wide, high), float(rng.uniform(0, 180)), 0, 360, value, fill, cv2.LINE_AA)
        elif kind == 2:
            points = rng.integers(0, SIDE, (int(rng.integers(3, 7)), 2)).astype(np.int32)
            cv2.fillPoly(canvas, [points], value, cv2.LINE_AA)
        else:
            end = (int(rng.integers(0, SIDE)), int(rng.integers(0, SIDE)))
            cv2.line(canvas, (x, y), end, value, abs(fill), cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


def cartoon(rng: Rng) -> Image:
    """A drawn head on black or white: outline or filled, with eyes, mouth or scribbled brain folds."""
    ground, ink = (0, 230) if rng.random() < 0.6 else (255, 25)
    canvas = np.full((SIDE, SIDE), ground, np.uint8)
    axes = (int(rng.integers(60, 100)), int(rng.integers(75, 118)))
    if rng.random() < 0.7:
        skin = int(rng.integers(75, 230))
        cv2.ellipse(canvas, (128, 128), axes, 0, 0, 360, skin, -1, cv2.LINE_AA)
        ink = 0 if skin > 127 else 255
    cv2.ellipse(canvas, (128, 128), axes, 0, 0, 360, ink, int(rng.integers(1, 9)), cv2.LINE_AA)
    if rng.random() < 0.6:
        for side in (-1, 1):
            cv2.circle(canvas, (128 + side * 32, 105), int(rng.integers(4, 15)), ink, -1, cv2.LINE_AA)
        cv2.ellipse(canvas, (128, 160), (36, 20), 0, 0, 180, ink, 4, cv2.LINE_AA)
        cv2.line(canvas, (128, 115), (120, 140), ink, 3, cv2.LINE_AA)
    else:
        folds = np.abs(texture(rng, 1.6)) < rng.uniform(0.05, 0.2)
        inside = np.zeros((SIDE, SIDE), np.uint8)
        cv2.ellipse(inside, (128, 128), axes, 0, 0, 360, 1, -1)
        canvas[folds & inside.astype(bool)] = ink
    return canvas.astype(np.float32) / np.float32(255)


def pattern(rng: Rng) -> Image:
    """Checkerboards, stripes, gratings, gradients, rings and waves."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    u = x * np.cos(angle := rng.uniform(0, np.pi)) + y * np.sin(angle)
    frequency = rng.uniform(1, 25)
    kind = rng.integers(6)
    if kind == 0:
        image = ((x * frequency).astype(int) + (y * frequency).astype(int)) % 2
    elif kind == 1:
        image = np.sin(2 * np.pi * frequency * u) > 0
    elif kind == 2:
        image = 0.5 + 0.5 * np.sin(2 * np.pi * frequency * u)
    elif kind == 3:
        image = u - u.min()
    elif kind == 4:
        image = 0.5 + 0.5 * np.cos(2 * np.pi * frequency * np.hypot(x - 0.5, y - 0.5))
    else:
        centre = rng.uniform(0.3, 0.7, 2)
        radius = np.hypot(x - centre[0], (y - centre[1]) * rng.uniform(0.7, 1.4))
        image = np.clip(1 - radius / rng.uniform(0.2, 0.7), 0, 1) ** rng.uniform(0.3, 3)
    return np.asarray(image, np.float32)


def noise(rng: Rng) -> Image:
    """Noise of many kinds: white, 1/f, blobs, salt and pepper, speckle, colour; sometimes inside a disc."""
    kind = rng.integers(7)
    image: NDArray[np.floating]
    if kind == 0:
        image = rng.random((SIDE, SIDE))
    elif kind == 1:
        image = 0.5 + 0.2 * rng.standard_normal((SIDE, SIDE))
    elif kind == 2:
        image = 0.5 + 0.2 * texture(rng, rng.uniform(0.3, 3))
    elif kind == 3:
        image = (texture(rng, rng.uniform(1, 3)) > rng.uniform(-1, 1)).astype(np.float32)
    elif kind == 4:
        image = (rng.random((SIDE, SIDE)) < rng.uniform(0.005, 0.5)).astype(np.float32)
    elif kind == 5:
        image = rng.rayleigh(0.3, (SIDE, SIDE))
    else:
        image = rng.random((SIDE, SIDE, 3))
    image = np.clip(image, 0, 1)
    if image.ndim == 2 and rng.random() < 0.4:
        image = image * blob(rng, 0.5, 0.5, *rng.uniform(0.2, 0.48, 2), rough=rng.uniform(0, 0.1))
    return image.astype(np.float32)


def leaves(rng: Rng) -> Image:
    """Overlapping shaded shapes of all sizes ("dead leaves"), whose statistics are those of photographs."""
    canvas = np.full((SIDE, SIDE, 3), rng.random(3), np.float32)
    for _ in range(int(rng.integers(20, 400))):
        radius = min(0.01 / max(rng.random(), 0.02) ** 0.9, 0.5)
        ratio = rng.uniform(0.4, 1)
        x, y = rng.random(2)
        leaf = blob(rng, x, y, radius, radius * ratio, angle=rng.uniform(0, 3), rough=rng.uniform(0, 0.3))
        shade = np.clip(rng.random() + 0.15 * rng.standard_normal(3), 0, 1)
        canvas[leaf] = shade
    canvas *= (1 + 0.1 * texture(rng, rng.uniform(0.8, 1.5)) + 0.2 * texture(rng, 2.5))[..., None]
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.35:
        canvas *= blob(rng, 0.5, 0.5, *rng.uniform(0.25, 0.48, 2), rough=rng.uniform(0, 0.15))[..., None]
    return np.clip(canvas if rng.random() < 0.5 else canvas.mean(axis=2), 0, 1).astype(np.float32)


DRAWINGS: dict[str, Callable[[Rng], Image]] = {
    "text": text,
    "chart": chart,
    "screen": screen,
    "shapes": shapes,
    "cartoon": cartoon,
    "pattern": pattern,
    "noise": noise,
    "leaves": leaves,
}
"""Family name -> one random picture, for everything drawn or computed."""
