"""Configuration, progress and result of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.surface.surface import Surface
from landscape.sweep.adaptive import Adaptive


@dataclass(frozen=True)
class SweepProgress:
    """Progress of a sweep.

    Attributes:
        done: number of points that are computed, earlier runs included.
        total: number of points of the sweep; of an adaptive sweep, up to the current round.
        failed: number of points that failed.
        per_rank: number of points that each rank has computed in this run.
        seconds: time spent on the points of this run, summed over all ranks.
    """

    done: int
    total: int
    failed: int
    per_rank: Mapping[int, int]
    seconds: float

    @property
    def left(self) -> float:
        """Estimated time to the end in seconds, from the mean time per point; NaN before the first point."""
        computed = sum(self.per_rank.values())
        if not computed:
            return math.nan
        return self.seconds / computed * (self.total - self.done - self.failed) / len(self.per_rank)


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        surface: values of all points; None on ranks other than the root.
        pending: number of points that are left to compute.
        failed: number of points that failed.
        messages: reasons of failures, by flat index.
        computed: number of points computed in this run.
        error: of an adaptive sweep, the largest error of the interpolation in cells that were not halved any further,
            relative to the range of the log loss; None for other sweeps.
    """

    surface: Surface | None
    pending: int = 0
    failed: int = 0
    messages: Mapping[int, str] | None = None
    computed: int = 0
    error: float | None = None

    @property
    def complete(self) -> bool:
        """True if every point of the sweep is done."""
        return not self.pending and not self.failed


@dataclass(frozen=True)
class SweepConfig:
    """Configuration of a sweep: its output and the choice of points. Values do not depend on it.

    Attributes:
        out: surface file; None keeps the values in memory.
        overwrite: True to replace an existing file instead of resuming it.
        retry_failed: True to compute points again that failed before.
        shard: ``(i, n)`` computes every n-th point from the i-th on, for array jobs whose files are merged afterwards.
        title: name of the surface on figures.
        adaptive: tolerance of an adaptive sweep (0.02), or tolerance and budget, which computes only some points and
            interpolates the others; None computes every point.
        data_bytes: memory for the data on the device, in bytes; see
            :func:`~landscape.evaluation.evaluator.open_evaluator`.

    Raises:
        ValueError: the shard does not exist, or an adaptive sweep has one.
    """

    out: Path | None = None
    overwrite: bool = False
    retry_failed: bool = False
    shard: tuple[int, int] | None = None
    title: str = ""
    adaptive: Adaptive | float | None = None
    data_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.out is not None:
            object.__setattr__(self, "out", Path(self.out))  # a plain text is what one writes in a notebook
        if isinstance(self.adaptive, int | float):
            object.__setattr__(self, "adaptive", Adaptive(self.adaptive))
        if self.shard is not None and self.adaptive is not None:
            raise ValueError(
                "an adaptive sweep cannot be split into shards, since its points depend on each other: use ranks"
            )
        if self.shard is not None:
            part, parts = self.shard
            if not 0 <= part < parts:
                raise ValueError(f"expected a shard (i, n) with i from 0 to n-1, got {self.shard}")

    def mine(self, points: np.ndarray) -> np.ndarray:
        """Return those of ``points`` (flat indices) that belong to the shard."""
        if self.shard is None:
            return points
        part, parts = self.shard
        mine: np.ndarray = points[points % parts == part]
        return mine
