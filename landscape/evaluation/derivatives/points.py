"""Derivatives of the loss at points of a plane: slopes, the gradient's share within it, and extreme eigenvalues."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape.evaluation.config import DTYPES, DerivativeConfig, EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.derivatives.eigenpairs import Eigenpairs, find_eigenpairs, random_vector
from landscape.geometry.normalization import ignored_names
from landscape.geometry.placement import movable_on
from landscape.geometry.plane import Plane
from landscape.geometry.quadratic import QuadraticModel, within_plane
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem

_Array = npt.NDArray[np.float64]

GRADIENT = ("gradient_norm", "gradient_share")
"""Names of the values of a gradient, besides the slope along each axis."""
CURVATURE = ("min_eig", "max_eig", "eig_ratio", "min_eig_residual", "max_eig_residual", "hessian_products")
"""Names of the values of the Hessian. The first two are those of the published files."""


def derivative_names(config: DerivativeConfig, axes: int) -> tuple[str, ...]:
    """Return the names of the values at a point, in order."""
    slopes = tuple(f"slope_{axis}" for axis in "xyz"[:axes])
    return (*(slopes + GRADIENT if config.gradient else ()), *(CURVATURE if config.curvature else ()))


class PointDerivatives:
    """Derivatives of the loss at the present weights of a model, as values of a surface.

    Args:
        derivatives: derivatives of the loss of a split with respect to all parameters, open; the model is at the origin
            of the plane.
        plane: the plane, on the device.
        config: derivatives to compute.

    Attributes:
        names: names of the values: ``slope_x`` and so on, per unit of the coordinate; ``gradient_norm``;
            ``gradient_share``, the norm of the part of the gradient within the plane over that of the gradient, not
            squared; ``min_eig`` and ``max_eig``, the smallest and the largest eigenvalue of the Hessian; ``eig_ratio``,
            ``|min_eig / max_eig|``; the residuals of both; and ``hessian_products``, the number of products they took.

    Raises:
        ValueError: the plane moves running statistics, in which torch has no derivative.
    """

    def __init__(self, derivatives: LossDerivatives, plane: Plane, config: DerivativeConfig) -> None:
        self._derivatives, self._plane, self._config = derivatives, plane, config
        self.names = derivative_names(config, plane.ndim)
        moved = [
            name
            for name in plane.origin.tensors
            if name in plane.origin.buffers
            and any(bool(direction.weights.tensors[name].any()) for direction in plane.directions)
        ]
        if moved and config.gradient:
            raise ValueError(
                f"gradient: expected a plane that leaves running statistics at the origin, but this one moves "
                f"{moved[0]}, in which torch has no derivative; make the plane with states=False"
            )
        self._start: Tensor | None = None
        self._mask: Tensor | None = None
        if config.curvature:
            ignored = ignored_names(Weights(_live(derivatives)), config.ignore) if config.ignore != "none" else ()
            if ignored:
                kept = {name: shape for name, shape in derivatives.parameters.items() if name not in ignored}
                self._mask = derivatives.flatten({name: torch.ones(shape) for name, shape in kept.items()})
            self._start = self._warm_start()

    def __call__(self) -> _Array:
        """Return the values at the present weights, ``(len(names),)``; NaN where a derivative is not finite."""
        values = [_gradient(self._derivatives, self._plane)] if self._config.gradient else []
        if self._config.curvature:
            values.append(self._curvature())
        return np.concatenate(values)

    def unknown(self) -> _Array:
        """Return the values of a point that was abandoned: NaN."""
        return np.full(len(self.names), np.nan)

    def _curvature(self) -> _Array:
        assert self._start is not None
        found = self._extremes(self._start)
        largest, smallest = found.values
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = abs(np.divide(smallest, largest))
        return np.array([smallest, largest, ratio, *found.residuals[::-1], found.products])

    def _extremes(self, start: Tensor) -> Eigenpairs:
        def product(vector: Tensor) -> Tensor:
            image = self._derivatives.hessian_product(vector)
            if self._mask is not None:
                image *= self._mask
            return image

        config = self._config
        return find_eigenpairs(
            product, start, tolerance=config.tolerance, max_products=config.max_products, relative=True
        )

    def _warm_start(self) -> Tensor:
        """Return the vector from which the process begins at every point: the same one, whatever their order.

        It is the sum of both eigenvectors at the origin and a random vector of the same norm. Beginning with these
        saves half of the products next to the origin and few elsewhere: on resnet56, 23 against 10, 19 against 17, 22
        against 21, 19 against 21. The random vector makes sure that no direction is missed.
        """
        random = random_vector(self._derivatives.n, seed=0).to(self._derivatives.device)
        if self._mask is not None:
            random *= self._mask
        random = random.div_(float(torch.linalg.vector_norm(random))).to(DTYPES[self._derivatives.config.dtype])
        found = self._extremes(random)
        return random.add_(found.vectors.sum(0)) if np.isfinite(found.values).all() else random


def _live(derivatives: LossDerivatives) -> dict[str, Tensor]:
    """Return the tensors with respect to which the loss is differentiated, by name."""
    parameters = dict(derivatives.model.named_parameters(remove_duplicate=False))
    return {name: parameters[name] for name in derivatives.parameters}


def _slopes(derivatives: LossDerivatives, gradient: Tensor, plane: Plane) -> _Array:
    """Return the derivative along each axis, ``(axes,)``; directions are read tensor by tensor."""
    parts = derivatives.unflatten(gradient)
    return np.array(
        [
            sum(float((part * direction.weights.tensors[name].to(part.device)).sum()) for name, part in parts.items())
            for direction in plane.directions
        ]
    )


def _gradient(derivatives: LossDerivatives, plane: Plane) -> _Array:
    """Return slopes, norm and share of the gradient at the present weights, ``(axes + 2,)``."""
    _, gradient = derivatives.gradient()
    slopes, norm = _slopes(derivatives, gradient, plane), float(torch.linalg.vector_norm(gradient))
    _, inside = within_plane(slopes, plane.gram)
    return np.array([*slopes, norm, float(inside) / norm if norm else math.nan])


def gradient_of(problem: Problem, plane: Plane, config: EvaluationConfig | None = None) -> _Array:
    """Return the gradient of the loss of the first split at the present weights of a model, seen from a plane.

    Returns:
        The slope along each axis, the norm of the gradient, and its share within the plane, ``(axes + 2,)``.
    """
    split = problem.first_split
    with LossDerivatives(problem, config, split=split) as derivatives:
        return _gradient(derivatives, plane)


def quadratic_model(
    problem: Problem, plane: Plane, config: EvaluationConfig, device: torch.device | str | None = None
) -> QuadraticModel:
    """Return the quadratic model of the loss of the first split at the origin of a plane.

    It takes one gradient and one product with the Hessian for each axis. The model of the problem is restored.

    Args:
        problem: model, data and loss.
        plane: origin and directions.
        config: settings of the evaluation; types below float32 become float32.
        device: device of this process; by default that of ``config``.

    Raises:
        DerivativeError: torch cannot differentiate the loss twice.
    """
    split = problem.first_split
    with (
        LossDerivatives(problem, at_least_float32(config), split=split, device=device) as derivatives,
        movable_on(problem.model, plane) as set_coordinates,
    ):
        set_coordinates((0.0,) * plane.ndim)
        loss, gradient = derivatives.gradient()
        directions = [derivatives.flatten(dict(direction.weights)) for direction in plane.directions]
        images = [derivatives.hessian_product(direction) for direction in directions]
        hessian = np.array([[float(image @ direction) for direction in directions] for image in images])
        return QuadraticModel(loss, _slopes(derivatives, gradient, plane), (hessian + hessian.T) / 2, plane.gram)


def at_least_float32(config: EvaluationConfig) -> EvaluationConfig:
    """Return the settings for derivatives beside an evaluation of the loss in a lower precision."""
    return replace(config.plain, dtype="float32") if config.dtype in ("bfloat16", "float16") else config.plain
