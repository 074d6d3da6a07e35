"""A function as a problem: a model with one or two parameters whose loss is the function.

Everything that works for networks works for it: optimizers, runs, trajectories, planes, surfaces and figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from landscape.functions.catalogue import find_function, with_maximize
from landscape.functions.function import Function
from landscape.problem.problem import Problem, Split

AXES = ("x", "y")
"""Names of the variables."""


class FunctionModel(nn.Module):
    """A model whose parameters ``x`` (and ``y``) are the variables of a function.

    A sample is a slope ``(variables,)``: its output is the value of the function (or its negative, to maximize) plus
    the inner product of slope and point. The slopes of a data set add up to zero, so the mean over samples is the
    function itself, and the gradient on a sample is that of the function plus noise of mean zero.
    """

    def __init__(self, function: Function, start: Sequence[float]) -> None:
        super().__init__()
        function.check(start)
        self.function = function
        for name, value in zip(AXES, start, strict=False):
            self.register_parameter(name, nn.Parameter(torch.tensor(float(value), dtype=torch.float64)))

    def point(self) -> list[Tensor]:
        """Return the variables as scalars."""
        return list(self.parameters())

    def forward(self, slopes: Tensor) -> Tensor:
        """Return values ``(batch,)`` for slopes ``(batch, variables)``."""
        point = self.point()
        value = self.function(*point)
        value = -value if self.function.maximize else value
        # Not as a product with the point: 0 * inf at a diverged point would be NaN where the value is infinite.
        if not slopes.any():
            return value.expand(len(slopes))
        return value + sum(slope * variable for slope, variable in zip(slopes.unbind(1), point, strict=True))


def value(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the outputs: the loss is the value that the model returns."""
    return outputs


def problem(
    function: str,
    start: Sequence[float] | float | None = None,
    noise: float = 0.0,
    draws: int = 1,
    maximize: bool | None = None,
    noise_seed: int = 0,
) -> Problem:
    """Build the problem of a function from plain values.

    Args:
        function: a name, reference or formula; see :func:`landscape.functions.catalogue.find_function`.
        start: initial values of the parameters; the usual start of the function by default.
        noise: variance of each component of the gradient on a single sample, exact over the data set. On a batch of
            ``n`` samples it is divided by ``n``. The mean gradient is that of the function.
        draws: number of samples in the data set. Without noise they are all equal.
        maximize: True to take the negative of the function as loss; by default as the function says.
        noise_seed: random seed of the noise.

    Raises:
        ValueError: the function is unknown, ``start`` has another number of coordinates, the variance is negative, or
            there are fewer than two draws of noise.
    """
    found = find_function(function)
    if maximize is not None:
        found = with_maximize(found, maximize)
    start = found.start if start is None else (start,) if isinstance(start, int | float) else tuple(start)
    if not noise >= 0 or draws < 1:
        raise ValueError(f"expected a variance of at least 0 and at least one draw, got {noise} and {draws}")
    slopes = torch.from_numpy(_noise(noise, draws, found.variables, noise_seed))
    return Problem(
        FunctionModel(found, start),
        {"train": Split(slopes, torch.zeros(draws, dtype=torch.int64))},
        value,
        description={"formula": found.formula, "maximized": found.maximize},
    )


def _noise(variance: float, draws: int, variables: int, seed: int) -> npt.NDArray[np.float64]:
    """Draw normal numbers ``(draws, variables)`` with mean zero and exactly this variance over the draws."""
    if not variance:
        return np.zeros((draws, variables))
    if draws < 2:
        raise ValueError(f"expected at least two draws of noise, got {draws}: a single one cannot have mean zero")
    normal: npt.NDArray[np.float64] = np.random.RandomState(seed).standard_normal((draws, variables))
    normal -= normal.mean(axis=0)
    return np.asarray(normal * np.sqrt(variance / (normal**2).mean(axis=0)))
