"""Export of a surface and its paths to files for ParaView, mesh programs, browsers and spreadsheets."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from landscape._utils.files import replacing_group
from landscape._utils.typed import chosen
from landscape.render.exports.job import PATH_ARRAYS, ExportJob, ExportOptions, point_arrays
from landscape.render.height_field import require_plane
from landscape.render.scenes.panel import Trajectories, trajectories_per_panel
from landscape.surface.surface import Surface

SOLIDS = (".glb", ".obj", ".stl")
_PAGE = ".html"
# Modules are imported when a format is used, so that a format without VTK or matplotlib does not load them.
_WRITERS = {
    ".vts": "vtk_files:write_vts",
    ".vtp": "vtk_files:write_vtp",
    ".vti": "vtk_files:write_vti",
    ".vtm": "vtk_files:write_vtm",
    ".pvd": "vtk_files:write_pvd",
    **dict.fromkeys(SOLIDS, "solids:write_solid"),
    ".csv": "export:write_csv",
}
SUFFIXES = (*_WRITERS, _PAGE)


def export(
    path: str | os.PathLike[str],
    surface: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write a surface and its paths in the format of the suffix.

    =========  =================================================================================================
    ``.vts``   structured grid, raised by the metric on the scale, all metrics as point arrays, holes blanked
    ``.vtp``   the same as polygons with normals, holes left out
    ``.vti``   flat image with all metrics, of one to three axes; holes are NaN
    ``.vtm``   the grid and the paths in one multi-block file, with its parts in the directory ``STEM``
    ``.pvd``   the paths growing over the steps, on the grid, with its parts in the directory ``STEM_steps``; of a
               surface through training, a grid for each checkpoint
    ``.glb``   coloured triangles, the paths as tubes, y up; ``.obj`` and ``.stl``: the same without colours
    ``.csv``   one row per point, x fastest; the paths in separate files
    ``.html``  interactive page; several surfaces side by side
    =========  =================================================================================================

    With ``.vts``, ``.vtp``, ``.vti`` and ``.csv`` each path is written to ``STEM_NAME.vtp`` or ``STEM_NAME.csv``. The
    height is ``height_factor * (s - height_origin)``, where ``s`` is the metric on the scale (its log10, ...): both
    numbers are in the field data, with metric, scale and provenance. Files appear under their names when all of them
    are complete.

    Args:
        path: name of the file.
        surface: surface to write; for ``.html`` also a sequence of surfaces.
        trajectories: trajectories on the surface; for several surfaces also one sequence per surface. Points off the
            grid or over holes are left out (but not from ``.csv``).
        options: options of the export.
        overwrite: True to replace files that exist.

    Returns:
        The files that were written (for ``.vtm`` and ``.pvd`` also the directory of the parts), ``path`` first.

    Raises:
        ValueError: an unknown suffix (the message lists the known ones), or a surface that the format cannot hold.
        FileExistsError: a file exists and ``overwrite`` is not set.
        OSError: a file cannot be written.
    """
    path, options = Path(path), chosen("options", options, ExportOptions)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot export {path.name!r}: expected a name that ends in {', '.join(SUFFIXES)}")
    surfaces = [surface] if isinstance(surface, Surface) else list(surface)
    if options.clip is not None and suffix not in (*SOLIDS, _PAGE):
        raise ValueError(f"clip is for {', '.join((*SOLIDS, _PAGE))}; {suffix} keeps every measured value")
    if options.reduction and suffix not in SOLIDS:
        raise ValueError(f"reduction is for {', '.join(SOLIDS)}; {suffix} keeps every measured value")
    if not 0 <= options.reduction < 1:
        raise ValueError(f"reduction: expected a fraction from 0 to below 1, got {options.reduction:g}")
    if suffix == _PAGE:
        from landscape.render.exports.page import write_page

        return [write_page(path, surfaces, trajectories, options, overwrite=overwrite)]
    if len(surfaces) != 1:
        raise ValueError(f"expected one surface for {suffix}, got {len(surfaces)}; several fit into one .html only")
    (paths,) = trajectories_per_panel(trajectories, 1)
    if suffix not in (".vti", ".csv", ".vts") or (paths and suffix == ".vts"):
        through = suffix == ".pvd" and bool(surfaces[0].steps)
        require_plane(surfaces[0].for_step(surfaces[0].steps[0]) if through else surfaces[0], suffix)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it")
    job = ExportJob(path, surfaces[0], paths, options)
    with replacing_group(path, overwrite=overwrite) as folder:
        _writer(suffix)(job, folder)
        written = sorted(entry.name for entry in folder.iterdir())
    return [path, *(path.parent / name for name in written if name != path.name)]


def _writer(suffix: str) -> Callable[[ExportJob, Path], None]:
    module, _, name = _WRITERS[suffix].partition(":")
    writer: Callable[[ExportJob, Path], None] = getattr(import_module(f"landscape.render.exports.{module}"), name)
    return writer


def write_csv(job: ExportJob, folder: Path) -> None:
    """Write one row per point, x fastest, and each path to its own file."""
    axes = np.meshgrid(*reversed(job.surface.coordinates), indexing="ij")
    names = ["x", "y", "z"][: len(axes)]
    if job.surface.steps:
        names[-1] = "step"
    columns = dict(zip(names, reversed(axes), strict=True))
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
