"""What the gate measures on a slice: frame, outline, rings, grey values, texture, symmetry.

All measures are taken on the head brought to one working size, with its grey values stretched to 0…1, so that
resolution, bit depth and brightness do not matter. Ring measures are magnitudes of angular harmonics: turning
or mirroring the slice does not change them, up to resampling.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.geometry import Box, Letterbox
from tumorscope.scan import BoolArray, FloatArray

SIDE = 96  # px, longer side of the head on the working grid
ANGLES, RADII = 48, 24  # rays around the head's centre, samples along each
RINGS = 6
HARMONICS = 6
LEVELS = 5  # octaves of the texture measures
PATTERN_STEP = 2  # of 255 that a neighbour must be brighter by, to count in a local binary pattern

Measures = dict[str, float]


class View:
    """One head on the working grid, with what several measures need.

    Parameters
    ----------
    image : (H, W) float array
        A cleaned slice of any range.
    head : (H, W) bool array
        The filled head.
    """

    def __init__(self, image: NDArray, head: BoolArray) -> None:
        self.box = Box.around(head) or Box.whole(head.shape)
        cut, where = np.ascontiguousarray(self.box.cut(image), dtype=np.float32), self.box.cut(head)
        inside = _sample(cut, where)
        low, high = (float(v) for v in np.percentile(inside, (1, 99)))
        span = max(high - low, 1e-6 * max(abs(high), abs(low), 1e-6))
        letterbox = Letterbox.fit(cut.shape, SIDE)
        mask = letterbox.apply(where.astype(np.uint8), "nearest") > 0
        self.mask: BoolArray = mask if mask.any() else np.ones_like(mask)
        scaled = (letterbox.apply(cut, "area", fill=low) - np.float32(low)) / np.float32(span)
        self.pixels: FloatArray = np.clip(np.where(self.mask, scaled, 0), 0, 1).astype(np.float32)
        self.frame_head = head
        self.outside = np.clip((_sample(np.asarray(image), ~head) - low) / span, -2, 2)
        core = cv2.erode(self.mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
        self.core: BoolArray = core if core.sum() >= 16 else self.mask
        self.values: FloatArray = self.pixels[self.mask]


def _sample(image: NDArray, where: BoolArray) -> NDArray:
    """Values of some 8,000 evenly spaced pixels of ``where``; one zero when there are none."""
    step = max(1, round((image.size / 8192) ** 0.5))
    chosen = image[::step, ::step][where[::step, ::step]]
    if chosen.size == 0:
        chosen = image[where]
    return chosen if chosen.size else np.zeros(1, np.float32)


def _safe_ratio(a: float, b: float) -> float:
    return float(a) / max(float(b), 1e-6)


def frame(view: View) -> Measures:
    """How the head lies in the picture: its share, its contact with the edges, the darkness around it."""
    head, (height, width) = view.frame_head, view.box.shape
    contact = sorted(float(side.mean()) for side in (head[0], head[-1], head[:, 0], head[:, -1]))
    outside = view.outside
    return {
        "elongation": abs(float(np.log(height / width))),
        "share": float(head.mean()),
        "extent": _safe_ratio(head.sum(), height * width),
        "contact_least": contact[0],
        "contact_low": contact[1],
        "contact_high": contact[2],
        "contact_most": contact[3],
        "outside_mean": float(outside.mean()),
        "outside_deviation": float(outside.std()),
        "outside_bright": float((outside > 0.25).mean()),
    }


def outline(view: View) -> Measures:
    """Shape of the head's outline: how round, how convex, how close to an ellipse."""
    mask = view.mask.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    area, length = cv2.contourArea(contour), cv2.arcLength(contour, True)
    moments = cv2.moments(mask, binaryImage=True)
    mass = max(moments["m00"], 1.0)
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / mass
    spread, axes = np.linalg.eigh(covariance + 1e-3 * np.eye(2))
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    offset = np.stack([x - moments["m10"] / mass, y - moments["m01"] / mass], axis=-1) @ axes.astype(np.float32)
    ellipse = (offset**2 / (4 * spread)).sum(axis=-1) <= 1
    corners = sorted(
        float(part.mean()) for part in (mask[:16, :16], mask[:16, -16:], mask[-16:, :16], mask[-16:, -16:])
    )
    return {
        "roundness": _safe_ratio(4 * np.pi * area, length**2),
        "ellipse_overlap": _safe_ratio((ellipse & view.mask).sum(), (ellipse | view.mask).sum()),
        "stretch": float(np.sqrt(spread[1] / spread[0])),
        "pieces": float(min(len(contours), 10)),
        "corner_emptiest": corners[0],
        "corner_fullest": corners[3],
    } | _body(view, float(mask.sum()))


