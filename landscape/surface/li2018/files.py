"""Surface and projection files of Li et al. (2018): writing them, and converting their values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landscape._utils.interpolation import Floats
from landscape.surface.hdf5 import create_hdf5
from landscape.surface.surface import DONE, PENDING, Surface

if TYPE_CHECKING:  # surfaces are read without torch
    from landscape.geometry.plane import Plane
    from landscape.geometry.trajectory import Trajectory

_MISSING_VALUES = {"min_eig": 1.0}
"""Values that mark a missing point; -1 for other metrics. Their ranks reduce this metric by its minimum."""


def missing_value(metric: str) -> float:
    """Return the value that marks a point as not computed in their files."""
    return _MISSING_VALUES.get(metric, -1.0)


def from_li_values(
    values: Mapping[str, Floats], shape: tuple[int, ...]
) -> tuple[dict[str, Floats], NDArray[np.uint8], str]:
    """Convert the arrays of a surface file of Li et al.

    A point is done if its first loss is known, or, in a file without losses, any value. The published scheduler fills
    an array of shape ``(nx, ny)`` in the order of a grid of shape ``(ny, nx)``. For a square grid that is the same; for
    others, the order in memory still tells which value belongs to which point, so the array is read by it.

    Args:
        values: arrays by name, of ``shape`` or its reverse.
        shape: ``(nx,)`` or ``(ny, nx)``.

    Returns:
        Values with NaN where they are not computed, the status of each point, and a remark if the grid is not square
        (else empty).
    """
    remark = ""
    arrays = {}
    for name, array in values.items():
        if array.shape != shape:
            remark = (
                f"not square: {shape[1]} points along x, {shape[0]} along y. The published scheduler transposes such "
                "arrays; they are read in the order in which it computes"
            )
        arrays[name] = np.ascontiguousarray(array).reshape(shape)
    known = {name: array != missing_value(name) for name, array in arrays.items()}
    losses = [name for name in ("train_loss", "test_loss") if name in known]
    done = known[losses[0]] if losses else np.any(list(known.values()), axis=0)
    status = np.where(done, DONE, PENDING).astype(np.uint8)
    return {name: np.where(known[name], array, np.nan) for name, array in arrays.items()}, status, remark


def write_li_surface(
    path: str | os.PathLike[str], surface: Surface, dir_file: str = "", overwrite: bool = False
) -> None:
    """Write a surface file for the published scripts: -1 for points not computed, NaN and infinity as they are.

    Args:
        path: the file to create.
        surface: a surface with one axis, or with two axes of equal length.
        dir_file: name of the direction file, which the format records.
        overwrite: replace an existing file.

    Raises:
        ValueError: the format cannot hold the surface: it has three axes, its grid is not square, or a value is the one
            that marks missing points.
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    if len(surface.coordinates) == 3:
        raise ValueError("expected one or two axes, as the files of Li et al. have, got three")
    if len(set(surface.shape)) > 1:
        raise ValueError(
            f"expected a square grid, since the published scheduler transposes others, got {surface.shape[1]} points "
            f"along x and {surface.shape[0]} along y"
        )
    for name, values in surface.values.items():
        if np.any((surface.status == DONE) & (values == missing_value(name))):
            raise ValueError(
                f"{name} is {missing_value(name):g} at a point, which marks a missing value in files of Li et al."
            )
    with create_hdf5(Path(path), overwrite) as file:
        file["dir_file"] = dir_file
        for axis, coordinates in zip("xy", surface.coordinates, strict=False):
            file[f"{axis}coordinates"] = np.asarray(coordinates, dtype=np.float64)
        for name, values in surface.values.items():
            file[name] = np.where(surface.status == DONE, values, missing_value(name))


def write_li_projection(path: str | os.PathLike[str], trajectory: Trajectory, overwrite: bool = False) -> None:
    """Write a projection file for the published scripts; it holds the coordinates of one trajectory and nothing else.

    Raises:
        ValueError: the trajectory has more than two axes.
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    if trajectory.coordinates.shape[1] > 2:
        raise ValueError("expected one or two axes, as the files of Li et al. have, got three")
    with create_hdf5(Path(path), overwrite) as file:
        for axis, values in zip("xy", trajectory.coordinates.T, strict=False):
            file[f"proj_{axis}coord"] = values


def from_cosine_projection(coordinates: Floats, plane: Plane) -> Floats:
    """Convert coordinates of a ``cos`` projection file to multiples of the directions.

    The stored coordinate along ``d`` is ``<w, d> / ||d||``: a length, which is the coordinate of the point only if
    ``d`` has norm one and the axes are orthogonal, as principal components are. The inner products determine the
    least-squares solution: ``c = G^-1 (||d_k|| x_k)`` with the Gram matrix ``G`` of the directions.

    Args:
        coordinates: ``(n, k)`` as stored in a file ``..._proj_cos.h5``.
        plane: plane of the directions used for the projection.

    Returns:
        ``(n, k)`` float64.
    """
    lengths = np.sqrt(np.diag(plane.gram))
    lengths_along = np.asarray(coordinates, dtype=np.float64).T
    solution: Floats = np.linalg.solve(plane.cosines, lengths_along).T / lengths
    return solution
