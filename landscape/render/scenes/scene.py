"""A three-dimensional scene: surfaces as reliefs with the paths on them, drawn by VTK, labelled by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.height_field import PathHeight
from landscape.render.scale import Scale
from landscape.render.scenes import overlay
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import Composition, compose
from landscape.render.scenes.frame import STEEP, Marks, axes_of
from landscape.render.scenes.framing import camera_of
from landscape.render.scenes.layout import Asked
from landscape.render.scenes.offscreen import picture
from landscape.render.scenes.panel import Paths, ScenePanel
from landscape.render.scenes.vtk_scene import VTKScene
from landscape.surface.surface import Surface

_GROUND = 161


def render_scene(
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
        size: width and height in pixels, ``"1600x1200"``, on paper (``"5.5x4in"``, ``"14x10cm"``) or the name of a
            size in ``style``; 1600 by 1200 pixels, and for several surfaces wider.
        dpi: dots per inch: pixels are inches x dpi. By default 300 for a size on paper; pixels alone are as wide as
            the style says.
        style: named size of ``style`` that sets the texts and, where nothing else does, the width in inches; ``page``.
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
    composition = compose(
        surfaces, trajectories, metric=metric, scale=scale, clip=clip, size=size, dpi=dpi, style=style, view=view,
        cmap=cmap, levels=levels, axis_labels=axis_labels, path_height=path_height, background=background,
        transparent=transparent, supersampling=supersampling,
    )  # fmt: skip
    figure, plan = composition.figure, composition.plan
    camera, marks = camera_of(composition)

    def draw(stage: ScenePanel) -> np.ndarray:
        """VTK's part: nothing of it is left when the picture is made."""
        built = VTKScene(composition, stage, marks, camera)
        built.show_paths()
        return picture(built.renderer, plan.panel_size, supersampling, occlusion=occluded(camera))

    with figure.style():
        ax = overlay.canvas(figure)
        overlay.draw_pixels(ax, assembled(composition, [draw(stage) for stage in composition.stages]))
        draw_axes(ax, composition, camera, marks)
        draw_around(ax, composition, marks)
    return figure


def occluded(camera: Camera) -> bool:
    """Whether ambient occlusion can be had: from above the camera is too far away for it."""
    return camera.elevation < STEEP


def assembled(composition: Composition, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The pictures of the panels in one, of the figure's size, ``(height, width, 4)`` uint8."""
    width, height = composition.plan.size
    image = np.empty((height, width, 4), np.uint8)
    nothing = (1, 1, 1, 0) if composition.transparent else to_rgba(composition.background)
    image[:] = np.round(255 * np.array(nothing))
    for panel, place in zip(pictures, composition.plan.panels, strict=True):
        rows = slice(height - place.bottom - place.height, height - place.bottom)
        image[rows, place.left : place.left + place.width] = panel
    return image


def draw_axes(
    ax: Axes, composition: Composition, camera: Camera, marks: Marks, alphas: Sequence[float] = ()
) -> list[Artist]:
    """The axes of all panels; ``alphas`` (x, y, upright) fade them, and then they mind no ground."""
    drawn = []
    for stage, place in zip(composition.stages, composition.plan.panels, strict=True):
        ground = None if alphas else _ground(stage, camera, composition.plan.panel_size, (place.left, place.bottom))
        axes = axes_of(stage, camera, composition.scale, marks)
        for axis, alpha in zip(axes, alphas or (1.0, 1.0, 1.0), strict=False):
            drawn += overlay.draw_axis(ax, axis, camera, place, ground, alpha)
    return drawn


def draw_around(ax: Axes, composition: Composition, marks: Marks) -> None:
    """What does not depend on the camera: titles, colour bar, legend and note."""
    figure, plan = composition.figure, composition.plan
    if plan.title is not None:
        for stage, place in zip(composition.stages, plan.panels, strict=True):
            overlay.draw_title(ax, stage.surface.name, place.left + place.width / 2, plan.title)
    overlay.draw_colour_bar(figure, plan.bar, composition.scale, composition.colours, marks, composition.lines)
    if plan.legend is not None:
        overlay.draw_legend(figure, composition.handles, plan.legend)
    if plan.note is not None:
        overlay.draw_note(ax, composition.note, *plan.note)


def _ground(stage: ScenePanel, camera: Camera, size: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """Pixels ``(m, 2)`` of the figure that the relief covers, close enough to find each text that lies on it."""
    x, y = (np.linspace(axis[0], axis[-1], _GROUND) for axis in (stage.relief.x, stage.relief.y))
    ground = stage.box.place(x[None, :], y[:, None], stage.relief.at(x[None, :], y[:, None])).reshape(-1, 3)
    return camera.project(ground[np.isfinite(ground[:, 2])], size) + np.array(corner)