def _body(view: View, head: float) -> Measures:
    """How much of the head is body brighter than its darkest sixth, holes filled, and how convex that is."""
    body = (cv2.GaussianBlur(view.pixels, (3, 3), 0) > 1 / 6).astype(np.uint8)
    contours, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return {"body_filled": 0.0, "body_holes": 0.0, "body_solidity": 0.0, "body_roundness": 0.0, "body_share": 0.0}
    filled = cv2.drawContours(np.zeros_like(body), contours, -1, 1, cv2.FILLED)
    largest = max(contours, key=cv2.contourArea)
    area, length = cv2.contourArea(largest), cv2.arcLength(largest, True)
    return {
        "body_filled": _safe_ratio(filled.sum(), head),
        "body_holes": _safe_ratio(filled.sum() - body.sum(), filled.sum()),
        "body_solidity": _safe_ratio(area, cv2.contourArea(cv2.convexHull(largest))),
        "body_roundness": _safe_ratio(4 * np.pi * area, length**2),
        "body_share": _safe_ratio(area, filled.sum()),
    }


def _polar(view: View) -> tuple[FloatArray, NDArray[np.float64]]:
    """(ANGLES, RADII) map from the head's centre (0) to its outline (1), and the outline's radius per angle."""
    y, x = np.nonzero(view.mask)
    cy, cx = float(y.mean()), float(x.mean())
    angles = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    steps = np.arange(0, SIDE, 0.75)
    ray_x = cx + np.cos(angles)[:, None] * steps
    ray_y = cy + np.sin(angles)[:, None] * steps
    inside = (ray_x >= 0) & (ray_x <= SIDE - 1) & (ray_y >= 0) & (ray_y <= SIDE - 1)
    column, row = np.clip(ray_x, 0, SIDE - 1).astype(int), np.clip(ray_y, 0, SIDE - 1).astype(int)
    hit = inside & view.mask[row, column]
    edge = np.where(hit.any(axis=1), (hit * steps).max(axis=1), 1.0)
    radii = (np.arange(RADII) + 0.5) / RADII
    map_x = (cx + np.cos(angles)[:, None] * edge[:, None] * radii).astype(np.float32)
    map_y = (cy + np.sin(angles)[:, None] * edge[:, None] * radii).astype(np.float32)
    polar = cv2.remap(view.pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return polar, edge


def rings(view: View) -> Measures:
    """Grey values along rays from the centre to the rim: scalp, skull, brain; and how they go round."""
    polar, edge = _polar(view)
    found: Measures = {}
    wave = np.abs(np.fft.rfft(edge / edge.mean())) / ANGLES
    for k in range(1, HARMONICS + 1):
        found[f"outline_wave_{k}"] = float(wave[k])
    mean, deviation = polar.mean(axis=0), polar.std(axis=0)
    for k in range(0, RADII, 2):
        found[f"ring_mean_{k // 2}"] = float(mean[k : k + 2].mean())
        found[f"ring_deviation_{k // 2}"] = float(deviation[k : k + 2].mean())
    for ring, part in enumerate(np.array_split(polar, RINGS, axis=1)):
        power = np.abs(np.fft.rfft(part.mean(axis=1))) / ANGLES
        for k in range(1, 5):
            found[f"ring_wave_{ring}_{k}"] = float(power[k])
        found[f"ring_wave_{ring}_high"] = float(np.sqrt((power[5:] ** 2).sum()))
    rim = polar[:, -5:].max(axis=1)
    gap = polar[:, -11:-2].min(axis=1)
    plateau = np.median(polar[:, 6:14], axis=1)
    found["skull_share"] = float(((rim - gap > 0.15) & (plateau - gap > 0.05)).mean())
    found["skull_depth"] = float(np.minimum(rim - gap, plateau - gap).mean())
    found["rim_over_plateau"] = float((rim - plateau).mean())
    found["ray_likeness"] = _likeness(polar)
    return found


def _likeness(polar: FloatArray) -> float:
    """Mean correlation of each ray with the mean ray."""
    rays = polar - polar.mean(axis=1, keepdims=True)
    mean = rays.mean(axis=0)
    size = np.linalg.norm(rays, axis=1) * np.linalg.norm(mean)
    return float((rays @ mean / np.maximum(size, 1e-6)).mean())


def _quantiles(name: str, values: NDArray, steps: tuple[int, ...]) -> Measures:
    places = [round((values.size - 1) * step / 100) for step in steps]
    ordered = np.partition(values, places)
    return {f"{name}_{step}": float(ordered[place]) for step, place in zip(steps, places, strict=True)}


def greys(view: View) -> Measures:
    """The head's histogram: quantiles, spread, peaks, and how much is exactly flat."""
    values = view.values
    found = _quantiles("quantile", values, (10, 25, 50, 75, 90))
    count = np.bincount(np.minimum(values * 32, 31).astype(np.intp), minlength=32) / values.size
    centred = values - values.mean()
    square = centred * centred
    spread = max(float(np.sqrt(square.mean())), 1e-6)
    skew, tail = float((square * centred).mean()) / spread**3, float((square * square).mean()) / spread**4
    inner = view.pixels[view.core]
    found |= {
        "grey_entropy": float(-(count[count > 0] * np.log(count[count > 0])).sum()),
        "grey_peak": float(count.max()),
        "grey_deviation": spread,
        "bimodality": (skew**2 + 1) / max(tail, 1e-6),
        "skew": float(np.clip(skew, -5, 5)),
        "dark_share": float((inner < 0.1).mean()),
        "bright_share": float((inner > 0.9).mean()),
    }
    reach = cv2.morphologyEx(view.pixels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))[view.core]
    found["flat_share"] = float((reach < 0.01).mean())
    found["smooth_share"] = float((reach < 0.05).mean())
    return found


