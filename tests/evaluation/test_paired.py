from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.paired import compare_models
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.statistics import bootstrap


def models(size: int = 240, seed: int = 0, **columns) -> dict[str, Predictions]:
    """Two equally good models, and one that is far worse."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    found = {}
    for name, pull in (("a", 1.5), ("b", 1.5), ("weak", 0.2)):
        logits = rng.normal(pull * (labels - 0.5), 1)
        table = {"id": [str(k) for k in range(size)], "label": labels, "probability": 1 / (1 + np.exp(-logits))}
        found[name] = Predictions.of(pl.DataFrame(table | columns), name)
    return found


def test_real_differences_are_told_from_chance():
    found = compare_models(models(), rounds=600)
    real = {(pair.first, pair.second): pair.real for pair in found.pairs}
    assert real == {("a", "b"): False, ("a", "weak"): True, ("b", "weak"): True}
    sentences = found.sentences()
    assert sentences[0].startswith("No difference in ROC-AUC between a and b is shown")
    assert sentences[1].startswith("a has a higher ROC-AUC than weak")
    assert found.table().height == 3 and len(sentences) == 3
    for pair in found.pairs:
        assert pair.corrected >= pair.bootstrap.p
        assert pair.bootstrap.interval.low == pytest.approx(pair.delong.interval.low, abs=0.03)


def test_the_bootstrap_is_paired():
    given = models(80, patient=[f"p{k // 3}" for k in range(80)])
    found = compare_models({"a": given["a"], "b": given["b"]}, rounds=150, seed=4).pairs[0]

    def gap(labels, first, second):
        return roc_auc(labels, first) - roc_auc(labels, second)

    a, b = given["a"], given["b"]
    slow = bootstrap(gap, a.truth, a.scores, b.scores, groups=a.groups, rounds=150, seed=4)
    span = found.bootstrap.interval
    assert (span.value, span.low, span.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_scans_are_matched_by_id_and_what_is_alone_is_told():
    given = models(100)
    order = np.random.default_rng(0).permutation(100)[:90]
    shuffled = {"a": given["a"], "b": given["b"].only(order)}
    found = compare_models(shuffled, rounds=50)
    assert found.pairs[0].scans == 90 and "10 scans that only one" in found.notes[0]
    kept = np.sort(order)
    straight = compare_models({"a": given["a"].only(kept), "b": given["b"].only(kept)}, rounds=50)
    assert found.pairs[0].delong.p == pytest.approx(straight.pairs[0].delong.p)
    assert found.pairs[0].mcnemar == straight.pairs[0].mcnemar


def test_a_reference_means_fewer_looks():
    found = compare_models(models(), reference="weak", rounds=100)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "weak"), ("b", "weak")]


def test_alike_scans_are_no_more_proof_and_a_note_says_so():
    once = models(60)
    many = {
        name: Predictions.of(
            pl.concat([rows.table.with_columns(id=pl.col("id") + f"-{k}", patient=pl.col("id")) for k in range(6)]),
            name,
        )
        for name, rows in once.items()
    }
    alone, tied = compare_models(once, rounds=300), compare_models(many, rounds=300)
    for one, two in zip(alone.pairs, tied.pairs, strict=True):
        assert two.delong.p == pytest.approx(one.delong.p)
        assert two.bootstrap.p == pytest.approx(one.bootstrap.p, abs=0.1)
        assert two.mcnemar.p <= one.mcnemar.p
        assert not two.independent
    assert "McNemar's test takes them to be independent" in tied.notes[0] and not alone.notes


def test_the_file_that_knows_of_groups_is_believed():
    given = models(60)
    tied = Predictions.of(given["b"].table.with_columns(patient=pl.Series([f"p{k // 6}" for k in range(60)])), "b")
    assert compare_models({"a": given["a"], "b": tied}, rounds=20).pairs[0].groups == 10


def test_another_metric_and_several_classes():
    pair = compare_models(models(), metric="accuracy", rounds=100).pairs[1]
    assert pair.metric == "accuracy" and "higher accuracy" in pair.sentence()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    found = {}
    for name, pull in (("good", 2.0), ("blind", 0.0)):
        values = rng.dirichlet(np.ones(3), 90) + pull * np.eye(3)[labels]
        values /= values.sum(axis=1, keepdims=True)
        table = pl.DataFrame({"id": [str(k) for k in range(90)], "label": labels})
        found[name] = Predictions.of(table.with_columns(pl.Series(f"p_{k}", values[:, k]) for k in range(3)), name)
    pair = compare_models(found, rounds=100).pairs[0]
    assert pair.metric == "macro_roc_auc" and pair.delong is None and pair.real


def test_what_cannot_be_told_says_why():
    one = {name: rows.only(rows.truth == 1) for name, rows in models(20).items()}
    found = compare_models(one, rounds=20)
    assert "cannot be told" in found.sentences()[0] and math.isnan(found.pairs[0].corrected)
    assert found.pairs[0].to_dict()["difference"] is None


def test_wrong_input_is_named():
    given = models(20)
    with pytest.raises(DataError, match="two or more"):
        compare_models({"a": given["a"]})
    with pytest.raises(DataError, match="did you mean 'weak'"):
        compare_models(given, reference="weka")
    with pytest.raises(DataError, match="did you mean 'roc_auc'"):
        compare_models(given, metric="roc_acu", rounds=5)
    other = Predictions.of(given["b"].table.with_columns(id="x" + pl.col("id")), "other.csv")
    with pytest.raises(DataError, match=r"other\.csv: no scan of it"):
        compare_models({"a": given["a"], "b": other})
    turned = Predictions.of(given["b"].table.with_columns(label=1 - pl.col("label")), "turned.csv")
    with pytest.raises(DataError, match="another label"):
        compare_models({"a": given["a"], "b": turned})
