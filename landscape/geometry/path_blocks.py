"""The checkpoints of a path, a block of entries of all of them at a time, read from the files that hold them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.file_tensors import BlockReader, FileTensor, file_tensors
from landscape._utils.machine import one_blas_thread, thread_budget
from landscape.geometry.arena import zeros
from landscape.geometry.weights import SUM_BLOCK, Weights, real_view

WeightsLoader = Callable[[], Weights]
"""Function that loads the weights of one checkpoint."""
TensorLoader = Callable[[], list[Tensor]]
"""Function that loads some tensors of one checkpoint."""
Report = Callable[[int], None]
"""Function called with the progress of a task, in checkpoints."""
CACHED_BLOCK = 2**15
"""Entries that elementwise operations take at a time: their float64 copies (256 KiB each) stay in the cache."""
LOOK = 2**18
"""Entries of each checkpoint in a first look, and a sixteenth of it for each tensor, spread evenly over it."""
_PIECES = 16

T = TypeVar("T")
R = TypeVar("R")
_Array = npt.NDArray[np.float64]
_Part: TypeAlias = tuple[int, int, int]  # the number of a tensor, and a range of its entries


@dataclass(frozen=True)
class PathBlocks:
    """The same tensors of several checkpoints, in files.

    Attributes:
        checkpoints: places of the tensors of each checkpoint, in the same order.
    """

    checkpoints: tuple[tuple[FileTensor, ...], ...]

    @classmethod
    def of(cls, loaders: Sequence[TensorLoader], report: Report | None = None) -> PathBlocks | None:
        """Return the tensors of checkpoints; None if some aren't mapped from a file.

        Each checkpoint is loaded once, one at a time; mapped tensors stay on the disk.

        Args:
            loaders: one loader per checkpoint.
            report: function called with the number of checkpoints that are loaded.
        """
        found: list[tuple[FileTensor, ...]] = []
        for load in loaders:
            tensors = load()
            if report is not None:
                report(len(found) + 1)
            if any(tensor.layout is not torch.strided for tensor in tensors):
                return None
            places = file_tensors([real_view(tensor) for tensor in tensors])
            if places is None:
                return None
            found.append(tuple(places))
        return cls(tuple(found)) if found else None

    def __len__(self) -> int:
        return len(self.checkpoints)

    def only(self, chosen: Sequence[int]) -> PathBlocks:
        """Return some of the checkpoints."""
        return PathBlocks(tuple(self.checkpoints[index] for index in chosen))

    def gram_matrix(self, report: Report | None = None) -> _Array:
        """Return the inner products of the displacements from the first checkpoint, ``(n, n)`` float64.

        The blocks are those by which checkpoints in memory are multiplied in one group, and so are the sums.

        Args:
            report: function called with the finished part of the work, in checkpoints.
        """
        gram = np.zeros((len(self), len(self)))
        done, numel = 0, sum(place.numel for place in self.checkpoints[0])
        size = max(SUM_BLOCK // (2 * len(self)), 1)
        parts = (
            (k, start, min(start + size, place.numel))
            for k, place in enumerate(self.checkpoints[0])
            for start in range(0, place.numel, size)
        )
        for (_, start, stop), products in self._products(parts):
            gram += products
            done += stop - start
            if report is not None:
                report(len(self) * done // numel)
        return gram

    def first_look(self) -> _Array:
        """Return the Gram matrix of a sample of the entries, at most :data:`LOOK` or sixteen of each tensor."""
        numel = max(sum(place.numel for place in self.checkpoints[0]), 1)
        parts = []
        for k, place in enumerate(self.checkpoints[0]):
            length = max(min(place.numel, place.numel * LOOK // numel) // _PIECES, 1)
            if place.numel:
                starts = {int(start) for start in np.linspace(0, place.numel - length, _PIECES)}
                parts += [(k, start, start + length) for start in sorted(starts)]
        gram = np.zeros((len(self), len(self)))
        for _, products in self._products(iter(parts)):
            gram += products
        return gram

    def combine(self, origin: Weights, names: Sequence[str], factors: _Array) -> list[Weights]:
        """Return the linear combinations whose factors are the columns of ``factors``, ``(n, axes)``.

        Args:
            origin: weights of the layout of the result; tensors that aren't in ``names`` are zero.
            names: names of the tensors of the checkpoints.
            factors: factors of the displacements from the first checkpoint; each column has the sum zero.
        """
        axes = factors.shape[1]
        combined = [{name: zeros(t.shape, t.dtype, t.device) for name, t in origin} for _ in range(axes)]
        targets = [[real_view(component[name]).reshape(-1) for component in combined] for name in names]
        parts = (
            (k, start, min(start + CACHED_BLOCK, place.numel))
            for k, place in enumerate(self.checkpoints[0])
            for start in range(0, place.numel, CACHED_BLOCK)
        )
        memory = _Scratch()

        def sum_up(part: _Part) -> None:
            k, start, stop = part
            reference, delta, *totals = torch.from_numpy(memory.take(2 + axes, stop - start))
            read_into(reference, self.checkpoints[0][k], start, stop)
            for total in totals:
                total.zero_()
            for i, places in enumerate(self.checkpoints):
                read_into(delta, places[k], start, stop)
                delta.sub_(reference)
                for axis, total in enumerate(totals):
                    total.add_(delta, alpha=float(factors[i, axis]))
            for target, total in zip(targets[k], totals, strict=True):
                target[start:stop].copy_(total)

        with BlockReader() as reader:

            def read_into(target: Tensor, place: FileTensor, start: int, stop: int) -> None:
                np.copyto(target.numpy(), reader.read(place, start, stop))

            for _ in _in_order(sum_up, parts):
                pass
        return [origin.with_tensors(component) for component in combined]

    def displacements(
        self,
        k: int,
        part: slice,
        there: Tensor,
        memory: Tensor,
        directions: Sequence[Tensor] = (),
        coordinates: Sequence[_Array] = (),
    ) -> Iterator[Tensor]:
        """Return a block of each checkpoint minus a point, each ``(entries,)`` float64.

        The one after the next overwrites it.

        Args:
            k: number of the tensor.
            part: range in the flattened tensor.
            there: the block at the point, float64.
            memory: ``(2, entries or more)`` float64, for two checkpoints at a time.
            directions: blocks of directions, float64.
            coordinates: for each checkpoint the multiples of the directions to subtract, ``(directions,)``.
        """
        return _ahead(self._displacements(k, part, there, memory, directions, coordinates))

    def _displacements(
        self,
        k: int,
        part: slice,
        there: Tensor,
        memory: Tensor,
        directions: Sequence[Tensor],
        coordinates: Sequence[_Array],
    ) -> Iterator[Tensor]:
        with BlockReader() as reader:
            for i, places in enumerate(self.checkpoints):
                displacement = memory[i % 2, : len(there)]
                for start in range(0, len(there), CACHED_BLOCK):
                    stop = min(start + CACHED_BLOCK, len(there))
                    piece = displacement[start:stop]
                    here = torch.from_numpy(reader.read(places[k], part.start + start, part.start + stop))
                    torch.sub(here, there[start:stop], out=piece)
                    for direction, coordinate in zip(directions, coordinates[i] if directions else (), strict=True):
                        piece.sub_(direction[start:stop], alpha=float(coordinate))
                yield displacement

    def _products(self, parts: Iterator[_Part]) -> Iterator[tuple[_Part, _Array]]:
        """Return for each part the inner products of its displacements from the first checkpoint, ``(n, n)``."""
        memory = _Scratch()

        def multiply(part: _Part) -> tuple[_Part, _Array]:
            k, start, stop = part
            reference, *displaced = matrix = memory.take(1 + len(self), stop - start)
            np.copyto(reference, reader.read(self.checkpoints[0][k], start, stop))
            for row, places in zip(displaced, self.checkpoints, strict=True):
                np.copyto(row, reader.read(places[k], start, stop))
                np.subtract(row, reference, out=row)
            return part, matrix[1:] @ matrix[1:].T

        with BlockReader() as reader, one_blas_thread():
            yield from _in_order(multiply, parts)


class _Scratch(threading.local):
    """Memory of each thread for a matrix of float64."""

    def __init__(self) -> None:
        self._memory = np.empty(0)

    def take(self, rows: int, columns: int) -> _Array:
        """Return a matrix that is overwritten by the next one of the thread."""
        if len(self._memory) < rows * columns:
            self._memory = np.empty(rows * columns)
        return self._memory[: rows * columns].reshape(rows, columns)


def _in_order(work: Callable[[T], R], items: Iterator[T]) -> Iterator[R]:
    """Yield the results for items in order, computed in a few threads: at least two, so that one reads ahead."""
    count = max(thread_budget(), 2)
    with ThreadPoolExecutor(count) as pool:
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) > count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, of which the next one is made in another thread; each must outlive the making of the next."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item
