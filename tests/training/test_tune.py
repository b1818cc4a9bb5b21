"""Tuning: what judges chose nothing, what is killed goes on, what is drawn is drawn again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tumorscope.datasets import manifest, phantom, splits
from tumorscope.errors import DataError, OutputError, RecipeError, TrainingError
from tumorscope.training import recipe as recipes
from tumorscope.training import tune_bench
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.search_space import SearchSpace
from tumorscope.training.tune import tune
from tumorscope.training.tune_importance import importances
from tumorscope.training.tune_parts import inner_parts, outer_parts
from tumorscope.training.tune_search import Failed, Search, Trial, Tried, storage

SPACE = {"rate": {"low": 1e-4, "high": 1e-2, "log": True}, "fit.batch": [4, 8]}
SCRIPT = """
import sys
from pathlib import Path
from tumorscope.training.recipe import load
from tumorscope.training.search_space import SearchSpace
from tumorscope.training.tune import tune
if __name__ == "__main__":
    recipe = load(sys.argv[1])
    tune(recipe, [sys.argv[2]], Path(sys.argv[3]), space=SearchSpace.read(Path(sys.argv[4]), recipe), trials=2, folds=2)
"""
FILES = ("trials.csv", "best.toml")


def tiny(**changes: Any) -> ClassifierRecipe:
    values = {"model.width": 0.1, "input.size": 32, "phases.0.epochs": 1, "data.rounds": 20, "data.validation": 0.3}
    found = recipes.changed(recipes.load("custom-cnn"), values | {"machine.precision": "fp32"} | changes)
    assert isinstance(found, ClassifierRecipe)
    return found


def space() -> SearchSpace:
    return SearchSpace.of(SPACE, tiny())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """48 phantoms, every two of one class a group."""
    folder = phantom.write_dataset(tmp_path_factory.mktemp("tune") / "phantoms", 48, seed=3, size=48)
    found = manifest.load(folder, groups=False)
    place = found.select(pl.col("id").cum_count().over("label"))["id"]
    groups = [f"{label}-{(number - 1) // 2}" for label, number in zip(found["label"], place, strict=True)]
    return found.with_columns(pl.Series("group", groups), patient=pl.lit(None, pl.String), case=pl.lit(None, pl.String))


@pytest.fixture(scope="module")
def scans(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest.write(table, tmp_path_factory.mktemp("scans") / "scans.parquet")


@pytest.fixture(scope="module")
def whole(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuning of two outer folds, never interrupted."""
    out = tmp_path_factory.mktemp("tuned") / "whole"
    tune(tiny(), [scans], out, space=space(), trials=2, folds=2)
    return out


class TestParts:
    @pytest.mark.parametrize(("folds", "inner"), [(3, 0), (2, 2), (3, 3), (0, 0), (0, 2)])
    def test_no_group_of_a_judge_reaches_a_trial(self, table: pl.DataFrame, folds: int, inner: int) -> None:
        group = dict(table.select("id", "group").rows())
        judged: list[str] = []
        for outer in outer_parts(table, tiny(), folds):
            judges = {group[one] for one in outer.test}
            judged += outer.test
            for part in inner_parts(table, tiny(), outer, inner):
                used = part.train | part.val | part.test
                assert used and not used & outer.test
                assert not {group[one] for one in used} & judges
                scored, taught = ({group[one] for one in names} for names in (part.test, part.train))
                assert not scored & taught
                assert inner == 0 or not part.test & part.val
        assert len(judged) == len(set(judged)) == (table.height if folds else len(set(judged)))

    def test_the_last_search_has_all_scans_and_no_judge(self, table: pl.DataFrame) -> None:
        *folds, last = outer_parts(table, tiny(), 3)
        assert len(folds) == 3 and all(one.test for one in folds)
        assert last.name == "all" and not last.test and last.train | last.val == set(table["id"])

    def test_a_manifest_s_own_sides_are_kept(self, table: pl.DataFrame) -> None:
        own = splits.holdout(table, {"train": 0.6, "val": 0.2, "test": 0.2}, seed=1)
        (only,) = outer_parts(own, tiny(), None)
        assert only.test == set(own.filter(pl.col("split") == "test")["id"])
        with pytest.raises(DataError, match="leave --folds out"):
            outer_parts(own, tiny(), 3)
        dealt = splits.cross_validation(table, 2, test=0.25)
        *folds, last = outer_parts(dealt, tiny(), None)
        assert [one.test for one in folds] == [set(dealt.filter(pl.col("fold") == k)["id"]) for k in (0, 1)]
        kept = set(dealt.filter(pl.col("split") == "test")["id"])
        assert kept and not kept & (last.train | last.val)  # scans that the manifest holds out of all folds


