"""CUDA graphs: work on a GPU that is captured once and replayed for one call from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

T = TypeVar("T")


class CapturedPass(Generic[T]):
    """A computation as one CUDA graph: hundreds of kernels for one call from Python.

    The graph reads its operands from where they were when it was captured; they are changed in place.

    Args:
        compute: function that returns tensors; it must launch the same kernels on the same memory each time, and must
            not wait for the device.
    """

    def __init__(self, compute: Callable[[], T]) -> None:
        # What is done at the first call only, such as compiling kernels and choosing algorithms, must not be captured.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch doesn't type it
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                compute()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads of a rank use the device, too: only what this one does is captured.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._results = compute()

    def replay(self) -> T:
        """Compute again, and return the results; valid until the next replay."""
        self._graph.replay()
        return self._results
