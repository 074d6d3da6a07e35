"""Networks prepared for differentiation: converted and restored, with kernels that have second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape._utils.own_call import has_own_forward
from landscape._utils.torch_compat import convolve, has_hooks, tree_leaves
from landscape._utils.torch_state import (
    call_without_grad,
    convert_tensors,
    detach_each,
    preserve_modes,
    preserve_random_state,
    seed_random,
)
from landscape.errors import DerivativeError
from landscape.evaluation.config import DTYPES, EvaluationConfig
from landscape.evaluation.engines.base import EngineNotApplicable
from landscape.evaluation.engines.bn_folded import FoldedPair, Layer, Norm, fold_norms, trace
from landscape.problem.problem import Split


@contextmanager
def prepared_model(
    model: nn.Module, config: EvaluationConfig, device: torch.device, moving: Sequence[Tensor], few: Split
) -> Iterator[None]:
    """Convert a model to device and dtype, let the moving tensors require gradients, and restore it all on exit.

    Args:
        model: the network.
        config: dtype and number of threads.
        device: device of the derivatives.
        moving: parameters with respect to which the loss is differentiated.
        few: a few samples on the device.
    """
    every = [*model.parameters(), *model.buffers()]
    own = [(tensor, tensor.data, tensor.data.clone()) for tensor in every]
    gradients = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with preserve_modes(model), preserve_random_state(device):
            model.eval()
            for parameter, _, _ in gradients:
                parameter.grad = None
            convert_tensors(model, device, DTYPES[config.dtype], lambda: model(few.inputs))
            identities = {id(tensor) for tensor in moving}
            for parameter, _, _ in gradients:
                parameter.requires_grad_(id(parameter) in identities)
            yield
    finally:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for tensor, data, values in own:
                tensor.data = data
                data.copy_(values)
        for parameter, gradient, required in gradients:
            parameter.requires_grad_(required)
            parameter.grad = gradient


def differentiable_network(model: nn.Module, few: Split) -> Callable[[Any], Any]:
    """Return a form of the network whose second derivatives are cheaper, or the network itself.

    Batch normalization in evaluation mode is an affine map. Folded into the weights of the layer before it, as part of
    what is differentiated, it takes no pass over the activations. Derivatives are exact, with respect to the same
    parameters.

    Args:
        model: the network, in evaluation mode.
        few: a few samples, on which the outputs of both forms are compared.
    """
    if has_own_forward(model) or any(has_hooks(module) for module in model.modules()):
        return model
    try:
        graph = trace(model)
    except EngineNotApplicable:
        return model
    if not fold_norms(graph):
        return model
    for name, module in list(graph.named_children()):
        if isinstance(module, FoldedPair):
            setattr(graph, name, _DifferentiablePair(module.layer, module.norm))
    network = cast("Callable[[Any], Any]", graph)
    try:
        found, expected = (_outputs(each, few) for each in (network, model))
    except Exception:  # a network is any callable
        return model
    tolerance = 100 * torch.finfo(expected[0].dtype).eps if expected else 0.0
    same = [f.shape for f in found] == [e.shape for e in expected] and all(
        torch.allclose(f, e, rtol=tolerance, atol=tolerance * float(e.abs().nan_to_num(0, 0).max()), equal_nan=True)
        for f, e in zip(found, expected, strict=True)
    )
    return network if same else model


def _outputs(network: Callable[[Any], Any], few: Split) -> list[Tensor]:
    seed_random(0, tree_leaves(few.inputs)[0].device)
    outputs = call_without_grad(lambda: network(detach_each(few.inputs)))
    return [leaf.detach() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


class _DifferentiablePair(nn.Module):
    """A layer and the batch normalization after it, as one layer whose weights are functions of theirs."""

    def __init__(self, layer: Layer, norm: Norm) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, norm = self.layer.weight, self.layer.bias, self.norm
        running_mean, running_var = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        gamma, beta = cast("Tensor | None", norm.weight), cast("Tensor | None", norm.bias)  # None unless affine
        scale = torch.rsqrt(running_var + norm.eps)
        if gamma is not None:
            scale = scale * gamma
        shift = -(running_mean if bias is None else running_mean - bias) * scale
        if beta is not None:
            shift = shift + beta
        weight = weight * scale.view(-1, *(1,) * (weight.dim() - 1))
        return (
            functional.linear(x, weight, shift)
            if isinstance(self.layer, nn.Linear)
            else convolve(self.layer, x, weight, shift)
        )


@contextmanager
def differentiable_kernels(model: nn.Module) -> Iterator[None]:
    """Use kernels of attention and recurrent layers that can be differentiated."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the fused kernels have no second derivative
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(_without_cudnn())  # whose recurrent layers have no derivative in evaluation mode
        yield


@contextmanager
def _without_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


@contextmanager
def explaining(times: str) -> Iterator[None]:
    """Raise errors of torch's differentiation as one that says what they mean."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        text = str(error).partition("\n")[0]
        if "modified by an inplace operation" in text:
            advice = (
                "an operation of the network overwrites values that derivatives need: use the form that returns a new "
                "tensor"
            )
        elif "does not require grad" in text:
            advice = (
                "the loss does not depend on the moving weights in a way that torch can follow: detach(), no_grad(), "
                "argmax() and item() in the network or the loss cut the connection"
            )
        else:
            advice = "every operation of the network and the loss needs a derivative that is differentiable itself"
        raise DerivativeError(f"the loss cannot be differentiated {times} ({text}): {advice}") from error
