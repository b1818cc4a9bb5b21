from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tumorscope import io
from tumorscope.audit import views as module
from tumorscope.audit.features import hog
from tumorscope.audit.measure import Measured
from tumorscope.audit.traits import PREPARATION
from tumorscope.audit.views import MODELS, PLANES, SEQUENCES, Linear, View, models, sentence, views


def test_phantoms_in_planes(phantom_set: Measured) -> None:
    guesses, truth = phantom_set.table["plane_guess"].to_list(), phantom_set.table["plane"].to_list()
    answered = [(guess, plane) for guess, plane in zip(guesses, truth, strict=True) if guess is not None]
    assert len(answered) >= 0.5 * len(truth)
    assert np.mean([guess == plane for guess, plane in answered]) >= 0.9
    assert {guess for guess, _ in answered} == set(PLANES)


def test_fluid_is_bright_on_t2_alone(phantom_set: Measured) -> None:
    table = phantom_set.table
    answered = [(g, s) for g, s in table.select("sequence_guess", "sequence").rows() if g is not None and s != "pd"]
    assert len(answered) >= 20
    assert np.mean([(guess == "t2") == (sequence == "t2") for guess, sequence in answered]) >= 0.85


def test_an_answer_is_withheld_below_its_least_probability(phantom_set: Measured) -> None:
    table = phantom_set.table
    for guess, confidence, least in (
        ("plane_guess", "plane_confidence", models()[0].least),
        ("sequence_guess", "sequence_confidence", models()[1].least),
    ):
        assert (table[guess].is_not_null() == (table[confidence] >= least)).all()
        assert table[confidence].is_between(0, 1).all()


def test_softmax_by_hand() -> None:
    model = Linear(("a", "b"), np.array([[0.0, np.log(3.0)]]), np.zeros(2), 0.7)
    assert model.probabilities(np.array([[1.0]])) == pytest.approx(np.array([[0.25, 0.75]]))
    assert model.answers(np.array([[1.0], [-0.1], [500.0]])) == [
        ("b", pytest.approx(0.75)),
        (None, pytest.approx(0.527, abs=1e-3)),
        ("b", 1.0),
    ]


def test_nothing_shows_nothing() -> None:
    assert views(np.zeros((2, 64, 64), np.uint8)) == [View(None, 0.0, None, 0.0)] * 2
    assert views(np.zeros((0, 64, 64), np.uint8)) == []


def test_the_stored_models_fit_the_features_and_are_small() -> None:
    plane, sequence = models()
    assert plane.classes == PLANES
    assert sequence.classes == SEQUENCES
    assert plane.weights.shape == (hog(np.zeros((1, 64, 64), np.uint8)).shape[1], 3)
    assert sequence.weights.shape == (41, 2)
    assert MODELS.stat().st_size < 300_000


def test_other_models_are_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "views.json"
    other.write_text(json.dumps({"plane": 1}))
    before = module.fingerprint()
    monkeypatch.setattr(module, "MODELS", other)
    module.fingerprint.cache_clear()
    try:
        assert module.fingerprint() != before
    finally:
        module.fingerprint.cache_clear()


def test_a_sentence_counts() -> None:
    assert sentence(["axial", None, "axial", "coronal"]) == "plane by guess: 2 axial, 1 coronal, 1 unknown"
    assert sentence([], "sequence") == "sequence by guess: nothing"


def test_real_scans_are_seldom_taken_for_another_plane(shared_data: Path) -> None:
    cheng = {"0181": "axial", "1081": "coronal", "0451": "sagittal", "0901": "sagittal"}  # told by eye
    slices = sorted(path for path in (shared_data / "lgg").rglob("*.png") if not path.stem.endswith("_mask"))
    told = [(path, "axial") for path in slices[:: len(slices) // 12]]
    told += [(shared_data / f"cheng/images/{number}.jpg", plane) for number, plane in cheng.items()]
    heads = [PREPARATION.prepare(io.read(path).middle()).pixels for path, _ in told]
    guesses = views(np.rint(np.stack(heads) * 255).astype(np.uint8))
    answered = [
        guess.plane_guess == plane for guess, (_, plane) in zip(guesses, told, strict=True) if guess.plane_guess
    ]
    assert len(answered) >= 0.6 * len(told)
    assert np.mean(answered) >= 0.85
