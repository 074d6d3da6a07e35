"""One training step: the batch, the closure that computes loss and gradients, and the optimizer's update."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape._utils.torch_state import (
    call_without_grad,
    copy_network,
    derive_seed,
    preserve_random_state,
    preserve_tensors,
    seed_random,
)
from landscape.problem.problem import Measure, Problem, Split
from landscape.training.measure import check_per_sample
from landscape.training.optimizers import calls_closure_first


class NonFiniteBatch(ArithmeticError):
    """The loss at the weights that a step starts from is NaN or infinite; the step changed nothing."""

    def __init__(self, loss: float) -> None:
        super().__init__(f"loss is {loss}")
        self.loss = loss


class TrainingStep:
    """The training step of a problem with an optimizer, callable with the number of completed steps.

    Everything random (order, augmentation, dropout, the optimizer's own draws) follows from the seed and the step, so
    steps may begin anywhere. The optimizer is called once per step, with a :class:`StepClosure`.

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
        autocast: torch.dtype | None = None,
    ) -> None:
        """Prepare the step.

        Args:
            problem: model, loss and augmentation, and the split ``train`` on the device of the model.
            optimizer: optimizer of the model's parameters.
            name: name of the optimizer in messages.
            batch_size: number of samples per step.
            seed: random seed of the run.
            autocast: type of the forward pass; None for the type of the weights.
        """
        self._problem, self._optimizer, self._name = problem, optimizer, name
        self._batch_size, self._seed, self._autocast = batch_size, seed, autocast
        self._split = problem.splits["train"]
        self._device = next(problem.model.parameters()).device
        self._closure_first = calls_closure_first(optimizer)
        self._order: tuple[int, Tensor] | None = None
        self.steps_per_epoch = count_steps(problem.model, self._split, batch_size)

    def __call__(self, step: int) -> float:
        """Take the step that follows ``step`` completed steps.

        Returns:
            Mean loss of the batch at the weights before the step.

        Raises:
            NonFiniteBatch: that loss is NaN or infinite.
            ValueError: the optimizer cannot train this model.
        """
        closure = StepClosure(
            self._problem.model,
            self._problem.loss,
            self._batch(step),
            derive_seed(self._seed, "dropout", step),
            self._autocast,
        )
        seed_random(derive_seed(self._seed, "optimizer", step), self._device)
        try:
            self._problem.model.zero_grad(set_to_none=True)
            if not self._closure_first:
                closure.evaluate_ahead()
            # torch declares that a closure returns a float, but its optimizers take a tensor, too.
            self._optimizer.step(closure)  # type: ignore[arg-type]
        except NonFiniteBatch:
            raise
        except Exception as error:
            if error is closure.error:  # raised by the model or the loss
                raise
            raise ValueError(f"optimizer {self._name} cannot train this model: {error}") from error
        return closure.value

    def _batch(self, step: int) -> Split:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self._split), generator=generator).to(self._device)
        start = position * self._batch_size
        end = None if position == self.steps_per_epoch - 1 else start + self._batch_size
        batch = self._split.take(self._order[1][start:end])
        if self._problem.augment is None:
            return batch
        # Drawn on the CPU whatever the device, so that every device sees the same images.
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "augmentation", step))
        return Split(self._problem.augment(batch.inputs, generator), batch.targets)


def count_steps(model: nn.Module, split: Split, batch_size: int) -> int:
    """Return the number of batches in an epoch; the last one takes the remainder.

    A remainder of one sample is joined to the batch before if the network cannot be trained on a single sample, since
    batch normalization needs a variance.

    Args:
        model: the network, in training mode, on the device of ``split``; it is left unchanged.
        split: training data.
        batch_size: number of samples of the other batches.
    """
    steps = math.ceil(len(split) / batch_size)
    if steps == 1 or batch_size == 1 or len(split) % batch_size != 1:
        return steps
    twin = copy_network(model)
    try:
        with preserve_random_state(next(model.parameters()).device):
            call_without_grad(lambda: twin(split.take(slice(0, 1)).inputs))
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            return steps - 1
    except Exception:  # whatever it is, it is no matter of one sample more
        pass
    return steps


@dataclass
class StepClosure:
    """The closure given to ``optimizer.step``: clears gradients, computes loss and gradients, and returns the loss.

    An optimizer may call it many times in one step (L-BFGS), or at other weights (sharpness-aware minimization). Each
    call sees the same samples, augmentation and dropout masks, since it draws from ``seed`` again and restores the
    random state around it. Only the first call, at the weights that the step starts from, updates buffers: the running
    statistics of batch norm follow the path and not the probes, and their momentum applies once per step.

    Attributes:
        model: the network, in training mode.
        loss: per-sample loss or scalar mean.
        batch: samples of the step, augmented.
        seed: random seed of the forward pass.
        autocast: type of the forward pass; None for the type of the weights.
        value: loss of the first call; NaN before it.
        error: exception that a call raised, to tell it from one that the optimizer raised.
    """

    model: nn.Module
    loss: Measure
    batch: Split
    seed: int
    autocast: torch.dtype | None = None
    value: float = math.nan
    error: Exception | None = None
    _ahead: _Evaluated | None = field(default=None, repr=False)

    def __call__(self) -> Tensor:
        """Compute the loss at the current weights, detached, and the gradients in ``.grad``.

        Raises:
            NonFiniteBatch: the loss of the first call is NaN or infinite. Later calls are probes, whose values are left
                to the optimizer.
        """
        try:
            if self._ahead is not None and self._ahead.is_at(self.model):
                return self._ahead.restore(self.model)
            return self._evaluate(first=math.isnan(self.value))
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
        saved = {} if first else {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.model.zero_grad(set_to_none=True)
        device, given = next(self.model.parameters()).device, (self.batch.inputs, self.batch.targets)
        try:
            with torch.enable_grad(), preserve_random_state(device), preserve_tensors(given):  # a later call needs them
                seed_random(self.seed, device)
                with torch.autocast(device.type, dtype=self.autocast, enabled=self.autocast is not None):
                    outputs = self.model(self.batch.inputs)
                    loss = check_per_sample(self.loss(outputs, self.batch.targets), len(self.batch), "loss").mean()
                if first and not math.isfinite(value := float(loss.detach())):
                    raise NonFiniteBatch(value)
                loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        finally:
            # By name, since a module may have replaced a buffer by a new tensor.
            for name, buffer in self.model.named_buffers():
                if name in saved:
                    buffer.copy_(saved[name])
        if first:
            self.value = value
        return loss.detach()


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
