"""A surface in memory: measured values on a grid of coordinates, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from landscape.geometry.trajectory import Trajectory

PENDING, DONE, FAILED, STOPPED, INTERPOLATED = 0, 1, 2, 3, 4
"""Values of ``status``. A NaN among the values is a result; only ``status`` says what is computed. ``STOPPED`` points
were given up when their first loss was seen to exceed a threshold, and hold a lower bound of it. ``INTERPOLATED``
stands in no file: it marks points that were filled to be drawn."""


def settled(status: np.ndarray) -> np.ndarray:
    """Where nothing is left to compute: done, or stopped."""
    return (status == DONE) | (status == STOPPED)


@dataclass(frozen=True)
class Surface:
    """Values of one or more metrics on a grid of one, two or three axes.

    Attributes:
        coordinates: the axes' coordinates, x first: ``((nx,),)``, ``((nx,), (ny,))`` or ``((nx,), (ny,), (nz,))``.
        values: arrays by name (``train_loss``, ``train_acc`` in percent, ``train_loss_stderr``), each of ``shape``.
        status: uint8 of ``shape``: 0 pending, 1 done, 2 failed, 3 stopped (the first loss is a lower bound).
        attributes: provenance (see ``docs/format.md``); plain strings, numbers and nested dicts.
        name: what a legend or a panel's title calls the surface.
        estimates: of an adaptive surface, interpolated values of points that were not measured, by name, NaN where
            they were; never among ``values``.
    """

    coordinates: tuple[np.ndarray, ...]
    values: Mapping[str, np.ndarray]
    status: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    estimates: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.coordinates) not in (1, 2, 3):
            raise ValueError(f"one to three axes expected, got {len(self.coordinates)}")
        for name, array in [*self.values.items(), *self.estimates.items(), ("status", self.status)]:
            if array.shape != self.shape:
                raise ValueError(f"{name}: shape {self.shape} (last axis x) expected, got {array.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every array: ``(nx,)``, ``(ny, nx)`` or ``(nz, ny, nx)``."""
        return tuple(len(axis) for axis in reversed(self.coordinates))

    @property
    def x(self) -> np.ndarray:
        """Coordinates along the first axis, ``(nx,)``."""
        return self.coordinates[0]

    @property
    def y(self) -> np.ndarray:
        """Coordinates along the second axis, ``(ny,)``."""
        return self.coordinates[1]

    @property
    def metrics(self) -> list[str]:
        """Names of the measured metrics, the losses first; standard errors are not metrics of their own."""
        names = [name for name in self.values if not name.endswith("_stderr")]
        return sorted(names, key=lambda name: not name.endswith("_loss"))

    def metric(self, name: str | None = None) -> np.ndarray:
        """The values called ``name`` (the first loss by default), of ``shape``, NaN where not computed or stopped.

        The lower bounds of stopped points are among ``values``.

        Raises:
            ValueError: there is no such metric; the message lists those there are.
        """
        name = name or (self.metrics[0] if self.metrics else "train_loss")
        if name not in self.values:
            raise ValueError(f"no metric {name!r} on this surface; it has {', '.join(self.values) or 'none'}")
        return np.where(self.status == STOPPED, np.nan, self.values[name])

    @property
    def stop_above(self) -> float | None:
        """The loss above which points were not computed to their end; None where all were."""
        settings = self.attributes.get("settings")
        return settings.get("stop_above") if isinstance(settings, Mapping) else None

    def filled(self) -> Surface:
        """For drawing: estimates where nothing was measured, marked as ``INTERPOLATED``.

        Where points were stopped above a threshold, those whose estimate lies there are marked as stopped too, with the
        threshold as their bound.
        """
        if not self.estimates:
            return self
        guessed = (self.status == PENDING) & np.all([np.isfinite(found) for found in self.estimates.values()], axis=0)
        beyond = np.zeros(self.shape, dtype=bool)
        if self.stop_above is not None:
            first = self.estimates.get(self.metrics[0], np.full(self.shape, np.nan))
            beyond = (self.status == PENDING) & (first >= self.stop_above)
            guessed &= ~beyond
        values = {
            name: np.where(guessed, self.estimates.get(name, np.nan), array) for name, array in self.values.items()
        }
        if beyond.any():
            values[self.metrics[0]][beyond] = self.stop_above
        status = np.where(beyond, STOPPED, np.where(guessed, INTERPOLATED, self.status)).astype(np.uint8)
        return replace(self, values=values, status=status, estimates={})

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the directions, where the last axis counts them; empty for an ordinary surface."""
        settings = self.attributes.get("settings")
        return tuple(settings.get("seeds", ())) if isinstance(settings, Mapping) else ()

    def member(self, seed: int) -> Surface:
        """The surface of one seed, without the axis of the seeds.

        Raises:
            ValueError: there is no such seed; the message lists those there are.
        """
        if seed not in self.seeds:
            raise ValueError(f"no seed {seed} on this surface; it has {', '.join(map(str, self.seeds)) or 'none'}")
        k = self.seeds.index(seed)
        values = {name: array[k] for name, array in self.values.items()}
        settings = {key: value for key, value in self.attributes["settings"].items() if key != "seeds"}
        attributes = {**self.attributes, "settings": settings}
        return Surface(self.coordinates[:-1], values, self.status[k], attributes, f"{self.name}, seed {seed}")

    def interpolate(self, coordinates: np.ndarray, metric: str | None = None) -> np.ndarray:
        """Values between the grid's points, multilinear, for what lies on the plane and not on the grid.

        Args:
            coordinates: ``(n, k)``, x first, in the units of the axes.
            metric: see :meth:`metric`.

        Returns:
            ``(n,)`` float64. NaN outside of the grid, and where a grid point that counts is not done or is NaN; on a
            grid point only that point counts. On an axis of one point only its own coordinate is inside.

        Raises:
            ValueError: coordinates of another number of axes, or no such metric.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        axes = len(self.coordinates)
        if coordinates.ndim != 2 or coordinates.shape[1] != axes:
            raise ValueError(f"coordinates of shape (n, {axes}) expected, got {coordinates.shape}")
        values = np.where(self.status == DONE, self.metric(metric), np.nan)
        lower, fraction = np.empty(coordinates.shape, dtype=np.intp), np.empty(coordinates.shape)
        inside = np.ones(len(coordinates), dtype=bool)
        for k, (axis, here) in enumerate(zip(self.coordinates, coordinates.T, strict=True)):
            inside &= (here >= axis[0]) & (here <= axis[-1])  # false for NaN
            lower[:, k] = np.clip(np.searchsorted(axis, here, side="right") - 1, 0, max(len(axis) - 2, 0))
            upper = axis[np.minimum(lower[:, k] + 1, len(axis) - 1)]
            width = upper - axis[lower[:, k]]
            fraction[:, k] = np.divide(here - axis[lower[:, k]], width, out=np.zeros(len(here)), where=width > 0)
        result = np.zeros(len(coordinates))
        for corner in product((0, 1), repeat=axes):
            weight = np.prod(np.where(corner, fraction, 1 - fraction), axis=1)
            counts = inside & (weight != 0)
            index = tuple(np.where(counts, lower[:, k] + corner[k], 0) for k in reversed(range(axes)))
            # A weight of zero takes no part: 0 * NaN is NaN, and a neighbour may not be computed yet.
            result[counts] += weight[counts] * values[index][counts]
        return np.where(inside, result, np.nan)

    def under(self, trajectory: Trajectory, metric: str | None = None) -> Trajectory:
        """The trajectory with this surface's values under its points, as its ``surface_loss``; see :meth:`interpolate`.

        A checkpoint's own loss differs from it by what lies off the plane and by the interpolation.
        """
        return trajectory.over(self.interpolate(trajectory.coordinates, metric))
