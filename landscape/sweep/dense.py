"""The engine of perceptrons: fully connected layers in one buffer, the first of which is combined, not computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from landscape.sweep.engine import Setting
from landscape.sweep.perceptron import RESPONSE_BYTES, activated, chain, flattened

AFFINE_INPUTS = 48
"""Inputs of the first layer per direction from which combining responses is cheaper than the product: measured, the
two meet at 64 to 96 inputs for a plane."""
FLAT_ENTRIES = 2**20
"""Most weights that are copied into one buffer: beyond it going to a point costs little beside the products, and a
copy of the plane too much memory."""


class Dense:
    """Perceptrons: a chain of ``Linear`` and activation modules from the inputs to the outputs.

    The response of the first layer is affine in the coordinates, ``R0 + a Rx + b Ry``. Where the layer has many inputs
    the responses are computed once, and a point costs their combination instead of the product with all inputs. The
    other weights, unless they are many, lie in one buffer, so that going to a point is one operation per axis.

    Raises:
        Unsuitable: the network is something else.
    """

    name, points = "dense", 1

    def __init__(self, setting: Setting) -> None:
        linears, self._activations = chain(setting)
        names = {id(parameter): name for name, parameter in setting.model.named_parameters()}
        self._widths = [layer.out_features for layer in linears]
        self._batches = setting.batches
        rows = sum(len(b) for all_ in setting.batches.values() for b in all_)
        dtype = linears[0].weight.dtype
        response = rows * self._widths[0] * dtype.itemsize * (1 + setting.plane.ndim)
        affine = linears[0].in_features >= AFFINE_INPUTS * setting.plane.ndim and response <= RESPONSE_BYTES
        sources = [setting.plane.origin, *(direction.weights for direction in setting.plane.directions)]
        keys = [(names[id(layer.weight)], None if layer.bias is None else names[id(layer.bias)]) for layer in linears]
        self._responses: dict[str, list[list[Tensor]]] = {}
        if affine:
            weight, bias = keys[0]
            pairs = [(s.tensors[weight], None if bias is None else s.tensors[bias]) for s in sources]
            self._responses = {
                split: [[functional.linear(flattened(b), w, c) for w, c in pairs] for b in all_]
                for split, all_ in setting.batches.items()
            }
        rest, keys = (linears[1:], keys[1:]) if affine else (linears, keys)
        self._go: Callable[[Sequence[float]], object] = setting.move
        self._layers = [(layer.weight.detach().t(), layer.bias) for layer in rest]
        if sum(p.numel() for layer in rest for p in layer.parameters()) <= FLAT_ENTRIES:
            buffer, self._layers, *flat = _flattened(sources, keys)
            self._go = lambda coordinates: _combine(flat, coordinates, buffer)
        self._hidden: dict[int, list[Tensor]] = {}
        self._coordinates: Sequence[float] = ()
        self._like = linears[0].weight.detach()

    def move(self, coordinates: Sequence[float]) -> None:
        self._coordinates = coordinates
        self._go(coordinates)

    def prepare(self) -> None:
        pass

    def outputs(self, split: str, number: int) -> Tensor:
        layers = iter(self._layers)
        activations, widths = self._activations, self._widths
        if self._responses:
            responses = self._responses[split][number]
            hidden = self._workspace(len(responses[0]))
            x = _combine(responses, self._coordinates, hidden[0])
        else:
            x = flattened(self._batches[split][number])
            hidden = self._workspace(len(x))
            x = _linear(x, *next(layers), hidden[0])
        for index in range(1, len(widths)):
            x = _linear(activated(x, activations[index - 1]), *next(layers), hidden[index])
        return activated(x, activations[-1])

    def _workspace(self, rows: int) -> list[Tensor]:
        if rows not in self._hidden:
            self._hidden[rows] = [self._like.new_empty(rows, width) for width in self._widths]
        return self._hidden[rows]


def _combine(parts: Sequence[Tensor], coordinates: Sequence[float], out: Tensor) -> Tensor:
    """``parts[0] + sum_k coordinates[k] parts[k + 1]`` into ``out``; a coordinate of zero takes no part."""
    start = parts[0]
    for coordinate, part in zip(coordinates, parts[1:], strict=True):
        if coordinate != 0:
            start = torch.add(start, part, alpha=float(coordinate), out=out)
    return out.copy_(start) if start is parts[0] else out


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    return torch.mm(x, weight, out=out) if bias is None else torch.addmm(bias, x, weight, out=out)


def _flattened(sources: Sequence, keys: Sequence[tuple[str, str | None]]) -> list:
    """A buffer, views of it as ``(weight transposed, bias)`` per layer, and each source in the buffer's order."""
    names = [name for pair in keys for name in pair if name is not None]
    flat = [
        torch.cat([source.tensors[name].reshape(-1) for name in names])
        if names
        else next(iter(source.tensors.values())).new_empty(0)
        for source in sources
    ]
    buffer = torch.empty_like(flat[0])
    views, offset = {}, 0
    for name in names:
        tensor = sources[0].tensors[name]
        views[name] = buffer[offset : offset + tensor.numel()].view(tensor.shape)
        offset += tensor.numel()
    layers = [(views[weight].t(), None if bias is None else views[bias]) for weight, bias in keys]
    return [buffer, layers, *flat]
