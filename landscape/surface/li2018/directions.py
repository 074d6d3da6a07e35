"""Direction and PCA files of Li et al. (2018): numbered arrays without names, in both directions.

The groups ``xdirection`` and ``ydirection`` hold datasets "0", "1", ... in the order of the network's parameters
(``--dir_type weights``) or of its whole ``state_dict`` (``--dir_type states``), including 0-dimensional batch counters.
A PCA file also holds ``explained_variance_ratio_``, ``explained_variance_`` and ``singular_values_``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape._utils.interpolation import Floats
from landscape.errors import StoreError
from landscape.geometry.arena import empty_like, zeros
from landscape.geometry.direction import Direction
from landscape.geometry.weights import Weights
from landscape.surface.hdf5 import create_hdf5, open_hdf5, read_array

StateDict: TypeAlias = Mapping[str, Tensor]
"""A network's ``state_dict()``: names, shapes and dtypes in order, and which names share a tensor."""
ArrayLike: TypeAlias = "NDArray[Any] | h5py.Dataset"
"""An array, or a dataset that is read when it is needed."""
PCA_DATASETS = ("explained_variance_ratio_", "explained_variance_", "singular_values_")


@dataclass(frozen=True)
class DirectionArrays:
    """Contents of a direction file, unchanged.

    Attributes:
        directions: arrays of each axis, x first, in the order and with the dtypes of the file.
        pca: contents of the datasets in :data:`PCA_DATASETS` that the file has.
    """

    directions: tuple[tuple[NDArray[Any], ...], ...]
    pca: Mapping[str, Floats] = field(default_factory=dict)


def read_direction_arrays(path: str | os.PathLike[str]) -> DirectionArrays:
    """Read the arrays of a direction file of Li et al. or of this program, unchanged.

    Raises:
        StoreError: the file cannot be read, or holds no directions.
    """
    with open_hdf5(path) as file:
        groups = direction_groups(file, str(path))
        return DirectionArrays(
            tuple(tuple(read_array(dataset) for dataset in numbered_datasets(group, str(path))) for group in groups),
            {name: read_array(file[name]) for name in PCA_DATASETS if name in file},
        )


