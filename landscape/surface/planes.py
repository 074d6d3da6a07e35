"""Planes in HDF5: groups of numbered datasets as Li et al. store directions, and the origin in the same form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import torch

from landscape.errors import StoreError
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.surface.hdf5 import attribute, reading

AXES = "xyz"


def write_plane(file: h5py.File, plane: Plane) -> None:
    """Write ``/origin`` and ``/xdirection``, ``/ydirection``, ``/zdirection``, one dataset per tensor."""
    _write_weights(file.create_group("origin"), plane.origin, {})
    for axis, direction in zip(AXES, plane.directions, strict=False):
        _write_weights(file.create_group(f"{axis}direction"), direction.weights, direction.recipe)
    if plane.ndim > 1:
        file.attrs["cosine_xy"] = float(plane.cosines[0, 1])


def _write_weights(group: h5py.Group, weights: Weights, recipe: Mapping[str, Any]) -> None:
    for index, (name, tensor) in enumerate(weights):
        dataset = group.create_dataset(str(index), data=tensor.detach().cpu().numpy())
        dataset.attrs["name"] = name
        dataset.attrs["state"] = name in weights.states
    group.attrs["digest"] = weights.digest()
    for key, value in recipe.items():
        group.attrs[key] = json.dumps(value) if isinstance(value, (list, dict, tuple)) or value is None else value


def read_plane(path: str | os.PathLike[str]) -> Plane:
    """The plane stored in one of our surface or trajectory files, bit for bit.

    Raises:
        StoreError: unreadable, or without origin and directions (as Li et al.'s files are).
    """
    with reading(path) as file:
        if "origin" not in file or "xdirection" not in file:
            raise StoreError(
                f"{path} holds no plane: the groups 'origin' and 'xdirection' are expected; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        origin, _ = _read_weights(file["origin"])
        directions = tuple(
            Direction(*_read_weights(file[f"{axis}direction"])) for axis in AXES if f"{axis}direction" in file
        )
    return Plane(origin, directions)


def _read_weights(group: h5py.Group) -> tuple[Weights, dict[str, Any]]:
    datasets = [group[str(index)] for index in range(len(group))]
    tensors = {attribute(d.attrs["name"]): torch.from_numpy(np.asarray(d[()])) for d in datasets}
    states = frozenset(attribute(d.attrs["name"]) for d in datasets if d.attrs["state"])
    recipe = {key: attribute(value) for key, value in group.attrs.items() if key != "digest"}
    return Weights(tensors, states), {key: _parsed(value) for key, value in recipe.items()}


def _parsed(value: Any) -> Any:
    """Lists and None of a recipe are stored as JSON."""
    if isinstance(value, str) and (value == "null" or value[:1] in "[{"):
        return json.loads(value)
    return value


def read_directions(path: str | os.PathLike[str], origin: Weights) -> tuple[Direction, ...]:
    """Directions from a file, ours or Li et al.'s, laid over the network whose weights are ``origin``.

    Ours are matched by name. Theirs have no names and follow the order of the network's parameters, or of its
    ``state_dict`` with integer counters among them, which are passed over.

    Raises:
        StoreError: no directions there, or of another network; the message says which tensor does not fit.
    """
    with reading(path) as file:
        found = [f"{axis}direction" for axis in AXES if f"{axis}direction" in file]
        if not found:
            raise StoreError(f"{path} holds no directions: a group 'xdirection' is expected, it has {', '.join(file)}")
        return tuple(
            Direction(_matched(file[name], origin, f"{path}:{name}"), {"kind": "file", "file": str(path), "group": name})
            for name in found
        )


def _matched(group: h5py.Group, origin: Weights, where: str) -> Weights:
    datasets = [group[str(index)] for index in range(len(group))]
    if all("name" in d.attrs for d in datasets):
        named = {attribute(d.attrs["name"]): d for d in datasets}
        missing = [name for name in origin.tensors if name not in named]
        if missing:
            raise StoreError(f"{where} is of another network: it has no tensor {missing[0]!r} ({len(missing)} missing)")
        chosen = [named[name] for name in origin.tensors]
    else:
        # In a state_dict's order running statistics stand between the parameters: keep what has the origin's length.
        counted = [d for d in datasets if not (d.shape == () and len(datasets) != len(origin))]
        chosen = counted if len(counted) == len(origin) else _parameters_among(counted, origin, where)
    for (name, tensor), dataset in zip(origin, chosen, strict=True):
        if dataset.shape != tuple(tensor.shape):
            raise StoreError(
                f"{where}/{dataset.name.rsplit('/', 1)[-1]} has shape {dataset.shape}; {tuple(tensor.shape)} is "
                f"expected for {name}: these directions are of another network"
            )
    return origin.like(
        {
            name: torch.from_numpy(np.asarray(d[()])).to(tensor.dtype)
            for (name, tensor), d in zip(origin, chosen, strict=True)
        }
    )


def _parameters_among(datasets: list[h5py.Dataset], origin: Weights, where: str) -> list[h5py.Dataset]:
    """Parameters in a list that holds running means and variances too: those follow each pair of weight and bias."""
    chosen, position = [], 0
    names = list(origin.tensors)
    for i, name in enumerate(names):
        if position >= len(datasets):
            raise StoreError(f"{where} holds {len(datasets)} tensors, too few for a network of {len(origin)}")
        chosen.append(datasets[position])
        position += 1
        # Running mean and variance follow a normalization layer's bias, both of its shape.
        shape = tuple(origin.tensors[name].shape)
        surplus = len(datasets) - position - (len(names) - i - 1)
        follows = datasets[position : position + 2]
        if (
            name.endswith(".bias")
            and surplus >= 2
            and len(follows) == 2
            and all(d.shape == shape for d in follows)
            and len(origin.tensors[name.removesuffix("bias") + "weight"].shape) == 1
        ):
            position += 2
    if position != len(datasets):
        raise StoreError(
            f"{where} holds {len(datasets)} tensors; {len(origin)} are expected for this network's parameters"
        )
    return chosen
