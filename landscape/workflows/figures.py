"""Draw surfaces and the trajectories on them: curves and contours, three-dimensional scenes, and animations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape._utils.files import require_writable
from landscape._utils.typed import chosen
from landscape.errors import LandscapeError, StoreError
from landscape.render.labels import axis_labels, end_names, short_axis_labels
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.interpolation import plot_interpolation
from landscape.render.plots.options import ContourOptions
from landscape.render.plots.panels import plot_metrics, plot_panel
from landscape.render.plots.seeds import plot_seed_band
from landscape.render.saving import save
from landscape.render.style import DEFAULT_DPI
from landscape.workflows.inputs import SurfaceSource, TrajectorySource, load_scene, load_trajectories, open_surfaces
from landscape.workflows.multiples import draw_difference, draw_grid, panels_of
from landscape.workflows.plot_options import PlotOptions
from landscape.workflows.progress import ProgressOption, Steps, reporting
from landscape.workflows.through_figures import plot_through, through_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
    from landscape.render.scenes.options import Motion, SceneOptions
    from landscape.surface.surface import Surface


def plot(
    surfaces: SurfaceSource | Sequence[SurfaceSource],
    trajectories: TrajectorySource | Sequence[TrajectorySource] = (),
    ax: Axes | Sequence[Axes] | None = None,
    options: PlotOptions | None = None,
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
) -> Figure:
    """Draw surfaces of one axis as curves, and surfaces of two axes as contours on one shared scale.

    Surfaces that are still being computed can be drawn; missing points are shown as missing.

    Args:
        surfaces: one or several surfaces, or paths of surface files.
        trajectories: trajectories, or paths of trajectory files; with several surfaces one entry for each.
        ax: axes to draw on; several contours or metrics need as many. A new figure by default.
        options: appearance of the plot.
        seed: the seed to select from a surface over several seeds; by default their spread is drawn.
        at: the checkpoint to select from a surface through training, the nearest to this step. By default, a single one
            is drawn as small multiples of up to eight checkpoints, and several with the last of each.
        z: the layer to select from a volume, the nearest to this coordinate; 0 by default.

    Returns:
        The figure; :func:`landscape.save_figure` writes it.

    Raises:
        ValueError: surfaces that cannot share a figure, an unknown metric, or options that the surfaces do not allow.
        StoreError: a file cannot be read.
    """
    options = chosen("options", options, PlotOptions)
    opened = open_surfaces(surfaces)
    through = None if at is not None else through_training(opened)
    if through is not None:
        return plot_through(through, load_trajectories(trajectories, 1)[0], ax, options)
    if all(choice is None for choice in (ax, seed, at, z)) and len(opened) == 1:
        panels = panels_of(opened[0], options, trajectories)
        if panels:
            return draw_grid(panels, [], options).figure
    loaded, paths = load_scene(opened, trajectories, seed=seed, at=at, z=z)
    # The seeds of a surface of one axis count as its second axis.
    dimensions = {len(surface.coordinates) - bool(surface.seeds) for surface in loaded}
    if len(dimensions) != 1:
        raise ValueError(
            "expected surfaces with the same number of axes in one figure, got some of one and of two axes"
        )
    if dimensions == {1}:
        (axes,) = _axes(ax, 1)
        return _plot_curves(loaded, paths, axes, options)
    if options.difference:
        return draw_difference(loaded, options).figure
    if options.grid is not None:
        return draw_grid(loaded, paths, options).figure
    return _plot_contours(loaded, paths, ax, options)


def _plot_curves(
    surfaces: Sequence[Surface], paths: Sequence[Sequence[Trajectory]], ax: Axes | None, options: PlotOptions
) -> Figure:
    common = options.curves(axis_labels(surfaces)[0])
    if _has_ends(surfaces, options) and not any(paths) and (ax is None or len(surfaces) == 1):
        return plot_interpolation(surfaces, ax=ax, options=common).figure
    if not any(surface.seeds for surface in surfaces):
        curves = plot_curve(
            surfaces,
            [trajectory for group in paths for trajectory in group],
            metric=options.metrics or None,
            second=options.second or None,
            ax=ax,
            options=common,
        )
        return _figure(curves.axes)
    if options.noise:
        raise ValueError("noise needs a single seed: select one; the band of several seeds shows their spread")
    if not all(surface.seeds for surface in surfaces):
        raise ValueError("expected curves that all have one seed or all have several; select a seed")
    band = plot_seed_band(
        {surface.name: [surface.for_seed(seed) for seed in surface.seeds] for surface in surfaces},
        metric=options.metrics[0] if options.metrics else None,
        ax=ax,
        options=common,
    )
    return _figure(band.axes)


def _has_ends(surfaces: Sequence[Surface], options: PlotOptions) -> bool:
    """Return True if lines are drawn with loss and accuracy of all splits: between checkpoints, or with both splits."""
    if options.metrics or options.second or options.noise or any(surface.seeds for surface in surfaces):
        return False
    splits = all({"train_loss", "test_loss"} <= surface.values.keys() for surface in surfaces)
    return splits or all(end_names(surface) for surface in surfaces)


def _plot_contours(
    surfaces: Sequence[Surface],
    paths: Sequence[Sequence[Trajectory]],
    ax: Axes | Sequence[Axes] | None,
    options: PlotOptions,
) -> Figure:
    metrics = options.metrics or (surfaces[0].metrics[0],)
    if len(surfaces) == 1 and not options.metrics and f"{metrics[0]}_median" in surfaces[0].values:
        metrics = (f"{metrics[0]}_median", f"{metrics[0]}_std")
    panels = max(len(metrics), len(surfaces))
    if options.titles and len(options.titles) != panels:
        raise ValueError(f"expected one title for each of {panels} panels, got {len(options.titles)}")
    if len(metrics) > 1 and len(surfaces) > 1:
        raise ValueError("expected one metric for several surfaces, or one surface for several metrics")
    if len(surfaces) > 1:
        labels, about_axes = ContourOptions.axis_labels, ""  # each panel has its own
    else:
        labels, about_axes = short_axis_labels(surfaces) if panels > 1 else (axis_labels(surfaces), "")
    common = options.contours(labels, (about_axes,) if about_axes else ())
    axes = _axes(ax, panels)
    given = None if ax is None else [one for one in axes if one is not None]
    if len(metrics) > 1:
        return plot_metrics(
            surfaces[0], paths[0], metrics=metrics, titles=options.titles, ax=given, options=common
        ).figure
    if len(surfaces) > 1:
        return plot_panel(
            surfaces, paths, metric=metrics[0], titles=options.titles or None, ax=given, options=common
        ).figure
    contours = plot_contour(surfaces[0], paths[0], metric=metrics[0], ax=axes[0], options=common)
    return _figure(contours.axes)


def _axes(ax: Axes | Sequence[Axes] | None, count: int) -> list[Axes | None]:
    """Return ``count`` axes to draw on, None for those of a new figure."""
    from matplotlib.axes import Axes

    if ax is None:
        return [None] * count
    axes: list[Axes | None] = np.ravel(np.asarray(ax, dtype=object)).tolist()  # plt.subplots has rows of them
    if not all(isinstance(each, Axes) for each in axes):
        raise TypeError(f"ax: expected axes of matplotlib, got {ax!r}")
    if len(axes) != count:
        raise ValueError(f"expected {count} axes to draw on, one for each panel, got {len(axes)}")
    return axes


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("expected axes that belong to a figure")
    return figure


def save_figure(
    figure: Figure, path: str | os.PathLike[str], dpi: float = DEFAULT_DPI, *, transparent: bool = False
) -> Path:
    """Write a figure as ``.pdf``, ``.png``, ``.svg`` or ``.pgf``, and return its path.

    The same figure gives the same bytes each time. Missing directories are created; an existing file is replaced.

    Args:
        figure: the figure.
        path: file to write; its suffix decides the format.
        dpi: resolution of a ``.png`` in dots per inch.
        transparent: True for a transparent background.

    Raises:
        ValueError: an unknown suffix; the message lists the known ones.
        LandscapeError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return save(figure, path, dpi, transparent=transparent)
    except OSError as error:
        raise LandscapeError(f"{path} cannot be written: {error.strerror or error}") from error


