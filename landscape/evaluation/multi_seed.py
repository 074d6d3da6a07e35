"""Evaluating over a family of planes: one plane at a time, changed when a point of another seed is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby

import numpy as np
import torch

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import Evaluator, open_evaluator
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.problem.problem import Problem


class MultiSeedEvaluator:
    """Coordinates in, the last of them the number of the plane; metrics out.

    Points come seed after seed, so that a rank changes its plane about once per seed.

    Attributes:
        names: as of :class:`~landscape.evaluation.evaluator.Evaluator`.
        batch_size: samples per forward pass.
        engine: how outputs are computed.
        points: how many points of one seed are computed at once.
        at_origin: as of an evaluator; the origin is that of all planes.
    """

    def __init__(
        self,
        problem: Problem,
        family: PlaneFamily,
        evaluation: EvaluationConfig,
        device: torch.device | str,
        data_bytes: int | None = None,
    ) -> None:
        self._family = family
        self._how = (problem, evaluation, device, data_bytes)
        self._stack = ExitStack()
        self._seed: int | None = None
        self._evaluate: Evaluator | None = None
        self._enter(family.seeds[0])
        self.names, self.batch_size = self._evaluate.names, self._evaluate.batch_size
        self.engine, self.points = self._evaluate.engine, self._evaluate.points
        self.at_origin = self._evaluate.at_origin

    def _enter(self, seed: int) -> None:
        self.close()
        plane = self._family.make_plane(seed)
        problem, evaluation, device, data_bytes = self._how
        self._evaluate = self._stack.enter_context(open_evaluator(problem, plane, evaluation, device, data_bytes))
        self._seed = seed

    def __call__(self, coordinates: Sequence[float]) -> np.ndarray:
        """Values at a point, ``(len(names),)`` float64: those that a sweep of that seed alone gives, bit for bit."""
        return self.many([coordinates])[0]

    def many(self, coordinates: Sequence[Sequence[float]]) -> np.ndarray:
        """Values at several points, ``(points, len(names))``; those of one seed together."""
        parts = []
        for seed, points in groupby(coordinates, key=lambda point: int(point[-1])):
            if seed != self._seed:
                self._enter(seed)
            parts.append(self._evaluate.many([point[:-1] for point in points]))
        return np.concatenate(parts)

    def close(self) -> None:
        """Put the model back, and let go of the plane: the next one is made in its place."""
        self._stack.close()
        self._evaluate = self._seed = None


@contextmanager
def open_multi_seed_evaluator(
    problem: Problem,
    where: Plane | PlaneFamily,
    evaluation: EvaluationConfig,
    device: torch.device | str,
    data_bytes: int | None = None,
) -> Iterator[Evaluator | MultiSeedEvaluator]:
    """Make the problem's model ready to be evaluated over a plane, or over the planes of several seeds."""
    if isinstance(where, Plane):
        with open_evaluator(problem, where, evaluation, device, data_bytes) as evaluate:
            yield evaluate
        return
    family = MultiSeedEvaluator(problem, where, evaluation, device, data_bytes)
    try:
        yield family
    finally:
        family.close()