class TestSearch:
    @staticmethod
    def drawn(file: Path, sampler: str, count: int, values: dict[str, Any] = SPACE, reopen: bool = False) -> list[dict]:
        """Settings of a search whose score is minus the rate, opened anew after three and six trials where asked."""
        found = SearchSpace.of(values, tiny())
        for number in [2, 5, count - 1] if reopen else [count - 1]:
            with storage(file) as kept:
                search = Search(kept, "a", found, sampler=sampler, seed=5, prune=False)
                while len(search) <= number:
                    search.run(lambda trial: -trial.chosen["rate"])
                tried = search.tried()
        return [one.chosen for one in tried]

    @pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
    def test_a_broken_search_draws_as_an_unbroken_one(self, sampler: str, tmp_path: Path) -> None:
        first = self.drawn(tmp_path / "a.db", sampler, 7)
        assert self.drawn(tmp_path / "b.db", sampler, 7, reopen=True) == first
        assert len({json.dumps(one) for one in first}) > 4

    def test_a_grid_visits_each_combination_once(self, tmp_path: Path) -> None:
        values = {"rate": {"low": 1e-4, "high": 1e-2, "log": True}, "dropout": {"low": 0.2, "high": 0.4, "step": 0.1}}
        found = self.drawn(tmp_path / "a.db", "grid", 12, values)
        every = [
            (rate, drop)
            for rate in SearchSpace.of(values, tiny()).settings["rate"].points()
            for drop in (0.2, 0.3, 0.4)
        ]
        assert sorted((one["rate"], one["dropout"]) for one in found) == sorted(every)

    def test_tpe_comes_nearer_than_chance(self, tmp_path: Path) -> None:
        values = {"rate": {"low": 1e-5, "high": 1e-2, "log": True}}
        with storage(tmp_path / "a.db") as kept:
            near = {}
            for sampler in ("tpe", "random"):
                search = Search(kept, sampler, SearchSpace.of(values, tiny()), sampler=sampler, lower=True)
                while len(search) < 30:
                    search.run(lambda trial: abs(np.log10(trial.chosen["rate"]) + 3.5))
                near[sampler] = np.mean([one.score for one in search.tried()[10:]])
                assert search.best().score == min(one.score for one in search.tried())
        assert near["tpe"] < 0.6 * near["random"]

    def test_a_trial_that_is_cut_off_leaves_no_trace(self, tmp_path: Path) -> None:
        def cut(_: Trial) -> float:
            raise KeyboardInterrupt

        seen = []
        with storage(tmp_path / "a.db") as kept:
            search = Search(kept, "a", space())
            with pytest.raises(KeyboardInterrupt):
                search.run(cut)
            assert len(search) == 0
            search.run(lambda trial: seen.append(trial.number) or 0.5)
        assert seen == [0]

    def test_poor_trials_are_cut_short_and_failed_ones_say_why(self, tmp_path: Path) -> None:
        def score(trial: Trial, value: float, epochs: list[int]) -> float:
            for epoch in range(8):
                trial.report(epoch, value)
                epochs.append(epoch)
            return value

        def fail(_: Trial) -> float:
            raise Failed("the loss is nan")

        with storage(tmp_path / "a.db") as kept:
            search = Search(kept, "a", space(), epochs=8, first={"rate": 1e-3, "fit.batch": 8})
            with pytest.raises(TrainingError, match="no trial was completed"):
                search.best()
            for value in (0.6, 0.7, 0.8):
                search.run(lambda trial, value=value: score(trial, value, []))
            ran: list[int] = []
            assert search.run(lambda trial: score(trial, 0.1, ran)).state == "pruned"
            assert ran == [0, 1]  # a quarter of the epochs is spared
            assert search.run(fail) == search.tried()[4] and search.tried()[4].reason == "the loss is nan"
            assert search.run(lambda _: float("nan")).state == "failed"
            assert search.best().number == 2 and [one.number for one in search.tried()] == list(range(6))
            assert search.tried()[0].chosen == {"rate": 1e-3, "fit.batch": 8}

    def test_a_damaged_file_is_named_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "study.db").write_bytes(b"no database" * 1000)
        with (
            pytest.raises(OutputError, match=r"study\.db: cannot be used \(.*\); ") as refused,
            storage(tmp_path / "study.db"),
        ):
            pass
        assert "\n" not in str(refused.value)


