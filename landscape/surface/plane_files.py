"""Planes in HDF5: groups of numbered datasets as Li et al. store directions, and the origin in the same form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from landscape.errors import StoreError
from landscape.geometry.arena import tensor_view
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.surface.hdf5 import attribute, created, reading
from landscape.surface.li2018.directions import PCA, Layout, datasets_of, direction_groups, lay_over

AXES = "xyz"


def write_plane(file: h5py.File, plane: Plane | PlaneFamily) -> None:
    """Write ``/origin`` and ``/xdirection``, ``/ydirection``, ``/zdirection``, one dataset per tensor.

    The cosine of each pair of axes becomes an attribute of the file: ``cosine_xy``, and so on. Of the planes of
    several seeds, each has its directions and cosines in a group of its own, ``/members/<seed>``.
    """
    _write_weights(file.create_group("origin"), plane.origin, {})
    if isinstance(plane, PlaneFamily):
        for seed in plane.seeds:
            _write_directions(file.create_group(f"members/{seed}"), plane.make_plane(seed))
    else:
        _write_directions(file, plane)


def _write_directions(file: h5py.Group, plane: Plane) -> None:
    for axis, direction in zip(AXES, plane.directions, strict=False):
        _write_weights(file.create_group(f"{axis}direction"), direction.weights, direction.recipe.to_json())
    for i, j in combinations(range(plane.ndim), 2):
        file.attrs[f"cosine_{AXES[i]}{AXES[j]}"] = float(plane.cosines[i, j])


def write_directions(path: str | os.PathLike[str], plane: Plane, overwrite: bool = False) -> None:
    """A file of a plane alone, from which ``--directions`` and the scripts of Li et al. take theirs.

    Raises:
        StoreError: the name is taken or the file cannot be written.
    """
    with created(Path(path), overwrite) as file:
        write_plane(file, plane)


def _write_weights(group: h5py.Group, weights: Weights, recipe: Mapping[str, Any]) -> None:
    for index, (name, tensor) in enumerate(weights):
        dataset = group.create_dataset(str(index), data=tensor.detach().cpu().numpy())
        dataset.attrs["name"] = name
        dataset.attrs["state"] = name in weights.buffers
    group.attrs["digest"] = weights.digest()
    for key, value in recipe.items():
        plain = isinstance(value, (bool, int, float, str))
        group.attrs[key] = value if plain else json.dumps(value)


def read_plane(path: str | os.PathLike[str], seed: int | None = None, mapped: bool = False) -> Plane:
    """The plane stored in one of our surface, trajectory or direction files, bit for bit.

    Args:
        path: the file.
        seed: which of the planes of a file of several seeds.
        mapped: leave the tensors in the file, of which pages are read when they are used; they must not be written
            to, and the file must not be cut. One that somebody has compressed is read all the same.

    Raises:
        StoreError: unreadable, without origin and directions (as Li et al.'s files are), or not what was written; or
            a file of several seeds and no word, or a wrong one, on which.
    """
    with reading(path) as file:
        home = file
        if "members" in file:
            seeds = sorted(file["members"], key=int)
            if seed is None or str(seed) not in seeds:
                raise StoreError(
                    f"{path} holds the planes of seeds {', '.join(seeds)}; one of them is expected, got {seed}"
                )
            home = file[f"members/{seed}"]
        if "origin" not in file or "xdirection" not in home:
            raise StoreError(
                f"{path} holds no plane: the groups 'origin' and 'xdirection' are expected; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        memory = np.memmap(path, np.uint8, "r") if mapped else None
        origin, _ = _read_weights(file["origin"], str(path), memory)
        directions = tuple(
            _read_stored(home[f"{axis}direction"], str(path), memory) for axis in AXES if f"{axis}direction" in home
        )
    return Plane(origin, directions)


def _read_stored(group: h5py.Group, path: str, memory: np.ndarray | None) -> Direction:
    weights, recipe = _read_weights(group, path, memory)
    return Direction(weights, DirectionRecipe.from_json(recipe))


def _read_weights(group: h5py.Group, path: str, memory: np.ndarray | None) -> tuple[Weights, dict[str, Any]]:
    try:
        datasets = [group[str(index)] for index in range(len(group))]
        tensors = {attribute(d.attrs["name"]): _tensor(d, memory) for d in datasets}
        states = frozenset(attribute(d.attrs["name"]) for d in datasets if d.attrs["state"])
        weights = Weights(tensors, states)
        intact = weights.digest() == attribute(group.attrs["digest"])
    except KeyError as error:
        raise StoreError(f"{path}:{group.name} is damaged or not ours: {error.args[0]}") from error
    if not intact:
        raise StoreError(f"{path}:{group.name} is damaged: its tensors are not those that were written")
    recipe = {key: attribute(value) for key, value in group.attrs.items() if key != "digest"}
    return weights, {key: _parsed(value) for key, value in recipe.items()}


def _tensor(dataset: h5py.Dataset, memory: np.ndarray | None) -> torch.Tensor:
    offset = dataset.id.get_offset() if memory is not None else None
    if offset is None or offset % dataset.dtype.itemsize or not dataset.dtype.isnative:
        return torch.from_numpy(np.asarray(dataset[()]))
    return tensor_view(memory, torch.from_numpy(np.empty(0, dataset.dtype)).dtype, dataset.shape, offset)


def _parsed(value: Any) -> Any:
    """Lists, dicts and None of a recipe are stored as JSON."""
    if isinstance(value, str) and (value == "null" or value[:1] in ("[", "{")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:  # text that only begins like JSON, such as a name of Li et al.
            return value
    return value


def read_directions(
    path: str | os.PathLike[str], origin: Weights, layout: Layout | None = None
) -> tuple[Direction, ...]:
    """Directions from a file, ours or Li et al.'s, laid over the network whose weights are ``origin``.

    Ours are matched by name. Theirs have no names and follow the order of the network's parameters or of its
    ``state_dict``; see :func:`landscape.surface.li2018.directions.lay_over`.

    Args:
        path: a surface, trajectory or direction file of ours, or a direction or PCA file of theirs.
        origin: the weights at the plane's origin.
        layout: the network's ``state_dict()``; needed for files that hold running statistics without names.

    Raises:
        StoreError: no directions there, or of another network (the message says which tensor does not fit), or they
            move running statistics where ``origin`` has none.
    """
    with reading(path) as file:
        ratios = file[PCA[0]][()] if PCA[0] in file else None
        directions = [_read_direction(group, origin, layout, path) for group in direction_groups(file, str(path))]
    if ratios is None:
        return tuple(directions)
    return tuple(
        direction.with_weights(direction.weights, explained_variance_ratio=float(ratio))
        for direction, ratio in zip(directions, ratios, strict=False)
    )


def _read_direction(
    group: h5py.Group, origin: Weights, layout: Layout | None, path: str | os.PathLike[str]
) -> Direction:
    where = f"{path}:{group.name.strip('/')}"
    arrays = datasets_of(group, str(path))
    names = [group[str(index)].attrs.get("name") for index in range(len(arrays))]
    recipe = DirectionRecipe("file", file=str(path), group=group.name.strip("/"))
    if all(name is not None for name in names):
        named = dict(zip((attribute(name) for name in names), arrays, strict=True))
        stored = {key: _parsed(attribute(value)) for key, value in group.attrs.items() if key != "digest"}
        return Direction(lay_over(named, origin, where), DirectionRecipe.from_json({**stored, "file": str(path)}))
    return Direction(lay_over(arrays, origin, where, layout), recipe)
