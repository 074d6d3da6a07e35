"""Evaluation over the planes of several seeds, one plane at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.evaluation.point_evaluator import Evaluator
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.problem.problem import Problem


class MultiSeedEvaluator:
    """Function from coordinates, the last of which is a seed, to loss and metrics.

    The plane is replaced whenever a point of another seed is requested. Points come seed by seed, so that a rank
    replaces its plane about once per seed.

    Args:
        family: the planes.
        open_plane: function that opens an evaluator over a plane.

    Attributes:
        names: names of the values; see :class:`~landscape.evaluation.point_evaluator.Evaluator`.
        batch_size: samples per forward pass.
        engine: name of the engine in use.
        points_per_launch: number of points of one seed that are computed together.
        origin_values: values at the origin, which all planes share.
        bn_weights: see :class:`~landscape.evaluation.point_evaluator.Evaluator`.
        remarks: sentences about the measures for the user.
    """

    def __init__(self, family: PlaneFamily, open_plane: Callable[[Plane], AbstractContextManager[Evaluator]]) -> None:
        self._family, self._open_plane = family, open_plane
        self._stack = ExitStack()
        self._seed: int | None = None
        self._evaluator: Evaluator | None = None
        evaluate = self._evaluator_of(family.seeds[0])
        self.names, self.batch_size = evaluate.names, evaluate.batch_size
        self.engine, self.points_per_launch = evaluate.engine, evaluate.points_per_launch
        self.origin_values, self.remarks = evaluate.origin_values, evaluate.remarks
        self.bn_weights = evaluate.bn_weights

    def _evaluator_of(self, seed: int) -> Evaluator:
        """Return the evaluator over the plane of ``seed``, after closing that of another seed."""
        if self._evaluator is None or seed != self._seed:
            self.close()
            self._evaluator = self._stack.enter_context(self._open_plane(self._family.make_plane(seed)))
            self._seed = seed
        return self._evaluator

    def __call__(self, coordinates: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the values at a point, ``(len(names),)`` float64; bit for bit those of a sweep of its seed alone."""
        values: npt.NDArray[np.float64] = self.evaluate_many([coordinates])[0]
        return values

    def evaluate_many(self, coordinates: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        """Return the values at several points, ``(points, len(names))``; those of one seed should be adjacent."""
        values = [np.empty((0, len(self.names)))]
        for seed, points in groupby(coordinates, key=lambda point: int(point[-1])):
            values.append(self._evaluator_of(seed).evaluate_many([point[:-1] for point in points]))
        return np.concatenate(values)

    def close(self) -> None:
        """Restore the model and release the plane; the next one is made in its place."""
        self._stack.close()
        self._evaluator = self._seed = None


@contextmanager
def open_multi_seed_evaluator(
    problem: Problem,
    plane: Plane | PlaneFamily,
    config: EvaluationConfig,
    device: torch.device | str,
    data_bytes: int | None = None,
    begun: bool = False,
) -> Iterator[Evaluator | MultiSeedEvaluator]:
    """Prepare the problem's model for evaluation over a plane, or over the planes of several seeds.

    The arguments are those of :func:`~landscape.evaluation.evaluator.open_evaluator`.
    """

    def open_plane(one: Plane) -> AbstractContextManager[Evaluator]:
        return open_evaluator(problem, one, config, device, data_bytes, begun)

    if isinstance(plane, Plane):
        with open_plane(plane) as evaluator:
            yield evaluator
        return
    family = MultiSeedEvaluator(plane, open_plane)
    try:
        yield family
    finally:
        family.close()
