"""Figures of curvature: spectral density, the largest eigenvalues over training, and layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.curvature.curvature import Curvature
from landscape.render.figure import add_note, legend_above
from landscape.render.style import CURVE_COLOURS, Size, new_figure, style_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_LARGEST, _SMALLEST, _DENSITY = CURVE_COLOURS[1], CURVE_COLOURS[0], "0.25"
_NAMES = {
    "hessian": "Hessian",
    "gauss_newton": "Gauss-Newton matrix",
    "fisher": "Fisher matrix",
    "empirical_fisher": "empirical Fisher matrix",
}


def plot_density(curvature: Curvature, ax: Axes) -> list[Line2D]:
    """Draw the spectral density on a log scale, with its spread over the random vectors and the known eigenvalues.

    Args:
        curvature: results with a density.
        ax: axes to draw on.

    Returns:
        The lines of the legend.

    Raises:
        ValueError: there is no density.
    """
    density = curvature.density
    if density is None:
        raise ValueError(
            "this curvature has no spectral density: it was computed with density_probes=0, or is unfinished"
        )
    # A tenth of the height of a single eigenvalue, so that every outlier shows.
    floor = 0.1 / (curvature.parameters * density.width * np.sqrt(2 * np.pi))
    values = np.maximum(density.values, floor)
    handles = list(ax.plot(density.grid, values, color=_DENSITY, label="density", zorder=3))
    ax.fill_between(density.grid, floor, values, color="0.88", linewidth=0, zorder=1)
    if np.isfinite(density.spread).all():
        low, high = (np.maximum(density.values + sign * density.spread, floor) for sign in (-1, 1))
        ax.fill_between(density.grid, low, high, color="0.6", alpha=0.6, linewidth=0, zorder=2)
    top = float(values.max())
    ends = (("largest", curvature.eigenvalues, _LARGEST), ("smallest", curvature.smallest_eigenvalues, _SMALLEST))
    for name, eigenvalues, colour in ends:
        if len(eigenvalues):
            height = np.full(len(eigenvalues), floor * (top / floor) ** 0.06)
            ax.vlines(eigenvalues, floor, height, color=colour, linewidth=0.8, zorder=4)
            handles += ax.plot(
                eigenvalues, height, "o", color=colour, markersize=2.6, label=f"{len(eigenvalues)} {name}", zorder=5
            )
    ax.set_yscale("log")
    ax.set_ylim(floor, top * 3)
    ax.set_xlim(density.grid[0], density.grid[-1])
    ax.set_xlabel(f"eigenvalue of the {_NAMES[curvature.config.matrix]}")
    ax.set_ylabel("spectral density")
    add_note(ax, f"Gaussian kernel of width {density.width:.2g}; {len(density.quadrature.nodes)} random vectors")
    return handles


def plot_sharpness(curvature: Curvature, ax: Axes) -> list[Line2D]:
    """Draw the largest eigenvalues at the checkpoints of a run, and 2 / learning rate.

    Args:
        curvature: results with a history.
        ax: axes to draw on.

    Returns:
        The lines of the legend.

    Raises:
        ValueError: there is no history.
    """
    history = curvature.history
    if history is None or not len(history.step):
        raise ValueError("this curvature has no history: compute it with checkpoints='all'")
    by_epoch = bool(np.isfinite(history.epoch).all())
    x = history.epoch if by_epoch else history.step
    handles: list[Line2D] = []
    for index, values in enumerate(history.eigenvalues.T):
        shade = 1 - index / max(history.eigenvalues.shape[1], 1)
        label = {0: "largest eigenvalue", 1: "following ones"}.get(index, "_")
        (line,) = ax.plot(
            x, values, color=_LARGEST, alpha=0.25 + 0.75 * shade, marker=".", label=label, zorder=4 - index * 0.01
        )
        line.set_linewidth(line.get_linewidth() * (1.0 if index == 0 else 0.6))
        handles += [line] if index < 2 else []
    limit = history.stability_limit
    known = np.isfinite(limit)
    if known.any():
        (line,) = ax.plot(x[known], limit[known], color=_SMALLEST, linestyle="--", label="2 / learning rate", zorder=3)
        handles.append(line)
    ax.set_yscale("log" if (history.eigenvalues > 0).all() else "symlog")
    ax.set_xlabel("epoch" if by_epoch else "step")
    ax.set_ylabel("eigenvalue")
    return handles


def plot_layers(curvature: Curvature, ax: Axes) -> list[Line2D]:
    """Draw the trace of the block of each layer, with standard errors, and its largest eigenvalue if known.

    Args:
        curvature: results with layers.
        ax: axes to draw on.

    Returns:
        The lines of the legend.

    Raises:
        ValueError: nothing is known about layers.
    """
    layers = curvature.layers
    if layers is None:
        raise ValueError("this curvature has no layers: compute it with trace_probes above 0, or by_layer=True")
    y = np.arange(len(layers.names))
    handles: list[Line2D] = []
    if np.isfinite(layers.traces).any():
        ax.barh(y, layers.traces, color="0.75", height=0.7, zorder=1)
        ax.errorbar(layers.traces, y, xerr=layers.trace_stderr, fmt="none", ecolor="0.3", elinewidth=0.6, zorder=2)
        handles += ax.plot([], [], "s", color="0.75", label="trace")
    if np.isfinite(layers.eigenvalues).any():
        handles += ax.plot(
            layers.eigenvalues, y, "D", color=_LARGEST, markersize=3, label="largest eigenvalue", zorder=3
        )
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.set_yticks(y, layers.names)
    ax.set_ylim(len(y) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"block of the {_NAMES[curvature.config.matrix]} that belongs to the layer")
    return handles


PARTS: dict[str, Callable[[Curvature, Axes], list[Line2D]]] = {
    "density": plot_density,
    "sharpness": plot_sharpness,
    "layers": plot_layers,
}
"""Functions that draw one part, by its name."""


def known_parts(curvature: Curvature) -> list[str]:
    """Return the names of the parts that can be drawn."""
    known = {
        "density": curvature.density is not None,
        "sharpness": curvature.history is not None,
        "layers": curvature.layers is not None,
    }
    return [name for name, there in known.items() if there]


def plot_curvature(
    curvature: Curvature,
    parts: Sequence[str] = (),
    *,
    ax: Axes | Sequence[Axes] | None = None,
    size: str | Size | None = None,
) -> Figure:
    """Draw parts of a curvature side by side: ``density``, ``sharpness`` (over training), ``layers``.

    Args:
        curvature: the results.
        parts: names of the parts; by default density and sharpness, as far as they are there.
        ax: as many axes as parts; by default those of a new figure.
        size: name of the size of a new figure; by default a column for one part and a page for several.

    Returns:
        The figure.

    Raises:
        ValueError: an unknown part, or one that was not computed.
    """
    chosen = list(parts) or [name for name in known_parts(curvature) if name != "layers"] or known_parts(curvature)
    if not chosen:
        raise ValueError("this curvature has nothing to draw yet: neither density, nor history, nor layers")
    for name in chosen:
        if name not in PARTS:
            raise ValueError(f"part: expected one of {', '.join(PARTS)}, got {name!r}")
    axes = _axes(ax, chosen, curvature, size)
    for name, one in zip(chosen, axes, strict=True):
        with style_context(one):
            legend_above(one, PARTS[name](curvature, one))
    figure = axes[0].get_figure(root=True)
    if figure is None:
        raise ValueError("expected axes that belong to a figure")
    return figure


def _axes(
    ax: Axes | Sequence[Axes] | None, parts: Sequence[str], curvature: Curvature, size: str | Size | None
) -> list[Axes]:
    if ax is not None:
        axes = list(ax) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
        if len(axes) != len(parts):
            raise ValueError(f"expected {len(parts)} axes, one for each part, got {len(axes)}")
        return axes
    figure = new_figure(size or ("column" if len(parts) == 1 else "page"))
    with figure.style():
        height = figure.get_figwidth() / len(parts) * 0.82
        if "layers" in parts and curvature.layers is not None:
            height = max(height, 0.6 + 0.125 * len(curvature.layers.names))
        figure.set_figheight(height)
        return list(figure.subplots(1, len(parts), squeeze=False)[0])