class TestImportance:
    @staticmethod
    def trials(effect: float, count: int = 40) -> list[Tried]:
        rng = np.random.default_rng(2)
        rows = []
        for number in range(count):
            chosen = {"rate": float(10 ** rng.uniform(-4, -2)), "fit.batch": int(rng.choice([4, 8]))}
            score = -effect * abs(np.log10(chosen["rate"]) + 3) + 0.1 * rng.normal() + (number % 2)
            rows.append(Tried("ab"[number % 2], number, "complete", float(score), 1, chosen))
        return rows

    def test_a_setting_that_matters_is_told_from_one_that_does_not(self) -> None:
        first, second = importances(self.trials(1.0), space())
        assert (first.setting, first.told, second.told) == ("rate", True, False)
        assert first.share > 0.7 > second.share and first.best == "0.000464 to 0.00215"

    def test_noise_is_told_from_nothing(self) -> None:
        assert not any(one.told for one in importances(self.trials(0.0), space()))
        assert importances(self.trials(1.0, count=8), space()) == []

    def test_a_lower_score_may_be_better(self) -> None:
        turned = [Tried(one.search, one.number, one.state, -one.score, 1, one.chosen) for one in self.trials(1.0)]
        assert importances(turned, space(), lower=True)[0].best == "0.000464 to 0.00215"


