"""A classifier on measured features as plain numbers in a JSON file: fitted by scikit-learn, applied by NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tumorscope import io
from tumorscope.datasets import features
from tumorscope.datasets.facts import sha256
from tumorscope.errors import BundleError, DataError
from tumorscope.training.recipe import Classifier

HASH = 16  # hex digits of a training scan's SHA-256 that a model carries
INNER = 3  # folds by group whose held-out scores turn an svm's margin into a probability
ITERATIONS = 5000  # of the solver, at most

Matrix = NDArray[np.float64]


class ClassicalModel(BaseModel):
    """Everything that turns features into class probabilities.

    With z the features standardised by ``mean`` and ``scale``, missing ones 0, cut off at ± ``limit``: ``logistic`` is
    the softmax of W z + b (with two classes its logistic form); ``svm`` is 1 / (1 + exp(−(slope · f + shift))) with f
    ``= Σ duals · exp(−gamma |z − vector|²) + b`` [1]_.

    Parameters
    ----------
    kind : {"logistic", "svm"}
    side, feature_version : int
        How scans are measured (`datasets.features`).
    features : tuple of str
        Their names, in order.
    labels, label_names : tuple
        The classes.
    scan_hashes : tuple of str
        First 16 hex digits of each training file's SHA-256, so that a scan seen in training is named.

    References
    ----------
    .. [1] Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["tumorscope-classical"] = "tumorscope-classical"
    schema_version: Literal[1] = 1
    name: str = "classical"
    kind: Literal["logistic", "svm"]
    side: int = Field(ge=32)
    feature_version: int = features.VERSION
    features: tuple[str, ...] = Field(min_length=1)
    labels: tuple[int, ...] = Field(min_length=2)
    label_names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    limit: float = Field(gt=0)
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercepts: tuple[float, ...]
    vectors: tuple[tuple[float, ...], ...] = ()
    duals: tuple[float, ...] = ()
    gamma: float = 0.0
    slope: float = 1.0
    shift: float = 0.0
    sources: tuple[str, ...] = ()
    fingerprint: str = ""
    scan_hashes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> ClassicalModel:
        width = len(self.features)
        rows = 1 if len(self.labels) == 2 else len(self.labels)
        widths = {len(self.mean), len(self.scale), *map(len, self.coefficients), *map(len, self.vectors)}
        weights = self.coefficients if self.kind == "logistic" else self.duals
        right = rows if self.kind == "logistic" else len(self.vectors)
        if widths != {width} or len(weights) != right or len(self.intercepts) != rows or not right:
            raise ValueError("its numbers do not fit together")
        if len(self.label_names) != len(self.labels) or (self.kind == "svm" and rows > 1) or min(self.scale) <= 0:
            raise ValueError("its classes or scales do not fit together")
        return self

    def standard(self, values: Matrix) -> Matrix:
        """(N, F) features as the classifier takes them."""
        apart = (np.asarray(values, np.float64) - self.mean) / self.scale
        return np.clip(np.where(np.isfinite(apart), apart, 0), -self.limit, self.limit)

    def margin(self, values: Matrix) -> Matrix:
        """What becomes a probability: (N, 1) for two classes, (N, K) for more; (N, F) features in."""
        z = self.standard(values)
        if self.kind == "logistic":
            return z @ np.array(self.coefficients).T + self.intercepts
        vectors = np.array(self.vectors)
        far = (z**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2 * z @ vectors.T
        return (np.exp(-self.gamma * far) @ np.array(self.duals) + self.intercepts[0])[:, None]

    def probabilities(self, values: Matrix) -> Matrix:
        """Class probabilities (N, K) of (N, F) features.

        Examples
        --------
        >>> model = ClassicalModel(kind="logistic", side=128, features=("a",), labels=(0, 1), label_names=("no", "yes"),
        ...     mean=(1,), scale=(2,), limit=4, coefficients=((3,),), intercepts=(0,))
        >>> model.probabilities(np.array([[1.0], [np.nan]])).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
        """
        margin = self.slope * self.margin(values) + self.shift
        logits = margin if margin.shape[1] > 1 else np.column_stack([np.zeros(len(margin)), margin])
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def write(self, path: str | Path) -> Path:
        """Write the model as JSON and return its path."""
        file = Path(path)
        with io.atomic(file) as draft:
            draft.write_text(json.dumps(self.model_dump(mode="json"), indent=1), encoding="utf-8")
        return file

    @classmethod
    def load(cls, path: str | Path) -> ClassicalModel:
        """The model in a JSON file; nothing in it is executed.

        Raises
        ------
        BundleError
            If the file is missing, no such model, damaged, or measured features in another way than this version.
        """
        file = Path(path)
        try:
            model = cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise BundleError(f"{file}: cannot be read ({error.strerror}); check the path") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise BundleError(
                f"{file}: is no classical model ({place}: {first['msg'].lower()}); train it again"
            ) from error
        if model.feature_version != features.VERSION:
            raise BundleError(
                f"{file}: measures features as version {model.feature_version}, not {features.VERSION}; train it again"
            )
        return model


def fit(
    values: Matrix,
    truth: NDArray[np.int64],
    family: NDArray[np.int64],
    settings: Classifier,
    *,
    names: Sequence[str],
    labels: Sequence[int] = (0, 1),
    label_names: Sequence[str] = ("no_tumor", "tumor"),
    side: int = 128,
    seed: int = 0,
) -> ClassicalModel:
    """The classifier fitted to (N, F) features, standardised by these rows alone.

    Parameters
    ----------
    values : (N, F) float array
        NaN where a feature is not defined.
    truth : (N,) int array
        Place of each row's class in ``labels``.
    family : (N,) int array
        Rows that belong together; an svm's probabilities come from folds that do not part them.
    settings : Classifier
    names : sequence of str
        Of the features.

    Raises
    ------
    DataError
        If a class is missing in ``truth``, or an svm is asked to tell more than two.
    """
    absent = sorted(set(range(len(labels))) - set(truth.tolist()))
    if absent:
        raise DataError(f"label: no training scan is '{label_names[absent[0]]}'; give more data, or fewer folds")
    if settings.kind == "svm" and len(labels) > 2:
        raise DataError(f"classifier: an svm tells two classes, the data have {len(labels)}; set kind to logistic")
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > 1e-12 * np.maximum(np.abs(mean), 1), spread, 1)
    common: dict[str, Any] = {
        "kind": settings.kind, "side": side, "features": tuple(names), "labels": tuple(labels),
        "label_names": tuple(label_names), "mean": tuple(mean.tolist()), "scale": tuple(scale.tolist()),
        "limit": settings.limit,
    }  # fmt: skip
    apart = (np.where(known, values, mean) - mean) / scale
    z = np.clip(apart, -settings.limit, settings.limit)
    if settings.kind == "logistic":
        return ClassicalModel(**common, **_logistic(z, truth, settings))
    return ClassicalModel(**common, **_machine(z, truth, family, settings, seed))


