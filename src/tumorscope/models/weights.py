"""Pretrained weights: a file read whatever wraps it, and put into a network as far as it fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorscope.errors import MissingExtra, WeightsError
from tumorscope.io.decoding import label, one_line
from tumorscope.models.weight_store import fetch, locate, present, verify

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["LoadReport", "fetch", "load_into", "locate", "present", "read", "verify"]

WRAPPERS = ("state_dict_ema", "state_dict", "model_state_dict", "model", "teacher", "network_weights", "net")
"""Keys under which checkpoints hold the weights: timm's, Lightning's, PyTorch's usual ones, DINO's, nnU-Net's."""
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "encoder_q.", "network.", "net.")
"""What training code puts before a network's own names."""
LEAST_SHARE = 0.5  # of a network's parameters; with fewer it is another architecture


@dataclass(frozen=True)
class LoadReport:
    """What `load_into` did; names of tensors.

    Parameters
    ----------
    loaded : tuple of str
        The network's, now from the file.
    missing : tuple of str
        The network's that are as they were: absent from the file, or of another shape there.
    unexpected : tuple of str
        The file's that the network has no use for.
    reshaped : tuple of str
        Of those loaded, the ones that were changed to fit: a first convolution for other channels, positions.
    origin : str
        Where the weights come from.
    share : float
        Of the network's parameters that were loaded, in 0.5…1.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    origin: str
    share: float

    def sentence(self) -> str:
        """One line for a log or a report.

        Examples
        --------
        >>> LoadReport(("a", "b"), ("c",), (), ("a",), "old.pth", 0.9).sentence()
        'old.pth: 2 tensors, 90.0% of the parameters; not in it: c; reshaped: a'
        """
        parts = [f"{self.origin}: {len(self.loaded)} tensors, {self.share:.1%} of the parameters"]
        for word, found in (("not in it", self.missing), ("unused", self.unexpected), ("reshaped", self.reshaped)):
            if found:
                parts.append(f"{word}: {_few(found)}")
        return "; ".join(parts)


def read(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name in a file of weights, without wrappers and without prefixes that all names share.

    Parameters
    ----------
    path : str or Path
        ``.safetensors``, or what ``torch.save`` wrote. Nothing but tensors and plain values is unpickled.

    Raises
    ------
    WeightsError
        If the file is absent or damaged, holds program objects, or no tensors.
    MissingExtra
        Without the ``train`` extra.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "old.pth")
    ...     torch.save({"epoch": 3, "state_dict": {"module.fc.weight": torch.ones(1, 2)}}, file)
    ...     read(file)
    {'fc.weight': tensor([[1., 1.]])}
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"{label(file)}: no such file; give the path of a file with weights")
    content = _safetensors(file) if file.suffix.lower() == ".safetensors" else _pickled(file)
    state = _tensors(content)
    if not state:
        raise WeightsError(f"{label(file)}: holds no tensors; give a checkpoint with a state_dict")
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], *, origin: str, adapt_channels: bool = False
) -> LoadReport:
    """Give ``module`` the tensors of ``state`` that fit by name and shape; the report says which.

    Names are tried as they are, without and with each of `PREFIXES` (so that a segmenter's encoder is found), as
    numbers of the module's parts (``0.weight`` for a ResNet's ``conv1.weight``, as RadImageNet has them), and through
    timm's own conversion of other projects' checkpoints, which also resizes positions of transformers. What fits best
    is taken.

    Parameters
    ----------
    module : Module
        Changed in place, unless an error is raised.
    state : mapping of str to Tensor
        For example from `read`.
    origin : str
        Where it comes from, for the report and for errors.
    adapt_channels : bool
        Fit the first convolution to the module's number of input channels: for one channel the sum over the old ones,
        so that a grey image gives the same as its copies did; for more, the old ones repeated and scaled so that their
        sum stays.

    Raises
    ------
    WeightsError
        If less than half of the module's parameters are found, the first convolution takes another number of channels
        and ``adapt_channels`` is not set, or a value is not finite.

    Examples
    --------
    >>> from torch import nn
    >>> old, new = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> report = load_into(new, {f"module.{name}": value for name, value in old.state_dict().items()}, origin="old.pth")
    >>> report.loaded, report.missing, bool((new.weight == old.weight).all())
    (('weight', 'bias'), (), True)
    """
    import torch

    own = module.state_dict()
    parameters = {name: value.numel() for name, value in module.named_parameters()}
    first = _first_convolution(module)
    fitting = [_fitting(own, named, first) for named in _namings(module, state)]
    chosen = max(fitting, key=lambda found: sum(parameters.get(name, 0) for name in found))
    share = sum(parameters.get(name, 0) for name in chosen) / max(1, sum(parameters.values()))
    if share < LEAST_SHARE:
        absent = _few([name for name in parameters if name not in chosen])
        raise WeightsError(
            f"{origin}: fits only {share:.0%} of the network's parameters (not {absent}); these are weights of another "
            "architecture: give those of this one, or pass --pretrained no"
        )
    if first in chosen and chosen[first][1].shape != own[first].shape:
        old, tensor = chosen[first]
        if not adapt_channels:
            raise WeightsError(
                f"{origin}: its first convolution takes {tensor.shape[1]} channels, the network {own[first].shape[1]}; "
                "build the network for as many (model.channels), or pass adapt_channels=True"
            )
        chosen[first] = (old, _for_channels(tensor, own[first].shape[1]))
    broken = [name for name, (_, tensor) in chosen.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise WeightsError(f"{origin}: {_few(broken)} holds values that are not finite; take another checkpoint")
    with torch.no_grad():
        for name, (_, tensor) in chosen.items():
            own[name].copy_(tensor)
    used = {old for old, _ in chosen.values()}
    changed = (name for name, (old, _) in chosen.items() if old in state and state[old].shape != own[name].shape)
    return LoadReport(
        loaded=tuple(name for name in own if name in chosen),
        missing=tuple(name for name in own if name not in chosen),
        unexpected=tuple(name for name in state if name not in used),
        reshaped=tuple(changed),
        origin=origin,
        share=share,
    )


Named = dict[str, tuple[str, "Tensor"]]  # new name: old name, and the tensor


def _namings(module: nn.Module, state: Mapping[str, Tensor]) -> Iterator[Named]:
    """Ways to name the tensors, the plainest first."""
    whole: Named = {name: (name, tensor) for name, tensor in state.items()}
    ways = [whole]
    for way in ways:  # grows: a subtree may have its own
        inner = ({name.removeprefix(one): way[name] for name in way if name.startswith(one)} for one in PREFIXES)
        ways.extend(found for found in inner if found)
    ways.extend({prefix + name: value for name, value in whole.items()} for prefix in PREFIXES)
    children = [name for name, _ in module.named_children()]
    for way in ways:
        yield way
        yield _by_number(way, children)
        yield _by_timm(way, module)


def _by_number(way: Named, children: list[str]) -> Named:
    """Names that start with the number of a part, with that part's name instead."""
    named: Named = {}
    for name, value in way.items():
        number, dot, rest = name.partition(".")
        if number.isdecimal() and int(number) < len(children):
            named[children[int(number)] + dot + rest] = value
    return named