class TestTune:
    def test_its_files_and_figures(self, whole: Path, table: pl.DataFrame) -> None:
        found = json.loads((whole / "tune.json").read_text())
        said = pl.read_parquet(whole / "predictions.parquet")
        assert sorted(said["id"]) == sorted(table["id"]) and set(said["fold"]) == {0, 1}
        assert said.group_by("group").agg(pl.col("fold").n_unique())["fold"].to_list() == [1] * 24
        trials = pl.read_csv(whole / "trials.csv")
        assert trials["search"].to_list() == ["fold0"] * 2 + ["fold1"] * 2 + ["all"] * 2
        for one in found["folds"]:
            scores = trials.filter(pl.col("search") == one["search"])["score"]
            assert one["inner"] == scores.max() and scores[one["trial"]] == scores.max()
        inner, outer = (np.mean([one[key] for one in found["folds"]]) for key in ("inner", "tuned"))
        assert (found["inner"], found["outer"]) == pytest.approx((inner, outer))
        assert found["optimism"] == pytest.approx(inner - outer)
        assert found["test"]["scans"] == 48 and found["importance"] == []
        page = (whole / "report.html").read_text("utf-8")
        for words in ("What it is worth", "Which settings mattered", "cannot be told from", "Report the second"):
            assert words in page
        assert not (whole / "trial").exists() and not list(whole.glob("folds/*/tuned"))

    def test_the_recipe_it_leaves_is_that_of_the_last_search(self, whole: Path) -> None:
        found = json.loads((whole / "tune.json").read_text())["best"]
        best = recipes.load(whole / "best.toml")
        assert found["search"] == "all" and best == space().applied(tiny(), found["settings"])

    def test_the_first_trial_is_the_recipe_itself(self, whole: Path) -> None:
        first = pl.read_csv(whole / "trials.csv").filter(pl.col("trial") == 0)
        assert set(first["rate"]) == {1e-3} and set(first["fit.batch"]) == {8}

    def test_no_tuning_is_written_over_or_stretched(self, whole: Path, scans: Path) -> None:
        with pytest.raises(OutputError, match="--resume"):
            tune(tiny(), [scans], whole, space=space(), trials=2, folds=2)
        with pytest.raises(OutputError, match="another trials"):
            tune(tiny(), [scans], whole, space=space(), trials=3, folds=2, resume=True)

    def test_a_finished_one_trains_nothing_again(
        self, whole: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = [(whole / name).read_bytes() for name in FILES]
        monkeypatch.setattr(tune_bench, "fit", lambda *_, **__: pytest.fail("trained again"))
        tune(tiny(), [scans], whole, space=space(), trials=2, folds=2, resume=True)
        assert [(whole / name).read_bytes() for name in FILES] == before

    def test_one_stopped_twice_goes_on_and_ends_as_an_unbroken_one(
        self, whole: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = tune_bench.fit, 0

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        def fit(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            return real(*given, **(named | {"watch": stop} if calls in (2, 4) else named))

        monkeypatch.setattr(tune_bench, "fit", fit)
        settings: dict[str, Any] = {"space": space(), "trials": 2, "folds": 2}
        for resume, kept in ((False, 1), (True, 2)):  # in the second trial, then while its best settings are judged
            with pytest.raises(OutputError, match="interrupted"):
                tune(tiny(), [scans], tmp_path / "out", resume=resume, **settings)
            assert finished(tmp_path / "out" / "study.db") == kept
        tune(tiny(), [scans], tmp_path / "out", resume=True, **settings)
        assert calls == 10 + 2  # six trials and four judged trainings, two of them begun twice
        for name in FILES:
            assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
        one, other = (pl.read_parquet(folder / "predictions.parquet") for folder in (tmp_path / "out", whole))
        assert one.equals(other)

    @pytest.mark.slow  # another process has to import torch
    def test_a_killed_one_goes_on_and_ends_as_an_unbroken_one(self, whole: Path, scans: Path, tmp_path: Path) -> None:
        out = tmp_path / "killed"
        (tmp_path / "script.py").write_text(SCRIPT)
        (tmp_path / "recipe.toml").write_text(recipes.to_toml(tiny()))
        (tmp_path / "space.toml").write_text('rate = { low = 1e-4, high = 1e-2, log = true }\n"fit.batch" = [4, 8]\n')
        files = [tmp_path / "script.py", tmp_path / "recipe.toml", scans, out, tmp_path / "space.toml"]
        process = subprocess.Popen(
            [sys.executable, *map(str, files)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 240
        while finished(out / "study.db") < 1 and time.monotonic() < end:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before = finished(out / "study.db")
        assert 1 <= before < 6 and not (out / "best.toml").exists()
        seen: set[str] = set()

        def note(words: str, *_: int) -> None:
            seen.add(words)

        tune(tiny(), [scans], out, space=space(), trials=2, folds=2, resume=True, progress=note)
        assert len([words for words in seen if "trial" in words]) == 6 - before
        for name in FILES:
            assert (out / name).read_bytes() == (whole / name).read_bytes()
        one, other = (pl.read_parquet(folder / "predictions.parquet") for folder in (out, whole))
        assert one.equals(other)

    def test_inner_folds_one_test_and_several_classes(self, table: pl.DataFrame, tmp_path: Path) -> None:
        place = pl.col("group").str.split("-").list.get(1).cast(pl.Int64)
        three = table.with_columns(
            label=pl.when(pl.col("label") == 1).then(1 + place % 2).otherwise(0), label_name=pl.lit(None, pl.String)
        )
        manifest.write(three, tmp_path / "scans.parquet")
        recipe = tiny(**{"fit.monitor": "loss"})
        found = tune(recipe, [tmp_path / "scans.parquet"], tmp_path / "out", space=space(), trials=1, folds=0, inner=2)
        assert [one.search for one in found.trials] == ["train"] and found.trials[0].epochs == 2
        assert found.chosen.search == "train" and len(found.judgements) == 1
        said = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
        assert said.height == found.judgements[0].scans and "probability_2" in said.columns
        each = said.select(f"probability_{k}" for k in range(3)).to_numpy()
        truth = said["label"].cast(pl.Int64).to_numpy()
        own = -np.log(each[np.arange(len(truth)), truth]).mean()
        assert found.judgements[0].tuned == pytest.approx(own, abs=1e-6)

    def test_trials_that_fail_are_kept_and_all_failing_stops(
        self, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nan(*_: Any, **__: Any) -> None:
            raise TrainingError("epoch 0, batch 0: the loss is nan")

        monkeypatch.setattr(tune_bench, "fit", nan)
        with pytest.raises(TrainingError, match=r"search train: no trial was completed .*loss is nan"):
            tune(tiny(), [scans], tmp_path / "out", space=space(), trials=2, folds=0)

    def test_what_cannot_be_done_is_refused_before_anything_is_written(self, scans: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        for options, words in (
            ({"inner": 1}, "--inner 1"),
            ({"trials": 0}, "--trials 0"),
            ({"folds": 1}, "leaves nothing to train on"),
            ({"sampler": "grid", "space": None}, "combinations"),
        ):
            with pytest.raises(RecipeError, match=words):
                tune(tiny(), [scans], out, **({"space": space()} | options))  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match="one device"):
            tune(tiny(**{"machine.devices": 2}), [scans], out, space=space())
        with pytest.raises(DataError, match="groups cannot fill"):
            tune(tiny(), [scans], out, space=space(), folds=3, inner=30)
        assert not out.exists()


def finished(file: Path) -> int:
    """Trials in a study's file, read beside the process that writes it."""
    if not file.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            found = connection.execute("select count(*) from trials where state != 'RUNNING'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        if "connection" in locals():
            connection.close()
    return int(found)
