"""Learning-rate schedules by name: a factor on the optimizer's own learning rate over the course of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from landscape.lookup import unknown

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