def _weights(settings: Classifier) -> str | None:
    return "balanced" if settings.balance else None


def _logistic(z: Matrix, truth: NDArray[np.int64], settings: Classifier) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=settings.strength, class_weight=_weights(settings), max_iter=ITERATIONS).fit(z, truth)
    return {"coefficients": tuple(map(tuple, model.coef_.tolist())), "intercepts": tuple(model.intercept_.tolist())}


def _machine(
    z: Matrix, truth: NDArray[np.int64], family: NDArray[np.int64], settings: Classifier, seed: int
) -> dict[str, Any]:
    """A support vector machine, and the line that turns held-out margins into probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.svm import SVC

    gamma = 1 / z.shape[1]
    machine = SVC(C=settings.strength, gamma=gamma, class_weight=_weights(settings))
    held = np.full(len(truth), np.nan)
    for learn, test in StratifiedGroupKFold(INNER, shuffle=True, random_state=seed).split(z, truth, family):
        if len(set(truth[learn].tolist())) == 2:
            held[test] = machine.fit(z[learn], truth[learn]).decision_function(z[test])
    seen = np.isfinite(held)
    if len(set(truth[seen].tolist())) < 2:
        raise DataError("classifier: an svm needs two groups of each class at least; give more data, or set logistic")
    line = LogisticRegression(C=1e6, class_weight=_weights(settings)).fit(held[seen, None], truth[seen])
    machine.fit(z, truth)
    return {
        "vectors": tuple(map(tuple, machine.support_vectors_.tolist())),
        "duals": tuple(machine.dual_coef_[0].tolist()),
        "intercepts": tuple(machine.intercept_.tolist()),
        "gamma": gamma,
        "slope": float(line.coef_[0, 0]),
        "shift": float(line.intercept_[0]),
    }


def predict(
    model: str | Path | ClassicalModel, scans: str | Path | Iterable[str | Path], *, workers: int = 1
) -> pl.DataFrame:
    """What a classical model says of scans, one row each.

    Parameters
    ----------
    model : path or ClassicalModel
        ``RUN/model.json``.
    scans : path, or several
        Files, folders, patterns or manifests, as for `tumorscope.discover`.
    workers : int
        Processes that measure.

    Returns
    -------
    polars.DataFrame
        ``id, path, predicted, label_name``, the probability of each class as ``probability_LABEL``, ``seen`` (whether
        the model was fitted to this file) and ``problem`` (one line, where a scan could not be measured; all else is
        null then).

    Raises
    ------
    BundleError
        As `ClassicalModel.load`.
    DataError
        If there is no scan.
    """
    fitted = model if isinstance(model, ClassicalModel) else ClassicalModel.load(model)
    given = [scans] if isinstance(scans, str | Path) else list(scans)
    items = io.discover(given)
    if not items:
        raise DataError("scans: none was found; name files, folders or a manifest")
    table = pl.DataFrame(
        [(item.id, str(item.path), item.channel) for item in items],
        schema={"id": pl.String, "path": pl.String, "channel": pl.Int64},
        orient="row",
    )
    measured = features.measure(table, side=fitted.side, shapes=False, workers=workers)
    chances = fitted.probabilities(matrix(measured, fitted.features))
    place = chances.argmax(axis=1)
    seen = [_hash(item.files or (item.path,)) in fitted.scan_hashes for item in items]
    result = table.select("id", "path").with_columns(
        pl.Series("predicted", [fitted.labels[k] for k in place], dtype=pl.Int64),
        pl.Series("label_name", [fitted.label_names[k] for k in place]),
        *(pl.Series(f"probability_{label}", chances[:, k]) for k, label in enumerate(fitted.labels)),
        pl.Series("seen", seen),
        measured["problem"],
    )
    said = [name for name in result.columns if name not in ("id", "path", "problem")]
    return result.with_columns(pl.when(pl.col("problem").is_null()).then(pl.col(name)).alias(name) for name in said)


def matrix(table: pl.DataFrame, names: Sequence[str]) -> Matrix:
    """(N, F) features of a table, NaN where there is none."""
    columns = [table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return np.column_stack(columns)


def _hash(files: Sequence[Path]) -> str | None:
    try:
        return sha256(files)[:HASH]
    except OSError:
        return None
