"""What a perceptron is: a chain of fully connected layers and element-wise activations, seen on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from landscape.problem.problem import Split
from landscape.sweep.engines.engine import Setting, Unsuitable, hooked

RESPONSE_BYTES = 2**28
"""Most that the first layer's responses may take (256 MiB); beyond it that layer is computed as usual."""
_IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.Tanh: torch.tanh_,
    nn.Sigmoid: torch.sigmoid_,
}
_ELEMENTWISE = (*_IN_PLACE, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus)
_NOTHING = (nn.Identity, nn.Flatten, nn.Dropout)
"""In evaluation mode these hand on what they get."""


def activated(x: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """``x`` behind these activations, in its own memory where they can."""
    for module in modules:
        x = _IN_PLACE.get(type(module), module)(x)
    return x


def flattened(batch: Split) -> Tensor:
    """Inputs ``(samples, features)``."""
    return batch.inputs.reshape(len(batch), -1)


def chain(setting: Setting) -> tuple[list[nn.Linear], list[list[nn.Module]]]:
    """Layers of a perceptron in order, and the activations behind each.

    Seen on a batch: each module that the network calls gets what the one before gave, the first the inputs, and the
    last gives the outputs. What the network does between modules in a new tensor breaks the chain.
    """
    batch = next(iter(setting.batches.values()))[0]
    if not isinstance(batch.inputs, Tensor):
        raise Unsuitable("inputs are not one tensor")
    if any(hooked(module) for module in setting.model.modules()):
        raise Unsuitable("modules have hooks")
    linears: list[nn.Linear] = []
    activations: list[list[nn.Module]] = []
    last = batch.inputs

    def follow(module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        # Raises at the first module that does not fit, so that no more of the network is computed, or kept.
        nonlocal last
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            raise Unsuitable(f"its {type(module).__name__} does not take one tensor to one tensor")
        if not _same_memory(args[0], last):
            raise Unsuitable(f"its {type(module).__name__} gets something else than the module before it gives")
        if type(module) is nn.Linear and args[0].dim() == 2 and len(args[0]) == len(batch):
            linears.append(module)
            activations.append([])
        elif type(module) in _ELEMENTWISE and linears:
            activations[-1].append(module)
        elif type(module) not in _NOTHING:
            raise Unsuitable(f"it has a {type(module).__name__}")
        last = output

    setting.move((0.0,) * setting.plane.ndim)
    handles = [
        module.register_forward_hook(follow, with_kwargs=True)
        for module in setting.model.modules()
        if not list(module.children())
    ]
    try:
        outputs = setting.model(batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not linears or not isinstance(outputs, Tensor) or not _same_memory(outputs, last):
        raise Unsuitable("its outputs are not those of a chain of fully connected layers")
    own = [p.data_ptr() for layer in linears for p in layer.parameters()]
    if len(own) != len(set(own)) or set(own) != {p.data_ptr() for p in setting.model.parameters()}:
        raise Unsuitable("layers share weights, or there are weights outside of layers")
    if linears[0].weight.dtype not in (torch.float32, torch.float64):
        raise Unsuitable(f"weights are {linears[0].weight.dtype}")
    return linears, activations


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two contiguous tensors are the same numbers in the same place, in whatever shape."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel() and a.is_contiguous() and b.is_contiguous()
