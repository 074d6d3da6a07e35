"""The engine for convolutional networks on CUDA: convolution, normalization, shortcut and ReLU in one kernel each."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape._utils.torch_compat import has_hooks
from landscape.evaluation.device import allows_tf32
from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable
from landscape.evaluation.engines.bn_folded import FoldedPair, fold_norms, trace
from landscape.evaluation.engines.fused_layers import (
    CHAIN_CHANNELS,
    Arithmetic,
    FusedConvolution,
    FusedMaxPool,
    ResidualChain,
)

_RELUS = (functional.relu, torch.relu)
_SUMS = (operator.add, torch.add, operator.iadd)
_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)
_Modules = dict[str, nn.Module]
_Block = tuple[fx.Node, fx.Node]
"""The two convolutions of a basic residual block."""


def load_kernels(device: torch.device) -> ModuleType:
    """Return the kernels for a device.

    Raises:
        EngineNotApplicable: `device` isn't a CUDA device of compute capability 8.0 or newer, or Triton is missing.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise EngineNotApplicable("it needs a CUDA device of compute capability 8.0 or newer")
    from landscape.evaluation.engines import triton_kernels  # imports Triton, which only a GPU needs

    if not triton_kernels.AVAILABLE:
        raise EngineNotApplicable("Triton isn't installed")
    return triton_kernels


class FusedConvEngine:
    """Networks that ``torch.fx`` can trace, on CUDA: one kernel for each convolution and the operations after it.

    At each point weights are folded with batch normalization into fixed memory, transposed as the kernel reads them.
    Activations are channels-last. In float32 products are three of TensorFloat-32, which keep float32's accuracy; with
    ``tf32`` one. Other operations of the graph are left to torch. Nothing waits for Python, so a whole pass can be
    captured in a CUDA graph.

    Attributes:
        network: the callable that is evaluated.

    Raises:
        EngineNotApplicable: the network cannot be traced or has no convolution that the kernels compute, or the device
            is too old.
    """

    name, points, row_multiple = "fused_conv", 1, 1

    def __init__(self, context: EngineContext) -> None:
        self._set_coordinates, self._batches = context.set_coordinates, context.batches
        dtype = next(context.model.parameters()).dtype
        if dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise EngineNotApplicable(f"its kernels don't compute in {dtype}")
        if any(has_hooks(module) for module in context.model.modules()):
            raise EngineNotApplicable("modules have hooks")
        precision = "ieee" if dtype != torch.float32 else "tf32" if allows_tf32() else "tf32x3"
        arithmetic = Arithmetic(load_kernels(context.device), precision)
        graph = trace(context.model)
        pairs = fold_norms(graph)
        remove_identities(graph)
        self._layers = list(fuse_convolutions(graph, arithmetic))
        if not self._layers:
            raise EngineNotApplicable("it has no convolution that the kernels compute")
        fuse_pooling(graph, arithmetic)
        fused = {id(layer.conv) for layer in self._layers}
        self._other_pairs = [pair for pair in pairs if id(pair.layer) not in fused]
        if dtype != torch.float32:  # there, three products take the time, and not memory: a chain was slower
            join_blocks(graph, arithmetic)
        self.network: Any = graph
        self._inputs: dict[tuple[str, int], Any] = {}

    def set_points(self, *points: Sequence[float]) -> None:
        (point,) = points
        self._set_coordinates(point)

    def prepare(self) -> None:
        for layer in self._layers:
            layer.fold()
        for pair in self._other_pairs:
            pair.fold()

    def outputs(self, split: str, number: int) -> Any:
        batches = self._batches[split]
        if not isinstance(batches, list):  # streamed: a batch is on the device for the time of its pass only
            return self.network(_channels_last(batches[number].inputs))
        key = (split, number)
        if key not in self._inputs:
            self._inputs[key] = _channels_last(batches[number].inputs)
        return self.network(self._inputs[key])


def remove_identities(graph: fx.GraphModule) -> None:
    """Remove modules that do nothing in evaluation mode, such as the identity of a shortcut, or dropout."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    for node in list(graph.graph.nodes):
        if type(_module(node, modules)) in _IDENTITIES and len(node.args) == 1 and isinstance(node.args[0], fx.Node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def fuse_convolutions(graph: fx.GraphModule, arithmetic: Arithmetic) -> Iterator[FusedConvolution]:
    """Replace each convolution, with the sum and the ReLU that follow it, by one node, and yield their layers.

    A convolution that is used twice becomes two layers: each has its own copy of the weights.
    """
    modules = dict(graph.named_modules(remove_duplicate=False))
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for count, node in enumerate([n for n in order if _is_supported(n, modules)]):
        layer = FusedConvolution(modules[str(node.target)], arithmetic)
        absorbed, arguments = [node], [node.args[0]]
        user = _only_user(node)
        if user is not None and _is_sum(user) and user.args[0] is not user.args[1]:
            other = user.args[1] if user.args[0] is node else user.args[0]
            # Of two convolutions that are added, the later one takes the sum: the other's result is there by then.
            if isinstance(other, fx.Node) and order.get(other, -1) < order[node]:
                absorbed.append(user)
                arguments.append(other)
        user = _only_user(absorbed[-1])
        if user is not None and _is_relu(user, modules):
            absorbed.append(user)
            layer.relu = True
        graph.add_submodule(f"fused_{count}", layer)
        with graph.graph.inserting_before(absorbed[-1]):
            new = graph.graph.call_module(f"fused_{count}", tuple(arguments))
        order[new] = order[absorbed[-1]]
        absorbed[-1].replace_all_uses_with(new)
        for old in reversed(absorbed):
            graph.graph.erase_node(old)
        yield layer
    graph.graph.lint()
    graph.recompile()


def fuse_pooling(graph: fx.GraphModule, arithmetic: Arithmetic) -> None:
    """Replace modules of max pooling by those of our kernel."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    for count, node in enumerate(graph.graph.nodes):
        pool = _module(node, modules)
        if not isinstance(pool, nn.MaxPool2d) or type(pool) is not nn.MaxPool2d or pool.return_indices:
            continue
        if pool.dilation in (1, (1, 1)) and len(node.args) == 1 and not node.kwargs:
            node.target = f"pool_{count}"
            graph.add_submodule(node.target, FusedMaxPool(pool, arithmetic))
    graph.recompile()


