"""Checkpoints: weights on disk with the place in the run they come from, ours and those that others wrote."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape._utils.files import open_replacing
from landscape.errors import CheckpointError

FORMAT = "landscape-checkpoint-1"
_NESTS = ("state_dict", "model_state_dict", "model", "net")
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile
_FOREIGN = re.compile(r"unsupported (?:global: )?GLOBAL (\S+)", re.IGNORECASE)
_UNPICKLER = re.compile(r"WeightsUnpickler error: *(\S.*)")
_NAMED = 4  # tensors of each kind that a message names


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one moment of a run.

    Attributes:
        path: where it was read.
        state_dict: tensors by name, on the CPU; names without the prefix of a wrapper such as ``DataParallel``.
        step: optimizer steps taken; None where the file does not say.
        epoch: passes over the training data, a fraction between epochs; NaN where the file does not say.
        metrics: what was measured over whole splits (``train_loss``, ``test_acc`` in percent); may be empty. The
            ``acc`` of a file of Li et al. (2018) stands under ``acc``.
        learning_rate: of the step that led here; NaN where unknown.
    """

    path: Path
    state_dict: Mapping[str, Tensor]
    step: int | None = None
    epoch: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = math.nan

    @property
    def loss(self) -> float:
        """Training loss of these weights; NaN where unknown."""
        return self.metrics.get("train_loss", math.nan)

    @property
    def acc(self) -> float:
        """Accuracy in percent, on the test split where there is one; NaN where unknown."""
        return next((self.metrics[name] for name in ("test_acc", "acc", "train_acc") if name in self.metrics), math.nan)


def save_checkpoint(
    path: str | Path,
    state_dict: Mapping[str, Tensor],
    *,
    step: int,
    epoch: float,
    metrics: Mapping[str, float] | None = None,
    learning_rate: float = math.nan,
) -> None:
    """Write a checkpoint that is never there in part.

    The file is what ``torch.save`` makes of a dict with ``format``, ``acc``, ``epoch``, ``state_dict`` (as the code of
    Li et al. reads them), ``step``, ``loss``, ``learning_rate`` and ``metrics``. Whole epochs are written as int.

    Raises:
        CheckpointError: the file cannot be written.
    """
    known = Checkpoint(Path(path), {}, step, epoch, dict(metrics or {}), learning_rate)
    contents = {
        "format": FORMAT,
        "acc": known.acc,
        "epoch": int(epoch) if float(epoch).is_integer() else float(epoch),
        "step": step,
        "loss": known.loss,
        "learning_rate": learning_rate,
        "metrics": dict(known.metrics),
        "state_dict": {name: _compact(tensor) for name, tensor in state_dict.items()},
    }
    with open_replacing(Path(path), durable=True, on_error=CheckpointError) as file:
        torch.save(contents, file)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running any code that it may hold.

    Read are our own files, those of Li et al. (``{"acc", "epoch", "state_dict"}``), a bare ``state_dict``, and dicts
    that keep one under ``state_dict``, ``model_state_dict``, ``model`` or ``net``. Tensors of files in torch's present
    (zip) format are mapped from disk, and read when they are used.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds other things than tensors and plain values.
    """
    path = Path(path)
    stored = read(path)
    state_dict = _state_dict(path, stored)
    if state_dict is stored:
        return Checkpoint(path, _unwrapped(state_dict))
    metrics = stored.get("metrics")
    if not isinstance(metrics, Mapping):
        metrics = {"acc": stored["acc"]} if "acc" in stored else {}
    step = stored.get("step")
    return Checkpoint(
        path,
        _unwrapped(state_dict),
        step if isinstance(step, int) else None,
        _number(stored.get("epoch")),
        {str(name): _number(value) for name, value in metrics.items()},
        _number(stored.get("learning_rate")),
    )


def load_into(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give ``model`` the weights and buffers of ``checkpoint``, all of them or none.

    Batch-norm counters that files from before torch 0.4.1 lack stay as they are.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape; the message says which.
    """
    own, stored = model.state_dict(), dict(checkpoint.state_dict)
    if not any(name.endswith("num_batches_tracked") for name in stored):
        stored.update({name: value for name, value in own.items() if name.endswith("num_batches_tracked")})
    missing = [name for name in own if name not in stored]
    unexpected = [name for name in stored if name not in own]
    reshaped = [
        f"{name} {_shape(stored[name])} in the checkpoint, {_shape(own[name])} in the model"
        for name in own
        if name in stored and _shape(stored[name]) != _shape(own[name])
    ]
    differing = [
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if differing:
        raise CheckpointError(
            f"{checkpoint.path} belongs to another architecture than this {type(model).__name__} of {len(own)} "
            f"tensors: {'; '.join(differing)}"
        )
    model.load_state_dict(stored)


def read(path: Path, mapped: bool = True) -> Any:
    """What a file of ``torch.save`` holds, on the CPU: tensors and plain values, nothing else is admitted.

    Args:
        path: the file.
        mapped: leave tensors on disk until they are used, where the format allows it.

    Raises:
        CheckpointError: as :func:`load_checkpoint`.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, a checkpoint file expected, as in {path}/step-00000000.pt")
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    mapped = mapped and zipfile.is_zipfile(path)  # torch maps no file of its older format
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle may raise anything
        foreign = _FOREIGN.search(str(error))
        if foreign:
            raise CheckpointError(
                f"{path} holds a {foreign[1]}, and only tensors and plain values are read, since anything else could "
                "run code. Save its state_dict() alone with torch.save"
            ) from error
        raise CheckpointError(f"{path} is damaged, or no file of torch.save ({_reason(error)})") from error


def _state_dict(path: Path, stored: Any) -> Mapping[str, Any]:
    if isinstance(stored, Mapping):
        for nest in _NESTS:
            if isinstance(stored.get(nest), Mapping):
                return stored[nest]
        if stored and all(isinstance(value, Tensor) for value in stored.values()):
            return stored
    kind = (
        f"a dict of {', '.join(map(str, list(stored)[:_NAMED]))}"
        if isinstance(stored, Mapping)
        else type(stored).__name__
    )
    raise CheckpointError(f"{path}: a state_dict, or a dict with one under {' or '.join(_NESTS)}, expected, got {kind}")


def _unwrapped(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    names = dict(state_dict)
    while wrapper := next((w for w in _WRAPPERS if names and all(name.startswith(w) for name in names)), None):
        names = {name.removeprefix(wrapper): value for name, value in names.items()}
    return names


def _compact(tensor: Any) -> Any:
    """The tensor on the CPU in storage of its own: ``torch.save`` writes whole storages, however little is used."""
    if not isinstance(tensor, Tensor):
        return tensor
    tensor = tensor.detach().cpu().contiguous()
    used = tensor.numel() * tensor.element_size()
    return tensor if tensor.untyped_storage().nbytes() == used else tensor.clone()


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    return float(value) if isinstance(value, int | float) else math.nan


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _reason(error: Exception) -> str:
    """One line of a message of torch, without what it says about ``weights_only``."""
    said = _UNPICKLER.search(str(error))
    lines = [said[1]] if said else [line for line in str(error).splitlines() if "weights_only" not in line and line]
    return lines[0].strip().split(". ")[0] if lines else type(error).__name__
