"""Three-dimensional scenes: surfaces with paths on them, drawn by VTK and annotated by matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from landscape.render.figure import StyledFigure
from landscape.render.scenes import overlay
from landscape.render.scenes.actors import rim_colour
from landscape.render.scenes.axes import AxisTicks, visible_axes
from landscape.render.scenes.camera import TOP_VIEW, Camera
from landscape.render.scenes.composition import Composition, compose
from landscape.render.scenes.framing import fit_camera
from landscape.render.scenes.legend import draw_legend
from landscape.render.scenes.offscreen import render_once
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import ScenePanel, Trajectories, trajectories_per_panel
from landscape.render.scenes.volume import MINIMUM_COLOUR, VolumePanel, compose_volumes
from landscape.render.scenes.vtk_rendering import vtkActor
from landscape.render.scenes.vtk_volume import new_scene
from landscape.surface.surface import Surface

_GROUND_SAMPLES = 161
"""Sample points along each axis of a surface: dense enough to find every label that overlaps it."""


def render_scene(
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: SceneOptions | None = None,
    *,
    decorate: Callable[[ScenePanel], Sequence[vtkActor]] | None = None,
) -> StyledFigure:
    """Draw surfaces side by side in three dimensions, on one scale and from one side.

    The base is square whatever the ranges of the axes. The height is the value on the scale, with bilinear
    interpolation between measured points. Cells with a corner that is pending, failed, not finite or not on the scale
    are holes.

    Args:
        surfaces: one or several surfaces of two axes; or of three, which are drawn as nested isosurfaces.
        trajectories: trajectories for every surface, or one sequence of trajectories per surface, with a coordinate for
            each axis. Paths are cut where the grid or the surface ends.
        options: options of the scene.
        decorate: function that returns further actors of a panel.

    Returns:
        A figure of exactly the given size at its own ``dpi``; save an image with
        ``save(figure, path, figure.dpi)``.

    Raises:
        ValueError: a surface of one or three axes, nothing to draw, or an option out of range.
        MissingLibraryError: VTK finds no OpenGL library.
    """
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    drawn = trajectories_per_panel(trajectories, len(several)) if several else []
    volumes = bool(several) and all(surface.is_volume for surface in several)
    composition = (
        compose_volumes(several, options, trajectories=drawn) if volumes else compose(several, trajectories, options)
    )
    figure, layout = composition.figure, composition.layout
    camera, ticks = fit_camera(composition)

    def draw(panel: ScenePanel) -> np.ndarray:
        """Draw a panel with VTK; no VTK object outlives the call."""
        scene = new_scene(composition, panel, ticks, camera)
        scene.show_paths()
        for actor in decorate(panel) if decorate is not None else ():
            scene.renderer.AddActor(actor)
        scene.renderer.ResetCameraClippingRange()
        return render_once(
            scene.renderer,
            layout.panel_size,
            composition.options.supersampling,
            occlusion=supports_occlusion(camera) and composition.options.light != "flat",
            translucent=volumes,
        )

    with figure.style():
        ax = overlay.canvas(figure)
        overlay.draw_pixels(ax, join_panels(composition, [draw(panel) for panel in composition.panels]))
        draw_axes(ax, composition, camera, ticks)
        draw_annotations(ax, composition, ticks)
    return figure


def supports_occlusion(camera: Camera) -> bool:
    """Return True if ambient occlusion is possible: from above the camera is too far away for it."""
    return camera.elevation < TOP_VIEW


def join_panels(composition: Composition, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return one image ``(height, width, 4)`` uint8 of the figure's size from the images of the panels."""
    width, height = composition.layout.size
    joined = np.empty((height, width, 4), np.uint8)
    background = (1, 1, 1, 0) if composition.options.transparent else to_rgba(composition.options.background)
    joined[:] = np.round(255 * np.array(background))
    for image, place in zip(images, composition.layout.panels, strict=True):
        rows = slice(height - place.bottom - place.height, height - place.bottom)
        joined[rows, place.left : place.left + place.width] = image
    return joined


def draw_axes(
    ax: Axes, composition: Composition, camera: Camera, ticks: AxisTicks, opacities: Sequence[float] = ()
) -> list[Artist]:
    """Draw the axes of all panels.

    Args:
        ax: axes over the whole figure.
        composition: scene to draw on.
        camera: camera of all panels.
        ticks: ticks of the axes.
        opacities: opacities of the x, y and vertical axes of a turning scene. If they are given, labels may overlap
            the surface, because they would jump otherwise.
    """
    artists: list[Artist] = []
    if not composition.options.axes:
        return artists
    for number, (panel, place) in enumerate(zip(composition.panels, composition.layout.panels, strict=True)):
        # All panels have the same axes: titles on the first are enough, and leave more room for surfaces.
        shown = ticks if number == 0 else replace(ticks, titles=("", "", ""))
        ground = None
        if not opacities:
            pixels = camera.project(panel.ground(_GROUND_SAMPLES), composition.layout.panel_size)
            ground = pixels + np.array((place.left, place.bottom))
        axes = visible_axes(panel, camera, composition.scale, shown)
        drawn: list[Artist] = []
        for axis, opacity in zip(axes, opacities or (1.0, 1.0, 1.0), strict=False):
            drawn += overlay.draw_axis(ax, axis, camera, place, ground, opacity, drawn if axis.vertical else ())
        artists += drawn
        if isinstance(panel, VolumePanel):  # inside of isosurfaces, which would hide it
            at = camera.project(panel.lowest[None], composition.layout.panel_size)[0] + (place.left, place.bottom)
            artists.append(overlay.draw_point(ax, at, MINIMUM_COLOUR))
    return artists


def draw_annotations(ax: Axes, composition: Composition, ticks: AxisTicks) -> None:
    """Draw everything that does not depend on the camera: titles, colour bar, legend and note."""
    figure, layout = composition.figure, composition.layout
    if layout.titles:
        for title, start in zip(composition.titles, layout.titles, strict=True):
            overlay.draw_title(ax, title, *start)
    for names, place in zip(composition.names, layout.panels, strict=False):
        for name in names:
            at = (place.left + name.at[0], place.bottom + name.at[1])
            overlay.draw_name(ax, name.text, at, name.colour, rim_colour(name.colour))
    if layout.bar is not None:
        overlay.draw_colour_bar(
            figure,
            layout.bar,
            composition.bar_scale or composition.scale,
            composition.colour_map,
            composition.bar_ticks or ticks,
            composition.contours,
        )
    if layout.legend is not None:
        draw_legend(figure, composition.legend_handles, *layout.legend, layout.legend_width)
    if layout.note is not None:
        overlay.draw_note(ax, composition.note, *layout.note)
