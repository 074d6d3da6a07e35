"""Evaluation over several planes, one at a time: those of several seeds, or through several checkpoints."""

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
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSet
from landscape.problem.problem import Problem


class MultiPlaneEvaluator:
    """Function from coordinates, the last of which selects the plane, to loss and metrics.

    The plane is replaced whenever a point of another member (seed or step) is requested. Points come member by member,
    so that a rank replaces its plane about once per member.

    Args:
        planes: the planes.
        open_plane: function that opens an evaluator over a plane.

    Attributes:
        names: names of the values; see :class:`~landscape.evaluation.point_evaluator.Evaluator`.
        batch_size: samples per forward pass.
        engine: name of the engine in use for the first member.
        points_per_launch: number of points of one member that are computed together.
        origin_values: values at the origin, if all planes share it; empty otherwise.
        bn_weights: see :class:`~landscape.evaluation.point_evaluator.Evaluator`.
        remarks: sentences about the measures for the user.
    """

    def __init__(self, planes: PlaneSet, open_plane: Callable[[Plane], AbstractContextManager[Evaluator]]) -> None:
        self._planes, self._open_plane = planes, open_plane
        self._stack = ExitStack()
        self._member: int | None = None
        self._evaluator: Evaluator | None = None
        evaluate = self._evaluator_of(planes.members[0])
        self.names, self.batch_size = evaluate.names, evaluate.batch_size
        self.engine, self.points_per_launch = evaluate.engine, evaluate.points_per_launch
        self.origin_values = evaluate.origin_values if isinstance(planes, PlaneFamily) else {}
        self.bn_weights, self.remarks = evaluate.bn_weights, evaluate.remarks

    @property
    def points_wanted(self) -> int:
        """Number of points to hand out at a time even if each takes long."""
        return 1 if self._evaluator is None else self._evaluator.points_wanted

    def _evaluator_of(self, member: int) -> Evaluator:
        """Return the evaluator over the plane of ``member``, after closing that of another one."""
        if self._evaluator is None or member != self._member:
            self.close()
            with ExitStack() as stack:
                plane = stack.enter_context(self._planes.open(member))
                self._evaluator = stack.enter_context(self._open_plane(plane))
                self._stack, self._member = stack.pop_all(), member
        return self._evaluator

    def __call__(self, coordinates: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the values at a point, ``(len(names),)`` float64; bit for bit those of a sweep of its member alone."""
        values: npt.NDArray[np.float64] = self.evaluate_many([coordinates])[0]
        return values

    def evaluate_many(self, coordinates: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        """Return the values at several points, ``(points, len(names))``; those of one member should be adjacent."""
        values = [np.empty((0, len(self.names)))]
        for member, points in groupby(coordinates, key=lambda point: int(point[-1])):
            values.append(self._evaluator_of(member).evaluate_many([point[:-1] for point in points]))
        return np.concatenate(values)

    def close(self) -> None:
        """Restore the model and release the plane; the next one is made in its place."""
        self._evaluator = self._member = None
        self._stack.close()


@contextmanager
def open_multi_plane_evaluator(
    problem: Problem,
    plane: Plane | PlaneSet,
    config: EvaluationConfig,
    device: torch.device | str,
    data_bytes: int | None = None,
    begun: bool = False,
) -> Iterator[Evaluator | MultiPlaneEvaluator]:
    """Prepare the problem's model for evaluation over a plane, or over several.

    The arguments are those of :func:`~landscape.evaluation.evaluator.open_evaluator`.
    """

    def open_plane(one: Plane) -> AbstractContextManager[Evaluator]:
        return open_evaluator(problem, one, config, device, data_bytes, begun)

    if isinstance(plane, Plane):
        with open_plane(plane) as evaluator:
            yield evaluator
        return
    several = MultiPlaneEvaluator(plane, open_plane)
    try:
        yield several
    finally:
        several.close()
