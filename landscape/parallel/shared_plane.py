"""One copy of a plane per host: made by the root, sent to each host once, and mapped by all ranks there."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from landscape._utils.machine import memory_limit
from landscape.errors import StoreError
from landscape.geometry.arena import MappedArena, allocate_in, tensor_view
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.parallel.ranks import Ranks

_log = logging.getLogger(__name__)

SHARE = 0.5
"""A plane that takes more than this share of the memory lies in a file, unless told otherwise."""
_PIECE = 2**28
"""Bytes per message: far below where the counts of MPI libraries end."""


class _Layout(NamedTuple):
    """Where the tensors of a plane lie in a run of bytes."""

    names: list[str]
    states: frozenset[str]
    recipes: list[DirectionRecipe]
    tensors: list[list[tuple[torch.dtype, torch.Size, int]]]
    """For the origin and each direction: dtype, shape and offset of each tensor."""
    size: int


def scratch_directory(size: int, folder: Path) -> Path | None:
    """Where a plane of ``size`` bytes should lie: in ``folder`` if it takes more than :data:`SHARE` of the memory.

    None is the memory, also where ``folder`` has not enough room: then the system has to see how it gets along.
    """
    limit = memory_limit()
    if size <= SHARE * limit:
        return None
    free = shutil.disk_usage(next(f for f in (folder, *folder.parents) if f.exists())).free
    what = f"{size / 2**30:.3g} GiB of origin and directions, over {SHARE:.0%} of {limit / 2**30:.3g} GiB of memory"
    if free < size:
        _log.warning("%s, and %s has room for %.3g GiB: name a folder with --scratch", what, folder, free / 2**30)
        return None
    _log.warning("%s: they are kept in a file in %s", what, folder)
    return folder


def share_plane(ranks: Ranks, make: Callable[[], Plane], scratch: Path | None = None) -> Plane:
    """The plane that ``make`` returns on the root, on every rank and bit for bit; ``make`` is called nowhere else.

    Ranks of one host map the same pages of a file, which has no name any more when this returns: N ranks hold the
    plane once and not N times. The tensors are made in that file, one by one, and are never in memory besides; with
    ``scratch`` also for a rank that is alone. They must not be written to.

    Args:
        ranks: this process's place.
        make: makes the plane, of tensors that it makes itself.
        scratch: folder of the file, on every host; None for memory, or, for several ranks, where temporary files go.

    Raises:
        StoreError: ``scratch`` cannot take the plane.
        Exception: what ``make`` raises, on the root; a ``RankError`` on the others.
    """
    if ranks.comm is None:
        return make_in_arena(scratch, make) if scratch else make()
    room, plane = ranks.collective(lambda: _made(make, scratch, named=True) if ranks.is_root else (None, None))
    try:
        return _shared(ranks, room, plane, scratch)
    finally:
        if room is not None:
            room.close()


def make_in_arena(scratch: Path, make: Callable[[], Plane | PlaneFamily]) -> Plane | PlaneFamily:
    """What ``make`` returns, its tensors in a file in ``scratch``; those of a family, whenever they are made.

    Raises:
        StoreError: ``scratch`` cannot take them.
    """
    room, made = _made(make, scratch)
    room.close()
    if isinstance(made, PlaneFamily):
        return replace(made, make_plane=lambda seed: make_in_arena(scratch, lambda: made.make_plane(seed)))
    return made


def _made(make: Callable[[], Plane], scratch: Path | None, named: bool = False) -> tuple[MappedArena, Plane]:
    room = None
    try:
        room = MappedArena(scratch, required=scratch is not None)
        if not named:
            room.unlink()
        with allocate_in(room):
            return room, make()
    except BaseException as error:
        if room is not None:
            room.close()
        if isinstance(error, OSError) and (room is None or error is room.allocation_error):
            raise StoreError(
                f"{scratch or 'the folder of temporary files'}: no room for origin and directions: "
                f"{error.strerror or error}. Name a folder on a larger disk with --scratch"
            ) from error
        raise


def _shared(ranks: Ranks, room: MappedArena | None, plane: Plane | None, scratch: Path | None) -> Plane:
    from mpi4py import MPI

    host = ranks.comm.Split_type(MPI.COMM_TYPE_SHARED, key=ranks.rank)
    heads = ranks.comm.Split(0 if host.rank == 0 else MPI.UNDEFINED, key=ranks.rank)
    try:
        layout = ranks.share(ranks.collective(lambda: _layout(plane, room) if ranks.is_root else None))
        if layout is None:
            return ranks.share(plane)  # the root's host has no room for the file
        if host.rank == 0 and room is None:
            room = _copy_of(layout.size, scratch)
        if not all(ranks.comm.allgather(host.rank > 0 or room is not None)):
            return ranks.share(plane)  # another host has none
        path = host.bcast(str(room.path) if host.rank == 0 else None)
        if host.rank == 0 and heads.size > 1:
            memory = np.memmap(path, np.uint8, "r+")
            for begin in range(0, layout.size, _PIECE):
                heads.Bcast(memory[begin : min(begin + _PIECE, layout.size)])
        shared = np.memmap(path, np.uint8, "r")
        host.Barrier()
    finally:
        if room is not None:
            room.close()
        if heads != MPI.COMM_NULL:
            heads.Free()
        host.Free()
    return _plane(shared, layout)


def _weights(plane: Plane) -> Iterator[Weights]:
    yield plane.origin
    for direction in plane.directions:
        yield direction.weights


def _layout(plane: Plane, room: MappedArena) -> _Layout | None:
    """Where the plane's tensors lie in the root's file; None where the disk had no room for all of them."""
    places = []
    for weights in _weights(plane):
        places.append([])
        for _, tensor in weights:
            offset = room.offset_of(tensor)
            if offset is None or not tensor.is_contiguous():  # the caller's own, or in an order of its own
                copy = room.allocate(tensor.shape, tensor.dtype)
                offset = room.offset_of(copy.copy_(tensor)) if tensor.numel() else 0
            if offset is None:
                return None
            places[-1].append((tensor.dtype, tensor.shape, offset))
    recipes = [direction.recipe for direction in plane.directions]
    return _Layout(list(plane.origin.tensors), plane.origin.buffers, recipes, places, max(room.size, 1))


def _copy_of(size: int, scratch: Path | None) -> MappedArena | None:
    """A file for the root's bytes, or None where the disk has no room."""
    try:
        room = MappedArena(scratch)
    except OSError:
        return None
    room.allocate((size,), torch.uint8)
    if room.allocation_error is None:
        return room
    room.close()
    return None


def _plane(memory: np.ndarray, layout: _Layout) -> Plane:
    weights = [
        Weights(
            {name: tensor_view(memory, *place) for name, place in zip(layout.names, places, strict=True)}, layout.states
        )
        for places in layout.tensors
    ]
    return Plane(weights[0], tuple(Direction(w, r) for w, r in zip(weights[1:], layout.recipes, strict=True)))
