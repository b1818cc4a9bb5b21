"""What training is given by hand is checked as what the library splits itself."""

from __future__ import annotations

import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.training.recipe import Recipe
from tumorscope.training.train import with_split


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"group": ["torn-7", "torn-7", "c", "d"]}, "torn-7"),
        ({"patient": ["torn-7", "torn-7", None, None]}, "torn-7"),
        ({"case": ["torn-7", "torn-7", None, None]}, "torn-7"),
        ({"parent_id": [None, "a", None, None]}, "a"),
    ],
)
def test_a_cut_split_stops_training_by_name(columns: dict[str, list[str | None]], name: str, tiny: Recipe) -> None:
    df = pl.DataFrame({"id": list("abcd"), "group": list("abcd"), "split": ["train", "val", "train", "val"]})
    assert with_split(df, tiny) is df
    with pytest.raises(DataError, match=f"^split: .*'{name}' is in train and val; split again"):
        with_split(df.with_columns(pl.Series(key, value, dtype=pl.String) for key, value in columns.items()), tiny)
