"""Surfaces and paths in VTK's XML formats, for ParaView: ``.vts``, ``.vtp``, ``.vti``, ``.vtm`` and ``.pvd``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import PATH_ARRAYS, ExportJob, point_arrays
from landscape.render.height_field import Box, HeightField, PathSegment, at_parameters, drape, require_plane
from landscape.render.scenes.mesh import surface_mesh
from landscape.render.scenes.panel import shared_scale
from landscape.render.through import drawable_steps, paths_from
from landscape.render.vtk_data import (
    add_field_data,
    add_point_arrays,
    to_cells,
    to_points,
    vtkDataObject,
    vtkDataSetAttributes,
    vtkImageData,
    vtkPolyData,
    vtkStructuredGrid,
    vtkXMLImageDataWriter,
    vtkXMLPolyDataWriter,
    vtkXMLStructuredGridWriter,
)
from landscape.surface.surface import DONE, Surface

_WRITERS = {
    "vtkImageData": vtkXMLImageDataWriter,
    "vtkPolyData": vtkXMLPolyDataWriter,
    "vtkStructuredGrid": vtkXMLStructuredGridWriter,
}
_VERSIONS = {"Collection": "0.1", "vtkMultiBlockDataSet": "1.0"}


def write_vts(job: ExportJob, folder: Path) -> None:
    """Write a structured grid; of two axes it is raised by the metric, with each path in its own file."""
    if len(job.surface.coordinates) != 2:
        write_xml(_grid(job), folder / job.path.name)
        return
    field, box = job.raised()
    write_xml(_grid(job, box), folder / job.path.name)
    _write_paths(job, field, box, folder)


def write_vtp(job: ExportJob, folder: Path) -> None:
    """Write the raised surface as polygons with normals, and each path to its own file."""
    field, box = job.raised()
    arrays = point_arrays(job.surface)
    flips = tuple(slice(None, None, -1 if axis[0] > axis[-1] else 1) for axis in job.surface.coordinates[::-1])
    data = surface_mesh(field, box, {name: array[flips] for name, array in arrays.items()})
    data.GetPointData().SetActiveScalars(job.metric)
    add_field_data(data, job.field_data(box))
    write_xml(data, folder / job.path.name)
    _write_paths(job, field, box, folder)


def write_vti(job: ExportJob, folder: Path) -> None:
    """Write a flat image of one to three axes, and each path to its own file."""
    data = image(job.surface)
    add_field_data(data, job.field_data(None))
    write_xml(data, folder / job.path.name)
    if job.trajectories:
        require_plane(job.surface, "a path on an image")
        _write_paths(job, *job.flat(), folder)


def write_vtm(job: ExportJob, folder: Path) -> None:
    """Write the raised grid and the paths as one multi-block data set, with its blocks in a directory."""
    field, box = job.raised()
    parts = folder / job.path.stem
    parts.mkdir()
    blocks: list[tuple[str, str, vtkDataObject]] = [("surface", ".vts", _grid(job, box))]
    blocks += [(name, ".vtp", data) for name, data in zip(job.path_names(), _paths(job, field, box), strict=True)]
    entries = []
    for k, (name, suffix, data) in enumerate(blocks):
        # Numbered, because a path may have the name "surface", too.
        file = f"{parts.name}/{k}_{name}{suffix}"
        write_xml(data, folder / file)
        entries.append({"index": k, "name": name, "file": file})
    write_collection("vtkMultiBlockDataSet", entries, folder / job.path.name)


def write_pvd(job: ExportJob, folder: Path) -> None:
    """Write the paths growing over the steps, on the raised grid, with the data of all steps in a directory.

    Of a surface through training, each step has its own grid, on one scale, and the paths as seen from its checkpoint.
    """
    if job.surface.steps:
        _write_pvd_through(job, folder)
        return
    field, box = job.raised()
    parts = folder / f"{job.path.stem}_steps"
    parts.mkdir()
    write_xml(_grid(job, box), parts / "surface.vts")
    steps = np.unique(np.concatenate([trajectory.step for trajectory in job.trajectories] or [np.zeros(1, np.int64)]))
    entries = [(int(step), 0, "surface.vts") for step in steps]
    for k, (name, trajectory) in enumerate(zip(job.path_names(), job.trajectories, strict=True), 1):
        segments = drape(field, trajectory)
        written = None
        for step in steps:
            count = int(np.searchsorted(trajectory.step, step, side="right"))
            file = f"{name}_{count:05d}.vtp"
            if count != written:
                grown = [PathSegment(s.t[s.t <= count - 1], s.points[s.t <= count - 1]) for s in segments]
                write_xml(_path(trajectory, [segment for segment in grown if len(segment.t)], box), parts / file)
                written = count
            entries.append((int(step), k, file))
    rows = [{"timestep": t, "part": part, "file": f"{parts.name}/{file}"} for t, part, file in sorted(entries)]
    write_collection("Collection", rows, folder / job.path.name)


def _write_pvd_through(job: ExportJob, folder: Path) -> None:
    parts = folder / f"{job.path.stem}_steps"
    parts.mkdir()
    steps = drawable_steps(job.surface)
    surfaces = [replace(job.surface.for_step(step), name=job.surface.name) for step in steps]
    options = replace(job.options, scale=shared_scale(surfaces, job.metric, job.options.scale, None))
    rows: list[dict[str, object]] = []
    for step, surface in zip(steps, surfaces, strict=True):
        moment = replace(job, surface=surface, options=options)
        field, box = moment.raised()
        files: list[tuple[str, vtkDataObject]] = [(f"surface_{step:08d}.vts", _grid(moment, box))]
        shifted = iter(paths_from(job.surface, step, job.trajectories, distances=True))
        for name, trajectory in zip(job.path_names(), job.trajectories, strict=True):
            # A path that has not begun is an empty part, so that the parts have equal numbers at all times.
            path = next(shifted) if trajectory.step[0] <= step else None
            mesh = _path(trajectory, [], box) if path is None else _path(path, drape(field, path), box)
            files.append((f"{name}_{step:08d}.vtp", mesh))
        for part, (file, data) in enumerate(files):
            write_xml(data, parts / file)
            rows.append({"timestep": step, "part": part, "file": f"{parts.name}/{file}"})
    write_collection("Collection", rows, folder / job.path.name)


def write_xml(data: vtkDataObject, path: Path) -> None:
    """Write a data set in VTK's XML, compressed, with the binary data inline, which every ParaView reads.

    The default of newer VTK (appended data) cannot be read by ParaView up to 5.11 on common systems.

    Raises:
        OSError: the file cannot be written.
    """
    writer = _WRITERS[data.GetClassName()]()
    writer.SetDataModeToBinary()
    writer.SetCompressorTypeToZLib()
    # Written to memory first, because these writers crash when the disk is full.
    writer.WriteToOutputStringOn()
    writer.SetInputData(data)
    if not writer.Write():
        raise OSError(f"{path} cannot be written: VTK reports no reason")
    path.write_text(writer.GetOutputString(), encoding="utf-8", newline="\n")


def write_collection(kind: str, entries: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write an index of XML files.

    Args:
        kind: ``vtkMultiBlockDataSet`` or ``Collection``.
        entries: attributes of each file.
        path: name of the index.
    """
    lines = ["".join(f" {key}={quoteattr(str(value))}" for key, value in entry.items()) for entry in entries]
    text = "\n".join(
        [
            '<?xml version="1.0"?>',
            f'<VTKFile type="{kind}" version="{_VERSIONS[kind]}" byte_order="LittleEndian">',
            f"  <{kind}>",
            *(f"    <DataSet{line}/>" for line in lines),
            f"  </{kind}>",
            "</VTKFile>\n",
        ]
    )
    path.write_text(text, encoding="utf-8", newline="\n")


