"""A store of points in memory: what a sweep writes into, and the half of the file store that holds the arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.surface.header import Header
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface, settled


class MemoryStore:
    """Values, status and times of a grid's points, by flat index (C order, x fastest).

    Attributes:
        header: what is fixed about the surface.
        values: one row per dataset, ``(len(header.metrics), *shape)`` float64, NaN where not computed.
        status: ``shape`` uint8.
        seconds: ``shape`` float32, time spent on each point.
        messages: why points failed, by flat index.
        interpolated: by dataset, values for points that are not measured, NaN where they are.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.values = np.full((len(header.metrics), *header.shape), np.nan)
        self.status = np.full(header.shape, PENDING, dtype=np.uint8)
        self.seconds = np.zeros(header.shape, dtype=np.float32)
        self.messages: dict[int, str] = {}
        self.interpolated: dict[str, np.ndarray] = {}
        self.whole = False
        """Set when nothing more is to be measured, although points are pending: the others are interpolated."""

    def pending(self, retry_failed: bool = False) -> np.ndarray:
        """Flat indices of the points still to compute, in order."""
        wanted = ~settled(self.status) if retry_failed else self.status == PENDING
        return np.flatnonzero(wanted)

    def record(self, index: int, values: Sequence[float], seconds: float) -> None:
        """Keep the values of the point at flat ``index``, in the order of ``header.metrics``.

        With the setting ``stop_above``, a first value above it is the bound of a point that was stopped.
        """
        self.values.reshape(len(self.header.metrics), -1)[:, index] = values
        self.seconds.flat[index] = seconds
        limit = self.header.settings.get("stop_above")
        self.status.flat[index] = STOPPED if limit is not None and values[0] > limit else DONE
        self.messages.pop(index, None)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        """Mark the point at flat ``index`` as failed and keep why."""
        self.seconds.flat[index] = seconds
        self.status.flat[index] = FAILED
        self.messages[index] = message

    def tick(self) -> None:
        """Flush if it is time; called often, also while no point comes in."""

    def fill(self, name: str, values: np.ndarray) -> None:
        """Keep interpolated values, apart from measured ones."""
        self.interpolated[name] = values

    def flush(self) -> None:
        """Make what was recorded durable; nothing to do in memory."""

    def close(self) -> None:
        """Flush, and let go of what is held."""

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close()

    def surface(self, name: str = "") -> Surface:
        """A copy of what is there now."""
        values = {metric: self.values[i].copy() for i, metric in enumerate(self.header.metrics)}
        attributes: Mapping[str, Any] = {**self.header.provenance, "settings": dict(self.header.settings)}
        return Surface(self.header.coordinates, values, self.status.copy(), attributes, name)
