"""One copy of a plane per host: made by the root, sent to each host once, and mapped by all ranks there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.sweep.ranks import Ranks

_ALIGN = 64
_PIECE = 2**28
"""Bytes per message: far below where the counts of MPI libraries end."""


class _Layout(NamedTuple):
    """Where the tensors of a plane lie in a run of bytes."""

    names: list[str]
    states: frozenset[str]
    recipes: list[dict[str, Any]]
    tensors: list[list[tuple[torch.dtype, torch.Size, int]]]
    """For the origin and each direction: dtype, shape and offset of each tensor."""
    size: int


def share_plane(ranks: Ranks, make: Callable[[], Plane]) -> Plane:
    """The plane that ``make`` returns on the root, on every rank and bit for bit; ``make`` is called nowhere else.

    Ranks of one host map the same pages of a temporary file, which has no name any more when this returns: N ranks
    hold the plane once and not N times. Its tensors must not be written to.

    Raises:
        Exception: what ``make`` raises, on the root; a ``RankError`` on the others.
    """
    plane = ranks.agree(lambda: make() if ranks.is_root else None)
    if ranks.comm is None:
        return plane
    from mpi4py import MPI

    host = ranks.comm.Split_type(MPI.COMM_TYPE_SHARED, key=ranks.rank)
    heads = ranks.comm.Split(0 if host.rank == 0 else MPI.UNDEFINED, key=ranks.rank)
    layout = ranks.share(_layout(plane) if ranks.is_root else None)
    path = _room(layout.size) if host.rank == 0 else ""
    try:
        if not all(ranks.comm.allgather(path is not None)):
            return ranks.share(plane)  # a host has no room for the file
        if host.rank == 0:
            memory = np.memmap(path, np.uint8, "r+")
            if ranks.is_root:
                _fill(memory, layout, plane)
            for begin in range(0, layout.size, _PIECE):
                heads.Bcast(memory[begin : begin + _PIECE])
        shared = np.memmap(host.bcast(path), np.uint8, "c")  # copy on write: torch knows no read-only tensors
        host.Barrier()
    finally:
        if host.rank == 0 and path:
            os.unlink(path)
        if heads != MPI.COMM_NULL:
            heads.Free()
        host.Free()
    return _plane(shared, layout)


def _weights(plane: Plane) -> Iterator[Weights]:
    yield plane.origin
    for direction in plane.directions:
        yield direction.weights


def _layout(plane: Plane) -> _Layout:
    offset, places = 0, []
    for weights in _weights(plane):
        places.append([])
        for _, tensor in weights:
            places[-1].append((tensor.dtype, tensor.shape, offset))
            offset += -(-tensor.numel() * tensor.element_size() // _ALIGN) * _ALIGN
    recipes = [dict(direction.recipe) for direction in plane.directions]
    return _Layout(list(plane.origin.tensors), plane.origin.states, recipes, places, max(offset, _ALIGN))


def _room(size: int) -> str | None:
    """A temporary file of ``size`` bytes that the disk has promised, or None: a broken promise would be a crash."""
    handle, path = tempfile.mkstemp(prefix="landscape-plane-")
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:  # macOS
            os.ftruncate(handle, size)
    except OSError:
        os.unlink(path)
        return None
    finally:
        os.close(handle)
    return path


def _view(memory: np.ndarray, place: tuple[torch.dtype, torch.Size, int]) -> Tensor:
    dtype, shape, offset = place
    size = shape.numel() * dtype.itemsize
    return torch.from_numpy(memory[offset : offset + size]).view(dtype).reshape(shape)


def _fill(memory: np.ndarray, layout: _Layout, plane: Plane) -> None:
    for weights, places in zip(_weights(plane), layout.tensors, strict=True):
        for (_, tensor), where in zip(weights, places, strict=True):
            _view(memory, where).copy_(tensor)


def _plane(memory: np.ndarray, layout: _Layout) -> Plane:
    weights = [
        Weights({name: _view(memory, place) for name, place in zip(layout.names, places, strict=True)}, layout.states)
        for places in layout.tensors
    ]
    return Plane(weights[0], tuple(Direction(w, r) for w, r in zip(weights[1:], layout.recipes, strict=True)))
