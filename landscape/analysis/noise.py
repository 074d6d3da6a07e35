"""Whether relief is more than the noise of its samples: each point's difference to the origin in standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.surface.surface import DONE, INTERPOLATED, Surface

STANDARD_ERRORS = 2.0
"""So far from the origin's value a point is told from it: by chance alone one in twenty would be."""


@dataclass(frozen=True)
class Noise:
    """Differences to the value at the origin, by the noise they might be.

    Attributes:
        difference: of the surface's shape, value less value at the origin; NaN where not known.
        error: same, standard error of the difference where ``paired``, else of the value.
        paired: whether errors are those of differences over the same samples.
        reference: the value at the origin.
    """

    difference: np.ndarray
    error: np.ndarray
    paired: bool
    reference: float

    @property
    def ratio(self) -> np.ndarray:
        """Differences in units of :data:`STANDARD_ERRORS` standard errors: below 1 in size they are no relief."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.difference / (STANDARD_ERRORS * self.error)

    @property
    def below(self) -> np.ndarray:
        """Whether a point cannot be told from the origin; the origin itself is not asked where errors are paired."""
        return np.abs(self.difference) < STANDARD_ERRORS * self.error

    @property
    def share(self) -> float:
        """Share of points that cannot be told from the origin, of those that can be asked."""
        asked = np.isfinite(self.difference) & (self.error > 0)
        return float(self.below[asked].mean()) if asked.any() else float("nan")

    @property
    def words(self) -> str:
        """The rule, for a sentence about points."""
        kind = "paired standard errors" if self.paired else "standard errors (not paired: too wide near the origin)"
        return f"within {STANDARD_ERRORS:g} {kind} of the value at the origin"


def error_name(surface: Surface, metric: str) -> str | None:
    """The dataset that holds the standard errors of ``metric``, paired ones first; None where there are none."""
    names = [f"{metric}_paired_stderr", f"{metric}_stderr"]
    return next((name for name in names if name in surface.values), None)


def noise_of(surface: Surface, metric: str | None = None) -> Noise:
    """The noise in a metric of a surface.

    Between measured points of an adaptive surface, errors are those of the nearest one.

    Raises:
        ValueError: the metric has no standard error, or its value at the origin is not known.
    """
    metric = metric or surface.metrics[0]
    values, name = surface.metric(metric), error_name(surface, metric)
    if name is None:
        raise ValueError(
            f"{metric} has no standard error, so that relief cannot be told from noise: take the loss of a single "
            "surface (of several seeds, --member picks one) whose loss gives a value per sample"
        )
    reference = origin_values(surface).get(metric, float("nan"))
    if not np.isfinite(reference):
        raise ValueError(
            f"{metric} at the origin is not known (the grid has no point there, or it is not computed), so that relief "
            "cannot be told from noise; --paired keeps it in the file"
        )
    error = _everywhere(surface.values[name], surface)
    return Noise(values - reference, error, name.endswith("_paired_stderr"), float(reference))


def origin_values(surface: Surface) -> dict[str, float]:
    """Values at the origin by dataset: those that the file keeps apart, else the grid's own; empty where unknown."""
    kept = surface.metadata.origin_values
    if kept is not None:
        return dict(kept)
    axes = surface.coordinates[:-1] if surface.seeds else surface.coordinates  # the origin is that of every seed
    index: list[int] = [0] * bool(surface.seeds)
    for axis in reversed(axes):
        zeros = np.flatnonzero(np.abs(axis) <= 1e-12 * max(np.abs(axis).max(), 1e-300))
        if not len(zeros):
            return {}
        index.append(int(zeros[0]))
    at = tuple(index)
    return {name: float(values[at]) for name, values in surface.values.items()} if surface.status[at] == DONE else {}


def _everywhere(error: np.ndarray, surface: Surface) -> np.ndarray:
    """Errors with those of the nearest measured point where values are interpolated."""
    known = surface.status == DONE
    guessed = surface.status == INTERPOLATED
    if not (guessed.any() and known.any()):
        return error
    from scipy.spatial import cKDTree

    nearest = cKDTree(np.argwhere(known)).query(np.argwhere(guessed))[1]
    error = error.copy()
    error[guessed] = error[known][nearest]
    return error
