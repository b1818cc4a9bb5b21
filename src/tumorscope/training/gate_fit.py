"""Fitting the gate and judging it on sources and families that it has not seen.

A `Table` holds the measures of many pictures. `fit` makes a `Gate` from one; `held_out` gives every picture a
score from a model that never saw it: not its source (brain slices), nor its family or at least itself (the others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from tumorscope.datasets import phantom
from tumorscope.datasets.phantom_lesions import LESIONS
from tumorscope.datasets.phantom_scanner import CONTRASTS, PLANES
from tumorscope.errors import DataError
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.inference.gate import SMALLEST_SIDE, Gate, feature_names, features
from tumorscope.training.gate_sources import (
    Picture,
    brain_slices,
    drawn_pictures,
    folder_pictures,
    grey,
    package_pictures,
    sample_slices,
)
from tumorscope.training.gate_variation import scrambled_brain, stretched, varied_brain, varied_other, weather

TREES, LEAVES, RATE = 120, 10, 0.12
LANDMARKS = (250, 600)  # of brain slices, of other pictures
WIDTH = 0.005  # of the kernel, in squared standard deviations
RIDGE = 1e-4  # of the summed weights
TREE_SHARE, KERNEL_SHARE = 0.5, 8.0  # of the logit; a kernel step from 0 to 1 weighs as much as 16 in the trees' logit
TOGETHER = (
    # sources that are held out together; those in one line hold copies or look-alikes of one another, or are small
    ("navoneel yes", "navoneel no", "healthy"),
    ("cheng", "tumor_unmasked"),
    ("progression", "remind"),
    ("samples", "phantom"),
)


VARIED = {
    # varied copies of each source's slices
    "navoneel yes": 3.0, "navoneel no": 3.0, "cheng": 0.4, "healthy": 1.0, "tumor_unmasked": 0.5,
    "progression": 2.0, "remind": 3.0, "samples": 5.0, "phantom": 1.0,
}  # fmt: skip
VARIED_OTHERS = {"photographs": 30, "drawn": 5, "dicom samples": 10}  # varied copies of each picture of a package
PHANTOMS, DRAWN, SCRAMBLED = 200, 60, 300  # pictures; DRAWN counts for each family


@dataclass(frozen=True)
class Table:
    """Measures of many pictures.

    Parameters
    ----------
    values : (N, F) float array
    brain : (N,) bool array
    origin : (N,) str array
        Source of a brain slice, family of another picture.
    varied : (N,) bool array
        Whether the picture is an augmented copy.
    name : (N,) str array
    """

    values: NDArray[np.float64]
    brain: NDArray[np.bool_]
    origin: NDArray[np.str_]
    varied: NDArray[np.bool_]
    name: NDArray[np.str_]

    def part(self, chosen: NDArray) -> Table:
        """The rows that a mask or an index array chooses."""
        return Table(*(getattr(self, field)[chosen] for field in self.__dataclass_fields__))

    def save(self, path: Path) -> None:
        """Write the table to an ``.npz`` file, with the names of its columns."""
        np.savez_compressed(path, columns=feature_names(), **{f: getattr(self, f) for f in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> Table:
        """The table in an ``.npz`` file.

        Raises
        ------
        DataError
            If it was measured with other features.
        """
        with np.load(path) as stored:
            if tuple(stored["columns"]) != feature_names():
                raise DataError(f"{path}: measured with other features; delete it and collect again")
            return cls(*(stored[field] for field in cls.__dataclass_fields__))


def collect(pictures: Iterable[tuple[Picture, bool, bool]], progress: Callable[[int], None] = lambda n: None) -> Table:
    """The table of (picture, whether brain, whether varied); pictures too small or blank for the gate are left out."""
    rows: list[tuple[NDArray, bool, str, bool, str]] = []
    for picture, brain, varied in pictures:
        pixels = picture.pixels
        if min(pixels.shape) < SMALLEST_SIDE or np.ptp(pixels) == 0:
            continue
        clean = clean_background(pixels).image
        rows.append((features(clean, crop_head(clean).head), brain, picture.origin, varied, picture.name))
        progress(len(rows))
    if not rows:
        raise DataError("gate: no pictures to fit on; check the data folder")
    values, *rest = zip(*rows, strict=True)
    return Table(np.stack(values), *(np.array(column) for column in rest))


def pictures(data: Path, seed: int, folders: dict[str, Path]) -> Iterator[tuple[Picture, bool, bool]]:
    """Everything to fit on: (picture, whether brain, whether varied)."""
    rng = np.random.default_rng(seed)
    brains = [*brain_slices(data), *sample_slices(), *_phantoms(seed)]
    for picture in brains:
        yield Picture(stretched(picture.pixels), picture.origin, picture.name), True, False
        copies = VARIED[picture.origin]
        for _ in range(int(copies) + (rng.random() < copies % 1)):
            yield Picture(varied_brain(rng, picture.pixels), picture.origin, picture.name), True, True
    for index in rng.choice(len(brains), min(SCRAMBLED, len(brains)), replace=False):
        mixed = weather(rng, scrambled_brain(rng, brains[index].pixels))
        yield Picture(mixed, "scrambled brains", brains[index].name), False, True
    seen: set[bytes] = set()
    others = [package_pictures(), drawn_pictures(seed, DRAWN), *(folder_pictures(f, n) for n, f in folders.items())]
    for picture in (picture for group in others for picture in group):
        plane = grey(picture.pixels)
        if (content := plane.tobytes()) in seen:
            continue
        seen.add(content)
        yield Picture(stretched(plane), picture.origin, picture.name), False, False
        for _ in range(VARIED_OTHERS.get(picture.origin, 1)):
            yield Picture(varied_other(rng, plane), picture.origin, picture.name), False, True


def _phantoms(seed: int) -> Iterator[Picture]:
    for number in range(PHANTOMS):
        rng = np.random.default_rng([seed, number])
        lesion = (None, *LESIONS)[rng.integers(len(LESIONS) + 1)]
        plane, contrast = PLANES[number % 3], CONTRASTS[rng.integers(len(CONTRASTS))]
        scan = phantom.make(number, plane, contrast, size=int(rng.choice([96, 128, 192, 256])), lesion=lesion)
        yield Picture(scan.image.astype(np.float32), "phantom", f"{number} {plane} {contrast}")


def weigh(table: Table) -> NDArray[np.float64]:
    """Weights that make both classes equal, and each source or family count as the root of its size; mean 1."""
    weights = np.zeros(len(table.brain))
    for brain in (True, False):
        chosen = table.brain == brain
        for origin in np.unique(table.origin[chosen]):
            rows = chosen & (table.origin == origin)
            weights[rows] = 1 / np.sqrt(rows.sum())
        weights[chosen] /= weights[chosen].sum()
    return weights * len(weights) / 2


def fit(table: Table, seed: int = 0) -> Gate:
    """A gate fitted on a table; its score is 0.5 where trees and kernel together are undecided (`with_threshold`)."""
    weights, rng = weigh(table), np.random.default_rng(seed)
    boosted = HistGradientBoostingClassifier(
        max_iter=TREES, learning_rate=RATE, max_leaf_nodes=LEAVES, l2_regularization=1.0, max_features=0.2,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    boosted.fit(table.values, table.brain, sample_weight=weights)
    centre = _short(table.values[table.brain].mean(axis=0))
    scale = _short(table.values.std(axis=0) + 1e-6)
    z = np.clip((table.values - centre) / scale, -4, 4)
    chosen = [
        rng.choice(np.flatnonzero(table.brain == brain), min(count, int((table.brain == brain).sum())), replace=False)
        for brain, count in zip((True, False), LANDMARKS, strict=True)
    ]
    landmarks = np.round(z[np.concatenate(chosen)], 2)
    gate = Gate(
        names=feature_names(), centre=centre, scale=scale, trees=_exported(boosted), landmarks=landmarks,
        weights=np.eye(len(landmarks)), width=WIDTH, mix=np.array([-KERNEL_SHARE / 2, TREE_SHARE, KERNEL_SHARE]),
    )  # fmt: skip
    design = gate.kernel(table.values)
    gram = design.T @ (design * weights[:, None]) + RIDGE * weights.sum() * np.eye(len(landmarks)) / len(landmarks)
    solved = np.linalg.solve(gram, design.T @ (weights * table.brain))
    return Gate(**{**gate.__dict__, "weights": _short(solved, 6)})


def with_threshold(gate: Gate, logit: float) -> Gate:
    """The gate with its scores shifted so that what had ``logit`` now has the score 0.5."""
    mix = gate.mix.copy()
    mix[0] = round(float(mix[0] - logit), 3)
    return Gate(**{**gate.__dict__, "mix": mix})


def logits(gate: Gate, values: NDArray) -> NDArray[np.float64]:
    """Logit of the score for (N, F) features."""
    return gate.mix[0] + gate.mix[1] * gate.grow(values) + gate.mix[2] * gate.kernel(values)


def held_out(
    table: Table, *, families: bool, seed: int = 0, progress: Callable[[str], None] = lambda fold: None
) -> NDArray[np.float64]:
    """Logit of every picture from a gate that has not seen it: (N,).

    In each of four folds some sources of brain slices are left out whole, with a quarter of the other pictures: whole
    ``families``, or single pictures (with their varied copies) whose kind the gate knows.
    """
    other, rng = ~table.brain, np.random.default_rng(seed)
    key = table.origin if families else np.char.add(np.char.add(table.origin, "/"), table.name)
    names = rng.permutation(np.unique(key[other]))
    result = np.full(len(table.brain), np.nan)
    for number, sources in enumerate(TOGETHER):
        out = other & np.isin(key, names[number :: len(TOGETHER)])
        rows = out | (table.brain & np.isin(table.origin, sources))
        if rows.any():
            result[rows] = logits(fit(table.part(~rows), seed), table.values[rows])
            progress(", ".join(sources))
    return result


def _short(values: NDArray, digits: int = 5) -> NDArray[np.float64]:
    """Values with so many significant digits, so that the stored gate stays small."""
    return np.array([float(f"{value:.{digits}g}") for value in values])


def _exported(model: HistGradientBoostingClassifier) -> NDArray[np.float64]:
    """(5, T, N): feature, threshold, left, right, value of every node; the baseline is in the first tree's leaves."""
    tables = [stage[0].nodes for stage in model._predictors]
    width = max(len(nodes) for nodes in tables)
    trees = np.zeros((5, len(tables), width))
    trees[2:4] = np.arange(width)
    for index, nodes in enumerate(tables):
        inner, own = ~nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        count = len(nodes)
        trees[0, index, :count] = np.where(inner, nodes["feature_idx"], 0)
        trees[1, index, :count] = _short(np.where(inner, nodes["num_threshold"], 0), 6)
        trees[2, index, :count] = np.where(inner, nodes["left"], own)
        trees[3, index, :count] = np.where(inner, nodes["right"], own)
        value = np.where(inner, 0, nodes["value"]) + (
            float(np.ravel(model._baseline_prediction)[0]) if index == 0 else 0
        )
        trees[4, index, :count] = np.round(value, 4)
    return trees
