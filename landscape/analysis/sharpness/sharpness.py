"""Sharpness of a network at its weights, by the definitions of the literature, each with an interval.

Throughout, ``L`` is the mean loss of the measured split, ``w`` the weights, ``r`` the radius, ``g`` the gradient of
``L`` at ``w``; products and absolute values of vectors are entry by entry. ``docs/sharpness.md`` discusses the
measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape._utils.names import several, unknown
from landscape.analysis.intervals import mean_interval
from landscape.analysis.sharpness.ascent import Ball, ascend
from landscape.analysis.sharpness.crossing import CrossingSearch
from landscape.analysis.sharpness.measures import MEASURES
from landscape.analysis.sharpness.numbers import Number
from landscape.analysis.sharpness.probe import GROUP, Probe
from landscape.errors import UnsoundError
from landscape.geometry.direction import Direction, gaussian, random_direction

Array = NDArray[np.float64]
DEFAULT_MEASURES = tuple(name for name in MEASURES if name != "relative-critical")
_LINE_EVALUATIONS = 12
_FIRST_STEP = 1e-3  # of a line search, relative to the norm of the weights


@dataclass(frozen=True)
class SharpnessConfig:
    """Choice of measures and of their numerical effort.

    Attributes:
        measures: names in :data:`MEASURES`.
        radius: radii for every measure that has one; by default each measure's own.
        directions: random directions of an average.
        steps: steps of each ascent.
        starts: starts of each ascent; the first one is the centre of the ball, the others are random.
        seed: random seed of directions and starts.

    Raises:
        ValueError: an unknown measure, or a number out of range.
    """

    measures: tuple[str, ...] = DEFAULT_MEASURES
    radius: tuple[float, ...] = ()
    directions: int = 30
    steps: int = 20
    starts: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        given: Any = self.radius
        object.__setattr__(self, "measures", tuple(dict.fromkeys(several(self.measures))))
        object.__setattr__(self, "radius", tuple(given) if isinstance(given, Sequence) else (float(given),))
        if not self.measures:
            raise ValueError("measures: expected one or more")
        for name in self.measures:
            if name not in MEASURES:
                raise unknown("measure", name, MEASURES)
        for radius in self.radius:
            if not 0 < radius < math.inf:
                raise ValueError(f"radius: expected a positive number, got {radius:g}")
        for name, least in (("directions", 2), ("steps", 1), ("starts", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected {least} or more, got {getattr(self, name)}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SharpnessConfig:
        """Return the choice that :meth:`to_json` wrote; missing fields have their defaults."""
        known: dict[str, Any] = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        listed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}
        return cls(**listed)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def radii(self, measure: str) -> tuple[float | None, ...]:
        """Return the radii of a measure; ``(None,)`` if it has none."""
        default = MEASURES[measure].radius
        return (None,) if default is None else self.radius or (default,)

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the parts that are computed one by one, each of which gives an array."""
        names = ["origin", *(["origin-second"] if "relative-critical" in self.measures else [])]
        for measure in self.measures:
            kind = MEASURES[measure].kind
            if kind == "average":
                names += [f"{measure}/{first}" for first in range(0, self.directions, GROUP)]
            elif kind == "worst":
                radii = range(len(self.radii(measure)))
                names += [f"{measure}/{radius}/{start}" for radius in radii for start in range(self.starts)]
            else:
                names.append(measure)
        return tuple(names)


def compute_unit(probe: Probe, config: SharpnessConfig, name: str) -> Array:
    """Compute one of :attr:`SharpnessConfig.units`.

    Returns:
        The losses of each sample at the origin or at the highest point of an ascent ``(1, samples)``, or along
        directions ``(directions, radii, samples)``; for a critical step, that step and the slope of the loss there,
        followed by the changes of the loss of each sample: ``(2 + samples,)``.

    Raises:
        UnsoundError: the loss is not finite where a definition needs it, or negative where it must not be.
    """
    if name.startswith("origin"):
        return probe.at_origin(split=second_split(probe) if name == "origin-second" else None)
    measure, *indices = name.split("/")
    if MEASURES[measure].kind == "average":
        first = int(indices[0])
        axes = range(first, min(first + GROUP, config.directions))
        radii = [radius for radius in config.radii(measure) if radius is not None]
        return probe.along([direction_of(measure, probe, config.seed, axis) for axis in axes], radii)
    if MEASURES[measure].kind == "worst":
        radius = config.radii(measure)[int(indices[0])]
        assert radius is not None
        displacement = worst_displacement(probe, config, measure, radius, int(indices[1]))
        return probe.values([probe.direction(displacement)], [(1.0,)])
    return _critical(probe, relative=measure == "relative-critical")


def direction_of(measure: str, probe: Probe, seed: int, axis: int) -> Direction:
    """Return a random direction of an average; the radius is in units of it."""
    origin = probe.origin
    if measure == "average-filter":
        return random_direction(origin, seed, axis)
    if measure == "average-adaptive":
        return random_direction(origin, seed, axis, norm="weight", ignore="none")
    direction = gaussian(origin, seed, axis)
    if measure == "average-gaussian":
        return direction
    length = direction.weights.norm()
    unit = {name: (tensor.double() / length).to(tensor.dtype) for name, tensor in direction.weights}
    return direction.with_weights(origin.with_tensors(unit), normalization="unit")


