from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest

from tumorscope import io
from tumorscope.datasets import augment as module
from tumorscope.datasets import manifest
from tumorscope.datasets.augment import augment, offspring
from tumorscope.datasets.truth import read_mask
from tumorscope.datasets.variation import Ranges
from tumorscope.errors import DataError, OutputError

STILL = Ranges(0, 0, 0, 0, False, 0)


@pytest.fixture
def table(tmp_path: Path) -> pl.DataFrame:
    """Six scans of 40 x 32: four in train, with masks; one is 16 bit, one JPEG."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rows = []
    for number, name in enumerate(["a.png", "b.png", "c.jpg", "d.png", "e.png", "f.png"]):
        y, x = np.mgrid[:40, :32]
        mask = np.hypot(y - 20, x - 10 - number) < 6
        image = 60 + 2.0 * y + x + 90 * mask
        image = (image * 16).astype(np.uint16) if name == "b.png" else image.astype(np.uint8)
        cv2.imwrite(str(folder / name), image)
        cv2.imwrite(str(folder / f"{name[0]}_mask.png"), mask.astype(np.uint8) * 255)
        rows.append({"id": name[0], "path": str(folder / name), "mask_path": str(folder / f"{name[0]}_mask.png")})
    more = {"label": [1, 1, 0, 1, 0, 1], "split": ["train"] * 4 + ["val", "test"], "group": list("ggcdef")}
    return manifest.conform(
        pl.DataFrame(rows).with_columns(pl.Series(k, v) for k, v in more.items()), "test"
    ).with_columns(source=pl.lit("scans"), licence=pl.lit("CC0"), note=pl.lit("own column"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_copies_keep_what_their_scan_is_and_stay_beside_it(table: pl.DataFrame, tmp_path: Path) -> None:
    made = augment(table, tmp_path / "out", 2)
    assert (made.scans, made.made, made.kept, made.failed) == (4, 8, 0, ())
    copies = made.table.filter(pl.col("parent_id").is_not_null())
    assert copies.height == 8 and set(copies["parent_id"]) == set("abcd")
    kept = ["label", "split", "group", "source", "licence", "note", "patient", "width", "height"]
    original = table.with_columns(width=pl.lit(32), height=pl.lit(40))
    for row in copies.to_dicts():
        parent = original.filter(id=row["parent_id"])
        assert {name: row[name] for name in kept} == parent.select(kept).to_dicts()[0]
        assert row["synthetic"] is False and row["channel"] is None and row["id"].startswith(row["parent_id"] + "-a")
    assert made.table.head(6).equals(table.select(made.table.columns).with_columns(fold=pl.lit(None, pl.Int64)))
    assert "8 copies of 4 training scans" in made.sentence()


def test_the_manifest_can_be_read_and_moved_on(table: pl.DataFrame, tmp_path: Path) -> None:
    made = augment(table, tmp_path / "out", 1)
    read = manifest.load(tmp_path / "out")
    assert (
        read.sort("id")
        .select("id", "path", "split", "sha256")
        .equals(made.table.sort("id").select("id", "path", "split", "sha256"))
    )
    assert not Path(pl.read_parquet(tmp_path / "out" / "manifest.parquet")["path"][-1]).is_absolute()


def test_without_ranges_a_copy_is_its_scan(table: pl.DataFrame, tmp_path: Path) -> None:
    made = augment(table, tmp_path / "out", 1, ranges=STILL)
    for row in made.table.filter(pl.col("parent_id").is_not_null()).to_dicts():
        parent = table.filter(id=row["parent_id"]).to_dicts()[0]
        ours, theirs = io.read(row["path"]), io.read(parent["path"])
        assert ours.source.bits == theirs.source.bits
        assert np.array_equal(ours.pixels, np.rint(theirs.pixels))
        assert np.array_equal(read_mask(row, ours.shape), read_mask(parent, theirs.shape))  # type: ignore[arg-type]


def test_masks_move_with_their_images(table: pl.DataFrame, tmp_path: Path) -> None:
    """The lesion is 90 grey values above a slope: it is still so under the moved mask."""
    made = augment(table, tmp_path / "out", 3, ranges=Ranges(rotation=40, shift=0.2, brightness=0))
    moved = 0
    for row in made.table.filter(pl.col("parent_id") == "a").to_dicts():
        pixels = io.read(row["path"]).pixels
        mask = read_mask(row, pixels.shape)
        assert mask is not None
        y, x = np.nonzero(cv2.erode(mask.astype(np.uint8), np.ones((3, 3))))
        assert pixels[y, x].min() > 150
        moved += not np.array_equal(mask, read_mask(table.filter(id="a").to_dicts()[0], pixels.shape))
    assert moved == 3


def test_a_copy_hangs_on_seed_id_and_number_alone(table: pl.DataFrame, tmp_path: Path) -> None:
    augment(table, tmp_path / "one", 2, workers=1)
    augment(table[::-1], tmp_path / "two", 2, workers=3)
    augment(table, tmp_path / "more", 3)
    augment(table.filter(pl.col("id") != "a"), tmp_path / "fewer", 2)
    augment(table, tmp_path / "other", 2, seed=1)
    one, two, more, fewer, other = (files(tmp_path / name) for name in ("one", "two", "more", "fewer", "other"))
    assert one == two
    assert one.items() <= more.items() and fewer.items() <= one.items()
    assert set(one) == set(other) and all(one[name] != other[name] for name in one if name.startswith("images"))


def test_copies_of_one_scan_differ(table: pl.DataFrame, tmp_path: Path) -> None:
    augment(table, tmp_path / "out", 4)
    images = [content for name, content in files(tmp_path / "out").items() if name.startswith("images")]
    assert len(set(images)) == len(images) == 16


def test_originals_stay_untouched(table: pl.DataFrame, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "scans").iterdir()}
    augment(table, tmp_path / "out", 2)
    assert before == {path: path.read_bytes() for path in (tmp_path / "scans").iterdir()}


def test_a_stopped_run_goes_on(table: pl.DataFrame, tmp_path: Path) -> None:
    whole = augment(table, tmp_path / "whole", 2)
    out = tmp_path / "out"

    def stop(done: int, total: int, error: str | None) -> None:
        assert total == 4 and error is None
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        augment(table, out, 2, workers=1, progress=stop)
    assert not (out / "manifest.parquet").exists()
    assert len(files(out)) >= 8
    (out / "masks" / "a-a1.png").unlink()
    made = augment(table, out, 2)
    assert made.made >= 1 and made.kept >= 3 and made.made + made.kept == 8
    assert files(out) == files(tmp_path / "whole")
    assert made.table["sha256"].to_list() == whole.table["sha256"].to_list()


def test_a_second_run_draws_nothing(table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = augment(table, tmp_path / "out", 2)
    monkeypatch.setattr(module.io, "read", None)
    second = augment(table, tmp_path / "out", 2)
    assert (second.made, second.kept) == (0, 8)
    assert second.table.equals(first.table)


def test_a_changed_scan_is_copied_anew(table: pl.DataFrame, tmp_path: Path) -> None:
    augment(table, tmp_path / "out", 1)
    cv2.imwrite(table["path"][0], np.full((40, 32), 7, np.uint8))
    assert augment(table, tmp_path / "out", 1).made == 1
    assert io.read(tmp_path / "out" / "images" / "a-a1.png").pixels.max() < 9


def test_a_folder_of_other_copies_is_left_alone(table: pl.DataFrame, tmp_path: Path) -> None:
    augment(table, tmp_path / "out", 1)
    with pytest.raises(OutputError, match="holds copies made with other settings; choose another folder"):
        augment(table, tmp_path / "out", 1, seed=1)
    with pytest.raises(OutputError, match="holds copies made of other scans"):
        augment(table.filter(pl.col("id") != "a"), tmp_path / "out", 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and holds something else"):
        augment(table, tmp_path / "full", 1)


def test_copies_never_lie_among_the_originals(table: pl.DataFrame, tmp_path: Path) -> None:
    """A later reading of the folder would take them for scans of their own, without parents."""
    for place in ("scans", "scans/augmented"):
        with pytest.raises(OutputError, match=r"lies among the scans of 'scans' in .*scans; choose another folder"):
            augment(table, tmp_path / place, 1)


def test_a_scan_that_fails_does_not_stop_the_others(table: pl.DataFrame, tmp_path: Path) -> None:
    Path(table["path"][0]).write_bytes(b"\x89PNG\r\n\x1a\n broken")
    cv2.imwrite(table["mask_path"][1], np.zeros((5, 5), np.uint8))
    seen: list[str | None] = []
    made = augment(table, tmp_path / "out", 2, progress=lambda done, total, error: seen.append(error))
    assert len(made.failed) == 2 and made.made == 4 and len([line for line in seen if line]) == 2
    assert "a.png" in made.failed[0] and "mask is 5x5, its scan" in made.failed[1]
    assert set(made.table["parent_id"].drop_nulls()) == {"c", "d"}
    assert set(manifest.load(tmp_path / "out")["id"]) >= {"a", "b"}


def test_volumes_are_refused_in_one_line_before_anything_is_written(table: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "scans" / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), path)
    row = table.tail(1).with_columns(id=pl.lit("v"), path=pl.lit(str(path)), split=pl.lit("train"))
    with pytest.raises(DataError, match=r"v\.nii\.gz: is a volume, and copies are made of 2-D scans; cut it") as caught:
        augment(pl.concat([table, row.with_columns(group=pl.lit("v"))]), tmp_path / "out", 1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_channel_of_a_colour_file_becomes_a_grey_copy(table: pl.DataFrame, tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)
    cv2.imwrite(table["path"][0], colour)
    chosen = table.with_columns(channel=pl.when(id="a").then(1))
    made = augment(chosen, tmp_path / "out", 1, ranges=STILL)
    row = made.table.filter(parent_id="a").to_dicts()[0]
    assert row["channel"] is None
    assert np.array_equal(io.read(row["path"]).pixels, io.read(table["path"][0], channel=1).pixels)
    augment(table, tmp_path / "all", 1, ranges=STILL)
    assert np.array_equal(cv2.imread(str(tmp_path / "all" / "images" / "a-a1.png")), colour)


def test_values_beyond_sixteen_bits_are_brought_into_them(table: pl.DataFrame, tmp_path: Path) -> None:
    values = np.linspace(-1.5, 2.5, 40 * 32, dtype=np.float32).reshape(40, 32)
    cv2.imwrite(str(tmp_path / "scans" / "a.tif"), values)
    floats = table.with_columns(path=pl.when(id="a").then(pl.lit(str(tmp_path / "scans" / "a.tif"))).otherwise("path"))
    made = augment(floats, tmp_path / "out", 1, ranges=STILL)
    read = io.read(made.table.filter(parent_id="a")["path"][0])
    assert read.source.bits == 16 and (read.pixels.min(), read.pixels.max()) == (0, 65535)
    assert np.allclose(read.pixels / 65535, (values + 1.5) / 4, atol=1e-4)


def test_awkward_ids_get_files_of_their_own(table: pl.DataFrame, tmp_path: Path) -> None:
    names = {"a": "x/y", "b": "../up", "c": "x" * 300, "d": "ü d"}
    renamed = table.with_columns(pl.col("id").replace(names))
    made = augment(renamed, tmp_path / "out", 1)
    copies = made.table.filter(pl.col("parent_id").is_not_null())
    assert copies["path"].n_unique() == 4
    assert all(Path(path).parent == tmp_path / "out" / "images" for path in copies["path"])


def test_copies_are_not_copied_again(table: pl.DataFrame, tmp_path: Path) -> None:
    once = augment(table, tmp_path / "one", 1)
    with pytest.raises(DataError, match="a-a1: the manifest has this id already; start from the manifest without"):
        augment(once.table, tmp_path / "two", 1)
    renamed = once.table.with_columns(id=pl.col("id").str.replace("-a1", "-copy"))
    assert augment(renamed, tmp_path / "two", 1).passed_over == 4


@pytest.mark.parametrize("call", [offspring, augment])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda df: df.with_columns(split=pl.lit(None, pl.String)), "no scan is on a side yet; split first"),
        (lambda df: df.with_columns(group=pl.lit("all")), "split: group 'all' is in"),
        (lambda df: df.with_columns(group=pl.lit(None, pl.String)), "6 of 6 rows have no group"),
        (lambda df: df.with_columns(fold=pl.Series([0, 0, 1, 1, None, None])), "folds 0 to 1 and none was chosen"),
        (lambda df: df.filter(split="test"), "no scan is on the side 'train'"),
        (
            lambda df: df.with_columns(parent_id=pl.lit("p")).filter(split="train"),
            "every training row is a copy itself",
        ),
    ],
)
def test_what_cannot_be_augmented_is_said_in_one_line(
    call: Any, change: Any, words: str, table: pl.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        call(change(table), tmp_path / "out", 1)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_copies_and_nothing_usable(table: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="copies: 0 is no number of copies"):
        offspring(table, tmp_path, 0)
    missing = table.with_columns(path=pl.col("path") + ".gone")
    with pytest.raises(DataError, match="none of 4 training scans could be copied; the first: "):
        augment(missing, tmp_path / "out", 1)


def test_of_folds_one_is_held_out(table: pl.DataFrame, tmp_path: Path) -> None:
    folds = table.with_columns(split=pl.lit(None, pl.String), fold=pl.Series([0, 0, 1, 2, 2, None]))
    made = augment(folds, tmp_path / "out", 1, fold=0)
    assert set(made.table["parent_id"].drop_nulls()) == {"c", "d", "e"}
    assert made.table.filter(split="val")["id"].to_list() == ["a", "b"]


def test_the_mirror_of_a_scan_is_its_mirror(table: pl.DataFrame, tmp_path: Path) -> None:
    made = augment(table, tmp_path / "out", 6, ranges=Ranges(0, 0, 0, 0, True, 0))
    scan = io.read(table["path"][0]).pixels
    kinds = {
        "as it was" if np.array_equal(copy, scan) else "mirrored" if np.array_equal(copy, scan[:, ::-1]) else "other"
        for copy in (io.read(path).pixels for path in made.table.filter(parent_id="a")["path"])
    }
    assert kinds == {"as it was", "mirrored"}
