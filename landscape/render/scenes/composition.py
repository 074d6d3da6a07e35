"""What all pictures of a scene share: the stages, their scale and colours, and the layout of the figure around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.lines import Line2D

from landscape.render import style as styles
from landscape.render.figure import StyledFigure, wrap_notes
from landscape.render.height_field import PathHeight, check_plane
from landscape.render.scale import Scale
from landscape.render.scenes import actors, layout, overlay
from landscape.render.scenes.camera import best_view, parse_view
from landscape.render.scenes.frame import Marks, marks_of
from landscape.render.scenes.hud import HUD, hud_of
from landscape.render.scenes.layout import Asked, figure_size_of
from landscape.render.scenes.panel import Paths, ScenePanel, notes_of, panels_of, path_colours, paths_of, shared_scale
from landscape.render.ticks import metric_label
from landscape.surface.surface import Surface


@dataclass(frozen=True)
class Composition:
    """A scene before a side to see it from is taken.

    Attributes:
        figure: without anything on it yet, of the scene's size.
        plan: where its parts go.
        stages: one for each surface.
        view: azimuth and elevation in degrees.
        scale: of all surfaces.
        colours: over the scale.
        lines: values of the contour lines.
        marks: all ticks there could be.
        end: colour of the spheres where paths end.
        handles: of the legend.
        note: what is said of what is not drawn, in lines.
        readouts: one for each stage of a film with paths, else none.
        background: colour behind the scene.
        transparent: nothing behind the scene.
        supersampling: samples to a pixel, None for the habit.
    """

    figure: StyledFigure
    plan: layout.Layout
    stages: Sequence[ScenePanel]
    view: tuple[float, float]
    scale: Scale
    colours: Colormap
    lines: np.ndarray
    marks: Marks
    end: str
    handles: Sequence[Line2D]
    note: str
    readouts: Sequence[HUD]
    background: str
    transparent: bool
    supersampling: float | None


def compose(
    surfaces: Surface | Sequence[Surface],
    trajectories: Paths = (),
    *,
    metric: str | None = None,
    scale: str | Scale = "auto",
    clip: float | None = None,
    size: Asked = None,
    dpi: float | None = None,
    style: str | styles.Size | None = None,
    view: str | tuple[float, float] | None = None,
    cmap: str | None = None,
    levels: int = 14,
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    path_height: PathHeight = "surface",
    background: str = "white",
    transparent: bool = False,
    supersampling: float | None = None,
    film: bool = False,
    default_size: tuple[int, int] | None = None,
) -> Composition:
    """Arrange a scene; the arguments are those of ``render_scene``, and two more.

    For a ``film`` of the paths there is room for what it says of the step it shows; ``default_size`` is in pixels.

    Raises:
        ValueError: a surface of one or three axes, nothing to draw, or an argument out of range.
    """
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    if not surfaces:
        raise ValueError("no surface to draw")
    for surface in surfaces:
        check_plane(surface)
    metric = metric or surfaces[0].metrics[0]
    groups = paths_of(trajectories, len(surfaces))
    own = [path for group in groups for path in group] if path_height == "loss" else []
    scale = shared_scale(surfaces, metric, scale, clip, own)
    stages = panels_of(
        surfaces, groups, metric, scale, path_height, path_colours(layout.ink(background) == layout.LIGHT_INK)
    )
    colours = styles.colour_map(cmap or styles.colour_map_name(metric))
    paper = figure_size_of(size, dpi, style, default_size or _default_size(len(stages)))
    paths = [[stage.positions(piece.points, 0.0) for path in stage.paths for piece in path.pieces] for stage in stages]
    seen = best_view([stage.relief for stage in stages], [stage.box for stage in stages], parse_view(view), paths)
    figure = layout.new_figure(paper, background)
    with figure.style():
        end = actors.end_colour(colours, _end_fractions(stages, scale))
        handles = _handles(stages, end)
        said = wrap_notes(notes_of(stages, metric, scale, path_height), 0.97 * figure.get_figwidth())
        parts = {
            "legend": overlay.legend_rows(figure, handles),
            "titles": any(surface.name for surface in surfaces),
            "note": said.count("\n") + 1 if said else 0,
        }
        em = overlay.em(figure)
        plan = layout.arrange(paper.pixels, em, len(stages), **parts)
        readouts = []
        if film and own_paths(stages):
            readouts = [hud_of(stage, metric, scale, figure, plan.panel_size[0]) for stage in stages]
            rows = max(readout.rows for readout in readouts)
            plan = layout.arrange(paper.pixels, em, len(stages), **parts, readout=rows)
        room = (plan.panel_size[0] / plan.em, plan.panel_size[1] / plan.em)
        marks = marks_of(scale, (*axis_labels, metric_label(metric)), room)
    if transparent:
        figure.patch.set_facecolor("none")
    return Composition(
        figure, plan, stages, seen, scale, colours, scale.levels(levels), marks, end, handles, said, readouts,
        background, transparent, supersampling,
    )  # fmt: skip


def own_paths(stages: Sequence[ScenePanel]) -> bool:
    """Whether there is a path on any stage."""
    return any(stage.paths for stage in stages)


def _default_size(panels: int) -> tuple[int, int]:
    return (1600, 1200) if panels == 1 else (1050 * panels + 160, 960)


def _end_fractions(stages: Sequence[ScenePanel], scale: Scale) -> list[float]:
    """Where on the colour map the paths end."""
    low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
    ends = [path.pieces[-1].points[-1, 2] for stage in stages for path in stage.paths if path.pieces]
    return [float(np.clip((h - low) / (high - low), 0, 1)) for h in ends]


def _handles(stages: Sequence[ScenePanel], end: str) -> list[Line2D]:
    """Legend handles for the paths of all panels, each once, and for start and end."""
    paths = dict.fromkeys((path.trajectory.name, path.colour) for stage in stages for path in stage.paths)
    return overlay.legend_handles(list(paths), [("start", actors.START_COLOUR), ("end", end)]) if paths else []
