"""Masks as run lengths: exact, strict, and as other COCO tools write them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tumorscope.annotation import rle
from tumorscope.errors import DataError

planes = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=13))
volumes = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7))


@given(planes)
def test_a_slice_comes_back_and_counts_alternate_from_background(mask):
    made = rle.encode(mask)
    assert np.array_equal(rle.decode(made), mask)
    assert all(count > 0 for count in made["counts"][1:])
    assert rle.area(made) == mask.sum()
    assert rle.check(made) == mask.shape


@given(volumes)
def test_a_volume_comes_back_and_keeps_only_slices_that_hold_something(mask):
    made = rle.encode_any(mask)
    assert np.array_equal(rle.decode_any(made), mask)
    assert [int(name) for name in made["slices"]] == np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    assert rle.area(made) == mask.sum()
    assert rle.check(made) == mask.shape


@given(st.lists(st.integers(0, rle.LARGEST), max_size=30))
def test_the_string_gives_the_counts_back(counts):
    assert rle.decompress(rle.compress(counts)) == counts


@given(planes)
def test_the_compressed_form_decodes_to_the_same_mask(mask):
    made = rle.encode(mask)
    packed = {"size": made["size"], "counts": rle.compress(made["counts"])}
    assert np.array_equal(rle.decode(packed), mask)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),  # an example of the COCO API
        ([0, 16], "0`0"),  # by hand: 16 needs a second letter, or it would read as -16
        ([1, 1, 1, 0], "111O"),  # by hand: the fourth is the difference 0 - 1
        ([32, 31], "P1o0"),  # by hand: 32 is 0 and a one above; 31 all ones and a zero above
    ],
)
def test_the_string_is_the_one_of_coco(counts, text):
    assert rle.compress(counts) == text
    assert rle.decompress(text) == counts


def test_runs_go_down_the_columns():
    mask = np.zeros((3, 2), bool)
    mask[2, 0] = mask[0, 1] = True
    assert rle.encode(mask) == {"size": [3, 2], "counts": [2, 2, 2]}


@pytest.mark.parametrize(
    "bad",
    [
        {},
        None,
        [],
        {"size": [2, 2]},
        {"size": [2, 2], "counts": [4], "more": 1},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": [2.0, 2]},
        {"size": [2, 2], "counts": [True, 3]},
        {"size": [2, 2], "counts": [4, 0, 0, 0, 0, 0]},
        {"size": [2, 2], "counts": "4"[:0]},
        {"size": [2, 2], "counts": "T"},
        {"size": [2, 2], "counts": "é"},
        {"size": [2, 2], "counts": "ooooooooooo"},
        {"size": [2, 2], "counts": "O"},
        {"size": [2, 2], "counts": 4},
        {"size": [0, 2], "counts": []},
        {"size": [2], "counts": [2]},
        {"size": [2, "2"], "counts": [4]},
        {"size": [2, True], "counts": [2]},
        {"size": [2**20, 2**20], "counts": [2**40]},
        {"size": [2, 2, 2], "slices": []},
        {"size": [2, 2, 2], "slices": {"2": {"size": [2, 2], "counts": [4]}}},
        {"size": [2, 2, 2], "slices": {"-1": {"size": [2, 2], "counts": [4]}}},
        {"size": [2, 2, 2], "slices": {"01": {"size": [2, 2], "counts": [4]}}},
        {"size": [2, 2, 2], "slices": {"²": {"size": [2, 2], "counts": [4]}}},
        {"size": [2, 2, 2], "slices": {"1": {"size": [2, 1], "counts": [2]}}},
        {"size": [2, 2, 2], "slices": {"1": {"size": [2, 2], "counts": [3]}}},
        {"size": [2, 2, 2], "slices": {"1": None}},
        {"size": [2**10, 2**10, 2**10], "slices": {}},
    ],
)
def test_what_does_not_add_up_is_refused_in_one_line(bad):
    for use in (rle.check, rle.decode_any, rle.area):
        with pytest.raises(DataError, match=r"^mask: .+; .+") as caught:
            use(bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (0, 4), (1, 2, 3, 4)])
def test_an_array_that_is_no_mask_is_refused(shape):
    with pytest.raises(DataError, match="no slice"):
        rle.encode_any(np.zeros(shape, bool))


def test_integer_masks_mark_what_is_not_zero():
    assert rle.encode(np.array([[0, 255], [1, 0]], np.uint8)) == rle.encode(np.array([[0, 1], [1, 0]], bool))
