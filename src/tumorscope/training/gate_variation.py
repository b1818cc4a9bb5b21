"""Variations of pictures for fitting the gate: what scanners, screenshots and web collections do to a slice.

Both classes pass through `weather`, so that compression, noise or low resolution tell nothing about the class.
"""

from __future__ import annotations

import cv2
import numpy as np

from tumorscope.imaging.crop import crop_head
from tumorscope.training.gate_bodies import Image, Rng, blob, texture
from tumorscope.training.gate_drawings import WORDS
from tumorscope.training.gate_sources import Plane


def stretched(pixels: Plane) -> Plane:
    """``pixels`` brought to 0…255 between their 0.5 and 99.5 percentiles."""
    low, high = np.percentile(pixels, (0.5, 99.5))
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    return np.clip((pixels - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.float32)


def _field(rng: Rng, shape: tuple[int, ...], slope: float) -> Image:
    return cv2.resize(texture(rng, slope, 128), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def weather(rng: Rng, pixels: Plane) -> Plane:
    """A picture (0…255) after chance gamma, window, blur, noise, shrinking, margins and JPEG."""
    if rng.random() < 0.5:
        pixels = (255 * (pixels / 255) ** float(np.exp(rng.uniform(-0.7, 0.7)))).astype(np.float32)
    if rng.random() < 0.2:
        pixels = np.clip((pixels - rng.uniform(0, 25)) * rng.uniform(1, 1.8), 0, 255)
    if rng.random() < 0.3:
        side = int(rng.integers(64, 200))
        shrink = side / max(pixels.shape)
        if shrink < 1:
            pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            if rng.random() < 0.5:
                grow = rng.uniform(1.5, 4)
                pixels = cv2.resize(pixels, None, fx=grow, fy=grow, interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        pixels = cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) / 256 * rng.uniform(0.4, 1.8))
    if rng.random() < 0.4:
        level = rng.uniform(1, 14)
        pixels = np.hypot(pixels + level * rng.standard_normal(pixels.shape), level * rng.standard_normal(pixels.shape))
    if rng.random() < 0.35:
        top, bottom, left, right = (int(v) for v in rng.uniform(0, 0.3, 4) * max(pixels.shape))
        pixels = np.pad(pixels, ((top, bottom), (left, right)))
    pixels = np.clip(pixels, 0, 255)
    if rng.random() < 0.5:
        _, coded = cv2.imencode(".jpg", pixels.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32)
    return np.ascontiguousarray(pixels, np.float32)


def turned(rng: Rng, pixels: Plane) -> Plane:
    """One of the eight rotations and mirror images."""
    pixels = np.rot90(pixels, int(rng.integers(4)))
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def varied_brain(rng: Rng, pixels: Plane) -> Plane:
    """A brain slice as another scanner, reader or web page might give it: still a brain slice."""
    pixels = stretched(pixels)
    head = crop_head(pixels)
    if rng.random() < 0.15:
        pixels = _near_the_coil(rng, pixels, head.head)
    kind = rng.random()
    if kind < 0.22:
        pixels = _stripped(rng, pixels, head.head)
    elif kind < 0.32:
        pixels = _marked(rng, pixels, head.head)
    elif kind < 0.45:
        box = head.box
        cuts = np.maximum(rng.uniform(-0.06, 0.09, 4), 0)
        top, left = box.top + int(cuts[0] * box.shape[0]), box.left + int(cuts[1] * box.shape[1])
        bottom, right = box.bottom - int(cuts[2] * box.shape[0]), box.right - int(cuts[3] * box.shape[1])
        pixels = pixels[top:bottom, left:right]
    elif kind < 0.57:
        return _faint(rng, turned(rng, pixels))
    elif kind < 0.60:
        pixels = _half(rng, pixels)
    if rng.random() < 0.3:
        pixels = pixels * np.exp(rng.uniform(0.05, 0.35) * _field(rng, pixels.shape, 3.0))
    if rng.random() < 0.3:
        pixels = cv2.resize(pixels, None, fx=float(np.exp(rng.uniform(-0.25, 0.25))), fy=1.0)
    if rng.random() < 0.06:
        pixels = cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) * rng.uniform(0.01, 0.025))
    if rng.random() < 0.15:
        lift = rng.uniform(5, 110)
        pixels = lift + pixels * (1 - lift / 255)
    return weather(rng, turned(rng, np.clip(pixels, 0, 255)))


