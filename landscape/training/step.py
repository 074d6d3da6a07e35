"""One training step: random seeds, and the closure that computes loss and gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import preserve_random_state, seed_random
from landscape.problem.problem import Measure, Split
from landscape.training.measure import per_sample


class NonFiniteBatch(ArithmeticError):
    """The loss at the weights a step starts from is NaN or infinite; nothing was changed by the step."""

    def __init__(self, loss: float) -> None:
        super().__init__(f"loss is {loss}")
        self.loss = loss


@dataclass
class StepClosure:
    """What is handed to ``optimizer.step``: clears the gradients, computes loss and gradients, returns the loss.

    An optimizer may call it many times in one step (L-BFGS), or at other weights (sharpness-aware minimization). Each
    call sees the same samples, the same augmentation and the same dropout masks, since each draws from ``seed`` anew
    and leaves the random state of its surroundings alone. Buffers are moved by the first call only, which is the one at
    the weights that the step starts from: the running statistics of batch-norm follow the path and not the probes, and
    their momentum means what it says, once a step.

    Attributes:
        model: in training mode.
        loss: per-sample loss or scalar mean.
        batch: the samples of the step, augmented.
        seed: of the random numbers in the forward pass.
        autocast: type of the forward pass, or None for the type of the weights.
        value: loss of the first call; NaN before it.
        error: what a call raised, which tells it from what the optimizer raised itself.
    """

    model: nn.Module
    loss: Measure
    batch: Split
    seed: int
    autocast: torch.dtype | None = None
    value: float = math.nan
    error: Exception | None = None
    _start: tuple[Tensor, list[Tensor], list[Tensor | None]] | None = None

    def __call__(self) -> Tensor:
        """Loss at the present weights, detached; the gradients are in ``.grad``.

        Raises:
            NonFiniteBatch: the loss of the first call is NaN or infinite. Later ones are probes, and their values the
                optimizer's business.
        """
        try:
            if self._start is not None and self._is_start(self._start[1]):
                return self._again()
            return self._evaluate(first=math.isnan(self.value))
        except Exception as error:
            self.error = error
            raise

    def evaluate_ahead(self) -> None:
        """Compute the gradients before ``step``, for optimizers that expect them there, and without loss of time.

        Published two-step optimizers often read the gradients first and call the closure for the second step only.
        Others call it first, at unchanged weights: they are given what was computed here.
        """
        loss = self()
        parameters = list(self.model.parameters())
        self._start = (
            loss,
            [p.detach().clone() for p in parameters],
            [None if p.grad is None else p.grad.clone() for p in parameters],
        )

    def _evaluate(self, first: bool) -> Tensor:
        kept = {} if first else {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.model.zero_grad(set_to_none=True)
        device = next(self.model.parameters()).device
        try:
            with torch.enable_grad(), preserve_random_state(device):
                seed_random(self.seed, device)
                with torch.autocast(device.type, dtype=self.autocast, enabled=self.autocast is not None):
                    outputs = self.model(self.batch.inputs)
                    loss = per_sample(self.loss(outputs, self.batch.targets), len(self.batch), "loss").mean()
                if first and not math.isfinite(value := float(loss.detach())):
                    raise NonFiniteBatch(value)
                loss.backward()
        finally:
            # By name, since a module may have put a new tensor in a buffer's place.
            for name, buffer in self.model.named_buffers():
                if name in kept:
                    buffer.copy_(kept[name])
        if first:
            self.value = value
        return loss.detach()

    def _is_start(self, weights: list[Tensor]) -> bool:
        # Compared by value: a version counter does not see what an optimizer writes through ``.data``.
        return all(torch.equal(p, before) for p, before in zip(self.model.parameters(), weights, strict=True))

    def _again(self) -> Tensor:
        loss, _, gradients = self._start
        for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        return loss.clone()
