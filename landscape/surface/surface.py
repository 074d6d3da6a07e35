"""A surface in memory: measured values on a grid of coordinates, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PENDING, DONE, FAILED = 0, 1, 2
"""Values of ``status``. A NaN among the values is a result; only ``status`` says what is computed."""


@dataclass(frozen=True)
class Surface:
    """Values of one or more metrics on a grid of one, two or three axes.

    Attributes:
        coordinates: the axes' coordinates, x first: ``((nx,),)``, ``((nx,), (ny,))`` or ``((nx,), (ny,), (nz,))``.
        values: arrays by name (``train_loss``, ``train_acc`` in percent, ``train_loss_stderr``), each of ``shape``.
        status: uint8 of ``shape``: 0 pending, 1 done, 2 failed.
        attributes: provenance (see ``docs/format.md``); plain strings, numbers and nested dicts.
        name: what a legend or a panel's title calls the surface.
    """

    coordinates: tuple[np.ndarray, ...]
    values: Mapping[str, np.ndarray]
    status: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.coordinates) not in (1, 2, 3):
            raise ValueError(f"one to three axes expected, got {len(self.coordinates)}")
        for name, array in {**self.values, "status": self.status}.items():
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
        """The values called ``name`` (the first loss by default), of ``shape``, NaN where not computed.

        Raises:
            ValueError: there is no such metric; the message lists those there are.
        """
        name = name or (self.metrics[0] if self.metrics else "train_loss")
        if name not in self.values:
            raise ValueError(f"no metric {name!r} on this surface; it has {', '.join(self.values) or 'none'}")
        return self.values[name]
