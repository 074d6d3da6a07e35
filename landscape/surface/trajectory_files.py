"""Trajectories in HDF5: one group per run, in a separate file or in a surface file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from landscape._utils.provenance import Environment
from landscape._utils.text import printable
from landscape.errors import StoreError
from landscape.geometry.trajectory import PathGradient, Trajectory
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_array
from landscape.surface.metadata import as_attribute
from landscape.surface.schema import TRAJECTORY
from landscape.surface.surface import PENDING
from landscape.surface.vtkhdf import write_path_block

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane

TRAJECTORY_FORMAT, TRAJECTORY_VERSION = "landscape-trajectory", 1
_COLUMNS = ("step", "epoch", "distance", "displacement", "loss", "surface_loss", "learning_rate")
_AXES = "xyz"


@dataclass(frozen=True)
class TrajectoryMetadata:
    """Provenance of a trajectory file.

    Attributes:
        environment: command, host and versions of packages; None if unknown.
        runs: paths of the run directories.
        surface: path of the surface file whose plane was used; empty if none was.
        origin: digest of the weights at the origin of that plane.
        other: attributes under any other name.
    """

    environment: Environment | None = None
    runs: tuple[str, ...] = ()
    surface: str = ""
    origin: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)

    def to_attributes(self) -> dict[str, Any]:
        """Return the metadata as HDF5 attributes; objects, lists and None are JSON text."""
        values: dict[str, Any] = {} if self.environment is None else self.environment.to_json()
        named = {"runs": self.runs, "surface": self.surface, "origin": self.origin}
        values |= {name: value for name, value in named.items() if value}
        return {key: as_attribute(value) for key, value in {**values, **self.other}.items()}


def write_trajectories(
    path: str | os.PathLike[str],
    trajectories: Sequence[Trajectory],
    plane: Plane | None = None,
    metadata: TrajectoryMetadata | None = None,
    overwrite: bool = False,
) -> None:
    """Write the paths of one or more runs on one plane.

    The coordinates of the first path are also written under the names of Li et al.'s projection files.

    Args:
        path: the file to create.
        trajectories: one or more trajectories with the same number of axes.
        plane: plane to store with them, if it is not in a surface file already (a plane of principal components).
        metadata: provenance to store.
        overwrite: replace an existing file.

    Raises:
        ValueError: there are no trajectories, or they differ in the number of axes.
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    axes = _common_axes(trajectories)
    with create_hdf5(Path(path), overwrite) as file:
        file.attrs["format"] = TRAJECTORY_FORMAT
        file.attrs["format_version"] = TRAJECTORY_VERSION
        for key, value in (metadata or TrajectoryMetadata()).to_attributes().items():
            file.attrs[key] = value
        _write_groups(file, trajectories)
        for axis in _AXES[:axes]:
            file[f"proj_{axis}coord"] = file[f"trajectories/0/{axis}coord"]
        if plane is not None:
            from landscape.surface.plane_files import write_plane  # imports torch

            write_plane(file, plane)


def attach_trajectories(path: str | os.PathLike[str], trajectories: Sequence[Trajectory]) -> None:
    """Add trajectories to the file of a finished surface, also as block ``trajectory`` for ParaView.

    The file is copied, and the completed copy replaces it in one step: a reader finds the old file or the new one, and
    a crash leaves the old one. Trajectories that were attached before are replaced.

    Args:
        path: a finished surface file of this program.
        trajectories: one or more trajectories with as many axes as the surface.

    Raises:
        ValueError: there are no trajectories, or their number of axes is not that of the surface.
        StoreError: the file is not a surface file of this program, is not finished, is open in another process, or
            cannot be written.
    """
    axes = _common_axes(trajectories)
    path = Path(path).resolve()  # a link stays a link
    with open_hdf5(path) as file:
        if "status" not in file or "VTKHDF" not in file:
            raise StoreError(f"{path}: expected a surface file of this program to attach trajectories to")
        status, settings = read_array(file["status"]), json.loads(file.attrs["settings"])
        pending = int((status == PENDING).sum())
        if pending and not python_value(file.attrs["finished"]):  # a finished adaptive surface has pending points
            raise StoreError(f"{path} has {pending} points left to compute; attach trajectories when it is finished")
    expected = status.ndim - bool(settings.get("steps"))  # the last axis of a surface through training is time
    if expected != axes:
        raise ValueError(f"expected trajectories with {expected} axes, as many as the surface, got {axes}")
    mode = stat.S_IMODE(path.stat().st_mode)
    with create_hdf5(path, overwrite=True, like=path) as file:
        if "trajectories" in file:
            del file["trajectories"]
        _write_groups(file, trajectories)
        _write_block(file, trajectories)
    path.chmod(mode)


