"""Functions of one or two variables: formula, domain, usual start and known stationary points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

KINDS = ("minimum", "maximum", "saddle", "inflection")


@dataclass(frozen=True)
class KnownPoint:
    """A known stationary point.

    Attributes:
        kind: ``minimum``, ``maximum``, ``saddle`` (of two variables) or ``inflection`` (of one).
        at: coordinates, x first.
        value: value of the function at the point.
        best: True for a global minimum or maximum.
        smooth: True if the function has a gradient at the point; Ackley's function has a kink at its minimum.
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
        name: name in messages and legends.
        formula: formula as text, in the syntax of :mod:`landscape.functions.expression`.
        value: differentiable function of one tensor per variable, all of one shape, that returns a tensor of that
            shape.
        domain: ``(low, high)`` of each variable, x first, as shown in figures.
        start: usual starting point of an optimizer.
        points: known minima, maxima and saddle points, the best first.
        maximize: True if the function is to be maximized.
        source: publication; empty if there is none.

    Raises:
        ValueError: there are neither one nor two variables, a domain is empty, or a point has another number of
            coordinates.
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
            raise ValueError(f"{self.name}: expected one or two variables, got {self.variables}")
        for low, high in self.domain:
            if not low < high:
                raise ValueError(f"{self.name}: expected a domain from low to high, got {low:g} to {high:g}")
        for at in (self.start, *(point.at for point in self.points)):
            self.check(at)

    @property
    def variables(self) -> int:
        """Number of variables, 1 or 2."""
        return len(self.domain)

    def __call__(self, *coordinates: Tensor) -> Tensor:
        """Return the values at tensors of one shape."""
        return self.value(*coordinates)

    def check(self, at: Sequence[float]) -> None:
        """Raise ``ValueError`` unless ``at`` has one coordinate per variable."""
        if len(at) != self.variables:
            raise ValueError(f"{self.name}: expected {self.variables} coordinates, one per variable, got {len(at)}")

    def values(self, *coordinates: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the values at arrays that broadcast to one shape, float64 of that shape."""
        tensors = _broadcast(coordinates)
        with torch.no_grad():
            return np.array(self.value(*tensors).expand(tensors[0].shape).numpy(), dtype=np.float64)

    def gradient(self, *coordinates: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the partial derivatives at arrays that broadcast to one shape, by automatic differentiation.

        Returns:
            Derivatives ``(variables, *shape)``, float64.
        """
        tensors = [tensor.clone().requires_grad_() for tensor in _broadcast(coordinates)]
        parts = torch.autograd.grad(self.value(*tensors).sum(), tensors, allow_unused=True)
        return np.stack([np.zeros(t.shape) if p is None else p.numpy() for p, t in zip(parts, tensors, strict=True)])


def _broadcast(coordinates: Sequence[npt.ArrayLike]) -> list[Tensor]:
    # By torch and as views: kernels may round differently on contiguous copies.
    arrays = (torch.as_tensor(np.asarray(coordinate, dtype=np.float64)) for coordinate in coordinates)
    return list(torch.broadcast_tensors(*arrays))  # type: ignore[no-untyped-call]  # untyped in torch