def worst_displacement(probe: Probe, config: SharpnessConfig, measure: str, radius: float, start: int) -> Tensor:
    """Return the displacement ``(n,)`` at which one ascent found the highest loss.

    Raises:
        UnsoundError: the loss is not finite in the ball, or negative for Keskar's measure.
    """
    with probe.derivatives() as derivatives:
        weights = derivatives.weights()
        if measure == "keskar" and derivatives.loss() < 0:
            raise UnsoundError(
                f"keskar: the loss is {derivatives.loss():g}; the definition divides by 1 + loss and needs a loss that "
                "is never negative; choose another measure"
            )
        scale = torch.ones_like(weights)
        if MEASURES[measure].adaptive:
            scale = weights.abs()
        elif measure == "keskar":
            scale = weights.abs() + 1
        ball = Ball(MEASURES[measure].norm, radius, scale)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + start)
        z = ball.random(generator) if start else None
        return ascend(derivatives.gradient, weights, ball, config.steps, z, measure).perturbation


def second_split(probe: Probe) -> str:
    """Return the name of the split whose loss a relative measure observes.

    Raises:
        ValueError: there is one split only.
    """
    names = list(probe.problem.splits)
    if len(names) < 2:
        raise ValueError(
            f"relative-critical: expected two splits, whose losses it compares, got {', '.join(names)} alone; measure "
            "both splits"
        )
    return names[1]


def _critical(probe: Probe, relative: bool) -> Array:
    """Return the critical step along the negative gradient, the slope there, and the change of each sample's loss."""
    split = second_split(probe) if relative else probe.split
    with probe.derivatives() as derivatives:
        gradient = derivatives.gradient()[1]
    slope = -float(gradient @ gradient)
    if relative:
        with probe.derivatives(split) as derivatives:
            slope = -float(gradient @ derivatives.gradient()[1])
    direction = probe.direction(-gradient)
    base = probe.at_origin(split=split)
    length = float(torch.linalg.vector_norm(gradient))
    if not 0 < length < math.inf or not np.isfinite(base).all():
        return np.concatenate([[math.nan, math.nan], np.full(base.shape[1], math.nan)])
    if slope >= 0:  # the other loss rises from the first step on
        return np.concatenate([[0.0, slope], np.zeros(base.shape[1])])
    search = CrossingSearch(0.0, _FIRST_STEP * probe.origin.norm() / length, _LINE_EVALUATIONS)
    with probe.opened([direction], split=split) as losses:
        while search.distance is not None:
            search.add(float((losses([(search.distance,)]) - base).mean()))
        found = search.result
        change = np.zeros_like(base[0])
        if 0 < found.distance < math.inf:
            change = (losses([(found.distance,)]) - base)[0]
    return np.concatenate([[found.distance, found.slope], change])


def matrices(config: SharpnessConfig, units: Mapping[str, Array]) -> dict[tuple[str, float | None], Array]:
    """Return the values by measure and radius, ``(directions, samples)``, whose mean is the value of the measure.

    Worst cases and critical steps are functions of means over samples; their values are those of the function's
    linearization, so that variances over data are right to first order. A worst case is then that of the perturbation
    found, and a critical step that along the gradient of all samples.
    """
    found: dict[tuple[str, float | None], Array] = {}
    origin = units["origin"]
    for measure in config.measures:
        kind = MEASURES[measure].kind
        if kind == "critical":
            found[measure, None] = _critical_values(units[measure])
            continue
        for index, radius in enumerate(config.radii(measure)):
            if kind == "average":
                parts = [units[f"{measure}/{first}"] for first in range(0, config.directions, GROUP)]
                found[measure, radius] = np.concatenate(parts)[:, index] - origin
                continue
            ends = [units[f"{measure}/{index}/{start}"] for start in range(config.starts)]
            highest = max(ends, key=lambda losses: float(losses.mean()))
            rise = highest - origin if highest.mean() > origin.mean() else np.zeros_like(origin)
            if measure == "keskar":
                one, mean = 1 + float(origin.mean()), float(rise.mean())
                rise = 100 * (rise / one - mean / one**2 * (origin - origin.mean()))
            found[measure, radius] = rise
    return found


def _critical_values(unit: Array) -> Array:
    step, slope, change = float(unit[0]), float(unit[1]), unit[2:]
    if math.isinf(step):
        return np.zeros((1, len(change)))
    if not math.isfinite(step) or step == 0:
        return np.full((1, len(change)), math.nan if step else math.inf)
    shift = 0.0 if math.isinf(slope) else (change - change.mean()) / slope
    return (2 / step + 2 / step**2 * shift) * np.ones((1, len(change)))


def numbers(
    source: str, config: SharpnessConfig, values: Mapping[tuple[str, float | None], Array], samples: int
) -> list[Number]:
    """Return the numbers of one network in the order of the measures and radii.

    Args:
        source: name of the network.
        config: choice of measures.
        values: values from :func:`matrices`.
        samples: number of samples of the measured split.
    """
    found = []
    for (measure, radius), x in values.items():
        kind = MEASURES[measure].kind
        with np.errstate(invalid="ignore"):
            interval = mean_interval(x)
        directions = {"average": len(x), "worst": config.starts, "critical": 0}[kind]
        count = x.shape[1] if x.shape[1] > 1 else samples
        found.append(
            Number(
                source, measure, radius, interval.value, interval.low, interval.high, count, directions,
                MEASURES[measure].unit, interval.over, _remark(measure, x),
            )
        )  # fmt: skip
    return found


def _remark(measure: str, x: Array) -> str:
    rows = x.mean(1)
    if MEASURES[measure].kind == "average":
        lost = int((~np.isfinite(rows)).sum())
        return f"the loss is not finite along {lost} of {len(rows)} directions: choose a smaller radius" if lost else ""
    if MEASURES[measure].kind == "critical":
        if math.isnan(rows[0]):
            return "the gradient is zero or not finite, so there is no direction of descent"
        if math.isinf(rows[0]):
            return "the loss of the second split rises from the first step on; its critical step is 0"
        return "the loss does not rise along the negative gradient" if rows[0] == 0 else ""
    return "no point of the ball with a higher loss was found" if rows[0] <= 0 else ""
