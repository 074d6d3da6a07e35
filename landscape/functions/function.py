"""A function of one or two variables as an object: its formula, where it is usually looked at, and its known points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ("minimum", "maximum", "saddle", "inflection")


@dataclass(frozen=True)
class KnownPoint:
    """A point at which the slope is known to vanish.

    Attributes:
        kind: ``minimum``, ``maximum``, ``saddle`` (of two variables) or ``inflection`` (of one).
        at: its coordinates, x first.
        value: of the function there.
        best: whether nothing on the whole line or plane is lower (of minima) or higher (of maxima).
        smooth: whether the function has a gradient there; Ackley's has a kink at its minimum.
    """

    kind: str
    at: tuple[float, ...]
    value: float
    best: bool = False
    smooth: bool = True


@dataclass(frozen=True)
class Function:
    """A function of one or two variables.

    Attributes:
        name: what messages and legends call it.
        formula: as a person types it, in the words of :mod:`landscape.functions.expression`.
        value: of tensors of one shape, one for each variable, to a tensor of that shape; differentiable.
        domain: ``(low, high)`` of each variable, x first: what a figure shows.
        start: where an optimizer usually starts.
        points: known minima, maxima and saddles, the best first.
        maximize: whether one looks for its highest point, and not its lowest.
        source: where it comes from; empty for ours.

    Raises:
        ValueError: neither one nor two variables, an empty domain, or coordinates of another number.
    """

    name: str
    formula: str
    value: Callable[..., Tensor]
    domain: tuple[tuple[float, float], ...]
    start: tuple[float, ...]
    points: tuple[KnownPoint, ...] = ()
    maximize: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if self.variables not in (1, 2):
            raise ValueError(f"{self.name}: one or two variables expected, got {self.variables}")
        for low, high in self.domain:
            if not low < high:
                raise ValueError(f"{self.name}: a domain from low to high expected, got {low:g} to {high:g}")
        for at in (self.start, *(point.at for point in self.points)):
            self.check(at)

    @property
    def variables(self) -> int:
        """One or two."""
        return len(self.domain)

    def __call__(self, *coordinates: Tensor) -> Tensor:
        """The value at tensors of one shape."""
        return self.value(*coordinates)

    def check(self, at: Sequence[float]) -> None:
        """Raise ``ValueError`` unless ``at`` has a coordinate for each variable."""
        if len(at) != self.variables:
            raise ValueError(f"{self.name} has {self.variables} variables; as many coordinates expected, got {len(at)}")

    def values(self, *coordinates: Any) -> np.ndarray:
        """The values at arrays of one shape (or that broadcast to one), float64."""
        tensors = torch.broadcast_tensors(*(torch.as_tensor(np.asarray(c, dtype=np.float64)) for c in coordinates))
        with torch.no_grad():
            return self.value(*tensors).expand(tensors[0].shape).numpy().copy()

    def gradient(self, *coordinates: Any) -> np.ndarray:
        """The partial derivatives at arrays of one shape, by automatic differentiation: ``(variables, *shape)``."""
        broadcast = torch.broadcast_tensors(*(torch.as_tensor(np.asarray(c, dtype=np.float64)) for c in coordinates))
        tensors = [tensor.clone().requires_grad_() for tensor in broadcast]
        parts = torch.autograd.grad(self.value(*tensors).sum(), tensors, allow_unused=True)
        return np.stack([np.zeros(t.shape) if p is None else p.numpy() for p, t in zip(parts, tensors, strict=True)])
