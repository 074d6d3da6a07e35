"""Composition of a scene: panels, scale, colours and figure layout, shared by stills and animations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np
from matplotlib.colors import Colormap, is_color_like
from matplotlib.lines import Line2D

from landscape._utils.typed import chosen
from landscape.render import style as styles
from landscape.render.figure import StyledFigure, wrap_notes
from landscape.render.height_field import require_plane
from landscape.render.labels import short_axis_labels
from landscape.render.scale import Scale
from landscape.render.scenes import overlay
from landscape.render.scenes.axes import AxisTicks, make_ticks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.hud import HUD, PathReadout, Readout, ThroughReadout, make_hud
from landscape.render.scenes.layout import LIGHT_INK, Layout, arrange, ink, new_figure
from landscape.render.scenes.legend import legend_handles, legend_size
from landscape.render.scenes.options import FigureSize, SceneOptions, resolve_figure_size
from landscape.render.scenes.panel import (
    HEIGHT,
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
from landscape.render.scenes.still_frame import StillText
from landscape.render.scenes.stills import choose_view, fit_still, panel_titles
from landscape.render.through import drawable_steps, paths_from, through_note
from landscape.render.ticks import metric_label
from landscape.surface.surface import Surface

_TEXT = (6.0, 4.0)
"""Width and height of the text around a scene, in font sizes."""
_HEIGHTS = (0.3, 0.75)
"""Lowest and highest surface over a base of 1 by 1: below, a relief is flat; above, its walls hide its floor."""


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
        titles: titles of the panels.
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

    @property
    def has_paths(self) -> bool:
        """True if any panel has a path."""
        return any(panel.paths for panel in self.panels)


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
        still: arrange the text around the scene as it is seen from one side; otherwise, and if ``animated``, above it.
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
    if not is_color_like(options.background):
        raise ValueError(
            f"background: expected a matplotlib colour like 'white' or '#203040', got {options.background!r}"
        )
    metric, path_height = options.metric or surfaces[0].metrics[0], options.path_height
    groups = trajectories_per_panel(trajectories, len(surfaces))
    on_scale = [path for group in groups for path in group] if path_height == "loss" else []
    scale = shared_scale(list(chain(*moments)), metric, options.scale, options.clip, on_scale)
    dark = ink(options.background) == LIGHT_INK
    moved = [
        [paths_from(surface, step, group) for step in own] or [group]
        for surface, own, group in zip(surfaces, steps, groups, strict=True)
    ]
    every = make_panels(list(chain(*moments)), list(chain(*moved)), metric, scale, options, path_colours(dark))
    parts_of = iter(every)
    keyframes = [list(islice(parts_of, len(several))) for several in moments]
    panels = [several[-1] for several in keyframes]
    colour_map = styles.colour_map(options.colour_map or styles.colour_map_name(metric))
    size = resolve_figure_size(
        options.size, options.dpi, options.style, default_size or still_size(len(panels)), panels=len(panels)
    )
    size = replace(size, style=styles.size_for_panels(size.style, len(panels)))
    if len(panels) > 1 and options.size is None and options.dpi is None:
        size = replace(size, grows=True)
    figure = new_figure(size, options.background)
    with figure.style():
        full = legend_handles(panels) if options.axes else []
        marks = full[-2:]
        # The head-up display of an animation names the paths, too.
        handles = marks if animated and not any(steps) else full
        (x_label, y_label), about_axes = short_axis_labels([several[-1] for several in moments])
        if options.axis_labels:
            (x_label, y_label), about_axes = options.axis_labels, ""
        notes = [*filter(None, [about_axes]), *scene_notes(every, metric, scale, options)] if options.axes else []
        if options.axes:
            notes += _through_notes(surfaces, steps, interpolate)
        ticks_for = partial(make_ticks, scale, (x_label, y_label, metric_label(metric)))
        text = StillText(
            panel_titles(surfaces, options), handles, notes, metric_label(metric) if options.axes else None
        )
        huds: list[HUD] = []
        if still and not animated:
            fitted = fit_still(figure, size, text, marks, panels, options, scale, ticks_for)
            panels, view, camera, layout = list(fitted.panels), fitted.view, fitted.camera, fitted.layout
            titles, note, ticks, names, handles = (
                fitted.titles, fitted.note, fitted.ticks, fitted.names, list(fitted.handles),
            )  # fmt: skip
            keyframes = [[panel] for panel in panels]
        else:
            camera, names = None, ()
            note = wrap_notes(notes, 0.97 * figure.get_figwidth())
            size = _grown(size, figure, handles, note)
            parts: Callable[..., Layout] = partial(
                arrange, size.pixels, overlay.em(figure), len(panels), note=note.count("\n") + 1 if note else 0,
                legend=legend_size(figure, handles, size.pixels[0]), bar=options.axes,
            )  # fmt: skip
            titles, parts = fit_titles(figure, text.titles, parts)
            layout = parts()
            if animated and (any(steps) or any(panel.paths for panel in panels)):
                readouts: list[Readout] = [
                    ThroughReadout(surface, metric, own) if own else PathReadout(panel, metric, scale)
                    for surface, own, panel in zip(surfaces, steps, panels, strict=True)
                ]
                huds = [make_hud(readout, figure, layout.panel_size[0]) for readout in readouts]
                layout = parts(hud=max(hud.rows for hud in huds))
            view = choose_view(every, options)
            if options.height is None:
                # The height depends on the view, and what is hidden on the height.
                for _ in range(2):
                    every = [panel.raised(filling_height(layout, view, options.axes)) for panel in every]
                    view = choose_view(every, options)
                parts_of = iter(every)
                keyframes = [list(islice(parts_of, len(several))) for several in moments]
                panels = [several[-1] for several in keyframes]
            ticks = ticks_for(layout.panel_size[0] / layout.em)
    reliefs = [
        Relief(surface, own, several, group, scale, interpolate) if own else None
        for surface, own, several, group in zip(surfaces, steps, keyframes, groups, strict=True)
    ]
    if options.transparent:
        figure.patch.set_facecolor("none")
    return Composition(
        options, figure, layout, panels, view, scale, colour_map, scale.levels(options.levels), ticks,
        handles, note, titles, huds, reliefs, camera=camera, names=names,
    )  # fmt: skip


def filling_height(layout: Layout, view: tuple[float, float], axes: bool) -> float:
    """Return the height of a surface, over a base of 1 by 1, at which a scene has the proportions of its panel."""
    azimuth, elevation = np.radians(view)
    if np.cos(elevation) < 0.05:
        return HEIGHT
    across = float(abs(np.cos(azimuth)) + abs(np.sin(azimuth)))
    beside, above = _TEXT if axes else (1.6, 1.6)
    (width, height), em = layout.panel_size, layout.em
    tall = across * max(height / em - above, 1.0) / max(width / em - beside, 1.0)
    filling = (tall - across * float(np.sin(elevation))) / float(np.cos(elevation))
    return float(np.clip(filling, *_HEIGHTS))


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


def _grown(size: FigureSize, figure: StyledFigure, handles: Sequence[Line2D], note: str) -> FigureSize:
    """Return the size of a figure of which only the width is given, with its height increased for legend and note."""
    if not size.grows:
        return size
    rows = 1.5 * legend_size(figure, handles, size.pixels[0])[1] + 1.2 * note.count("\n")
    size = replace(size, pixels=(size.pixels[0], size.pixels[1] + round(rows * overlay.em(figure))))
    figure.set_figheight((size.pixels[1] + 1e-3) / size.dpi)
    return size


def fit_titles(
    figure: StyledFigure, titles: Sequence[str], parts: Callable[..., Layout]
) -> tuple[list[str], Callable[..., Layout]]:
    """Return titles, wrapped into their corners, and ``parts``, which arranges a figure, with their size."""
    room = parts(titles=(0.0, 1 if any(titles) else 0)).title_width
    titles = [overlay.wrapped_title(figure, title, room) for title in titles]
    rows = max(title.count("\n") + 1 for title in titles) if any(titles) else 0
    return titles, partial(parts, titles=(max(overlay.title_width(figure, title) for title in titles), rows))
