"""Size of the basin around a network: the distance along rays at which a metric has changed by a stated amount."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape._utils.names import unknown
from landscape.analysis.curvature.file import read_curvature
from landscape.analysis.intervals import mean_interval, quantile_interval
from landscape.analysis.sharpness.crossing import CrossingSearch
from landscape.analysis.sharpness.numbers import Number
from landscape.analysis.sharpness.probe import GROUP, Probe
from landscape.analysis.sharpness.sharpness import SharpnessConfig, worst_displacement
from landscape.errors import StoreError, UnsoundError
from landscape.geometry.direction import Direction, random_direction
from landscape.geometry.normalization import ignored_names

Array = NDArray[np.float64]
QUANTILES = {"basin-median": 0.5, "basin-q25": 0.25, "basin-q75": 0.75}
"""Quantiles over random rays by the name of their number."""
WORST_RADIUS = 0.05
"""Radius of the l2 ball in which the worst direction is found: the one of sharpness-aware minimization."""
UNIT = "||w||"
"""Unit of distances: the norm of the weights that random directions move."""
_ROOM = 40  # evaluations beyond the budget that a ray may need, if its first distance is far off
_SCALAR = 3  # columns before the evaluations: distance, slope, number of evaluations


@dataclass(frozen=True)
class BasinConfig:
    """Choice of rays, and of the change that ends a basin.

    Attributes:
        metric: ``loss`` or the name of a metric; by default ``acc`` if the problem has it, else ``loss``.
        share: change as a share of the value at the origin; by default 0.1, and 1 for the loss.
        change: change in units of the metric, instead of ``share``.
        rays: random rays, along filter-normalized directions.
        special: further rays: ``gradient`` (up the loss) and ``worst`` (to the highest loss in a small ball).
        curvature: curvature files, one for each network, whose first eigenvectors give further rays: the one of both
            signs along which the basin ends first.
        eigenvectors: eigenvectors taken from each curvature file.
        evaluations: evaluations of each ray, including those that enclose the crossing.
        seed: random seed of the directions.

    Raises:
        ValueError: a number out of range, an unknown ray, or both ``share`` and ``change``.
    """

    metric: str | None = None
    share: float | None = None
    change: float | None = None
    rays: int = 30
    special: tuple[str, ...] = ("gradient", "worst")
    curvature: tuple[str, ...] = ()
    eigenvectors: int = 2
    evaluations: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "special", tuple(self.special))
        object.__setattr__(self, "curvature", tuple(map(str, self.curvature)))
        if self.share is not None and self.change is not None:
            raise ValueError("expected at most one of share and change, got both")
        for name in ("share", "change"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {value:g}")
        for name, least in (("rays", 2), ("evaluations", 4), ("eigenvectors", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        for ray in self.special:
            if ray not in ("gradient", "worst"):
                raise unknown("ray", ray, ("gradient", "worst"))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BasinConfig:
        """Return the choice that :meth:`to_json` wrote; missing fields have their defaults."""
        known: dict[str, Any] = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        listed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}
        return cls(**listed)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def resolved(self, metrics: Sequence[str]) -> BasinConfig:
        """Return the choice with the defaults that depend on the metrics of the problem.

        Raises:
            ValueError: an unknown metric.
        """
        metric = self.metric or ("acc" if "acc" in metrics else "loss")
        if metric != "loss" and metric not in metrics:
            raise unknown("metric", metric, ("loss", *metrics))
        share = self.share
        if share is None and self.change is None:
            share = 1.0 if metric == "loss" else 0.1
        return replace(self, metric=metric, share=share)

    @property
    def criterion(self) -> str:
        """Change in words, once resolved: "loss rises by 100%"."""
        verb = "rises" if self.metric == "loss" else "changes"
        amount = f"{self.change:g}" if self.share is None else f"{100 * self.share:g}%"
        name = "accuracy" if self.metric == "acc" else self.metric
        return f"{name} {verb} by {amount}"

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the parts that are computed one by one, each of which gives an array."""
        bent = [f"eigenvector-{k + 1}" for k in range(self.eigenvectors if self.curvature else 0)]
        return ("origin", *(f"random/{first}" for first in range(0, self.rays, GROUP)), *self.special, *bent)


@dataclass(frozen=True, eq=False)
class Ray:
    """The metric along one ray.

    Attributes:
        name: ``random-0`` ..., ``gradient``, ``worst``, or ``eigenvector-1+``, ``eigenvector-1-`` ...
        radius: distance at which the basin ends, relative to the norm of the weights; infinite if it does not.
        distances: distances of all evaluations, ascending, from 0.
        values: values of the metric there.
    """

    name: str
    radius: float
    distances: Array
    values: Array


