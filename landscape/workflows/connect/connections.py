"""Connections between solutions: options and results of :func:`landscape.connect`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from landscape._utils.json_values import finite
from landscape._utils.text import counted
from landscape.analysis.barriers import Barrier
from landscape.surface.surface import Surface
from landscape.workflows.connect.curves import CurveOptions
from landscape.workflows.sources import PathName, SplitChoice

PLANE_POINTS = 21
"""Points per axis of a plane by default."""


@dataclass(frozen=True)
class ConnectOptions:
    """Settings of :func:`landscape.connect`.

    Attributes:
        points: places on each line, the ends included.
        split: splits to measure.
        samples: size of a fixed, class-balanced subset of each split.
        align: ``weights`` or ``activations``: also permute the hidden units of the second network of each pair to match
            those of the first, and measure the line to the permuted one.
        starts: random starts of weight matching, beside the identity and the matched signatures.
        recalibrate: also measure each line with batch-norm statistics re-estimated at every place inside it (Jordan et
            al., 2023); without batch norm this does nothing.
        curve: also train a curve between the two networks of each pair.
        plane: points per axis of a plane through the solutions (of two networks, through both and the bend of their
            curve); 0 for none. By default a plane is computed if it is defined: for three solutions, for two and a
            curve, and with ``base``.
        base: checkpoint or run from which the networks were fine-tuned: the plane goes through it, and the sum of the
            task vectors is marked.

    Raises:
        ValueError: a number out of range, or an unknown name.
    """

    points: int = 25
    split: SplitChoice = "both"
    samples: int | None = None
    align: Literal["weights", "activations"] | None = None
    starts: int = 5
    recalibrate: bool = False
    curve: CurveOptions | None = None
    plane: int | None = None
    base: PathName | None = None

    def __post_init__(self) -> None:
        if self.points < 3:
            raise ValueError(f"points: expected 3 or more, got {self.points}")
        if self.align not in (None, "weights", "activations"):
            raise ValueError(f"align: expected 'weights' or 'activations', got {self.align!r}")
        if self.starts < 0:
            raise ValueError(f"starts: expected 0 or more, got {self.starts}")
        if self.plane is not None and self.plane not in (0, *range(3, 10_000)):
            raise ValueError(f"plane: expected 0 for none, or 3 points or more, got {self.plane}")


@dataclass(frozen=True)
class Connection:
    """A line or curve from one solution to another, measured.

    Attributes:
        start: name of the solution at place 0.
        end: name of the solution at place 1.
        kind: ``segment``, ``bezier`` or ``chain``.
        aligned: method by which the hidden units of ``end`` were permuted to match ``start``; empty if they weren't.
        statistics: batch-norm statistics inside: ``interpolated``, or ``estimated`` at each place; empty without any.
        barrier: barrier of each metric and split, by name (``train_loss``).
        surface: values along the connection.
        path: file of the surface; None if it is in memory only.
        distance: Euclidean distance of the parameters of the two ends.
    """

    start: str
    end: str
    kind: str
    aligned: str
    statistics: str
    barrier: Mapping[str, Barrier]
    surface: Surface
    path: Path | None = None
    distance: float = float("nan")

    @property
    def label(self) -> str:
        """Short description for legends."""
        parts = ["line" if self.kind == "segment" else {"bezier": "Bezier curve", "chain": "chain"}[self.kind]]
        if self.aligned:
            parts.append("aligned")
        if self.statistics == "estimated":
            parts.append("statistics re-estimated")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the values as JSON writes it."""
        return {
            "start": self.start, "end": self.end, "kind": self.kind, "aligned": self.aligned or None,
            "statistics": self.statistics or None, "distance": self.distance,
            "barrier": {name: barrier.to_json() for name, barrier in self.barrier.items()},
            "file": None if self.path is None else str(self.path),
        }  # fmt: skip


@dataclass(frozen=True)
class MergedPoint:
    """A solution, or weights merged from several, on a plane.

    Attributes:
        name: name on the figure.
        kind: ``solution``, ``base``, ``mean`` or ``task sum``.
        coordinates: place on the plane.
        distance: distance from the plane; 0 for weights that it goes through.
        values: losses and metrics at the weights themselves, by name.
    """

    name: str
    kind: str
    coordinates: tuple[float, float]
    distance: float
    values: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them."""
        return {
            "name": self.name, "kind": self.kind, "coordinates": list(self.coordinates), "distance": self.distance,
            "values": finite(self.values),
        }  # fmt: skip


@dataclass(frozen=True)
class ConnectResult:
    """Result of :func:`landscape.connect`.

    Attributes:
        names: names of the solutions, in order.
        connections: measured lines and curves; of each pair first the line as it is, last what was requested beyond it.
        points: solutions and merged weights on the plane; empty without a plane.
        plane: surface over the plane; None without one.
        figures: files of the figures.
        complete: False if a stop request left something to compute; the same call continues.
    """

    names: tuple[str, ...]
    connections: tuple[Connection, ...] = ()
    points: tuple[MergedPoint, ...] = ()
    plane: Surface | None = None
    figures: tuple[Path, ...] = ()
    complete: bool = True

    def __repr__(self) -> str:
        parts = [counted(len(self.connections), "connection")]
        for connection in self.last if len(self.last) == 1 else ():
            parts += [f"barrier of {name} {barrier.height:.4g}" for name, barrier in connection.barrier.items()]
        names = ", ".join(map(repr, self.names))
        return f"<ConnectResult {names}: {', '.join([*parts, 'complete' if self.complete else 'incomplete'])}>"

    def between(self, start: str, end: str) -> list[Connection]:
        """Return the connections of a pair, in the order in which they were measured."""
        return [c for c in self.connections if {c.start, c.end} == {start, end}]

    @property
    def last(self) -> list[Connection]:
        """The last connection of each pair: aligned, re-estimated or curved as far as requested."""
        found: dict[tuple[str, str], Connection] = {(c.start, c.end): c for c in self.connections}
        return list(found.values())

    def matrix(self, metric: str = "train_loss") -> list[list[float]]:
        """Return the heights of the barriers between all solutions, ``(n, n)``, with zeros on the diagonal.

        Raises:
            ValueError: no such metric was measured.
        """
        heights = [[0.0] * len(self.names) for _ in self.names]
        for connection in self.last:
            if metric not in connection.barrier:
                raise ValueError(f"no metric {metric!r}; measured are {', '.join(connection.barrier)}")
            i, j = self.names.index(connection.start), self.names.index(connection.end)
            heights[i][j] = heights[j][i] = connection.barrier[metric].height
        return heights

    def to_json(self) -> dict[str, Any]:
        """Return everything but the values as JSON writes it.

        Of two solutions, ``barrier`` is that of the last connection. Of more, ``pairs`` has one for each pair.
        """
        found: dict[str, Any] = {"names": list(self.names), "complete": self.complete}
        last = self.last
        if len(last) == 1:
            found["barrier"] = {name: barrier.to_json() for name, barrier in last[0].barrier.items()}
        found["pairs"] = [
            {"start": c.start, "end": c.end, "barrier": {n: b.to_json() for n, b in c.barrier.items()}} for c in last
        ]
        found["connections"] = [connection.to_json() for connection in self.connections]
        found["points"] = [point.to_json() for point in self.points]
        found["figures"] = [str(path) for path in self.figures]
        return found
