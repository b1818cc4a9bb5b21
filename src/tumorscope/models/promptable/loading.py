"""Networks of the SAM family from weights on this machine: a folder of transformers, a file, or what the hub holds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig, Sam2Config, Sam2Model, SamConfig, SamModel

from tumorscope import registry
from tumorscope.datasets.facts import sha256
from tumorscope.errors import WeightsError, look_up
from tumorscope.io import atomic
from tumorscope.io.decoding import label, one_line
from tumorscope.models import weights
from tumorscope.models.promptable.architectures import configuration
from tumorscope.models.promptable.frames import FRAMES, MEDSAM, PADDED, STRETCHED
from tumorscope.models.promptable.network import PromptableNetwork
from tumorscope.models.promptable.original_names import POSITIONS, of_sam2, renamed

CONFIG, WEIGHTS, FACTS = "config.json", "model.safetensors", "tumorscope.json"
TIED = "prompt_encoder.shared_embedding.positional_embedding"  # the same tensor as POSITIONS
KINDS: dict[str, tuple[type[PretrainedConfig], type[Any]]] = {
    "sam": (SamConfig, SamModel),
    "sam2": (Sam2Config, Sam2Model),
    "sam2_video": (Sam2Config, Sam2Model),  # what the hub's repositories of SAM 2 are called
}


@dataclass(frozen=True)
class Loaded:
    """A network, and what a record of its answers says of its weights.

    Parameters
    ----------
    network : PromptableNetwork
    sha256 : str
        Of the file of weights.
    origin : str
        Where they come from, in words.
    """

    network: PromptableNetwork
    sha256: str
    origin: str


def load(name: str, checkpoint: Path | None = None, *, offline: Path | None = None) -> Loaded:
    """The network of that name, its weights checked.

    Parameters
    ----------
    name : str
        A promptable network of `registry`.
    checkpoint : Path or None
        A folder that transformers or a run of ours wrote (``config.json`` and ``model.safetensors``), or a file of
        weights of this architecture, under the names of transformers or of SAM's authors. A file or folder whose name
        holds "medsam" is taken for one of MedSAM's. None: the published weights, from the offline folder, the hub's
        cache, or the hub.
    offline : Path or None
        Folder with published weights; by default what ``TUMORSCOPE_WEIGHTS`` names.

    Raises
    ------
    WeightsError
        If there is no such network, nothing can be had, or the weights are damaged or of another architecture.
    """
    entry = registry.entry(name)
    look_up(name, registry.names("promptable"), "promptable network", WeightsError)
    if checkpoint is not None and checkpoint.is_dir():
        return _from_folder(checkpoint)
    try:
        file = weights.locate(checkpoint if checkpoint is not None else name, offline=offline)
    except WeightsError as error:  # random weights are no way out here
        raise WeightsError(str(error).removesuffix("; or pass --pretrained no")) from error
    kind = STRETCHED if "sam2" in name else MEDSAM if "medsam" in file.name.lower() else PADDED
    shape = configuration(entry.name)
    model = _filled(shape, weights.read(file), file)
    return Loaded(PromptableNetwork.of(model, kind, kind == MEDSAM), sha256([file]), checkpoint_words(name, checkpoint))


def save(network: PromptableNetwork, folder: Path, *, name: str, single: bool) -> None:
    """Write the network as a folder that `load` and transformers take.

    Parameters
    ----------
    network : PromptableNetwork
    folder : Path
    name : str
        Of the architecture in `registry`.
    single : bool
        Whether only its answer for one mask was trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.model.config.save_pretrained(folder)
    state = {one: value.detach().cpu().clone().contiguous() for one, value in network.model.state_dict().items()}
    with atomic(folder / WEIGHTS) as path:
        save_file(state, path, metadata={"format": "pt"})
    facts = {"network": name, "frame": network.frame.kind, "single": single}
    with atomic(folder / FACTS) as path:
        path.write_text(json.dumps(facts, indent=2), encoding="utf-8")