def _grid(job: ExportJob, box: Box | None = None) -> vtkStructuredGrid:
    """Return the whole grid, raised if there is a box."""
    heights = None
    if box is not None:
        field = HeightField.from_surface(job.surface, job.metric, job.scale)
        # The axes of the height field are ascending; the grid keeps the order of the surface.
        rows, columns = (np.argsort(np.argsort(axis)) for axis in job.surface.coordinates[1::-1])
        heights = box.factor[2] * (field.heights[np.ix_(rows, columns)] - box.origin[2])
    grid = structured_grid(job.surface, heights)
    add_field_data(grid, job.field_data(box))
    return grid


def _paths(job: ExportJob, field: HeightField, box: Box) -> list[vtkPolyData]:
    return [_path(trajectory, drape(field, trajectory), box) for trajectory in job.trajectories]


def _path(trajectory: Trajectory, segments: Sequence[PathSegment], box: Box) -> vtkPolyData:
    data = path_mesh(trajectory, segments, [box.place(*segment.points.T) for segment in segments])
    add_field_data(data, {"name": trajectory.name})
    return data


def _write_paths(job: ExportJob, field: HeightField, box: Box, folder: Path) -> None:
    for name, data in zip(job.path_names(), _paths(job, field, box), strict=True):
        write_xml(data, folder / f"{job.path.stem}_{name}.vtp")


