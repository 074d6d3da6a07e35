"""Noise of a surface: the difference of each point to the origin, in standard errors of its samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.surface.surface import DONE, INTERPOLATED, Surface

STANDARD_ERRORS = 2.0
"""Number of standard errors beyond which a point differs from the origin; chance alone exceeds it at one in twenty."""
PAIRED, UNPAIRED = "_paired_stderr", "_stderr"
"""Endings of the names of datasets with standard errors."""


@dataclass(frozen=True)
class Noise:
    """Differences to the value at the origin, and their standard errors.

    Attributes:
        difference: value minus value at the origin, of the shape of the surface; NaN where unknown.
        error: standard error of the difference if ``paired``, else of the value; of the same shape.
        paired: True if errors are those of differences over the same samples.
        reference: value at the origin.
    """

    difference: np.ndarray
    error: np.ndarray
    paired: bool
    reference: float

    @property
    def ratio(self) -> np.ndarray:
        """Differences divided by :data:`STANDARD_ERRORS` standard errors: between -1 and 1, they are noise."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = self.difference / (STANDARD_ERRORS * self.error)
        return ratio

    @property
    def below(self) -> np.ndarray:
        """True where a point is indistinguishable from the origin; never at the origin itself if errors are paired."""
        below: np.ndarray = np.abs(self.difference) < STANDARD_ERRORS * self.error
        return below

    @property
    def fraction(self) -> float:
        """Fraction of points that are indistinguishable from the origin, among those with a known error above zero."""
        known = np.isfinite(self.difference) & (self.error > 0)
        return float(self.below[known].mean()) if known.any() else math.nan

    @property
    def rule(self) -> str:
        """The rule as a phrase: "within 2 paired standard errors of the value at the origin"."""
        kind = "paired standard errors" if self.paired else "standard errors (not paired: too wide near the origin)"
        return f"within {STANDARD_ERRORS:g} {kind} of the value at the origin"


def error_name(surface: Surface, metric: str) -> str | None:
    """Return the name of the dataset with the standard errors of ``metric``, preferably paired ones, or None."""
    return next((f"{metric}{kind}" for kind in (PAIRED, UNPAIRED) if f"{metric}{kind}" in surface.values), None)


def noise_of(surface: Surface, metric: str | None = None) -> Noise:
    """Return the noise of a metric of a surface, by default of the first loss.

    Between computed points of an adaptive surface, errors are those of the nearest one.

    Raises:
        ValueError: the metric has no standard error, or its value at the origin is unknown.
    """
    metric = metric or surface.metrics[0]
    values, name = surface.metric(metric), error_name(surface, metric)
    if name is None:
        raise ValueError(
            f"{metric} has no standard error, so relief cannot be distinguished from noise: choose the loss of a "
            "single surface (of several seeds, select one) whose loss function gives a value per sample"
        )
    reference = origin_values(surface).get(metric, math.nan)
    if not math.isfinite(reference):
        raise ValueError(
            f"{metric} at the origin is unknown (the grid has no point there, or it is not computed), so relief cannot "
            "be distinguished from noise; paired standard errors store it in the file"
        )
    error = with_nearest(surface.values[name], surface)
    return Noise(values - reference, error, name.endswith(PAIRED), reference)


def difference_between(first: tuple[Surface, str], second: tuple[Surface, str]) -> Noise:
    """Return the difference of two metrics on the same grid, the second minus the first, with its standard error.

    The samples are taken as independent, as those of two splits are; for two surfaces over the same samples the error
    is too large. The standard error of an accuracy is that of a proportion. ``reference`` is NaN.

    Args:
        first: a surface and the name of one of its metrics.
        second: the same or another surface on the same grid, and the name of a metric.

    Raises:
        ValueError: the grids differ, or there is no such metric.
    """
    one, other = first[0], second[0]
    same = len(one.coordinates) == len(other.coordinates) and all(
        np.array_equal(a, b) for a, b in zip(one.coordinates, other.coordinates, strict=True)
    )
    if not same:
        raise ValueError(
            f"expected surfaces on the same grid for a difference, got {one!r} and {other!r}; compute both with the "
            "same ranges and points"
        )
    with np.errstate(invalid="ignore"):
        difference = other.metric(second[1]) - one.metric(first[1])
        error = np.hypot(_standard_error(*first), _standard_error(*second))
    return Noise(difference, error, False, math.nan)


def _standard_error(surface: Surface, metric: str) -> np.ndarray:
    """Return the standard error of the values themselves; NaN where it is unknown."""
    if f"{metric}{UNPAIRED}" in surface.values:
        return with_nearest(surface.values[f"{metric}{UNPAIRED}"], surface)
    settings = surface.metadata.settings
    count = settings.samples.get(metric.partition("_")[0]) if settings else None
    if not metric.endswith("_acc") or not count:
        return np.full(surface.shape, math.nan)
    share = surface.metric(metric) / 100
    return np.asarray(100 * np.sqrt(np.clip(share * (1 - share), 0, None) / count))


def origin_values(surface: Surface) -> dict[str, float]:
    """Return the values at the origin by dataset: stored ones, else those of the grid; empty if unknown."""
    stored = surface.metadata.origin_values
    if stored is not None:
        return dict(stored)
    if surface.steps:
        return {}  # each checkpoint is an origin of its own
    # All seeds share the origin, so the first one is taken.
    at = grid_origin(surface.coordinates[:-1] if surface.seeds else surface.coordinates)
    if at is None:
        return {}
    at = (0, *at) if surface.seeds else at
    return {name: float(values[at]) for name, values in surface.values.items()} if surface.status[at] == DONE else {}


def grid_origin(coordinates: Sequence[np.ndarray]) -> tuple[int, ...] | None:
    """Return the index (of an array, last axis x) of the grid point at the origin; None if there is none.

    Args:
        coordinates: coordinates along each axis, x first.
    """
    index = []
    for axis in coordinates:
        zeros = np.flatnonzero(np.abs(axis) <= 1e-12 * max(np.abs(axis).max(), 1e-300))
        if not len(zeros):
            return None
        index.append(int(zeros[0]))
    return tuple(reversed(index))


def with_nearest(error: np.ndarray, surface: Surface) -> np.ndarray:
    """Return errors with those of the nearest computed point where values are interpolated."""
    known = surface.status == DONE
    interpolated = surface.status == INTERPOLATED
    if not (interpolated.any() and known.any()):
        return error
    from scipy.spatial import cKDTree

    nearest = cKDTree(np.argwhere(known)).query(np.argwhere(interpolated))[1]
    error = error.copy()
    error[interpolated] = error[known][nearest]
    return error
