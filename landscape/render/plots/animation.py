"""Paths in motion: the steps of a figure's paths one after the other, as GIF, as MP4, or as single pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.plots.descent import DescentArtists
from landscape.render.video import FASTEST_GIF, check_video, write_video

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

MAX_FRAMES = 60
"""Frames of an animation at most: of longer paths every so many steps are shown."""
HOLD_FRAMES = 8
"""Frames that the last picture stays."""


def animate(
    artists: DescentArtists,
    path: str | os.PathLike[str],
    *,
    seconds: float = 6.0,
    dpi: float = 110,
    frames: int = MAX_FRAMES,
) -> Path:
    """Write a figure's paths as they grow, step by step.

    Args:
        artists: a figure with its paths whole. It is left as it was.
        path: a ``.gif``, a ``.mp4`` (by ffmpeg), or a name without an ending: a folder filled with
            ``frame-00000.png`` and so on.
        seconds: how long one pass takes.
        dpi: dots per inch.
        frames: pictures at most.

    Returns:
        What was written: the file, or the folder.

    Raises:
        ValueError: another ending, or times and numbers that are not above zero.
        MissingLibraryError: an MP4, and there is no ffmpeg.
        LandscapeError: ffmpeg failed.
        OSError: it cannot be written.
    """
    path = Path(path)
    if not seconds > 0 or frames < 2 or not dpi > 0:
        raise ValueError(f"seconds and dpi above 0 and at least 2 frames expected, got {seconds}, {dpi}, {frames}")
    growing = _growing(artists)
    last = max(len(x) for _, x, _, _ in growing) - 1
    steps = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    rate = (len(steps) + HOLD_FRAMES) / seconds
    if path.suffix.lower() == ".gif":
        rate = min(rate, FASTEST_GIF)
    check_video(path, rate)
    figure = artists.figure
    engine, own = figure.get_layout_engine(), figure.dpi
    try:
        figure.set_dpi(dpi)
        with figure.style():
            for _ in range(2):
                figure.draw_without_rendering()
            # Frozen: a layout made anew for each frame would jump.
            figure.set_layout_engine("none")
            with write_video(path, rate) as writer:
                for step in steps:
                    _show(growing, step)
                    figure.canvas.draw()
                    writer.add(np.asarray(figure.canvas.buffer_rgba()), 1 + HOLD_FRAMES * int(step == last))
        return path
    finally:
        figure.set_dpi(own)
        _show(growing, last)
        figure.set_layout_engine(engine)


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
