"""The engine of tiny perceptrons: many points at a launch, because a point costs less than calling the library."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable, filled, filled_up
from landscape.evaluation.engines.mlp import RESPONSE_BYTES, activated, chain, flattened
from landscape.problem.problem import Split

LAUNCH_BYTES = 2**20
"""Most that a layer's activations at all points of a launch may take: half of a core's second-level cache. Measured,
more points gain nothing then, and lose beyond."""
MOST, LEAST = 32, 4
"""Points of a launch. From 16 on a point gets no cheaper; for fewer than 4 the products are what takes the time."""
AFFINE_INPUTS = 8
"""Inputs of the first layer from which its responses are combined instead of multiplied."""
_ALIGNMENT = 32
"""Every point's weights begin at a multiple of so many entries, and its activations of so many samples. Torch takes two
vectors of up to 16 numbers at a time and the rest one by one, and some functions round differently then: no point may
have a rest that others do not have."""


class BatchedMLPEngine:
    """Perceptrons so small that a point is some twenty calls into the library and little else.

    The weights at all points of a launch are one product, ``(1, a, b)`` times origin and directions, and so are the
    first layer's responses, which are affine in the coordinates; every further layer is one batched product. A launch
    is always of the same number of points, on one thread, and every point's samples are filled up to whole vectors, so
    that what is done for a point depends neither on how many were asked for nor on its place among them.

    Raises:
        Unsuitable: the network is something else, or not small, or the plane has entries that are not finite.
    """

    name, fill = "batched_mlp", _ALIGNMENT

    def __init__(self, setting: EngineContext) -> None:
        linears, self._activations = chain(setting)
        lengths = [len(b) for all_ in setting.batches.values() for b in all_]
        rows, self._batches = filled(max(lengths), self.fill), setting.batches
        like = linears[0].weight.detach()
        self._widths = [layer.out_features for layer in linears]
        response = sum(lengths) * self._widths[0] * like.element_size() * (1 + setting.plane.ndim)
        affine = linears[0].in_features >= AFFINE_INPUTS and response <= RESPONSE_BYTES
        placed = linears[1:] if affine else linears
        entries = max(rows * max(self._widths), sum(p.numel() for layer in placed for p in layer.parameters()))
        fitting = LAUNCH_BYTES // (entries * like.element_size())
        if fitting < LEAST:
            raise EngineNotApplicable("its products take longer than the calls that several points could share")
        self.points = 2 ** int(math.log2(min(fitting, MOST)))
        names = {id(parameter): name for name, parameter in setting.model.named_parameters()}
        keys = [(names[id(layer.weight)], None if layer.bias is None else names[id(layer.bias)]) for layer in linears]
        sources = [setting.plane.origin, *(direction.weights for direction in setting.plane.directions)]
        self._responses: dict[str, list[Tensor]] = {}
        if affine:
            weight, bias = keys.pop(0)
            pairs = [(s.tensors[weight], None if bias is None else s.tensors[bias]) for s in sources]
            self._responses = {
                split: [self._response(self._samples(batch), pairs) for batch in all_]
                for split, all_ in setting.batches.items()
            }
        self._inputs: dict[str, list[Tensor]] = {}
        if not affine and sum(lengths) * linears[0].in_features * like.element_size() <= RESPONSE_BYTES:
            self._inputs = {split: [self._samples(b) for b in all_] for split, all_ in setting.batches.items()}
        self._sources, self._weights, self._layers = _side_by_side(sources, keys, self.points, like)
        # A product with zero is zero only for what is finite.
        fixed = [self._sources, *(response for all_ in self._responses.values() for response in all_)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in fixed):
            raise EngineNotApplicable("origin or directions are not finite")
        self._coordinates = like.new_ones(self.points, 1 + setting.plane.ndim)
        self._hidden: dict[int, list[Tensor]] = {}
        self._like = like

    def _samples(self, batch: Split) -> Tensor:
        """Inputs ``(samples, features)``, filled up with the last one."""
        return filled_up(flattened(batch), self.fill)

    @staticmethod
    def _response(inputs: Tensor, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        """The first layer's responses at the origin and to each direction, as rows ``(1 + axes, samples * width)``."""
        return torch.stack([functional.linear(inputs, weight, bias).reshape(-1) for weight, bias in pairs])

    def move(self, *points: Sequence[float]) -> None:
        self._coordinates[:, 1:] = torch.tensor(points, dtype=self._like.dtype)
        torch.mm(self._coordinates, self._sources, out=self._weights)

    def prepare(self) -> None:
        pass

    def outputs(self, split: str, number: int) -> Tensor:
        layers = iter(self._layers)
        if self._responses:
            response = self._responses[split][number]
            hidden = self._workspace(response.shape[1] // self._widths[0])
            x = torch.mm(self._coordinates, response, out=hidden[0].view(self.points, -1)).view(hidden[0].shape)
        else:
            inputs = self._inputs[split][number] if self._inputs else self._samples(self._batches[split][number])
            hidden = self._workspace(len(inputs))
            x = _multiplied(inputs.expand(self.points, *inputs.shape), *next(layers), hidden[0])
        for index in range(1, len(self._widths)):
            x = _multiplied(activated(x, self._activations[index - 1]), *next(layers), hidden[index])
        return activated(x, self._activations[-1]).flatten(0, 1)

    def _workspace(self, rows: int) -> list[Tensor]:
        if rows not in self._hidden:
            self._hidden[rows] = [self._like.new_empty(self.points, rows, width) for width in self._widths]
        return self._hidden[rows]


def _multiplied(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    return torch.bmm(x, weight, out=out) if bias is None else torch.baddbmm(bias, x, weight, out=out)


def _side_by_side(
    sources: Sequence, keys: Sequence[tuple[str, str | None]], points: int, like: Tensor
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor | None]]]:
    """Origin and directions as rows ``(1 + axes, entries)``, room for ``points`` such rows, and views of the room.

    The views are, per layer, weights transposed ``(points, in, out)`` and bias ``(points, 1, out)``.
    """
    names = [name for pair in keys for name in pair if name is not None]
    offsets, end = {}, 0
    for name in names:
        offsets[name] = end
        end += -(-sources[0].tensors[name].numel() // _ALIGNMENT) * _ALIGNMENT
    rows = like.new_zeros(len(sources), max(end, 1))
    for row, source in zip(rows, sources, strict=True):
        for name in names:
            tensor = source.tensors[name]
            row[offsets[name] : offsets[name] + tensor.numel()] = tensor.reshape(-1)
    room = like.new_zeros(points, max(end, 1))

    def view(name: str) -> Tensor:
        tensor = sources[0].tensors[name]
        return room[:, offsets[name] : offsets[name] + tensor.numel()].view(points, *tensor.shape)

    layers = [(view(w).transpose(1, 2), None if b is None else view(b).unsqueeze(1)) for w, b in keys]
    return rows, room, layers
