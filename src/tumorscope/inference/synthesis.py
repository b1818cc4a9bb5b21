"""Pictures out of noise by DDIM: sampled, interpolated, inpainted, denoised, restored. NumPy around any denoiser.

What a picture becomes depends on its own seed (or scan), its class, the number of steps and the network; never on the
pictures beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.inference.mixing import Schedule
from tumorscope.scan import BoolArray, FloatArray

Tell = Callable[[FloatArray, FloatArray, NDArray[np.int64]], FloatArray]
"""Noise (N, 1, S, S) in noisy pictures (N, 1, S, S) of noise variances (N,) and classes (N,), 0 for any."""

STEPS = 20  # of the reference's pictures
BATCH = 16  # pictures at once; a larger one is no faster on a CPU
DEFAULT = Schedule()
RIM = 2.0  # px over which an inpainted lesion passes into its surroundings
RESTORED_FROM = 0.5  # time, of 0…1, that a scan is taken to before it is brought back
MARGIN = 1.5  # px kept between a drawn lesion and the edge of the head, over its radius
WAVES = 4  # harmonics of a drawn outline


@dataclass(frozen=True)
class Inpainted:
    """A scan with something new in it.

    Parameters
    ----------
    picture : (S, S) float32 array in [0, 1]
        Equal to the scan outside the mask, to the bit.
    mask : (S, S) bool array
        Where the lesion was asked for: the ground truth that comes with the picture.
    change : float
        Mean absolute change inside the mask; near 0 the network put nothing there, and the mask is a lie.
    """

    picture: FloatArray
    mask: BoolArray
    change: float


@dataclass(frozen=True)
class Synthesizer:
    """A denoiser with what it takes to make pictures of it.

    Parameters
    ----------
    tell : callable
        The network: see `Tell`.
    size : int
        Side of its pictures, px.
    schedule : Schedule
    classes : tuple of str
        What can be asked for by name.
    mean, spread : float
        Of the pictures it learnt from; they bring [0, 1] to its scale.

    Examples
    --------
    >>> nothing = Synthesizer(lambda noisy, variance, named: noisy * 0, 32)
    >>> nothing.sample([1, 2], steps=2).shape
    (2, 32, 32)
    """

    tell: Tell
    size: int
    schedule: Schedule = DEFAULT
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    spread: float = 1.0

    def sample(
        self, seeds: Sequence[int], *, steps: int = STEPS, named: str | None = None, guidance: float = 0.0
    ) -> FloatArray:
        """A picture for each seed, (N, S, S) float32 in [0, 1].

        Parameters
        ----------
        seeds : sequence of int
            0 or more.
        steps : int
            At least 1; more make finer pictures.
        named : str or None
            A class; None for any.
        guidance : float
            How much the class is exaggerated: the noise told without it is pushed away by this factor.

        Raises
        ------
        TumorscopeError
            For a class that the network does not know.
        """
        parts = [
            self._descend(self.noise(seeds[start : start + BATCH]), steps, named, guidance)
            for start in range(0, len(seeds), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.size, self.size), np.float32)

    def interpolate(
        self, first: int, last: int, count: int, *, steps: int = STEPS, named: str | None = None
    ) -> FloatArray:
        """``count`` pictures on the way from one seed's picture to another's, both included.

        Their noises lie on the great circle between the two (spherical interpolation): each is as long as noise is.
        """
        if count < 2:
            raise ScanError(f"interpolation: {count} pictures have no way between them; ask for 2 or more")
        one, other = self.noise([first, last])
        noises = np.stack([slerp(one, other, share) for share in np.linspace(0, 1, count)])
        parts = [self._descend(noises[start : start + BATCH], steps, named) for start in range(0, count, BATCH)]
        return np.concatenate(parts)

    def inpaint(
        self,
        scan: ArrayLike,
        region: ArrayLike,
        seed: int,
        *,
        steps: int = STEPS,
        named: str | None = None,
        guidance: float = 0.0,
    ) -> Inpainted:
        """``scan`` with something new inside ``region``: what the network expects there of the class ``named``.

        At each step what is outside is put back, so that the inside grows to fit it.

        Parameters
        ----------
        scan : (S, S) array in [0, 1]
        region : (S, S) bool array
            Such as `lesion_region` draws.
        seed, steps, named, guidance
            As for `sample`.

        Raises
        ------
        ScanError
            If the shapes differ from the network's, the region is empty, or the scan holds values that are no numbers.
        """
        original = self._square(scan)
        inside = np.asarray(region)
        if inside.shape != original.shape or not inside.any():
            raise ScanError(
                f"inpainting: the region is {inside.shape} with {int(np.count_nonzero(inside))} marked pixels; "
                f"mark some of {original.shape}"
            )
        inside = inside.astype(bool)
        weight = np.minimum(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5) / (RIM + 1), 1.0)
        known = self._scaled(original)

        def put_back(picture: FloatArray) -> FloatArray:
            return np.asarray(weight * picture + (1 - weight) * known, np.float32)

        made = self._descend(self.noise([seed]), steps, named, guidance, put_back, known[None])[0]
        picture = np.where(inside, made, original).astype(np.float32)
        return Inpainted(picture, inside, float(np.abs(picture - original)[inside].mean()))

    def denoise(self, scan: ArrayLike, noise: float, *, named: str | None = None) -> FloatArray:
        """``scan`` without what the network takes for noise of the standard deviation ``noise``; (S, S) in [0, 1].

        One step: a scan of spread d with noise of standard deviation s is, scaled by cos a with tan a = s / d, what
        the network sees at the angle a, and what is left is ``scan - s * told``. At s = 0 that is the scan itself.
        Below ``tan(schedule.first) * spread`` the network is asked for less noise than it ever saw.

        Parameters
        ----------
        scan : (S, S) array in [0, 1]
        noise : float
            0 or more, on the scan's scale; `imaging.noise` estimates it.
        """
        square = self._square(scan)
        if not (noise >= 0 and np.isfinite(noise)):
            raise ScanError(f"denoising: {noise} is no standard deviation; give 0 or more")
        if noise == 0:
            return square
        angle = np.arctan2(noise, self.spread)
        noisy = np.float32(np.cos(angle)) * self._scaled(square)
        told = self._told(noisy[None], float(np.sin(angle)) ** 2, self._number(named), 0.0)[0]
        return np.clip(square - np.float32(noise) * told, 0, 1)

    def restore(
        self,
        scan: ArrayLike,
        seed: int = 0,
        *,
        time: float = RESTORED_FROM,
        steps: int = STEPS,
        named: str | None = None,
    ) -> FloatArray:
        """``scan`` taken to noise as far as ``time`` and back, (S, S) in [0, 1].

        A network that knows healthy anatomy brings back healthy anatomy; the difference is a map of what it did not
        expect.

        Parameters
        ----------
        scan : (S, S) array in [0, 1]
        seed : int
            Of the noise.
        time : float
            In (0, 1]: near 0 all detail stays, at 1 hardly any.
        steps, named
            As for `sample`.
        """
        if not 0 < time <= 1:
            raise ScanError(f"restoring: time {time} is not in (0, 1]; give for example {RESTORED_FROM}")
        square = self._square(scan)
        signal, noise = (np.float32(rate) for rate in self.schedule.rates(time))
        noisy = signal * self._scaled(square)[None] + noise * self.noise([seed])
        return self._descend(noisy, steps, named, start=time)[0]

    def noise(self, seeds: Sequence[int]) -> FloatArray:
        """Standard normal noise of each seed, (N, S, S) float32."""
        for seed in seeds:
            if seed < 0:
                raise ScanError(f"seed: {seed} is below 0; give 0 or more")
        drawn = [np.random.default_rng(seed).standard_normal((self.size, self.size), np.float32) for seed in seeds]
        return np.stack(drawn) if drawn else np.zeros((0, self.size, self.size), np.float32)

    def _descend(
        self,
        noisy: FloatArray,
        steps: int,
        named: str | None = None,
        guidance: float = 0.0,
        put_back: Callable[[FloatArray], FloatArray] | None = None,
        known: FloatArray | None = None,
        start: float = 1.0,
    ) -> FloatArray:
        """Pictures (N, S, S) in [0, 1] from noisy ones at the time ``start``, in equal steps."""
        if steps < 1:
            raise ScanError(f"steps: {steps} make no picture; give 1 or more")
        number = self._number(named)
        signals, noises = (rate.astype(np.float32) for rate in self.schedule.rates(np.linspace(start, 0, steps + 1)))
        if known is not None:
            noisy = signals[0] * known + noises[0] * noisy
        picture = noisy
        for step in range(steps):
            told = self._told(noisy, float(noises[step]) ** 2, number, guidance)
            picture = (noisy - noises[step] * told) / signals[step]
            if put_back is not None:
                picture = put_back(picture)
                told = (noisy - signals[step] * picture) / noises[step]
            noisy = signals[step + 1] * picture + noises[step + 1] * told
        return np.asarray(np.clip(picture * np.float32(self.spread) + np.float32(self.mean), 0, 1), np.float32)

    def _told(self, noisy: FloatArray, variance: float, number: int, guidance: float) -> FloatArray:
        count = len(noisy)
        batch = np.ascontiguousarray(noisy[:, None], np.float32)
        level = np.full(count, variance, np.float32)
        told = self.tell(batch, level, np.full(count, number, np.int64))
        if guidance and number:
            plain = self.tell(batch, level, np.zeros(count, np.int64))
            told = told + np.float32(guidance) * (told - plain)
        return np.asarray(told, np.float32)[:, 0]

    def _number(self, named: str | None) -> int:
        return 0 if named is None else self.classes.index(look_up(named, self.classes, "class", ScanError)) + 1

    def _scaled(self, square: FloatArray) -> FloatArray:
        return (square - np.float32(self.mean)) / np.float32(self.spread)

    def _square(self, scan: ArrayLike) -> FloatArray:
        array = np.asarray(scan, np.float32)
        if array.shape != (self.size, self.size):
            raise ScanError(
                f"synthesis: a picture of {array.shape}, the network takes {(self.size, self.size)}; "
                "prepare the scan with the generator's preparation"
            )
        if not np.isfinite(array).all():
            raise ScanError("synthesis: the scan holds values that are no numbers; clean it first")
        return array


def slerp(first: FloatArray, last: FloatArray, share: float) -> FloatArray:
    """The point at ``share`` of the way from ``first`` to ``last`` on the great circle through both.

    References
    ----------
    .. [1] Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.

    Examples
    --------
    >>> slerp(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.5).round(3).tolist()
    [0.707, 0.707]
    """
    norms = float(np.linalg.norm(first) * np.linalg.norm(last))
    angle = float(np.arccos(np.clip(np.vdot(first, last) / norms, -1, 1))) if norms else 0.0
    if np.sin(angle) < 1e-6:  # one direction, or opposite ones between which no way is the shortest
        return (1 - share) * first + share * last
    return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)


def lesion_region(head: ArrayLike, seed: int, *, radius: float | None = None) -> BoolArray:
    """An uneven round outline inside a head, (S, S) bool: where a lesion may be inpainted.

    The centre is drawn among the pixels that leave room for it; the radius, where none is given, between a tenth and
    a quarter of the largest circle's diameter that the head holds.

    Parameters
    ----------
    head : (S, S) bool array
    seed : int
    radius : float, optional
        Mean radius, px.

    Raises
    ------
    ScanError
        If the head is empty or has no room for the radius.

    Examples
    --------
    >>> head = np.hypot(*np.mgrid[-32:32, -32:32]) < 28
    >>> region = lesion_region(head, 1)
    >>> bool(region.any()), bool((region & ~head).any())
    (True, False)
    """
    inside = np.asarray(head).astype(bool)
    if inside.ndim != 2 or not inside.any():
        raise ScanError(f"lesion: the head of shape {inside.shape} is empty; give the filled head of a slice")
    rng = np.random.default_rng(seed)
    room = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    size = float(rng.uniform(0.2, 0.5) * room.max()) if radius is None else float(radius)
    rows, columns = np.nonzero(room >= min(1.35 * size + MARGIN, room.max()) if radius is None else room >= size)
    if size <= 0 or len(rows) == 0:
        raise ScanError(f"lesion: a radius of {size:g} px has no room in this head; give a smaller one")
    place = int(rng.integers(len(rows)))
    down, across = np.mgrid[: inside.shape[0], : inside.shape[1]]
    down, across = down - rows[place], across - columns[place]
    angle = np.arctan2(down, across)
    edge = np.ones_like(angle)
    for wave in range(2, 2 + WAVES):
        edge += rng.uniform(0, 0.25) / wave * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return (np.hypot(down, across) <= size * edge) & inside
