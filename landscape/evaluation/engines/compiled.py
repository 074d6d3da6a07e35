"""The engine that compiles: the network as one program made by torch.compile, with its weights as inputs."""

from __future__ import annotations

from typing import Any

import torch

from landscape.evaluation.engines.base import EagerEngine, Engine, EngineContext, EngineNotApplicable
from landscape.evaluation.engines.bn_folded import BatchNormFoldedEngine


class CompiledEngine:
    """What the folded engine replays, or the module where it cannot be folded, compiled.

    Weights are inputs of the program, so that it serves at every point; shapes are not, so that a last batch that is
    shorter is compiled for itself. On a GPU the program is recorded as a CUDA graph. Compiling takes seconds to
    minutes and, on a CPU, a C++ compiler: it pays from some hundreds of points on, and only where element-wise
    operations take a good part of the time.

    Raises:
        Unsuitable: the network cannot be compiled here.
    """

    name, points, fill = "compiled", 1, 1

    def __init__(self, setting: EngineContext) -> None:
        self._inner: Engine
        try:
            self._inner = BatchNormFoldedEngine(setting)
            network: Any = self._inner.network
        except EngineNotApplicable:
            self._inner, network = EagerEngine(setting), setting.model
        self._cuda = setting.device.type == "cuda"
        options = {"mode": "reduce-overhead"} if self._cuda else {}
        # dynamic=False: a program for all lengths of a batch would be slower than one for each of two.
        program = torch.compile(network, dynamic=False, **options)
        self._inner.network = program
        self.move, self.prepare = self._inner.move, self._inner.prepare

    def outputs(self, split: str, number: int) -> Any:
        if self._cuda:
            torch.compiler.cudagraph_mark_step_begin()  # what the last call gave may be overwritten
        return self._inner.outputs(split, number)
