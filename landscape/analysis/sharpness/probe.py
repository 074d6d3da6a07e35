"""Measurements around one point in weight space: values of each sample nearby, gradients, and facts for comparisons."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape._utils.state_dict import full_state_dict
from landscape._utils.torch_compat import NormBase
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem

SampleValues: TypeAlias = Callable[[Sequence[Sequence[float]]], NDArray[np.float64]]
GROUP = 3
"""Directions that are evaluated over one plane; opening an evaluator costs about as much as an evaluation."""


@dataclass(frozen=True)
class Facts:
    """Facts that must agree for two measurements to be comparable, or for one to be resumed.

    Attributes:
        weights: digest of the parameters.
        fixed: digest of all other tensors of the network: running statistics and constants.
        data: digest of each split.
        samples: number of samples of the measured split.
        layout: digest of the names and shapes of the parameters.
        parameters: number of weights.
        batch_norm: True if the network has layers with running statistics.
        loss: name of the loss function.
    """

    weights: str
    fixed: str
    data: dict[str, str]
    samples: int
    layout: str
    parameters: int
    batch_norm: bool
    loss: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dict(vars(self))


class Probe:
    """A network at its present weights, for measurements around them.

    Args:
        problem: model, data, loss and metrics; the model is restored bit for bit after every call.
        evaluation: settings of the evaluation; running statistics must be those of the checkpoint.
        device: device of this process with its index; by default that of ``evaluation``.

    Attributes:
        problem: the problem.
        split: name of the split that is measured: the first one.
        origin: the parameters, on the CPU.
        samples: number of samples of the measured split.

    Raises:
        ValueError: ``evaluation`` re-estimates running statistics at each point.
    """

    def __init__(self, problem: Problem, evaluation: EvaluationConfig, device: str | None = None) -> None:
        if evaluation.bn == "recalibrate":
            raise ValueError(
                "bn: expected 'checkpoint': gradients and perturbations are defined at fixed running statistics; leave "
                "'recalibrate' to surfaces"
            )
        self.problem, self.split = problem, problem.first_split
        self.origin = Weights.from_model(problem.model).to("cpu")
        self.samples = len(problem.splits[self.split])
        self._evaluation = replace(evaluation, paired=False, stop_above=None, derivatives=None)
        self._device = device

    @property
    def facts(self) -> Facts:
        """Digests and properties of network and data."""
        problem, state = self.problem, full_state_dict(self.problem.model)
        fixed = Weights({name: state[name].detach() for name in state if name not in self.origin.tensors})
        shapes = repr([(name, tuple(tensor.shape)) for name, tensor in self.origin])
        return Facts(
            weights=self.origin.digest(),
            fixed=fixed.digest(),
            data={name: split.digest() for name, split in problem.splits.items()},
            samples=self.samples,
            layout=hashlib.sha256(shapes.encode()).hexdigest(),
            parameters=self.origin.numel,
            batch_norm=any(isinstance(m, NormBase) and m.track_running_stats for m in problem.model.modules()),
            loss=getattr(problem.loss, "__name__", type(problem.loss).__name__),
        )

    @contextmanager
    def opened(
        self, directions: Sequence[Direction], measure: str = "loss", split: str | None = None
    ) -> Iterator[SampleValues]:
        """Yield a function from points over one to three directions to the values of each sample.

        Its argument is a sequence of points, its result ``(points, samples)``. A measure without a value per sample
        gives one column with its mean.
        """
        split = split or self.split
        metrics = {} if measure == "loss" else {measure: self.problem.metrics[measure]}
        splits = {split: self.problem.splits[split]}
        problem = replace(self.problem, splits=splits, metrics=metrics, evaluate=None)
        plane = Plane(self.origin, tuple(directions))
        with open_evaluator(problem, plane, self._evaluation, self._device) as evaluate:
            yield partial(evaluate.sample_values, split=split, measure=measure)

    def values(
        self,
        directions: Sequence[Direction],
        points: Sequence[Sequence[float]],
        measure: str = "loss",
        split: str | None = None,
    ) -> NDArray[np.float64]:
        """Return the values of each sample at points over one to three directions, ``(points, samples)``."""
        with self.opened(directions, measure, split) as evaluate:
            return evaluate(points)

    def along(self, directions: Sequence[Direction], radii: Sequence[float]) -> NDArray[np.float64]:
        """Return the losses of each sample at distances along directions, ``(directions, radii, samples)``."""
        count = len(directions)
        points = [tuple(r if k == j else 0.0 for j in range(count)) for k in range(count) for r in radii]
        found = self.values(directions, points)
        return found.reshape(count, len(radii), -1)

    def at_origin(self, measure: str = "loss", split: str | None = None) -> NDArray[np.float64]:
        """Return the values of each sample at the weights themselves, ``(1, samples)``."""
        return self.values([self.direction(self.flat_weights())], [(0.0,)], measure, split)

    def derivatives(self, split: str | None = None) -> LossDerivatives:
        """Return the derivatives of the mean loss, a context manager."""
        return LossDerivatives(self.problem, self._evaluation, split=split or self.split, device=self._device)

    def flat_weights(self) -> Tensor:
        """Return the parameters as one vector ``(n,)`` float64."""
        return torch.cat([tensor.reshape(-1).double() for _, tensor in self.origin])

    def direction(self, displacement: Tensor) -> Direction:
        """Return a vector ``(n,)`` as a direction."""
        sizes = [tensor.numel() for _, tensor in self.origin]
        parts: Sequence[Tensor] = torch.split(displacement.cpu(), sizes)
        tensors = {name: part.view(tensor.shape) for (name, tensor), part in zip(self.origin, parts, strict=True)}
        return Direction.from_tensors(self.origin, tensors, "measurement")
