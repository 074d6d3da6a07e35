"""What a sweep is told and what it tells: how to carry it out, where it stands, what it left behind."""

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
    """Where a sweep stands, for whoever shows it.

    Attributes:
        done: points computed, those of earlier runs included.
        total: points asked for.
        failed: points given up.
        per_rank: points each rank has computed in this run.
        seconds: time spent on the points of this run, over all ranks.
    """

    done: int
    total: int
    failed: int
    per_rank: Mapping[int, int]
    seconds: float

    @property
    def left(self) -> float:
        """Seconds until the end, by the mean of this run's points; NaN where there are none yet."""
        computed = sum(self.per_rank.values())
        if not computed:
            return math.nan
        return self.seconds / computed * (self.total - self.done - self.failed) / len(self.per_rank)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep left behind.

    Attributes:
        surface: the values; on other ranks than the root, None.
        pending: points still to compute.
        failed: points that failed.
        messages: why points failed, by flat index.
        computed: points computed in this run.
        error: of an adaptive sweep, by how much the worst point of the cells that were not halved any further came
            out otherwise than expected, as a share of the log-loss range; otherwise None.
    """

    surface: Surface | None
    pending: int = 0
    failed: int = 0
    messages: Mapping[int, str] | None = None
    computed: int = 0
    error: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every point that was asked for is done."""
        return not self.pending and not self.failed


@dataclass(frozen=True)
class SweepConfig:
    """How a sweep is carried out; nothing here changes a value.

    Attributes:
        out: the surface file; None keeps the values in memory.
        overwrite: replace a file of that name instead of continuing it.
        retry_failed: take up points that failed before.
        shard: ``(i, n)`` computes only every n-th point from the i-th on, for array jobs whose files are merged.
        title: what the surface is called on figures.
        adaptive: measure only points that the picture needs; the others are interpolated, in datasets of their own.
        data_bytes: see :func:`~landscape.evaluation.evaluator.open_evaluator`.

    Raises:
        ValueError: a shard that there is not, or one of an adaptive sweep, whose parts decide together.
    """

    out: Path | None = None
    overwrite: bool = False
    retry_failed: bool = False
    shard: tuple[int, int] | None = None
    title: str = ""
    adaptive: Adaptive | None = None
    data_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and self.adaptive is not None:
            raise ValueError("an adaptive sweep has no shards: which points it needs depends on all; use ranks")
        if self.shard is not None:
            part, parts = self.shard
            if not 0 <= part < parts:
                raise ValueError(f"a shard (i, n) with i from 0 to n-1 expected, got {self.shard}")

    def mine(self, points: np.ndarray) -> np.ndarray:
        """Those of ``points`` (flat indices) that belong to the shard."""
        if self.shard is None:
            return points
        part, parts = self.shard
        return points[points % parts == part]
