"""Curves in weight space from one network to another: segments, Bezier curves and polygonal chains.

A curve is a weighted sum of control points, the first and last of which are the networks that it connects (Garipov et
al., 2018, section 3; Draxler et al., 2018). A :class:`PointOnCurve` is a network whose only parameter is the place on
the curve, so that whatever moves networks over planes also moves them along curves; a :class:`TrainableCurve` is a
network whose parameters are the inner control points, so that whatever trains networks also trains curves.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import NormBase
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights, require_same_layout

CurveKind: TypeAlias = Literal["segment", "bezier", "chain"]
KINDS: tuple[CurveKind, ...] = ("segment", "bezier", "chain")
"""Kinds of curves: the straight line, a Bezier curve, and straight pieces from each control point to the next."""
Statistics: TypeAlias = Literal["interpolated", "estimated"]
"""Running statistics inside a curve: interpolated like the weights, or re-estimated by the caller. At the ends they are
those of the networks."""


def coefficients(kind: CurveKind, count: int, t: float) -> list[float]:
    """Return the weights of the control points at place ``t``; they sum to one.

    For a Bezier curve these are Bernstein polynomials, ``(1 - t)^2, 2 t (1 - t), t^2`` for three control points
    (Garipov et al., 2018, section 3).

    Args:
        kind: kind of the curve.
        count: number of control points, the ends included.
        t: place from 0 to 1. Beyond these, a Bezier curve and the last pieces of a chain are continued.
    """
    last = count - 1
    if kind == "bezier":
        return [math.comb(last, k) * (1 - t) ** (last - k) * t**k for k in range(count)]
    piece = min(max(math.floor(t * last), 0), last - 1)
    within = t * last - piece
    return [1 - within if k == piece else within if k == piece + 1 else 0.0 for k in range(count)]


@dataclass(frozen=True)
class Curve:
    """A curve through weight space.

    Attributes:
        kind: kind of the curve; a segment has two control points.
        points: control points, of which the first and last are the ends.

    Raises:
        ValueError: an unknown kind, too few points, or points of different networks.
    """

    kind: CurveKind
    points: tuple[Weights, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"curve: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if len(self.points) < 2 or (self.kind == "segment" and len(self.points) != 2):
            raise ValueError(f"expected two control points or more (two for a segment), got {len(self.points)}")
        for point in self.points[1:]:
            require_same_layout(self.points[0], point)

    @classmethod
    def straight(cls, kind: CurveKind, start: Weights, end: Weights, bends: int) -> Curve:
        """Return a curve with ``bends`` inner control points evenly on the straight line, as before training."""
        inner = []
        for k in range(1, bends + 1):
            t = k / (bends + 1)
            inner.append(_combine([start, end], [1 - t, t]))
        return cls(kind, (start, *inner, end))

    def at(self, t: float) -> Weights:
        """Return the weights at place ``t``; at 0 and 1 copies of the ends, bit for bit."""
        if t in (0, 1):
            return self.points[0 if t == 0 else -1].copy()
        return _combine(self.points, coefficients(self.kind, len(self.points), t))


def _combine(points: Sequence[Weights], factors: Sequence[float]) -> Weights:
    """Return a weighted sum of weights, in their dtypes."""
    first = points[0]
    return first.with_tensors(
        {name: _sum([point.tensors[name] for point in points], factors) for name in first.tensors}
    )


def _sum(tensors: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    """Return a weighted sum of tensors; those with factor zero are left out, so that they may be infinite."""
    total: Tensor | None = None
    for tensor, factor in zip(tensors, factors, strict=True):
        if factor:
            total = tensor * factor if total is None else torch.add(total, tensor, alpha=factor)
    return torch.zeros_like(tensors[0]) if total is None else total


class _Tensors(nn.Module):
    """Tensors of one control point, as parameters to be trained or as buffers."""

    def __init__(self, tensors: Sequence[Tensor], trained: Sequence[bool]) -> None:
        super().__init__()
        for index, (tensor, is_parameter) in enumerate(zip(tensors, trained, strict=True)):
            if is_parameter:
                self.register_parameter(str(index), nn.Parameter(tensor.detach().clone()))
            else:
                self.register_buffer(str(index), tensor.detach().clone())

    def tensors(self) -> list[Tensor]:
        """Return the tensors in order."""
        count = len(self._parameters) + len(self._buffers)
        return [getattr(self, str(index)) for index in range(count)]


class CurveNetwork(nn.Module):
    """A network with the weights of a place on a curve.

    Args:
        network: the network; a copy of it is kept.
        curve: the curve, with running statistics among its weights if the network has any.
        trained: True to make the inner control points parameters; otherwise they are buffers.
    """

    def __init__(self, network: nn.Module, curve: Curve, trained: bool) -> None:
        super().__init__()
        first = curve.points[0]
        frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
        self.network = copy.deepcopy(network)
        # Only the control points, or only the place, are parameters.
        _parameters_to_buffers(self.network)
        self._kind: CurveKind = curve.kind
        self._names, self._tied = list(first.tensors), dict(first.tied)
        self._statistics = [name in first.buffers for name in self._names]
        learns = [trained and name not in first.buffers and name not in frozen for name in self._names]
        ends, last = [False] * len(learns), len(curve.points) - 1
        self.points = nn.ModuleList(
            _Tensors([tensor for _, tensor in point], learns if 0 < k < last else ends)
            for k, point in enumerate(curve.points)
        )

    def curve(self) -> Curve:
        """Return the curve with its present control points."""
        buffers = frozenset(name for name, is_buffer in zip(self._names, self._statistics, strict=True) if is_buffer)
        points = [
            Weights(
                {n: t.detach().clone() for n, t in zip(self._names, self._tensors(k), strict=True)}, buffers, self._tied
            )
            for k in range(len(self.points))
        ]
        return Curve(self._kind, tuple(points))

    def _tensors(self, point: int) -> list[Tensor]:
        module = self.points[point]
        assert isinstance(module, _Tensors)
        return module.tensors()

    def _weights(self, t: float, with_statistics: bool) -> dict[str, Tensor]:
        count = len(self.points)
        chosen = [k for k, is_buffer in enumerate(self._statistics) if with_statistics or not is_buffer]
        if t in (0, 1):
            end = self._tensors(0 if t == 0 else count - 1)
            return {self._names[k]: end[k] for k in chosen}
        factors, columns = coefficients(self._kind, count, t), [self._tensors(k) for k in range(count)]
        return {self._names[k]: _sum([column[k] for column in columns], factors) for k in chosen}

    def _run(self, t: float, with_statistics: bool, args: Any, kwargs: Any) -> Any:
        weights = self._weights(t, with_statistics)
        # By all of its names, since buffers that share a tensor no longer do after a move to another device.
        weights |= {other: weights[name] for name in weights for other in self._tied.get(name, ())}
        return torch.func.functional_call(self.network, weights, args, kwargs)


class PointOnCurve(CurveNetwork):
    """A network at one place of a curve: its only parameter is the place.

    Args:
        network: the network; a copy of it is kept.
        curve: the curve.
        statistics: running statistics inside the curve. ``estimated`` uses those of the layers themselves, which the
            caller re-estimates at each place; at the ends they are those of the ends in either case.
    """

    def __init__(self, network: nn.Module, curve: Curve, statistics: Statistics = "interpolated") -> None:
        super().__init__(network, curve, trained=False)
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._interpolated = statistics == "interpolated"
        self._norms = [module for module in self.network.modules() if isinstance(module, NormBase)]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs of the network at the present place."""
        t = float(self.place)
        # Layers in training mode are having their statistics re-estimated: nothing of the ends may be overwritten.
        estimating = any(norm.training for norm in self._norms)
        with_statistics = not estimating and (self._interpolated or t in (0, 1))
        return self._run(t, with_statistics, args, kwargs)

    def line(self, source: str = "") -> Plane:
        """Return the line of places from 0 to 1, as a plane of one axis of this network.

        Args:
            source: description of the curve for the recipe of the direction.
        """
        origin = Weights.from_model(self)
        zero = origin.with_tensors({name: torch.zeros_like(tensor) for name, tensor in origin})
        one = origin.with_tensors({name: torch.ones_like(tensor) for name, tensor in origin})
        return Plane(zero, (Direction(one, DirectionRecipe("curve", source=source or None)),))


