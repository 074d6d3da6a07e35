"""Loss and gradients of a batch: by autograd, compiled, or captured in a CUDA graph; loss scaling for float16."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from landscape._utils.cuda_graph import CapturedPass
from landscape._utils.torch_compat import scale_each, tree_leaves, tree_map
from landscape._utils.torch_state import preserve_random_state
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import read_values

FIRST_SCALE, GROWTH_STEPS = 2.0**16, 2000
"""Initial factor of the loss, and number of steps without overflow after which it is doubled: torch's own choices."""


class LossScale:
    """A factor of the loss that keeps gradients in float16 away from zero, as in Micikevicius et al. (2018).

    Gradients are divided by it before the optimizer sees them. If they overflow, the factor is halved and they are
    computed again, so that no step is skipped.

    Attributes:
        value: the factor, a power of two.
        steps: number of evaluations since the last overflow.
    """

    def __init__(self) -> None:
        self.value, self.steps = FIRST_SCALE, 0

    def overflowed(self, model: nn.Module) -> bool:
        """Divide the gradients by the factor; or return True, with a smaller factor, if they aren't finite.

        With a factor of 1 they are the gradients of the network, and are kept as they are.
        """
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if not gradients:
            return False
        if self.value > 1 and not all(torch.stack([g.isfinite().all() for g in gradients]).tolist()):
            self.value, self.steps = self.value / 2, 0
            return True
        scale_each(gradients, 1 / self.value)
        self.steps += 1
        if self.steps == GROWTH_STEPS:
            self.value, self.steps = 2 * self.value, 0
        return False

    def state_dict(self) -> dict[str, float]:
        """Return what is needed to resume."""
        return {"value": self.value, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.value, self.steps = float(state["value"]), int(state["steps"])


class Gradients(Protocol):
    """A way to compute the loss of a batch, and its gradients in ``.grad``.

    Attributes:
        scale: factor by which the gradients are too large; None for 1.
    """

    scale: LossScale | None

    def __call__(self, batch: Split, check: Callable[[Tensor], None]) -> Tensor:
        """Return the mean loss, detached.

        Args:
            batch: samples, on the device of the network.
            check: function that refuses a loss by raising; it is called before gradients are computed if that is
                possible.
        """


class AutogradGradients:
    """Gradients by autograd, operation by operation.

    Args:
        network: the callable that is trained: a module, or its compiled form.
        loss: per-sample loss, one with weights, or scalar mean.
        device: device of the network.
        autocast: type of the forward pass; None for the type of the weights.
    """

    def __init__(
        self, network: Callable[[Any], Any], loss: Measure, device: torch.device, autocast: torch.dtype | None = None
    ) -> None:
        self._network, self._loss, self._device, self._autocast = network, loss, device, autocast
        self.scale = LossScale() if autocast == torch.float16 else None

    def mean_loss(self, batch: Split) -> Tensor:
        """Return the mean loss of a batch, weighted if the loss has weights, with its graph."""
        with torch.autocast(self._device.type, dtype=self._autocast, enabled=self._autocast is not None):
            outputs = self._network(batch.inputs)
            return read_values(self._loss(outputs, batch.targets), len(batch), "loss").mean()

    def __call__(self, batch: Split, check: Callable[[Tensor], None]) -> Tensor:
        loss = self.mean_loss(batch)
        check(loss.detach())
        scaled = loss if self.scale is None else loss * self.scale.value
        scaled.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        return loss.detach()


class _Captured(NamedTuple):
    """A captured pass, and the memory that it reads: a batch, and the factor of the loss."""

    batch: Split
    factor: Tensor
    graph: CapturedPass[list[Tensor]]


class CapturedGradients:
    """Gradients as one CUDA graph for each shape of a batch; the optimizer's step stays outside.

    Of the forward pass, only the kernels are repeated: code in Python, including hooks, runs when a shape is captured.
    The first result for a shape is compared with that of autograd.

    Args:
        plain: the gradients by autograd.
        model: the network.
    """

    def __init__(self, plain: AutogradGradients, model: nn.Module) -> None:
        self._plain, self._model = plain, model
        self.scale = plain.scale
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._captured: dict[Any, _Captured] = {}

    def __call__(self, batch: Split, check: Callable[[Tensor], None]) -> Tensor:
        leaves = tree_leaves((batch.inputs, batch.targets))
        key = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if key not in self._captured:
            self._captured[key] = self._capture(batch)
        captured = self._captured[key]
        for into, leaf in zip(tree_leaves((captured.batch.inputs, captured.batch.targets)), leaves, strict=True):
            into.copy_(leaf)
        captured.factor.fill_(1.0 if self.scale is None else self.scale.value)
        loss, *gradients = captured.graph.replay()
        check(loss)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss.clone()  # the next replay overwrites it, perhaps before it is read

    def _capture(self, batch: Split) -> _Captured:
        """Capture a pass for batches of this shape; buffers and random state are left as they were.

        Raises:
            ValueError: the pass cannot be captured, or gives another loss or other gradients than autograd.
        """
        own = Split(*tree_map(lambda leaf: leaf.clone(), (batch.inputs, batch.targets)))
        device = self._parameters[0].device
        factor = torch.ones((), device=device)

        def compute() -> list[Tensor]:
            loss = self._plain.mean_loss(own)
            found = torch.autograd.grad(loss * factor, self._parameters, allow_unused=True)
            # Parameters that take no part get zeros here, and None by autograd: optimizers then decay them.
            unused = [p for p, g in zip(self._parameters, found, strict=True) if g is None]
            if unused:
                raise ValueError(f"{len(unused)} parameters take no part in the loss")
            laid_out = [_like(g, p) for g, p in zip(found, self._parameters, strict=True) if g is not None]
            return [loss.detach(), *laid_out]

        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}

        def restore() -> None:
            for name, buffer in self._model.named_buffers():
                buffer.copy_(buffers[name])

        try:
            with preserve_random_state(device):
                graph = CapturedPass(compute)
            restore()
            with preserve_random_state(device):
                expected = [tensor.clone() for tensor in compute()]
            restore()
            with preserve_random_state(device):
                found = [tensor.clone() for tensor in graph.replay()]
            restore()
        except Exception as error:  # the network is any module, the loss any callable
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            raise ValueError(
                f"the training step cannot be captured in a CUDA graph ({type(error).__name__}: {error}); use engine "
                "'eager' or 'compiled'"
            ) from error
        for one, other in ((found[:1], expected[:1]), (found[1:], expected[1:])):
            _require_close(one, other)
        return _Captured(own, factor, graph)


def _like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient in the memory layout of its parameter, as autograd leaves it in ``.grad``."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _require_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Refuse a captured pass that doesn't repeat what autograd computes.

    They may differ by the rounding of half precision, relative to the largest number of all: some gradients, such as
    those of biases in front of batch norm, are nothing but rounding.
    """
    largest = max(float(e.abs().max()) for e in expected)
    differs = max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True))
    if math.isfinite(largest) and not differs <= 2.0**-7 * largest:
        raise ValueError(
            "a captured training step gives another loss or other gradients than autograd: the network or the loss "
            "depends on more than its inputs and weights; use engine 'eager' or 'compiled'"
        )
