"""The engine for multilayer perceptrons: chains of fully connected layers and element-wise activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import has_hooks
from landscape.evaluation.device import supports_capture
from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable
from landscape.geometry.weights import Weights
from landscape.problem.problem import Split

RESPONSE_BYTES = 2**28
"""Upper limit for the stored responses of the first layer (256 MiB); beyond it that layer is computed at each point."""
AFFINE_INPUTS = 32
"""Inputs of the first layer, per direction, from which combining responses is faster than the product. Measured on a
plane, the two break even at about 64 inputs."""
FLAT_ENTRIES = 2**20
"""Largest number of weights that are copied into one buffer. Beyond it, moving to a point costs little compared with
the products, and a copy of the plane costs too much memory."""

_IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.Tanh: torch.tanh_,
    nn.Sigmoid: torch.sigmoid_,
}
_ELEMENTWISE = (*_IN_PLACE, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus)
_PASS_THROUGH = (nn.Identity, nn.Flatten, nn.Dropout)
"""Modules that return their input in evaluation mode."""

T = TypeVar("T")
LayerNames = tuple[str, str | None]
"""Names of the weight and of the bias of a layer; None for a layer without bias."""


def apply_activations(x: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Apply activations to ``x``, in place if they can."""
    for module in modules:
        x = _IN_PLACE.get(type(module), module)(x)
    return x


def flat_inputs(batch: Split) -> Tensor:
    """Return the inputs as ``(samples, features)``."""
    return _input_tensor(batch).reshape(len(batch), -1)


def _input_tensor(batch: Split) -> Tensor:
    if not isinstance(batch.inputs, Tensor):
        raise EngineNotApplicable("inputs are not one tensor")
    return batch.inputs


