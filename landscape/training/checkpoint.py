"""Checkpoints: weights on disk with their step in a run, written here or by others, and the state to resume from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape._utils.files import open_replacing
from landscape._utils.state_dict import (
    WRAPPERS,
    NameMatch,
    extends_rows,
    full_state_dict,
    match_names,
    misfit,
    tied_names,
)
from landscape._utils.text import counted, printable
from landscape.errors import CheckpointError
from landscape.training.adapters import complete_adapter
from landscape.training.torch_files import FORMAT, STATE_FORMAT, load_plain
from landscape.training.weight_files import read_weights, split_key, with_key

_LISTED = 4  # tensors of each kind named in a message


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights at one step of a run.

    Attributes:
        path: file of the checkpoint.
        state_dict: tensors by name, on the CPU; names without the prefix of a wrapper such as ``DataParallel``, if all
            have it.
        step: number of completed optimizer steps; None if the file doesn't say.
        epoch: number of passes over the training data, a fraction within an epoch; NaN if the file doesn't say.
        metrics: values measured over whole splits (``train_loss``, ``test_acc`` in percent); may be empty. The ``acc``
            of a file of Li et al. (2018) is called ``acc``.
        learning_rate: learning rate of the last step; NaN if unknown.
        prefix: prefix that the names in the file have.
        adapter: True for the adapter of PEFT, which has only some of a network's tensors.
        others: keys under which the file has further weights of the same names, such as ``ema``.
    """

    path: Path
    state_dict: Mapping[str, Tensor]
    step: int | None = None
    epoch: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = math.nan
    prefix: str = ""
    adapter: bool = False
    others: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [] if self.step is None else [f"step {self.step}"]
        parts += [] if math.isnan(self.epoch) else [f"epoch {self.epoch:g}"]
        parts += [f"{printable(name)} {value:.4g}" for name, value in self.metrics.items()]
        return f"<Checkpoint {str(self.path)!r}: {', '.join([*parts, counted(len(self.state_dict), 'tensor')])}>"

    @property
    def stored(self) -> dict[str, Tensor]:
        """Tensors by their names in the file."""
        return {self.prefix + name: tensor for name, tensor in self.state_dict.items()}

    def for_network(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to be matched with those of a network; an adapter is completed by the network's."""
        return complete_adapter(own, self.stored, self.path) if self.adapter else self.stored

    @property
    def loss(self) -> float:
        """Training loss at these weights; NaN if unknown."""
        return self.metrics.get("train_loss", math.nan)

    @property
    def acc(self) -> float:
        """Accuracy in percent, on the test split if there is one; NaN if unknown."""
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
    """Write a checkpoint atomically.

    The file is what ``torch.save`` makes of a dict with ``format``, ``acc``, ``epoch``, ``state_dict`` (as the code of
    Li et al. reads them), ``step``, ``loss``, ``learning_rate`` and ``metrics``. Whole epochs are written as int.

    Args:
        path: file to be created or replaced.
        state_dict: tensors by name, on any device.
        step: number of completed optimizer steps.
        epoch: number of passes over the training data.
        metrics: values measured over whole splits.
        learning_rate: learning rate of the last step.

    Raises:
        CheckpointError: the file cannot be written.
    """
    checkpoint = Checkpoint(Path(path), {}, step, epoch, dict(metrics or {}), learning_rate)
    contents = {
        **checkpoint_values(checkpoint),
        "state_dict": {name: compact(tensor) for name, tensor in state_dict.items()},
    }
    with open_replacing(Path(path), durable=True, on_error=CheckpointError) as file:
        torch.save(contents, file)


def checkpoint_values(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a file of :func:`save_checkpoint` holds beside the tensors."""
    epoch = checkpoint.epoch
    return {
        "format": FORMAT,
        "acc": checkpoint.acc,
        "epoch": int(epoch) if float(epoch).is_integer() else float(epoch),
        "step": checkpoint.step,
        "loss": checkpoint.loss,
        "learning_rate": checkpoint.learning_rate,
        "metrics": dict(checkpoint.metrics),
    }


def load_checkpoint(path: str | Path, key: str | None = None) -> Checkpoint:
    """Read a checkpoint of any common kind without running any code that it may contain.

    Accepted are

    - files of :func:`save_checkpoint`, of Li et al. (``{"acc", "epoch", "state_dict"}``), of Lightning, and any other
      dict of ``torch.save`` with a state_dict in it or that is one,
    - safetensors and ``pytorch_model.bin``, in one file, or in several with an index,
    - folders of Hugging Face with one of these, adapters of PEFT among them,
    - folders of ``torch.distributed.checkpoint``.

    Tensors in safetensors and in torch's current (zip) format are memory-mapped and read when they are used.

    Args:
        path: the file or folder; ``last.ckpt::ema.module`` names a key, too.
        key: where in the file the weights are: keys of nested dicts, or the beginning of names, joined by dots
            (``ema.module``). By default ``state_dict``, ``model_state_dict``, ``model`` or ``net``, or the only
            state_dict in the file.

    Returns:
        The checkpoint, with its tensors on the CPU.

    Raises:
        CheckpointError: the file is missing or damaged, or holds anything but tensors and everyday values.
    """
    file, in_path = split_key(path)
    key = in_path if key is None else key
    found = read_weights(file, key)
    in_file, stored = found.weights, found.values
    prefix = common_prefix(in_file)
    metrics = stored.get("metrics")
    if not isinstance(metrics, Mapping):
        metrics = {"acc": stored["acc"]} if "acc" in stored else {}
    step = stored.get("step")
    return Checkpoint(
        with_key(file, key),
        {name.removeprefix(prefix): tensor for name, tensor in in_file.items()},
        step if isinstance(step, int) else None,
        _number(stored.get("epoch")),
        {str(name): _number(value) for name, value in metrics.items()},
        _number(stored.get("learning_rate")),
        prefix,
        found.adapter,
        found.others,
    )


def load_into(model: nn.Module, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Load weights and buffers of ``checkpoint`` into ``model``: all of them, or none if something doesn't fit.

    Names are matched by those of the model, with or without the names of wrappers (``module.`` of ``DataParallel`` and
    averaged models, ``_orig_mod.`` of ``torch.compile``), and with one prefix (``model.`` of Lightning) removed or put
    before them if only that makes all of them match. Of tied tensors one suffices. Batch-norm counters, which files
    from before torch 0.4.1 lack, are then left as they are. An adapter replaces the tensors of the model's adapter.

    Returns:
        Names of tensors in the file that the model has no place for (the ``n_averaged`` of averaged models).

    Raises:
        CheckpointError: tensors are missing, of another shape, or those of further layers; the message says which.
    """
    return _load(model, checkpoint).unused


def load_with_note(model: nn.Module, checkpoint: Checkpoint) -> str:
    """Load a checkpoint as :func:`load_into` does, and return what the user should know about it; empty as a rule."""
    match = _load(model, checkpoint)
    notes = [unused_note(checkpoint.path, match.unused), match.note(checkpoint.path)]
    if checkpoint.adapter:
        notes.append(f"{checkpoint.path} is an adapter of {len(checkpoint.state_dict)} tensors; the others are those "
                     "of the problem")  # fmt: skip
    if checkpoint.others:
        notes.append(f"{checkpoint.path} has weights under {' and '.join(checkpoint.others)}, too; a key chooses them")
    return "; ".join(note for note in notes if note)


def _load(model: nn.Module, checkpoint: Checkpoint) -> NameMatch:
    own = full_state_dict(model)
    stored = checkpoint.for_network(own)
    tied = tied_names(own)
    match = match_names(own, stored, tied)
    if match is not None and not extends_rows(own, match.unused_within):
        chosen = {n: stored[match.names[n]] if n in match.names else own[n] for n in own}
        try:
            nn.Module.load_state_dict(model, chosen)
        except RuntimeError as error:  # a layout that cannot be copied, such as a sparse one
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{checkpoint.path} does not fit this {type(model).__name__}: {reason}") from error
        return match
    if type(model).state_dict is not nn.Module.state_dict and model.state_dict().keys() == stored.keys():
        try:
            model.load_state_dict(stored)  # names of its own, which only the model understands
        except Exception as error:
            raise CheckpointError(f"{checkpoint.path}: {type(model).__name__}.load_state_dict: {error}") from error
        return NameMatch({}, ())
    raise CheckpointError(
        f"{checkpoint.path} was saved from another architecture than this {type(model).__name__} of {len(own)} "
        f"tensors: {misfit(own, stored, tied)}{_shard_note(checkpoint.path)}"
    )


def _shard_note(path: Path) -> str:
    """Return that a file is one of several with the parts of one checkpoint, by its name; empty if it isn't."""
    found = re.search(r"-0*(\d+)-of-0*(\d+)\.", path.name)
    if found is None or found[2] == "1":
        return ""
    return f". The file is part {found[1]} of {found[2]} of a checkpoint: give its folder, {path.parent}, or its index"


def unused_note(path: Path, unused: Sequence[str]) -> str:
    """Return the note on tensors of a file that the model has no place for; empty if there are none."""
    if not unused:
        return ""
    names = ", ".join(unused[:_LISTED]) + (", ..." if len(unused) > _LISTED else "")
    return f"{path}: the network has no place for {len(unused)} of its tensors, which are ignored ({names})"


def save_state(
    path: Path, model: nn.Module, optimizer: Optimizer, step: int, loss_scale: Mapping[str, float] | None = None
) -> None:
    """Write the state to resume from: weights, buffers, optimizer and step. Random numbers follow from the step.

    Args:
        path: file to be created or replaced.
        model: the network.
        optimizer: optimizer of its parameters.
        step: number of completed steps.
        loss_scale: state of the loss scale; None if the loss isn't scaled.

    Raises:
        CheckpointError: the file cannot be written.
    """
    contents = {
        "format": STATE_FORMAT,
        "step": step,
        "model": full_state_dict(model),
        "optimizer": optimizer.state_dict(),
    }
    if loss_scale is not None:
        contents["loss_scale"] = dict(loss_scale)
    with open_replacing(path, durable=True, on_error=CheckpointError) as file:
        torch.save(contents, file)


def load_state(path: Path, model: nn.Module, optimizer: Optimizer) -> tuple[int, Mapping[str, float] | None]:
    """Restore the state that :func:`save_state` wrote, on the device of ``model``, whatever device wrote it.

    Returns:
        Number of completed steps, and the state of the loss scale if there is one.

    Raises:
        CheckpointError: the file is damaged or belongs to another model or optimizer.
    """
    # Not mapped: the optimizer keeps these very tensors, and the file will be replaced.
    stored = load_plain(path, mapped=False)
    if not isinstance(stored, dict) or stored.get("format") != STATE_FORMAT:
        raise CheckpointError(f"{path}: expected a file of format {STATE_FORMAT!r}")
    weights, step = stored.get("model"), stored.get("step")
    if not isinstance(weights, Mapping) or not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise CheckpointError(f"{path} is damaged: expected the weights and the step to resume from")
    scale = stored.get("loss_scale")
    if scale is not None and not (isinstance(scale, Mapping) and {"value", "steps"} <= scale.keys()):
        raise CheckpointError(f"{path} is damaged: expected the value and the steps of the loss scale")
    load_into(model, Checkpoint(path, weights))
    try:
        # The implementation is that of this device, not that of the one that wrote the file.
        for group, own in zip(stored["optimizer"]["param_groups"], optimizer.param_groups, strict=False):
            if "fused" in group and "fused" in own:
                group["fused"] = own["fused"]
        optimizer.load_state_dict(stored["optimizer"])
    except Exception as error:  # a foreign optimizer may raise anything
        raise CheckpointError(f"{path} doesn't fit the optimizer: {error}") from error
    _lay_out_like_parameters(optimizer)
    return step, scale


def _lay_out_like_parameters(optimizer: Optimizer) -> None:
    """Give the state of each parameter its memory layout, which fused kernels take for granted."""
    for parameter, values in optimizer.state.items():
        if not isinstance(parameter, Tensor) or parameter.layout is not torch.strided or not isinstance(values, dict):
            continue
        for name, value in values.items():
            same_shape = isinstance(value, Tensor) and value.layout is torch.strided and value.shape == parameter.shape
            if same_shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def common_prefix(names: Iterable[str]) -> str:
    """Return the names of wrappers that all of ``names`` begin with."""
    parts = [name.split(".")[:-1] for name in names]
    common = takewhile(lambda level: len(set(level)) == 1 and level[0] in WRAPPERS, zip(*parts, strict=False))
    return "".join(f"{level[0]}." for level in common)


def compact(tensor: Any) -> Any:
    """Return the tensor on the CPU in a storage of its own: ``torch.save`` writes whole storages."""
    if not isinstance(tensor, Tensor):
        return tensor
    if tensor.layout is not torch.strided:
        return tensor.detach().cpu()
    tensor = tensor.detach().cpu().contiguous()
    used = tensor.numel() * tensor.element_size()
    return tensor if tensor.untyped_storage().nbytes() == used else tensor.clone()


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer beyond all floats
        return math.nan