def render_scene(
    surfaces: SurfaceSource | Sequence[SurfaceSource],
    trajectories: TrajectorySource | Sequence[TrajectorySource] = (),
    options: SceneOptions | None = None,
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
) -> StyledFigure:
    """Draw surfaces in three dimensions, side by side on one scale, with their contours below and paths on them.

    A volume is drawn as nested isosurfaces, with paths of three coordinates through it, unless a layer is selected or a
    trajectory has two coordinates.

    Args:
        surfaces: one or several surfaces of two axes, or volumes, or paths of surface files.
        trajectories: trajectories, or paths of trajectory files; with several surfaces one entry for each.
        options: appearance of the scene.
        seed: the seed to select from a surface over several seeds; by default their median.
        at: the checkpoint to select from a surface through training, the nearest to this step; by default the last.
        z: the layer to select from a volume, the nearest to this coordinate.

    Returns:
        A figure of exactly the given size; save it with ``save_figure(figure, path, figure.dpi)``.

    Raises:
        ValueError: a surface of one axis, nothing to draw, or an option out of range.
        MissingLibraryError: VTK finds no OpenGL library.
        StoreError: a file cannot be read.
    """
    from landscape.render.scenes import scene

    return scene.render_scene(*load_scene(surfaces, trajectories, seed=seed, at=at, z=z, volumes=True), options)