def _stripped(rng: Rng, pixels: Plane, head: np.ndarray) -> Plane:
    """The slice without scalp and skull, roughly: an irregular rim is taken off the head."""
    padded = cv2.copyMakeBorder(head.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    reach = float(depth.max())
    keep = depth > reach * (rng.uniform(0.16, 0.32) + 0.03 * _field(rng, pixels.shape, 2.0))
    inner = np.median(pixels[keep]) if keep.any() else 0.0
    keep &= cv2.GaussianBlur(pixels, (0, 0), 1.0) > inner * rng.uniform(0.1, 0.5)
    keep = cv2.morphologyEx(keep.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    stripped = np.where(keep, pixels, 0)
    return stretched(stripped) if keep.mean() > 0.02 else pixels


def _near_the_coil(rng: Rng, pixels: Plane, head: np.ndarray) -> Plane:
    """The slice with a bright rim and a dark brain, as surface coils without correction show it."""
    padded = cv2.copyMakeBorder(head.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    fall = np.exp(-depth / max(float(depth.max()) * rng.uniform(0.05, 0.3), 1.0))
    return stretched(pixels * (1 + rng.uniform(0.5, 5) * fall) if head.any() else pixels)


def _marked(rng: Rng, pixels: Plane, head: np.ndarray) -> Plane:
    """The slice on white, in a frame, or with burned-in text."""
    pixels = pixels.copy()
    height, width = pixels.shape
    kind = rng.integers(3)
    if kind == 0 and head.mean() < 0.95:
        pixels[~head] = 255
    elif kind == 1:
        edge = max(1, int(rng.uniform(0.004, 0.03) * max(height, width)))
        pixels = np.pad(pixels, edge, constant_values=255)
        if rng.random() < 0.5:
            pixels = np.pad(pixels, edge)
    else:
        canvas = pixels.astype(np.uint8)
        size = max(height, width) / 256 * rng.uniform(0.3, 0.6)
        for _ in range(rng.integers(1, 8)):
            spot = (int(rng.uniform(0, 0.8) * width), int(rng.choice([0.06, 0.12, 0.9, 0.97]) * height))
            cv2.putText(canvas, str(rng.choice(WORDS)), spot, cv2.FONT_HERSHEY_SIMPLEX, size, (230,), 1, cv2.LINE_AA)
        pixels = canvas.astype(np.float32)
    return pixels


def _faint(rng: Rng, pixels: Plane) -> Plane:
    """The slice as an end slice of an 8-bit stack: small, blurred by partial volume, a few grey levels in noise."""
    height, width = pixels.shape
    share = rng.uniform(0.15, 1)
    small = cv2.resize(pixels, None, fx=share, fy=share * rng.uniform(0.8, 1.2), interpolation=cv2.INTER_AREA)
    small = small[: height - 1, : width - 1]
    small = cv2.GaussianBlur(small, (0, 0), max(small.shape) * float(np.exp(rng.uniform(-6, -2.5))))
    canvas = np.zeros_like(pixels)
    top, left = (int(rng.uniform(0.2, 0.8) * (a - b)) for a, b in zip(pixels.shape, small.shape, strict=True))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    level = float(np.exp(rng.uniform(1.4, 4.8)))
    noise = rng.uniform(0, 0.3) ** 1.5 * level * rng.standard_normal((2, height, width))
    if rng.random() < 0.3:
        noise *= 1 - np.clip(cv2.GaussianBlur(canvas, (0, 0), 0.05 * width) / 60, 0, 0.9)
    faint = np.hypot(canvas / 255 * level + noise[0], noise[1])
    if rng.random() < 0.3:
        faint *= cv2.resize(blob(rng, 0.5, 0.5, 0.6, 0.6).astype(np.float32), (width, height))
    return np.round(faint).astype(np.float32)


def _half(rng: Rng, pixels: Plane) -> Plane:
    """The slice cut off along a slanting line, as registration to another grid does at a stack's ends."""
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    turn = rng.uniform(0, 2 * np.pi)
    along = (x / pixels.shape[1] - 0.5) * np.cos(turn) + (y / pixels.shape[0] - 0.5) * np.sin(turn)
    return np.where(along < rng.uniform(-0.02, 0.3), pixels, 0).astype(np.float32)


def varied_other(rng: Rng, pixels: Plane) -> Plane:
    """A grey picture that is no brain slice, cut, turned, inverted, put on black or left alone."""
    pixels = stretched(pixels)
    if rng.random() < 0.35 and min(pixels.shape) > 100:
        share = rng.uniform(0.4, 0.95)
        h, w = (int(s * share) for s in pixels.shape)
        top, left = (int(rng.integers(0, s - k + 1)) for s, k in zip(pixels.shape, (h, w), strict=True))
        pixels = pixels[top : top + h, left : left + w]
    if rng.random() < 0.15:
        pixels = 255 - pixels
    if rng.random() < 0.15:
        stop = blob(rng, 0.5, 0.5, *rng.uniform(0.3, 0.5, 2), rough=rng.uniform(0, 0.08)).astype(np.float32)
        pixels = pixels * cv2.GaussianBlur(cv2.resize(stop, pixels.shape[::-1]), (0, 0), rng.uniform(0.5, 6))
    return weather(rng, turned(rng, pixels) if rng.random() < 0.4 else pixels)


def scrambled_brain(rng: Rng, pixels: Plane) -> Plane:
    """A brain slice destroyed: tiles shuffled, or its head filled with its own texture at random phase."""
    pixels = cv2.resize(stretched(pixels), (240, 240), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        count = int(rng.choice([3, 4, 6, 8]))
        size = 240 // count
        tiles = [pixels[y : y + size, x : x + size] for y in range(0, 240, size) for x in range(0, 240, size)]
        order = rng.permutation(len(tiles))
        rows = [np.hstack([tiles[k] for k in order[r * count : (r + 1) * count]]) for r in range(count)]
        return np.vstack(rows)
    head = crop_head(pixels).head
    inside = np.where(head, pixels, pixels[head].mean())
    spectrum = np.abs(np.fft.fft2(inside)) * np.exp(1j * np.angle(np.fft.fft2(rng.standard_normal(inside.shape))))
    mixed = np.real(np.fft.ifft2(spectrum))
    return stretched(np.where(head, mixed - mixed.min(), 0).astype(np.float32))
