"""Descents in memory: every point of an optimizer on a problem with few parameters, and a search for learning rates.

The steps are those of :func:`landscape.training.train`, without the directory of a run: writing a checkpoint for each
step of a function of two variables would take a hundred times as long as the step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from landscape._utils.torch_state import preserve_random_state
from landscape.problem.arguments import parse_named
from landscape.problem.problem import Problem
from landscape.training.closure import NonFiniteBatch
from landscape.training.measure import measure
from landscape.training.optimizers import build, describe
from landscape.training.step import TrainingStep

MAX_PARAMETERS = 10_000
"""Maximum number of parameters of a descent, which are all kept for each step."""
SCORED_FRACTION = 0.25
"""Fraction of the steps, at the end, whose mean loss is the score of a learning rate."""


@dataclass(frozen=True)
class Descent:
    """The path of an optimizer.

    Attributes:
        optimizer: name and arguments as text, ``sgd:lr=0.1``.
        points: all parameters in order, before the first step and after each, ``(n + 1, p)`` float64.
        losses: loss over all samples at these points, ``(n + 1,)`` float64.
        diverged: True if the descent ended early because the loss was not finite; only earlier points are kept.
    """

    optimizer: str
    points: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    diverged: bool = False

    def __len__(self) -> int:
        return len(self.points)


def descend(problem: Problem, optimizer: str, steps: int, *, seed: int = 0, batch_size: int = 1) -> Descent:
    """Take ``steps`` optimizer steps on a copy of the problem's model.

    Args:
        problem: problem with a split ``train`` and at most :data:`MAX_PARAMETERS` trainable parameters.
        optimizer: a name, alone or with arguments; see :func:`landscape.training.optimizers.find`.
        steps: number of steps.
        seed: random seed of the data order, as in ``TrainingSettings``.
        batch_size: number of samples per step; the last step of an epoch takes the remainder.

    Raises:
        ValueError: there are too many parameters, or the optimizer is unknown or cannot train this model.
    """
    model = copy.deepcopy(problem.model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not 0 < (count := sum(parameter.numel() for parameter in parameters)) <= MAX_PARAMETERS:
        raise ValueError(
            f"expected 1 to {MAX_PARAMETERS:,} parameters, got {count:,}; use landscape.training.train for more"
        )
    split = problem.splits["train"]
    take_step = TrainingStep(
        replace(problem, model=model),
        build(optimizer, parameters),
        name=describe(optimizer).name,
        batch_size=batch_size,
        seed=seed,
    )
    points, losses = [_flat(parameters)], [measure(model, split, problem.loss, {})["loss"]]
    diverged = False
    with preserve_random_state(parameters[0].device):
        for step in range(steps):
            try:
                take_step(step)
            except NonFiniteBatch:
                diverged = True
                break
            loss = measure(model, split, problem.loss, {})["loss"]
            if not math.isfinite(loss):
                diverged = True
                break
            points.append(_flat(parameters))
            losses.append(loss)
    return Descent(optimizer, np.array(points), np.array(losses), diverged)


@dataclass(frozen=True)
class RateSearch:
    """A random search for a learning rate: log-uniform between two bounds, with the same draws for every optimizer.

    Attributes:
        trials: number of learning rates.
        low: lower bound.
        high: upper bound.
        seed: random seed of the draws.
    """

    trials: int = 20
    low: float = 1e-5
    high: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1 or not 0 < self.low < self.high:
            raise ValueError(
                f"expected at least one trial and 0 < low < high, "
                f"got trials={self.trials}, low={self.low:g}, high={self.high:g}"
            )

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Learning rates ``(trials,)``, rounded to three digits so that figures can state the exact values."""
        uniform = np.random.RandomState(self.seed).random_sample(self.trials)
        rates = np.exp(np.log(self.low) + uniform * np.log(self.high / self.low))
        return np.array([float(f"{rate:.3g}") for rate in rates])

    def __str__(self) -> str:
        return (
            f"learning rates: best of {self.trials} for each optimizer, log-uniform from {self.low:g} to {self.high:g} "
            f"(seed {self.seed}), by the mean loss over the last {SCORED_FRACTION:.0%} of the steps"
        )


def tune(
    problem: Problem,
    optimizer: str,
    steps: int,
    search: RateSearch,
    *,
    seed: int = 0,
    batch_size: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Find the best learning rate of ``optimizer``.

    The score of a rate is the mean loss over the last quarter of the steps; a descent that diverges has none.

    Args:
        problem: problem to descend on, as in :func:`descend`.
        optimizer: a name, alone or with arguments other than ``lr``.
        steps: number of steps of each descent.
        search: learning rates to try.
        seed: random seed of the data order.
        batch_size: number of samples per step.
        progress: called after each trial with the numbers of completed trials and of all trials.

    Returns:
        ``optimizer`` with the best learning rate and its other arguments.

    Raises:
        ValueError: the optimizer has no argument ``lr`` or one was given, or it diverges with all rates.
    """
    candidates = [_with_rate(optimizer, rate) for rate in search.rates]
    scores = []
    for done, text in enumerate(candidates):
        descent = descend(problem, text, steps, seed=seed, batch_size=batch_size)
        tail = descent.losses[-max(1, round(SCORED_FRACTION * steps)) :]
        scores.append(math.inf if descent.diverged else float(tail.mean()))
        progress(done + 1, len(candidates))
    if not math.isfinite(min(scores)):
        raise ValueError(
            f"{optimizer} diverges with each of {search.trials} learning rates from {search.low:g} to {search.high:g}"
        )
    return candidates[int(np.argmin(scores))]


def _with_rate(optimizer: str, rate: float) -> str:
    name, arguments = parse_named(optimizer)
    if "lr" in arguments:
        raise ValueError(f"{optimizer} sets the learning rate that is to be searched for; drop lr or the search")
    rest = optimizer[len(name) :].removeprefix(":")
    return f"{name}:lr={rate:g}" + (f",{rest}" if rest else "")


def _flat(parameters: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
    flat = torch.cat([p.detach().reshape(-1).to("cpu", torch.float64) for p in parameters])
    return np.array(flat.numpy(), dtype=np.float64)
