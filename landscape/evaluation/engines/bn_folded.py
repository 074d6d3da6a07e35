"""The engine for convolutional networks: normalization folded into weights at each point, activations channels-last."""

from __future__ import annotations

import copy
import operator
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape._utils.torch_compat import convolve, has_hooks
from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RELUS = (functional.relu, torch.relu)
_SUMS = (operator.add, torch.add)


class BatchNormFoldedEngine:
    """Networks that ``torch.fx`` can trace: what happens between modules is recorded once and replayed.

    In evaluation mode, batch normalization is ``scale * x + shift`` per channel. If it follows a convolution or a fully
    connected layer whose output nothing else uses, scale and shift are folded into the weights and bias of that layer,
    at every point, in place: the weights are written from the origin at each point anyway, and nothing of the
    network's size is allocated. ReLU works in place where nothing else uses its input. On a CPU, images are
    channels-last.

    ReLU stays outside of the convolution's kernel: inside, it would be 2 to 5% faster, but oneDNN's turns NaN into 0,
    and NaN is a value.

    Attributes:
        network: the callable that is evaluated.
    """

    name, points, row_multiple = "bn_folded", 1, 1

    def __init__(self, context: EngineContext) -> None:
        self._set_coordinates, self._batches = context.set_coordinates, context.batches
        parameter = next(context.model.parameters())
        if any(has_hooks(module) for module in context.model.modules()):
            raise EngineNotApplicable("modules have hooks")
        graph = trace(context.model)
        self._pairs = fold_norms(graph)
        convolutions = [m for m in graph.modules() if type(m) is nn.Conv2d]
        if not convolutions and not self._pairs:
            raise EngineNotApplicable("it has no convolutions and no normalization to fold")
        _make_relu_in_place(graph)
        self._channels_last = bool(convolutions) and parameter.device.type == "cpu"
        self.network: Any = graph

    def set_points(self, *points: Sequence[float]) -> None:
        (point,) = points
        self._set_coordinates(point)

    def prepare(self) -> None:
        for pair in self._pairs:
            pair.fold()

    def outputs(self, split: str, number: int) -> Any:
        inputs = self._batches[split][number].inputs
        if self._channels_last and isinstance(inputs, Tensor) and inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.network(inputs)


class FoldedPair(nn.Module):
    """A layer and the normalization that follows it, as one layer.

    Args:
        layer: a convolution or fully connected layer.
        norm: a batch normalization that tracks running statistics.
    """

    def __init__(self, layer: Layer, norm: Norm) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self.shift: Tensor | None = None

    def fold(self) -> None:
        """Scale the layer's own weights; the next point rewrites them.

        Half-precision tensors are converted to float32 for the computation, so that the result is rounded once instead
        of four times.
        """
        norm, weight, bias = self.norm, self.layer.weight.detach(), self.layer.bias
        # Norms without running statistics are not folded.
        running_mean, running_var = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        wide = torch.promote_types(weight.dtype, torch.float32)
        gamma, beta = cast("Tensor | None", norm.weight), cast("Tensor | None", norm.bias)  # None unless affine
        scale = torch.rsqrt(running_var.to(wide) + norm.eps)
        if gamma is not None:
            scale = scale * gamma
        mean = running_mean if bias is None else running_mean.to(wide) - bias
        shift = -mean * scale if beta is None else beta - mean * scale
        self.shift = shift.to(weight.dtype)
        torch.mul(weight, scale.view(-1, *(1,) * (weight.dim() - 1)), out=weight)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, self.layer.weight, self.shift)
        return convolve(self.layer, x, self.layer.weight, self.shift)


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # statistics that a plane moves must not be frozen into the graph


def trace(model: nn.Module) -> fx.GraphModule:
    """Return the network as a graph of its modules and of the operations between them, sharing all its tensors.

    A copy of the modules is traced, so that a forward pass that stores something in its module does not store a proxy.
    """
    memo = {id(t): t for t in (*model.parameters(), *model.buffers())}
    try:
        twin = copy.deepcopy(model, memo)
        # torch before 2.5 warns of attributes that are neither modules nor parameters, which are taken all the same.
        with warnings.catch_warnings(action="ignore"):
            return fx.GraphModule(twin, _Tracer().trace(twin))
    except Exception as error:  # a forward pass may raise anything when it is called with proxies
        raise EngineNotApplicable(f"it cannot be traced: {type(error).__name__}: {error}") from error


def fold_norms(graph: fx.GraphModule) -> list[FoldedPair]:
    """Replace each layer and the normalization that follows it by a pair, and return the pairs."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    uses = _count_uses(graph, modules)
    pairs: list[FoldedPair] = []
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or len(node.args) != 1:
            continue
        source, norm = node.args[0], modules[str(node.target)]
        if type(norm) not in _NORMS or not isinstance(norm, _NORMS) or norm.running_var is None:
            continue
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        layer = modules[str(source.target)]
        # A layer or a weight that is used twice must not be scaled for one of its uses.
        if type(layer) not in _LAYERS or not isinstance(layer, _LAYERS) or uses[layer.weight.data_ptr()] != 1:
            continue
        pairs.append(FoldedPair(layer, norm))
        name = f"folded_{len(pairs)}"
        graph.add_submodule(name, pairs[-1])
        source.target = name
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return pairs


def _count_uses(graph: fx.GraphModule, modules: dict[str, nn.Module]) -> Counter[int]:
    """Return how often the graph uses each parameter, by the address of its data."""
    uses: Counter[int] = Counter()
    for node in graph.graph.nodes:
        if node.op == "call_module":
            uses.update(p.data_ptr() for p in modules[str(node.target)].parameters())
        elif node.op == "get_attr":
            tensor = operator.attrgetter(str(node.target))(graph)
            if tensor.layout is torch.strided:  # a sparse buffer is no weight
                uses[tensor.data_ptr()] += 1
    return uses


def _make_relu_in_place(graph: fx.GraphModule) -> None:
    """Let ReLU overwrite its input if that is a fresh tensor that nothing else uses."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    for node in graph.graph.nodes:
        is_function = node.op == "call_function" and node.target in _RELUS and set(node.kwargs) <= {"inplace"}
        if not is_function and not (node.op == "call_module" and type(modules[str(node.target)]) is nn.ReLU):
            continue
        source = node.args[0]
        module = modules[source.target] if source.op == "call_module" else None
        is_sum = source.op == "call_function" and source.target in _SUMS
        is_fresh = type(module) in (FoldedPair, *_LAYERS, *_NORMS) or is_sum
        if is_fresh and len(source.users) == 1 and len(node.args) == 1:
            node.op, node.target, node.kwargs = "call_function", torch.relu_, {}
    graph.graph.lint()
    graph.recompile()
