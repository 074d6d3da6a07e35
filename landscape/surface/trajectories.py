"""Trajectories in HDF5: one group per run, readable as Li et al.'s projection file too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import StoreError
from landscape.geometry.trajectory import Trajectory
from landscape.surface.hdf5 import attribute, created, reading

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane

FORMAT, VERSION = "landscape-trajectory", 1
_COLUMNS = ("step", "epoch", "distance", "displacement", "loss", "surface_loss", "learning_rate")
_AXES = "xyz"


def write_trajectories(
    path: str | os.PathLike[str],
    trajectories: Sequence[Trajectory],
    plane: Plane | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the paths of one or more runs on one plane.

    Args:
        path: the file to make.
        trajectories: at least one; all of the same number of axes.
        plane: stored where it is not in a surface file already, as that of principal components.
        provenance: what a reader may want to know, plain JSON values.
        overwrite: replace a file of that name.

    Raises:
        StoreError: the name is taken or the file cannot be written.
    """
    if not trajectories:
        raise ValueError("at least one trajectory expected, got none")
    with created(Path(path), overwrite) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = VERSION
        for key, value in (provenance or {}).items():
            file.attrs[key] = json.dumps(value) if isinstance(value, (dict, list, tuple)) or value is None else value
        for i, trajectory in enumerate(trajectories):
            group = file.create_group(f"trajectories/{i}")
            group.attrs["name"] = trajectory.name
            for axis, values in zip(_AXES, trajectory.coordinates.T, strict=False):
                group[f"{axis}coord"] = values
            for column in _COLUMNS:
                group[column] = getattr(trajectory, column)
        for axis in _AXES[: trajectories[0].coordinates.shape[1]]:
            # Under these names Li et al.'s scripts look for the one path that their file holds.
            file[f"proj_{axis}coord"] = file[f"trajectories/0/{axis}coord"]
        if plane is not None:
            from landscape.surface.planes import write_plane  # only planes need torch

            write_plane(file, plane)


def read_trajectories(path: str | os.PathLike[str]) -> list[Trajectory]:
    """The trajectories in a file, ours or a projection file of Li et al. (coordinates only, the rest unknown).

    Raises:
        StoreError: unreadable, or no trajectories.
    """
    path = Path(path)
    with reading(path) as file:
        if "trajectories" in file:
            groups = [file[f"trajectories/{i}"] for i in range(len(file["trajectories"]))]
            return [
                Trajectory(
                    name=attribute(group.attrs["name"]),
                    coordinates=np.stack(
                        [group[f"{axis}coord"][()] for axis in _AXES if f"{axis}coord" in group], axis=1
                    ),
                    **{column: group[column][()] for column in _COLUMNS},
                )
                for group in groups
            ]
        found = [f"proj_{axis}coord" for axis in _AXES if f"proj_{axis}coord" in file]
        if not found:
            raise StoreError(
                f"{path} holds no trajectory: a group 'trajectories' or a dataset 'proj_xcoord' is expected; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        coordinates = np.stack([np.asarray(file[name][()], dtype=np.float64) for name in found], axis=1)
    count = len(coordinates)
    unknown = np.full(count, np.nan)
    return [
        Trajectory(path.stem, np.arange(count), np.arange(count, dtype=np.float64), coordinates, *[unknown] * 5)
    ]
