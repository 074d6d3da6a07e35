"""Trajectories in HDF5: one group per run, readable as Li et al.'s projection file, alone or in a surface's file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.geometry.trajectory import Trajectory
from landscape.surface.hdf5 import attribute, created, reading
from landscape.surface.surface import PENDING
from landscape.surface.vtkhdf import write_polylines

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
        ValueError: no trajectories, or of different numbers of axes.
        StoreError: the name is taken or the file cannot be written.
    """
    axes = _common_axes(trajectories)
    with created(Path(path), overwrite) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = VERSION
        for key, value in (provenance or {}).items():
            file.attrs[key] = json.dumps(value) if isinstance(value, (dict, list, tuple)) or value is None else value
        _write_groups(file, trajectories)
        for axis in _AXES[:axes]:
            # Under these names Li et al.'s scripts look for the one path that their file holds.
            file[f"proj_{axis}coord"] = file[f"trajectories/0/{axis}coord"]
        if plane is not None:
            from landscape.surface.plane_files import write_plane

            write_plane(file, plane)


def attach_trajectories(path: str | os.PathLike[str], trajectories: Sequence[Trajectory]) -> None:
    """Put paths into the file of a finished surface, for ParaView (block ``trajectory``) and for our own readers.

    The file is copied, the copy is completed and takes the file's name in one step: whoever reads meanwhile sees the
    one or the other, and a crash leaves the old one. Paths that were attached before are replaced.

    Raises:
        ValueError: no trajectories, or of another number of axes than the surface.
        StoreError: no surface file of ours, not finished, open for writing elsewhere, or it cannot be written.
    """
    axes = _common_axes(trajectories)
    path = Path(path).resolve()  # a link stays a link
    with reading(path) as file:
        if "status" not in file or "VTKHDF" not in file:
            raise StoreError(f"{path} is no surface file of ours; trajectories can be attached only to those")
        pending = int((file["status"][()] == PENDING).sum())
        if pending and not attribute(file.attrs["finished"]):  # of an adaptive surface not all are measured
            raise StoreError(f"{path} has {pending} points still to compute; attach trajectories once it is finished")
        if file["status"].ndim != axes:
            raise ValueError(f"trajectories of {file['status'].ndim} axes expected, as the surface has, got {axes}")
    mode = stat.S_IMODE(path.stat().st_mode)
    with created(path, overwrite=True, like=path) as file:
        if "trajectories" in file:
            del file["trajectories"]
        _write_groups(file, trajectories)
        _write_block(file, trajectories)
    path.chmod(mode)


def read_trajectories(path: str | os.PathLike[str]) -> list[Trajectory]:
    """The trajectories in a file: one of ours, also a surface's that some are attached to, or a projection file of
    Li et al. (coordinates only, as they stand there, the rest unknown).

    Raises:
        StoreError: unreadable, or no trajectories.
    """
    path = Path(path)
    with reading(path) as file:
        if "trajectories" in file:
            try:
                return [_read_group(file[f"trajectories/{i}"]) for i in range(len(file["trajectories"]))]
            except (KeyError, ValueError) as error:
                raise StoreError(f"{path}: the group 'trajectories' is damaged: {error.args[0]}") from error
        found = [f"proj_{axis}coord" for axis in _AXES if f"proj_{axis}coord" in file]
        if not found:
            raise StoreError(
                f"{path} holds no trajectory: a group 'trajectories' or a dataset 'proj_xcoord' is expected; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        coordinates = np.stack([np.asarray(file[name][()], dtype=np.float64) for name in found], axis=1)
    count = len(coordinates)
    unknown = np.full(count, np.nan)
    return [Trajectory(path.stem, np.arange(count), np.arange(count, dtype=np.float64), coordinates, *[unknown] * 5)]


def _common_axes(trajectories: Sequence[Trajectory]) -> int:
    axes = {trajectory.coordinates.shape[1] for trajectory in trajectories}
    if len(axes) != 1:
        met = "none" if not axes else f"some of {' and some of '.join(map(str, sorted(axes)))} axes"
        raise ValueError(f"at least one trajectory, all on one plane, expected, got {met}")
    return axes.pop()


def _write_groups(file: h5py.File, trajectories: Sequence[Trajectory]) -> None:
    for i, trajectory in enumerate(trajectories):
        group = file.create_group(f"trajectories/{i}")
        group.attrs["name"] = trajectory.name
        for axis, values in zip(_AXES, trajectory.coordinates.T, strict=False):
            group[f"{axis}coord"] = values
        for column in _COLUMNS:
            group[column] = getattr(trajectory, column)


def _read_group(group: h5py.Group) -> Trajectory:
    return Trajectory(
        name=attribute(group.attrs["name"]),
        coordinates=np.stack([group[f"{axis}coord"][()] for axis in _AXES if f"{axis}coord" in group], axis=1),
        **{column: group[column][()] for column in _COLUMNS},
    )


def _write_block(file: h5py.File, trajectories: Sequence[Trajectory]) -> None:
    """The block ``trajectory`` of the file's VTKHDF collection, in the plane of the image: z is zero there."""
    lines = [
        np.pad(trajectory.coordinates, ((0, 0), (0, 3 - trajectory.coordinates.shape[1])))
        for trajectory in trajectories
    ]
    arrays = {column: np.concatenate([getattr(t, column) for t in trajectories]) for column in _COLUMNS}
    arrays["run"] = np.repeat(np.arange(len(trajectories)), [len(t) for t in trajectories])
    write_polylines(file, lines, arrays)
