"""Animations of paths: the steps of a figure one after the other, as GIF, MP4, or single frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.plots.artists import DescentArtists
from landscape.render.plots.grid import OTHER_PATH
from landscape.render.video import MAX_GIF_FPS, check_video, write_video

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

MAX_FRAMES = 60
"""Default for the largest number of frames; longer paths are thinned evenly."""
HOLD_FRAMES = 8
"""Number of additional frames that show the last frame."""


def animate(
    artists: DescentArtists,
    path: str | os.PathLike[str],
    *,
    seconds: float = 6.0,
    dpi: float = 110,
    frames: int = MAX_FRAMES,
) -> Path:
    """Write the paths of a figure as they grow, step by step.

    Args:
        artists: a figure with complete paths; it is restored afterwards.
        path: a ``.gif``, a ``.mp4`` (needs ffmpeg), or a name without suffix: a directory for ``frame-00000.png`` etc.
        seconds: duration of one pass.
        dpi: dots per inch.
        frames: largest number of frames.

    Returns:
        The file or directory written.

    Raises:
        ValueError: another suffix, or numbers that are not positive.
        MissingLibraryError: ffmpeg is needed and not installed.
        LandscapeError: ffmpeg failed.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if not seconds > 0 or frames < 2 or not dpi > 0:
        raise ValueError(f"expected seconds > 0, dpi > 0 and frames >= 2, got {seconds}, {dpi} and {frames}")
    growing = _growing(artists)
    last = max(len(x) for _, x, _, _ in growing) - 1
    steps = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    rate = (len(steps) + HOLD_FRAMES) / seconds
    if path.suffix.lower() == ".gif":
        rate = min(rate, MAX_GIF_FPS)
    check_video(path, rate)
    figure = artists.figure
    engine, own = figure.get_layout_engine(), figure.dpi
    try:
        figure.set_dpi(dpi)
        with figure.style():
            for _ in range(2):
                figure.draw_without_rendering()
            # A new layout for each frame would make the axes jump.
            figure.set_layout_engine("none")
            with write_video(path, rate) as writer:
                for step in steps:
                    _show(growing, step)
                    _move_names(artists)
                    writer.add(figure.pixels(), 1 + HOLD_FRAMES * int(step == last))
        return path
    finally:
        figure.set_dpi(own)
        _show(growing, last)
        _move_names(artists)
        figure.set_layout_engine(engine)


_Growing = list[tuple["Line2D", np.ndarray, np.ndarray, bool]]
_DOT = 0.55
"""Size of the dot at the newest point of a path, in units of the star that is there in the end."""


def _growing(artists: DescentArtists) -> _Growing:
    """Return lines with their complete data; the flag is True where only the newest point is shown."""
    growing: _Growing = []
    for path in artists.paths:
        x, y = (np.asarray(data) for data in path.line.get_data())
        growing += [(path.line, x, y, False), (path.points, x, y, False), (path.end, x, y, True)]
    others = [line for ax in artists.axes for line in ax.lines if line.get_gid() == OTHER_PATH]
    for line in (*others, *(line for lines in artists.lines for line in lines)):
        x, y = (np.asarray(data) for data in line.get_data())
        growing.append((line, x, y, False))
    if not growing:
        raise ValueError("expected a figure with at least one path, got none")
    return growing


def _show(growing: _Growing, step: int) -> None:
    """Show paths up to a step; the newest point is a dot until the path is complete."""
    for line, x, y, newest in growing:
        end = min(step, len(x) - 1) + 1
        line.set_data(x[end - 1 : end] if newest else x[:end], y[end - 1 : end] if newest else y[:end])
        if newest:
            dot, star = line.get_marker() == "o", end == len(x)
            if dot == star:
                line.set_marker("*" if star else "o")
                line.set_markersize(line.get_markersize() * (1 / _DOT if star else _DOT))


def _move_names(artists: DescentArtists) -> None:
    """Keep the names of paths beside their newest points."""
    for path in artists.paths:
        if path.name is not None:
            x, y = np.asarray(path.end.get_xydata(), dtype=np.float64)[0].tolist()
            path.name.xy = (x, y)
