"""The figures of ``landscape functions`` that show slopes, and the scene in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from landscape.cli.descents import Setting
    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

ARROWS = 15
DIRECTIONS = 360
PIXELS = (1000, 760)


def draw(
    kind: str, setting: Setting, surface: Surface, trajectories: Sequence[Trajectory], options: dict[str, Any]
) -> Any:
    """A figure of one of these kinds: ``relief``, ``field``, ``tangent``, ``steepest``.

    Raises:
        click.UsageError: a kind that needs two variables, or points of another number of coordinates.
    """
    function = setting.function
    if function.variables == 1 and kind != "tangent":
        raise click.UsageError(f"--draw {kind} needs a function of two variables; {function.name} has one")
    points = list(options["points"]) or [setting.start]
    for point in points:
        function.check(point)
    if kind in ("steepest", "tangent") and function.variables == 2 and len(points) > 1:
        raise click.UsageError(f"--draw {kind} of two variables takes one --at")
    return {"relief": _relief, "field": _field, "tangent": _tangent, "steepest": _steepest}[kind](
        setting, surface, trajectories, points, options
    )


def _relief(
    setting: Setting, surface: Surface, trajectories: Sequence[Trajectory], points: Any, options: dict[str, Any]
) -> Any:
    from landscape.render.plots.descent import function_scale
    from landscape.render.scenes.scene import render_scene

    return render_scene(
        surface, trajectories, scale=function_scale(surface, options["scale"]), axis_labels=("$x$", "$y$"), size=PIXELS,
        style=options["size"] or "page",
    )  # fmt: skip


def _field(setting: Setting, surface: Surface, trajectories: Any, points: Any, options: dict[str, Any]) -> Any:
    import numpy as np

    from landscape.render.plots.slope import plot_field

    # Half a step inside, so that no arrow sticks out of the frame.
    ticks = [np.linspace(c[0], c[-1], 2 * ARROWS + 1)[1::2] for c in surface.coordinates]
    x, y = np.meshgrid(*ticks)
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    return plot_field(
        surface, at, setting.function.gradient(*at.T).T, uphill=setting.function.maximize, scale=options["scale"],
        notes=setting.notes, size=options["size"] or "column",
    )  # fmt: skip


def _tangent(setting: Setting, surface: Surface, trajectories: Any, points: Any, options: dict[str, Any]) -> Any:
    from landscape.render.plots.slope import plot_tangent_plane, plot_tangents

    function = setting.function
    if function.variables == 1:
        found = [(x, float(function.values(x)), float(function.gradient(x)[0])) for (x,) in points]
        return plot_tangents(surface, found, notes=setting.notes, size=options["size"] or "column")
    (at,) = points
    return plot_tangent_plane(
        surface, at, float(function.values(*at)), tuple(float(g) for g in function.gradient(*at)), notes=setting.notes,
        size=options["size"] or "page",
    )  # fmt: skip


def _steepest(setting: Setting, surface: Surface, trajectories: Any, points: Any, options: dict[str, Any]) -> Any:
    import numpy as np

    from landscape.render.plots.slope import plot_steepest

    (at,), function = points, setting.function
    angles = np.deg2rad(np.arange(DIRECTIONS))
    # Measured, not taken from the gradient: by central differences of the function along each direction.
    h = 1e-5 * max(c[-1] - c[0] for c in surface.coordinates)
    units = np.stack([np.cos(angles), np.sin(angles)])
    ahead, behind = (
        function.values(*(np.float64(c) + sign * h * u for c, u in zip(at, units, strict=True))) for sign in (1, -1)
    )
    return plot_steepest(
        surface, at, tuple(float(g) for g in function.gradient(*at)), (ahead - behind) / (2 * h),
        scale=options["scale"], notes=[*setting.notes, "slopes measured by central differences"],
        size=options["size"] or "page",
    )  # fmt: skip
