"""Products of curvature matrices with vectors for one batch: Hessian, generalized Gauss-Newton, Fisher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import detach_each
from landscape.problem.measures import cross_entropy, is_own_measure, mean_squared_error
from landscape.problem.problem import Measure, Split

Vector = Sequence[Tensor]
"""A vector in weight space as one tensor per parameter."""


class BatchProduct(Protocol):
    """Function ``(batch, vectors)`` that yields the product with each vector, summed over the samples of the batch."""

    def __call__(self, batch: Split, vectors: Sequence[Vector]) -> Iterator[Sequence[Tensor | None]]:
        """Yield the product with each vector, in order; None stands for zeros."""
        ...


class Hessian:
    """Products with the Hessian by differentiating twice in reverse mode (Pearlmutter, 1994, computes the same).

    Args:
        loss_sum: function that returns the summed loss of a batch.
        parameters: the moving tensors.
    """

    def __init__(self, loss_sum: Callable[[Split], Tensor], parameters: Sequence[Tensor]) -> None:
        self._loss_sum, self._parameters, self._checked = loss_sum, parameters, False

    def __call__(self, batch: Split, vectors: Sequence[Vector]) -> Iterator[Sequence[Tensor | None]]:
        """Yield the product with each vector; the pass through the network and back is shared."""
        loss = self._loss_sum(batch)
        gradients = torch.autograd.grad(loss, self._parameters, create_graph=True, allow_unused=True)
        if not self._checked:
            require_differentiable(gradients)
            self._checked = True
        yield from _vector_jacobian(gradients, self._parameters, vectors)


class EmpiricalFisher:
    """Products with the sum of outer products of per-sample gradients.

    With the Jacobian J of the losses of a batch, the product is ``J^T (J v)``; J v is the derivative of ``J^T u`` with
    respect to u, so both need reverse mode only.

    Args:
        losses: function that returns the loss of each sample of a batch.
        parameters: the moving tensors.
    """

    def __init__(self, losses: Callable[[Split], Tensor], parameters: Sequence[Tensor]) -> None:
        self._losses, self._parameters = losses, parameters

    def __call__(self, batch: Split, vectors: Sequence[Vector]) -> Iterator[Sequence[Tensor | None]]:
        """Yield the product with each vector."""
        losses = self._losses(batch)
        if not losses.dim():
            raise ValueError(
                "the empirical Fisher matrix needs the loss of each sample, but this loss returns the mean of the "
                "batch; return one value per sample (reduction='none')"
            )
        for tangents in _jacobian_vector([losses], self._parameters, vectors):
            yield torch.autograd.grad(losses, self._parameters, tangents[0], retain_graph=True, allow_unused=True)


class GaussNewton:
    """Products with the generalized Gauss-Newton matrix ``J^T H_L J`` (Schraudolph, 2002).

    J is the Jacobian of the outputs of the network and H_L the Hessian of the loss with respect to them.

    Args:
        network: the network.
        loss: the loss.
        parameters: the moving tensors.
    """

    def __init__(self, network: Callable[[Any], Any], loss: Measure, parameters: Sequence[Tensor]) -> None:
        self._network, self._loss, self._parameters = network, loss, parameters

    def __call__(self, batch: Split, vectors: Sequence[Vector]) -> Iterator[Sequence[Tensor | None]]:
        """Yield the product with each vector."""
        outputs = self._network(detach_each(batch.inputs))
        leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]
        curvature = self._output_curvature(outputs, leaves, batch)
        for tangents in _jacobian_vector(leaves, self._parameters, vectors):
            curved = [(leaf, c) for leaf, c in zip(leaves, curvature(tangents), strict=True) if c is not None]
            yield (
                torch.autograd.grad(
                    [leaf for leaf, _ in curved],
                    self._parameters,
                    [c.to(leaf.dtype) for leaf, c in curved],
                    retain_graph=True,
                    allow_unused=True,
                )
                if curved
                else [None] * len(self._parameters)
            )

    def _output_curvature(
        self, outputs: Any, leaves: Sequence[Tensor], batch: Split
    ) -> Callable[[Sequence[Tensor]], Sequence[Tensor | None]]:
        """Return the function that multiplies tangents of the outputs by the Hessian of the summed loss."""
        value: Any = self._loss(outputs, batch.targets)
        total = value.double().sum() if value.dim() else value.double() * len(batch)
        slopes = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)

        def multiply(tangents: Sequence[Tensor]) -> Sequence[Tensor | None]:
            return next(_vector_jacobian(slopes, leaves, [tangents], keep=True))

        return multiply


class Fisher(GaussNewton):
    """Products with the Fisher information matrix ``J^T F J`` of the likelihood ``exp(-loss)``, by its closed form.

    For a softmax with cross-entropy F is ``diag(p) - p p^T`` (Martens, 2020, section 9.2), for the mean squared error
    over d values ``2/d``. Both equal the Hessian of the loss with respect to the outputs, so that the Fisher matrix is
    the generalized Gauss-Newton matrix.
    """

    def _output_curvature(
        self, outputs: Any, leaves: Sequence[Tensor], batch: Split
    ) -> Callable[[Sequence[Tensor]], Sequence[Tensor | None]]:
        if not (is_own_measure(self._loss) and self._loss in (cross_entropy, mean_squared_error)):
            raise ValueError(
                "the Fisher matrix needs a loss whose likelihood is known: cross_entropy or mean_squared_error of "
                "landscape.problem.measures; use gauss_newton or empirical_fisher instead"
            )
        logits = outputs.detach()
        values = logits[0].numel()
        if self._loss is mean_squared_error:
            return lambda tangents: [2.0 / values * tangents[0]]
        p = logits.softmax(dim=-1)
        tokens = values // logits.shape[-1]

        def multiply(tangents: Sequence[Tensor]) -> Sequence[Tensor | None]:
            weighted = p * tangents[0]
            return [(weighted - p * weighted.sum(dim=-1, keepdim=True)) / tokens]

        return multiply


def require_differentiable(values: Sequence[Tensor | None]) -> None:
    """Raise if the graph of ``values`` contains a function that cannot be differentiated again.

    With respect to weights before such a function, torch would return no derivative instead of an error.

    Raises:
        RuntimeError: a function whose derivative is not differentiable, such as one that is ``once_differentiable``.
    """
    todo = [value.grad_fn for value in values if value is not None]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in ("torch::autograd::Error", "torch::autograd::NotImplemented"):
            raise RuntimeError("a function of the network or the loss is marked as differentiable once only")
        todo += [following for following, _ in node.next_functions]


def _vector_jacobian(
    values: Sequence[Tensor | None], inputs: Sequence[Tensor], vectors: Sequence[Vector], keep: bool = False
) -> Iterator[Sequence[Tensor | None]]:
    """Yield the derivative with respect to ``inputs`` of the inner product of ``values`` with each vector."""
    used = [i for i, value in enumerate(values) if value is not None and value.requires_grad]
    for number, vector in enumerate(vectors):
        if not used:
            yield [None] * len(inputs)
            continue
        yield torch.autograd.grad(
            [value for i in used if (value := values[i]) is not None],
            inputs,
            [vector[i] for i in used],
            retain_graph=keep or number < len(vectors) - 1,
            allow_unused=True,
        )


def _jacobian_vector(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], vectors: Sequence[Vector]
) -> Iterator[Sequence[Tensor]]:
    """Yield the derivatives of ``outputs`` along each vector, from a graph of the outputs."""
    weights = [torch.zeros_like(output, requires_grad=True) for output in outputs]
    gradients = torch.autograd.grad(outputs, parameters, weights, create_graph=True, allow_unused=True)
    for tangents in _vector_jacobian(gradients, weights, vectors, keep=True):
        yield [torch.zeros_like(w) if t is None else t for w, t in zip(weights, tangents, strict=True)]
