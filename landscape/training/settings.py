"""What a training run is told beside its problem and its optimizer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from landscape.lookup import unknown
from landscape.training.schedules import schedule

_DTYPES = ("float32", "bfloat16", "float64")


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how to train.

    Attributes:
        epochs: passes over the training data; 0 leaves the initial weights as only checkpoint.
        batch_size: samples of a step; the last step of an epoch takes what is left over.
        schedule: of the learning rate: ``constant``, ``step`` or ``cosine`` (see ``landscape.training.schedules``).
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
