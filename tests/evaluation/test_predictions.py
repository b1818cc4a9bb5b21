from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.predictions import Predictions


def written(folder: Path, text: str, name: str = "predictions.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "id,label,probability\na,0,0.25\nb,1,0.75\n",
            "id,truth,prob\na,no,0.25\nb,yes,0.75\n",
            "ID2,id,y_true,y_prob\nx,a,0.0,0.25\ny,b,1.0,0.75\n",
            " id , target , y_pred\n a , No Tumor , 0.25\n b , Tumor , 0.75\n",
            "\ufeffid,label,probability\na,0,0.25\nb,1,0.75\n",
            "id,label,probability,status\na,0,0.25,ok\nc,1,0.3,failed\nb,1,0.75,ok\nd,1,,ok\ne,,0.5,ok\n",
        ],
    )
    def test_many_ways_to_say_the_same(self, tmp_path, text):
        found = Predictions.read(written(tmp_path, text))
        assert found.ids == ("a", "b") and found.truth.tolist() == [0, 1] and found.scores.tolist() == [0.25, 0.75]
        assert found.probabilities and found.binary

    def test_what_is_left_out_is_counted(self, tmp_path):
        text = "id,label,probability,status\na,0,0.2,ok\nb,1,0.3,failed\nc,1,,ok\nd,,0.5,ok\n"
        found = Predictions.read(written(tmp_path, text))
        assert found.left_out == {"failed": 1, "without prediction": 1, "without truth": 1}

    def test_several_classes(self, tmp_path):
        text = "id,label,probability_glioma,probability_none\na,glioma,0.8,0.2\nb,None,0.1,0.9\nc,1,0.3,0.7\n"
        found = Predictions.read(written(tmp_path, text))
        assert (
            found.classes == ("glioma", "none") and found.truth.tolist() == [0, 1, 1] and found.scores.shape == (3, 2)
        )
        assert found.decisions().tolist() == [0, 1, 1]

    def test_scores_are_no_probabilities(self, tmp_path):
        found = Predictions.read(written(tmp_path, "id,label,score\na,0,-3\nb,1,12\n"))
        assert not found.probabilities and found.scores.tolist() == [-3, 12]

    def test_parquet(self, tmp_path):
        pl.DataFrame({"id": [1, 2], "label": [0, 1], "probability": [0.1, 0.2]}).write_parquet(tmp_path / "p.parquet")
        assert Predictions.read(tmp_path / "p.parquet").ids == ("1", "2")

    def test_truth_comes_from_a_manifest(self, tmp_path):
        file = written(tmp_path, "id,path,probability\na,x/a.png,0.2\nb,x/b.png,0.9\nz,x/z.png,0.4\n")
        manifest = pl.DataFrame({"id": ["b", "a"], "label": [1, 0], "patient": ["p", "p"], "path": ["q", "q"]})
        found = Predictions.read(file, manifest)
        assert found.truth.tolist() == [0, 1] and found.groups.tolist() == [0, 0]
        assert found.table["path"].to_list() == ["x/a.png", "x/b.png"]  # the file's own columns stay
        assert found.left_out == {"without truth": 1}

    def test_another_word_for_tumour(self):
        table = pl.DataFrame({"id": ["a", "b"], "label": ["lesion", "clear"], "probability": [0.2, 0.9]})
        found = Predictions.of(table, positive="lesion")
        assert found.truth.tolist() == [1, 0] and found.classes == ("clear", "lesion")

    @pytest.mark.parametrize(
        ("text", "finding"),
        [
            ("name,label,probability\na,0,0.2\n", "column 'id' is missing"),
            ("id,probability\na,0.2\n", "there is no truth"),
            ("id,label\na,0\n", "there is no prediction"),
            ("id,label,probability\n", "none of its 0 rows"),
            ("id,label,probability\na,0,\n", "1 without prediction"),
            ("id,label,probability\na,0,0.2\na,1,0.3\n", "id 'a' stands several times"),
            ("id,label,probability\n,0,0.2\n", "have no id"),
            ("id,label,probability\na,0,high\n", "'high', which is no number"),
            ("id,label,probability\na,0,nan\n", "which is no number"),
            ("id,label,probability\na,0,1.2\n", "sigmoid"),
            ("id,label,probability\na,7,0.2\n", "label '7' is neither"),
            ("id,label,p_x,p_y\na,x,0.2,0.3\n", "sum to 0.5"),
            ("id,label,p_glioma,p_none\na,gliom,0.2,0.8\n", "did you mean 'glioma'"),
        ],
    )
    def test_wrong_files_are_named(self, tmp_path, text, finding):
        file = written(tmp_path, text)
        with pytest.raises(DataError, match=finding) as caught:
            Predictions.read(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)

    def test_no_file_and_no_table(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            Predictions.read(tmp_path / "none.csv")
        with pytest.raises(DataError, match="rename it"):
            Predictions.read(tmp_path / "none.xlsx")
        (tmp_path / "p.parquet").write_bytes(b"no parquet")
        with pytest.raises(DataError, match="cannot be read"):
            Predictions.read(tmp_path / "p.parquet")
        (tmp_path / "p.csv").write_bytes(b"")
        with pytest.raises(DataError, match="cannot be read"):
            Predictions.read(tmp_path / "p.csv")

    def test_what_a_manifest_calls_status_says_nothing_of_a_prediction(self):
        table = pl.DataFrame({"id": ["a", "b"], "probability": [0.2, 0.9]})
        truth = pl.DataFrame({"id": ["a", "b"], "label": [0, 1], "status": ["alive", "dead"], "probability_0": [9, 9]})
        assert len(Predictions.of(table, truth=truth)) == 2

    def test_a_manifest_of_other_scans_is_named(self):
        table = pl.DataFrame({"id": ["a"], "probability": [0.5]})
        with pytest.raises(DataError, match="none of its 1 ids"):
            Predictions.of(table, truth=pl.DataFrame({"id": ["b"], "label": [1]}))

    def test_positive_has_to_be_there_and_alone(self):
        table = pl.DataFrame({"id": list("abc"), "label": ["x", "y", "z"], "probability": [0.5] * 3})
        with pytest.raises(DataError, match="map them to one label"):
            Predictions.of(table, positive="x")
        with pytest.raises(DataError, match="unknown label"):
            Predictions.of(table, positive="w")


def sample(**columns):
    size = len(next(iter(columns.values())))
    base = {"id": [f"s{k}" for k in range(size)], "label": [k % 2 for k in range(size)], "probability": [0.5] * size}
    return Predictions.of(pl.DataFrame(base | columns))


class TestRows:
    def test_groups_come_from_any_fact(self):
        found = sample(patient=["p", "p", None, None, "q"], case=[None, "c", "c", None, None])
        assert found.groups.tolist() == [0, 0, 0, 1, 2] and found.grouped and found.known_groups
        alone = sample(plane=["axial"] * 3)
        assert not alone.grouped and not alone.known_groups and alone.groups.tolist() == [0, 1, 2]

    def test_numbers_may_name_patients(self):
        assert sample(patient=[3, 3, 4]).groups.tolist() == [0, 0, 1]

    def test_repetitions_of_a_scan_are_one_group(self):
        table = pl.DataFrame(
            {"id": ["a", "b"] * 2, "label": [0, 1] * 2, "probability": [0.1, 0.2, 0.3, 0.4], "repeat": [0, 0, 1, 1]}
        )
        found = Predictions.of(table)
        assert found.groups.tolist() == [0, 1, 0, 1] and not found.grouped
        assert [rows.tolist() for rows in found.repeats()] == [[0, 1], [2, 3]]
        with pytest.raises(DataError, match="in one repeat"):
            Predictions.of(table.with_columns(repeat=pl.lit(0)))

    def test_parts(self):
        found = sample(split=["val", "test", None, "test"])
        assert found.part("test").ids == ("s1", "s3") and found.part("test").table.height == 2
        with pytest.raises(DataError, match="did you mean 'test'"):
            found.part("tets")
        with pytest.raises(DataError, match="no column 'split'"):
            sample(plane=["axial"]).part("test")

    def test_ties_across_files_are_found(self):
        first, second = sample(patient=["p", "q", None]), sample(patient=["q", "r", "t"])
        renamed = Predictions.of(second.table.with_columns(id=pl.Series(["x", "y", "s2"])))
        assert first.tied_to(renamed) == ["s1", "s2"]  # by patient q, and by id
        assert first.tied_to(Predictions.of(second.table.with_columns(id=pl.Series(["x", "y", "z"]))[1:])) == []

    def test_masks_and_numbers_choose_rows(self):
        found = sample(plane=["a", "b", "c"])
        assert found.only(np.array([True, False, True])).ids == found.only(np.array([0, 2])).ids == ("s0", "s2")


def test_classes_0_and_1_are_none_and_tumour() -> None:
    table = pl.DataFrame({"id": ["a", "b"], "label": [0, 1], "probability_0": [0.8, 0.1], "probability_1": [0.2, 0.9]})
    given = Predictions.of(table)
    assert given.binary and given.scores.tolist() == [0.2, 0.9] and given.classes == ("none", "tumour")
