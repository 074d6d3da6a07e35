"""One training step: the batch, the closure that computes loss and gradients, and the optimizer's update."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape._utils.torch_compat import tree_map
from landscape._utils.torch_state import (
    call_without_grad,
    copy_network,
    derive_seed,
    preserve_random_state,
    seed_random,
)
from landscape._utils.transfer import to_device
from landscape.problem.problem import Problem, Split
from landscape.training.closure import NonFiniteBatch, StepClosure
from landscape.training.gradients import AutogradGradients, Gradients
from landscape.training.optimizers import calls_closure_first

QUEUED_STEPS = 16
"""Steps that may be queued on a GPU before the loss of the oldest is read, so that the GPU never waits for Python."""


class TrainingStep:
    """The training step of a problem with an optimizer, callable with the number of completed steps.

    Everything random (order, augmentation, dropout, the optimizer's own draws) follows from the seed and the step, so
    steps may begin anywhere. The optimizer is called once per step, with a
    :class:`~landscape.training.closure.StepClosure`.

    Attributes:
        steps_per_epoch: number of batches in an epoch; see :func:`count_steps`.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        *,
        name: str,
        batch_size: int,
        seed: int,
        gradients: Gradients | None = None,
        channels_last: bool = False,
    ) -> None:
        """Prepare the step.

        Args:
            problem: model, loss and augmentation, and the split ``train``, on the device of the model or in the memory
                of the host.
            optimizer: optimizer of the model's parameters.
            name: name of the optimizer in messages.
            batch_size: number of samples per step.
            seed: random seed of the run.
            gradients: function that computes the loss of a batch and its gradients; autograd by default.
            channels_last: show images to the network channels-last.
        """
        self._problem, self._optimizer, self._name = problem, optimizer, name
        self._batch_size, self._seed, self._channels_last = batch_size, seed, channels_last
        self._split = problem.splits["train"]
        self._device = next(problem.model.parameters()).device
        self._gradients = gradients or AutogradGradients(problem.model, problem.loss, self._device)
        self._closure_first = calls_closure_first(optimizer)
        self._order: tuple[int, Tensor] | None = None
        self._losses = LossQueue(self._device)
        self.steps_per_epoch = count_steps(problem.model, self._split, batch_size)

    def __call__(self, step: int) -> float:
        """Take the step that follows ``step`` completed steps.

        Returns:
            Mean loss of the batch at the weights before the step. On a GPU, which may still compute it, that of the
            last step that is known, at most :data:`QUEUED_STEPS` before; NaN if there is none.

        Raises:
            NonFiniteBatch: a loss is NaN or infinite. On a CPU it is that of this step, which has changed nothing.
            ValueError: the optimizer cannot train this model.
        """
        closure = StepClosure(
            self._problem.model,
            self._gradients,
            self._batch(step),
            derive_seed(self._seed, "dropout", step),
            waits=self._losses.waits,
        )
        seed_random(derive_seed(self._seed, "optimizer", step), self._device)
        try:
            self._problem.model.zero_grad(set_to_none=True)
            if not self._closure_first:
                closure.evaluate_ahead()
            # torch declares that a closure returns a float, but its optimizers take a tensor, too.
            self._optimizer.step(closure)  # type: ignore[arg-type]
        except NonFiniteBatch as error:
            raise NonFiniteBatch(error.loss, step) from None
        except Exception as error:
            if error is closure.error:  # raised by the model or the loss
                raise
            raise ValueError(f"optimizer {self._name} cannot train this model: {error}") from error
        return self._losses.add(step, closure.loss)

    def settle(self) -> float:
        """Wait for the losses of all steps so far, and return the last one; NaN before the first step.

        Raises:
            NonFiniteBatch: one of them is NaN or infinite.
        """
        return self._losses.settle()

    def _batch(self, step: int) -> Split:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(len(self._split), generator=generator)
            self._order = epoch, order.to(self._split.device)
        start = position * self._batch_size
        end = None if position == self.steps_per_epoch - 1 else start + self._batch_size
        batch = self._split.take(self._order[1][start:end]).read()
        if self._split.device != self._device:
            batch = Split(*tree_map(lambda leaf: to_device(leaf, self._device), (batch.inputs, batch.targets)))
        if self._problem.augment is not None:
            # Drawn on the CPU whatever the device, so that every device sees the same images.
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "augmentation", step))
            batch = Split(self._problem.augment(batch.inputs, generator), batch.targets)
        return Split(channels_last(batch.inputs), batch.targets) if self._channels_last else batch


class _Queued(NamedTuple):
    """A loss on its way to the host, and the event after which it is there."""

    step: int
    loss: Tensor
    arrived: torch.cuda.Event


class LossQueue:
    """Losses of steps in order, read from a GPU without making it wait.

    Args:
        device: device of the losses.

    Attributes:
        waits: True if a loss is known as soon as it is added, as on a CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type != "cuda"
        self._queue: deque[_Queued] = deque()
        self._last = math.nan

    def add(self, step: int, loss: Tensor | None) -> float:
        """Add the loss of the step that follows ``step`` completed steps, and return the last one that is known.

        Raises:
            NonFiniteBatch: that one is NaN or infinite.
        """
        if loss is None:  # an optimizer that doesn't call its closure
            return math.nan
        if self.waits:
            self._last = float(loss)
        else:
            self._queue.append(_Queued(step, *self._send(loss)))
            if len(self._queue) > QUEUED_STEPS:
                self._read()
        return self._last

    def settle(self) -> float:
        """Read all losses, and return the last one.

        Raises:
            NonFiniteBatch: one of them is NaN or infinite.
        """
        while self._queue:
            self._read()
        return self._last

    def _send(self, loss: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        """Let the device copy a loss to the host, and return where it will be, and the event after which it is."""
        on_host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        on_host.copy_(loss, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch doesn't type it
        arrived.record()
        return on_host, arrived

    def _read(self) -> None:
        queued = self._queue.popleft()
        queued.arrived.synchronize()
        self._last = float(queued.loss)
        if not math.isfinite(self._last):
            self._queue.clear()
            raise NonFiniteBatch(self._last, queued.step)


def channels_last(inputs: object) -> object:
    """Return images with their channels last in memory, and anything else as it is."""
    if isinstance(inputs, Tensor) and inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def count_steps(model: nn.Module, split: Split, batch_size: int) -> int:
    """Return the number of batches in an epoch; the last one takes the remainder.

    A remainder of one sample is joined to the batch before if the network cannot be trained on a single sample, since
    batch normalization needs a variance.

    Args:
        model: the network, in training mode; it is left unchanged.
        split: training data.
        batch_size: number of samples of the other batches.
    """
    steps = math.ceil(len(split) / batch_size)
    if steps == 1 or batch_size == 1 or len(split) % batch_size != 1:
        return steps
    twin, device = copy_network(model), next(model.parameters()).device
    try:
        with preserve_random_state(device):
            call_without_grad(lambda: twin(split.take(slice(0, 1)).to(device).inputs))
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            return steps - 1
    except Exception:  # whatever it is, it is no matter of one sample more
        pass
    return steps
