"""A three-dimensional scene: surfaces as reliefs with the paths on them, drawn by VTK, labelled by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Colormap, to_hex, to_rgb, to_rgba
from matplotlib.lines import Line2D

from landscape.render import actors, layout, overlay
from landscape.render import style as styles
from landscape.render.camera import Camera, best_view, outermost, parse_view
from landscape.render.figure import StyledFigure
from landscape.render.frame import STEEP, Marks, axes_of, frame_lines, marks_of, thinned
from landscape.render.label import metric_label
from landscape.render.margin import wrap
from landscape.render.mesh import refinement, relief_mesh
from landscape.render.offscreen import picture
from landscape.render.relief import PathHeight, check_plane
from landscape.render.scale import Scale
from landscape.render.stage import (
    GAP,
    Paths,
    Stage,
    StagedPath,
    notes_of,
    path_colours,
    paths_of,
    shared_scale,
    stages_of,
)
from landscape.render.vtk import vtkActor, vtkRenderer
from landscape.surface.surface import Surface


def render_scene(
    surfaces: Surface | Sequence[Surface],
    trajectories: Paths = (),
    *,
    metric: str | None = None,
    scale: str | Scale = "auto",
    clip: float | None = None,
    size: tuple[int, int] | None = None,
    style: str | styles.Size = "page",
    view: str | tuple[float, float] | None = None,
    cmap: str | None = None,
    levels: int = 14,
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    path_height: PathHeight = "surface",
    background: str = "white",
    transparent: bool = False,
    supersampling: float | None = None,
) -> StyledFigure:
    """Draw surfaces side by side as reliefs on one shared scale, seen from one side.

    The ground is square whatever the axes' ranges; the height is the value on the scale, between the measured points
    bilinear. Cells with a corner that is pending, failed, not finite or off the scale are holes.

    Args:
        surfaces: of two axes.
        trajectories: paths for every surface, or one sequence of paths for each. Cut where grid or surface end.
        metric: what is drawn, the first loss by default.
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a scale.
        clip: value above which the surface is cut off, which the figure says.
        size: width and height in pixels; 1600 by 1200, and for several surfaces wider.
        style: named size of ``style`` that sets the figure's width in inches and its texts; pixels per inch follow.
        view: azimuth and elevation in degrees, as text or numbers, or a name in ``camera.VIEWS``.
        cmap: purpose or name of a colour map, by default that of the metric.
        levels: about how many contour lines.
        axis_labels: texts of the two axes.
        path_height: ``surface`` lays the paths on the surface, ``loss`` at the checkpoints' own loss.
        background: colour behind the scene.
        transparent: nothing behind the scene.
        supersampling: samples to a pixel along each axis, by default three, fewer above 1.3 megapixels.

    Returns:
        A figure of exactly ``size`` pixels at its own ``dpi``: save a picture with ``save(figure, path, figure.dpi)``.

    Raises:
        ValueError: a surface of one or three axes, nothing to draw, or an argument out of range.
        MissingLibraryError: there is no library to draw with.
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
    colours = path_colours(layout.ink(background) == layout.LIGHT_INK)
    stages = stages_of(surfaces, groups, metric, scale, path_height, colours)
    colour_map = styles.colour_map(cmap or styles.purpose_of(metric))
    lines = scale.levels(levels)
    notes = notes_of(stages, metric, scale, path_height)
    size = size or _default_size(len(stages))
    figure = layout.new_figure(size, style, background)
    with figure.style():
        end = actors.end_colour(colour_map, _end_fractions(stages, scale))
        handles = _handles(stages, end)
        said = wrap(notes, 0.97 * figure.get_figwidth())
        plan = layout.arrange(
            size,
            overlay.em(figure),
            len(stages),
            legend=overlay.legend_rows(figure, handles),
            titles=any(surface.name for surface in surfaces),
            note=said.count("\n") + 1 if said else 0,
        )
        room = (plan.panel_size[0] / plan.em, plan.panel_size[1] / plan.em)
        marks = marks_of(scale, (*axis_labels, metric_label(metric)), room)
        camera = _camera(stages, view, scale, plan, marks)
        marks = thinned(marks, scale, stages[0], camera, plan.panel_size, plan.em)
        image = np.empty((size[1], size[0], 4), np.uint8)
        image[:] = np.round(255 * np.array((1, 1, 1, 0) if transparent else to_rgba(background)))

        def draw(stage: Stage) -> np.ndarray:
            """VTK's part: nothing of it is left when the picture is made."""
            renderer = vtkRenderer()
            renderer.SetBackground(to_rgba(background)[:3])
            renderer.SetBackgroundAlpha(0.0 if transparent else 1.0)
            _build(renderer, stage, camera, scale, colour_map, lines, marks, end, _floor_colour(background))
            return picture(renderer, plan.panel_size, supersampling, occlusion=camera.elevation < STEEP)

        for stage, place in zip(stages, plan.panels, strict=True):
            rows = slice(size[1] - place.bottom - place.height, size[1] - place.bottom)
            image[rows, place.left : place.left + place.width] = draw(stage)
        if transparent:
            figure.patch.set_facecolor("none")
        ax = overlay.canvas(figure)
        ax.imshow(image, extent=(0, size[0], 0, size[1]), interpolation="none", aspect="auto", zorder=0)
        for stage, place in zip(stages, plan.panels, strict=True):
            for axis in axes_of(stage, camera, scale, marks):
                overlay.draw_axis(ax, axis, camera, place)
            if plan.title is not None:
                overlay.draw_title(ax, stage.surface.name, place.left + place.width / 2, plan.title)
        overlay.draw_colour_bar(figure, plan.bar, scale, colour_map, marks, lines)
        if plan.legend is not None:
            overlay.draw_legend(figure, handles, plan.legend)
        if plan.note is not None:
            overlay.draw_note(ax, said, *plan.note)
    return figure