def detail(view: View) -> Measures:
    """Edges and texture: strength by octave, direction, straight lines."""
    pixels, core = view.pixels, view.core
    dx, dy = cv2.Sobel(pixels, cv2.CV_32F, 1, 0, scale=0.25), cv2.Sobel(pixels, cv2.CV_32F, 0, 1, scale=0.25)
    strength = cv2.magnitude(dx, dy)
    inner = strength[core]
    mean = max(float(inner.mean()), 1e-6)
    edges = _quantiles("edge", inner, (50, 95))
    found = {
        "edge_mean": mean,
        "edge_median": edges["edge_50"] / mean,
        "edge_top": edges["edge_95"] / mean,
        "edge_strong": float((inner > 0.15).mean()),
    }
    found |= _octaves(view)
    fast = cv2.absdiff(pixels, cv2.medianBlur(pixels, 3))
    found["speck"] = float(fast[core].mean())
    angle = cv2.phase(dx, dy)[core] * np.float32(12 / np.pi)
    turn = np.bincount(angle.astype(np.intp) % 12, weights=inner, minlength=12)
    whole = max(float(turn.sum()), 1e-6)
    found["direction_most"] = float(turn.max()) / whole
    found["direction_least"] = float(turn.min()) / whole
    found["direction_upright"] = float(turn[0] + turn[-1] + turn[5] + turn[6])
    jxx, jyy, jxy = (cv2.blur(a, (7, 7)) for a in (dx * dx, dy * dy, dx * dy))
    coherence = cv2.magnitude(jxx - jyy, 2 * jxy) / (jxx + jyy + 1e-5)
    found["coherence"] = float(coherence[core].mean())
    weight = core.astype(np.float32)
    lines = []
    for gradient, axis in ((cv2.absdiff(dy, 0), 1), (cv2.absdiff(dx, 0), 0)):
        line = (gradient * weight).sum(axis=axis) / np.maximum(weight.sum(axis=axis), SIDE / 4)
        lines.append(float(line.max()) / mean)
    found["straight_less"], found["straight_more"] = min(lines), max(lines)
    local = cv2.blur(pixels * pixels, (7, 7)) - cv2.blur(pixels, (7, 7)) ** 2
    return found | _quantiles("rough", np.sqrt(np.maximum(local[core], 0)), (10, 50, 90))


def _octaves(view: View) -> Measures:
    """Logarithm of the spread in each octave inside the head, and its step from one octave to the next."""
    found: Measures = {}
    level, finer, core = view.pixels, 0.0, view.core
    for k in range(LEVELS):
        coarser = cv2.blur(level, (2 ** (k + 1) + 1, 2 ** (k + 1) + 1))
        spread = float((level - coarser)[core].std())
        energy = float(np.log(spread + 1e-4))
        found[f"octave_{k}"] = energy
        if k:
            found[f"octave_step_{k}"] = energy - finer
        level, finer = coarser, energy
    return found


def grain(view: View) -> Measures:
    """Fine texture: local binary patterns at two scales, and the tails of Haar wavelet coefficients."""
    coarse = cv2.convertScaleAbs(view.pixels, alpha=255)
    found: Measures = {}
    for name, plane, reach in (("near", coarse, 1), ("far", cv2.blur(coarse, (3, 3)), 3)):
        share = _binary_patterns(plane, view.core, reach)
        found |= {f"pattern_{name}_{k}": float(v) for k, v in enumerate(share)}
    return found | _wavelets(view)


