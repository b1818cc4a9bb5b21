"""A prediction of a case: computed in the pool, then stored with all that the answer holds."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session

from tumorscope.annotation import rle
from tumorscope.annotation.records import DECIDED
from tumorscope.errors import OutputError
from tumorscope.inference.predictor import HASH_DIGITS, SEEN_IN_TRAINING
from tumorscope.scan import Scan
from tumorscope.server.models import Offered
from tumorscope.server.problems import missing
from tumorscope.server.store import new_id, now
from tumorscope.server.tables import Annotation, Case, Prediction

if TYPE_CHECKING:
    from tumorscope.server.workspace import Workspace

STEPS = 255  # of a stored map: a probability is kept to 0.002, as finely as a screen shows it
LEVEL = 1  # of compression


@dataclass(frozen=True)
class Answer:
    """A prediction that is not stored yet: the facts for the API, and the map of pixel probabilities, packed."""

    facts: dict[str, Any]
    map: bytes


def compute(row: Case, scan: Scan, model: Offered, stop: Callable[[], bool] = lambda: False) -> Answer:
    """What a bundle says about a case; to be run in the pool.

    Raises
    ------
    ScanError
        If the scan is too small, constant or not finite.
    BundleError
        If the bundle cannot be loaded.
    Stopped
        When ``stop`` says so.
    """
    predictor = model.load()
    metadata = predictor.bundle.metadata
    begun = time.perf_counter()
    found = predictor.predict(scan, stop=stop)
    notes = list(found.notes)
    if row.sha256[:HASH_DIGITS] in metadata.training.scan_hashes and SEEN_IN_TRAINING not in notes:
        notes.append(SEEN_IN_TRAINING)
    facts = {
        "id": new_id(),
        "case_id": row.id,
        "model": model.name,
        "model_version": metadata.version,
        "created": now(),
        "decision": found.decision,
        "probability": found.probability,
        "uncertainty": found.uncertainty,
        "gate": {"passed": bool(found.gate.passed), "score": float(found.gate.score), "reason": found.gate.reason},
        "notes": notes,
        "measurements": asdict(found.measurements),
        "located": found.located,
        "mask": rle.encode_any(found.mask),
        "slices": None if found.slices is None else list(found.slices),
        "classes": found.classes,
        "explainable": model.run is not None and metadata.task == "classify",
        "seconds": round(time.perf_counter() - begun, 4),
    }
    return Answer(facts, packed(found.probability_map))


def store(workspace: Workspace, answer: Answer, also: Callable[[Session], bool] = lambda _session: True) -> bool:
    """Put a prediction on the disk, together with what ``also`` writes; nothing where that says False.

    Raises
    ------
    Problem
        404 where the case was deleted meanwhile.
    """
    facts = answer.facts
    lesions = case((Case.review.in_(DECIDED), Case.lesions), else_=facts["measurements"]["lesions"])
    shown = {"prediction_id": facts["id"], **{key: facts[key] for key in ("decision", "probability")}}
    with workspace.blobs.pinned(answer.map) as (digest,), workspace.store.writing() as session:
        if not also(session):
            return False
        # statements instead of objects: every prediction comes this way
        changed = session.execute(
            update(Case).where(Case.id == facts["case_id"]).values(**shown, lesions=lesions),
            execution_options={"synchronize_session": False},
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]
            raise missing("case", facts["case_id"])
        columns = {key: facts[key] for key in ("id", "case_id", "created", "model", "model_version")}
        session.execute(insert(Prediction), {**columns, "map": digest, "facts": facts})
    return True


def summarise(session: Session, row: Case) -> None:
    """Bring the columns that the work list shows up to date with the newest annotation, or else the prediction."""
    session.flush()
    newest = session.execute(
        select(Annotation)
        .where(Annotation.case_id == row.id)
        .order_by(Annotation.modified.desc(), Annotation.id)
        .limit(1)
    ).scalar_one_or_none()
    row.review = "open" if newest is None else newest.decision
    row.annotation_id = None if newest is None else newest.id
    if newest is not None and newest.decision in DECIDED:
        row.lesions = len(newest.record["lesions"])
        return
    prediction = None if row.prediction_id is None else session.get(Prediction, row.prediction_id)
    row.lesions = None if prediction is None else prediction.facts["measurements"]["lesions"]


def packed(values: NDArray[np.floating]) -> bytes:
    """A map of probabilities as bytes, in `STEPS` steps.

    Examples
    --------
    >>> unpacked(packed(np.array([[0.0, 0.2, 1.0]]))).tolist()
    [[0.0, 0.2, 1.0]]
    """
    stream = io.BytesIO()
    levels = np.rint(np.asarray(values, np.float32) * np.float32(STEPS)).astype(np.uint8)
    np.save(stream, levels, allow_pickle=False)
    return zlib.compress(stream.getvalue(), LEVEL)


def unpacked(content: bytes) -> NDArray[np.float32]:
    """The map in the bytes of `packed`.

    Raises
    ------
    OutputError
        If the bytes are damaged.
    """
    try:
        levels = np.load(io.BytesIO(zlib.decompress(content)), allow_pickle=False)
        return levels.astype(np.float32) / np.float32(STEPS)
    except (zlib.error, ValueError, OSError, EOFError) as error:
        raise OutputError("prediction: its map is damaged; restore the workspace from a copy") from error


def uncertainty_of(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binary entropy of each pixel's probability, in bits.

    Examples
    --------
    >>> uncertainty_of(np.array([0.0, 0.5, 1.0], np.float32)).tolist()
    [0.0, 1.0, 0.0]
    """
    chance = np.clip(probability, 0, 1)
    other = 1 - chance
    return -(chance * np.log2(np.where(chance > 0, chance, 1)) + other * np.log2(np.where(other > 0, other, 1))) + 0.0
