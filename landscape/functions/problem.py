"""A function as a problem: a model of one or two parameters whose loss is the function.

Everything that works on networks works on it: optimizers, runs, trajectories, planes, surfaces and figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.functions.catalogue import find_function, turned
from landscape.functions.function import Function
from landscape.problem.problem import Problem, Split

REFERENCE = "landscape.functions.problem:problem"
"""How a run remembers such a problem."""
AXES = ("x", "y")


class FunctionModel(nn.Module):
    """A model whose parameters ``x`` (and ``y``) are the variables of a function.

    A sample is a slope ``(variables,)`` that is added to the function: its output is the function's value (or its
    negative, to climb) plus the slope times the point. The slopes of a data set add up to zero, so that their mean is
    the function itself, and the gradient on a sample is that of the function plus noise whose mean is zero.
    """

    def __init__(self, function: Function, start: Sequence[float]) -> None:
        super().__init__()
        function.check(start)
        self.function = function
        for name, value in zip(AXES, start, strict=False):
            self.register_parameter(name, nn.Parameter(torch.tensor(float(value), dtype=torch.float64)))

    def point(self) -> list[Tensor]:
        """The variables, as scalars."""
        return list(self.parameters())

    def forward(self, slopes: Tensor) -> Tensor:
        """Slopes ``(batch, variables)`` to values ``(batch,)``."""
        point = self.point()
        value = self.function(*point)
        value = -value if self.function.maximize else value
        # Not through a product with the point: 0 * inf at a diverged point would be NaN where the value is infinite.
        if not slopes.any():
            return value.expand(len(slopes))
        return value + sum(slope * variable for slope, variable in zip(slopes.unbind(1), point, strict=True))


def value(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss: what the model returns is what is to be minimized."""
    return outputs


def problem(
    function: str,
    start: Sequence[float] | float | None = None,
    noise: float = 0.0,
    draws: int = 1,
    maximize: bool | None = None,
    noise_seed: int = 0,
) -> Problem:
    """A function as a problem, from plain values.

    Args:
        function: a name, a reference or a formula; see :func:`landscape.functions.catalogue.find_function`.
        start: where the model stands at first; the function's usual start by default.
        noise: variance of the gradient on a single sample, of each of its components. It is exact over the data set: a
            batch of ``n`` samples has the n-th part of it. The gradient's mean is that of the function.
        draws: samples in the data set. Without noise they are all alike.
        maximize: whether the loss is the negative of the function; as the function says by default.
        noise_seed: of the draws.

    Raises:
        ValueError: no such function, a start of another number of coordinates, a variance below 0, or fewer than two
            draws of noise.
    """
    found = find_function(function)
    if maximize is not None:
        found = turned(found, maximize)
    start = found.start if start is None else (start,) if isinstance(start, int | float) else tuple(start)
    if not noise >= 0 or draws < 1:
        raise ValueError(f"a variance of 0 or more and at least one draw expected, got {noise} and {draws}")
    slopes = torch.from_numpy(_noise(noise, draws, found.variables, noise_seed))
    return Problem(
        FunctionModel(found, start),
        {"train": Split(slopes, torch.zeros(draws, dtype=torch.int64))},
        value,
        description={"formula": found.formula, "maximized": found.maximize},
    )


def _noise(variance: float, draws: int, variables: int, seed: int) -> np.ndarray:
    """``(draws, variables)`` normal numbers whose mean is zero and whose variance over the draws is exactly that."""
    if not variance:
        return np.zeros((draws, variables))
    if draws < 2:
        raise ValueError(f"at least two draws of noise expected, got {draws}: one alone has no mean of zero")
    drawn = np.random.RandomState(seed).standard_normal((draws, variables))
    drawn -= drawn.mean(axis=0)
    return drawn * np.sqrt(variance / (drawn**2).mean(axis=0))