def animate_scene(
    surfaces: SurfaceSource | Sequence[SurfaceSource],
    trajectories: TrajectorySource | Sequence[TrajectorySource] = (),
    path: str | os.PathLike[str] = "film.mp4",
    options: SceneOptions | None = None,
    motion: Motion | None = None,
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
    progress: ProgressOption[Steps] = None,
) -> Path:
    """Animate a scene: the camera orbits it, its paths grow, its surface changes through training, or several of these.

    Args:
        surfaces: one or several surfaces of two axes, or paths of surface files. Of one through training, the surface
            of each checkpoint is shown in turn, on one scale, and between them for the eye by interpolation.
        trajectories: trajectories, or paths of trajectory files; with several surfaces one entry for each.
        path: a ``.mp4`` (needs ffmpeg), a ``.gif``, or a name without a suffix: a directory of ``frame-00000.png`` and
            so on. Missing directories are created.
        options: appearance of the scene; only a directory of frames can be transparent.
        motion: motion, duration and frame rate.
        seed: the seed to select from a surface over several seeds; by default their median.
        at: the checkpoint to select from a surface through training, the nearest to this step, around which the camera
            then turns; by default, the film goes through all of them.
        z: the layer to select from a volume, the nearest to this coordinate; 0 by default.
        progress: True for a progress bar, or a function called with a ``Steps`` after each frame.

    Returns:
        The file or directory.

    Raises:
        ValueError: an option out of range, nothing that moves, or a descent without paths.
        MissingLibraryError: VTK finds no OpenGL library, or there is no ffmpeg for an MP4.
        LandscapeError: ffmpeg failed.
        StoreError: a file cannot be read.
    """
    from landscape.render.scenes import animation

    require_writable(Path(path), StoreError)
    loaded, groups = load_scene(surfaces, trajectories, seed=seed, at=at, z=z, whole=True, volumes=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with reporting(progress, "drawing", "frame", lambda steps: steps) as report:
        return animation.animate_scene(
            loaded, groups, path, options, motion, progress=lambda done, total: report(Steps(done, total))
        )
