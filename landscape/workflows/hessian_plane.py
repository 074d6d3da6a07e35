"""Planes along eigenvectors of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from landscape._utils.trust import trusting
from landscape._utils.typed import chosen
from landscape.analysis.curvature.file import read_curvature
from landscape.errors import StoreError
from landscape.evaluation.config import DTYPES, EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.derivatives.eigenpairs import find_eigenpairs, random_vector
from landscape.evaluation.derivatives.points import at_least_float32
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.problem.given import ProblemLike, spec_of
from landscape.problem.problem import Problem
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import PathName, SourceLike, SplitChoice, open_source

TOLERANCE = 1e-4
"""Largest residual of an eigenvector, relative to the largest magnitude of the spectrum."""
MAX_PRODUCTS = 2000


def hessian_plane(
    source: SourceLike,
    which: int | Sequence[int] = (1, 2),
    *,
    scale: str = "rise",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    curvature_file: PathName | None = None,
    evaluation: EvaluationConfig | None = None,
    problem: ProblemLike | None = None,
    split: SplitChoice | None = None,
    samples: int | None = None,
    trust: bool = False,
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
        only: patterns of parameter names, or ``trainable`` for those that require gradients; the Hessian is that
            with respect to these.
        freeze: patterns of parameter names that stay at the origin.
        curvature_file: curvature file of the same weights to take eigenvectors from; by default they are computed.
        evaluation: device, dtype, batch size, threads.
        problem: the problem of a checkpoint outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        split: the split whose loss is differentiated; the first one of several.
        samples: size of a fixed, class-balanced subset of the split.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        on_message: function called with a warning if an eigenvector has not converged, or if its eigenvalue cannot be
            distinguished from zero.

    Returns:
        A plane of as many axes as ``which`` has entries, on the CPU.

    Raises:
        ValueError: a number that is zero or repeated, more numbers than weights, or an eigenvalue of zero with
            ``scale="rise"``.
        DerivativeError: torch cannot differentiate the loss twice.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
        StoreError: the curvature file cannot be read, or is one of other weights.
        UntrustedCodeError: the run names code, and ``trust`` is not set.
    """
    which = (which,) if isinstance(which, int) else tuple(which)
    if not which:
        raise ValueError("which: expected one to three numbers of eigenvalues, got none")
    with trusting(trust):
        opened = open_source(source, problem=spec_of(problem), split=split, samples=samples).problem
    config = PlaneConfig(hessian=which, scale=scale, only=only, freeze=freeze, curvature_file=curvature_file)
    evaluation = chosen("evaluation", evaluation, EvaluationConfig)
    eigenvectors = Eigenvectors(opened, evaluation, config, on_message=on_message)
    return config.make_plane(opened.model, len(config.hessian or ()), eigenvectors)


@dataclass(frozen=True)
class _Pair:
    """An eigenpair: tensors of norm one by name, the eigenvalue, and how exact they are."""

    tensors: Mapping[str, torch.Tensor]
    value: float
    residual: float
    converged: bool


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
        pairs = self._computed(which) if self.config.curvature_file is None else self._stored(origin, which)
        file = None if self.config.curvature_file is None else str(Path(self.config.curvature_file).resolve())
        return [
            self._direction(origin, pair, axis, number, file)
            for axis, (number, pair) in enumerate(zip(which, pairs, strict=True))
        ]

    def _computed(self, which: Sequence[int]) -> Iterator[_Pair]:
        """Yield eigenpairs of the Hessian at the present weights."""
        split = self.problem.first_split
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
            for number in which:
                place = number - 1 if number > 0 else upper + lower + number
                vector = found.vectors[place]
                if float(vector[vector.abs().argmax()]) < 0:
                    vector = -vector
                tensors = {name: part.cpu() for name, part in derivatives.unflatten(vector).items()}
                values = float(found.values[place]), max(float(found.residuals[place]), rounding)
                yield _Pair(tensors, *values, bool(found.converged[place]))

    def _stored(self, origin: Weights, which: Sequence[int]) -> Iterator[_Pair]:
        """Yield eigenpairs of a curvature file, after checking that it is one of these weights."""
        path = self.config.curvature_file
        assert path is not None
        curvature = read_curvature(path)
        if curvature.config.matrix != "hessian":
            raise ValueError(f"{path}: expected eigenvectors of the Hessian, got those of {curvature.config.matrix}")
        weights = Weights.from_model(self.problem.model)
        if curvature.metadata.settings.get("weights") != weights.digest():
            raise StoreError(
                f"{path}: its eigenvectors are those of other weights; compute the curvature of this network"
            )
        chosen = (tuple(self.config.only), tuple(self.config.freeze))
        if any(chosen) and chosen != (curvature.config.only, curvature.config.freeze):
            raise ValueError(f"{path}: expected eigenvectors of the parameters that may move, got those of others")
        for number in which:
            end: Literal["largest", "smallest"] = "largest" if number > 0 else "smallest"
            index = abs(number) - 1
            tensors = curvature.tensors(index, end)
            values, residuals, converged = (
                (curvature.eigenvalues, curvature.residuals, curvature.converged)
                if number > 0
                else (curvature.smallest_eigenvalues, curvature.smallest_residuals, curvature.smallest_converged)
            )
            yield _Pair(tensors, float(values[index]), float(residuals[index]), bool(converged[index]))

    def _direction(self, origin: Weights, pair: _Pair, axis: int, number: int, file: str | None) -> Direction:
        name = f"eigenvector {number} of the Hessian (eigenvalue {pair.value:.4g})"
        is_zero = abs(pair.value) <= pair.residual
        if not pair.converged:
            self._say(f"warning: {name} has not converged: its residual is {pair.residual:.2g}")
        elif is_zero:
            self._say(f"warning: {name} cannot be distinguished from one of eigenvalue 0")
        factor = 1.0
        if self.config.scale == "rise":
            if is_zero:
                raise ValueError(f"hessian: {name} has no length at which the loss rises by one; use scale 'unit'")
            factor = (2 / abs(pair.value)) ** 0.5
        direction = Direction.from_tensors(origin, {key: tensor * factor for key, tensor in pair.tensors.items()})
        recipe = DirectionRecipe(
            "hessian", axis=axis, file=file, eigenvector=number, eigenvalue=pair.value, residual=pair.residual,
            scale=self.config.scale,
        )  # fmt: skip
        return Direction(direction.weights, recipe)

    def _say(self, text: str) -> None:
        if self.on_message is not None:
            self.on_message(text)
