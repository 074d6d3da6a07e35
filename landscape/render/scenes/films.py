"""Films: one view and one height of the surfaces for all frames, in which low ground and paths are visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from landscape.render.figure import StyledFigure
from landscape.render.scenes.axes import AxisTicks
from landscape.render.scenes.camera import best_view, parse_view
from landscape.render.scenes.film_frame import frame_film
from landscape.render.scenes.fitted import FittedScenes
from landscape.render.scenes.hud import Readout
from landscape.render.scenes.layout import Layout, SceneText
from landscape.render.scenes.options import FigureSize, SceneOptions
from landscape.render.scenes.panel import HEIGHT, ScenePanel

_TEXT, _BARE = (6.0, 4.0), (1.6, 1.6)
"""Width and height of the text around a scene, and of the space around one without axes, in font sizes."""
_HEIGHTS = (0.3, 0.75)
"""Lowest and highest surface over a base of 1 by 1: below, a relief is flat; above, its walls hide its floor."""
_STEEP = 0.05
"""Cosine of the elevation below which a view is from above, where no height is visible."""


def fit_film(
    figure: StyledFigure,
    size: FigureSize,
    text: SceneText,
    keyframes: Sequence[Sequence[ScenePanel]],
    readouts: Sequence[Readout],
    options: SceneOptions,
    ticks_for: Callable[[float], AxisTicks],
) -> FittedScenes:
    """Fit scenes and text into the figure of a film, with the view of its first frame.

    Args:
        figure: the figure, in its style.
        size: size of the figure.
        text: text of the figure.
        keyframes: panels of each surface, one for each of its checkpoints that are drawn, or a single one.
        readouts: content of the head-up display of each panel; empty for none.
        options: options of the scene, of which view and height are kept.
        ticks_for: function that returns all ticks of panels of a width in font sizes.

    Raises:
        ValueError: the figure is too small for its text.
    """
    frame = frame_film(figure, size, text, readouts)
    layout, view = frame.layout, _choose_view(keyframes, options)
    if options.height is None:
        # The height depends on the view, and what is hidden on the height.
        for _ in range(2):
            height = _filling_height(layout, view, options.axes)
            keyframes = [[panel.raised(height) for panel in panels] for panels in keyframes]
            view = _choose_view(keyframes, options)
    ticks = ticks_for(layout.panel_size[0] / layout.em)
    return FittedScenes(keyframes, view, layout, frame.titles, frame.note, ticks, text.handles, huds=frame.huds)


def _choose_view(keyframes: Sequence[Sequence[ScenePanel]], options: SceneOptions) -> tuple[float, float]:
    """Return azimuth and elevation in degrees."""
    panels = [panel for several in keyframes for panel in several]
    fields, boxes = [panel.field for panel in panels], [panel.box for panel in panels]
    return best_view(fields, boxes, parse_view(options.view), [panel.path_lines() for panel in panels])


def _filling_height(layout: Layout, view: tuple[float, float], axes: bool) -> float:
    """Return the height of a surface, over a base of 1 by 1, at which a scene has the proportions of its panel."""
    azimuth, elevation = np.radians(view)
    if np.cos(elevation) < _STEEP:
        return HEIGHT
    across = float(abs(np.cos(azimuth)) + abs(np.sin(azimuth)))
    beside, above = _TEXT if axes else _BARE
    (width, height), em = layout.panel_size, layout.em
    tall = across * max(height / em - above, 1.0) / max(width / em - beside, 1.0)
    filling = (tall - across * float(np.sin(elevation))) / float(np.cos(elevation))
    return float(np.clip(filling, *_HEIGHTS))
