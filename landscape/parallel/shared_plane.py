"""A plane shared by the ranks of a host: made by the root, sent to each host once, and mapped by all ranks there."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch

from landscape._utils.machine import memory_limit
from landscape.errors import StoreError
from landscape.geometry.arena import MappedArena, allocate_in, tensor_view
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.parallel.ranks import Ranks

_log = logging.getLogger(__name__)

P = TypeVar("P", Plane, PlaneFamily)

IN_MEMORY_FRACTION = 0.5
"""Fraction of the memory above which a plane is kept in a file by default."""
_MESSAGE_BYTES = 2**28  # far below 2**31, the largest count of many MPI libraries


class _Layout(NamedTuple):
    """The places of a plane's tensors in a file.

    ``tensors`` has, for the origin and each direction, dtype, shape and offset of each tensor.
    """

    names: list[str]
    buffers: frozenset[str]
    trainable: frozenset[str] | None
    recipes: list[DirectionRecipe]
    tensors: list[list[tuple[torch.dtype, torch.Size, int]]]
    size: int


def scratch_directory(size: int, folder: Path) -> Path | None:
    """Return where to keep a plane of ``size`` bytes: ``folder``, or None for memory.

    Planes above :data:`IN_MEMORY_FRACTION` of the memory go to ``folder``, if it has enough space.
    """
    limit = memory_limit()
    if size <= IN_MEMORY_FRACTION * limit:
        return None
    free = shutil.disk_usage(next(f for f in (folder, *folder.parents) if f.exists())).free
    what = (
        f"origin and directions take {size / 2**30:.3g} GiB, over {IN_MEMORY_FRACTION:.0%} of {limit / 2**30:.3g} GiB "
        "of memory"
    )
    if free < size:
        _log.warning("%s, and %s has only %.3g GiB free: choose another scratch directory", what, folder, free / 2**30)
        return None
    _log.warning("%s: keeping them in a file in %s", what, folder)
    return folder


def share_plane(ranks: Ranks, make: Callable[[], Plane], scratch: Path | None = None) -> Plane:
    """Return the plane that ``make`` returns on the root, on every rank, bit for bit.

    The ranks of a host map the same pages of a file, which is unlinked before this function returns: the plane takes
    its memory once, not once per rank. The tensors are allocated in that file, one by one; with ``scratch``, also if
    there is a single rank. They must not be written to.

    Args:
        ranks: ranks of the job.
        make: returns the plane, made of new tensors; called on the root only.
        scratch: directory of the file on every host; by default memory for a single rank, and the directory for
            temporary files for several.

    Raises:
        StoreError: there is no space in ``scratch``.
        Exception: what ``make`` raised, on the root; a ``RemoteError`` on the other ranks.
    """
    if ranks.comm is None:
        return make_in_arena(scratch, make) if scratch else make()
    made = ranks.collective(lambda: _make(make, scratch, keep_name=True) if ranks.is_root else None)
    arena, plane = made or (None, None)
    try:
        return _share(ranks, arena, plane, scratch)
    finally:
        if arena is not None:
            arena.close()


def make_in_arena(scratch: Path, make: Callable[[], P]) -> P:
    """Return what ``make`` returns, with its tensors in a file in ``scratch``.

    The planes of several seeds go there as well, whenever they are made.

    Raises:
        StoreError: there is no space in ``scratch``.
    """
    arena, made = _make(make, scratch)
    arena.close()
    if isinstance(made, PlaneFamily):
        make_plane = made.make_plane
        return replace(made, make_plane=lambda seed: make_in_arena(scratch, lambda: make_plane(seed)))
    return made


def _make(make: Callable[[], P], scratch: Path | None, keep_name: bool = False) -> tuple[MappedArena, P]:
    arena = None
    try:
        arena = MappedArena(scratch, required=scratch is not None)
        if not keep_name:
            arena.unlink()
        with allocate_in(arena):
            return arena, make()
    except BaseException as error:
        if arena is not None:
            arena.close()
        if isinstance(error, OSError) and (arena is None or error is arena.allocation_error):
            raise StoreError(
                f"{scratch or 'the directory for temporary files'}: no space for origin and directions: "
                f"{error.strerror or error}. Choose a scratch directory on a larger disk"
            ) from error
        raise


def _share(ranks: Ranks, arena: MappedArena | None, plane: Plane | None, scratch: Path | None) -> Plane:
    """Share the plane that the root has made in ``arena``; the other ranks have neither."""
    from mpi4py import MPI

    assert ranks.comm is not None
    host = ranks.comm.Split_type(MPI.COMM_TYPE_SHARED, key=ranks.rank)
    first_ranks = ranks.comm.Split(0 if host.rank == 0 else MPI.UNDEFINED, key=ranks.rank)
    try:
        layout = ranks.share(ranks.collective(lambda: _layout(plane, arena) if plane and arena else None))
        if layout is None:  # the root's host has no space for the file
            return cast(Plane, ranks.share(plane))
        if host.rank == 0 and arena is None:
            arena = _allocate_copy(layout.size, scratch)
        if not all(ranks.gather(host.rank > 0 or arena is not None)):  # another host has none
            return cast(Plane, ranks.share(plane))
        path = host.bcast(str(arena.path) if arena is not None else None)
        if host.rank == 0 and first_ranks.size > 1:
            memory = np.memmap(path, np.uint8, "r+")
            for begin in range(0, layout.size, _MESSAGE_BYTES):
                first_ranks.Bcast(memory[begin : min(begin + _MESSAGE_BYTES, layout.size)])
        shared = np.memmap(path, np.uint8, "r")
        host.Barrier()
    finally:
        if arena is not None:
            arena.close()
        if first_ranks != MPI.COMM_NULL:
            first_ranks.Free()
        host.Free()
    return _plane(shared, layout)


def _weights(plane: Plane) -> Iterator[Weights]:
    yield plane.origin
    for direction in plane.directions:
        yield direction.weights


def _layout(plane: Plane, arena: MappedArena) -> _Layout | None:
    """Return the places of the plane's tensors in the root's file; None if the disk has no space for all of them."""
    tensors: list[list[tuple[torch.dtype, torch.Size, int]]] = []
    for weights in _weights(plane):
        tensors.append([])
        for _, tensor in weights:
            offset = arena.offset_of(tensor)
            if offset is None or not tensor.is_contiguous():  # a tensor of the caller, or with other strides
                copy = arena.allocate(tensor.shape, tensor.dtype)
                offset = arena.offset_of(copy.copy_(tensor)) if tensor.numel() else 0
            if offset is None:
                return None
            tensors[-1].append((tensor.dtype, tensor.shape, offset))
    recipes = [direction.recipe for direction in plane.directions]
    origin = plane.origin
    return _Layout(list(origin.tensors), origin.buffers, origin.trainable, recipes, tensors, max(arena.size, 1))


def _allocate_copy(size: int, scratch: Path | None) -> MappedArena | None:
    """Return a file for a copy of the root's bytes; None if the disk has no space."""
    try:
        arena = MappedArena(scratch)
    except OSError:
        return None
    arena.allocate((size,), torch.uint8)
    if arena.allocation_error is None:
        return arena
    arena.close()
    return None


def _plane(memory: np.ndarray, layout: _Layout) -> Plane:
    """Return the plane whose tensors are at their places in ``memory``."""
    weights = [
        Weights(
            {name: tensor_view(memory, *place) for name, place in zip(layout.names, places, strict=True)},
            layout.buffers,
            trainable=layout.trainable,
        )
        for places in layout.tensors
    ]
    return Plane(weights[0], tuple(Direction(w, r) for w, r in zip(weights[1:], layout.recipes, strict=True)))
