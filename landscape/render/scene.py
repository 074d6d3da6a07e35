"""A three-dimensional scene: surfaces as reliefs with the paths on them, drawn by VTK, labelled by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, to_rgba

from landscape.render import actors, layout, overlay
from landscape.render import style as styles
from landscape.render.camera import Camera, best_view, parse_view
from landscape.render.figure import StyledFigure
from landscape.render.label import metric_label
from landscape.render.mesh import refinement, relief_mesh
from landscape.render.offscreen import picture
from landscape.render.relief import PathHeight, check_plane
from landscape.render.scale import Scale
from landscape.render.stage import GAP, HEIGHT, Paths, Stage, note, paths_of, shared_scale, stages_of
from landscape.render.vtk import vtkRenderer
from landscape.surface.surface import Surface

_FLOOR_PLATE = "#f6f7f9"


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
        supersampling: samples to a pixel along each axis, by default two, fewer above five megapixels.

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
    stages = stages_of(surfaces, groups, metric, scale, path_height)
    colour_map = styles.colour_map(cmap or styles.purpose_of(metric))
    lines, marks = scale.levels(levels), scale.ticks()
    names = (*axis_labels, metric_label(metric))
    said = note(stages, metric, scale, path_height)
    figure = layout.new_figure(size or _default_size(len(stages)), style)
    with matplotlib.rc_context(figure.landscape_rc):
        plan = layout.arrange(
            size or _default_size(len(stages)),
            figure.dpi / 72 * matplotlib.rcParams["font.size"],
            len(stages),
            legend=any(stage.paths for stage in stages),
            titles=any(surface.name for surface in surfaces),
            note=bool(said),
        )
        camera = _camera(stages, view, scale, plan, names)
        image = np.empty((plan.size[1], plan.size[0], 4), np.uint8)
        image[:] = np.round(255 * np.array((1, 1, 1, 0) if transparent else to_rgba(background)))
        for stage, place in zip(stages, plan.panels, strict=True):
            renderer = vtkRenderer()
            _build(renderer, stage, camera, scale, colour_map, lines, marks)
            renderer.SetBackground(to_rgba(background)[:3])
            renderer.SetBackgroundAlpha(0.0 if transparent else 1.0)
            row = plan.size[1] - place.bottom - place.height
            image[row : row + place.height, place.left : place.left + place.width] = picture(
                renderer, (place.width, place.height), supersampling
            )
        figure.patch.set_facecolor("none" if transparent else background)
        ax = overlay.canvas(figure)
        ax.imshow(image, extent=(0, plan.size[0], 0, plan.size[1]), interpolation="none", aspect="auto", zorder=0)
        for stage, place in zip(stages, plan.panels, strict=True):
            for axis in _axes(stage, camera, scale, names):
                overlay.draw_axis(ax, axis, camera, place)
            if plan.title is not None:
                overlay.draw_title(ax, stage.surface.name, place.left + place.width / 2, plan.title)
        overlay.draw_colour_bar(figure, plan.bar, scale, colour_map, names[2], lines)
        if plan.legend is not None:
            overlay.draw_legend(
                figure, _legend(stages), (("start", actors.START_COLOUR), ("end", actors.END_COLOUR)), plan.legend
            )
        if plan.note is not None:
            overlay.draw_note(ax, said, *plan.note)
    return figure


def _default_size(panels: int) -> tuple[int, int]:
    return (1600, 1200) if panels == 1 else (1050 * panels + 160, 1000)


def _camera(
    stages: Sequence[Stage],
    view: str | tuple[float, float] | None,
    scale: Scale,
    plan: layout.Layout,
    names: tuple[str, str, str],
) -> Camera:
    """One camera for all panels, from the chosen side or the best one, that just holds every scene."""
    paths = [[stage.positions(piece, 0.0) for path in stage.paths for piece in path.pieces] for stage in stages]
    boxes = [stage.box for stage in stages]
    azimuth, elevation = best_view([stage.relief for stage in stages], boxes, parse_view(view), paths)
    camera = Camera(azimuth, elevation)
    points, around = [], []
    for stage in stages:
        heights = np.where(stage.relief.heights <= stage.relief.cut, stage.relief.heights, np.nan)
        ground = stage.box.place(stage.relief.x[None, :], stage.relief.y[:, None], heights).reshape(-1, 3)
        points.append(ground[np.isfinite(ground[:, 2])])
        around.append(np.full((len(points[-1]), 2), 0.8 * plan.em))
        for axis in _axes(stage, camera, scale, names):
            points.append(np.vstack([axis.ends, axis.ends.mean(0)]))
            # Ticks and their texts at the ends, the axis' name in the middle.
            around.append(plan.em * np.array([(2.2, 1.9), (2.2, 1.9), (2.8, 2.8)]))
            if axis.upright:
                around[-1][:] = plan.em * np.array([5.0, 0.8])
        walls = [(x, y, z) for x, y in _far_corners(camera) for z in (-GAP, HEIGHT)]
        points.append(np.array(walls))
        around.append(np.full((len(walls), 2), 0.4 * plan.em))
    size = (plan.panels[0].width, plan.panels[0].height)
    return camera.fitted(np.concatenate(points), np.concatenate(around), size)


def _build(
    renderer: vtkRenderer,
    stage: Stage,
    camera: Camera,
    scale: Scale,
    colours: Colormap,
    lines: np.ndarray,
    marks: np.ndarray,
) -> None:
    """Fill ``renderer`` with everything of a panel that is not text."""
    table = actors.lookup_table(colours, *map(float, scale.transform([scale.vmin, scale.vmax])))
    whole = relief_mesh(stage.relief, stage.box, refine=refinement(stage.relief))
    mesh = actors.clipped(whole, stage.relief.cut)
    heights, bold = scale.transform(lines), scale.transform(marks)
    # A line at the very edge would fight with the rim for the same pixels.
    slack = 2e-3 * float(scale.transform(scale.vmax) - scale.transform(scale.vmin))
    low, high = scale.transform([scale.vmin, scale.vmax])
    heights, bold = (h[(h > low + slack) & (h < high - slack)] for h in (heights, bold))
    parts = [actors.relief_actor(mesh, table), actors.rim_actor(mesh), *actors.contour_actors(mesh, heights, bold)]
    near_x, near_y = _near(camera)
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    parts.append(actors.plate_actor(np.column_stack([square, np.full(4, -GAP - 0.002)]), _FLOOR_PLATE))
    parts += actors.floor_actors(mesh, -GAP, np.union1d(heights, bold), table)
    levels = stage.box.factor[2] * (scale.transform(marks) - stage.box.origin[2])
    wall = [np.array([(-near_x, near_y, z), (-near_x, -near_y, z), (near_x, -near_y, z)]) for z in levels]
    wall += [np.array([(x, y, -GAP), (x, y, HEIGHT)]) for x, y in _far_corners(camera)]
    wall += [np.column_stack([np.vstack([square, square[:1]]), np.full(5, -GAP)])]
    parts.append(actors.line_actor(wall))
    for path in stage.paths:
        pieces = [stage.positions(piece, actors.TUBE) for piece in path.pieces]
        t = np.concatenate([piece.t for piece in path.pieces]) if pieces else np.empty(0)
        points = np.concatenate(pieces) if pieces else np.empty((0, 3))
        ends = [points[t == k][0] if (t == k).any() else None for k in (0, len(path.trajectory) - 1)]
        parts += actors.path_actors(pieces, points[t == np.round(t)], *ends, path.colour)
        shadow = [np.column_stack([piece[:, :2], np.full(len(piece), -GAP)]) for piece in pieces if len(piece) > 1]
        if shadow:
            parts.append(actors.line_actor(shadow, 2.6, path.colour))
    for part in parts:
        renderer.AddActor(part)
    actors.add_lights(renderer)
    view = renderer.GetActiveCamera()
    view.SetPosition(*camera.position)
    view.SetFocalPoint(*camera.focal)
    view.SetViewUp(*camera.axes[1])
    view.SetViewAngle(camera.angle)
    renderer.ResetCameraClippingRange()


def _near(camera: Camera) -> tuple[float, float]:
    """The corner of the base next to the camera."""
    x, y, _ = camera.axes[2]
    return (0.5 if x > 1e-9 else -0.5), (0.5 if y > 1e-9 else -0.5)


def _far_corners(camera: Camera) -> list[tuple[float, float]]:
    """The other corners, the farthest in the middle."""
    x, y = _near(camera)
    return [(-x, y), (-x, -y), (x, -y)]


def _axes(stage: Stage, camera: Camera, scale: Scale, names: tuple[str, str, str]) -> list[overlay.Axis]:
    """The axes along the two near edges of the floor, and the one up the corner at the left."""
    near_x, near_y = _near(camera)
    axes = []
    for k, coordinates in enumerate((stage.relief.x, stage.relief.y)):
        values, texts = overlay.axis_ticks(float(coordinates[0]), float(coordinates[-1]))
        where = stage.box.factor[k] * (values - stage.box.origin[k])
        other = near_y if k == 0 else near_x
        ends, ticks = np.full((2, 3), -GAP), np.full((len(where), 3), -GAP)
        ends[:, k], ends[:, 1 - k] = (-0.5, 0.5), other
        ticks[:, k], ticks[:, 1 - k] = where, other
        outward = np.zeros(3)
        outward[1 - k] = np.sign(other)
        axes.append(overlay.Axis(ends, outward, ticks, texts, names[k]))
    if camera.elevation < 80:
        right = camera.axes[0]
        corner = min(((-near_x, near_y), (near_x, -near_y)), key=lambda c: c[0] * right[0] + c[1] * right[1])
        marks = scale.ticks()
        heights = stage.box.factor[2] * (scale.transform(marks) - stage.box.origin[2])
        ends = np.array([(*corner, 0.0), (*corner, HEIGHT)])
        ticks = np.column_stack([np.tile(corner, (len(marks), 1)), heights])
        axes.append(overlay.Axis(ends, -right, ticks, scale.labels(marks), names[2], upright=True))
    return axes


def _legend(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """Names and colours of the paths, each once."""
    return list(dict.fromkeys((path.trajectory.name, path.colour) for stage in stages for path in stage.paths))
