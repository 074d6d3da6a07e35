"""Planes along eigenvectors of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from landscape.evaluation.config import DTYPES, EvaluationConfig
from landscape.evaluation.derivatives import LossDerivatives
from landscape.evaluation.eigenpairs import find_eigenpairs, random_vector
from landscape.evaluation.point_derivatives import at_least_float32
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import SourceLike, SplitChoice, open_source

TOLERANCE = 1e-4
"""Largest residual of an eigenvector, relative to the largest magnitude of the spectrum."""
MAX_PRODUCTS = 2000


def hessian_plane(
    source: SourceLike,
    which: Sequence[int] = (1, 2),
    *,
    scale: str = "rise",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    evaluation: EvaluationConfig | None = None,
    problem: ProblemSpec | None = None,
    split: SplitChoice | None = None,
    samples: int | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Plane:
    """Return the plane along eigenvectors of the Hessian of the loss, around a network's weights.

    Each direction's recipe holds its eigenvalue and the residual. Directions of norm one are orthogonal to the
    precision of the weights. The sign makes the entry of largest magnitude positive.

    Args:
        source: a problem with weights in its model, a run, or the path of a run directory or checkpoint.
        which: for each axis, the number of an eigenvalue: 1 for the largest, 2 for the next, -1 for the smallest, which
            is the most negative one, and so on.
        scale: ``rise``: at coordinates 1 and -1, the second-order term of the loss is 1 (-1 for a negative
            eigenvalue); ``unit``: directions of norm one.
        only: patterns of parameter names; the Hessian is that with respect to these.
        freeze: patterns of parameter names that stay at the origin.
        evaluation: device, dtype, batch size, threads.
        problem: the problem of a checkpoint outside a run directory.
        split: the split whose loss is differentiated; the first one of several.
        samples: size of a fixed, class-balanced subset of the split.
        on_message: function called with a warning if an eigenvector has not converged, or if its eigenvalue cannot be
            distinguished from zero.

    Returns:
        A plane of as many axes as ``which`` has entries, on the CPU.

    Raises:
        ValueError: a number that is zero or repeated, more numbers than weights, or an eigenvalue of zero with
            ``scale="rise"``.
        DerivativeError: torch cannot differentiate the loss twice.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
    """
    opened = open_source(source, problem=problem, split=split, samples=samples).problem
    config = PlaneConfig(hessian=tuple(which), scale=scale, only=only, freeze=freeze)
    eigenvectors = Eigenvectors(opened, evaluation or EvaluationConfig(), config, on_message=on_message)
    return config.make_plane(opened.model, len(config.hessian or ()), eigenvectors)


@dataclass(frozen=True)
class Eigenvectors:
    """Eigenvectors of the Hessian at the present weights of a problem's model, as directions.

    Attributes:
        problem: model, data and loss.
        evaluation: device, dtype, batch size, threads.
        config: numbers of the eigenvectors, their scale, and the parameters that move.
        device: device of this process; by default that of ``evaluation``.
        on_message: function called with warnings.
    """

    problem: Problem
    evaluation: EvaluationConfig
    config: PlaneConfig
    device: str | None = None
    on_message: Callable[[str], None] | None = None

    def __call__(self, origin: Weights, which: Sequence[int]) -> list[Direction]:
        """Return one direction for each number in ``which``, in the layout of ``origin``."""
        split = next(iter(self.problem.splits))
        config = at_least_float32(self.evaluation)
        only, freeze = self.config.only, self.config.freeze
        derivatives = LossDerivatives(self.problem, config, split=split, only=only, freeze=freeze, device=self.device)
        upper, lower = max(0, *which), max(0, *(-number for number in which))
        if upper + lower > derivatives.n:
            raise ValueError(f"hessian: expected at most {derivatives.n} eigenvectors, got {upper + lower}")
        with derivatives:
            start = random_vector(derivatives.n, seed=0).to(derivatives.device, DTYPES[derivatives.config.dtype])
            found = find_eigenpairs(
                derivatives.hessian_product, start, upper, lower, tolerance=TOLERANCE, max_products=MAX_PRODUCTS, seed=0
            )
            rounding = torch.finfo(start.dtype).eps * float(np.abs(found.values).max())
            places = [number - 1 if number > 0 else upper + lower + number for number in which]
            return [
                self._direction(
                    origin,
                    {name: part.cpu() for name, part in derivatives.unflatten(_signed(found.vectors[place])).items()},
                    DirectionRecipe(
                        "hessian",
                        axis=axis,
                        eigenvector=which[axis],
                        eigenvalue=float(found.values[place]),
                        residual=float(found.residuals[place]),
                        scale=self.config.scale,
                    ),
                    bool(found.converged[place]),
                    rounding,
                )
                for axis, place in enumerate(places)
            ]

    def _direction(
        self,
        origin: Weights,
        tensors: dict[str, torch.Tensor],
        recipe: DirectionRecipe,
        converged: bool,
        rounding: float,
    ) -> Direction:
        value, residual = recipe.eigenvalue or 0.0, recipe.residual or 0.0
        name = f"eigenvector {recipe.eigenvector} of the Hessian (eigenvalue {value:.4g})"
        is_zero = abs(value) <= max(residual, rounding)
        if not converged:
            self._say(f"warning: {name} has not converged: its residual is {residual:.2g}")
        elif is_zero:
            self._say(f"warning: {name} cannot be distinguished from one of eigenvalue 0")
        factor = 1.0
        if self.config.scale == "rise":
            if is_zero:
                raise ValueError(f"hessian: {name} has no length at which the loss rises by one; use scale 'unit'")
            factor = (2 / abs(value)) ** 0.5
        direction = Direction.from_tensors(origin, {name: tensor * factor for name, tensor in tensors.items()})
        return Direction(direction.weights, recipe)

    def _say(self, text: str) -> None:
        if self.on_message is not None:
            self.on_message(text)


def _signed(vector: torch.Tensor) -> torch.Tensor:
    """Return the vector or its negative, whichever has its entry of largest magnitude positive."""
    return -vector if float(vector[vector.abs().argmax()]) < 0 else vector
