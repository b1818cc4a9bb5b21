"""Is this a brain MRI slice? A small judge in front of the network, so that a photograph gets no tumour probability.

Hard rules come first: blank, too small, a file that names another modality. Then the measures of
`gate_features` go through a fitted model: boosted trees, and a kernel machine that falls to "no" far away from
everything it knows. It is stored as plain numbers and needs NumPy and OpenCV only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import BundleError, ScanError
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import Crop, crop_head
from tumorscope.imaging.intensity import as_plane
from tumorscope.inference.gate_features import measure
from tumorscope.scan import BoolArray, Scan

SCHEMA_VERSION = 1
SMALLEST_SIDE = 24  # px; on fewer nothing of a head can be told
FEATURE_LIMIT = 20.0  # features are clipped to this, far outside anything seen
OTHER_MODALITIES = {
    "CR": "a radiograph", "CT": "computed tomography", "DX": "a radiograph", "ECG": "an electrocardiogram",
    "ES": "endoscopy", "GM": "microscopy", "IO": "a dental radiograph", "MG": "a mammogram", "NM": "nuclear medicine",
    "OP": "an eye photograph", "OPT": "retinal tomography", "PT": "positron emission tomography",
    "PX": "a dental radiograph", "RF": "fluoroscopy", "RTDOSE": "a radiotherapy dose", "SEG": "a segmentation",
    "SM": "microscopy", "US": "ultrasound", "XA": "angiography", "XC": "a photograph",
}  # fmt: skip
PASSED = "looks like a brain MRI slice"
REFUSED = "does not look like a brain MRI slice, mostly because of {}"
GROUP_WORDS = {
    "frame": "how it lies in the picture",
    "outline": "its outline",
    "rings": "the layers from its rim to its centre, where scalp, skull and brain should be",
    "greys": "how its grey values are distributed",
    "detail": "its edges",
    "grain": "its fine texture",
    "symmetry": "how its halves compare",
    "parts": "how its bright and dark areas hang together",
}


@dataclass(frozen=True)
class GateResult:
    """What the gate says about one slice.

    Parameters
    ----------
    passed : bool
        Whether the network may see it.
    score : float
        0 to 1; it passes from 0.5 on. Not a calibrated probability.
    reason : str
        One plain sentence.
    """

    passed: bool
    score: float
    reason: str


def features(image: NDArray, head: BoolArray) -> NDArray[np.float64]:
    """The gate's measures of a cleaned (H, W) slice with its (H, W) head mask, finite, in the order of `feature_names`.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-40:40, -40:40]) < 30
    >>> values = features(disc.astype(np.float32), disc)
    >>> values.ndim, bool(np.isfinite(values).all()), len(values) == len(feature_names())
    (1, True, True)
    """
    groups = measure(image, head if head.any() else np.ones_like(head))
    values = np.array([value for group in groups.values() for value in group.values()], np.float64)
    return np.clip(np.nan_to_num(values, posinf=FEATURE_LIMIT, neginf=-FEATURE_LIMIT), -FEATURE_LIMIT, FEATURE_LIMIT)


@cache
def feature_names() -> tuple[str, ...]:
    """``group.measure`` for each value that `features` returns."""
    head = np.ones((SMALLEST_SIDE, SMALLEST_SIDE), bool)
    groups = measure(np.eye(SMALLEST_SIDE, dtype=np.float32), head)
    return tuple(f"{group}.{name}" for group, values in groups.items() for name in values)


@dataclass(frozen=True)
class Gate:
    """A fitted gate.

    Parameters
    ----------
    names : tuple of str
        Features it was fitted on, as `feature_names` gives them.
    centre, scale : (F,) arrays
        Mean over brain slices and spread of each feature.
    trees : (5, T, N) array
        Feature, threshold, left child, right child, value of each node; a leaf is its own child.
    landmarks : (L, F) array
        Standardised features of the kernel machine's landmarks.
    weights : (L,) array
        What each landmark adds.
    width : float
        A landmark adds ``weight * exp(-width * squared distance)``.
    mix : (3,) array
        Logit of the score = ``mix[0] + mix[1] * trees + mix[2] * kernel``.
    """

    names: tuple[str, ...]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    trees: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    weights: NDArray[np.float64]
    width: float
    mix: NDArray[np.float64]

    def judge(
        self,
        image: Scan | NDArray,
        *,
        modality: str | None = None,
        clean: NDArray | None = None,
        crop: Crop | None = None,
    ) -> GateResult:
        """Whether a slice is a brain MRI, with a score and a reason.

        Parameters
        ----------
        image : Scan or (H, W) or (C, H, W) array
            One slice of any range. Of several channels the most brain-like one counts, blank ones aside.
        modality : str, optional
            DICOM modality, when known; taken from a Scan's source.
        clean, crop : optional
            The slice's cleaned image and crop, when they are already known; for one channel only.

        Raises
        ------
        ScanError
            For a volume, or for pixels that are not finite.

        Examples
        --------
        >>> default().judge(np.zeros((64, 64), np.float32)).reason
        'blank: all pixels have one value'
        >>> default().judge(np.random.default_rng(0).random((64, 64))).passed
        False
        """
        if isinstance(image, Scan):
            if image.is_volume:
                raise ScanError(
                    f"{image.source.path.name}: the gate judges single slices, this is a volume; pass its slices"
                )
            modality = modality or image.source.modality
            image = image.pixels
        if modality in OTHER_MODALITIES:
            return GateResult(False, 0.0, f"the file says that it is {OTHER_MODALITIES[modality]} ({modality}), not MR")
        channels = image[None] if image.ndim == 2 else image
        if channels.ndim != 3 or channels.shape[0] == 0:
            raise ScanError(f"image: {image.ndim}-D array of shape {image.shape}; the gate takes (H, W) or (C, H, W)")
        planes = [as_plane(channel) for channel in channels]
        height, width = planes[0].shape
        if all(np.ptp(plane) == 0 for plane in planes):
            return GateResult(False, 0.0, "blank: all pixels have one value")
        if min(height, width) < SMALLEST_SIDE:
            side = SMALLEST_SIDE
            return GateResult(
                False, 0.0, f"too small: {height}x{width} pixels, and the gate needs {side}x{side} to tell"
            )
        judged = []
        for plane in planes:
            if np.ptp(plane) > 0:
                cleaned = clean_background(plane).image if clean is None else clean
                judged.append(features(cleaned, (crop or crop_head(cleaned)).head))
        scores = self.scores(np.stack(judged))
        best = int(scores.argmax())
        score = float(scores[best])
        return GateResult(score >= 0.5, score, PASSED if score >= 0.5 else self._why_not(judged[best]))

    def scores(self, values: NDArray) -> NDArray[np.float64]:
        """Scores in 0…1 of (N, F) features; 0.5 and more passes."""
        logit = self.mix[0] + self.mix[1] * self.grow(values) + self.mix[2] * self.kernel(values)
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -60, 60))))

    def grow(self, values: NDArray) -> NDArray[np.float64]:
        """Sum of the trees' leaves for (N, F) features: (N,)."""
        feature, threshold, left, right, value = self.trees
        count, nodes = feature.shape
        feature, left, right = feature.astype(np.intp), left.astype(np.intp), right.astype(np.intp)
        which = np.arange(count)
        at = np.zeros((len(values), count), np.intp)
        for _ in range(nodes):
            low = np.take_along_axis(values, feature[which, at], axis=1) <= threshold[which, at]
            following = np.where(low, left[which, at], right[which, at])
            if np.array_equal(following, at):
                break
            at = following
        return np.asarray(value[which, at].sum(axis=1))

    def kernel(self, values: NDArray) -> NDArray[np.float64]:
        """What the landmarks add up to for (N, F) features: (N,); 0 far from all of them."""
        z = np.clip((values - self.centre) / self.scale, -4, 4)
        square = (z**2).sum(axis=1)[:, None] + (self.landmarks**2).sum(axis=1) - 2 * z @ self.landmarks.T
        return np.asarray(np.exp(-self.width * np.maximum(square, 0)) @ self.weights)

    def _why_not(self, values: NDArray) -> str:
        """The group of measures that, were it a typical brain slice's, would raise the score most."""
        group_of = [name.split(".")[0] for name in self.names]
        groups = list(dict.fromkeys(group_of))
        swapped = np.stack([np.where([g == group for g in group_of], self.centre, values) for group in groups])
        logit = self.mix[1] * self.grow(swapped) + self.mix[2] * self.kernel(swapped)
        return REFUSED.format(GROUP_WORDS[groups[int(logit.argmax())]])

    def to_dict(self) -> dict[str, Any]:
        """The gate as plain data for JSON; `from_dict` is its inverse."""
        return {
            "schema_version": SCHEMA_VERSION,
            "names": list(self.names),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "trees": [part.tolist() for part in self.trees],
            "landmarks": self.landmarks.tolist(),
            "weights": self.weights.tolist(),
            "width": self.width,
            "mix": self.mix.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Gate:
        """The gate that `to_dict` described.

        Raises
        ------
        BundleError
            If the data is of another schema, lacks a part, or was fitted on other features than this version measures.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"gate: schema {version} is not {SCHEMA_VERSION}; update tumorscope or fit the gate again"
            )
        try:
            names = tuple(data["names"])
            parts = {
                k: np.asarray(data[k], np.float64) for k in ("centre", "scale", "trees", "landmarks", "weights", "mix")
            }
            width = float(data["width"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"gate: part {error} is missing or damaged; fit the gate again") from error
        if names != feature_names():
            raise BundleError("gate: it was fitted on other features than this version measures; fit the gate again")
        return cls(names=names, width=width, **parts)


@cache
def default() -> Gate:
    """The gate that comes with the package."""
    text = resources.files("tumorscope").joinpath("weights/gate.json").read_text(encoding="utf-8")
    return Gate.from_dict(json.loads(text))


def judge(image: Scan | NDArray, *, modality: str | None = None) -> GateResult:
    """What the package's own gate says about a slice; arguments as for `Gate.judge`."""
    return default().judge(image, modality=modality)
