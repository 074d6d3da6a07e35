"""The engine for multilayer perceptrons: chains of fully connected layers and element-wise activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import has_hooks
from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable
from landscape.geometry.weights import Weights
from landscape.problem.problem import Split

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


def chain(setting: EngineContext) -> tuple[list[nn.Linear], list[list[nn.Module]]]:
    """Layers of a perceptron in order, and the activations behind each.

    Seen on a batch: each module that the network calls gets what the one before gave, the first the inputs, and the
    last gives the outputs. What the network does between modules in a new tensor breaks the chain.
    """
    batch = next(iter(setting.batches.values()))[0]
    if not isinstance(batch.inputs, Tensor):
        raise EngineNotApplicable("inputs are not one tensor")
    if any(has_hooks(module) for module in setting.model.modules()):
        raise EngineNotApplicable("modules have hooks")
    linears: list[nn.Linear] = []
    activations: list[list[nn.Module]] = []
    last = batch.inputs

    def follow(module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        # Raises at the first module that does not fit, so that no more of the network is computed, or kept.
        nonlocal last
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            raise EngineNotApplicable(f"its {type(module).__name__} does not take one tensor to one tensor")
        if not _same_memory(args[0], last):
            raise EngineNotApplicable(
                f"its {type(module).__name__} gets something else than the module before it gives"
            )
        if type(module) is nn.Linear and args[0].dim() == 2 and len(args[0]) == len(batch):
            linears.append(module)
            activations.append([])
        elif type(module) in _ELEMENTWISE and linears:
            activations[-1].append(module)
        elif type(module) not in _NOTHING:
            raise EngineNotApplicable(f"it has a {type(module).__name__}")
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
        raise EngineNotApplicable("its outputs are not those of a chain of fully connected layers")
    own = [p.data_ptr() for layer in linears for p in layer.parameters()]
    if len(own) != len(set(own)) or set(own) != {p.data_ptr() for p in setting.model.parameters()}:
        raise EngineNotApplicable("layers share weights, or there are weights outside of layers")
    if linears[0].weight.dtype not in (torch.float32, torch.float64):
        raise EngineNotApplicable(f"weights are {linears[0].weight.dtype}")
    return linears, activations


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two contiguous tensors are the same numbers in the same place, in whatever shape."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel() and a.is_contiguous() and b.is_contiguous()


T = TypeVar("T")

AFFINE_INPUTS = 32
"""Inputs of the first layer per direction from which combining responses is cheaper than the product: measured, the
two meet at about 64 inputs for a plane."""
FLAT_ENTRIES = 2**20
"""Most weights that are copied into one buffer: beyond it going to a point costs little beside the products, and a
copy of the plane too much memory."""


class _Layer(NamedTuple):
    """``weight`` is ``(out, in + 1)``, its last column the bias; or ``(out, in)``, and ``bias`` ``(out, 1)`` or none.

    Activations are ``(in + 1, samples)`` and end in a row of ones, by which a bias is multiplied like a weight: adding
    it is then free, where writing it into the result first costs a quarter of a small product.
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        x = x[: self.weight.shape[1]]
        if self.bias is None:
            return torch.mm(self.weight, x, out=out)
        return torch.addmm(self.bias, self.weight, x, out=out)


