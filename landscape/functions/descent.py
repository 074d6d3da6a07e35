"""Descents in memory: every point of an optimizer on a problem of a few parameters, and learning rates found by search.

The steps are those of :func:`landscape.training.train`, bit for bit, without a run's folder: a checkpoint for each step
of a function of two variables would cost a hundred times the step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from landscape._utils.torch_state import preserve_random_state
from landscape.problem.arguments import parse_named
from landscape.problem.problem import Problem
from landscape.training.measure import measure
from landscape.training.optimizers import build, describe
from landscape.training.step import NonFiniteBatch, TrainingStep

LARGEST = 10_000
"""Parameters that a descent keeps of each step at most."""
SCORED = 0.25
"""The share of the steps, at the end, whose mean loss is what a learning rate is judged by."""


@dataclass(frozen=True)
class Descent:
    """Where an optimizer went.

    Attributes:
        optimizer: as it was asked for, ``sgd:lr=0.1``.
        points: ``(n + 1, p)`` float64: all parameters, in order, before the first step and after each.
        losses: ``(n + 1,)`` float64: of all samples, at these points.
        diverged: whether it ended early because the loss was no longer finite; the points are those before.
    """

    optimizer: str
    points: np.ndarray
    losses: np.ndarray
    diverged: bool = False

    def __len__(self) -> int:
        return len(self.points)


def descend(problem: Problem, optimizer: str, steps: int, *, seed: int = 0, batch_size: int = 1) -> Descent:
    """Take ``steps`` steps from where the problem's model stands, which itself stays there.

    Args:
        problem: with a split ``train`` and at most :data:`LARGEST` parameters.
        optimizer: a name, alone or with arguments; see :func:`landscape.training.optimizers.find`.
        steps: how many.
        seed: of the order of the samples, as in ``TrainingSettings``.
        batch_size: samples of a step; a pass over the data ends with what is left over.

    Raises:
        ValueError: too many parameters, or the optimizer is unknown or refuses them.
    """
    model = copy.deepcopy(problem.model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not 0 < (count := sum(parameter.numel() for parameter in parameters)) <= LARGEST:
        raise ValueError(f"1 to {LARGEST:,} parameters expected, got {count:,}: landscape.training.train keeps larger")
    built = build(optimizer, parameters)
    split = problem.splits["train"]
    take_step = TrainingStep(
        replace(problem, model=model), built, name=describe(optimizer).name, batch_size=batch_size, seed=seed
    )
    points, losses = [_flat(parameters)], [measure(model, split, problem.loss, {})["loss"]]
    with preserve_random_state(parameters[0].device):
        for step in range(steps):
            try:
                take_step(step)
            except NonFiniteBatch:
                return Descent(optimizer, np.array(points), np.array(losses), diverged=True)
            loss = measure(model, split, problem.loss, {})["loss"]
            if not math.isfinite(loss):
                return Descent(optimizer, np.array(points), np.array(losses), diverged=True)
            points.append(_flat(parameters))
            losses.append(loss)
    return Descent(optimizer, np.array(points), np.array(losses))


@dataclass(frozen=True)
class Search:
    """How a learning rate is looked for: draws between two bounds, uniform in the logarithm, the same for everybody.

    Attributes:
        trials: how many learning rates are tried.
        low: the smallest.
        high: the largest.
        seed: of the draws.
    """

    trials: int = 20
    low: float = 1e-5
    high: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1 or not 0 < self.low < self.high:
            raise ValueError(
                f"at least one trial and 0 < low < high expected, got {self.trials}, {self.low:g} and {self.high:g}"
            )

    @property
    def rates(self) -> np.ndarray:
        """``(trials,)``: the learning rates, of three digits each, so that what a figure says is what was used."""
        shares = np.random.RandomState(self.seed).random_sample(self.trials)
        drawn = np.exp(np.log(self.low) + shares * np.log(self.high / self.low))
        return np.array([float(f"{rate:.3g}") for rate in drawn])

    def __str__(self) -> str:
        return (
            f"learning rates: the best of {self.trials} for each optimizer, drawn log-uniformly from {self.low:g} to "
            f"{self.high:g} (seed {self.seed}), by the mean over the last {SCORED:.0%} of the steps"
        )


def tune(
    problem: Problem,
    optimizer: str,
    steps: int,
    search: Search,
    *,
    seed: int = 0,
    batch_size: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """``optimizer`` with the best learning rate of a search; what else it was given stays.

    The score of a rate is the mean loss over the last quarter of its points. One that diverges has none.

    Raises:
        ValueError: the optimizer refuses a learning rate ``lr``, or diverges with all of them.
    """
    named = [_with_rate(optimizer, rate) for rate in search.rates]
    scores = []
    for done, text in enumerate(named):
        descent = descend(problem, text, steps, seed=seed, batch_size=batch_size)
        tail = descent.losses[-max(1, round(SCORED * steps)) :]
        scores.append(math.inf if descent.diverged else float(tail.mean()))
        progress(done + 1, len(named))
    if not math.isfinite(min(scores)):
        raise ValueError(f"{optimizer} diverges with each of {search.trials} learning rates from {search.low:g} on")
    return named[int(np.argmin(scores))]


def _with_rate(optimizer: str, rate: float) -> str:
    name, arguments = parse_named(optimizer)
    if "lr" in arguments:
        raise ValueError(f"{optimizer}: a learning rate is given and to be searched; leave one of the two out")
    rest = optimizer[len(name) :].removeprefix(":")
    return f"{name}:lr={rate:g}" + (f",{rest}" if rest else "")


def _flat(parameters: Sequence[torch.Tensor]) -> np.ndarray:
    return torch.cat([p.detach().reshape(-1).to("cpu", torch.float64) for p in parameters]).numpy().copy()
