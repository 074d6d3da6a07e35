"""Checkpoints of a recorded run on disk: full ones, rounded ones, and differences to full ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape._utils.torch_state import same_bits
from landscape.training.checkpoint import Checkpoint, checkpoint_values, compact, save_checkpoint
from landscape.training.difference_files import completed, difference_to, rounded, save_difference
from landscape.training.record import RecordingSettings
from landscape.training.run import Run
from landscape.training.torch_files import DIFFERENCE_FORMAT, load_plain

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class CheckpointWriter:
    """Writes the checkpoints of a run in the form of its settings."""

    def __init__(self, run: Run, settings: RecordingSettings) -> None:
        self._run, self._settings = run, settings
        self._dtype = None if settings.dtype is None else _HALF[settings.dtype]
        self._full: dict[int, bool] = {}  # by step, as far as known
        self._base: tuple[int, Mapping[str, Any]] | None = None

    def write(
        self, step: int, epoch: float, rate: float, numbers: Mapping[str, float], tensors: dict[str, Any]
    ) -> None:
        """Write the weights of a step; when it returns, they are on the disk.

        Raises:
            CheckpointError: the file cannot be written.
        """
        path = self._run.checkpoint_path(step)
        base = self._base_before(step) if self._settings.differences else None
        if base is None:
            if self._dtype is not None and not self._settings.differences:
                tensors = {name: rounded(tensor, self._dtype) for name, tensor in tensors.items()}
            save_checkpoint(path, tensors, step=step, epoch=epoch, metrics=numbers, learning_rate=rate)
        else:
            whole, differences = difference_to(
                self._tensors_of(base), {name: compact(tensor) for name, tensor in tensors.items()}, self._dtype
            )
            values = checkpoint_values(Checkpoint(path, {}, step, epoch, dict(numbers), rate))
            save_difference(path, self._run.checkpoint_path(base), values, whole, differences)
        self._full[step] = base is None

    def has(self, step: int, tensors: Mapping[str, Any]) -> bool:
        """Return True if the checkpoint of a step is what :meth:`write` would make of these tensors, bit for bit.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self._run.checkpoint_path(step)
        stored = load_plain(path)
        base: Mapping[str, Any] = {}
        differences: Mapping[str, Tensor] = {}
        if stored.get("format") == DIFFERENCE_FORMAT:
            base, differences = load_plain(path.parent / stored["base"])["state_dict"], stored["differences"]
            stored = completed(stored, path)
        found = stored["state_dict"]
        return found.keys() == tensors.keys() and all(
            _same(compact(tensor), found[name], base.get(name), differences.get(name))
            for name, tensor in tensors.items()
        )

    def forget(self, step: int) -> None:
        """Forget what is known of the checkpoints from ``step`` on, which were deleted."""
        self._full = {known: full for known, full in self._full.items() if known < step}
        if self._base is not None and self._base[0] >= step:
            self._base = None

    def _base_before(self, step: int) -> int | None:
        """Return the step of the full checkpoint to store the differences to; None if a full one is due."""
        saved = self._run.saved_steps
        before = saved[: bisect_left(saved, step)]
        for distance, candidate in enumerate(reversed(before), start=1):
            if distance >= self._settings.differences:
                return None
            if self._is_full(candidate):
                return candidate
        return None

    def _is_full(self, step: int) -> bool:
        if step not in self._full:
            stored = load_plain(self._run.checkpoint_path(step))
            self._full[step] = stored.get("format") != DIFFERENCE_FORMAT
        return self._full[step]

    def _tensors_of(self, step: int) -> Mapping[str, Any]:
        if self._base is None or self._base[0] != step:
            self._base = step, load_plain(Path(self._run.checkpoint_path(step)))["state_dict"]  # mapped from the disk
        return self._base[1]


def _same(tensor: Any, stored: Any, base: Any, difference: Tensor | None) -> bool:
    if not isinstance(tensor, Tensor) or not isinstance(stored, Tensor):
        return bool(tensor == stored)
    if difference is not None and difference.is_floating_point():
        tensor = base + (tensor - base).to(difference.dtype).to(base.dtype)
    elif stored.element_size() == 2 and stored.is_floating_point():
        tensor = tensor.to(stored.dtype)
    if tensor.layout is not torch.strided or stored.layout is not torch.strided:
        return tensor.layout == stored.layout and torch.equal(tensor.to_dense(), stored.to_dense())
    return same_bits(tensor, stored)