def write_direction_arrays(path: str | os.PathLike[str], arrays: DirectionArrays, overwrite: bool = False) -> None:
    """Write a direction file for the published scripts.

    Raises:
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    with create_hdf5(Path(path), overwrite) as file:
        for axis, direction in zip("xyz", arrays.directions, strict=False):
            group = file.create_group(f"{axis}direction")
            for index, array in enumerate(direction):
                group.create_dataset(str(index), data=array)
        for name, array in arrays.pca.items():
            file[name] = array


def direction_groups(file: h5py.File, path: str) -> list[h5py.Group]:
    """Return the groups ``xdirection``, ``ydirection``, ``zdirection`` that a file has.

    Raises:
        StoreError: the file has no ``xdirection``.
    """
    if "xdirection" not in file:
        raise StoreError(
            f"{path} holds no directions: expected a group 'xdirection', found {', '.join(file) or 'nothing'}"
        )
    return [file[f"{axis}direction"] for axis in "xyz" if f"{axis}direction" in file]


def numbered_datasets(group: h5py.Group, path: str) -> list[h5py.Dataset]:
    """Return the datasets "0", "1", ... of a group, in order.

    Raises:
        StoreError: the group has none, or something else.
    """
    names = [str(index) for index in range(len(group))] if isinstance(group, h5py.Group) else []
    if not names or any(name not in group or not isinstance(group[name], h5py.Dataset) for name in names):
        raise StoreError(f"{path}:{group.name} holds no direction: expected datasets '0', '1', ...")
    return [group[name] for name in names]


def to_arrays(directions: Sequence[Direction], state_dict: StateDict | None = None) -> DirectionArrays:
    """Convert directions to the arrays of a direction file of Li et al.

    Args:
        directions: one or two directions; the published scripts have no third.
        state_dict: the network's ``state_dict()``, for a file that moves running statistics (``--dir_type states``), in
            which integers are zeros; None for a file of parameters only (``--dir_type weights``).

    Raises:
        ValueError: there are more than two directions, or ``state_dict`` is needed for running statistics that move.
    """
    if not 1 <= len(directions) <= 2:
        raise ValueError(f"expected one or two directions, as Li et al.'s scripts take, got {len(directions)}")
    columns = []
    for direction in directions:
        weights = direction.weights
        moving = [name for name in weights.buffers if weights.tensors[name].any()]
        if state_dict is None and moving:
            raise ValueError(
                f"the direction moves running statistics ({min(moving)}): pass state_dict=model.state_dict()"
            )
        if state_dict is None:
            column = [tensor for name, tensor in weights if name not in weights.buffers]
        else:
            first_names = _first_names(state_dict)
            column = [weights.tensors.get(first_names[n], torch.zeros_like(t)) for n, t in state_dict.items()]
        columns.append(tuple(tensor.detach().cpu().numpy() for tensor in column))
    return DirectionArrays(tuple(columns), _pca_arrays(directions))


def _pca_arrays(directions: Sequence[Direction]) -> dict[str, Floats]:
    recipes = [direction.recipe for direction in directions]
    if not all(recipe.kind == "pca" for recipe in recipes):
        return {}
    variance = np.array([recipe.explained_variance for recipe in recipes], dtype=np.float64)
    return {
        "explained_variance_ratio_": np.array([recipe.explained_variance_ratio for recipe in recipes]),
        "explained_variance_": variance,
        "singular_values_": np.sqrt(variance * ((recipes[0].checkpoints or 0) - 1)),
    }


def weights_from_arrays(
    arrays: Sequence[ArrayLike] | Mapping[str, ArrayLike],
    origin: Weights,
    where: str,
    state_dict: StateDict | None = None,
) -> Weights:
    """Assign the arrays of a direction to the tensors of a network.

    Args:
        arrays: arrays by name, or in the order of the network's parameters, of its ``state_dict``, or of its
            ``state_dict`` without integers (as torch before 0.4.1 wrote it). Datasets are read one at a time.
        origin: weights that the direction is to move.
        where: file and group, for messages.
        state_dict: the network's ``state_dict()``; without it, only the order of parameters is tried.

    Returns:
        Weights in the layout and dtypes of ``origin``. Counters are ignored; running statistics without an array are
        zero.

    Raises:
        StoreError: the arrays belong to another network, or move tensors that ``origin`` does not include.
    """
    named = dict(arrays) if isinstance(arrays, Mapping) else _match_names(arrays, origin, where, state_dict)
    missing = [name for name in origin.tensors if name not in named and name not in origin.buffers]
    if missing:
        raise StoreError(f"{where} belongs to another network: it lacks tensor {missing[0]!r} ({len(missing)} missing)")
    tensors = {}
    for name, tensor in origin:
        array = named.get(name)
        if array is None:
            tensors[name] = zeros(tensor.shape, tensor.dtype, tensor.device)
            continue
        if array.shape != tuple(tensor.shape):
            raise _wrong_shape(where, name, tuple(tensor.shape), array.shape)
        if array.dtype.kind == "c" and not tensor.is_complex():
            raise StoreError(f"{where} belongs to another network: it is complex for {name}, which is {tensor.dtype}")
        tensors[name] = empty_like(tensor).copy_(torch.from_numpy(np.array(array)))
    first_names = _first_names(state_dict) if state_dict is not None else {}
    for name, array in named.items():
        is_counter = array.ndim == 0 or not np.issubdtype(array.dtype, np.inexact)
        if name in tensors or is_counter or not np.any(array):
            continue
        first = first_names.get(name, name)
        if first != name and first in named and np.array_equal(named[first], array):
            continue  # another name of a tensor that moves already
        raise StoreError(
            f"{where} moves {name} too, which is not part of the origin. If it moves running statistics, include them "
            "(Weights.from_model(model, buffers=True)); otherwise it belongs to another network"
        )
    return origin.with_tensors(tensors)


def _match_names(
    arrays: Sequence[ArrayLike], origin: Weights, where: str, state_dict: StateDict | None
) -> dict[str, ArrayLike]:
    """Return the arrays by name, matched by number and shapes."""
    orders = {"its parameters": [name for name in origin.tensors if name not in origin.buffers]}
    if state_dict is not None:
        orders["its state_dict"] = list(state_dict)
        orders["its state_dict without counters"] = [
            name for name, tensor in state_dict.items() if tensor.is_floating_point() or tensor.is_complex()
        ]
    candidates = [order for order in orders.values() if len(order) == len(arrays)]
    if not candidates:
        expected = ", ".join(f"{len(order)} for {kind}" for kind, order in orders.items())
        raise StoreError(f"{where} belongs to another network: expected {expected}, got {len(arrays)} tensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in (*(state_dict or {}).items(), *origin)}
    for order in candidates:
        if all(array.shape == shapes[name] for name, array in zip(order, arrays, strict=True)):
            return dict(zip(order, arrays, strict=True))
    name, array = next((n, a) for n, a in zip(candidates[0], arrays, strict=True) if a.shape != shapes[n])
    raise _wrong_shape(where, name, shapes[name], array.shape)


def _wrong_shape(where: str, name: str, expected: tuple[int, ...], found: tuple[int, ...]) -> StoreError:
    return StoreError(f"{where} belongs to another network: expected shape {expected} for {name}, got {found}")


def _first_names(state_dict: StateDict) -> dict[str, str]:
    """Map each name of a ``state_dict`` to the first name of the same tensor."""
    first: dict[tuple[Any, ...], str] = {}
    names = {}
    for name, tensor in state_dict.items():
        memory = (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() and tensor.data_ptr() else (name,)
        names[name] = first.setdefault(memory, name)
    return names
