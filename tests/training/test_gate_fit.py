from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tumorscope.errors import DataError
from tumorscope.inference.gate import Gate, feature_names
from tumorscope.training import gate_fit
from tumorscope.training.gate_bodies import CROSS_SECTIONS
from tumorscope.training.gate_drawings import DRAWINGS
from tumorscope.training.gate_projections import PROJECTIONS
from tumorscope.training.gate_sources import Picture, folder_pictures, package_pictures
from tumorscope.training.gate_variation import scrambled_brain, varied_brain, varied_other

FAMILIES = {**DRAWINGS, **CROSS_SECTIONS, **PROJECTIONS}


def made_up(count: int = 240, seed: int = 0) -> gate_fit.Table:
    """Brains lie at +1 in a few features, each source a little elsewhere; other pictures lie at -1."""
    rng = np.random.default_rng(seed)
    brain = np.arange(count) % 2 == 0
    values = rng.standard_normal((count, len(feature_names())))
    values[:, :6] += np.where(brain, 1.5, -1.5)[:, None]
    origin = np.where(brain, "source ", "family ").astype("U8")
    origin = np.char.add(origin, (np.arange(count) // 2 % 3).astype(str))
    return gate_fit.Table(values, brain, origin, np.zeros(count, bool), np.arange(count).astype(str))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_draws_different_finite_pictures(family: str) -> None:
    first, again, other = (FAMILIES[family](np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert first.min() >= 0
    assert first.max() <= 1


def test_variations_stay_pictures() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-80:80, -60:60]
    brain = (900 * np.exp(-((y / 50.0) ** 4) - (x / 40.0) ** 4) * (1.2 + np.sin(x / 4.0))).astype(np.float32)
    for vary in (varied_brain, varied_other, scrambled_brain):
        for _ in range(30):
            picture = vary(rng, brain)
            assert picture.ndim == 2
            assert picture.dtype == np.float32
            assert np.isfinite(picture).all()
            assert picture.min() >= 0
            assert picture.max() <= 260


def test_the_exported_trees_say_what_the_fitted_ones_say(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    fitted = gate_fit.HistGradientBoostingClassifier.fit

    def fit(self, *args, **kwargs):
        kept.append(self)
        return fitted(self, *args, **kwargs)

    monkeypatch.setattr(gate_fit.HistGradientBoostingClassifier, "fit", fit)
    table = made_up()
    gate = gate_fit.fit(table)
    assert np.allclose(gate.grow(table.values), kept[0].decision_function(table.values), atol=0.02)
    assert ((gate.scores(table.values) >= 0.5) == table.brain).mean() > 0.98


def test_weights_balance_classes_and_temper_sizes() -> None:
    table = made_up().part(np.r_[0:240, 0, 0, 0])
    weights = gate_fit.weigh(table)
    assert weights.mean() == pytest.approx(1)
    assert weights[table.brain].sum() == pytest.approx(weights[~table.brain].sum())
    big, small = (weights[table.origin == f"source {k}"].sum() for k in (0, 1))
    assert big / small == pytest.approx(np.sqrt(43 / 40))


@pytest.mark.parametrize("families", [True, False])
def test_held_out_scores_come_from_gates_that_never_saw_the_picture(
    families: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, asked = made_up(), []
    monkeypatch.setattr(gate_fit, "TOGETHER", (("source 0",), ("source 1",), ("source 2",)))
    empty = gate_fit.fit(table)

    def fit(part: gate_fit.Table, seed: int = 0) -> Gate:
        asked.append(part)
        return empty

    monkeypatch.setattr(gate_fit, "fit", fit)
    assert np.isfinite(gate_fit.held_out(table, families=families)).all()
    assert len(asked) == 3
    for number, part in enumerate(asked):
        out = ~np.isin(table.name, part.name)
        assert set(table.origin[out & table.brain]) == {f"source {number}"}
        assert f"source {number}" not in part.origin
        left = set(table.origin[out & ~table.brain])
        assert left and (not left & set(part.origin)) == families
    together = np.concatenate([table.name[~np.isin(table.name, part.name)] for part in asked])
    assert sorted(together) == sorted(table.name)


def test_the_threshold_moves_the_score_only() -> None:
    table = made_up()
    gate = gate_fit.fit(table)
    moved = gate_fit.with_threshold(gate, 1.5)
    assert np.allclose(gate_fit.logits(moved, table.values), gate_fit.logits(gate, table.values) - 1.5, atol=1e-3)


def test_a_table_is_kept_with_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = made_up(20)
    table.save(tmp_path / "table.npz")
    again = gate_fit.Table.load(tmp_path / "table.npz")
    assert np.array_equal(again.values, table.values)
    assert list(again.origin) == list(table.origin)
    monkeypatch.setattr(gate_fit, "feature_names", lambda: ("other",))
    with pytest.raises(DataError, match="other features"):
        gate_fit.Table.load(tmp_path / "table.npz")


def test_collect_leaves_out_what_the_gate_never_measures() -> None:
    blank, tiny = np.zeros((64, 64), np.float32), np.eye(8, dtype=np.float32)
    table = gate_fit.collect(
        [(Picture(p, "x", "n"), False, False) for p in (blank, tiny, np.eye(64, dtype=np.float32))]
    )
    assert table.values.shape == (1, len(feature_names()))
    with pytest.raises(DataError, match="no pictures"):
        gate_fit.collect([])


def test_package_pictures_are_labelled(tmp_path: Path) -> None:
    origin = {picture.name: picture.origin for picture in package_pictures()}
    assert origin["astronaut.png"] == "photographs"
    assert origin["phantom.png"] == "drawn"
    assert origin["examples_overlay.dcm"] == "dicom samples"
    assert list(folder_pictures(tmp_path, "none")) == []
