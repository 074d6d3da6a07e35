"""Surfaces and paths as CSV tables. Neither VTK nor matplotlib is loaded."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from landscape.render.exports.job import PATH_ARRAYS, ExportJob, point_arrays


def write_csv(job: ExportJob, folder: Path) -> None:
    """Write one row per point, x fastest, and each path to a file of its own."""
    axes = np.meshgrid(*reversed(job.surface.coordinates), indexing="ij")
    columns = dict(zip("xyz", reversed(axes), strict=False))
    write_table({**columns, **point_arrays(job.surface)}, folder / job.path.name)
    for name, trajectory in zip(job.path_names(), job.trajectories, strict=True):
        coordinates = dict(zip("xyz", trajectory.coordinates.T, strict=False))
        arrays = {array: getattr(trajectory, array) for array in PATH_ARRAYS}
        write_table({**coordinates, **arrays}, folder / f"{job.path.stem}_{name}.csv")


def write_table(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write equally long columns with a header; numbers are written so that they read back exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(np.asarray(column).ravel().tolist() for column in columns.values()), strict=True))
