"""Predictor: one scan in, a decision with its mask and measurements out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import BundleError, ScanError
from tumorscope.imaging.preparation import Prepared
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.gate import SMALLEST_SIDE, Gate, GateResult
from tumorscope.inference.gate import default as default_gate
from tumorscope.inference.postprocess import Measurements, concentration, lesions, measure
from tumorscope.scan import BoolArray, Scan

Decision = Literal["tumor", "no_tumor", "uncertain", "not_brain_mri"]

SLICES_AT_ONCE = 8
"""Slices of a volume in one run of the network: enough to keep the cores busy, little memory."""
GATE_SLICES = 7
"""Slices of a volume that the gate judges; odd, so that a majority exists."""
BLANK_SHARE = 0.05
"""A slice whose brightest pixels stay below this share of the volume's intensity range holds no head."""
HASH_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 that a bundle keeps of each training scan."""

NOT_WHERE = "this model says whether there is a tumour, not where"
WHICH_ONLY = "this model tells kinds of tumour apart and cannot say whether there is any"
SEEN_IN_TRAINING = "the model was trained on this very file: its result says nothing about new scans"


class Stopped(Exception):
    """A prediction given up half way because its caller asked for it."""


@dataclass(frozen=True)
class Prediction:
    """What a bundle says about one scan.

    Parameters
    ----------
    decision : str
        ``tumor``, ``no_tumor``, ``uncertain`` or ``not_brain_mri``.
    probability : float or None
        Calibrated probability of a tumour; None where the gate refused the scan.
    uncertainty : float or None
        Binary entropy of the probability in bits: 0 for 0 and 1, highest (1) at 0.5.
    gate : GateResult
        Whether this looks like a brain MRI, and why not.
    mask : (H, W) or (D, H, W) bool array
        The lesions on the scan's grid; empty for ``no_tumor`` and ``not_brain_mri``.
    probability_map : float array of the mask's shape
        Pixel probabilities within the head; float32, for a volume float16.
    measurements : Measurements
        Size of what the mask holds; all None where the gate refused the scan.
    notes : tuple of str
        Findings worth showing, one sentence each.
    slices : tuple of (float or None) or None
        For a volume, each slice's own probability; None for a blank slice.
    classes : dict of str to float
        Probability of each class, from a bundle that classifies; of the slice that says most, for a volume.
    located : bool
        Whether the bundle says where a tumour is. If not, the empty mask means nothing.
    """

    decision: Decision
    probability: float | None
    uncertainty: float | None
    gate: GateResult
    mask: BoolArray
    probability_map: NDArray[np.floating]
    measurements: Measurements
    notes: tuple[str, ...] = ()
    slices: tuple[float | None, ...] | None = None
    classes: dict[str, float] = field(default_factory=dict)
    located: bool = True


class Predictor:
    """A bundle with its gate, ready for scan after scan, from any number of threads.

    Parameters
    ----------
    bundle : Bundle
        Network and metadata.
    gate : Gate or None
        Judges whether a slice is a brain MRI; None for the bundle's own, or the package's where it has none.
    channel : int or None
        The sequence to look at in a scan that has several, counted from 0.

    Raises
    ------
    BundleError
        If the bundle's gate is damaged or of a newer version.
    """

    def __init__(self, bundle: Bundle, gate: Gate | None = None, channel: int | None = None) -> None:
        self.bundle = bundle
        self.gate = _gate_of(bundle) if gate is None else gate
        self.channel = channel
        self._seen = frozenset(bundle.metadata.training.scan_hashes)

    def predict(self, scan: Scan, *, stop: Callable[[], bool] = lambda: False) -> Prediction:
        """The prediction for one 2-D scan or one volume.

        A volume is looked at slice by slice; blank slices are skipped. The gate judges its central slices
        and the majority counts. Its probability is the highest of the slices' probabilities after
        smoothing along the slice axis with the weights 1/4, 1/2, 1/4. The slices' pixel probabilities
        are then joined in 3-D, with thresholds relative to the strongest slice: slices that alone would be
        ``no_tumor`` add nothing, and a lesion that lies in a single slice must peak half-way between the
        seed threshold and the strength.

        Parameters
        ----------
        scan : Scan
        stop : callable
            Asked between slices; when it says True, `Stopped` is raised.

        Raises
        ------
        ScanError
            If the scan is too small, constant or not finite, or has several channels and none was chosen.
        """
        chosen = self._one_channel(scan)
        if isinstance(chosen, GateResult):
            return self._refused(scan, chosen)
        _check(chosen)
        prediction = self._volume(chosen, stop) if chosen.is_volume else self._slice(chosen)
        notes = (*prediction.notes, SEEN_IN_TRAINING) if self._was_trained_on(scan) else prediction.notes
        return replace(prediction, notes=notes)

    def decide(self, probability: float) -> Decision:
        """The word for a probability, by the bundle's thresholds."""
        thresholds = self.bundle.metadata.thresholds
        if probability >= thresholds.tumor:
            return "tumor"
        return "no_tumor" if probability < thresholds.no_tumor else "uncertain"

    def _one_channel(self, scan: Scan) -> Scan | GateResult:
        """The 2-D scan or volume to look at, or the gate's refusal of a colour picture."""
        if self.channel is not None:
            return scan.channel(self.channel)
        if scan.axes[0] != "C":
            return scan
        _check(scan)
        judged = self._judge_volume(scan) if scan.is_volume else self._judge(scan.pixels, scan)
        if not judged.passed:
            return judged
        count = scan.pixels.shape[0]
        raise ScanError(
            f"{scan.source.path}: holds {count} channels and may be several sequences in one file; "
            f"pick one with --channel 0 to {count - 1}"
        )

    def _slice(self, scan: Scan) -> Prediction:
        metadata = self.bundle.metadata
        prepared = metadata.preparation.prepare(scan.pixels)
        judged = self._judge(scan.pixels, scan, prepared)
        if not judged.passed:
            return self._refused(scan, judged)
        notes = (*prepared.findings, f"crop: {prepared.crop.reason}")
        if metadata.task == "classify":
            return self._named(scan, self._classes([prepared]), judged, notes)
        outputs = self.bundle.run(metadata.preparation.tinted(prepared.pixels)[None])
        probability = float(metadata.calibration.probability(outputs.mask, outputs.score)[0])
        pixels = _on_grid(outputs.mask[0], prepared)
        mask = np.zeros(scan.shape, bool)
        limits = metadata.thresholds
        if self.decide(probability) != "no_tumor":
            strength = float(metadata.calibration.strength(outputs.mask)[0])
            smallest = limits.min_area_fraction * float(prepared.head.sum())
            found = lesions(pixels, mask=limits.mask * strength, seed=limits.mask_seed * strength, min_size=smallest)
            mask |= found & limits.outlined(probability, concentration(pixels, found))
        return self._answer(scan, probability, judged, mask, pixels, notes)

    def _volume(self, scan: Scan, stop: Callable[[], bool]) -> Prediction:
        judged = self._judge_volume(scan)
        if not judged.passed:
            return self._refused(scan, judged)
        metadata = self.bundle.metadata
        planes = _filled_slices(scan)
        if metadata.task == "classify":
            return self._classified_volume(scan, planes, judged, stop)
        own = np.full(scan.shape[0], np.nan)
        strength = 0.0
        pixels = np.zeros(scan.shape, np.float16)
        findings: dict[str, None] = {}
        largest_head = 0
        for start in range(0, len(planes), SLICES_AT_ONCE):
            if stop():
                raise Stopped
            chunk = planes[start : start + SLICES_AT_ONCE]
            prepared = [metadata.preparation.prepare(scan.pixels[z]) for z in chunk]
            outputs = self.bundle.run(np.stack([metadata.preparation.tinted(one.pixels) for one in prepared]))
            own[chunk] = metadata.calibration.probability(outputs.mask, outputs.score)
            strength = max(strength, float(metadata.calibration.strength(outputs.mask).max()))
            for z, one, map_ in zip(chunk, prepared, outputs.mask, strict=True):
                pixels[z] = _on_grid(map_, one)
                largest_head = max(largest_head, int(one.head.sum()))
                findings.update(dict.fromkeys(one.findings))
        smooth = smooth_slices(own)
        probability = float(np.nanmax(smooth))
        mask = np.zeros(scan.shape, bool)
        limits = metadata.thresholds
        if self.decide(probability) != "no_tumor":
            found = lesions(
                pixels,
                mask=limits.mask * strength,
                seed=limits.mask_seed * strength,
                head=(np.nan_to_num(smooth, nan=-1.0) >= limits.no_tumor)[:, None, None],
                min_size=limits.min_area_fraction * largest_head,
                single_slice_seed=0.5 * (1.0 + limits.mask_seed) * strength,
            )
            mask |= found & limits.outlined(probability, concentration(pixels, found))
        skipped = _skipped(scan, planes)
        answer = self._answer(scan, probability, judged, mask, pixels, (*findings, *skipped))
        return replace(answer, slices=tuple(None if np.isnan(value) else float(value) for value in own))

    def _classified_volume(
        self, scan: Scan, planes: NDArray[np.intp], judged: GateResult, stop: Callable[[], bool]
    ) -> Prediction:
        """Class probabilities slice by slice; the scan's are those of the slice that says most."""
        preparation = self.bundle.metadata.preparation
        parts: list[NDArray[np.float64]] = []
        findings: dict[str, None] = {}
        for start in range(0, len(planes), SLICES_AT_ONCE):
            if stop():
                raise Stopped
            prepared = [preparation.prepare(scan.pixels[z]) for z in planes[start : start + SLICES_AT_ONCE]]
            parts.append(self._classes(prepared))
            for one in prepared:
                findings.update(dict.fromkeys(one.findings))
        return self._named(scan, np.concatenate(parts), judged, (*findings, *_skipped(scan, planes)), planes)

    def _classes(self, prepared: list[Prepared]) -> NDArray[np.float64]:
        """Class probabilities (N, K) of prepared slices."""
        metadata = self.bundle.metadata
        batch = np.stack([metadata.preparation.tinted(one.pixels) for one in prepared])
        return metadata.classes(self.bundle.scores(batch))

    def _named(
        self,
        scan: Scan,
        chances: NDArray[np.float64],
        judged: GateResult,
        notes: tuple[str, ...],
        planes: NDArray[np.intp] | None = None,
    ) -> Prediction:
        """The answer of a bundle that classifies: class probabilities (n, K) of n slices, and no mask."""
        metadata = self.bundle.metadata
        slices, probability = None, None
        most = int(chances.max(axis=1).argmax())
        if metadata.none is not None:
            tumour = 1.0 - chances[:, metadata.none]
            if planes is not None:
                own = np.full(scan.shape[0], np.nan)
                own[planes] = tumour
                slices = tuple(None if np.isnan(value) else float(value) for value in own)
                tumour = smooth_slices(own)[planes]
            most = int(tumour.argmax())
            probability = float(tumour[most])
        reason = NOT_WHERE if probability is not None else WHICH_ONLY
        return Prediction(
            decision="uncertain" if probability is None else self.decide(probability),
            probability=probability,
            uncertainty=None if probability is None else entropy(probability),
            gate=judged,
            mask=np.zeros(scan.shape, bool),
            probability_map=np.zeros(scan.shape, np.float16 if scan.is_volume else np.float32),
            measurements=Measurements(),
            notes=(*notes, reason),
            slices=slices,
            classes=dict(zip(metadata.labels, chances[most].tolist(), strict=True)),
            located=False,
        )

    def _judge(self, pixels: NDArray, scan: Scan, prepared: Prepared | None = None) -> GateResult:
        """The gate's word; it cleans and crops by itself where the bundle does so in another way."""
        modality, settings = scan.source.modality, self.bundle.metadata.preparation
        if prepared is None or not settings.clean or settings.crop != "auto":
            return self.gate.judge(pixels, modality=modality)
        return self.gate.judge(pixels, modality=modality, clean=prepared.cleaned, crop=prepared.crop)

    def _judge_volume(self, scan: Scan) -> GateResult:
        planes = _filled_slices(scan)
        if not len(planes):
            raise ScanError(f"{scan.source.path}: every slice is blank; export the series again")
        places = np.linspace(0.25, 0.75, GATE_SLICES) * (len(planes) - 1)
        central = planes[np.unique(np.rint(places).astype(int))]
        judged = [self._judge(scan.pixels[..., z, :, :], scan) for z in central]
        passes = sum(result.passed for result in judged)
        passed = 2 * passes > len(judged)
        typical = sorted((result for result in judged if result.passed == passed), key=lambda result: result.score)
        reason = f"{passes} of {len(judged)} central slices pass"
        if not passed:
            reason += f"; {typical[len(typical) // 2].reason}"
        return replace(typical[len(typical) // 2], passed=passed, reason=reason)

    def _answer(
        self,
        scan: Scan,
        probability: float,
        judged: GateResult,
        mask: BoolArray,
        pixels: NDArray[np.floating],
        notes: tuple[str, ...],
    ) -> Prediction:
        decision = self.decide(probability)
        if decision != "no_tumor" and not mask.any():
            notes = (*notes, "no region is sure enough to be outlined: look at the whole scan")
        return Prediction(
            decision=decision,
            probability=probability,
            uncertainty=entropy(probability),
            gate=judged,
            mask=mask,
            probability_map=pixels,
            measurements=measure(mask, scan.spacing),
            notes=notes,
        )

    def _refused(self, scan: Scan, judged: GateResult) -> Prediction:
        kind = np.float16 if scan.is_volume else np.float32
        empty = np.zeros(scan.shape, bool)
        return Prediction("not_brain_mri", None, None, judged, empty, np.zeros(scan.shape, kind), Measurements())

    def _was_trained_on(self, scan: Scan) -> bool:
        return bool(self._seen) and scan.source.path.is_file() and file_hash(scan.source.path) in self._seen


def entropy(probability: float) -> float:
    """Binary entropy of a probability in bits.

    Examples
    --------
    >>> entropy(0.5), entropy(1.0)
    (1.0, 0.0)
    """
    terms = (share * np.log2(share) for share in (probability, 1.0 - probability) if share > 0)
    return abs(float(-sum(terms)))


def smooth_slices(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (D,) averaged with their two neighbours by weights 1/4, 1/2, 1/4; missing neighbours (NaN) count nothing.

    Examples
    --------
    >>> smooth_slices(np.array([0.0, 1.0, np.nan, 1.0])).round(3).tolist()
    [0.333, 0.667, nan, 1.0]
    """
    known = np.isfinite(values)
    weight = np.array([0.25, 0.5, 0.25])
    total = np.convolve(np.where(known, values, 0.0), weight)[1:-1]
    norm = np.convolve(known.astype(float), weight)[1:-1]
    return np.where(known, total / np.where(norm > 0, norm, 1.0), np.nan)


def file_hash(path: Path) -> str:
    """First digits of the SHA-256 of a file's bytes, as a bundle keeps them of its training scans."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:HASH_DIGITS]


def _on_grid(square: NDArray, prepared: Prepared) -> NDArray[np.float32]:
    """Pixel probabilities (S, S) on the input's (H, W), zero outside the head."""
    pixels = prepared.to_input_grid(square)
    return np.where(prepared.head, pixels, np.float32(0)).astype(np.float32, copy=False)


def _gate_of(bundle: Bundle) -> Gate:
    """The gate in a bundle, or the one that comes with the package."""
    if not bundle.metadata.gate:
        return default_gate()
    try:
        return Gate.from_dict(bundle.metadata.gate)
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {error}") from error


def _skipped(scan: Scan, planes: NDArray[np.intp]) -> tuple[str, ...]:
    blank = scan.shape[0] - len(planes)
    return (f"{blank} of {scan.shape[0]} slices are blank and were skipped",) if blank else ()


def _filled_slices(scan: Scan) -> NDArray[np.intp]:
    """Indices of the slices of a volume that show something, in the channel that shows most."""
    pixels = scan.pixels if scan.axes[0] != "C" else scan.pixels.max(axis=0)
    thin = pixels[:, ::2, ::2] if min(scan.shape[1:]) > 4 * SMALLEST_SIDE else pixels
    floor = float(thin.min())
    top = float(np.percentile(thin, 99.9))
    tops = np.percentile(thin.reshape(len(thin), -1), 99, axis=1)
    varied = np.ptp(pixels, axis=(1, 2)) > 0
    filled = varied & (tops - floor > BLANK_SHARE * (top - floor))
    return np.flatnonzero(filled if filled.any() else varied)


def _check(scan: Scan) -> None:
    """Raise on a scan in which nothing can be seen."""
    name = scan.source.path
    height, width = scan.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise ScanError(
            f"{name}: is {width}x{height} pixels, too small for a brain; give {SMALLEST_SIDE}x{SMALLEST_SIDE} or more"
        )
    low, high = float(scan.pixels.min()), float(scan.pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ScanError(f"{name}: pixels hold NaN or infinity; replace them with numbers")
    if low == high:
        raise ScanError(f"{name}: every pixel is {low:g}, there is nothing to see; export the scan again")
