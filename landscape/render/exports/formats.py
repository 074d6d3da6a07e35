"""How a surface and its paths become each of the exported formats."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgba

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports import writers
from landscape.render.height_field import Box, HeightField, PathSegment, check_plane, drape, height_field_of
from landscape.render.scale import Scale
from landscape.render.scenes import actors, mesh
from landscape.render.scenes.panel import shared_scale
from landscape.render.scenes.vtk_modules import vtk_to_numpy, vtkPolyData, vtkStructuredGrid
from landscape.render.style import TRAJECTORY_COLOURS, colour_map, colour_map_name
from landscape.surface.surface import Surface

RELIEF_HEIGHT = 0.6
"""Height of an exported relief, where the longer axis of the grid is 1 long."""


@dataclass(frozen=True)
class Job:
    """What is to be written, and how it lies in space."""

    path: Path
    surface: Surface
    trajectories: Sequence[Trajectory]
    metric: str
    scale_asked: str | Scale
    clip: float | None
    reduction: float

    @property
    def scale(self) -> Scale:
        """That of the heights and colours."""
        return shared_scale([self.surface], self.metric, self.scale_asked, self.clip, ())

    def raised(self) -> tuple[HeightField, Box]:
        """The relief, and true coordinates with a height in proportion to the longer axis."""
        scale = self.scale
        relief = height_field_of(self.surface, self.metric, scale, self.clip)
        low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
        extent = float(max(np.ptp(relief.x), np.ptp(relief.y)))
        return relief, Box((0.0, 0.0, low), (1.0, 1.0, RELIEF_HEIGHT * extent / (high - low)), floor=low)

    def flat(self) -> tuple[HeightField, Box]:
        """The grid itself: every point at height 0."""
        x, y = (np.sort(np.asarray(axis, np.float64)) for axis in self.surface.coordinates[:2])
        return HeightField(x, y, np.zeros((len(y), len(x)))), Box((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), floor=0.0)

    def fields(self, box: Box | None) -> dict[str, str | float]:
        """Field data: what the arrays are, and how heights are made from them."""
        provenance = json.dumps(self.surface.metadata.to_json(), default=str, sort_keys=True)
        fields: dict[str, str | float] = {"name": self.surface.name, "provenance": provenance}
        if box is not None:
            scale = self.scale
            fields |= {"metric": self.metric, "scale": scale.kind}
            fields |= {"height_factor": box.factor[2], "height_origin": box.origin[2]}
            if scale.linthresh:
                fields["linthresh"] = scale.linthresh
        return fields

    def grid(self, box: Box | None = None) -> vtkStructuredGrid:
        """The whole grid, raised where there is a box to raise it in."""
        heights = None
        if box is not None:
            relief = height_field_of(self.surface, self.metric, self.scale)
            # The relief's axes rise; the grid keeps the surface's own order.
            rows, columns = (np.argsort(np.argsort(axis)) for axis in self.surface.coordinates[1::-1])
            heights = box.factor[2] * (relief.heights[np.ix_(rows, columns)] - box.origin[2])
        grid = mesh.structured_grid(self.surface, heights)
        mesh.add_field(grid, self.fields(box))
        return grid

    def path_meshes(self, relief: HeightField, box: Box) -> list[vtkPolyData]:
        """The paths as they lie on the relief."""
        return [_path(trajectory, drape(relief, trajectory), box) for trajectory in self.trajectories]

    def names(self) -> list[str]:
        """File names for the paths, without suffix: made from their own, and different from one another."""
        names: list[str] = []
        for trajectory in self.trajectories:
            base = re.sub(r"[^\w.-]+", "-", trajectory.name).strip("-.") or "path"
            candidates = itertools.chain([base], (f"{base}-{k}" for k in itertools.count(2)))
            names.append(next(name for name in candidates if name not in names))
        return names

    def write_paths(self, relief: HeightField, box: Box, folder: Path) -> None:
        """Write each path into a file beside that of the surface."""
        for name, data in zip(self.names(), self.path_meshes(relief, box), strict=True):
            writers.write_xml(data, folder / f"{self.path.stem}_{name}.vtp")


def _path(trajectory: Trajectory, pieces: Sequence[PathSegment], box: Box) -> vtkPolyData:
    data = mesh.path_mesh(trajectory, pieces, [box.place(*piece.points.T) for piece in pieces])
    mesh.add_field(data, {"name": trajectory.name})
    return data


def _vts(job: Job, folder: Path) -> None:
    if len(job.surface.coordinates) != 2:
        writers.write_xml(job.grid(), folder / job.path.name)
        return
    relief, box = job.raised()
    writers.write_xml(job.grid(box), folder / job.path.name)
    job.write_paths(relief, box, folder)


def _vtp(job: Job, folder: Path) -> None:
    relief, box = job.raised()
    arrays = mesh.arrays_of(job.surface)
    flips = tuple(slice(None, None, -1 if axis[0] > axis[-1] else 1) for axis in job.surface.coordinates[::-1])
    data = mesh.relief_mesh(relief, box, {name: array[flips] for name, array in arrays.items()})
    data.GetPointData().SetActiveScalars(job.metric)
    mesh.add_field(data, job.fields(box))
    writers.write_xml(data, folder / job.path.name)
    job.write_paths(relief, box, folder)


def _vti(job: Job, folder: Path) -> None:
    data = mesh.image(job.surface)
    mesh.add_field(data, job.fields(None))
    writers.write_xml(data, folder / job.path.name)
    if job.trajectories:
        check_plane(job.surface, "a path on an image")
        job.write_paths(*job.flat(), folder)


def _vtm(job: Job, folder: Path) -> None:
    relief, box = job.raised()
    parts = folder / job.path.stem
    parts.mkdir()
    blocks = [("surface", ".vts", job.grid(box))]
    blocks += [(name, ".vtp", data) for name, data in zip(job.names(), job.path_meshes(relief, box), strict=True)]
    entries = []
    for k, (name, suffix, data) in enumerate(blocks):
        # Numbered, since a path may be called "surface", too.
        file = f"{parts.name}/{k}_{name}{suffix}"
        writers.write_xml(data, folder / file)
        entries.append({"index": k, "name": name, "file": file})
    writers.write_collection("vtkMultiBlockDataSet", entries, folder / job.path.name)


def _pvd(job: Job, folder: Path) -> None:
    relief, box = job.raised()
    parts = folder / f"{job.path.stem}_steps"
    parts.mkdir()
    writers.write_xml(job.grid(box), parts / "surface.vts")
    steps = np.unique(np.concatenate([trajectory.step for trajectory in job.trajectories] or [np.zeros(1, np.int64)]))
    entries = [(int(step), 0, "surface.vts") for step in steps]
    for k, (name, trajectory) in enumerate(zip(job.names(), job.trajectories, strict=True), 1):
        pieces = drape(relief, trajectory)
        shown = None
        for step in steps:
            count = int(np.searchsorted(trajectory.step, step, side="right"))
            if count != shown:
                file = f"{name}_{count:05d}.vtp"
                grown = [PathSegment(p.t[p.t <= count - 1], p.points[p.t <= count - 1]) for p in pieces]
                writers.write_xml(_path(trajectory, [piece for piece in grown if len(piece.t)], box), parts / file)
                shown = count
            entries.append((int(step), k, file))
    rows = [{"timestep": t, "part": part, "file": f"{parts.name}/{file}"} for t, part, file in sorted(entries)]
    writers.write_collection("Collection", rows, folder / job.path.name)


def _solid(job: Job, folder: Path) -> None:
    relief, box = job.raised()
    scale = job.scale
    table = colour_map(colour_map_name(job.metric))
    low, high = scale.transform([scale.vmin, scale.vmax])
    ground = writers.triangles(actors.clipped(mesh.relief_mesh(relief, box), relief.cut), job.reduction)
    if not ground.GetNumberOfCells():
        raise ValueError(f"nothing to write: no cell has four points with a {job.metric} below the clip value")
    heights = vtk_to_numpy(ground.GetPointData().GetArray(mesh.HEIGHT))
    meshes = [writers.painted(ground, table((heights - low) / (high - low)))]
    radius = actors.TUBE * max(np.ptp(relief.x), np.ptp(relief.y))
    for k, trajectory in enumerate(job.trajectories):
        lines = [
            box.place(*piece.points.T) + radius * relief.normals_at(box, piece.points[:, 0], piece.points[:, 1])
            for piece in drape(relief, trajectory)
            if len(piece.t) > 1
        ]
        if lines:
            tube = writers.triangles(actors.tubes(mesh.polylines(lines), radius, sides=12))
            colour = to_rgba(TRAJECTORY_COLOURS[k % len(TRAJECTORY_COLOURS)])
            meshes.append(writers.painted(tube, np.tile(colour, (tube.GetNumberOfPoints(), 1))))
    SOLIDS[job.path.suffix.lower()](meshes, folder / job.path.name)


def _csv(job: Job, folder: Path) -> None:
    axes = np.meshgrid(*reversed(job.surface.coordinates), indexing="ij")
    columns = {name: axis for name, axis in zip("xyz", reversed(axes), strict=False)}
    writers.write_table({**columns, **mesh.arrays_of(job.surface)}, folder / job.path.name)
    for name, trajectory in zip(job.names(), job.trajectories, strict=True):
        places = {axis: values for axis, values in zip("xyz", trajectory.coordinates.T, strict=False)}
        arrays = {array: getattr(trajectory, array) for array in mesh.PATH_ARRAYS}
        writers.write_table({**places, **arrays}, folder / f"{job.path.stem}_{name}.csv")


SOLIDS: dict[str, Callable[[Sequence[vtkPolyData], Path], None]] = {
    ".glb": writers.write_glb,
    ".obj": writers.write_obj,
    ".stl": writers.write_stl,
}
FORMATS: dict[str, Callable[[Job, Path], None]] = {
    ".vts": _vts,
    ".vtp": _vtp,
    ".vti": _vti,
    ".vtm": _vtm,
    ".pvd": _pvd,
    **dict.fromkeys(SOLIDS, _solid),
    ".csv": _csv,
}
