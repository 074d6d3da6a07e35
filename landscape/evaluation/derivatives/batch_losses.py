"""Losses of batches as functions of the weights that autograd can follow, also for losses with weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import call_without_grad, detach_each, preserve_random_state
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import read_values


class BatchLosses:
    """Losses of batches of a split, whose sum over all batches is the mean loss times the number of samples.

    Args:
        loss: the loss.
        network: function that returns the outputs for inputs.
        split: the split.
        batch_size: samples per batch.
        device: device of the network.
        dtype: type of the inputs.
    """

    def __init__(
        self,
        loss: Measure,
        network: Callable[[Any], Any],
        split: Split,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._loss, self._network, self._split = loss, network, split
        self._batch_size, self._device, self._dtype = batch_size, device, dtype
        self._weight: float | None = None  # of all samples, for a loss with weights

    def __call__(self, batch: Split) -> Tensor:
        """Return the losses of a batch: ``(samples,)`` float64, or their mean as a scalar."""
        return self.of(self._network(detach_each(batch.inputs)), batch.targets)

    def sum(self, batch: Split) -> Tensor:
        """Return the sum of the losses of a batch."""
        losses = self(batch)
        return losses.sum() if losses.dim() else losses * len(batch)

    def unweighted(self, batch: Split) -> Tensor:
        """Return the losses of a batch.

        Raises:
            ValueError: the loss has weights.
        """
        losses = self(batch)
        if self._weight is not None:
            raise ValueError(
                "the empirical Fisher matrix is defined for a mean over samples, but this loss has weights; use "
                "gauss_newton or hessian instead"
            )
        return losses

    def of(self, outputs: Any, targets: Any) -> Tensor:
        """Return the losses of outputs; those of a loss with weights are scaled so that their mean is its value."""
        samples = len(tree_leaves(targets)[0])
        result = read_values(self._loss(outputs, targets), samples, "loss", device=self._device)
        values = result.values.double()
        if result.weights is None:
            return values
        if result.weights.requires_grad:
            raise ValueError("loss: expected weights that don't depend on the network, got some that do: detach them")
        scale = len(self._split) / self._total_weight()
        return values * scale if values.dim() else values * (scale / samples)

    def _total_weight(self) -> float:
        """Return the sum of the weights of all samples of the split, computed once, at the present weights."""
        if self._weight is None:
            total = 0.0

            def weights_of(batch: Split) -> Tensor | None:
                outputs = self._network(detach_each(batch.inputs))
                return read_values(self._loss(outputs, batch.targets), len(batch), "loss").weights

            with preserve_random_state(self._device):
                for batch in (part.to(self._device, self._dtype) for part in self._split.batches(self._batch_size)):
                    weights = call_without_grad(partial(weights_of, batch))
                    assert weights is not None  # as for the batch before
                    total += float(weights.double().sum())
            self._weight = total
        return self._weight