def compute_unit(probe: Probe, config: BasinConfig, name: str) -> Array:
    """Compute one of :attr:`BasinConfig.units`.

    Args:
        probe: the network.
        config: resolved choice of rays.
        name: name of the part.

    Returns:
        Values of each sample at the origin, ``(1, samples)``; or one row per ray with the distance of the crossing, the
        slope there, the number of evaluations, their distances and values, and the values of each sample at the
        crossing.

    Raises:
        UnsoundError: the change is a share of a value that is not positive.
        StoreError: the curvature file cannot be read, or belongs to other weights.
    """
    assert config.metric is not None
    if name == "origin":
        return probe.at_origin(config.metric)
    kind, _, first = name.partition("/")
    start = 0.1
    if kind == "random":
        axes = range(int(first), min(int(first) + GROUP, config.rays))
        directions = [random_direction(probe.origin, config.seed, axis) for axis in axes]
    else:
        start = 0.01
        if kind.startswith("eigenvector"):
            displacement = _eigenvector(probe, config.curvature[0], int(kind.rpartition("-")[2]) - 1)
        elif kind == "gradient":
            with probe.derivatives() as derivatives:
                displacement = derivatives.gradient()[1]
        if kind == "worst":
            ascent = SharpnessConfig(seed=config.seed)
            displacement = worst_displacement(probe, ascent, "worst-l2", WORST_RADIUS, 0)
        length = float(torch.linalg.vector_norm(displacement))
        if not 0 < length < math.inf:
            return np.full((1, _SCALAR + 2 * (config.evaluations + _ROOM) + 1), math.nan)
        signs = (1, -1) if kind.startswith("eigenvector") else (1,)
        directions = [probe.direction(displacement * (sign * _reference(probe) / length)) for sign in signs]
    return _search(probe, config, directions, start)


def _eigenvector(probe: Probe, path: str, index: int) -> torch.Tensor:
    found = read_curvature(path)
    if found.metadata.settings.get("weights") != probe.origin.digest():
        raise StoreError(f"{path} holds the curvature at other weights; compute it at the checkpoint that is measured")
    try:
        tensors = found.tensors(index)
    except ValueError as error:
        raise StoreError(f"{path}: {error}; compute more of them, or use fewer") from error
    parts = [tensors.get(name, torch.zeros_like(tensor)) for name, tensor in probe.origin]
    return torch.cat([part.reshape(-1).double() for part in parts])


def _reference(probe: Probe) -> float:
    """Return the norm of the weights that random directions move, which they share."""
    still = ignored_names(probe.origin)
    moving = {name: tensor for name, tensor in probe.origin if name not in still}
    return probe.origin.with_tensors(moving or dict(probe.origin.tensors)).norm()


def _amount(config: BasinConfig, base: float) -> float:
    if config.share is None:
        assert config.change is not None
        return config.change
    if not 0 < base < math.inf:
        raise UnsoundError(
            f"basin: {config.metric} at the origin is {base:g}, of which no share can be taken; state the change in "
            "units of the metric instead"
        )
    return config.share * base


def _search(probe: Probe, config: BasinConfig, directions: Sequence[Direction], start: float) -> Array:
    """Search for the crossings along several directions in step, so that one evaluation covers all of them."""
    assert config.metric is not None
    count = len(directions)
    zero = (0.0,) * count

    def points(distances: Sequence[float]) -> list[tuple[float, ...]]:
        return [tuple(r if k == j else 0.0 for j in range(count)) for k, r in enumerate(distances)]

    with probe.opened(directions, config.metric) as evaluate:
        base = float(evaluate([zero]).mean())
        amount = _amount(config, base)

        def excess(value: float) -> float:
            change = value - base
            return (change if config.metric == "loss" else abs(change)) - amount

        searches = [CrossingSearch(-amount, start, config.evaluations) for _ in directions]
        values: list[list[float]] = [[] for _ in directions]
        while any(search.distance is not None for search in searches):
            unfinished = [k for k, search in enumerate(searches) if search.distance is not None]
            wanted = points([search.distance or 0.0 for search in searches])
            found = evaluate([wanted[k] for k in unfinished]).mean(1)
            for k, value in zip(unfinished, found.tolist(), strict=True):
                values[k].append(value)
                searches[k].add(excess(value))
        results = [search.result for search in searches]
        samples = evaluate(points([r.distance if math.isfinite(r.distance) else 0.0 for r in results]))
    room = config.evaluations + _ROOM
    rows = []
    for result, seen, last in zip(results, values, samples, strict=True):
        padding = np.full(room - len(seen), math.nan)
        scalars = np.array([result.distance, result.slope, len(seen)])
        rows.append(np.concatenate([scalars, result.distances, padding, np.array(seen), padding, last]))
    return np.stack(rows)


