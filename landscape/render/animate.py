"""Paths in motion: the steps of a figure's paths one after the other, as GIF, as MP4, or as single pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.descent import DescentArtists

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

SUFFIXES = (".gif", ".mp4")
FRAMES = 60
"""Frames of an animation at most: of longer paths every so many steps are shown."""
HOLD = 8
"""Frames that the last picture stays."""


def animate(
    artists: DescentArtists,
    path: str | os.PathLike[str],
    *,
    seconds: float = 6.0,
    dpi: float = 110,
    frames: int = FRAMES,
) -> Path:
    """Write a figure's paths as they grow, step by step.

    Args:
        artists: a figure with its paths whole. It is left as it was.
        path: a ``.gif`` (by Pillow), or an ``.mp4`` (by ffmpeg). Where there is no ffmpeg, a folder named like the
            ``.mp4`` without its ending is filled with ``frame-0000.png`` and so on instead.
        seconds: how long one pass takes.
        dpi: dots per inch.
        frames: pictures at most.

    Returns:
        What was written: the file, or the folder.

    Raises:
        ValueError: another ending, or times and numbers that are not above zero.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot write {path.name!r}: a name that ends in {' or '.join(SUFFIXES)} expected")
    if not seconds > 0 or frames < 2 or not dpi > 0:
        raise ValueError(f"seconds and dpi above 0 and at least 2 frames expected, got {seconds}, {dpi}, {frames}")
    growing = _growing(artists)
    last = max(len(x) for _, x, _, _ in growing) - 1
    steps = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    shown = [*steps, *[last] * HOLD]
    rate = len(shown) / seconds
    figure = artists.figure
    engine = figure.get_layout_engine()
    try:
        with figure.style():
            for _ in range(2):
                figure.draw_without_rendering()
            # Frozen: a layout made anew for each frame would jump.
            figure.set_layout_engine("none")
            return _write(artists, growing, shown, path, rate, dpi)
    finally:
        _show(growing, last)
        figure.set_layout_engine(engine)


def has_ffmpeg() -> bool:
    """Whether MP4 can be written here."""
    return shutil.which("ffmpeg") is not None


_Growing = list[tuple["Line2D", np.ndarray, np.ndarray, bool]]


def _growing(artists: DescentArtists) -> _Growing:
    """Lines with their data; the last flag says that only the newest point is shown."""
    found: _Growing = []
    for path in artists.paths:
        x, y = (np.asarray(data) for data in path.line.get_data())
        found += [(path.line, x, y, False), (path.points, x, y, False), (path.end, x, y, True)]
    for lines in artists.lines:
        found += [(line, *(np.asarray(data) for data in line.get_data()), False) for line in lines]
    if not found:
        raise ValueError("a figure with at least one path expected")
    return found


def _show(growing: _Growing, step: int) -> None:
    for line, x, y, newest in growing:
        end = min(step, len(x) - 1) + 1
        line.set_data(x[end - 1 : end] if newest else x[:end], y[end - 1 : end] if newest else y[:end])


def _write(
    artists: DescentArtists, growing: _Growing, shown: Sequence[int], path: Path, rate: float, dpi: float
) -> Path:
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

    if path.suffix.lower() == ".mp4" and not has_ffmpeg():
        folder = path.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        for number, step in enumerate(shown[:-HOLD]):
            _show(growing, step)
            artists.figure.savefig(folder / f"frame-{number:04}.png", dpi=dpi)
        return folder
    animation = FuncAnimation(artists.figure, lambda step: _show(growing, step), frames=shown, init_func=lambda: None)
    writer = PillowWriter(fps=rate) if path.suffix.lower() == ".gif" else FFMpegWriter(fps=rate)
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        animation.save(part, writer=writer, dpi=dpi)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