class _Affine:
    """``origin + sum_k coordinates[k] slopes[k]``; a coordinate of zero takes no part.

    The sum begins with the last axis, and what all points of a row share, everything but the first axis, is kept for
    the next of them: a grid's points then cost one addition each. Points in any other order give the same bits.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.origin, self._along, *self._across = parts
        self._row: tuple[float, ...] = ()
        self._base = torch.empty_like(self.origin) if self._across else self.origin

    def at(self, coordinates: Sequence[float], out: Tensor) -> None:
        """Write the sum into ``out``."""
        first, *row = coordinates
        if tuple(row) != self._row:
            self._base.copy_(self.origin)
            for coordinate, slope in zip(reversed(row), reversed(self._across), strict=True):
                if coordinate != 0:
                    self._base.add_(slope, alpha=float(coordinate))
            self._row = tuple(row)
        if first != 0:
            torch.add(self._base, self._along, alpha=float(first), out=out)
        else:
            out.copy_(self._base)


class MLPEngine:
    """Perceptrons: a chain of ``Linear`` and activation modules from the inputs to the outputs.

    Activations lie with the samples along the last axis, which is where the loss of few classes is quickest. The
    response of the first layer is affine in the coordinates, ``R0 + a Rx + b Ry``. Where the layer has many inputs
    the responses are computed once, and a point costs their combination instead of the product with all inputs. The
    other weights, unless they are many, lie in one buffer, so that going to a point is one operation per axis.

    Raises:
        Unsuitable: the network is something else.
    """

    name, points, fill = "mlp", 1, 1

    def __init__(self, setting: EngineContext) -> None:
        linears, self._activations = chain(setting)
        names = {id(parameter): name for name, parameter in setting.model.named_parameters()}
        keys = [(names[id(layer.weight)], None if layer.bias is None else names[id(layer.bias)]) for layer in linears]
        sources = [setting.plane.origin, *(direction.weights for direction in setting.plane.directions)]
        self._like = linears[0].weight.detach()
        self._widths = [layer.out_features for layer in linears]
        self._features, self._batches = linears[0].in_features, setting.batches
        rows = sum(len(b) for all_ in setting.batches.values() for b in all_)
        size = rows * self._like.element_size()
        many_inputs = self._features >= AFFINE_INPUTS * setting.plane.ndim
        affine = many_inputs and size * self._widths[0] * (len(sources) + 1) <= RESPONSE_BYTES
        self._responses: dict[str, list[_Affine]] = {}
        self._inputs: dict[str, list[Tensor]] = {}
        if affine:
            self._responses = self._each_batch(lambda batch: _Affine(_responses(batch, sources, *keys[0])))
        rest, keys = (linears[1:], keys[1:]) if affine else (linears, keys)
        self._go: Callable[[Sequence[float]], object] = setting.move
        self._layers = [_Layer(n.weight.detach(), None if n.bias is None else n.bias.detach()[:, None]) for n in rest]
        if sum(p.numel() for layer in rest for p in layer.parameters()) <= FLAT_ENTRIES:
            self._layers, buffer, flat = _in_one_buffer(sources, keys)
            self._go = lambda coordinates: flat.at(coordinates, buffer)
        if not affine and size * (1 + self._features) <= RESPONSE_BYTES:
            self._inputs = self._each_batch(lambda batch: _with_ones(flattened(batch)))
        self._hidden: dict[int, list[Tensor]] = {}
        self._coordinates: Sequence[float] = ()

    def _each_batch(self, make: Callable[[Split], T]) -> dict[str, list[T]]:
        return {split: [make(batch) for batch in batches] for split, batches in self._batches.items()}

    def move(self, coordinates: Sequence[float]) -> None:
        self._coordinates = coordinates
        self._go(coordinates)

    def prepare(self) -> None:
        pass

    def outputs(self, split: str, number: int) -> Tensor:
        layers = iter(self._layers)
        if self._responses:
            response = self._responses[split][number]
            hidden = self._workspace(response.origin.shape[1])
            response.at(self._coordinates, hidden[0][:-1])
        else:
            x = self._inputs[split][number] if self._inputs else _with_ones(flattened(self._batches[split][number]))
            hidden = self._workspace(x.shape[1])
            next(layers)(x, hidden[0][:-1])
        for index in range(1, len(hidden)):
            before, values = hidden[index - 1], hidden[index - 1][:-1]
            after = activated(values, self._activations[index - 1])
            if after.data_ptr() != values.data_ptr():
                values.copy_(after)
            next(layers)(before, hidden[index][:-1])
        return activated(hidden[-1][:-1], self._activations[-1]).t()

    def _workspace(self, rows: int) -> list[Tensor]:
        """Room for a batch's activations, layer by layer, each with its row of ones."""
        if rows not in self._hidden:
            self._hidden[rows] = [self._like.new_ones(width + 1, rows) for width in self._widths]
        return self._hidden[rows]


def _with_ones(inputs: Tensor) -> Tensor:
    """Inputs ``(samples, features)`` as ``(features + 1, samples)``, the last row ones."""
    x = inputs.new_ones(inputs.shape[1] + 1, len(inputs))
    x[:-1] = inputs.t()
    return x


def _responses(batch: Split, sources: Sequence[Weights], weight: str, bias: str | None) -> list[Tensor]:
    """Of the first layer, to the origin's weights and to each direction's, ``(out, samples)``."""
    x = flattened(batch).t()
    found = []
    for source in sources:
        product = source.tensors[weight] @ x
        found.append(product if bias is None else product.add_(source.tensors[bias][:, None]))
    return found


def _in_one_buffer(
    sources: Sequence[Weights], keys: Sequence[tuple[str, str | None]]
) -> tuple[list[_Layer], Tensor, _Affine]:
    """Layers whose weights lie in one buffer, the buffer, and what it is filled from."""

    def whole(source: Weights, weight: str, bias: str | None) -> Tensor:
        """A layer's weight with its bias as the last column."""
        tensors = source.tensors
        return tensors[weight] if bias is None else torch.cat([tensors[weight], tensors[bias][:, None]], 1)

    blocks = [[whole(source, *key) for key in keys] for source in sources]
    none = next(iter(sources[0].tensors.values())).new_empty(0)
    flat = [torch.cat([none, *(block.reshape(-1) for block in row)]) for row in blocks]
    buffer, layers, offset = torch.empty_like(flat[0]), [], 0
    for block in blocks[0]:
        layers.append(_Layer(buffer[offset : offset + block.numel()].view(block.shape), None))
        offset += block.numel()
    return layers, buffer, _Affine(flat)