def _floor_colour(background: str) -> str:
    """A shade off the background, towards that of the texts."""
    ground, ink = np.array(to_rgb(background)), np.array(to_rgb(layout.ink(background)))
    return to_hex(ground + 0.045 * (ink - ground))


def _default_size(panels: int) -> tuple[int, int]:
    return (1600, 1200) if panels == 1 else (1050 * panels + 160, 960)


def _camera(
    stages: Sequence[Stage],
    view: str | tuple[float, float] | None,
    scale: Scale,
    plan: layout.Layout,
    marks: Marks,
) -> Camera:
    """One camera for all panels, from the chosen side or the best one, that just holds every scene."""
    paths = [[stage.positions(piece, 0.0) for path in stage.paths for piece in path.pieces] for stage in stages]
    boxes = [stage.box for stage in stages]
    azimuth, elevation = best_view([stage.relief for stage in stages], boxes, parse_view(view), paths)
    # From straight above perspective would let high ground cover the axes: nearly parallel rays do not.
    camera = Camera(azimuth, elevation) if elevation < STEEP else Camera(azimuth, elevation, distance=100.0, angle=0.5)
    points, around = [], []
    for stage in stages:
        heights = np.where(stage.relief.heights <= stage.relief.cut, stage.relief.heights, np.nan)
        ground = stage.box.place(stage.relief.x[None, :], stage.relief.y[:, None], heights).reshape(-1, 3)
        points.append(outermost(ground[np.isfinite(ground[:, 2])]))
        around.append(np.full((len(points[-1]), 2), 0.8))
        for axis in axes_of(stage, camera, scale, marks):
            points.append(np.vstack([axis.ends, axis.ends.mean(0)]))
            # Room for ticks and their texts at the ends, and the axis' name in the middle.
            rows = axis.title.split("\n")
            long, deep = 0.45 * max(map(len, rows)), 1.1 * len(rows)
            title = (0.4 * long + 0.5 * deep + 1.0, 0.25 * long + deep + 1.3)
            around.append([(3.9 + deep, 0.8)] * 3 if axis.upright else [(2.2, 1.9), (2.2, 1.9), title])
        points += frame_lines(stage, camera, scale, marks)
        around += [np.full((len(line), 2), 0.4) for line in points[len(around) :]]
    return camera.fitted(np.concatenate(points), plan.em * np.concatenate(around), plan.panel_size)


def _build(
    renderer: vtkRenderer,
    stage: Stage,
    camera: Camera,
    scale: Scale,
    colours: Colormap,
    lines: np.ndarray,
    marks: Marks,
    end: str,
    floor: str,
) -> None:
    """Fill ``renderer`` with everything of a panel that is not text."""
    low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
    # A line at the very edge would fight with the rim for the same pixels.
    slack = 2e-3 * (high - low)
    fine, bold = (h[(h > low + slack) & (h < high - slack)] for h in map(scale.transform, (lines, marks.heights)))
    table = actors.lookup_table(colours, low, high)
    mesh = actors.clipped(relief_mesh(stage.relief, stage.box, refine=refinement(stage.relief)), stage.relief.cut)
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    parts = [
        actors.relief_actor(mesh, table),
        actors.rim_actor(mesh),
        *actors.contour_actors(mesh, fine, bold),
        actors.plate_actor(np.column_stack([square, np.full(4, -GAP - 0.002)]), floor),
        *actors.floor_actors(mesh, -GAP, np.union1d(fine, bold), table),
        actors.line_actor(frame_lines(stage, camera, scale, marks)),
    ]
    for path in stage.paths:
        parts += _path_parts(stage, path, end)
    for part in parts:
        renderer.AddActor(part)
    actors.add_lights(renderer, camera)
    view = renderer.GetActiveCamera()
    view.SetPosition(*camera.position)
    view.SetFocalPoint(*camera.focal)
    view.SetViewUp(*camera.axes[1])
    view.SetViewAngle(camera.angle)
    renderer.ResetCameraClippingRange()


def _path_parts(stage: Stage, path: StagedPath, end: str) -> list[vtkActor]:
    """A path on its relief, and flat on the floor."""
    pieces = [stage.positions(piece, actors.TUBE) for piece in path.pieces]
    checkpoints = [p[piece.t == np.round(piece.t)] for p, piece in zip(pieces, path.pieces, strict=True)]
    marks = []
    for number, colour in ((0, actors.START_COLOUR), (len(path.trajectory) - 1, end)):
        for piece in path.pieces:
            if number in piece.t:
                marks.append((stage.positions(piece, 0.6 * actors.END)[piece.t == number][0], colour))
    shadow = [np.column_stack([piece[:, :2], np.full(len(piece), -GAP)]) for piece in pieces if len(piece) > 1]
    parts = actors.path_actors(pieces, np.concatenate([*checkpoints, np.empty((0, 3))]), marks, path.colour)
    return [*parts, actors.line_actor(shadow, 2.4, path.colour)] if shadow else parts


def _end_fractions(stages: Sequence[Stage], scale: Scale) -> list[float]:
    """Where on the colour map the paths end."""
    low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
    ends = [path.pieces[-1].points[-1, 2] for stage in stages for path in stage.paths if path.pieces]
    return [float(np.clip((h - low) / (high - low), 0, 1)) for h in ends]


def _handles(stages: Sequence[Stage], end: str) -> list[Line2D]:
    """Legend handles for the paths of all panels, each once, and for start and end."""
    paths = dict.fromkeys((path.trajectory.name, path.colour) for stage in stages for path in stage.paths)
    return overlay.legend_handles(list(paths), [("start", actors.START_COLOUR), ("end", end)]) if paths else []
