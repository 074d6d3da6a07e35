"""Recording from the callbacks of trainers: the common part of those for Hugging Face and Lightning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.workflows.recording.record import record
from landscape.workflows.recording.recorder import Recorder
from landscape.workflows.sources import PathName


class CallbackRecorder:
    """A recorder that is opened when a trainer begins, and called after each of its optimizer steps."""

    def __init__(self, path: PathName, problem: str | ProblemSpec | Problem | None, options: Mapping[str, Any]) -> None:
        self._path, self._problem, self._options = path, problem, dict(options)
        self._keep: Recorder | None = None
        self._overwrite = bool(self._options.pop("overwrite", False))
        self._seen = -1
        self._kept = False
        self._rate = math.nan

    def begin(
        self,
        model: nn.Module,
        step: int,
        *,
        epoch: float,
        optimizer: Optimizer | None,
        settings: Mapping[str, Any],
        active: bool,
    ) -> None:
        """Open the run and keep the weights before the first step, or those from which the training is resumed."""
        self.end()
        given = {key: value for key, value in settings.items() if value is not None}
        options = {"resume": step > 0, "active": active, **self._options}
        options["settings"] = {**given, **(options.get("settings") or {})}
        self._keep = record(
            self._path, self._problem, optimizer=optimizer, overwrite=self._overwrite, late_values=True, **options
        )
        self._overwrite = False  # a second training with the same callback continues what the first one recorded
        self._keep.open()
        self._seen = -1
        self.before_step(optimizer)
        self.after_step(model, step, epoch=epoch)

    def before_step(self, optimizer: Optimizer | None) -> None:
        """Read the learning rate of the next step, which a schedule changes right after it."""
        groups = getattr(optimizer, "param_groups", None) or [{}]
        self._rate = float(groups[0].get("lr", math.nan))

    def after_step(
        self, model: nn.Module, step: int, *, epoch: float = math.nan, last: bool = False, **values: float | None
    ) -> None:
        """Keep the weights of a step once, if the schedule has it or it is the last one."""
        if self._keep is None or (step == self._seen and (self._kept or not last)):
            return
        self._seen = step
        self._kept = self._keep(model, step, epoch=epoch, learning_rate=self._rate, always=last, **values)

    def note(self, step: int, values: Mapping[str, Any]) -> None:
        """Add numbers that became known later to the values of a step, if that was kept."""
        if self._keep is not None and self._kept and step == self._seen:
            plain = {name: float(value) for name, value in values.items() if _is_number(value)}
            self._keep.note(**{name: value for name, value in plain.items() if name not in _OWN})

    def end(self, error: BaseException | None = None) -> None:
        """End the recording."""
        keep, self._keep = self._keep, None
        if keep is not None:
            keep.close(error)


_OWN = ("step", "epoch", "learning_rate")


def _is_number(value: Any) -> bool:
    return not isinstance(value, str | bool | bytes) and hasattr(value, "__float__") and getattr(value, "size", 1) != 0
