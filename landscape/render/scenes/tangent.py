"""A surface in three dimensions with its tangent plane at a point, and the two cuts through the point."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from landscape.render.figure import StyledFigure
from landscape.render.scenes import actors
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import TUBE_RADIUS, ScenePanel
from landscape.render.scenes.scene import render_scene
from landscape.render.scenes.vtk_rendering import vtkActor
from landscape.surface.surface import Surface

_ELEVATION = 34.0
_REACH = 0.2
"""Half of the width of the plane, as a fraction of each axis."""
_OPACITY = 0.5
_CUT, _BORDER = 5.0, 2.6
"""Widths of the cuts and of the border of the plane, in units of the thinnest contour line."""


def render_tangent_plane(
    surface: Surface,
    at: tuple[float, float],
    value: float,
    gradient: tuple[float, float],
    *,
    colours: tuple[str, str, str],
    options: SceneOptions,
) -> StyledFigure:
    """Draw a surface with the tangent plane at a point, seen from the side to which the plane is tilted.

    Args:
        surface: values ``(ny, nx)``.
        at: the point.
        value: value of the function at the point.
        gradient: gradient of the function at the point.
        colours: colours of the plane, of the cut along x and of the cut along y.
        options: options of the scene; its scale must be linear, or the plane would be curved.

    Returns:
        The figure, as :func:`render_scene` does.

    Raises:
        MissingLibraryError: VTK finds no OpenGL library.
    """
    extents = [float(axis[-1] - axis[0]) for axis in surface.coordinates]
    tilt = [-slope * extent for slope, extent in zip(gradient, extents, strict=True)]
    azimuth = math.degrees(math.atan2(tilt[1], tilt[0])) if any(tilt) else -60.0

    def shapes(panel: ScenePanel) -> list[vtkActor]:
        reach = [_REACH * extent for extent in extents]
        square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * reach
        heights = value + square @ np.array(gradient)
        corners = panel.box.place(at[0] + square[:, 0], at[1] + square[:, 1], heights)
        plane = actors.plate_actor(corners, colours[0])
        plane.GetProperty().SetOpacity(_OPACITY)
        drawn = [plane, actors.line_actor([np.vstack([corners, corners[:1]])], _BORDER, colours[0])]
        for axis in (0, 1):
            along = np.linspace(surface.coordinates[axis][0], surface.coordinates[axis][-1], 400)
            points = np.full((len(along), 3), (*at, 0.0))
            points[:, axis] = along
            points[:, 2] = panel.field.interpolate(points[:, 0], points[:, 1])
            known = points[np.isfinite(points[:, 2])]
            drawn.append(actors.line_actor([panel.positions(known, 0.0)], _CUT, colours[1 + axis]))
        centre = panel.box.place(*(np.array([c]) for c in (*at, value)))[0]
        return [*drawn, actors.sphere_actor(centre, 2 * TUBE_RADIUS, colours[0])]

    view = options.view if options.view is not None else (azimuth, _ELEVATION)
    return render_scene(surface, (), replace(options, view=view), decorate=shapes)
