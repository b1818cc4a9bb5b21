"""A run whose networks are asked about scans: each scan by a network that did not learn from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tumorscope.datasets.facts import sha256
from tumorscope.errors import DataError, look_up
from tumorscope.scan import BoolArray
from tumorscope.training import engine
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.run_folder import DONE, MANIFEST, PREDICTIONS, RECIPE, folder_of

SINGLE = "the only split"  # how provenance.json calls the one model of a run without folds


@dataclass(frozen=True)
class Run:
    """A finished classifier run: its recipe, class names, and folds (one empty name where it has a single model)."""

    folder: Path
    recipe: ClassifierRecipe
    names: tuple[str, ...]
    values: tuple[int, ...]
    folds: tuple[str, ...]
    model_from: str

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in a folder.

        Raises
        ------
        DataError
            If the folder holds no finished run of a classifier network.
        """
        provenance = engine.read_json(folder / "provenance.json", None)
        if provenance is None or not (folder / RECIPE).is_file():
            raise DataError(f"{folder}: holds no finished training; name the folder that train wrote")
        recipe = recipes.load(folder / RECIPE)
        if not isinstance(recipe, ClassifierRecipe):
            raise DataError(
                f"{folder}: was trained for the task '{recipe.task}'; explain takes runs of classifier networks"
            )
        folds = ("",) if "single" in provenance["folds"] else tuple(provenance["folds"])
        chosen = "" if provenance["model_from"] == SINGLE else str(provenance["model_from"])
        record = engine.read_json(folder_of(folder, folds[0]) / DONE, {})
        return cls(folder, recipe, tuple(record["label_names"]), tuple(record["labels"]), folds, chosen)

    @property
    def binary(self) -> bool:
        """Whether the classes are none and tumour."""
        return self.values == (0, 1)

    @property
    def outputs(self) -> int:
        """Logits of the networks."""
        return 1 if len(self.names) == 2 else len(self.names)

    def truth(self, row: dict[str, Any], mask: BoolArray | None) -> str:
        """Name of a manifest row's class; empty where it is unknown."""
        if row.get("label_name") in self.names:
            return str(row["label_name"])
        label = row.get("label")
        if label is None and mask is not None and self.binary:
            label = int(mask.any())
        return self.names[self.values.index(label)] if label in self.values else str(row.get("label_name") or "")

    def target(self, said: int, named: str | None) -> int:
        """Number of the class whose logit is explained: the one named, else the tumour, else the one said."""
        if named is not None:
            return self.names.index(look_up(named, self.names, f"class of {self.folder}", DataError))
        return 1 if self.binary else said


def with_folds(table: pl.DataFrame, run: Run, fold: str | None = None) -> pl.DataFrame:
    """A manifest with a column ``_fold``: whose network explains each scan; null where all of them learnt from it.

    Scans are recognised by their content. With repeats, the first one counts.

    Parameters
    ----------
    table : polars.DataFrame
    run : Run
    fold : str or None
        The only one to be used.

    Raises
    ------
    DataError
        For an unknown fold.
    """
    if fold is not None:
        look_up(fold, run.folds, f"fold of {run.folder}", DataError)
    known = pl.read_parquet(run.folder / MANIFEST)
    content = dict(zip(known["id"].to_list(), contents(known, run.folder), strict=True))
    tested: dict[str, str] = {}
    for name in (fold,) if fold is not None else run.folds:
        ids = pl.read_parquet(folder_of(run.folder, name) / PREDICTIONS)["id"].to_list()
        for own in ids:
            own = own if own in content else own.rsplit(":", 1)[0]  # a volume's slices are numbered
            tested.setdefault(content[own], name)
    ours = set(content.values())
    other = run.model_from if fold is None else fold
    folds = [tested.get(digest) if digest in ours else other for digest in contents(table)]
    return table.with_columns(pl.Series("_fold", folds, pl.String))


def contents(table: pl.DataFrame, folder: Path | None = None) -> list[str]:
    """What tells each scan of a manifest from any other: the hash of its bytes, taken now where the manifest has none.

    Relative paths start at ``folder``. A scan that cannot be read has its path instead.
    """
    found = []
    for path, digest in table.select("path", "sha256").rows():
        file = Path(os.path.abspath((folder or Path()) / path))
        try:
            found.append(digest or sha256(sorted(file.iterdir()) if file.is_dir() else [file]))
        except OSError:
            found.append(str(file))
    return found


def spread(table: pl.DataFrame, count: int, seed: int = 0) -> pl.DataFrame:
    """At most ``count`` rows, drawn so that labels are equally many and groups as different as can be; 0 for all.

    Examples
    --------
    >>> table = pl.DataFrame({"id": [*"abcd"], "label": [1, 1, 1, 0], "group": ["g", "g", "h", "i"]})
    >>> sorted(spread(table, 3)["group"].to_list()), spread(table, 0).height
    (['g', 'h', 'i'], 4)
    """
    if count <= 0 or table.height <= count:
        return table
    mixed = table.sample(fraction=1.0, shuffle=True, seed=seed)
    mixed = mixed.with_columns(_again=pl.int_range(pl.len()).over("label", "group")).sort("_again", maintain_order=True)
    return (
        mixed.with_columns(_turn=pl.int_range(pl.len()).over("label"))
        .sort("_turn", maintain_order=True)
        .head(count)
        .drop("_again", "_turn")
    )
