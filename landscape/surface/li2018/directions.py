"""Direction and PCA files of Li et al. (2018): numbered arrays without names, both ways, and onto a network.

Their groups ``xdirection`` and ``ydirection`` hold the datasets "0", "1", ... in the order of the network's parameters
(``--dir_type weights``) or of its whole ``state_dict`` (``states``), 0-dimensional batch counters among them. A PCA
file holds ``explained_variance_ratio_``, ``explained_variance_`` and ``singular_values_`` beside them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from landscape.errors import StoreError
from landscape.geometry.arena import empty_like, zeros
from landscape.geometry.direction import Direction
from landscape.geometry.weights import Weights
from landscape.surface.hdf5 import created, reading

Layout = Mapping[str, Tensor]
"""A network's ``state_dict()``: names, shapes and types in order, and which names are one tensor."""
PCA = ("explained_variance_ratio_", "explained_variance_", "singular_values_")


@dataclass(frozen=True)
class DirectionArrays:
    """What a direction file holds, as it stands there.

    Attributes:
        directions: for each axis, x first, its arrays in the file's order, with their types.
        pca: the datasets in :data:`PCA` that are there.
    """

    directions: tuple[tuple[np.ndarray, ...], ...]
    pca: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_direction_arrays(path: str | os.PathLike[str]) -> DirectionArrays:
    """All arrays of a direction file, theirs or ours, untouched.

    Raises:
        StoreError: unreadable, or without directions.
    """
    with reading(path) as file:
        return DirectionArrays(
            tuple(tuple(read_arrays(group, str(path))) for group in direction_groups(file, str(path))),
            {name: file[name][()] for name in PCA if name in file},
        )


def direction_groups(file: h5py.File, path: str) -> list[h5py.Group]:
    """The groups ``xdirection``, ``ydirection``, ``zdirection``, as many as there are.

    Raises:
        StoreError: there is no first one.
    """
    if "xdirection" not in file:
        raise StoreError(
            f"{path} holds no directions: a group 'xdirection' is expected, it has {', '.join(file) or 'nothing'}"
        )
    return [file[f"{axis}direction"] for axis in "xyz" if f"{axis}direction" in file]


def read_arrays(group: h5py.Group, path: str) -> list[np.ndarray]:
    """The arrays "0", "1", ... of a group.

    Raises:
        StoreError: it is no group of that kind.
    """
    return [np.asarray(dataset[()]) for dataset in datasets_of(group, path)]


def datasets_of(group: h5py.Group, path: str) -> list[h5py.Dataset]:
    """As :func:`read_arrays`, not yet read."""
    names = [str(index) for index in range(len(group))] if isinstance(group, h5py.Group) else []
    if not names or any(name not in group or not isinstance(group[name], h5py.Dataset) for name in names):
        raise StoreError(f"{path}:{group.name} holds no direction: datasets '0', '1', ... are expected")
    return [group[name] for name in names]


def write_direction_arrays(path: str | os.PathLike[str], arrays: DirectionArrays, overwrite: bool = False) -> None:
    """A direction file as the published scripts read it.

    Raises:
        StoreError: the name is taken or the file cannot be written.
    """
    with created(Path(path), overwrite) as file:
        for axis, direction in zip("xyz", arrays.directions, strict=False):
            group = file.create_group(f"{axis}direction")
            for index, array in enumerate(direction):
                group.create_dataset(str(index), data=array)
        for name, array in arrays.pca.items():
            file[name] = array


def as_arrays(directions: Sequence[Direction], layout: Layout | None = None) -> DirectionArrays:
    """Directions of ours as a direction file of theirs holds them.

    Args:
        directions: one or two (their scripts know of no third).
        layout: the network's ``state_dict()`` for the form that moves running statistics (``--dir_type states``),
            where integers are zeros; None for parameters alone (``--dir_type weights``).

    Raises:
        ValueError: more than two directions, or running statistics that the form without ``layout`` would lose.
    """
    if not 1 <= len(directions) <= 2:
        raise ValueError(f"one or two directions expected, as Li et al.'s scripts take, got {len(directions)}")
    columns = []
    for direction in directions:
        weights = direction.weights
        lost = [name for name in weights.buffers if layout is None and weights.tensors[name].any()]
        if lost:
            raise ValueError(f"the direction moves running statistics ({min(lost)}): give layout=model.state_dict()")
        if layout is None:
            column = [tensor for name, tensor in weights if name not in weights.buffers]
        else:
            homes = _homes(layout)
            column = [weights.tensors.get(homes[name], torch.zeros_like(like)) for name, like in layout.items()]
        columns.append(tuple(tensor.detach().cpu().numpy() for tensor in column))
    return DirectionArrays(tuple(columns), _pca(directions))


