"""A surface in memory: values on a grid of coordinates, their status, and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape._utils.interpolation import Floats, multilinear
from landscape._utils.pictures import picture_of
from landscape.surface.descriptions import describe_surface
from landscape.surface.metadata import SurfaceMetadata

if TYPE_CHECKING:
    import xarray

    from landscape.geometry.trajectory import Trajectory


class PointStatus(IntEnum):
    """Status of a grid point, as stored in the dataset ``status``.

    A NaN among the values is a result; only the status says whether a point was computed.
    """

    PENDING = 0
    """Not computed yet."""
    DONE = 1
    """Computed; the values may be NaN or infinite."""
    FAILED = 2
    """Raised an error when it was computed."""
    STOPPED = 3
    """Abandoned above a threshold; the first loss is a lower bound, and other values are unknown."""
    INTERPOLATED = 4
    """Filled by :meth:`Surface.with_interpolated` for drawing; in memory only, never in a file."""


PENDING, DONE, FAILED, STOPPED, INTERPOLATED = PointStatus


_NOT_METRICS = ("_stderr", "_residual", "_products")


def is_complete(status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return a mask of the points that need no further computation: done or stopped."""
    complete: NDArray[np.bool_] = (status == DONE) | (status == STOPPED)
    return complete


@dataclass(frozen=True, repr=False, eq=False)
class Surface:
    """Values of one or more metrics on a grid of one, two or three axes.

    ``surface["train_loss"]`` is the array of a metric, with NaN where it is not known.

    Attributes:
        coordinates: coordinates along each axis, x first: ``((nx,),)``, ``((nx,), (ny,))`` or
            ``((nx,), (ny,), (nz,))``.
        values: arrays by name (``train_loss``, ``train_acc`` in percent, ``train_loss_stderr``), each of ``shape``.
        status: ``shape`` uint8, a :class:`PointStatus` for each point.
        metadata: settings and provenance.
        name: name of the surface in legends and titles.
        estimates: interpolated values of the points that an adaptive sweep did not measure, by name, each of ``shape``;
            NaN at measured points.

    Raises:
        ValueError: the number of axes is not one to three, or an array has another shape than the grid.
    """

    coordinates: tuple[Floats, ...]
    values: Mapping[str, Floats]
    status: NDArray[np.uint8]
    metadata: SurfaceMetadata = field(default_factory=SurfaceMetadata)
    name: str = ""
    estimates: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.coordinates) not in (1, 2, 3):
            raise ValueError(f"expected one to three axes, got {len(self.coordinates)}")
        arrays: list[tuple[str, NDArray[Any]]] = [*self.values.items(), *self.estimates.items()]
        for name, array in [*arrays, ("status", self.status)]:
            if array.shape != self.shape:
                raise ValueError(f"{name}: expected shape {self.shape} (last axis x), got {array.shape}")

    def __repr__(self) -> str:
        return describe_surface(self)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Return a small picture for notebooks with its width, or None if there is nothing to draw."""
        return picture_of(self)

    def __getitem__(self, name: str) -> Floats:
        if name not in self.values:
            raise KeyError(f"no values {name!r} on this surface; it has {', '.join(self.values) or 'none'}")
        return self.metric(name)

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every array: ``(nx,)``, ``(ny, nx)`` or ``(nz, ny, nx)``."""
        return tuple(len(axis) for axis in reversed(self.coordinates))

    @property
    def x(self) -> Floats:
        """Coordinates along the first axis, ``(nx,)``."""
        return self.coordinates[0]

    @property
    def y(self) -> Floats:
        """Coordinates along the second axis, ``(ny,)``."""
        return self.coordinates[1]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, the losses first; what tells how exact others are is no metric, such as errors."""
        names = [name for name in self.values if not name.endswith(_NOT_METRICS)]
        return sorted(names, key=lambda name: not name.endswith("_loss"))

    def metric(self, name: str | None = None) -> Floats:
        """Return the values of a metric, with NaN where they are not computed or only bounded.

        The lower bounds at stopped points are in ``values``.

        Args:
            name: name of the metric; None for the first loss.

        Returns:
            Array of ``shape``, float64.

        Raises:
            ValueError: there is no such metric; the message lists the metrics of the surface.
        """
        name = name or (self.metrics[0] if self.metrics else "train_loss")
        if name not in self.values:
            raise ValueError(f"no metric {name!r} on this surface; it has {', '.join(self.values) or 'none'}")
        return np.where(self.status == STOPPED, np.nan, self.values[name])

    @property
    def stop_above(self) -> float | None:
        """Loss above which points were abandoned; None if every point was computed in full."""
        return None if self.metadata.settings is None else self.metadata.settings.stop_above

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the random directions, if the last axis counts them; empty otherwise."""
        return () if self.metadata.settings is None else self.metadata.settings.seeds

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints, if the last axis goes through training; empty otherwise."""
        return () if self.metadata.settings is None else self.metadata.settings.steps

    @property
    def members(self) -> tuple[int, ...]:
        """Seeds or steps that the last axis counts; empty for a surface over a single plane."""
        return self.seeds or self.steps

    @property
    def is_volume(self) -> bool:
        """True if three axes span a volume: the last one counts neither seeds nor checkpoints."""
        return len(self.coordinates) == 3 and min(self.shape) > 1 and not self.seeds and not self.steps

    def for_seed(self, seed: int) -> Surface:
        """Return the surface of one seed, without the axis of seeds.

        Raises:
            ValueError: there is no such seed; the message lists the seeds of the surface.
        """
        settings = self.metadata.settings
        if settings is None or seed not in settings.seeds:
            raise ValueError(f"no seed {seed} on this surface; it has {', '.join(map(str, self.seeds)) or 'none'}")
        metadata = replace(self.metadata, settings=replace(settings, seeds=()))
        return self._member(settings.seeds.index(seed), metadata, f"seed {seed}")

    def for_step(self, step: int) -> Surface:
        """Return the surface of one checkpoint, without the axis of steps; its metadata name the checkpoint.

        Raises:
            ValueError: there is no such step; the message lists the steps of the surface.
        """
        settings = self.metadata.settings
        if settings is None or step not in settings.steps:
            raise ValueError(f"no step {step} on this surface; it has {', '.join(map(str, self.steps)) or 'none'}")
        k = settings.steps.index(step)
        references = self.metadata.checkpoints
        metadata = replace(
            self.metadata,
            settings=replace(settings, steps=(), states=()),
            checkpoint=references[k] if references else self.metadata.checkpoint,
            checkpoints=(),
        )
        return self._member(k, metadata, self.moment(step))

    def moment(self, step: int) -> str:
        """Return the time of a checkpoint of a surface through training: its epoch if all are whole, or its step."""
        epochs = {checkpoint.step: checkpoint.epoch for checkpoint in self.metadata.checkpoints}
        whole = [epoch is not None and abs(epoch - round(epoch)) < 1e-6 for epoch in epochs.values()]
        epoch = epochs.get(step)
        return f"step {step}" if epoch is None or not all(whole) else f"epoch {round(epoch)}"

    def _member(self, k: int, metadata: SurfaceMetadata, which: str) -> Surface:
        return Surface(
            self.coordinates[:-1],
            {name: array[k] for name, array in self.values.items()},
            self.status[k],
            metadata,
            f"{self.name}, {which}",
        )

    def with_interpolated(self) -> Surface:
        """Return the surface for drawing: estimates fill the points that were not measured, as ``INTERPOLATED``.

        If points were stopped above a threshold, points whose estimate lies above it are marked as stopped too, with
        the threshold as their bound.
        """
        if not self.estimates:
            return self
        filled = (self.status == PENDING) & np.all([np.isfinite(array) for array in self.estimates.values()], axis=0)
        beyond = np.zeros(self.shape, dtype=bool)
        if self.stop_above is not None:
            first = self.estimates.get(self.metrics[0], np.full(self.shape, np.nan))
            beyond = (self.status == PENDING) & (first >= self.stop_above)
            filled &= ~beyond
        values = {
            name: np.where(filled, self.estimates.get(name, np.nan), array) for name, array in self.values.items()
        }
        if self.stop_above is not None:
            values[self.metrics[0]][beyond] = self.stop_above
        status = np.where(beyond, STOPPED, np.where(filled, INTERPOLATED, self.status)).astype(np.uint8)
        return replace(self, values=values, status=status, estimates={})

    def interpolate(self, coordinates: Floats, metric: str | None = None) -> Floats:
        """Interpolate a metric between grid points, linearly along each axis.

        Args:
            coordinates: ``(n, k)``, x first, in the units of the axes.
            metric: name of the metric; None for the first loss.

        Returns:
            ``(n,)`` float64. NaN outside the grid, and where a grid point with a weight is not done or is NaN; at a
            grid point only that point has a weight. An axis of one point contains only its own coordinate.

        Raises:
            ValueError: the coordinates have another number of axes, or there is no such metric.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        axes = len(self.coordinates)
        if coordinates.ndim != 2 or coordinates.shape[1] != axes:
            raise ValueError(f"expected coordinates of shape (n, {axes}), got {coordinates.shape}")
        values = np.where(self.status == DONE, self.metric(metric), np.nan)
        return multilinear(self.coordinates, values.T, coordinates)

    def sample_along(self, trajectory: Trajectory, metric: str | None = None) -> Trajectory:
        """Return the trajectory with the interpolated values of this surface as its ``surface_loss``.

        The loss of a checkpoint itself differs from it: a checkpoint does not lie exactly on the plane, and the surface
        is interpolated. See :meth:`interpolate`.
        """
        return trajectory.with_surface_loss(self.interpolate(trajectory.coordinates, metric))

    def to_xarray(self) -> xarray.Dataset:
        """Return the surface as an ``xarray.Dataset``: metrics and ``status`` over named coordinates.

        Dimensions are ``x``, ``y`` and ``z``, or ``seed`` or ``step`` in place of the last if the surface has several
        seeds or goes through training; steps have the coordinate ``epoch``, too. Each array has its name in words, its
        unit, and the name of the one with its standard error (``ancillary_variables``). Estimates of an adaptive
        surface are arrays of their own, such as ``train_loss_interpolated``. The metadata become attributes, objects
        and lists among them as JSON text.

        Raises:
            MissingLibraryError: xarray is not installed.
        """
        from landscape.surface.xarray_dataset import to_dataset

        return to_dataset(self)
