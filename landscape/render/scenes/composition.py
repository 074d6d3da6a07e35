"""Composition of a scene: panels, scale, colours and figure layout, shared by stills and animations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np
from matplotlib.colors import Colormap, is_color_like
from matplotlib.lines import Line2D

from landscape._utils.typed import chosen
from landscape.geometry.trajectory import Trajectory
from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.height_field import require_plane
from landscape.render.labels import short_axis_labels
from landscape.render.scale import Scale
from landscape.render.scenes.axes import AxisTicks, make_ticks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.films import fit_film
from landscape.render.scenes.fitted import FittedScenes
from landscape.render.scenes.hud import HUD, PathReadout, Readout, ThroughReadout
from landscape.render.scenes.layout import LIGHT_INK, Layout, SceneText, ink, new_figure
from landscape.render.scenes.legend import legend_handles
from landscape.render.scenes.options import FigureSize, SceneOptions, resolve_figure_size
from landscape.render.scenes.panel import (
    ScenePanel,
    Trajectories,
    make_panels,
    path_colours,
    scene_notes,
    shared_scale,
    trajectories_per_panel,
)
from landscape.render.scenes.path_names import PathName
from landscape.render.scenes.relief import Relief
from landscape.render.scenes.stills import fit_still
from landscape.render.through import drawable_steps, paths_from, through_note
from landscape.render.ticks import metric_label
from landscape.surface.surface import Surface


@dataclass(frozen=True)
class Composition:
    """Everything of a scene that does not depend on the camera.

    Attributes:
        options: options of the scene.
        figure: figure of the scene's size, still empty.
        layout: layout of the figure.
        panels: one panel per surface.
        view: azimuth and elevation in degrees.
        scale: scale shared by all surfaces.
        colour_map: colour map over the scale.
        contours: values of the contour lines.
        ticks: all ticks that the axes could have.
        legend_handles: entries of the legend.
        note: note on what is not drawn, wrapped.
        titles: titles of the panels, wrapped.
        huds: head-up display of each panel; empty unless paths or surfaces are animated.
        reliefs: surface of each panel at every moment, None for one that doesn't change; empty for a still.
        bar_scale: scale of the colours where it isn't that of the heights, as in a volume.
        bar_ticks: ticks of the colour bar then.
        names: names of runs at the ends of their paths on each panel; empty if the legend names them.
        camera: camera of a still; None for an animation, whose cameras are fitted to all frames.
    """

    options: SceneOptions
    figure: StyledFigure
    layout: Layout
    panels: Sequence[ScenePanel]
    view: tuple[float, float]
    scale: Scale
    colour_map: Colormap
    contours: np.ndarray
    ticks: AxisTicks
    legend_handles: Sequence[Line2D]
    note: str
    titles: Sequence[str]
    huds: Sequence[HUD]
    reliefs: Sequence[Relief | None] = ()
    bar_scale: Scale | None = None
    bar_ticks: AxisTicks | None = None
    camera: Camera | None = None
    names: Sequence[Sequence[PathName]] = ()

    @property
    def keyframes(self) -> list[list[ScenePanel]]:
        """Panels at each checkpoint of a surface through training, or the single one, for each panel."""
        if not self.reliefs:
            return [[panel] for panel in self.panels]
        pairs = zip(self.panels, self.reliefs, strict=True)
        return [[panel] if relief is None else list(relief.keyframes) for panel, relief in pairs]

    def at(self, step: float | None) -> Composition:
        """Return the composition at a step of an animation, with the surfaces and paths of that moment."""
        if step is None or not any(self.reliefs):
            return self
        pairs = zip(self.panels, self.reliefs, strict=True)
        return replace(self, panels=[panel if relief is None else relief.at(step) for panel, relief in pairs])


def compose(
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: SceneOptions | None = None,
    *,
    animated: bool = False,
    still: bool = True,
    interpolate: bool = True,
    default_size: tuple[int, int] | None = None,
) -> Composition:
    """Compose a scene.

    Args:
        surfaces: one or several surfaces of two axes; if ``animated``, also surfaces of two axes through training.
        trajectories: trajectories for every surface, or one sequence of trajectories per surface.
        options: options of the scene.
        animated: True if paths or surfaces are animated, so that the figure needs space for a head-up display.
        still: arrange the text around the scene as it is drawn from one side; otherwise, and if ``animated``, above it.
        interpolate: interpolate surfaces through training between checkpoints.
        default_size: size in pixels unless the options have one.

    Raises:
        ValueError: a surface of one or three axes, nothing to draw, or an option out of range.
    """
    options = chosen("options", options, SceneOptions)
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    if not surfaces:
        raise ValueError("expected at least one surface, got none")
    steps = [drawable_steps(surface) if animated and surface.steps else [] for surface in surfaces]
    moments = [
        [replace(surface.for_step(step), name=surface.name) for step in own] or [surface]
        for surface, own in zip(surfaces, steps, strict=True)
    ]
    for surface in chain(*moments):
        require_plane(surface)
    check_background(options.background)
    metric = options.metric or surfaces[0].metrics[0]
    groups = trajectories_per_panel(trajectories, len(surfaces))
    on_scale = [path for group in groups for path in group] if options.path_height == "loss" else []
    scale = shared_scale(list(chain(*moments)), metric, options.scale, options.clip, on_scale)
    moved = [
        [paths_from(surface, step, group) for step in own] or [group]
        for surface, own, group in zip(surfaces, steps, groups, strict=True)
    ]
    keyframes = _keyframes(moments, moved, metric, scale, options)
    panels = [several[-1] for several in keyframes]
    size = _figure_size(options, default_size, len(panels))
    figure = new_figure(size, options.background)
    with figure.style():
        entries = legend_handles(panels) if options.axes else []
        marks = entries[-2:]
        xy_titles, notes = axis_titles([several[-1] for several in moments], options)
        if options.axes:
            notes += scene_notes(list(chain(*keyframes)), metric, scale, options)
            notes += _through_notes(surfaces, steps, interpolate)
        # The head-up display of an animation names the paths, too.
        handles = marks if animated and not any(steps) else entries
        text = scene_text(surfaces, metric, handles, notes, options)
        ticks_for = partial(make_ticks, scale, (*xy_titles, metric_label(metric)))
        if still and not animated:
            fitted = fit_still(figure, size, text, marks, panels, options, scale, ticks_for)
        else:
            readouts: list[Readout] = []
            if animated and (any(steps) or any(panel.paths for panel in panels)):
                readouts = [
                    ThroughReadout(surface, metric, own) if own else PathReadout(panel, metric, scale)
                    for surface, own, panel in zip(surfaces, steps, panels, strict=True)
                ]
            fitted = fit_film(figure, size, text, keyframes, readouts, options, ticks_for)
    reliefs = [
        Relief(surface, own, several, group, scale, interpolate) if own else None
        for surface, own, several, group in zip(surfaces, steps, fitted.keyframes, groups, strict=True)
    ]
    colour_map = styles.colour_map(options.colour_map or styles.colour_map_name(metric))
    composition = composed(options, figure, fitted, scale, colour_map, scale.levels(options.levels))
    return replace(composition, reliefs=reliefs)


def composed(
    options: SceneOptions,
    figure: StyledFigure,
    fitted: FittedScenes,
    scale: Scale,
    colour_map: Colormap,
    contours: np.ndarray,
) -> Composition:
    """Return the composition of scenes that are fitted into their figure, and make the figure transparent if needed."""
    if options.transparent:
        figure.patch.set_facecolor("none")
    return Composition(
        options=options,
        figure=figure,
        layout=fitted.layout,
        panels=[several[-1] for several in fitted.keyframes],
        view=fitted.view,
        scale=scale,
        colour_map=colour_map,
        contours=contours,
        ticks=fitted.ticks,
        legend_handles=fitted.handles,
        note=fitted.note,
        titles=fitted.titles,
        huds=fitted.huds,
        camera=fitted.camera,
        names=fitted.names,
    )


def check_background(background: str) -> None:
    """Raise ``ValueError`` unless a background is a colour."""
    if not is_color_like(background):
        raise ValueError(f"background: expected a matplotlib colour like 'white' or '#203040', got {background!r}")


def axis_titles(surfaces: Sequence[Surface], options: SceneOptions) -> tuple[tuple[str, str], list[str]]:
    """Return the titles of the x and y axes, and notes about them."""
    if options.axis_labels:
        return options.axis_labels, []
    titles, about = short_axis_labels(surfaces)
    return titles, [about] if about and options.axes else []


def scene_text(
    surfaces: Sequence[Surface], metric: str, handles: Sequence[Line2D], notes: Sequence[str], options: SceneOptions
) -> SceneText:
    """Return the text of a figure; titles are the names of the surfaces unless the options have others.

    Raises:
        ValueError: there are titles, but not one for each surface.
    """
    if options.titles and len(options.titles) != len(surfaces):
        raise ValueError(f"titles: expected one for each of {len(surfaces)} surfaces, got {len(options.titles)}")
    names = [surface.name if options.axes else "" for surface in surfaces]
    return SceneText(list(options.titles) or names, handles, notes, metric_label(metric) if options.axes else None)


def _keyframes(
    moments: Sequence[Sequence[Surface]],
    trajectories: Sequence[Sequence[Sequence[Trajectory]]],
    metric: str,
    scale: Scale,
    options: SceneOptions,
) -> list[list[ScenePanel]]:
    """Return the panels of each surface at all of its moments, all in boxes of equal size."""
    colours = path_colours(ink(options.background) == LIGHT_INK)
    panels = iter(make_panels(list(chain(*moments)), list(chain(*trajectories)), metric, scale, options, colours))
    return [list(islice(panels, len(several))) for several in moments]


def _figure_size(options: SceneOptions, default: tuple[int, int] | None, panels: int) -> FigureSize:
    """Return the size of a figure, which grows with its text if several panels have no size."""
    size = resolve_figure_size(options.size, options.dpi, options.style, default or still_size(panels), panels=panels)
    size = replace(size, style=styles.size_for_panels(size.style, panels))
    return replace(size, grows=True) if panels > 1 and options.size is None and options.dpi is None else size


def _through_notes(surfaces: Sequence[Surface], steps: Sequence[Sequence[int]], interpolate: bool) -> list[str]:
    """Return what is not measured in a film through training."""
    moving = [(surface, own) for surface, own in zip(surfaces, steps, strict=True) if own]
    if not moving:
        return []
    notes = list(dict.fromkeys(through_note(surface) for surface, _ in moving))
    if interpolate and any(len(own) > 1 for _, own in moving):
        counts = " and ".join(dict.fromkeys(str(len(own)) for _, own in moving))
        notes.append(f"interpolated between {counts} checkpoints")
    return notes


def still_size(panels: int) -> tuple[int, int]:
    """Return the width and height in pixels of a still of this many panels."""
    return (1600, 1200) if panels == 1 else (1050 * panels + 160, 960)