def _by_timm(way: Named, module: nn.Module) -> Named:
    """What timm makes of other projects' checkpoints of its architectures; empty where it has nothing to say."""
    home = type(module).__module__
    convert: Any = getattr(sys.modules[home], "checkpoint_filter_fn", None) if home.startswith("timm.") else None
    if convert is None:
        return {}
    try:
        converted = convert({name: tensor for name, (_, tensor) in way.items()}, module)
    except (AttributeError, AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return {}  # names that it does not know; the other ways remain
    places = {tensor.data_ptr(): old for old, tensor in way.values()}
    olds = {name: old for name, (old, _) in way.items()}
    return {name: (olds.get(name) or places.get(tensor.data_ptr(), name), tensor) for name, tensor in converted.items()}


def _fitting(own: Mapping[str, Tensor], named: Named, first: str) -> Named:
    """The tensors that the network has a place of their shape for; the first convolution's channels may differ."""
    return {
        name: (old, tensor)
        for name, (old, tensor) in named.items()
        if name in own and _shape(tensor, name == first) == _shape(own[name], name == first)
    }


def _shape(tensor: Tensor, is_first: bool) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return (shape[0], *shape[2:]) if is_first and len(shape) == 4 else shape


def _first_convolution(module: nn.Module) -> str:
    """Name of the weight that sees the image; empty where the network has no convolution."""
    from torch import nn

    found = (name for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    name = next(found, None)
    return "" if name is None else f"{name}.weight".lstrip(".")


def _for_channels(weight: Tensor, channels: int) -> Tensor:
    """The weight (O, I, H, W) for ``channels`` inputs that sum to what its own sum to."""
    if channels == 1:
        return weight.float().sum(dim=1, keepdim=True)
    own = weight.shape[1]
    repeats = -(-channels // own)
    return weight.float().repeat(1, repeats, 1, 1)[:, :channels] * (own / channels)


def _safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtra("reading weights", "safetensors", "train") from error
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{label(file)}: no readable safetensors ({one_line(error)}); fetch it again") from error


def _pickled(file: Path) -> Any:
    """What ``torch.save`` wrote, if it holds data only."""
    from argparse import Namespace

    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra("reading weights", "torch", "train") from error
    torch.serialization.add_safe_globals([Namespace])  # a plain record of options, which much training code saves
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # of any kind: bytes that are no checkpoint are read as if they were instructions
        raise WeightsError(
            f"{label(file)}: damaged, or it holds program objects besides tensors, which are never loaded; "
            "save its state_dict alone, as safetensors"
        ) from error


def _tensors(content: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, out of its wrappers."""
    from torch import Tensor

    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        content = inner
    return {}


def _few(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """Some of the names in words."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