def structured_grid(surface: Surface, heights: np.ndarray | None = None) -> vtkStructuredGrid:
    """Return the grid with all metrics as point arrays, in VTK's order: x fastest, then y, then z.

    Args:
        surface: surface of one to three axes.
        heights: ``(ny, nx)`` third coordinates of the points of a surface of two axes; 0 by default. A point without a
            finite height lies at 0 and is blanked, together with the cells around it.
    """
    axes = [np.asarray(axis, np.float64) for axis in surface.coordinates]
    x, y, z = [*axes, np.zeros(1), np.zeros(1)][:3]
    zs, ys, xs = np.meshgrid(z, y, x, indexing="ij")
    blank = surface.status != DONE
    if heights is not None:
        blank = blank | ~np.isfinite(heights)
        zs = np.where(blank, 0.0, heights)[None]
    grid = vtkStructuredGrid()
    grid.SetDimensions(len(x), len(y), len(z))
    grid.SetPoints(to_points(np.stack([xs.ravel(), ys.ravel(), zs.ravel()], -1)))
    add_point_arrays(grid, {name: array.ravel() for name, array in point_arrays(surface).items()})
    if blank.any():
        ghosts = np.where(blank.ravel(), vtkDataSetAttributes.HIDDENPOINT, 0).astype(np.uint8)
        add_point_arrays(grid, {vtkDataSetAttributes.GhostArrayName(): ghosts})
    return grid


def image(surface: Surface) -> vtkImageData:
    """Return the flat grid as an image with all metrics as point arrays, in which holes are NaN.

    Raises:
        ValueError: coordinates that are not evenly spaced and ascending, which an image cannot hold.
    """
    spacing, origin = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for k, axis in enumerate(surface.coordinates):
        axis = np.asarray(axis, np.float64)
        origin[k] = float(axis[0])
        if len(axis) > 1:
            spacing[k] = float(axis[-1] - axis[0]) / (len(axis) - 1)
            even = axis[0] + spacing[k] * np.arange(len(axis))
            if spacing[k] <= 0 or np.abs(even - axis).max() > 1e-6 * abs(spacing[k]):
                raise ValueError(
                    f"axis {'xyz'[k]}: expected evenly spaced, ascending coordinates for an image, got steps from "
                    f"{np.diff(axis).min():g} to {np.diff(axis).max():g}; export as .vts"
                )
    grid = vtkImageData()
    grid.SetDimensions(*[*reversed(surface.shape), 1, 1][:3])
    grid.SetOrigin(origin)
    grid.SetSpacing(spacing)
    add_point_arrays(grid, {name: array.ravel() for name, array in point_arrays(surface).items()})
    return grid


def path_mesh(trajectory: Trajectory, segments: Sequence[PathSegment], positions: Sequence[np.ndarray]) -> vtkPolyData:
    """Return a path as polylines, one per segment, with a vertex at each checkpoint.

    The point arrays are those of the trajectory (``PATH_ARRAYS``), exact at checkpoints and linear between them, and
    ``checkpoint``: the index of the checkpoint, -1 for points between checkpoints.

    Args:
        trajectory: trajectory with the arrays.
        segments: contiguous parts of the path, from ``drape``.
        positions: positions ``(m, 3)`` of the points of each segment.
    """
    t = np.concatenate([segment.t for segment in segments]) if segments else np.empty(0)
    is_checkpoint = t == np.round(t)
    offsets = np.cumsum([0, *(len(segment.t) for segment in segments)])
    vertices = np.flatnonzero(is_checkpoint)
    mesh = vtkPolyData()
    mesh.SetPoints(to_points(np.concatenate(positions) if segments else np.empty((0, 3))))
    mesh.SetVerts(to_cells(vertices, np.arange(len(vertices) + 1)))
    mesh.SetLines(to_cells(np.arange(len(t)), offsets))
    arrays = {name: at_parameters(getattr(trajectory, name), t) for name in PATH_ARRAYS}
    add_point_arrays(mesh, {**arrays, "checkpoint": np.where(is_checkpoint, t, -1).astype(np.int32)})
    return mesh