def _binary_patterns(plane: NDArray[np.uint8], where: BoolArray, reach: int) -> NDArray[np.float64]:
    """Shares of the 9 uniform patterns, by how many of 8 neighbours are brighter, and of all others (10th)."""
    inner = slice(reach, SIDE - reach)
    limit = cv2.add(np.ascontiguousarray(plane[inner, inner]), np.full((SIDE - 2 * reach,) * 2, PATTERN_STEP, np.uint8))
    starts = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    brighter = []
    for down, right in starts:
        top, left = reach * (1 + down), reach * (1 + right)
        side = SIDE - 2 * reach
        brighter.append((plane[top : top + side, left : left + side] >= limit).view(np.uint8))
    changes = sum((a ^ b for a, b in zip(brighter, brighter[1:] + brighter[:1], strict=True)), np.zeros_like(limit))
    code = np.where(changes <= 2, sum(brighter, np.zeros_like(limit)), 9)[where[inner, inner]]
    return np.bincount(code, minlength=10) / max(code.size, 1)


def _wavelets(view: View) -> Measures:
    """Spread and tails of Haar coefficients on three levels; the two straight directions in order of size."""
    found: Measures = {}
    level = view.pixels
    for k in range(3):
        a, b, c, d = level[0::2, 0::2], level[0::2, 1::2], level[1::2, 0::2], level[1::2, 1::2]
        where = view.mask[:: 2 ** (k + 1), :: 2 ** (k + 1)]
        rows = [_tails(part[where] if where.any() else part.ravel()) for part in (a + b - c - d, a - b + c - d)]
        for kind, values in enumerate(zip(*rows, strict=True)):
            found[f"haar_{k}_{kind}_low"], found[f"haar_{k}_{kind}_high"] = min(values), max(values)
        across = (a - b - c + d)[where] if where.any() else (a - b - c + d).ravel()
        found |= {f"haar_{k}_{kind}_across": value for kind, value in enumerate(_tails(across))}
        level = (a + b + c + d) / np.float32(4)
    return found


def _tails(values: FloatArray) -> tuple[float, float, float]:
    """Logarithm of the spread, root of the kurtosis (at most that of 60), mean size over spread."""
    square = values * values
    spread = float(np.sqrt(max(float(square.mean()) - float(values.mean()) ** 2, 0.0))) + 1e-4
    kurtosis = float((square * square).mean()) / spread**4
    return float(np.log(spread)), min(kurtosis, 60.0) ** 0.5, float(np.abs(values).mean()) / spread


def symmetry(view: View) -> Measures:
    """Likeness of the head to its own mirror images."""
    small = cv2.resize(cv2.GaussianBlur(view.pixels, (0, 0), 1.5), (32, 32), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(view.mask.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA) > 0.5
    likeness = []
    for mirrored, reach in ((small[:, ::-1], mask[:, ::-1]), (small[::-1], mask[::-1]), (small.T, mask.T)):
        both = mask & reach
        likeness.append(_correlation(small[both], mirrored[both]))
    first, second = sorted(likeness[:2], reverse=True)
    return {"mirror_best": first, "mirror_other": second, "mirror_diagonal": likeness[2]}


def _correlation(a: NDArray, b: NDArray) -> float:
    if a.size < 8:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def parts(view: View) -> Measures:
    """What stands out inside: how bright and dark areas hang together."""
    threshold = float(np.median(view.values))
    found: Measures = {}
    for name, chosen in (("bright", view.pixels > threshold), ("dark", view.pixels <= threshold)):
        count, _, stats, _ = cv2.connectedComponentsWithStats((chosen & view.mask).astype(np.uint8), connectivity=4)
        areas = stats[1:, cv2.CC_STAT_AREA]
        found[f"{name}_pieces"] = float(np.log1p(count - 1))
        found[f"{name}_largest"] = _safe_ratio(areas.max() if areas.size else 0, view.mask.sum())
    return found


GROUPS: dict[str, Callable[[View], Measures]] = {
    "frame": frame,
    "outline": outline,
    "rings": rings,
    "greys": greys,
    "detail": detail,
    "grain": grain,
    "symmetry": symmetry,
    "parts": parts,
}


def measure(image: NDArray, head: BoolArray) -> dict[str, Measures]:
    """Measures of a slice by group: group name -> measure name -> value."""
    view = View(image, head)
    return {group: take(view) for group, take in GROUPS.items()}
