"""The engine for language models with large vocabularies: logits are computed for a few tokens at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from landscape._utils.torch_compat import has_hooks
from landscape._utils.torch_state import detach_each
from landscape.evaluation.engines.base import EngineContext, EngineNotApplicable
from landscape.problem.measures import can_be_chunked, measure_in_chunks
from landscape.problem.problem import Measure, Split

LARGE_VOCABULARY = 8192
"""Number of classes from which logits are computed in chunks. Below, those of a batch take no more memory than the
activations, and one product is faster than several."""
CHUNK_BYTES, DEVICE_CHUNK_BYTES = 2**24, 2**28
"""Size of the float32 logits of a chunk, on a CPU and on a GPU."""
_LEAST_TOKENS = 64
"""Tokens of a chunk at least: the weights of the layer are read once for each chunk."""


class _HeadReached(Exception):  # not an error
    """The arguments of the last linear layer, raised in place of its result."""

    def __init__(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.arguments = inputs, weight, bias


class _LinearCalls(TorchFunctionMode):
    """Counts the linear layers of a forward pass, and stops at one of them or records their results.

    Args:
        stop: index of the call at which the pass is stopped; None to complete it.
    """

    def __init__(self, stop: int | None = None) -> None:
        super().__init__()
        self._stop, self._count = stop, 0
        self.results: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not functional.linear:
            return func(*args, **kwargs)
        if self._count == self._stop:
            names = ("input", "weight", "bias")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            raise _HeadReached(given["input"], given["weight"], given.get("bias"))
        self._count += 1
        result = func(*args, **kwargs)
        if self._stop is None:
            self.results.append((result, result.clone()))
        return result


@dataclass(frozen=True)
class LinearHead:
    """The linear layer whose result is the output of a network: its own module, or a tied embedding.

    Attributes:
        model: the network.
        index: number of linear layers that are called before it.
    """

    model: nn.Module
    index: int

    def inputs(self, inputs: Any) -> Tensor:
        """Return what the layer is called with, ``(batch, ..., width)``, without computing its result."""
        return self._arguments(inputs)[0]

    def logits(self, inputs: Any, chunk_bytes: int) -> ChunkedLogits:
        """Return the logits of a batch, which are not computed yet."""
        hidden, weight, bias = self._arguments(inputs)
        chunk = max(_LEAST_TOKENS, chunk_bytes // (4 * len(weight)))
        return ChunkedLogits(hidden.reshape(-1, hidden.shape[-1]), weight, bias, chunk, hidden.shape[:-1])

    def _arguments(self, inputs: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        try:
            with _LinearCalls(self.index):
                self.model(detach_each(inputs))
        except _HeadReached as reached:
            return reached.arguments
        raise EngineNotApplicable("its last linear layer is not called at every point")


@dataclass(frozen=True)
class ChunkedLogits:
    """The outputs of a network that ends in a linear layer, before that layer.

    Attributes:
        hidden: inputs of the layer, ``(tokens, width)``.
        weight: weight of the layer, ``(classes, width)``.
        bias: bias of the layer, or None.
        chunk: number of tokens whose logits are computed at a time.
        shape: shape of the outputs without the classes, ``(batch, ...)``.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    chunk: int
    shape: tuple[int, ...]

    def of(self, tokens: slice) -> Tensor:
        """Return the logits of some tokens, ``(tokens, classes)``."""
        return functional.linear(self.hidden[tokens], self.weight, self.bias)

    def whole(self) -> Tensor:
        """Return all logits, ``(batch, ..., classes)``."""
        return self.of(slice(None)).view(*self.shape, -1)

    def measure(self, measures: Mapping[str, Measure], targets: Tensor) -> dict[str, Tensor]:
        """Return measures of the batch, ``(batch,)`` each, by name."""
        if targets.shape != self.shape:
            raise ValueError(
                f"expected class indices of shape {tuple(self.shape)} for these logits, got {tuple(targets.shape)}"
            )
        return measure_in_chunks(measures, self.of, targets, self.chunk)


def find_head(model: nn.Module, measures: Mapping[str, Measure], few: Split, engine: str = "auto") -> LinearHead | None:
    """Return the last layer of a language model with a large vocabulary; None for any other network or measure.

    It must be a linear layer whose result, unchanged, is what the network returns: logits ``(batch, ..., classes)`` of
    sequences. The measures must be those of :mod:`landscape.problem.measures` that look at one token at a time.

    Args:
        model: the network, in evaluation mode.
        measures: loss and metrics by name.
        few: some samples.
        engine: name of the engine that is wanted; for any but this one and ``auto`` there is no need to look.
    """
    if engine not in ("auto", ChunkedLossEngine.name) or torch.is_grad_enabled():
        return None  # with gradients, networks may need more of their outputs than measures do
    if not all(map(can_be_chunked, measures.values())) or any(has_hooks(module) for module in model.modules()):
        return None
    calls = _LinearCalls()
    with calls:
        outputs = model(detach_each(few.inputs))
    if not isinstance(outputs, Tensor) or outputs.dim() < 3 or outputs.shape[-1] < LARGE_VOCABULARY:
        return None
    if not isinstance(few.targets, Tensor):
        return None
    found = [i for i, (result, _) in enumerate(calls.results) if result is outputs]
    if not found or not torch.equal(calls.results[found[0]][1].nan_to_num(), outputs.nan_to_num()):
        return None
    return LinearHead(model, found[0])


class ChunkedLossEngine:
    """Language models with large vocabularies, up to their last layer; the accumulator computes logits in chunks.

    The float32 logits of a batch would be by far its largest tensor: 26 MB for each sequence of 128 tokens and 50,257
    words. So they also decide the batch size, and a GPU gets too few sequences to be busy.
    """

    name, points, row_multiple = "chunked_loss", 1, 1

    def __init__(self, context: EngineContext) -> None:
        if context.head is None:
            raise EngineNotApplicable(
                f"it is not a language model with a linear last layer of {LARGE_VOCABULARY} classes or more, measured "
                "by cross_entropy and accuracy"
            )
        self._head, self._set_coordinates, self._batches = context.head, context.set_coordinates, context.batches
        self._chunk_bytes = CHUNK_BYTES if context.device.type == "cpu" else DEVICE_CHUNK_BYTES

    def set_points(self, *points: Sequence[float]) -> None:
        (point,) = points
        self._set_coordinates(point)

    def prepare(self) -> None:
        self._head.model.eval()

    def outputs(self, split: str, number: int) -> ChunkedLogits:
        return self._head.logits(self._batches[split][number].inputs, self._chunk_bytes)
