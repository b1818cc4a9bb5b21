"""Classical engines: lesions that stand out, corrections, scribbles, any size, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.annotation.classical import METHODS, Classical
from tumorscope.annotation.engine import Candidate, open_engine
from tumorscope.annotation.prompts import Box, Prompts, Scribble
from tumorscope.annotation.simulation import jittered, next_click
from tumorscope.errors import DataError, ScanError
from tumorscope.evaluation.segmentation import dice
from tumorscope.scan import BoolArray

NAMES = list(METHODS)


def blob(shape: tuple[int, int] = (120, 140), at: tuple[int, int] = (50, 60), half: tuple[int, int] = (16, 11)):
    """A bright ellipse on a grainy ground, and where it is."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = ((y - at[0]) / half[0]) ** 2 + ((x - at[1]) / half[1]) ** 2 < 1
    grain = np.random.default_rng(0).normal(scale=4, size=shape)
    return (60 + 80 * truth + grain).astype(np.float32), truth


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Classical:
    return Classical(request.param)


def masked(engine: Classical, pixels: NDArray, prompts: Prompts, previous: Candidate | None = None) -> BoolArray:
    found = engine.segment(engine.embed(pixels), prompts, previous)
    assert len(found) == 1 and found[0].quality is None and found[0].mask.shape == pixels.shape
    return found[0].mask


class TestMasks:
    def test_one_click(self, engine: Classical) -> None:
        pixels, truth = blob()
        assert dice(masked(engine, pixels, Prompts().click(50, 60)), truth) > 0.93

    @pytest.mark.parametrize("seed", range(3))
    def test_a_box_that_is_off(self, engine: Classical, seed: int) -> None:
        pixels, truth = blob()
        box = Box.around(truth)
        assert box is not None
        near = jittered(box, 0.1, np.random.default_rng(seed), truth.shape)
        assert dice(masked(engine, pixels, Prompts(box=near)), truth) > 0.88

    def test_a_scribble(self, engine: Classical) -> None:
        pixels, truth = blob()
        line = Scribble(((40.0, 60.0), (50.0, 56.0), (60.0, 60.0)))
        assert dice(masked(engine, pixels, Prompts(scribbles=(line,))), truth) > 0.9

    def test_a_dark_lesion_is_as_good_as_a_bright_one(self, engine: Classical) -> None:
        pixels, truth = blob()
        assert dice(masked(engine, -pixels, Prompts().click(50, 60)), truth) > 0.93

    def test_the_scale_of_the_slice_does_not_matter(self, engine: Classical) -> None:
        pixels, _ = blob()
        one, other = (masked(engine, each, Prompts().click(50, 60)) for each in (pixels, pixels * 8 - 300))
        assert (one != other).mean() < 0.001

    def test_large_slices_are_worked_on_in_a_window(self, engine: Classical) -> None:
        pixels, truth = blob((900, 700), (480, 300), (90, 70))
        assert dice(masked(engine, pixels, Prompts().click(480, 300)), truth) > 0.93

    def test_the_same_again(self, engine: Classical) -> None:
        pixels, _ = blob()
        assert np.array_equal(*(masked(engine, pixels, Prompts().click(50, 60)) for _ in range(2)))


class TestCorrections:
    def test_a_negative_click_takes_away_and_a_positive_one_adds(self, engine: Classical) -> None:
        pixels, truth = blob()
        other = np.roll(truth, 40, axis=1)
        pixels = np.where(other, pixels + 80, pixels)
        both, part = Candidate(truth | other, None), Candidate(truth & (np.mgrid[:120, :140][1] < 55), None)
        less = masked(engine, pixels, Prompts().click(50, 100, positive=False), both)
        assert dice(less & truth, truth) > 0.95 and not less[50, 100]
        more = masked(engine, pixels, Prompts().click(50, 64), part)
        assert dice(more, truth) > dice(part.mask, truth) + 0.1

    def test_clicks_are_kept_whatever_the_pixels_say(self, engine: Classical) -> None:
        pixels, _ = blob()
        mask = masked(engine, pixels, Prompts().click(50, 60).click(90, 20).click(52, 62, positive=False))
        assert mask[50, 60] and mask[90, 20] and not mask[52, 62]

    def test_what_no_click_contradicts_stays(self, engine: Classical) -> None:
        pixels, truth = blob()
        mask = masked(engine, pixels, Prompts().click(50, 60), Candidate(truth, None))
        assert (mask != truth).mean() < 0.003

    def test_five_clicks_on_a_phantom_end_no_worse_than_they_began(self, engine: Classical) -> None:
        from tumorscope.datasets import phantom

        scan = phantom.make(5, size=128, lesion="meningioma")
        pixels, truth = scan.image.astype(np.float32), scan.mask > 0
        prompts, answer, guess, after = Prompts(), None, np.zeros_like(truth), []
        for _ in range(5):
            point = next_click(truth, guess)
            if point is None:
                break
            prompts = prompts.click(point.y, point.x, positive=point.positive)
            answer = engine.segment(engine.embed(pixels), prompts, answer)[0]
            guess = answer.mask
            after.append(dice(guess, truth))
        assert after[-1] >= after[0] - 0.05 and after[-1] > 0.7


