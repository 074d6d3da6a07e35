"""The checkpoints of a path, a block of entries of all of them at a time, read from the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.file_tensors import BlockReader, FileTensor, file_tensors
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
_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PathBlocks:
    """The same tensors of several checkpoints, in files.

    Attributes:
        checkpoints: places of the tensors of each checkpoint, in the same order.
    """

    checkpoints: tuple[tuple[FileTensor, ...], ...]

    @classmethod
    def of(cls, loaders: Sequence[TensorLoader], report: Report | None = None) -> PathBlocks | None:
        """Return the tensors of checkpoints; None if some aren't mapped from a file in their own precision.

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
        for displaced in self._displaced(parts):
            gram += displaced @ displaced.T
            done += displaced.shape[1]
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
        for displaced in self._displaced(iter(parts)):
            gram += displaced @ displaced.T
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
        sums = torch.empty(axes, CACHED_BLOCK, dtype=torch.float64)
        with BlockReader() as reader:
            for k, name in enumerate(names):
                targets = [real_view(component[name]).reshape(-1) for component in combined]
                for start in range(0, self.checkpoints[0][k].numel, CACHED_BLOCK):
                    stop = min(start + CACHED_BLOCK, self.checkpoints[0][k].numel)
                    total = sums[:, : stop - start].zero_()
                    reference = _copied(reader.read(self.checkpoints[0][k], start, stop))
                    for i, places in enumerate(self.checkpoints):
                        delta = _copied(reader.read(places[k], start, stop)).sub_(reference)
                        for axis in range(axes):
                            total[axis].add_(delta, alpha=float(factors[i, axis]))
                    for target, of_axis in zip(targets, total, strict=True):
                        target[start:stop].copy_(of_axis)
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

    def _displaced(self, parts: Iterator[tuple[int, int, int]]) -> Iterator[_Array]:
        """Return the entries of each part, the number of a tensor and a range, minus those of the first checkpoint.

        Each is an array of shape ``(n, entries)`` that the one after the next overwrites.
        """
        return _ahead(self._displaced_parts(parts))

    def _displaced_parts(self, parts: Iterator[tuple[int, int, int]]) -> Iterator[_Array]:
        memory = [np.empty(0), np.empty(0)]
        with BlockReader() as reader:
            for k, start, stop in parts:
                memory.reverse()
                size = len(self) * (stop - start)
                if len(memory[0]) < size:
                    memory[0] = np.empty(size)
                displaced = memory[0][:size].reshape(len(self), stop - start)
                reference = reader.read(self.checkpoints[0][k], start, stop).astype(np.float64)
                for row, places in zip(displaced, self.checkpoints, strict=True):
                    np.copyto(row, reader.read(places[k], start, stop))
                    np.subtract(row, reference, out=row)
                yield displaced


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, of which the next one is made in another thread; each must outlive the making of the next."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item


def _copied(entries: npt.NDArray[np.floating]) -> Tensor:
    """Return entries in the buffer of a reader as a float64 tensor of its own."""
    return torch.from_numpy(entries).to(torch.float64, copy=True)
