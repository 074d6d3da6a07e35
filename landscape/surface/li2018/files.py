"""Surface and projection files of Li et al. (2018): written from ours, and their values made ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.surface.hdf5 import created
from landscape.surface.surface import DONE, PENDING, Surface

if TYPE_CHECKING:  # a surface is read without torch
    from landscape.geometry.plane import Plane
    from landscape.geometry.trajectory import Trajectory

_UNKNOWN = {"min_eig": 1.0}
"""Their mark for a point that is not computed: -1 everywhere but here, since they reduce this one by its minimum."""


def unknown_mark(metric: str) -> float:
    """The value that stands in their files for a point that is not computed."""
    return _UNKNOWN.get(metric, -1.0)


def from_li(values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
    """Their arrays as ours: values with NaN where not computed, status, and a remark where one is due.

    A point is done where its first loss is known (or, without losses, anything is). Their scheduler fills an array of
    shape ``(nx, ny)`` in the order of a grid of shape ``(ny, nx)``: with as many points along y as along x that is
    the same; otherwise the order in memory still tells which value belongs where, and the array is read by it.

    Args:
        values: arrays by name, of ``shape`` or of its reverse.
        shape: ``(nx,)`` or ``(ny, nx)``.
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
    known = {name: array != unknown_mark(name) for name, array in arrays.items()}
    losses = [name for name in ("train_loss", "test_loss") if name in known]
    done = known[losses[0]] if losses else np.any(list(known.values()), axis=0)
    status = np.where(done, DONE, PENDING).astype(np.uint8)
    return {name: np.where(known[name], array, np.nan) for name, array in arrays.items()}, status, remark


def write_li_surface(
    path: str | os.PathLike[str], surface: Surface, dir_file: str = "", overwrite: bool = False
) -> None:
    """A surface file as the published scripts read it: -1 for what is not computed, NaN and infinity as they are.

    Args:
        path: the file to make.
        surface: one axis, or two with as many points along one as along the other.
        dir_file: what their files say of where the directions are.
        overwrite: replace a file of that name.

    Raises:
        ValueError: a surface that their format does not hold: three axes, a grid that is not square, or a value that
            means "not computed" there.
        StoreError: the name is taken or the file cannot be written.
    """
    if len(surface.coordinates) == 3:
        raise ValueError("one or two axes expected, since Li et al.'s files know of no third, got three")
    if len(set(surface.shape)) > 1:
        raise ValueError(
            f"as many points along y as along x expected, since the published scheduler transposes other grids, got "
            f"{surface.shape[1]} along x and {surface.shape[0]} along y"
        )
    for name, values in surface.values.items():
        if np.any((surface.status == DONE) & (values == unknown_mark(name))):
            raise ValueError(
                f"{name} is {unknown_mark(name):g} at a point, which Li et al.'s files take as not computed"
            )
    with created(Path(path), overwrite) as file:
        file["dir_file"] = dir_file
        for axis, values in zip("xy", surface.coordinates, strict=False):
            file[f"{axis}coordinates"] = np.asarray(values, dtype=np.float64)
        for name, values in surface.values.items():
            file[name] = np.where(surface.status == DONE, values, unknown_mark(name))


def write_li_projection(path: str | os.PathLike[str], trajectory: Trajectory, overwrite: bool = False) -> None:
    """A projection file as the published scripts read it; it holds the coordinates of one path and nothing else.

    Raises:
        ValueError: a trajectory of more than two axes.
        StoreError: the name is taken or the file cannot be written.
    """
    if trajectory.coordinates.shape[1] > 2:
        raise ValueError("one or two axes expected, since Li et al.'s files know of no third, got three")
    with created(Path(path), overwrite) as file:
        for axis, values in zip("xy", trajectory.coordinates.T, strict=False):
            file[f"proj_{axis}coord"] = values


def from_cosine(coordinates: np.ndarray, plane: Plane) -> np.ndarray:
    """Coordinates in the units of the axes from those that their ``cos`` projection stores.

    Their coordinate along ``d`` is ``<w, d> / ||d||``: a length, and the coordinate of the point only if ``d`` has norm
    one and the axes are orthogonal, as principal components are. The inner products are still in it, so the least
    squares solution is too: ``c = G^-1 (||d_k|| x_k)`` with the Gram matrix ``G`` of the directions.

    Args:
        coordinates: ``(n, k)`` as stored in a file ``..._proj_cos.h5``.
        plane: the plane of the directions that they were made with.
    """
    lengths = np.sqrt(np.diag(plane.gram))
    return np.linalg.solve(plane.cosines, np.asarray(coordinates, dtype=np.float64).T).T / lengths