def read_trajectories(path: str | os.PathLike[str]) -> list[Trajectory]:
    """Read the trajectories in a file.

    Args:
        path: a trajectory file, a surface file with trajectories attached, or a projection file of Li et al., which
            holds coordinates only: the other columns are NaN.

    Returns:
        The trajectories, in the order of the file.

    Raises:
        StoreError: the file cannot be read, or holds no trajectories.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        if "trajectories" in file:
            return [_read_group(file, i, path) for i in range(len(file["trajectories"]))]
        found = [f"proj_{axis}coord" for axis in _AXES if f"proj_{axis}coord" in file]
        if not found:
            raise StoreError(
                f"{path} holds no trajectory: expected a group 'trajectories' or a dataset 'proj_xcoord', found "
                f"{', '.join(file) or 'nothing'}"
            )
        coordinates = np.stack([np.asarray(read_array(file[name]), dtype=np.float64) for name in found], axis=1)
    count = len(coordinates)
    unknown = np.full(count, np.nan)
    return [
        Trajectory(
            path.stem,
            np.arange(count),
            np.arange(count, dtype=np.float64),
            coordinates,
            unknown,
            unknown,
            unknown,
            unknown,
            unknown,
        )
    ]


def _common_axes(trajectories: Sequence[Trajectory]) -> int:
    axes: set[int] = {trajectory.coordinates.shape[1] for trajectory in trajectories}
    if len(axes) != 1:
        found = f"trajectories with {' and '.join(map(str, sorted(axes)))} axes" if axes else "none"
        raise ValueError(f"expected one or more trajectories on one plane, got {found}")
    return axes.pop()


def _write_groups(file: h5py.File, trajectories: Sequence[Trajectory]) -> None:
    for i, trajectory in enumerate(trajectories):
        group = file.create_group(f"trajectories/{i}")
        group.attrs["name"] = trajectory.name
        for axis, values in zip(_AXES, trajectory.coordinates.T, strict=False):
            group[f"{axis}coord"] = values
        for column in _COLUMNS:
            group[column] = getattr(trajectory, column)
        if trajectory.gradient is not None:
            for axis, values in zip(_AXES, trajectory.gradient.slopes.T, strict=False):
                group[f"slope_{axis}"] = values
            group["gradient_norm"], group["gradient_share"] = trajectory.gradient.norm, trajectory.gradient.share


def _read_group(file: h5py.File, number: int, path: Path) -> Trajectory:
    group = file[f"trajectories/{number}"]
    TRAJECTORY.require(group, path)
    gradient = None
    if "gradient_norm" in group:
        slopes = [read_array(group[f"slope_{axis}"]) for axis in _AXES if f"slope_{axis}" in group]
        norm, share = (read_array(group[name]) for name in ("gradient_norm", "gradient_share"))
        gradient = PathGradient(np.stack(slopes, axis=1), norm, share)
    return Trajectory(
        gradient=gradient,
        name=printable(python_value(group.attrs["name"])),
        coordinates=np.stack([read_array(group[f"{axis}coord"]) for axis in _AXES if f"{axis}coord" in group], axis=1),
        **{column: read_array(group[column]) for column in _COLUMNS},
    )


def _write_block(file: h5py.File, trajectories: Sequence[Trajectory]) -> None:
    """Write the block for ParaView, in the plane of the image, where z is zero."""
    paths = [
        np.pad(trajectory.coordinates, ((0, 0), (0, 3 - trajectory.coordinates.shape[1])))
        for trajectory in trajectories
    ]
    arrays = {column: np.concatenate([getattr(t, column) for t in trajectories]) for column in _COLUMNS}
    arrays["run"] = np.repeat(np.arange(len(trajectories)), [len(t) for t in trajectories])
    write_path_block(file, paths, arrays)
