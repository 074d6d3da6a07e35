"""Settings of a training run, and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from landscape._utils.names import unknown

_DTYPES = ("float32", "bfloat16", "float64")


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how to train.

    Attributes:
        epochs: passes over the training data; 0 leaves the initial weights as only checkpoint.
        batch_size: samples of a step; the last step of an epoch takes what is left over.
        schedule: of the learning rate: ``constant``, ``step`` or ``cosine`` (see ``landscape.training.settings``).
        seed: of the order of the samples, of augmentation, dropout and whatever the optimizer draws. The initial
            weights are the problem's.
        dtype: ``float32`` or ``float64``, of weights and data; ``bfloat16``: forward and backward pass under torch's
            autocast, while weights, optimizer and the losses in ``history.csv`` stay float32.
        device: where to train, as torch writes it (``cpu``, ``cuda``, ``cuda:1``). May change when a run is resumed.
        checkpoint_every: epochs from checkpoint to checkpoint. Initial and final weights are always kept.
        checkpoint_steps: steps from checkpoint to checkpoint, beside those of ``checkpoint_every``; None for none.
        measure_steps: whether the checkpoints of ``checkpoint_steps`` are measured on every split, as those at the
            end of an epoch are. It makes each of them cost about a third of an epoch.
    """

    epochs: int = 10
    batch_size: int = 128
    schedule: str = "constant"
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None
    measure_steps: bool = False

    def __post_init__(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "seed": 0, "checkpoint_every": 1, "checkpoint_steps": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is None and name == "checkpoint_steps":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
                raise ValueError(f"{name}: a whole number of at least {smallest} expected, got {value!r}")
        schedule(self.schedule)
        if self.dtype not in _DTYPES:
            raise unknown("dtype", self.dtype, _DTYPES)
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"device: a name such as 'cpu' or 'cuda:0' expected, got {self.device!r}") from error

    @property
    def weight_dtype(self) -> torch.dtype:
        """What weights and floating-point data are stored as."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name; ``TrainingSettings(**settings.to_dict())`` is the same."""
        return asdict(self)


_MILESTONES = (150 / 300, 225 / 300, 275 / 300)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes.

    Attributes:
        factor: what the learning rate is multiplied by, from the fraction of the epochs that is over, in [0, 1).
        every_step: whether it follows within an epoch, or holds from an epoch's first step to its last.
    """

    factor: Callable[[float], float]
    every_step: bool

    def at(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The factor for the step after ``step`` steps are done."""
        if self.every_step:
            return self.factor(step / (steps_per_epoch * epochs))
        return self.factor((step // steps_per_epoch) / epochs)


def _constant(done: float) -> float:
    return 1.0


def _step(done: float) -> float:
    # Powers by division: 0.1 ** 3 is not the float that three divisions by ten of 1 come closest to.
    return 1.0 / 10 ** sum(done >= milestone for milestone in _MILESTONES)


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES = {
    "constant": Schedule(_constant, every_step=False),
    "step": Schedule(_step, every_step=False),
    "cosine": Schedule(_cosine, every_step=True),
}
"""``constant``; ``step``: a tenth each time when 150, 225 and 275 of 300 epochs are over, changed between epochs as in
Li et al. (2018); ``cosine``: half a period of the cosine down to 0 (Loshchilov and Hutter, 2017, no restarts), changed
at every step."""


def schedule(name: str) -> Schedule:
    """The schedule of that name.

    Raises:
        ValueError: there is none; the message says the nearest and lists them all.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    return SCHEDULES[name]
