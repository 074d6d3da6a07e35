"""Stills: the view and the height at which surfaces cover most of the figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.lines import Line2D

from landscape.render.figure import StyledFigure
from landscape.render.scale import Scale
from landscape.render.scenes.axes import AxisTicks
from landscape.render.scenes.camera import (
    aimed,
    filled,
    parse_view,
    preferred,
    view_scores,
    visible_share,
)
from landscape.render.scenes.fitted import FittedScenes
from landscape.render.scenes.layout import SceneText
from landscape.render.scenes.options import FigureSize, SceneOptions
from landscape.render.scenes.outline import Outline, outline
from landscape.render.scenes.panel import ScenePanel
from landscape.render.scenes.still_frame import StillFrame

_TRIED = 4
"""Views at each elevation for which the share of the figure that surfaces cover is computed."""
_RELIEF = 0.1
"""Share of the figure that a surface of height 1 over its base is worth in the choice of a height."""
_SHARE, _NEARLY = 2.0, 0.3
"""Weight of the share of the figure that surfaces cover in the choice of a view, and how much less may be visible."""
_HIDDEN = 0.01
"""Share of ground and paths that a higher relief may hide in addition."""
_HEIGHTS = (0.3, 0.38, 0.47, 0.57, 0.66, 0.75)
"""Heights of a surface over a base of 1 by 1: below, a relief is flat; above, its walls hide its floor."""


def fit_still(
    figure: StyledFigure,
    size: FigureSize,
    text: SceneText,
    marks: Sequence[Line2D],
    panels: Sequence[ScenePanel],
    options: SceneOptions,
    scale: Scale,
    ticks_for: Callable[[float], AxisTicks],
) -> FittedScenes:
    """Fit scenes and text into a figure, with names at the ends of paths if there is room for all of them.

    Args:
        figure: the figure, in its style.
        size: size of the figure, whose height may be free.
        text: text of the figure, with all entries of the legend.
        marks: entries of the legend where names are at the ends of paths.
        panels: panels of the scene.
        options: options of the scene, of which view and height are kept.
        scale: scale of the heights.
        ticks_for: function that returns all ticks of panels of a width in font sizes.

    Raises:
        ValueError: the figure is too small for its text.
    """
    for short in (True, False) if marks and any(panel.paths for panel in panels) else (False,):
        handles = list(marks if short else text.handles)
        frame = StillFrame(figure, size, replace(text, handles=handles))
        ticks = ticks_for(frame.narrowest)
        fitted = replace(_fit(frame, panels, options, scale, ticks, named=short), handles=handles)
        if fitted.names:
            break
    return fitted


def _fit(
    frame: StillFrame, panels: Sequence[ScenePanel], options: SceneOptions, scale: Scale, ticks: AxisTicks, named: bool
) -> FittedScenes:
    """Choose view and height at which surfaces cover most of a figure, with low ground and paths visible.

    Args:
        frame: figure with its text.
        panels: panels of the scene.
        options: options of the scene, of which view and height are kept.
        scale: scale of the heights.
        ticks: all ticks that the axes could have.
        named: True to place names at the ends of paths, if possible.
    """
    measure = frame.measure()
    untitled = replace(ticks, titles=("", "", ""))

    def outlines(several: Sequence[ScenePanel], view: tuple[float, float]) -> list[Outline]:
        camera = aimed(*view)
        # Axis titles are on the first panel.
        return [
            outline(panel, camera, scale, untitled if k else ticks, measure, options.axes)
            for k, panel in enumerate(several)
        ]

    def share(several: Sequence[ScenePanel], view: tuple[float, float]) -> float:
        return frame.share(outlines(several, view))

    heights = _HEIGHTS if options.height is None else (options.height,)
    raised = [[panel.raised(height) for panel in panels] for height in heights]
    views = _promising(raised[len(raised) // 2], options)
    low = raised[len(raised) // 3]
    view = preferred({candidate: score + _SHARE * share(low, candidate) for candidate, score in views.items()})
    visible = [_visible(several, view) for several in raised]
    unhidden = [several for several, part in zip(raised, visible, strict=True) if part >= max(visible) - _HIDDEN]
    # All arrangements are tried for the height that is best among some.
    panels = max(unhidden, key=lambda several: share(several, view) + _RELIEF * several[0].height)
    around = outlines(panels, view)
    packing = frame.pack(around)
    layout, wrapped = frame.layout(packing)
    at = (packing.at[0] * frame.em, packing.at[1] * frame.em)
    camera = aimed(*view).scaled(packing.scale * frame.em, at, layout.panel_size)
    names = frame.place_names(panels, camera, packing, layout, around) if named and options.axes else []
    return FittedScenes(
        [[panel] for panel in panels], view, layout, wrapped.titles, wrapped.note, ticks, (), camera, names
    )


def _promising(panels: Sequence[ScenePanel], options: SceneOptions) -> dict[tuple[float, float], float]:
    """Return the views from which nearly as much is visible as from the best one, with their scores."""
    fields, boxes = [panel.field for panel in panels], [panel.box for panel in panels]
    visible = view_scores(fields, boxes, parse_view(options.view), [panel.path_lines() for panel in panels])
    scores = {view: score / len(panels) for view, score in visible.items()}
    best = max(scores.values())
    hopeful = {view: score + filled(view[0]) for view, score in scores.items() if score > best - _NEARLY}
    chosen = []
    for elevation in {view[1] for view in hopeful}:
        these = [view for view in hopeful if view[1] == elevation]
        chosen += sorted(these, key=lambda view: -round(hopeful[view], 6))[:_TRIED]
    return {view: scores[view] for view in chosen}


def _visible(panels: Sequence[ScenePanel], view: tuple[float, float]) -> float:
    """Return the share of ground and paths that is visible."""
    fields, boxes = [panel.field for panel in panels], [panel.box for panel in panels]
    return visible_share(fields, boxes, view, [panel.path_lines() for panel in panels])
