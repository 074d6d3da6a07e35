"""Export surfaces and trajectories to files for other programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from landscape._utils.files import require_writable
from landscape._utils.typed import chosen
from landscape.errors import StoreError
from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.surface.surface import Surface
from landscape.workflows.inputs import (
    SurfaceSource,
    TrajectorySource,
    load_scene,
    load_trajectories,
)

_KEEP_ALL = (".html", ".xdmf", ".h5")
"""Formats that keep every measured value."""


def export(
    path: str | os.PathLike[str],
    surfaces: SurfaceSource | Sequence[SurfaceSource],
    trajectories: TrajectorySource | Sequence[TrajectorySource] = (),
    options: ExportOptions | None = None,
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a surface and its trajectories in the format that the suffix of ``path`` names.

    ========================== =========================================================================================
    ``.vts .vtp .vtm .pvd``    for ParaView, raised by the metric, with all metrics as arrays; ``.pvd``: growing paths,
                               or a surface through training
    ``.vti``                   for ParaView, flat; also volumes
    ``.xdmf``                  a description by which ParaView reads the surface file itself, without a copy
    ``.obj .stl .glb``         for mesh programs, Blender and browsers
    ``.html``                  one interactive page: curves, several surfaces side by side, the layers of a volume
    ``.csv``                   one row per point
    ``.h5``                    the file format of the scripts of Li et al. (2018)
    ========================== =========================================================================================

    Args:
        path: file to write.
        surfaces: a surface or the path of its file; ``.html`` takes several, ``.xdmf`` needs the path of a file.
        trajectories: trajectories, or paths of trajectory files; with several surfaces one entry for each.
        options: content of the file.
        seed: the seed to select from a surface over several seeds; by default the spread over the seeds.
        at: the checkpoint to select from a surface through training, the nearest to this step; by default the last,
            and all in ``.pvd``, ``.csv`` and ``.xdmf``.
        z: the layer to select from a volume, the nearest to this coordinate. By default the layer at 0, and the whole
            volume in ``.vti``, ``.csv`` and ``.html``.
        overwrite: replace files that exist.

    Returns:
        The files written, ``path`` first.

    Raises:
        TypeError: the arguments are in another order.
        ValueError: an unknown suffix, or a surface or an option that the format doesn't support.
        StoreError: a file exists and ``overwrite`` is false, or an input cannot be read.
    """
    options = chosen("options", options, ExportOptions)
    if isinstance(path, Surface):
        raise TypeError("path: expected the file to write as the first argument, as in export('page.html', surface)")
    path, suffix = Path(path), Path(path).suffix.lower()
    sources = [surfaces] if isinstance(surfaces, Surface | str | os.PathLike) else list(surfaces)
    if not sources:
        raise ValueError("expected at least one surface, got none")
    if len(sources) != 1 and suffix != ".html":
        raise ValueError(
            f"expected one surface for {suffix or path.name}, got {len(sources)}; only .html takes several"
        )
    if options.reduction and suffix in _KEEP_ALL:
        raise ValueError(f"a reduction is for .glb, .obj and .stl; {suffix} keeps every measured value")
    if path.exists() and not overwrite:
        raise StoreError(f"{path} exists; choose another name, or overwrite it")
    require_writable(path, StoreError)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".html":
        from landscape.render.exports.page import write_page

        loaded, groups = load_scene(sources, trajectories, seed=seed, at=at, z=z, volumes=True)
        return [write_page(path, loaded, groups, options, overwrite=overwrite)]
    if suffix == ".xdmf":
        if not (z is seed is at is None):
            raise ValueError(".xdmf refers to the whole surface file: a layer, seed or checkpoint needs another format")
        return [_export_xdmf(path, sources[0], trajectories, overwrite)]
    if suffix == ".h5":
        return _export_li2018(path, sources[0], trajectories, at, overwrite)
    from landscape.render.exports.export import export as write

    surface = _read(sources[0])
    if suffix in (".vti", ".csv") and z is seed is at is None and not (surface.steps and suffix == ".vti"):
        (paths,) = load_trajectories(trajectories, 1)  # as stored: neither a layer nor interpolated points
    else:
        whole = suffix == ".pvd"
        (surface,), (paths,) = load_scene(surface, trajectories, seed=seed, at=at, z=z, whole=whole)
    return write(path, surface, paths, options, overwrite=overwrite)


def _read(source: SurfaceSource) -> Surface:
    from landscape.surface.reading import read_surface

    return source if isinstance(source, Surface) else read_surface(source)


def _export_xdmf(
    path: Path, source: SurfaceSource, trajectories: TrajectorySource | Sequence[TrajectorySource], overwrite: bool
) -> Path:
    from landscape.render.exports.xdmf import write_xdmf

    entries = [trajectories] if isinstance(trajectories, Trajectory | str | os.PathLike) else list(trajectories)
    files = [entry for entry in entries if isinstance(entry, str | os.PathLike)]
    if isinstance(source, Surface) or len(files) < len(entries):
        raise ValueError(".xdmf refers to files: expected paths of a surface file and of trajectory files")
    return write_xdmf(path, source, files, overwrite=overwrite)


def _export_li2018(
    path: Path,
    source: SurfaceSource,
    trajectories: TrajectorySource | Sequence[TrajectorySource],
    at: int | None,
    overwrite: bool,
) -> list[Path]:
    """Write a surface file of Li et al., and beside it a projection file for each trajectory."""
    from landscape.surface.li2018.files import write_li_projection, write_li_surface

    surface = _read(source)
    (paths,) = load_trajectories(trajectories, 1)
    if surface.steps or at is not None:
        (surface,), (paths,) = load_scene(surface, trajectories, at=at)
    write_li_surface(path, surface, dir_file="" if isinstance(source, Surface) else str(source), overwrite=overwrite)
    written = [path]
    for trajectory in paths:
        name = trajectory.name.replace("/", "_")
        written.append(path.with_name(f"{path.stem}_{name}_proj.h5"))
        write_li_projection(written[-1], trajectory, overwrite)
    return written