def _pca(directions: Sequence[Direction]) -> dict[str, np.ndarray]:
    if not all(direction.recipe.kind == "pca" for direction in directions):
        return {}
    variance = np.array([direction.recipe.explained_variance for direction in directions])
    return {
        "explained_variance_ratio_": np.array([d.recipe.explained_variance_ratio for d in directions]),
        "explained_variance_": variance,
        "singular_values_": np.sqrt(variance * ((directions[0].recipe.checkpoints or 0) - 1)),
    }


def lay_over(
    arrays: Sequence[np.ndarray | h5py.Dataset] | Mapping[str, np.ndarray | h5py.Dataset],
    origin: Weights,
    where: str,
    layout: Layout | None = None,
) -> Weights:
    """Arrays of a direction as the tensors of a network.

    Args:
        arrays: by name, or in the order of the network's parameters, of its ``state_dict``, or of its ``state_dict``
            without integers (as torch before 0.4.1 wrote it); datasets are read one at a time.
        origin: the weights that the direction will move.
        where: the file and group, for messages.
        layout: the network's ``state_dict()``; without it only the order of parameters is known.

    Returns:
        Weights of the layout and dtypes of ``origin``. Counters are passed over; running statistics that the
        arrays do not tell of are zero.

    Raises:
        StoreError: the arrays are of another network, or move what ``origin`` does not hold.
    """
    named = dict(arrays) if isinstance(arrays, Mapping) else _named(arrays, origin, where, layout)
    missing = [name for name in origin.tensors if name not in named and name not in origin.buffers]
    if missing:
        raise StoreError(f"{where} is of another network: it has no tensor {missing[0]!r} ({len(missing)} missing)")
    tensors = {}
    for name, tensor in origin:
        array = named.get(name)
        if array is not None and array.shape != tuple(tensor.shape):
            raise StoreError(
                f"{where} is of another network: shape {tuple(tensor.shape)} expected for {name}, got {array.shape}"
            )
        tensors[name] = (
            zeros(tensor.shape, tensor.dtype, tensor.device)
            if array is None
            else empty_like(tensor).copy_(torch.from_numpy(np.array(array)))
        )
    homes = _homes(layout) if layout is not None else {}
    for name, array in named.items():
        is_counter = array.ndim == 0 or not np.issubdtype(array.dtype, np.floating)
        if name in tensors or is_counter or not np.any(array):
            continue
        home = homes.get(name, name)
        if home != name and home in named and np.array_equal(named[home], array):
            continue  # a second name of a tensor that moves already
        raise StoreError(
            f"{where} moves {name} too, which keeps still here. If these are running statistics, let them move with "
            "--states; otherwise the direction is of another network"
        )
    return origin.with_tensors(tensors)


def _named(arrays: Sequence[np.ndarray], origin: Weights, where: str, layout: Layout | None) -> dict[str, np.ndarray]:
    """The arrays by name, found by number and shapes."""
    orders = {"its parameters": [name for name in origin.tensors if name not in origin.buffers]}
    if layout is not None:
        orders["its state_dict"] = list(layout)
        orders["its state_dict without counters"] = [n for n, t in layout.items() if t.is_floating_point()]
    counts = {what: len(order) for what, order in orders.items()}
    fitting = [order for order in orders.values() if len(order) == len(arrays)]
    if not fitting:
        expected = ", ".join(f"{count} for {what}" for what, count in counts.items())
        raise StoreError(
            f"{where} is of another network: it holds {len(arrays)} tensors; expected for this one are {expected}"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in (*(layout or {}).items(), *origin)}
    for order in fitting:
        if all(array.shape == shapes[name] for name, array in zip(order, arrays, strict=True)):
            return dict(zip(order, arrays, strict=True))
    odd, array = next((n, a) for n, a in zip(fitting[0], arrays, strict=True) if a.shape != shapes[n])
    raise StoreError(f"{where} is of another network: shape {shapes[odd]} expected for {odd}, got {array.shape}")


def _homes(layout: Layout) -> dict[str, str]:
    """Each name of a ``state_dict`` to the first name of the same tensor."""
    first: dict[tuple, str] = {}
    homes = {}
    for name, tensor in layout.items():
        memory = (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() and tensor.data_ptr() else (name,)
        homes[name] = first.setdefault(memory, name)
    return homes
