"""How a classifier's scans are labelled, held out, drawn and changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from tumorscope.datasets import manifest, phantom
from tumorscope.datasets.families import families
from tumorscope.errors import DataError, TumorscopeError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training.cache import Cache, build
from tumorscope.training.classifier_data import (
    Changed,
    EpochData,
    HeldOut,
    Labels,
    Order,
    Squares,
    by_type,
    class_weights,
    draw,
    labelled,
    load,
    steps_in,
    workers_of,
)
from tumorscope.training.classifier_recipe import ClassifierRecipe, Data, Fit, Network, Phase
from tumorscope.training.divisions import divisions

SEEDS = st.integers(0, 10_000)
SCANS = 60


def scans(count: int = SCANS, size: int = 2, **columns: object) -> pl.DataFrame:
    """Rows of ``count`` scans in groups of ``size``, every second group with a tumour."""
    group = [number // size for number in range(count)]
    blank = dict.fromkeys(("split", "mask_path", "parent_id", "patient", "case", "label_name"), pl.lit(None, pl.String))
    return pl.DataFrame(
        {"id": [f"s{n:03d}" for n in range(count)], "path": [f"s{n:03d}.png" for n in range(count)]}
        | {"group": [f"g{number}" for number in group], "label": [number % 2 for number in group]}
        | {"source": ["a"] * count, "synthetic": [False] * count}
    ).with_columns(fold=pl.lit(None, pl.Int64), **(blank | columns))


def in_memory(truth: list[int], side: int = 8, synthetic: list[bool] | None = None) -> Squares:
    """Squares of one grey value each, its number over 255."""
    count = len(truth)
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, side, side))
    cache = Cache(images, np.zeros_like(images), np.zeros((count, 65), np.float32), pl.DataFrame())
    table = pl.DataFrame({"synthetic": synthetic or [False] * count, "path": [f"{n}.png" for n in range(count)]})
    values = tuple(sorted(set(truth)))
    return Squares(cache, table, np.array(truth), Labels(values, tuple(map(str, values))))


def recipe_of(**values: object) -> ClassifierRecipe:
    return ClassifierRecipe(name="x", model=Network(backbone="custom-cnn"), phases=(Phase(epochs=1),), **values)


class TestLabels:
    def test_none_and_tumour_have_our_names(self) -> None:
        named = Labels.of(pl.DataFrame({"label": [1, 0], "label_name": ["yes", "no"]}))
        assert named == Labels((0, 1), ("no_tumor", "tumor")) and named.binary and named.outputs == 1

    def test_several_classes_keep_theirs_in_the_order_of_their_numbers(self) -> None:
        table = pl.DataFrame({"label": [3, 1, 2, None, 1], "label_name": ["none", "glioma", None, None, "glioma"]})
        assert Labels.of(table) == Labels((1, 2, 3), ("glioma", "2", "none")) and Labels.of(table).outputs == 3

    def test_two_kinds_of_tumour_share_one_logit(self) -> None:
        two = Labels.of(pl.DataFrame({"label": [1, 2], "label_name": ["glioma", "pituitary"]}))
        assert not two.binary and two.outputs == 1

    @pytest.mark.parametrize("labels", [[1, 1], [None, None]])
    def test_one_class_is_refused(self, labels: list[int | None]) -> None:
        with pytest.raises(DataError, match="2 scans have one class only"):
            Labels.of(pl.DataFrame({"label": labels, "label_name": ["a", "a"]}, schema_overrides={"label": pl.Int64}))


class TestLabelled:
    def test_rows_without_label_and_mask_are_left_out(self) -> None:
        table = scans(4).with_columns(
            label=pl.Series([0, None, None, 1], dtype=pl.Int64), mask_path=pl.Series([None, "m.png", None, None])
        )
        assert labelled(table)["id"].to_list() == ["s000", "s001", "s003"]

    @pytest.mark.parametrize("column", ["split", "fold"])
    def test_one_that_a_split_names_is_an_error(self, column: str) -> None:
        table = scans(2).with_columns(
            label=pl.Series([0, None], dtype=pl.Int64), **{column: pl.lit("val" if column == "split" else 0)}
        )
        with pytest.raises(DataError, match=r"s001\.png: has neither label nor mask"):
            labelled(table)

    def test_no_labels_at_all_is_an_error(self) -> None:
        with pytest.raises(DataError, match="none of 4 scans has a label or a mask"):
            labelled(scans(4).with_columns(label=pl.lit(None, pl.Int64)))


def apart(table: pl.DataFrame, parts: list[set[str] | frozenset[str]]) -> bool:
    """Whether no family has members in two of the parts."""
    unit = dict(zip(table["id"].to_list(), families(table).tolist(), strict=True))
    held = [{unit[name] for name in part} for part in parts]
    return not any(a & b for number, a in enumerate(held) for b in held[:number])


class TestDivisions:
    @given(seed=SEEDS, size=st.integers(1, 4))
    @settings(max_examples=12)
    def test_one_split_by_group_in_the_shares_asked_for(self, seed: int, size: int) -> None:
        table = scans(size=size)
        (one,) = divisions(table, Data(validation=0.2, test=0.3), seed)
        assert one.train | one.val | one.test == set(table["id"])
        assert apart(table, [one.train, one.val, one.test])
        assert abs(len(one.test) - 0.3 * SCANS) <= size and abs(len(one.val) - 0.2 * SCANS) <= size
        assert (one.name, one.repeat, one.fold) == ("", 0, -1)

    @given(seed=SEEDS, folds=st.integers(2, 5), repeats=st.integers(1, 2))
    @settings(max_examples=8)
    def test_each_scan_is_tested_once_a_repeat_by_a_fold_that_knew_nothing_of_its_group(
        self, seed: int, folds: int, repeats: int
    ) -> None:
        table = scans()
        found = divisions(table, Data(folds=folds, repeats=repeats), seed)
        assert len(found) == folds * repeats == len({one.name for one in found})
        for repeat in range(repeats):
            own = [one for one in found if one.repeat == repeat]
            assert Counter(name for one in own for name in one.test) == Counter(table["id"].to_list())
        for one in found:
            assert one.train | one.val | one.test == set(table["id"])
            assert apart(table, [one.train, one.val, one.test])
            assert 0.05 <= len(one.val) / (len(one.val) + len(one.train)) <= 0.25

    def test_repeats_are_dealt_anew_and_a_seed_gives_the_same_again(self) -> None:
        settings_ = Data(folds=3, repeats=2)
        found = divisions(scans(), settings_, 1)
        assert found == divisions(scans(), settings_, 1) and found != divisions(scans(), settings_, 2)
        assert {one.test for one in found[:3]}.isdisjoint({one.test for one in found[3:]})

    def test_the_manifests_own_split_is_taken_as_it_is(self) -> None:
        table = scans(40, 1).with_columns(split=pl.Series(["train"] * 20 + ["val"] * 10 + ["test"] * 8 + [None] * 2))
        (one,) = divisions(table, Data(), 0)
        parts = [set(table.filter(pl.col("split") == side)["id"]) for side in ("train", "val", "test")]
        assert [one.train, one.val, one.test] == parts

    def test_a_split_without_validation_gets_one_from_its_training_part(self) -> None:
        table = scans().with_columns(split=pl.Series(["train"] * 40 + ["test"] * 20))
        (one,) = divisions(table, Data(validation=0.25), 0)
        assert one.test == set(table["id"][40:]) and one.train | one.val == set(table["id"][:40])
        assert 8 <= len(one.val) <= 12 and apart(table, [one.train, one.val])

    def test_the_manifests_own_folds_are_taken_as_they_are(self) -> None:
        fold = [None if number < 4 else number // 2 % 3 for number in range(SCANS)]
        table = scans().with_columns(fold=pl.Series(fold, dtype=pl.Int64))
        found = divisions(table, Data(folds=5, repeats=9), 0)
        assert [one.name for one in found] == ["r0f0", "r0f1", "r0f2"]
        for one in found:
            assert one.test == set(table.filter(pl.col("fold") == one.fold)["id"])
            assert not {"s000", "s003"} & (one.train | one.val | one.test) and apart(table, [one.train, one.val])

    def test_a_group_on_two_sides_is_named(self) -> None:
        cut = scans().with_columns(split=pl.Series((["train", "val"] * SCANS)[:SCANS]))
        with pytest.raises(DataError, match=r"group 'g0' is in train and val"):
            divisions(cut, Data(), 0)
        with pytest.raises(DataError, match="group 'g0' is in 0 and 1"):
            divisions(scans().with_columns(fold=pl.int_range(pl.len()) % 2), Data(), 0)

    def test_synthetic_scans_are_only_learnt_from_and_never_relatives_of_held_out_ones(self) -> None:
        real = scans()
        made = real.with_columns(
            id="copy-" + pl.col("id"), parent_id=pl.col("id"), synthetic=pl.lit(True), source=pl.lit("made")
        )
        table = pl.concat([real, made])
        for one in divisions(table, Data(folds=4), 3) + divisions(table, Data(), 3):
            assert not any(name.startswith("copy-") for name in one.val | one.test)
            used = {name.removeprefix("copy-") for name in one.train if name.startswith("copy-")}
            assert used == {name for name in one.train if not name.startswith("copy-")}

    def test_neighbours_of_an_ordered_source_keep_their_distance(self) -> None:
        table = scans(400, 1).with_columns(group=pl.lit(None, pl.String).fill_null(pl.col("id")))
        (one,) = divisions(table, Data(ordered=("a", "absent"), block=20, gap=3), 0)
        place = {name: number for number, name in enumerate(table["id"].to_list())}
        parts = [np.array([place[name] for name in part]) for part in (one.train, one.val, one.test)]
        for number, part in enumerate(parts):
            for other in parts[:number]:
                assert np.abs(part[:, None] - other[None]).min() > 3
        assert sum(map(len, parts)) < 400

    @pytest.mark.parametrize(
        ("split", "words"),
        [
            (["train"] * 45 + ["val"] * 15, "validation part has 15 scans of 1 of 2 classes"),
            (["val"] * 45 + ["train"] * 15, "training part has 15 scans of 1 of 2 classes"),
            (["val"] * 60, "training part has 0 scans of 0 of 2 classes"),
        ],
    )
    def test_a_part_without_a_class_is_refused(self, split: list[str], words: str) -> None:
        table = scans(60, 1).with_columns(split=pl.Series(split), label=(pl.int_range(pl.len()) < 40).cast(pl.Int64))
        with pytest.raises(DataError, match=words):
            divisions(table, Data(), 0)

    def test_training_needs_every_class_that_is_tested(self) -> None:
        label = pl.Series([number % 2 if number < 40 else 2 for number in range(SCANS)])
        split = pl.Series((["train"] * 3 + ["val"] * 2) * 8 + ["test"] * 20)
        with pytest.raises(DataError, match="training part has 24 scans of 2 of 3 classes"):
            divisions(scans(60, 1).with_columns(label=label, split=split), Data(), 0)

    def test_too_few_groups_for_the_folds(self) -> None:
        with pytest.raises(DataError, match="groups cannot fill"):
            divisions(scans(8, 4), Data(folds=5), 0)


class TestDraw:
    @given(seed=SEEDS, epoch=st.integers(0, 50))
    @settings(max_examples=20)
    def test_an_epoch_is_every_square_once_in_an_order_of_its_own(self, seed: int, epoch: int) -> None:
        squares, rows = in_memory([0, 1] * 20), np.arange(3, 33)
        one = draw(squares, rows, Data(), seed, epoch)
        assert sorted(one.tolist()) == rows.tolist()
        assert np.array_equal(one, draw(squares, rows, Data(), seed, epoch))
        assert not np.array_equal(one, draw(squares, rows, Data(), seed, epoch + 1))
        assert not np.array_equal(one, draw(squares, rows, Data(), seed + 1, epoch))

    @pytest.mark.parametrize(("balance", "count"), [("over", 17), ("under", 5), ("none", None), ("loss", None)])
    def test_classes_are_balanced_as_asked(self, balance: str, count: int | None) -> None:
        truth = [0] * 17 + [1] * 5 + [2] * 8
        drawn = draw(in_memory(truth), np.arange(30), Data(balance=balance), 0, 0)
        found = Counter(np.array(truth)[drawn].tolist())
        assert found == ({0: 17, 1: 5, 2: 8} if count is None else dict.fromkeys(range(3), count))
        often = Counter(drawn.tolist())
        for label in range(3):
            times = [often[row] for row in range(30) if truth[row] == label]
            assert max(times) - min(times) <= 1  # none comes again before all of its class did

    def test_under_and_over_change_from_epoch_to_epoch(self) -> None:
        squares = in_memory([0] * 17 + [1] * 5)
        seen = [set(draw(squares, np.arange(22), Data(balance="under"), 0, epoch).tolist()) for epoch in range(30)]
        assert len(set.union(*seen)) == 22 and all(set(range(17, 22)) < one for one in seen)

    @pytest.mark.parametrize(("share", "most"), [(0.0, 0), (0.25, 5), (0.5, 15), (0.6, 22)])
    def test_synthetic_squares_are_capped(self, share: float, most: int) -> None:
        squares = in_memory([0, 1] * 30, synthetic=[False] * 15 + [True] * 45)
        drawn = draw(squares, np.arange(60), Data(synthetic=share), 0, 0)
        made = (drawn >= 15).sum()
        assert (drawn < 15).sum() == 15 and made == most and made / len(drawn) <= share + 1e-9
        if 0 < most < 45:
            assert set(drawn.tolist()) != set(draw(squares, np.arange(60), Data(synthetic=share), 0, 1).tolist())


@given(truth=st.lists(st.integers(0, 3), min_size=1, max_size=40))
@settings(max_examples=30)
def test_class_weights_are_scikit_learns_balanced_ones(truth: list[int]) -> None:
    labels = np.array(truth)
    present = np.unique(labels)
    ours = class_weights(labels, 4)
    assert ours[present] == pytest.approx(compute_class_weight("balanced", classes=present, y=labels))
    assert ours[labels].mean() == pytest.approx(1)


class TestBatches:
    @pytest.mark.parametrize(
        ("count", "batch", "accumulate", "batches", "steps"),
        [(12, 4, 1, 3, 3), (13, 4, 1, 3, 3), (14, 4, 1, 4, 4), (14, 4, 3, 4, 2), (3, 4, 1, 1, 1), (1, 4, 1, 1, 1)],
    )
    def test_steps_in_an_epoch(self, count: int, batch: int, accumulate: int, batches: int, steps: int) -> None:
        squares, fit = in_memory([0, 1] * 10), Fit(batch=batch, accumulate=accumulate)
        recipe = recipe_of(fit=fit, machine={"workers": 0})
        data = EpochData(squares, np.arange(count), np.arange(count, 20), recipe, 0)
        loader = data.train_dataloader()
        sizes = [len(one["label"]) for one in loader]
        assert len(sizes) == batches == len(loader) and steps_in(count, fit) == steps
        assert count == 1 or 1 not in sizes  # batch norm needs two

    def test_an_item_hangs_on_the_seed_its_epoch_and_its_place_alone(self) -> None:
        squares = in_memory([0, 1] * 4, side=32)
        recipe = recipe_of(augmentation={"noise": 1.0})

        def item(epoch: int, place: int, row: int, seed: int = 0) -> torch.Tensor:
            return Changed(squares.cache, squares.truth, recipe, seed)[epoch, place, row]["image"]

        assert torch.equal(item(2, 3, 5), item(2, 3, 5))
        others = [item(3, 3, 5), item(2, 4, 5), item(2, 3, 5, seed=1)]
        assert not any(torch.equal(item(2, 3, 5), other) for other in others)
        found = Changed(squares.cache, squares.truth, recipe, 0)[0, 0, 5]
        assert found["image"].shape == (1, 32, 32) and (int(found["label"]), int(found["row"])) == (1, 5)

    def test_held_out_squares_are_as_they_are_in_the_order_given(self) -> None:
        squares = in_memory([0, 1] * 4)
        rows = np.array([6, 1, 3])
        items = HeldOut(squares.cache, squares.truth, rows)
        assert len(items) == 3
        for place, row in enumerate(rows):
            assert torch.equal(items[place]["image"], torch.full((1, 8, 8), row / 255, dtype=torch.float32))
            assert (int(items[place]["label"]), int(items[place]["row"])) == (row % 2, row)

    def test_the_order_tells_epoch_place_and_square(self) -> None:
        squares = in_memory([0, 1] * 5)
        order = Order(squares, np.arange(10), Data(), seed=4, first_epoch=7)
        order.set_epoch(2)
        told = list(order)
        assert [epoch for epoch, _, _ in told] == [9] * 10 and [place for _, place, _ in told] == list(range(10))
        assert [row for _, _, row in told] == draw(squares, np.arange(10), Data(), 4, 9).tolist()

    def test_several_devices_share_an_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        squares = in_memory([0, 1] * 5)
        seen = []
        for rank in range(3):
            monkeypatch.setattr("tumorscope.training.classifier_data._place", lambda rank=rank: (rank, 3))
            order = Order(squares, np.arange(10), Data(), 0)
            assert len(order) == len(list(order))
            seen += list(order)
        assert sorted(row for _, _, row in seen) == list(range(10))

    def test_processes_that_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert workers_of(3) == 3 and workers_of(0) == 0
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert workers_of("auto") == 0
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert 1 <= workers_of("auto") <= 8

    @pytest.mark.slow
    def test_loading_processes_give_the_same_batches(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        squares = Squares.of(labelled(phantoms), Preparation(size=32), tmp_path)
        both = []
        for workers in (0, 2):
            recipe = recipe_of(fit=Fit(batch=8), machine={"workers": workers})
            data = EpochData(squares, np.arange(20), np.arange(20, 32), recipe, 0)
            both.append(torch.cat([one["image"] for one in data.train_dataloader()]))
        assert torch.equal(*both)


class TestSquares:
    def test_squares_follow_the_manifest(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        squares = Squares.of(labelled(phantoms), Preparation(size=32), tmp_path)
        assert squares.table["id"].to_list() == phantoms["id"].to_list() and squares.labels.binary
        assert squares.truth.tolist() == phantoms["label"].to_list()
        assert squares.names == phantoms["path"].to_list()
        chosen = squares.rows(squares.table["id"].is_in(phantoms["id"][3:5].to_list()))
        assert chosen.tolist() == [3, 4]

    def test_the_mask_of_a_labelled_scan_is_not_looked_at(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        contrary = phantoms.with_columns(label=1 - pl.col("label"), mask_path=pl.lit(str(tmp_path / "absent.png")))
        squares = Squares.of(contrary, Preparation(size=32), tmp_path)
        assert squares.truth.tolist() == (1 - phantoms["label"]).to_list()

    def test_a_scan_without_label_is_labelled_by_its_mask(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        squares = Squares.of(phantoms.with_columns(label=pl.lit(None, pl.Int64)), Preparation(size=32), tmp_path)
        assert squares.truth.tolist() == phantoms["label"].to_list()

    def test_a_volume_is_labelled_slice_by_slice(self, tmp_path: Path) -> None:
        import nibabel as nib

        made = phantom.make_volume(3, shape=(8, 40, 40), spacing=(15, 6, 6))
        for name, array in (("scan", made.image), ("mask", made.mask.astype(np.uint8))):
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), np.eye(4)), tmp_path / f"{name}.nii.gz")
        row = {"id": ["v"], "path": [str(tmp_path / "scan.nii.gz")], "mask_path": [str(tmp_path / "mask.nii.gz")]}
        squares = Squares.of(manifest.load(pl.DataFrame(row), groups=False), Preparation(size=32), tmp_path / "cache")
        tumour = made.mask.any(axis=(1, 2))
        number = squares.table["slice"].to_list()
        assert len(number) > 4 and squares.truth.tolist() == [int(tumour[z]) for z in number]
        assert set(squares.truth.tolist()) == {0, 1}

    def test_coloured_squares_have_three_planes(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        squares = Squares.of(phantoms[:4], Preparation(size=32, colors="kmeans", clusters=4), tmp_path)
        item = HeldOut(squares.cache, squares.truth, np.arange(4))[0]["image"]
        assert item.shape == (3, 32, 32) and len(torch.unique(item.flatten(1), dim=1).T) <= 4

    def test_a_broken_scan_is_named(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        row = pl.int_range(pl.len()) == 2
        table = phantoms.with_columns(path=pl.when(row).then(pl.lit(str(tmp_path / "broken.png"))).otherwise("path"))
        with pytest.raises(TumorscopeError, match=r"broken\.png"):
            Squares.of(table, Preparation(size=32), tmp_path / "cache")

    def test_squares_are_kept_by_content(self, phantoms: pl.DataFrame, tmp_path: Path) -> None:
        """Other bytes, another channel or another mask are other squares, also where the manifest tells no hash."""
        bare = phantoms[:4].with_columns(sha256=pl.lit(None, pl.String))
        first = build(bare, Preparation(size=32), tmp_path)
        assert build(bare, Preparation(size=32), tmp_path).folder == first.folder
        paths = phantoms["path"][1:2].to_list() + bare["path"][1:].to_list()
        masks = phantoms["mask_path"][3:4].to_list() + bare["mask_path"][1:].to_list()
        others = [
            build(table, Preparation(size=32), tmp_path).folder
            for table in (
                bare.with_columns(path=pl.Series(paths)),
                bare.with_columns(mask_path=pl.Series(masks)),
            )
        ]
        assert len({first.folder, *others}) == 3


def test_folders_are_loaded_with_groups(phantom_folder: Path) -> None:
    table = load([phantom_folder])
    assert table.height == 60 and table["group"].null_count() == 0 and set(table["label"]) == {0, 1}


def test_types_become_classes_only_where_they_are_asked_for(tmp_path: Path) -> None:
    for name, count in (("glioma", 2), ("meningioma", 3), ("notumor", 2)):
        phantom.write_dataset(tmp_path / "made" / name, count=count, seed=len(name), size=48)
        (tmp_path / "scans" / name).mkdir(parents=True)
        for number, file in enumerate(sorted((tmp_path / "made" / name).rglob("*.png"))[:count]):
            (tmp_path / "scans" / name / f"{name}{number}.png").write_bytes(file.read_bytes())
    plain, typed = load([tmp_path / "scans"]), load([tmp_path / "scans"], "tumor_type")
    assert Labels.of(plain).names == ("no_tumor", "tumor")
    assert Labels.of(typed).names == ("no_tumor", "glioma", "meningioma")
    assert typed["label"].to_list() == [1, 1, 2, 2, 2, 0, 0]
    without = typed.filter(pl.col("label") != 0)
    assert Labels.of(by_type(without)).names == ("glioma", "meningioma")


def test_types_that_nobody_told_are_refused() -> None:
    rows = {"path": ["a.png", "b.png"], "label": [1, 0], "tumor_type": ["glioma", None], "split": ["train", "test"]}
    table = pl.DataFrame(rows).with_columns(fold=pl.lit(None, pl.Int64))
    with pytest.raises(DataError, match="tumor_type: no scan has one"):
        by_type(table.with_columns(tumor_type=pl.lit(None, pl.String)))
    with pytest.raises(DataError, match=r"b\.png: has a tumour of no type"):
        by_type(table.with_columns(label=pl.lit(1, pl.Int64)))
