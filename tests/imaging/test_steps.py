"""Steps run in the order given, know the way from the slice that was read, and refuse what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import phantom
from tumorscope.errors import RecipeError, ScanError
from tumorscope.imaging import steps
from tumorscope.imaging.musica import musica
from tumorscope.scan import FloatArray


@pytest.fixture(scope="module")
def slice_with_lesion() -> phantom.Phantom:
    return phantom.make(3, contrast="t1ce", lesion="meningioma", size=160)


def test_order_is_kept(slice_with_lesion: phantom.Phantom) -> None:
    image = slice_with_lesion.image.astype(np.float32)
    sharp_first = steps.run(image, steps.parse("sharpen,denoise:method=median"))
    sharp_last = steps.run(image, steps.parse("denoise:method=median,sharpen"))
    assert not np.allclose(sharp_first.pixels, sharp_last.pixels)


def test_one_step_is_its_function(slice_with_lesion: phantom.Phantom) -> None:
    image = slice_with_lesion.image.astype(np.float32)
    done = steps.run(image, steps.parse("musica:gain=1.5:keep_black=false"))
    assert np.array_equal(done.pixels, np.clip(musica(image, gain=1.5), image.min(), image.max()))


@pytest.mark.parametrize("text", ["clean,crop", "crop,resize:size=64", "crop:mode=hard,contrast,crop,resize:size=96"])
def test_a_mask_moves_with_its_slice(slice_with_lesion: phantom.Phantom, text: str) -> None:
    mask = slice_with_lesion.mask
    marked = slice_with_lesion.image.astype(np.float32)
    marked[mask] = 4000
    picture = steps.run(marked, steps.parse(text))
    moved = picture.with_mask(mask)
    assert moved.shape == picture.pixels.shape and moved.any()
    bright = picture.pixels > 0.6 * picture.pixels.max()
    assert (moved & bright).sum() / (moved | bright).sum() > 0.8


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_any_size_goes_through(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    picture = steps.run(image, steps.parse(f"{steps.DEFAULT},resize:size=16"))
    assert picture.pixels.shape == picture.head.shape == (16, 16)
    assert np.isfinite(picture.pixels).all() and picture.pixels.min() >= 0 and picture.pixels.max() <= 1


def test_colours_come_last_and_are_rgb(slice_with_lesion: phantom.Phantom) -> None:
    picture = steps.run(slice_with_lesion.image, steps.parse("crop,contrast,cluster-colors:clusters=4"))
    assert picture.colors is not None and picture.colors.shape == (*picture.pixels.shape, 3)
    assert len(np.unique(picture.colors.reshape(-1, 3), axis=0)) == 4
    with pytest.raises(RecipeError, match="'cluster-colors' makes colours, and no step can follow it; put it last"):
        steps.parse("cluster-colors,musica")


def test_a_volume_is_cut_by_one_box() -> None:
    volume: FloatArray = phantom.make_volume(5, shape=(8, 64, 64)).image.astype(np.float32)
    pictures = steps.run_volume(volume, steps.parse("crop,contrast"))
    assert len({(one.box, one.pixels.shape) for one in pictures}) == 1
    with pytest.raises(ScanError, match="'resize' is for 2-D scans"):
        steps.run_volume(volume, steps.parse("resize:size=32"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crip", "unknown step 'crip'; did you mean 'crop'"),
        ("musica:gian=2", "did you mean 'gain'"),
        ("musica:gain=loud", "step 'musica': gain: input should be a valid number"),
        ("resize:size=2", "step 'resize': size: input should be greater than or equal to 8"),
        ("", "none is named"),
    ],
)
def test_a_wrong_text_is_told_in_one_line(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        steps.parse(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_every_step_has_a_name_and_says_what_it_does() -> None:
    for name, kind in steps.STEPS.items():
        assert steps.step({"step": name}) == kind()
        assert kind.__doc__ and all(field.description for key, field in kind.model_fields.items() if key != "step")