class TrainableCurve(CurveNetwork):
    """A network whose parameters are the inner control points of a curve.

    In training mode each forward pass draws its place uniformly from 0 to 1 from torch's default generator, so that
    the loss is an unbiased estimate of the mean loss along the curve (Garipov et al., 2018, section 3); normalization
    layers use the statistics of the batch. In evaluation mode the place is the middle.

    Args:
        network: the network; a copy of it is kept.
        curve: the curve, with one inner control point or more.
    """

    def __init__(self, network: nn.Module, curve: Curve) -> None:
        if len(curve.points) < 3:
            raise ValueError(f"expected a curve with inner control points to train, got {len(curve.points)} points")
        super().__init__(network, curve, trained=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs of the network at a place of the curve."""
        t = float(torch.rand(())) if self.training else 0.5
        return self._run(t, False, args, kwargs)


def _parameters_to_buffers(network: nn.Module) -> None:
    """Turn the parameters of a network into buffers that no checkpoint holds; shared ones stay shared."""
    parameters = [
        (module, name, parameter) for module in network.modules() for name, parameter in module._parameters.items()
    ]
    made = {id(parameter): None if parameter is None else parameter.detach() for _, _, parameter in parameters}
    for module, name, parameter in parameters:
        del module._parameters[name]
        module.register_buffer(name, made[id(parameter)], persistent=False)
