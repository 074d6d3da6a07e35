"""The grid of a sweep: evenly spaced coordinates along one to three axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_POINTS = 2**25
"""Largest number of points of a grid (33.5 million)."""


@dataclass(frozen=True)
class Axis:
    """An axis of evenly spaced coordinates.

    Attributes:
        start: first coordinate.
        stop: last coordinate.
        count: number of coordinates.

    Raises:
        ValueError: a bound is not finite, ``count`` is below one, or ``start`` is not below ``stop`` (for one
            coordinate, not equal to it).
    """

    start: float
    stop: float
    count: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.stop)):
            raise ValueError(f"expected finite bounds of an axis, got {self.start} and {self.stop}")
        if self.count < 1:
            raise ValueError(f"expected an axis of at least one point, got {self.count}")
        if self.count > MAX_POINTS:
            raise ValueError(f"expected an axis of at most {MAX_POINTS:,} points, got {self.count:,}")
        if self.count > 1 and not self.start < self.stop:
            raise ValueError(f"expected an axis from low to high, got {self.start:g} to {self.stop:g}")
        if self.count == 1 and self.start != self.stop:
            raise ValueError(f"expected equal bounds for an axis of one point, got {self.start:g} and {self.stop:g}")

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Return the axis written as ``min:max:n``, for instance ``-1:1:51``.

        Raises:
            ValueError: another form; the message shows a correct one.
        """
        parts = text.split(":")
        try:
            if len(parts) != 3:
                raise ValueError
            start, stop, count = float(parts[0]), float(parts[1]), int(parts[2])
        except ValueError:
            raise ValueError(f"expected an axis like -1:1:51 (min:max:n), got {text!r}") from None
        return cls(start, stop, count)

    def __str__(self) -> str:
        return f"{_short(self.start)}:{_short(self.stop)}:{self.count}"

    @property
    def values(self) -> np.ndarray:
        """Coordinates, ``(count,)`` float64; exactly zero in the middle of a symmetric axis with odd ``count``."""
        # Linear interpolation from both ends keeps symmetric axes symmetric bit for bit; linspace does not.
        i = np.arange(self.count, dtype=np.float64)
        last = max(self.count - 1, 1)
        values = (self.start * (last - i) + self.stop * i) / last
        values[0], values[-1] = self.start, self.stop  # a product over its own factor may miss the last bit
        return values


@dataclass(frozen=True)
class StepAxis(Axis):
    """An axis whose coordinates are the steps of checkpoints, at any distances.

    Attributes:
        steps: the steps, ascending.
    """

    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, steps: Sequence[int]) -> StepAxis:
        """Return the axis of ``steps``.

        Raises:
            ValueError: no steps.
        """
        if not steps:
            raise ValueError("expected one or more steps, got none")
        return cls(steps[0], steps[-1], len(steps), tuple(steps))

    def __str__(self) -> str:
        return f"steps {','.join(map(str, self.steps))}"

    @property
    def values(self) -> np.ndarray:
        """Steps, ``(count,)`` float64."""
        return np.array(self.steps, dtype=np.float64)


def _short(value: float) -> str:
    """Return the shortest text that gives the number back."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


DEFAULT_COUNT = 51
"""Points per axis by default."""


@dataclass(frozen=True)
class AutoAxis:
    """An axis whose range is found by rule.

    Attributes:
        count: number of points.
    """

    count: int = DEFAULT_COUNT

    def __str__(self) -> str:
        return f"auto:{self.count}"


def parse_axis(text: str) -> Axis | AutoAxis:
    """Return the axis written as ``min:max:n``, ``auto`` or ``auto:n``.

    Raises:
        ValueError: another form; the message shows a correct one.
    """
    word, colon, count = text.partition(":")
    if word != "auto":
        return Axis.parse(text)
    if colon and not (count.isdecimal() and int(count) > 1):
        raise ValueError(f"expected auto or auto:n with n of at least 2, like auto:51, got {text!r}")
    return AutoAxis(int(count)) if colon else AutoAxis()


@dataclass(frozen=True)
class Grid:
    """A regular grid of one to three axes, whose points are numbered with x running fastest.

    Attributes:
        axes: axes of the grid, x first.
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 3:
            raise ValueError(f"expected one to three axes, got {len(self.axes)}")

    @classmethod
    def parse(cls, *texts: str) -> Grid:
        """Return the grid of axes written as text: ``Grid.parse("-1:1:51", "-1:1:51")``."""
        return cls(tuple(Axis.parse(text) for text in texts))

    def over(self, seeds: Sequence[int]) -> Grid:
        """Return this grid repeated for each of consecutive ``seeds``, which become the last axis.

        Raises:
            ValueError: the seeds are not consecutive, or the grid has three axes already.
        """
        if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
            raise ValueError(f"expected consecutive seeds, got {list(seeds)}")
        return Grid((*self.axes, Axis(seeds[0], seeds[-1], len(seeds))))

    def through(self, steps: Sequence[int]) -> Grid:
        """Return this grid repeated for each of ascending ``steps``, which become the last axis.

        Raises:
            ValueError: no steps, or the grid has three axes already.
        """
        return Grid((*self.axes, StepAxis.of(steps)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays of values: ``(nx,)``, ``(ny, nx)`` or ``(nz, ny, nx)``."""
        return tuple(axis.count for axis in reversed(self.axes))

    def __len__(self) -> int:
        return math.prod(axis.count for axis in self.axes)

    @property
    def coordinates(self) -> tuple[np.ndarray, ...]:
        """Coordinates along each axis, x first."""
        return tuple(axis.values for axis in self.axes)

    @cached_property
    def _coordinate_lists(self) -> list[list[float]]:
        """Coordinates as plain numbers: for tiny networks, indexing arrays would take longer than a point."""
        return [values.tolist() for values in self.coordinates]

    def point(self, index: int) -> tuple[float, ...]:
        """Return the coordinates of the point at flat ``index``, x first."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a point from 0 to {len(self) - 1}, got {index}")
        rest, found = int(index), []
        for values in self._coordinate_lists:
            rest, i = divmod(rest, len(values))
            found.append(values[i])
        return tuple(found)

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return (self.point(index) for index in range(len(self)))
