"""A surface and its paths as files for ParaView, mesh programs and spreadsheets: one call, the suffix decides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.formats import FORMATS, SOLIDS, Job
from landscape.render.height_field import check_plane
from landscape.render.scale import Scale
from landscape.surface.surface import Surface

SUFFIXES = tuple(FORMATS)


def export(
    path: str | os.PathLike[str],
    surface: Surface,
    trajectories: Sequence[Trajectory] = (),
    *,
    metric: str | None = None,
    scale: str | Scale = "auto",
    clip: float | None = None,
    reduction: float = 0.0,
    overwrite: bool = False,
) -> list[Path]:
    """Write a surface and the paths on it.

    ========  ==================================================================================================
    ``.vts``  structured grid, raised by the metric on the scale, all metrics as point arrays, holes blanked
    ``.vtp``  the same as polygons with normals, holes left out
    ``.vti``  flat image with all metrics, of one to three axes; holes are NaN
    ``.vtm``  the grid and the paths in one multi-block file, with its parts in the folder ``STEM``
    ``.pvd``  the paths growing over the steps, on the grid, with its parts in the folder ``STEM_steps``
    ``.glb``  coloured triangles, the paths as tubes, y up; ``.obj`` and ``.stl``: the same without colours
    ``.csv``  one row for each point, x fastest; the paths in files of their own
    ========  ==================================================================================================

    With ``.vts``, ``.vtp``, ``.vti`` and ``.csv`` each path is written beside, as ``STEM_NAME.vtp`` or ``.csv``. The
    height is ``height_factor * (s - height_origin)``, ``s`` the metric on the scale (its log10, ...): both are in the
    field data, with metric, scale and provenance. Files appear under their names when all are complete.

    Args:
        path: name of the file; its suffix decides.
        surface: what is written.
        trajectories: paths on it; points off the grid or over holes are left out (not from ``.csv``).
        metric: that raises the surface, the first loss by default.
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a scale.
        clip: value above which ``.glb``, ``.obj`` and ``.stl`` are cut off; the others keep every value.
        reduction: portion of the triangles that ``.glb``, ``.obj`` and ``.stl`` do without.
        overwrite: replace files that exist.

    Returns:
        The files written (for ``.vtm`` and ``.pvd`` the folder of the parts, too), the one asked for first.

    Raises:
        ValueError: an unknown suffix (the message lists the known ones), or a surface that the format cannot hold.
        FileExistsError: a file is in the way and ``overwrite`` is not set.
        OSError: a file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot export {path.name!r}: expected a name that ends in {', '.join(FORMATS)}")
    solid = suffix in SOLIDS
    if (clip is not None or reduction) and not solid:
        raise ValueError(f"clip and reduction are for {', '.join(SOLIDS)}; {suffix} keeps every measured value")
    if not 0 <= reduction < 1:
        raise ValueError(f"reduction {reduction:g}: a portion of the triangles from 0 up to (not including) 1 expected")
    if suffix not in (".vti", ".csv", ".vts") or (trajectories and suffix == ".vts"):
        check_plane(surface, suffix)
    trajectories = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    job = Job(path, surface, trajectories, metric or surface.metrics[0], scale, clip, reduction)
    with _staged(path, overwrite) as folder:
        FORMATS[suffix](job, folder)
        written = sorted(entry.name for entry in folder.iterdir())
    return [path, *(path.parent / name for name in written if name != path.name)]


@contextmanager
def _staged(path: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write into, whose contents take their places beside ``path`` at the end, ``path`` itself last."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; name another file, or ask to overwrite it")
    folder = path.with_name(f".{path.name}.{os.getpid()}.part")
    folder.mkdir()
    try:
        yield folder
        new = sorted(folder.iterdir(), key=lambda entry: entry.name == path.name)
        for entry in new:
            place = path.with_name(entry.name)
            if place.exists() and not overwrite:
                raise FileExistsError(f"{place} exists; name another file, or ask to overwrite it")
        for entry in new:
            # Each step is atomic; the file asked for comes last, so that it never points to parts that are missing.
            _place(entry, path.with_name(entry.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(entry: Path, place: Path) -> None:
    """Move a file, or the files of a folder one by one: what else lies in an existing folder is not ours."""
    if not entry.is_dir():
        os.replace(entry, place)
        return
    place.mkdir(exist_ok=True)
    for file in entry.iterdir():
        _place(file, place / file.name)