def rays_of(config: BasinConfig, units: Mapping[str, Array]) -> list[Ray]:
    """Return all rays, random ones first."""
    base = float(units["origin"].mean())
    room = config.evaluations + _ROOM
    rays = []
    for name, rows in _named_rows(config, units):
        count = 0 if math.isnan(rows[2]) else int(rows[2])
        distances = rows[_SCALAR : _SCALAR + count]
        values = rows[_SCALAR + room : _SCALAR + room + count]
        order = np.argsort(distances, kind="stable")
        rays.append(
            Ray(name, float(rows[0]), np.append(0.0, distances[order]), np.append(base, values[order]))
        )  # fmt: skip
    return rays


def _named_rows(config: BasinConfig, units: Mapping[str, Array]) -> list[tuple[str, Array]]:
    found = []
    for name in config.units[1:]:
        for k, row in enumerate(units[name]):
            first = name.partition("/")[2]
            if first:
                found.append((f"random-{int(first) + k}", row))
            else:  # eigenvectors are followed in both directions
                found.append((f"{name}{'+-'[k]}" if len(units[name]) > 1 else name, row))
    return found


def matrices(config: BasinConfig, units: Mapping[str, Array]) -> dict[str, Array]:
    """Return the radii with the influence of each sample on them, ``(rays, samples)``, by kind of ray.

    The row mean is the radius; the deviation of a sample from it is what the sample, by its share in the mean, moves
    the crossing (the implicit function theorem).
    """
    origin = units["origin"]
    room = config.evaluations + _ROOM
    found: dict[str, list[Array]] = {}
    for name, row in _named_rows(config, units):
        kind = "random" if name.startswith("random-") else name.rstrip("+-")
        radius, slope = float(row[0]), float(row[1])
        if not math.isfinite(radius) or not math.isfinite(slope) or slope == 0 or radius == 0:
            found.setdefault(kind, []).append(np.full(origin.shape[1], radius))
            continue
        change = row[_SCALAR + 2 * room :] - origin[0]
        sign = 1.0 if config.metric == "loss" else float(np.sign(change.mean()))
        excess = sign * change - (config.share or 0.0) * origin[0]
        found.setdefault(kind, []).append(radius - (excess - excess.mean()) / slope)
    stacked = {kind: np.stack(rows) for kind, rows in found.items()}
    # Of both signs of an eigenvector, the one along which the basin ends first.
    return {k: x if k == "random" else x[int(np.argmin(x.mean(1)))][None] for k, x in stacked.items()}


def name_of(kind: str) -> str:
    """Return the name of the number for a further ray."""
    return "basin-worst-direction" if kind == "worst" else f"basin-{kind}"


def numbers(source: str, config: BasinConfig, values: Mapping[str, Array], samples: int) -> list[Number]:
    """Return the numbers of one network: quantiles over random rays, the worst of them, and the further rays.

    Args:
        source: name of the network.
        config: resolved choice of rays.
        values: values from :func:`matrices`.
        samples: number of samples of the measured split.
    """
    random = values["random"]
    count = random.shape[1] if random.shape[1] > 1 else samples
    found = []
    for name, quantile in QUANTILES.items():
        interval = quantile_interval(random, quantile, seed=config.seed)
        found.append(
            Number(
                source, name, None, interval.value, interval.low, interval.high, count, len(random), UNIT,
                interval.over, config.criterion,
            )
        )  # fmt: skip
    least = int(np.argmin(random.mean(1)))
    single = [("basin-worst-ray", random[least : least + 1], len(random))]
    single += [(name_of(kind), values[kind], 1) for kind in values if kind != "random"]
    for name, x, directions in single:
        with np.errstate(invalid="ignore"):
            interval = mean_interval(x)
        found.append(
            Number(
                source, name, None, interval.value, interval.low, interval.high, count, directions, UNIT, interval.over,
                config.criterion,
            )
        )  # fmt: skip
    return found