class TestAnySize:
    @settings(max_examples=25)
    @given(
        st.sampled_from(NAMES), st.integers(8, 40), st.integers(8, 40), st.randoms(use_true_random=False), st.booleans()
    )
    def test_prompts_anywhere_on_noise(self, name: str, height: int, width: int, random, box: bool) -> None:
        pixels = np.random.default_rng(random.randrange(99)).normal(size=(height, width))
        y, x = random.randrange(height), random.randrange(width)
        prompts = Prompts().click(y, x)
        if box:
            prompts = prompts.boxed(Box(min(y, 2), min(x, 2), max(y, height // 2), max(x, width // 2)))
        engine = Classical(name)
        mask = masked(engine, pixels, prompts)
        assert mask[y, x]
        again = masked(engine, pixels, prompts.click(height - 1, 0, positive=False), Candidate(mask, None))
        assert not again[height - 1, 0]

    @pytest.mark.parametrize("pixels", [np.eye(16, dtype=np.uint8), np.eye(16, dtype=np.int16), np.eye(16, dtype=bool)])
    def test_whole_numbers(self, engine: Classical, pixels: NDArray) -> None:
        assert masked(engine, pixels, Prompts().click(8, 8))[8, 8]


class TestRefusals:
    @pytest.mark.parametrize(
        "pixels", [np.zeros((64, 64)), np.full((64, 64), np.inf), np.eye(4), np.ones((3, 64, 64)), np.ones((1, 1))]
    )
    def test_slices(self, engine: Classical, pixels: NDArray) -> None:
        with pytest.raises(ScanError):
            engine.embed(pixels)

    def test_prompts_and_masks(self, engine: Classical) -> None:
        pixels, _ = blob()
        embedded = engine.embed(pixels)
        for prompts in (Prompts(), Prompts().click(5, 5, positive=False), Prompts(box=Box(0, 0, 500, 5))):
            with pytest.raises(DataError):
                engine.segment(embedded, prompts)
        with pytest.raises(DataError, match="previous mask"):
            engine.segment(embedded, Prompts().click(5, 5), Candidate(np.ones((3, 3), bool), None))

    def test_an_unknown_method(self) -> None:
        with pytest.raises(DataError, match="random-walker"):
            Classical("randomwalker")
        assert open_engine("snake").name == "snake"


@pytest.mark.parametrize(("name", "floor"), [("random-walker", 0.8), ("snake", 0.78), ("grabcut", 0.8)])
def test_boxes_on_real_scans(shared_data: Path, name: str, floor: float) -> None:
    """Every 200th of cheng, boxes off by 10 %."""
    from tumorscope import io
    from tumorscope.datasets.truth import marked

    files = sorted((shared_data / "cheng" / "images").glob("*.jpg"))[::200]
    engine, scores = Classical(name), []
    for number, file in enumerate(files):
        truth = marked(io.read(shared_data / "cheng" / "masks" / f"{file.stem}.png").pixels)
        box = Box.around(truth)
        assert box is not None
        near = jittered(box, 0.1, np.random.default_rng(number), truth.shape)
        scores.append(dice(masked(engine, io.read(file).pixels, Prompts(box=near)), truth))
    assert np.mean(scores) > floor
