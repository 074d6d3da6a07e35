"""The preparation of a sweep on each rank: evaluator, settings and metadata, before the first point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from landscape._utils.files import require_writable
from landscape._utils.provenance import Environment
from landscape._utils.state_dict import full_state_dict
from landscape.errors import DerivativeError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.points import quadratic_model
from landscape.evaluation.device import current_device
from landscape.evaluation.multi_plane import MultiPlaneEvaluator, open_multi_plane_evaluator
from landscape.evaluation.point_evaluator import Evaluator
from landscape.evaluation.precision import REDUCED, PrecisionProbe, PrecisionReport
from landscape.geometry.moving import count_moving, unmoved_zeros, zeros_remark
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSeries, PlaneSet
from landscape.geometry.quadratic import QuadraticModel
from landscape.geometry.weights import Weights
from landscape.parallel.executor import Batched
from landscape.parallel.ranks import Ranks
from landscape.problem.problem import Problem
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.store import read_settings
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Grid

RECORDED_PACKAGES = ("landscape", "torch", "numpy", "h5py", "mpi4py")
"""Packages whose versions are stored with a surface."""


@dataclass(frozen=True)
class SweepInputs:
    """The inputs of a sweep on one rank.

    Attributes:
        problem: model, data, loss and metrics.
        plane: origin and directions, or several planes.
        grid: points of the sweep; for several planes, the last axis is that of their members.
        config: output and choice of points.
        evaluation: settings of the evaluation.
        device: device of this rank, with its index.
        metadata: metadata given by the caller.
    """

    problem: Problem
    plane: Plane | PlaneSet
    grid: Grid
    config: SweepConfig
    evaluation: EvaluationConfig
    device: str
    metadata: SurfaceMetadata

    def __post_init__(self) -> None:
        if not isinstance(self.plane, Plane):
            if self.config.adaptive is not None:
                unit = self.plane.unit
                raise ValueError(
                    f"an adaptive sweep takes a single {unit}: values cannot be interpolated between {unit}s"
                )
            several = self.grid.through if isinstance(self.plane, PlaneSeries) else self.grid.over
            object.__setattr__(self, "grid", several(self.plane.members))
        if self.plane.ndim != len(self.grid.coordinates):
            raise ValueError(
                f"expected as many directions as axes, got {self.plane.ndim} and {len(self.grid.coordinates)}"
            )


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep on one rank, ready to compute points.

    Attributes:
        inputs: problem, plane, grid and configuration.
        header: grid, datasets and metadata of the surface.
        precision: measured error of a reduced precision; None if it was not measured.
        zeros: tensors that could move, but stay at zero, on the root.
    """

    inputs: SweepInputs
    header: Header
    precision: PrecisionReport | None
    zeros: tuple[str, ...]
    _evaluate: Evaluator | MultiPlaneEvaluator

    def compute(self, point: int) -> np.ndarray:
        """Return the values of the point at a flat index, ``(metrics,)``."""
        with current_device(self.inputs.device):
            return self._evaluate(self.inputs.grid.point(point))

    def compute_many(self, points: Sequence[int]) -> np.ndarray:
        """Return the values of several points, ``(points, metrics)``."""
        with current_device(self.inputs.device):
            return self._evaluate.evaluate_many([self.inputs.grid.point(point) for point in points])

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the measures, and about tensors that stay at zero, for the user."""
        zeros = zeros_remark(self.zeros)
        return (*self._evaluate.remarks, *([f"warning: {zeros}"] if zeros else []))

    @property
    def batched(self) -> Batched | None:
        """The computation of several points at once; None if they are computed one by one."""
        count = self._evaluate.points_per_launch
        return Batched(count, self.compute_many, lambda: self._evaluate.points_wanted) if count > 1 else None


def stored_settings(config: SweepConfig) -> SweepSettings | None:
    """Return the settings of the file that a sweep would resume; None if there is none.

    Raises:
        StoreError: the file is none of this program, or damaged.
    """
    out = config.out
    if out is None or config.overwrite or not out.exists():
        if out is not None:
            require_writable(out, StoreError)  # before the directions are made, and ranges are found
        return None
    with open_hdf5(out) as file:
        return read_settings(file, out)


@contextmanager
def prepare(inputs: SweepInputs, ranks: Ranks) -> Iterator[PreparedSweep]:
    """Make the model of each rank ready to be evaluated, and check that all ranks would compute the same.

    Every rank enters this context; an error on one rank is raised on all of them.

    Raises:
        RankError: the ranks have different problems, planes or settings.
    """
    with ExitStack() as stack:
        prepared = ranks.collective(lambda: _prepare(inputs, ranks.is_root, stack))
        ranks.require_equal(prepared.header.settings.to_json())
        yield prepared


def _prepare(inputs: SweepInputs, is_root: bool, stack: ExitStack) -> PreparedSweep:
    config, evaluation = inputs.config, inputs.evaluation
    # A file that is resumed already holds the cost of reduced precision.
    is_new = config.out is None or config.overwrite or not config.out.exists()
    probe = None
    if is_root and is_new and evaluation.dtype in REDUCED:
        probe = PrecisionProbe(
            inputs.problem, inputs.plane, inputs.grid.coordinates, evaluation, inputs.device, config.data_bytes
        )
    quadratic = _quadratic_model(inputs) if is_root and is_new else None
    # The root alone refuses what a file that is resumed may hold: the file may exist before the others look for it.
    evaluate = stack.enter_context(
        open_multi_plane_evaluator(
            inputs.problem, inputs.plane, evaluation, inputs.device, config.data_bytes, begun=not (is_root and is_new)
        )
    )
    if config.adaptive is not None and not any(name.endswith("_loss") for name in evaluate.names):
        raise ValueError(
            "adaptive: expected a problem with a loss, whose relief decides which points are measured, got values by "
            "evaluate alone; leave adaptive unset"
        )
    precision = probe.report(evaluate, evaluate.names) if probe else None
    plane = inputs.plane
    first = (plane if isinstance(plane, Plane) else plane.first) if is_root else None
    metadata = replace(
        inputs.metadata if first is None else _with_provenance(inputs, first),
        settings=_settings(inputs, evaluate),
        title=config.title or inputs.metadata.title,
        precision=precision.to_json() if precision else None,
        origin_values=evaluate.origin_values or None,
        quadratic=quadratic,
    )
    header = Header(
        coordinates=inputs.grid.coordinates,
        metrics=tuple(evaluate.names),
        metadata=metadata,
        plane=inputs.plane,
        interpolated=config.adaptive is not None,
    )
    zeros = () if first is None else unmoved_zeros(first)
    return PreparedSweep(inputs, header, precision, zeros, evaluate)


def _quadratic_model(inputs: SweepInputs) -> QuadraticModel | None:
    """Return the quadratic model at the origin, if derivatives or a plane of eigenvectors are requested."""
    plane, derivatives = inputs.plane, inputs.evaluation.derivatives
    if not isinstance(plane, Plane):
        return None
    if derivatives is None and not any(direction.recipe.kind == "hessian" for direction in plane.directions):
        return None
    try:
        return quadratic_model(inputs.problem, plane, inputs.evaluation, inputs.device)
    except DerivativeError:
        if derivatives is None or derivatives.curvature:
            raise
        return None  # gradients alone are possible


def _settings(inputs: SweepInputs, evaluate: Evaluator | MultiPlaneEvaluator) -> SweepSettings:
    """Return the settings on which the values depend."""
    problem, plane = inputs.problem, inputs.plane
    given = inputs.metadata.settings or SweepSettings()
    return SweepSettings(
        axes=tuple(str(axis) for axis in inputs.grid.axes),
        metrics=tuple(evaluate.names),
        samples={name: len(split) for name, split in problem.splits.items()},
        data={name: split.digest() for name, split in problem.splits.items()},
        origin=plane.origin.digest(),
        directions=tuple(tuple(each) if isinstance(each, list) else each for each in plane.digests()),
        seeds=plane.seeds if isinstance(plane, PlaneFamily) else (),
        steps=plane.steps if isinstance(plane, PlaneSeries) else (),
        states=plane.states if isinstance(plane, PlaneSeries) else (),
        # Running statistics that a plane doesn't move are among the states of its checkpoint.
        fixed="" if isinstance(plane, PlaneSeries) else _digest_of_fixed(problem, plane),
        **{**inputs.evaluation.to_json(), "batch_size": evaluate.batch_size, "engine": evaluate.engine},
        bn_weights=evaluate.bn_weights,
        problem=given.problem,
        split=given.split,
        axes_are=given.axes_are,
        other=given.other,
    )


def _with_provenance(inputs: SweepInputs, first: Plane) -> SurfaceMetadata:
    """Return the given metadata with what is missing: recipes, moving parameters, problem, and the environment."""
    given = inputs.metadata
    recipes = given.recipes or tuple(direction.recipe for direction in first.directions)
    return replace(
        given,
        recipes=recipes,
        moving=given.moving or count_moving(first),
        problem=given.problem if given.problem is not None else dict(inputs.problem.description) or None,
        environment=given.environment or Environment.current(RECORDED_PACKAGES),
    )


def _digest_of_fixed(problem: Problem, plane: Plane | PlaneSet) -> str:
    """Return the digest of the tensors that the plane does not move: running statistics, frozen buffers."""
    state = {n: t.detach() for n, t in full_state_dict(problem.model).items() if isinstance(t, Tensor)}
    return Weights({name: tensor for name, tensor in state.items() if name not in plane.origin.tensors}).digest()