def random_network(shape: PretrainedConfig, seed: int = 0, spread: float = 0.15) -> PromptableNetwork:
    """A network with random weights for tests, spread so wide that every prompt shows in its answers."""
    torch.manual_seed(seed)
    model = _empty(shape)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(spread * torch.randn_like(value))
    return PromptableNetwork.of(model, STRETCHED if isinstance(shape, Sam2Config) else PADDED)


def checkpoint_words(name: str, checkpoint: Path | None) -> str:
    """Where weights come from, as reports say it.

    Examples
    --------
    >>> checkpoint_words("sam-vit-base", None)
    'published weights of sam-vit-base (facebook/sam-vit-base)'
    """
    if checkpoint is None:
        return f"published weights of {name} ({registry.entry(name).hub_id})"
    return label(checkpoint)


def _from_folder(folder: Path) -> Loaded:
    """A network from what `save_pretrained` wrote."""
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8")) if (folder / FACTS).exists() else {}
        config, _ = KINDS[look_up(kind, KINDS, "kind of network", WeightsError)]
        shape = config.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{label(folder)}: no folder of a SAM or SAM 2 ({one_line(error)}); give one with {CONFIG} and {WEIGHTS}"
        ) from error
    file = next((folder / one for one in (WEIGHTS, "pytorch_model.bin") if (folder / one).is_file()), None)
    if file is None:
        raise WeightsError(f"{label(folder)}: holds no {WEIGHTS}; copy the file of weights there")
    second = isinstance(shape, Sam2Config)
    medsam = not second and "medsam" in folder.name.lower()
    frame = facts.get("frame") or (STRETCHED if second else MEDSAM if medsam else PADDED)
    look_up(frame, FRAMES, "preparation", WeightsError)
    model = _filled(shape, weights.read(file), file)
    network = PromptableNetwork.of(model, frame, bool(facts.get("single", medsam)))
    return Loaded(network, sha256([file]), label(folder))


def _filled(shape: PretrainedConfig, state: dict[str, Tensor], file: Path) -> SamModel | Sam2Model:
    """A model of that shape with all of its weights from ``state``; what it has no use for (SAM 2's memory) is left."""
    if of_sam2(state):
        raise WeightsError(
            f"{label(file)}: is a checkpoint in the names of SAM 2's authors; fetch the one that transformers reads "
            "with: tumorscope weights fetch sam2.1-hiera-tiny"
        )
    named = renamed(state)
    for one, other in ((POSITIONS, TIED), (TIED, POSITIONS)):  # files hold one tensor once
        if one not in named and other in named:
            named[one] = named[other]
    model = _empty(shape)
    own = model.state_dict()
    absent = [name for name, value in own.items() if name not in named or named[name].shape != value.shape]
    if absent:
        raise WeightsError(
            f"{label(file)}: lacks {len(absent)} of the network's {len(own)} tensors, or has them in another shape "
            f"({', '.join(absent[:3])}); give weights of this architecture"
        )
    broken = [name for name in own if not bool(torch.isfinite(named[name]).all())]
    if broken:
        raise WeightsError(f"{label(file)}: {broken[0]} holds values that are not finite; fetch it again")
    model.load_state_dict({name: named[name] for name in own})
    return model


def _empty(shape: PretrainedConfig) -> SamModel | Sam2Model:
    """A model of that shape, its weights still to come."""
    if isinstance(shape, Sam2Config):
        return Sam2Model(shape)
    if isinstance(shape, SamConfig):
        return SamModel(shape)
    raise WeightsError(f"{type(shape).__name__}: is no shape of a SAM or SAM 2; give one of these")


def version_of(digest: str, library: str) -> str:
    """Version of an engine: it changes with the weights, and with the library that computes its answers.

    Examples
    --------
    >>> version_of("0123456789abcdef" * 4, "5.23.0")
    '0123456789ab-transformers5.23'
    """
    short = re.match(r"\d+\.\d+", library)
    return f"{digest[:12]}-transformers{short[0] if short else library}"
