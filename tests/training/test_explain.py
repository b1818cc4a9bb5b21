"""Explaining a run: by networks that did not learn from the scan, on its own grid, beside chance; and the page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import nibabel
import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest, phantom
from tumorscope.errors import TumorscopeError
from tumorscope.report.figures import TRUTH, picture_scale
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classifier_run import train
from tumorscope.training.explain import Explanation, explain
from tumorscope.training.explain_report import heat
from tumorscope.training.explained_run import Run, spread, with_folds

TINY = {
    "name": "tiny",
    "task": "classify",
    "model": {"backbone": "custom-cnn", "pretrained": "no", "channels": 1, "width": 0.1},
    "input": {"size": 48},
    "phases": [{"epochs": 1}],
    "fit": {"monitor": "loss"},
    "data": {"folds": 2, "validation": 0.3, "rounds": 20},
    "machine": {"precision": "fp32", "workers": 0},
}


@pytest.fixture(scope="module")
def run(phantoms: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    table = phantoms.with_columns(split=pl.lit(None, pl.String))
    manifest.write(table, folder / "manifest.parquet")
    return train(recipes.of_values(TINY, "tiny"), [folder / "manifest.parquet"], folder / "run")


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    return explain(run, [run / "manifest.parquet"], tmp_path_factory.mktemp("out"), scans=0)


def test_each_scan_is_explained_by_the_fold_that_was_tested_on_it(run: Path, found: Explanation) -> None:
    said = dict(found.table.select("id", "fold").rows())
    assert set(said.values()) == {"r0f0", "r0f1"} and found.learnt == found.failed == 0
    for fold in ("r0f0", "r0f1"):
        told = pl.read_parquet(run / "folds" / fold / "predictions.parquet")
        assert {name for name, other in said.items() if other == fold} == set(told["id"].to_list())
        ours = found.table.join(told.select("id", expected="probability"), on="id")
        np.testing.assert_allclose(ours["probability"], ours["expected"], atol=0.01)  # squares in 8 bits there


def test_the_table_holds_scores_of_scans_with_a_lesion(run: Path, found: Explanation) -> None:
    rows = manifest.read(run / "manifest.parquet")
    table = found.table.join(rows.select("id", "mask_path", truth="label"), on="id")
    assert pl.read_csv(found.report.parent / "explain.csv").columns == found.table.columns
    marked = table.filter(pl.col("pointing").is_not_null())
    assert set(marked["label"].to_list()) == {"tumor"} and set(table["explained"].to_list()) == {"tumor"}
    assert marked.height == rows["label"].sum() == found.localization.scans
    for row in marked.to_dicts():
        mask = cv2.imread(row["mask_path"], cv2.IMREAD_GRAYSCALE) > 127
        assert row["coverage"] == pytest.approx(mask.mean())
        assert 0 <= row["energy"] <= 1 and 0 <= row["pointing"] <= 1 and 0 < row["centre_energy"] < 1
    values = json.loads((found.report.parent / "explain.json").read_text("utf-8"))
    assert values["localization"]["pointing"][0] == pytest.approx(marked["pointing"].mean())
    assert values["sanity"]["rank_correlation"]["all weights"][0] == pytest.approx(found.sanity.stages[-1].mean)


def test_pictures_lie_on_the_scans_own_grid(run: Path, found: Explanation) -> None:
    out = found.report.parent
    for row in manifest.read(run / "manifest.parquet").to_dicts():
        scan = cv2.imread(row["path"], cv2.IMREAD_GRAYSCALE)
        picture = cv2.imread(str(out / "maps" / f"{row['id']}.png"))
        factor = picture_scale(scan.shape)
        assert picture.shape == (scan.shape[0] * factor, scan.shape[1] * factor, 3)
    assert cv2.imread(str(out / "sheet.png")).shape[1] > 1000
    page = found.report.read_text("utf-8")
    assert "Sanity check" in page and "Does it look at the lesion?" in page and "no outline of a tumour" in page


def test_other_scans_go_to_the_fold_of_the_bundle(run: Path, tmp_path: Path) -> None:
    folder = phantom.write_dataset(tmp_path / "other", count=4, seed=99, size=80)
    chosen = json.loads((run / "provenance.json").read_text("utf-8"))["model_from"]
    done: list[tuple[int, int, str | None]] = []
    rows = manifest.load(folder)
    (folder / "broken.png").write_bytes(b"no picture")
    broken = rows.head(1).with_columns(
        id=pl.lit("broken"), path=pl.lit(str(folder / "broken.png")), mask_path=pl.lit(None, pl.String)
    )
    both = pl.concat([rows, broken.with_columns(sha256=pl.lit(None, pl.String))])
    found = explain(
        run,
        [both],
        tmp_path / "out",
        method="occlusion",
        check=False,
        named="no_tumor",
        count=lambda *a: done.append(a),
    )
    assert set(found.table["fold"].to_list()) == {chosen} and found.failed == 1 and found.sanity is None
    assert found.layer == "" and set(found.table["explained"].to_list()) == {"no_tumor"}
    assert found.localization is None  # a lesion is no place to look for health
    assert [one[:2] for one in done] == [(n, 5) for n in range(1, 6)] and sum(one[2] is not None for one in done) == 1


def test_what_a_fold_learnt_from_is_left_out(run: Path, tmp_path: Path) -> None:
    rows = manifest.read(run / "manifest.parquet")
    told = pl.read_parquet(run / "folds" / "r0f1" / "predictions.parquet")["id"].to_list()
    renamed = rows.with_columns(id=pl.concat_str(pl.lit("a"), "id"))  # known by its content, whatever its name
    found = explain(run, [renamed], tmp_path / "out", fold="r0f1", scans=4, check=False)
    assert found.learnt == rows.height - len(told) and found.table.height == 4
    assert {name[1:] for name in found.table["id"].to_list()} <= set(told)
    with pytest.raises(TumorscopeError, match="learnt from all"):
        explain(run, [rows.filter(~pl.col("id").is_in(told))], tmp_path / "out", fold="r0f1")


def test_a_volume_is_explained_where_most_of_the_lesion_lies(run: Path, tmp_path: Path) -> None:
    volume = phantom.make_volume(3, (12, 96, 96), (12.0, 2.0, 2.0))
    most = int(volume.mask.sum(axis=(1, 2)).argmax())
    around = slice(max(0, most - 1), most + 2)
    for name, pixels in (("scan", volume.image[around]), ("lesion", volume.mask[around].astype(np.uint16))):
        nibabel.save(
            nibabel.Nifti1Image(pixels.transpose(2, 1, 0), np.diag([-1.0, -1, 1, 1])), tmp_path / f"{name}.nii"
        )
    table = pl.DataFrame(
        {"id": ["v"], "path": [str(tmp_path / "scan.nii")], "mask_path": [str(tmp_path / "lesion.nii")], "label": [1]}
    )
    found = explain(run, [table], tmp_path / "out", check=False)
    assert found.table["coverage"][0] == pytest.approx(volume.mask[most].mean())


def test_what_cannot_be_explained_is_told(run: Path, tmp_path: Path) -> None:
    rows = manifest.read(run / "manifest.parquet").head(2)
    for settings, words in (
        ({"method": "gradcam+"}, "did you mean 'gradcam"),
        ({"named": "tumour"}, "did you mean 'tumor'"),
        ({"fold": "r0f7"}, "known: r0f0, r0f1"),
    ):
        with pytest.raises(TumorscopeError, match=words.replace("+", "\\+")):
            explain(run, [rows], tmp_path / "out", **settings)
    with pytest.raises(TumorscopeError, match="no finished training"):
        explain(tmp_path, [rows], tmp_path / "out")
    (tmp_path / "provenance.json").write_text("{}")
    (tmp_path / "recipe.toml").write_text(recipes.to_toml(recipes.load("classical")))
    with pytest.raises(TumorscopeError, match="trained for the task 'classical'"):
        explain(tmp_path, [rows], tmp_path / "out")
    gone = rows.with_columns(path=pl.lit(str(tmp_path / "provenance.json")), mask_path=pl.lit(None, pl.String))
    with pytest.raises(TumorscopeError, match="none of 2 scans could be explained"):
        explain(run, [gone], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def classes(*names: str) -> Run:
    recipe = recipes.of_values(TINY, "tiny")
    assert isinstance(recipe, ClassifierRecipe)
    return Run(Path("run"), recipe, names, tuple(range(len(names))), ("",), "")


def test_which_class_is_explained() -> None:
    two, three = classes("no_tumor", "tumor"), classes("glioma", "meningioma", "none")
    assert [two.target(said, None) for said in (0, 1)] == [1, 1] and two.target(1, "no_tumor") == 0
    assert three.target(2, None) == 2 and three.target(2, "glioma") == 0 and three.outputs == 3
    mask = np.eye(3, dtype=bool)
    assert two.truth({"label": None}, mask) == "tumor" and two.truth({"label": None}, ~mask * False) == "no_tumor"
    assert two.truth({"label": None}, None) == "" and two.truth({"label": 1, "label_name": "yes"}, None) == "tumor"
    assert three.truth({"label": 0, "label_name": "none"}, None) == "none"  # a name counts before a number


def test_a_run_with_one_split(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).write_text(name)
    table = pl.DataFrame({"id": [*"abc"], "path": [*"abc"], "sha256": ["1", "2", None]})
    table.write_parquet(tmp_path / "manifest.parquet")
    (tmp_path / "checkpoints").mkdir()
    pl.DataFrame({"id": ["b:4", "b:5"]}).write_parquet(tmp_path / "checkpoints" / "predictions.parquet")
    run = classes("no_tumor", "tumor")
    run = Run(tmp_path, run.recipe, run.names, run.values, ("",), "")
    (tmp_path / "copy").write_text("c")  # without a hash in either manifest, the content is read
    for own, digest, expected in (("a", "1", None), ("b", "2", ""), ("copy", None, None), ("d", None, "")):
        asked = pl.DataFrame({"id": ["x"], "path": [str(tmp_path / own)], "sha256": [digest]})
        assert with_folds(asked, run)["_fold"].to_list() == [expected]


def test_scans_are_spread_over_labels_and_groups() -> None:
    table = pl.DataFrame({"id": [f"{n}" for n in range(100)], "label": [0] * 90 + [1] * 10})
    table = table.with_columns(group=pl.concat_str("label", pl.col("id").cast(pl.Int64) // 3))
    few = spread(table, 20)
    assert few["label"].sum() == 10 and few.filter(label=0)["group"].n_unique() == 10
    assert spread(table, 20).equals(few) and spread(table, 200).height == 100
    assert spread(table, 8).filter(label=1)["group"].n_unique() == 4


def test_the_picture_shows_the_map_and_the_lesion_above_it() -> None:
    scan = np.tile(np.linspace(0, 200, 600), (600, 1)).astype(np.uint8)
    values = np.zeros((600, 600), np.float32)
    values[100:200, 100:200] = 1
    lesion = np.zeros((600, 600), bool)
    lesion[150:250, 150:250] = True
    picture = heat(scan, values, lesion)
    assert np.array_equal(picture[400], np.repeat(scan[400][:, None], 3, axis=1))  # nothing found, nothing drawn
    red, green, blue = (int(value) for value in picture[120, 120])
    assert min(red, green) > blue + 40  # yellow where the map is 1
    line = picture[148:151, 170].astype(int)
    assert np.abs(line - TRUTH).sum(axis=1).min() < 30
