"""Where a network looked, for models that came from a training run; everything else says what it would need."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from tumorscope.errors import DataError
from tumorscope.scan import Scan
from tumorscope.server import pictures
from tumorscope.server.models import Offered
from tumorscope.server.problems import Problem

NO_RUN = (
    "the model is an ONNX bundle, which has no gradients to explain it by; "
    "start the server with --runs DIR, the folder of its training run"
)
NO_TORCH = "explanations need torch, which is not installed; run: pip install 'tumorscope[train]'"


def explained(model: Offered, scan: Scan, facts: dict[str, Any], index: int | None) -> bytes:
    """PNG of the slice with the Grad-CAM map over it; to be run in the pool.

    Parameters
    ----------
    model : Offered
        The model that made the prediction.
    scan : Scan
    facts : dict
        The prediction as the API gives it.
    index : int or None
        Slice of a volume; None for the one with the highest probability.

    Raises
    ------
    Problem
        409 with the remedy where torch, or the run that the model came from, is not there; 422 for no such slice.
    """
    if model.run is None:
        raise Problem(409, "unexplainable", NO_RUN)
    if find_spec("torch") is None:
        raise Problem(409, "unexplainable", NO_TORCH)
    import torch

    from tumorscope.training.classifier_export import network_of
    from tumorscope.training.explain_report import heat
    from tumorscope.training.explained_run import Run
    from tumorscope.training.saliency import Target, last_maps, saliency, unit

    try:
        run = Run.open(model.run)
    except DataError as error:
        reason = str(error).partition(": ")[2]
        raise Problem(409, "unexplainable", f"model {model.name}: {reason}") from error
    pixels = scan.pixels[_slice(scan, facts, index)] if scan.is_volume else scan.pixels
    preparation = run.recipe.preparation
    prepared = preparation.prepare(pixels)
    network = network_of(run.folder, run.model_from, run.recipe, run.names)
    place = last_maps(network, preparation.channels, preparation.size)
    square = preparation.tinted(prepared.pixels)
    with torch.inference_mode():
        logits = network(torch.from_numpy(square)[None])[0]
    said = int(logits[0] > 0) if run.outputs == 1 else int(logits.argmax())
    target = Target.of(run.target(said, None), run.outputs)
    values = unit(prepared.to_input_grid(saliency("gradcam", network, square, target, place)))
    return pictures.png(heat(pixels, values))


def _slice(scan: Scan, facts: dict[str, Any], index: int | None) -> int:
    if index is None:
        chances = [-1.0 if one is None else one for one in facts["slices"] or ()]
        return max(range(len(chances)), key=chances.__getitem__) if chances else scan.shape[0] // 2
    if index >= scan.shape[0]:
        raise Problem(422, "invalid", f"slice {index}: the scan has {scan.shape[0]}, counted from 0")
    return index
