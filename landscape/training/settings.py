"""Settings of a training run, and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from landscape._utils.names import unknown
from landscape._utils.typed import require_types

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
ENGINES = ("eager", "compiled", "captured")
"""Ways to compute loss and gradients of a batch."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run.

    Attributes:
        epochs: number of passes over the training data; 0 keeps the initial weights as the only checkpoint.
        batch_size: number of samples per step; the last step of an epoch takes the remainder.
        schedule: learning-rate schedule, a name in :data:`SCHEDULES`: ``constant``, ``step`` or ``cosine``.
        seed: random seed of the data order, augmentation, dropout and the optimizer's own draws. The initial weights
            are those of the problem.
        dtype: ``float32`` or ``float64``, type of weights and data; or ``bfloat16`` or ``float16``, which run the
            forward and backward pass under torch's autocast while weights, optimizer and the measured losses stay
            float32. In ``float16``, the loss is scaled so that gradients neither vanish nor overflow.
        device: device to train on, as torch names it (``cpu``, ``cuda``, ``cuda:1``). May change when a run is resumed.
        checkpoint_every: number of epochs between checkpoints. Initial and final weights are always saved.
        checkpoint_steps: number of steps between further checkpoints; None for none.
        measure_steps: measure the checkpoints of ``checkpoint_steps`` on every split, like those at the end of an
            epoch. Each measurement costs about a third of an epoch.
        engine: computation of loss and gradients. ``eager``: operation by operation, by autograd; ``compiled``: the
            network as one program made by ``torch.compile``, which takes up to minutes before the first step;
            ``captured``: forward and backward pass as one CUDA graph, on NVIDIA GPUs, for networks and losses that do
            the same at every step.

    Raises:
        ValueError: a value is out of range.
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
    engine: str = "eager"

    def __post_init__(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "seed": 0, "checkpoint_every": 1, "checkpoint_steps": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is None and name == "checkpoint_steps":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value < 2**63:
                raise ValueError(f"{name}: expected an integer of at least {smallest}, got {value!r}")
        find_schedule(self.schedule)
        if self.dtype not in _DTYPES:
            raise unknown("dtype", self.dtype, _DTYPES)
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        try:
            kind = torch.device(self.device).type
        except RuntimeError as error:
            raise ValueError(f"device: expected a name such as 'cpu' or 'cuda:0', got {self.device!r}") from error
        if self.engine == "captured" and kind != "cuda":
            raise ValueError(
                f"engine 'captured' needs an NVIDIA GPU, got device {self.device!r}: use device 'cuda', or engine "
                "'compiled', which runs on every device"
            )

    @property
    def weight_dtype(self) -> torch.dtype:
        """Type of the weights and of floating-point data."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def autocast(self) -> torch.dtype | None:
        """Type of the forward pass if it isn't that of the weights."""
        return _AUTOCAST.get(self.dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """Return the settings that :meth:`to_json` wrote; missing fields get defaults, unknown ones are ignored."""
        known = [field.name for field in fields(cls)]
        require_types(cls, values)
        return cls(**{name: value for name, value in values.items() if name in known})


_MILESTONES = (150 / 300, 225 / 300, 275 / 300)


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule.

    Attributes:
        factor: multiplier of the learning rate as a function of the completed fraction of the run, in [0, 1).
        every_step: True if the factor changes within an epoch, False if it holds from the first step to the last.
    """

    factor: Callable[[float], float]
    every_step: bool

    def at(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor of the step that follows ``step`` completed steps."""
        if self.every_step:
            return self.factor(step / (steps_per_epoch * epochs))
        return self.factor((step // steps_per_epoch) / epochs)


def _constant(done: float) -> float:
    return 1.0


def _step(done: float) -> float:
    # Powers by division: 0.1 ** 3 isn't the float nearest to what three divisions of 1 by ten give.
    return 1.0 / math.prod(10.0 for milestone in _MILESTONES if done >= milestone)


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES: Mapping[str, Schedule] = {
    "constant": Schedule(_constant, every_step=False),
    "step": Schedule(_step, every_step=False),
    "cosine": Schedule(_cosine, every_step=True),
}
"""Schedules by name. ``constant``; ``step``: divided by ten after 150, 225 and 275 of 300 epochs, as in Li et al.
(2018); ``cosine``: half a period of the cosine down to 0, changed at every step (Loshchilov and Hutter, 2017,
no restarts)."""


def find_schedule(name: str) -> Schedule:
    """Return the schedule called ``name``.

    Raises:
        ValueError: there is no such schedule; the message suggests the nearest and lists all.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    return SCHEDULES[name]
