"""Planes in HDF5: origin and directions as groups of numbered datasets, the layout of Li et al.'s direction files."""

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
from numpy.typing import NDArray

from landscape.errors import StoreError
from landscape.geometry.arena import tensor_view
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSeries, PlaneSet
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_array
from landscape.surface.li2018.directions import (
    PCA_DATASETS,
    StateDict,
    direction_groups,
    numbered_datasets,
    weights_from_arrays,
)

AXES = "xyz"


def write_plane(file: h5py.File, plane: Plane | PlaneSet) -> None:
    """Write ``/origin`` and ``/xdirection``, ``/ydirection``, ``/zdirection``, one dataset per tensor.

    The cosine of the angle between each pair of axes becomes an attribute of the file: ``cosine_xy`` and so on. For
    several seeds, the directions and cosines of each are in a group ``/members/<seed>``. Of planes through checkpoints,
    the reference is written, whose directions they share.
    """
    _write_weights(file.create_group("origin"), plane.origin, {})
    if isinstance(plane, PlaneFamily):
        for seed in plane.seeds:
            _write_directions(file.create_group(f"members/{seed}"), plane.make_plane(seed))
    else:
        _write_directions(file, plane.reference if isinstance(plane, PlaneSeries) else plane)


def write_directions(path: str | os.PathLike[str], plane: Plane, overwrite: bool = False) -> None:
    """Write a plane to its own file, readable by :func:`read_plane` and by the scripts of Li et al.

    Raises:
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    with create_hdf5(Path(path), overwrite) as file:
        write_plane(file, plane)


def _write_directions(group: h5py.Group, plane: Plane) -> None:
    for axis, direction in zip(AXES, plane.directions, strict=False):
        _write_weights(group.create_group(f"{axis}direction"), direction.weights, direction.recipe.to_json())
    for i, j in combinations(range(plane.ndim), 2):
        group.attrs[f"cosine_{AXES[i]}{AXES[j]}"] = float(plane.cosines[i, j])


def _write_weights(group: h5py.Group, weights: Weights, recipe: Mapping[str, Any]) -> None:
    for index, (name, tensor) in enumerate(weights):
        dataset = group.create_dataset(str(index), data=tensor.detach().cpu().numpy())
        dataset.attrs["name"] = name
        dataset.attrs["state"] = name in weights.buffers
        if weights.trainable is not None:
            dataset.attrs["trainable"] = name in weights.trainable
    group.attrs["digest"] = weights.digest()
    for key, value in recipe.items():
        group.attrs[key] = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)


def read_plane(path: str | os.PathLike[str], seed: int | None = None, mapped: bool = False) -> Plane:
    """Read the plane in a surface, trajectory or direction file of this program, bit for bit.

    Args:
        path: the file.
        seed: seed of the plane, in a file with several seeds.
        mapped: map the tensors from the file instead of reading them; pages are read on first use. The tensors must not
            be written to, and the file must not be truncated. Compressed datasets are read nevertheless.

    Raises:
        StoreError: the file cannot be read, has no origin and directions (as files of Li et al.), is damaged, or has
            several seeds of which ``seed`` is none.
    """
    with open_hdf5(path) as file:
        group = file
        if "members" in file:
            seeds = sorted(file["members"], key=int)
            if seed is None or str(seed) not in seeds:
                raise StoreError(
                    f"{path} holds planes of several seeds: expected one of {', '.join(seeds)}, got {seed}"
                )
            group = file[f"members/{seed}"]
        if "origin" not in file or "xdirection" not in group:
            raise StoreError(
                f"{path} holds no plane: expected groups 'origin' and 'xdirection', "
                f"found {', '.join(file) or 'nothing'}"
            )
        memory = np.memmap(path, np.uint8, "r") if mapped else None
        origin, _ = _read_weights(file["origin"], str(path), memory)
        groups = [group[f"{axis}direction"] for axis in AXES if f"{axis}direction" in group]
        parts = [_read_weights(direction, str(path), memory) for direction in groups]
    return Plane(origin, tuple(Direction(weights, DirectionRecipe.from_json(recipe)) for weights, recipe in parts))


def _read_weights(group: h5py.Group, path: str, memory: NDArray[np.uint8] | None) -> tuple[Weights, dict[str, Any]]:
    """Return the tensors of a group and its attributes, after comparing the digest."""
    try:
        datasets = [group[str(index)] for index in range(len(group))]
        tensors = {python_value(dataset.attrs["name"]): _tensor(dataset, memory) for dataset in datasets}
        buffers = frozenset(python_value(dataset.attrs["name"]) for dataset in datasets if dataset.attrs["state"])
        known = {python_value(dataset.attrs["name"]): dataset.attrs.get("trainable") for dataset in datasets}
        trainable = None if None in known.values() else frozenset(name for name, value in known.items() if value)
        weights = Weights(tensors, buffers, trainable=trainable)
        intact = weights.digest() == python_value(group.attrs["digest"])
    except KeyError as error:
        message = f"{path}:{group.name} is damaged, or was written by another program: {error.args[0]}"
        raise StoreError(message) from error
    if not intact:
        raise StoreError(f"{path}:{group.name} is damaged: its tensors do not match their digest")
    return weights, _recipe_attributes(group)


def _tensor(dataset: h5py.Dataset, memory: NDArray[np.uint8] | None) -> torch.Tensor:
    offset = dataset.id.get_offset() if memory is not None else None
    if memory is None or offset is None or offset % dataset.dtype.itemsize or not dataset.dtype.isnative:
        return torch.from_numpy(read_array(dataset))
    return tensor_view(memory, torch.from_numpy(np.empty(0, dataset.dtype)).dtype, dataset.shape, offset)


def _recipe_attributes(group: h5py.Group) -> dict[str, Any]:
    stored = {key: python_value(value) for key, value in group.attrs.items() if key != "digest"}
    return {key: _parsed(value) for key, value in stored.items()}


def _parsed(value: Any) -> Any:
    """Parse the lists, objects and None of a recipe, which are stored as JSON text."""
    if isinstance(value, str) and (value == "null" or value[:1] in ("[", "{")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:  # text that only begins like JSON, such as a file name of Li et al.
            return value
    return value


def read_directions(
    path: str | os.PathLike[str], origin: Weights, state_dict: StateDict | None = None
) -> tuple[Direction, ...]:
    """Read directions of this program or of Li et al., and assign them to the tensors of a network.

    Directions of this program are matched by name. Those of Li et al. have no names and follow the order of the
    network's parameters or of its ``state_dict``; see
    :func:`landscape.surface.li2018.directions.weights_from_arrays`.

    Args:
        path: a surface, trajectory or direction file of this program, or a direction or PCA file of Li et al.
        origin: weights at the origin of the plane.
        state_dict: the network's ``state_dict()``; needed for files that hold running statistics without names.

    Raises:
        StoreError: the file holds no directions, they belong to another network (the message names a tensor that does
            not match), or they move running statistics that ``origin`` does not include.
    """
    with open_hdf5(path) as file:
        ratios = read_array(file[PCA_DATASETS[0]]) if PCA_DATASETS[0] in file else None
        groups = direction_groups(file, str(path))
        directions = [_read_direction(group, origin, state_dict, str(path)) for group in groups]
    if ratios is None:
        return tuple(directions)
    return tuple(
        direction.with_weights(direction.weights, explained_variance_ratio=float(ratio))
        for direction, ratio in zip(directions, ratios, strict=False)
    )


def _read_direction(group: h5py.Group, origin: Weights, state_dict: StateDict | None, path: str) -> Direction:
    group_name = group.name.strip("/")
    where = f"{path}:{group_name}"
    datasets = numbered_datasets(group, path)
    names = [python_value(dataset.attrs.get("name")) for dataset in datasets]
    if None in names:  # a file of Li et al.
        weights = weights_from_arrays(datasets, origin, where, state_dict)
        return Direction(weights, DirectionRecipe("file", file=path, group=group_name))
    weights = weights_from_arrays(dict(zip(names, datasets, strict=True)), origin, where)
    return Direction(weights, DirectionRecipe.from_json({**_recipe_attributes(group), "file": path}))
