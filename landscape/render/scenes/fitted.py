"""Scenes that are fitted into their figure: what stills and films have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from landscape.render.scenes.axes import AxisTicks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.hud import HUD
from landscape.render.scenes.layout import Layout
from landscape.render.scenes.panel import ScenePanel
from landscape.render.scenes.path_names import PathName


@dataclass(frozen=True)
class FittedScenes:
    """Scenes and text at their positions in a figure.

    Attributes:
        keyframes: panels of each surface, at the height that suits the figure: one for each of its checkpoints that are
            drawn, or a single one.
        view: azimuth and elevation in degrees.
        layout: positions of panels and text.
        titles: titles, wrapped.
        note: note, wrapped.
        ticks: all ticks that the axes could have.
        handles: entries of the legend.
        camera: camera of a still; None for a film, whose cameras are fitted to all frames.
        names: names of runs at the ends of their paths on each panel; empty if the legend names them.
        huds: head-up display of each panel; empty for none.
    """

    keyframes: Sequence[Sequence[ScenePanel]]
    view: tuple[float, float]
    layout: Layout
    titles: Sequence[str]
    note: str
    ticks: AxisTicks
    handles: Sequence[Line2D]
    camera: Camera | None = None
    names: Sequence[Sequence[PathName]] = ()
    huds: Sequence[HUD] = ()