def layer_chain(context: EngineContext) -> tuple[list[nn.Linear], list[list[nn.Module]]]:
    """Return the layers of a perceptron in order, and the activations after each.

    The chain is observed on a batch: each module that the network calls must take what the one before returned, the
    first the inputs, and the last must return the outputs. Anything that the network computes between modules in a new
    tensor breaks the chain.

    Raises:
        EngineNotApplicable: the network is not a chain of fully connected layers and activations.
    """
    batch = next(iter(context.batches.values()))[0]
    last = _input_tensor(batch)
    if any(has_hooks(module) for module in context.model.modules()):
        raise EngineNotApplicable("modules have hooks")
    linears: list[nn.Linear] = []
    activations: list[list[nn.Module]] = []

    def follow(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        # Raising at the first module that does not fit stops the forward pass, so nothing more is computed or kept.
        nonlocal last
        kind = type(module).__name__
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            raise EngineNotApplicable(f"its {kind} does not map one tensor to one tensor")
        if not _same_memory(args[0], last):
            raise EngineNotApplicable(f"its {kind} does not take the output of the module before it")
        if type(module) is nn.Linear and args[0].dim() == 2 and len(args[0]) == len(batch):
            linears.append(module)
            activations.append([])
        elif type(module) in _ELEMENTWISE and linears:
            activations[-1].append(module)
        elif type(module) not in _PASS_THROUGH:
            raise EngineNotApplicable(f"it has a {kind}")
        last = output

    context.set_coordinates((0.0,) * context.plane.ndim)
    handles = [
        module.register_forward_hook(follow, with_kwargs=True)
        for module in context.model.modules()
        if not list(module.children())
    ]
    try:
        outputs = context.model(batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not linears or not isinstance(outputs, Tensor) or not _same_memory(outputs, last):
        raise EngineNotApplicable("its outputs are not those of a chain of fully connected layers")
    own = [p.data_ptr() for layer in linears for p in layer.parameters()]
    if len(own) != len(set(own)) or set(own) != {p.data_ptr() for p in context.model.parameters()}:
        raise EngineNotApplicable("layers share weights, or there are weights outside of layers")
    if linears[0].weight.dtype not in (torch.float32, torch.float64):
        raise EngineNotApplicable(f"weights are {linears[0].weight.dtype}")
    return linears, activations


def layer_names(model: nn.Module, layers: Sequence[nn.Linear]) -> list[LayerNames]:
    """Return the names of the parameters of each layer."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [(names[id(layer.weight)], names[id(layer.bias)] if layer.bias is not None else None) for layer in layers]


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Return True if two contiguous tensors are the same numbers in the same memory, in whatever shape."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel() and a.is_contiguous() and b.is_contiguous()


class _Layer(NamedTuple):
    """A fully connected layer on activations of shape ``(features, samples)``.

    ``weight`` is ``(out, in + 1)`` with the bias as its last column, or ``(out, in)`` with ``bias`` ``(out, 1)`` or
    None.

    Activations are ``(in + 1, samples)`` and end in a row of ones, by which a bias is multiplied like a weight: it is
    then added at no cost, whereas ``addmm`` writes it into the result first, which takes a quarter of the time of a
    small product (188 against 144 us for 1797 x 64 x 128).
    """

    weight: Tensor
    bias: Tensor | None

    def write(self, x: Tensor, out: Tensor) -> None:
        """Write the layer's responses to ``x`` into ``out``."""
        x = x[: self.weight.shape[1]]
        if self.bias is None:
            torch.mm(self.weight, x, out=out)
        else:
            torch.addmm(self.bias, self.weight, x, out=out)


class _Affine:
    """The sum ``origin + sum_k coordinates[k] slopes[k]``; a coordinate of zero is skipped.

    The sum begins with the last axis. What all points of a row share, that is, everything but the first axis, is kept
    for the next point, so that the points of a grid cost one addition each. Points in any other order get the same
    bits.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.origin, self._first, *self._others = parts
        self._row: tuple[float, ...] = ()
        self._base = torch.empty_like(self.origin) if self._others else self.origin

    def write(self, coordinates: Sequence[float], out: Tensor) -> None:
        """Write the sum into ``out``."""
        first, *row = coordinates
        if tuple(row) != self._row:
            self._base.copy_(self.origin)
            for coordinate, slope in zip(reversed(row), reversed(self._others), strict=True):
                if coordinate != 0:
                    self._base.add_(slope, alpha=float(coordinate))
            self._row = tuple(row)
        if first != 0:
            torch.add(self._base, self._first, alpha=float(first), out=out)
        else:
            out.copy_(self._base)


class MLPEngine:
    """Perceptrons: chains of ``Linear`` and activation modules from the inputs to the outputs.

    Activations have the samples along the last axis: ``log_softmax`` over a last axis of ten classes takes ten times as
    long as over another axis, and ``argmax`` half as long again. The response of the first layer is affine in the
    coordinates, ``R0 + a Rx + b Ry``. If the layer has many inputs, the responses are computed once, and a point costs
    their combination instead of the product with all inputs. The other weights, unless they are many, are in one
    buffer, so that moving to a point is one operation per axis.
    """

    name, points, row_multiple = "mlp", 1, 1

    def __init__(self, context: EngineContext) -> None:
        linears, self._activations = layer_chain(context)
        keys = layer_names(context.model, linears)
        sources = [context.plane.origin, *(direction.weights for direction in context.plane.directions)]
        self._like = linears[0].weight.detach()
        self._widths = [layer.out_features for layer in linears]
        self._batches = context.batches
        features = linears[0].in_features
        rows = sum(len(b) for batches in context.batches.values() for b in batches)
        column_bytes = rows * self._like.element_size()
        many_inputs = features >= AFFINE_INPUTS * context.plane.ndim
        affine = many_inputs and column_bytes * self._widths[0] * (len(sources) + 1) <= RESPONSE_BYTES
        self._responses: dict[str, list[_Affine]] = {}
        if affine:
            self._responses = self._for_each_batch(lambda batch: _Affine(_responses(batch, sources, *keys[0])))
            linears, keys = linears[1:], keys[1:]
        # Layers that compute with the module's own weights, or with those in one buffer.
        self._write_weights: Callable[[Sequence[float]], None] = context.set_coordinates
        self._layers = [
            _Layer(n.weight.detach(), None if n.bias is None else n.bias.detach()[:, None]) for n in linears
        ]
        if sum(p.numel() for layer in linears for p in layer.parameters()) <= FLAT_ENTRIES:
            self._layers, buffer, flat = _in_one_buffer(sources, keys)
            self._write_weights = lambda coordinates: flat.write(coordinates, buffer)
        self._inputs: dict[str, list[Tensor]] = {}
        if not affine and column_bytes * (1 + features) <= RESPONSE_BYTES:
            self._inputs = self._for_each_batch(lambda batch: _with_ones(flat_inputs(batch)))
        self._hidden: dict[int, list[Tensor]] = {}
        self._coordinates: Sequence[float] = ()
        # On a GPU the responses are combined when the point is set: the rest of the pass then depends on memory only,
        # and on no number in Python, and can be captured in a CUDA graph.
        self._combined: dict[str, list[Tensor]] = {}
        if supports_capture(context.device):
            self._combined = {
                split: [self._like.new_ones(self._widths[0] + 1, response.origin.shape[1]) for response in responses]
                for split, responses in self._responses.items()
            }

    def _for_each_batch(self, make: Callable[[Split], T]) -> dict[str, list[T]]:
        return {split: [make(batch) for batch in batches] for split, batches in self._batches.items()}

    def set_points(self, *points: Sequence[float]) -> None:
        (self._coordinates,) = points
        self._write_weights(self._coordinates)
        for split, buffers in self._combined.items():
            for response, buffer in zip(self._responses[split], buffers, strict=True):
                response.write(self._coordinates, buffer[:-1])

    def prepare(self) -> None:
        pass

    def outputs(self, split: str, number: int) -> Tensor:
        layers = iter(self._layers)
        if self._responses:
            response = self._responses[split][number]
            hidden = self._workspace(response.origin.shape[1])
            if self._combined:
                hidden = [self._combined[split][number], *hidden[1:]]
            else:
                response.write(self._coordinates, hidden[0][:-1])
        else:
            batch = self._batches[split][number]
            x = self._inputs[split][number] if self._inputs else _with_ones(flat_inputs(batch))
            hidden = self._workspace(x.shape[1])
            next(layers).write(x, hidden[0][:-1])
        for index in range(1, len(hidden)):
            before, values = hidden[index - 1], hidden[index - 1][:-1]
            after = apply_activations(values, self._activations[index - 1])
            if after.data_ptr() != values.data_ptr():
                values.copy_(after)
            next(layers).write(before, hidden[index][:-1])
        return apply_activations(hidden[-1][:-1], self._activations[-1]).t()

    def _workspace(self, rows: int) -> list[Tensor]:
        """Return memory for the activations of a batch, layer by layer, each with its row of ones."""
        if rows not in self._hidden:
            self._hidden[rows] = [self._like.new_ones(width + 1, rows) for width in self._widths]
        return self._hidden[rows]


def _with_ones(inputs: Tensor) -> Tensor:
    """Return inputs ``(samples, features)`` as ``(features + 1, samples)``, where the last row is ones."""
    x = inputs.new_ones(inputs.shape[1] + 1, len(inputs))
    x[:-1] = inputs.t()
    return x


def _responses(batch: Split, sources: Sequence[Weights], weight: str, bias: str | None) -> list[Tensor]:
    """Return the responses of the first layer, ``(out, samples)``, with the origin's weights and each direction's."""
    x = flat_inputs(batch).t()
    found = []
    for source in sources:
        product = source.tensors[weight] @ x
        found.append(product if bias is None else product.add_(source.tensors[bias][:, None]))
    return found


def _in_one_buffer(sources: Sequence[Weights], keys: Sequence[LayerNames]) -> tuple[list[_Layer], Tensor, _Affine]:
    """Return layers whose weights are views of one buffer, the buffer, and the sum that fills it."""

    def with_bias(source: Weights, weight: str, bias: str | None) -> Tensor:
        """Return the weight of a layer with its bias as the last column."""
        tensors = source.tensors
        return tensors[weight] if bias is None else torch.cat([tensors[weight], tensors[bias][:, None]], 1)

    blocks = [[with_bias(source, *key) for key in keys] for source in sources]
    none = next(iter(sources[0].tensors.values())).new_empty(0)
    flat = [torch.cat([none, *(block.reshape(-1) for block in row)]) for row in blocks]
    buffer, layers, offset = torch.empty_like(flat[0]), [], 0
    for block in blocks[0]:
        layers.append(_Layer(buffer[offset : offset + block.numel()].view(block.shape), None))
        offset += block.numel()
    return layers, buffer, _Affine(flat)
