"""The closure of a training step: loss and gradients of one batch, as often as the optimizer asks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import preserve_random_state, preserve_tensors, seed_random
from landscape.problem.problem import Split
from landscape.training.gradients import Gradients


class NonFiniteBatch(ArithmeticError):
    """The loss at the weights that a step starts from is NaN or infinite.

    Attributes:
        loss: the loss.
        step: number of completed steps before the one that starts from these weights.
    """

    def __init__(self, loss: float, step: int = 0) -> None:
        super().__init__(f"loss is {loss}")
        self.loss, self.step = loss, step


@dataclass
class StepClosure:
    """The closure given to ``optimizer.step``: clears gradients, computes loss and gradients, and returns the loss.

    An optimizer may call it many times in one step (L-BFGS), or at other weights (sharpness-aware minimization). Each
    call sees the same samples, augmentation and dropout masks, since it draws from ``seed`` again and restores the
    random state around it. Only the first call, at the weights that the step starts from, updates buffers: the running
    statistics of batch norm follow the path and not the probes, and their momentum applies once per step.

    Attributes:
        model: the network, in training mode.
        gradients: function that computes the loss of a batch and its gradients.
        batch: samples of the step, augmented.
        seed: random seed of the forward pass.
        waits: read the loss of the first call before its gradients are computed, and refuse one that isn't finite. On a
            GPU the caller reads it later, so that Python runs ahead of the device.
        loss: loss of the first call, detached; None before it.
        error: exception that a call raised, to tell it from one that the optimizer raised.
    """

    model: nn.Module
    gradients: Gradients
    batch: Split
    seed: int
    waits: bool = True
    loss: Tensor | None = None
    error: Exception | None = None
    _ahead: _Evaluated | None = field(default=None, repr=False)

    @property
    def value(self) -> float:
        """Loss of the first call; NaN before it."""
        return math.nan if self.loss is None else float(self.loss)

    def __call__(self) -> Tensor:
        """Compute the loss at the current weights, detached, and the gradients in ``.grad``.

        Raises:
            NonFiniteBatch: the loss of the first call is NaN or infinite, and ``waits``. Later calls are probes, whose
                values are left to the optimizer.
        """
        try:
            if self._ahead is not None and self._ahead.is_at(self.model):
                return self._ahead.restore(self.model)
            return self._evaluate(first=self.loss is None)
        except Exception as error:
            self.error = error
            raise

    def evaluate_ahead(self) -> None:
        """Compute loss and gradients before ``step``, for optimizers that expect gradients there.

        Published two-step optimizers often read the gradients first and call the closure for the second step only.
        Others call it first, at unchanged weights: they get what was computed here, without a second pass.
        """
        loss = self()
        parameters = list(self.model.parameters())
        self._ahead = _Evaluated(
            loss,
            [p.detach().clone() for p in parameters],
            [None if p.grad is None else p.grad.clone() for p in parameters],
        )

    def _evaluate(self, first: bool) -> Tensor:
        def check(loss: Tensor) -> None:
            if first and self.waits and not math.isfinite(value := float(loss)):
                raise NonFiniteBatch(value)

        device, given = next(self.model.parameters()).device, (self.batch.inputs, self.batch.targets)
        update_buffers = first
        while True:
            saved = {} if update_buffers else {name: buffer.clone() for name, buffer in self.model.named_buffers()}
            self.model.zero_grad(set_to_none=True)
            try:
                # A network may write into what it is given, and a later call needs it.
                with torch.enable_grad(), preserve_random_state(device), preserve_tensors(given):
                    seed_random(self.seed, device)
                    loss = self.gradients(self.batch, check)
            finally:
                # By name, since a module may have replaced a buffer by a new tensor.
                for name, buffer in self.model.named_buffers():
                    if name in saved:
                        buffer.copy_(saved[name])
            if self.gradients.scale is None or not self.gradients.scale.overflowed(self.model):
                break
            update_buffers = False  # once is enough: the forward pass is the same at a smaller scale
        if first:
            self.loss = loss
        return loss


@dataclass(frozen=True)
class _Evaluated:
    """Loss and gradients at the weights that a step starts from."""

    loss: Tensor
    weights: list[Tensor]
    gradients: list[Tensor | None]

    def is_at(self, model: nn.Module) -> bool:
        # Compared by value: a version counter doesn't see what an optimizer writes through ``.data``.
        return all(torch.equal(p, before) for p, before in zip(model.parameters(), self.weights, strict=True))

    def restore(self, model: nn.Module) -> Tensor:
        for parameter, gradient in zip(model.parameters(), self.gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        return self.loss.clone()