def join_blocks(graph: fx.GraphModule, arithmetic: Arithmetic) -> None:
    """Replace runs of two or more basic residual blocks of one shape by one node each."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    used: set[fx.Node] = set()
    for count, node in enumerate(list(graph.graph.nodes)):
        run = [] if node in used else _run_of_blocks(node, modules)
        used.update(convolution for block in run for convolution in block)
        source = node.args[0] if run else None
        # The chain works in place: its input must be fresh, and nothing but the first block may read it.
        if len(run) < 2 or not isinstance(source, fx.Node) or len(source.users) != 2 or not _fused(source, modules):
            continue
        layers = [(_layer(first, modules), _layer(second, modules)) for first, second in run]
        graph.add_submodule(f"chain_{count}", ResidualChain(layers, arithmetic))
        end = run[-1][1]
        with graph.graph.inserting_after(end):
            new = graph.graph.call_module(f"chain_{count}", (source,))
        end.replace_all_uses_with(new)
        graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()


def _run_of_blocks(node: fx.Node, modules: _Modules) -> list[_Block]:
    """Return the consecutive residual blocks of one shape of which `node` is the first convolution."""
    run: list[_Block] = []
    first: fx.Node | None = node
    while first is not None and (second := _second_convolution(first, modules)) is not None:
        run.append((first, second))
        following = [user for user in second.users if _second_convolution(user, modules) is not None]
        first = following[0] if following and len(second.users) == 2 else None
    return run


def _second_convolution(node: fx.Node, modules: _Modules) -> fx.Node | None:
    """Return the second convolution of a basic residual block whose first is `node`, or None."""
    second = _only_user(node)
    if second is None or len(node.args) != 1 or len(second.args) != 2:
        return None
    if not (_is_chainable(node, modules) and _is_chainable(second, modules)):
        return None
    has_shortcut = second.args[0] is node and second.args[1] is node.args[0]
    same = _layer(second, modules).conv.out_channels == _layer(node, modules).conv.out_channels
    return second if has_shortcut and same else None


def _is_chainable(node: fx.Node, modules: _Modules) -> bool:
    if not _fused(node, modules):
        return False
    layer = _layer(node, modules)
    channels = layer.conv.out_channels
    return layer.relu and layer.has_own_kernel and layer.keeps_shape and channels in CHAIN_CHANNELS


def _is_supported(node: fx.Node, modules: _Modules) -> bool:
    """Return True if the kernels compute this node: a convolution in two dimensions without groups or dilation."""
    if len(node.args) != 1 or node.kwargs:
        return False
    module = _module(node, modules)
    layer = module.layer if isinstance(module, FoldedPair) else module
    if not isinstance(layer, nn.Conv2d) or type(layer) is not nn.Conv2d or layer.groups != 1:
        return False
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return plain and layer.weight.is_contiguous()


def _module(node: fx.Node, modules: _Modules) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None


def _fused(node: fx.Node, modules: _Modules) -> bool:
    return isinstance(_module(node, modules), FusedConvolution)


def _layer(node: fx.Node, modules: _Modules) -> FusedConvolution:
    layer = _module(node, modules)
    if not isinstance(layer, FusedConvolution):
        raise TypeError(f"{node} is not a fused convolution")
    return layer


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_sum(node: fx.Node) -> bool:
    is_function = node.op == "call_function" and node.target in _SUMS
    is_method = node.op == "call_method" and node.target in ("add", "add_")
    of_tensors = len(node.args) == 2 and all(isinstance(argument, fx.Node) for argument in node.args)
    return (is_function or is_method) and of_tensors and not node.kwargs


def _is_relu(node: fx.Node, modules: _Modules) -> bool:
    if node.op == "call_module":
        return type(_module(node, modules)) is nn.ReLU
    is_function = node.op == "call_function" and node.target in _RELUS and set(node.kwargs) <= {"inplace"}
    is_method = node.op == "call_method" and node.target in ("relu", "relu_")
    return (is_function or is_method) and len(node.args) == 1


def _channels_last(inputs: Any) -> Any:
    if isinstance(inputs, Tensor) and inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs
