"""Projected gradient ascent of the loss in a ball around the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.errors import UnsoundError

Norm = Literal["l2", "linf"]
LONGEST_STEP = 8.0
"""First and longest step in units of the radius. It takes a perturbation next to the point of the ball that the
gradient points at, so that on a quadratic function the ascent is close to a power iteration."""


@dataclass(frozen=True)
class Ball:
    """The perturbations ``scale * z`` with a norm of ``z`` up to a radius.

    Attributes:
        norm: ``l2`` or ``linf``.
        radius: radius of ``z``.
        scale: ``(n,)`` factors of the entries: ones for a plain ball, the absolute weights for an adaptive one.
    """

    norm: Norm
    radius: float
    scale: Tensor

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest point of the ball."""
        if self.norm == "linf":
            return z.clamp(-self.radius, self.radius)
        length = float(torch.linalg.vector_norm(z))
        return z * (self.radius / length) if length > self.radius else z

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent in ``z``, of norm 1, for a gradient with respect to the weights."""
        slope = gradient * self.scale
        if self.norm == "linf":
            return slope.sign()
        length = float(torch.linalg.vector_norm(slope))
        return slope / length if length > 0 else slope

    def random(self, generator: torch.Generator) -> Tensor:
        """Return a random point of norm ``radius``."""
        z = torch.randn(self.scale.shape, generator=generator, dtype=torch.float64).to(self.scale.device)
        return z.sign() * self.radius if self.norm == "linf" else z * (self.radius / torch.linalg.vector_norm(z))


@dataclass(frozen=True)
class Ascent:
    """The highest point that an ascent found.

    Attributes:
        perturbation: ``(n,)`` displacement of the weights.
        loss: loss there.
        evaluations: number of losses with gradients that were computed.
    """

    perturbation: Tensor
    loss: float
    evaluations: int


def ascend(
    gradient: Callable[[Tensor], tuple[float, Tensor]],
    weights: Tensor,
    ball: Ball,
    steps: int,
    start: Tensor | None = None,
    what: str = "the ascent",
) -> Ascent:
    """Maximize the loss over a ball by projected steps along the direction of steepest ascent.

    The first step from the centre is that of sharpness-aware minimization (Foret et al., 2021; with the absolute
    weights as scale, Kwon et al., 2021). A step that does not raise the loss is halved, one that does is doubled up to
    :data:`LONGEST_STEP`. The result is a lower bound of the maximum.

    Args:
        gradient: function that returns the loss and its gradient ``(n,)`` at weights ``(n,)``.
        weights: centre of the ball, ``(n,)`` float64.
        ball: the ball.
        steps: number of steps, each of which costs one loss with its gradient; there is one more at the start.
        start: first perturbation in units of ``scale``; the centre by default.
        what: name of the ascent in messages.

    Raises:
        UnsoundError: the loss is not finite somewhere in the ball, so that it has no maximum.
    """

    def at(z: Tensor) -> tuple[float, Tensor]:
        loss, slope = gradient(weights + ball.scale * z)
        if not math.isfinite(loss):
            raise UnsoundError(
                f"{what} with radius {ball.radius:g}: the loss is {loss} inside the ball, so it has no maximum there; "
                "choose a smaller radius"
            )
        return loss, slope

    z = torch.zeros_like(weights) if start is None else start
    loss, slope = at(z)
    length, evaluations = LONGEST_STEP, 1
    for _ in range(steps):
        candidate = ball.project(z + length * ball.radius * ball.steepest(slope))
        if torch.equal(candidate, z):  # a gradient of zero, or the maximum itself
            break
        new_loss, new_slope = at(candidate)
        evaluations += 1
        if new_loss > loss:
            z, loss, slope = candidate, new_loss, new_slope
            length = min(2 * length, LONGEST_STEP)
        else:
            length /= 2
    return Ascent(ball.scale * z, loss, evaluations)
