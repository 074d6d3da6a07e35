"""The engine that compiles: the network as one program made by torch.compile, with its weights as inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from landscape.evaluation.engines.base import EagerEngine, EngineContext, EngineNotApplicable
from landscape.evaluation.engines.bn_folded import BatchNormFoldedEngine


class CompiledEngine:
    """A compiled form of what :class:`BatchNormFoldedEngine` runs, or of the module if it cannot be folded.

    Weights are inputs of the program, so that it serves every point. Shapes are fixed, so that a shorter last batch is
    compiled on its own. On a GPU the program is recorded as a CUDA graph. Compiling takes seconds to minutes and, on a
    CPU, a C++ compiler: it pays from some hundreds of points on, and only where element-wise operations take a good
    part of the time. It is therefore used only on request.
    """

    name, points, row_multiple = "compiled", 1, 1

    def __init__(self, context: EngineContext) -> None:
        self._inner: EagerEngine | BatchNormFoldedEngine
        try:
            self._inner = BatchNormFoldedEngine(context)
        except EngineNotApplicable:
            self._inner = EagerEngine(context)
        self._cuda = context.device.type == "cuda"
        # dynamic=False: one program for batches of all lengths would be slower than one for each of the two lengths.
        mode = "reduce-overhead" if self._cuda else None
        self._inner.network = torch.compile(self._inner.network, dynamic=False, mode=mode)

    def set_points(self, *points: Sequence[float]) -> None:
        self._inner.set_points(*points)

    def prepare(self) -> None:
        self._inner.prepare()

    def outputs(self, split: str, number: int) -> Any:
        if self._cuda:
            # From here on, the outputs of the last call may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # untyped in torch
        return self._inner.outputs(split, number)
