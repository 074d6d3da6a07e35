"""The engine for tiny perceptrons: many points per launch, because a point costs less than the calls into torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable, pad_rows, round_up
from landscape.evaluation.engines.mlp import (
    RESPONSE_BYTES,
    LayerNames,
    apply_activations,
    flat_inputs,
    layer_chain,
    layer_names,
)
from landscape.geometry.weights import Weights
from landscape.problem.problem import Split

LAUNCH_BYTES = 2**20
"""Upper limit for the activations of a layer at all points of a launch: half of a core's second-level cache. Measured,
more points gain nothing at this size and lose beyond it."""
MAX_POINTS, MIN_POINTS = 32, 4
"""Points per launch. A point alone takes about 45 us, mostly calls into torch; at 32 points 8 to 16 us remain, and from
16 on it hardly gets cheaper. With fewer than 4, the products dominate and there is nothing to share."""
DEVICE_LAUNCH_BYTES, DEVICE_MAX_POINTS = 2**28, 1024
"""The same limits on a GPU, which has to be filled: a launch costs about as much with 1,024 points as with 32."""
AFFINE_INPUTS = 8
"""Inputs of the first layer from which its responses are combined instead of computed."""
_VECTOR_ENTRIES = 32
"""The weights of each point begin at a multiple of this number of entries, and its samples are padded to one. Torch
processes two vectors of up to 16 numbers at a time and the remainder one by one, and some functions (logarithm,
sigmoid) round differently there. No point may have a remainder that others do not have: without padding, two runs of
one surface of 10,201 points differed in the last bits of 450."""


class BatchedMLPEngine:
    """Perceptrons so small that a point is some twenty calls into torch and little else.

    The weights at all points of a launch are one product, ``(1, a, b)`` times origin and directions, and so are the
    responses of the first layer, which are affine in the coordinates; each further layer is one batched product. A
    launch always has the same number of points and runs on one thread, and the samples of each point fill whole
    vectors. What is computed for a point therefore depends neither on the number of points that were requested nor on
    its position among them.
    """

    name, row_multiple = "batched_mlp", _VECTOR_ENTRIES

    def __init__(self, context: EngineContext) -> None:
        linears, self._activations = layer_chain(context)
        lengths = [len(b) for batches in context.batches.values() for b in batches]
        rows, self._batches = round_up(max(lengths), self.row_multiple), context.batches
        self._like = linears[0].weight.detach()
        self._widths = [layer.out_features for layer in linears]
        size = self._like.element_size()
        response_bytes = sum(lengths) * self._widths[0] * size * (1 + context.plane.ndim)
        affine = linears[0].in_features >= AFFINE_INPUTS and response_bytes <= RESPONSE_BYTES
        placed = linears[1:] if affine else linears
        entries = max(rows * max(self._widths), sum(p.numel() for layer in placed for p in layer.parameters()))
        cpu = context.device.type == "cpu"
        fitting = (LAUNCH_BYTES if cpu else DEVICE_LAUNCH_BYTES) // (entries * size)
        if fitting < MIN_POINTS:
            raise EngineNotApplicable("its products take longer than the calls that several points could share")
        self.points = 2 ** int(math.log2(min(fitting, MAX_POINTS if cpu else DEVICE_MAX_POINTS)))
        keys = layer_names(context.model, linears)
        sources = [context.plane.origin, *(direction.weights for direction in context.plane.directions)]
        self._responses: dict[str, list[Tensor]] = {}
        if affine:
            weight, bias = keys.pop(0)
            pairs = [(s.tensors[weight], None if bias is None else s.tensors[bias]) for s in sources]
            self._responses = {
                split: [_stacked_responses(self._samples(batch), pairs) for batch in batches]
                for split, batches in context.batches.items()
            }
        self._inputs: dict[str, list[Tensor]] = {}
        if not affine and sum(lengths) * linears[0].in_features * size <= RESPONSE_BYTES:
            self._inputs = {split: [self._samples(b) for b in batches] for split, batches in context.batches.items()}
        self._sources, self._weights, self._layers = _side_by_side(sources, keys, self.points, self._like)
        # A zero coordinate takes part in the product here, and 0 * inf is NaN.
        fixed = [self._sources, *(response for responses in self._responses.values() for response in responses)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in fixed):
            raise EngineNotApplicable("origin or directions are not finite")
        self._coordinates = self._like.new_ones(self.points, 1 + context.plane.ndim)
        self._hidden: dict[int, list[Tensor]] = {}

    def _samples(self, batch: Split) -> Tensor:
        """Return inputs ``(samples, features)``, padded with the last one."""
        return pad_rows(flat_inputs(batch), self.row_multiple)

    def set_points(self, *points: Sequence[float]) -> None:
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
            x = _batched_product(inputs.expand(self.points, *inputs.shape), *next(layers), hidden[0])
        for index in range(1, len(self._widths)):
            x = apply_activations(x, self._activations[index - 1])
            x = _batched_product(x, *next(layers), hidden[index])
        return apply_activations(x, self._activations[-1]).flatten(0, 1)

    def _workspace(self, rows: int) -> list[Tensor]:
        """Return memory for the activations of a batch at all points, layer by layer."""
        if rows not in self._hidden:
            self._hidden[rows] = [self._like.new_empty(self.points, rows, width) for width in self._widths]
        return self._hidden[rows]


def _stacked_responses(inputs: Tensor, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Return the first layer's responses with the weights of the origin and of each direction.

    Args:
        inputs: ``(samples, features)``.
        pairs: weight and bias of the layer, of the origin and of each direction.

    Returns:
        ``(1 + axes, samples * width)``.
    """
    return torch.stack([functional.linear(inputs, weight, bias).reshape(-1) for weight, bias in pairs])


def _batched_product(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    return torch.bmm(x, weight, out=out) if bias is None else torch.baddbmm(bias, x, weight, out=out)


def _side_by_side(
    sources: Sequence[Weights], keys: Sequence[LayerNames], points: int, like: Tensor
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor | None]]]:
    """Lay out the weights of all points side by side.

    Returns:
        Origin and directions as rows, ``(1 + axes, entries)``; memory for the weights of all points, ``(points,
        entries)``; and views of it for each layer: the weight transposed, ``(points, in, out)``, and the bias,
        ``(points, 1, out)``.
    """
    names = [name for pair in keys for name in pair if name is not None]
    offsets: dict[str, int] = {}
    end = 0
    for name in names:
        offsets[name] = end
        end += round_up(sources[0].tensors[name].numel(), _VECTOR_ENTRIES)
    rows = like.new_zeros(len(sources), max(end, 1))
    for row, source in zip(rows, sources, strict=True):
        for name in names:
            tensor = source.tensors[name]
            row[offsets[name] : offsets[name] + tensor.numel()] = tensor.reshape(-1)
    weights = like.new_zeros(points, max(end, 1))

    def view(name: str) -> Tensor:
        tensor = sources[0].tensors[name]
        return weights[:, offsets[name] : offsets[name] + tensor.numel()].view(points, *tensor.shape)

    layers = [(view(w).transpose(1, 2), None if b is None else view(b).unsqueeze(1)) for w, b in keys]
    return rows, weights, layers
