"""Training curves of several runs, and the loss along their paths beside the loss on the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.render.figure import add_note, legend_above
from landscape.render.plots.artists import HistoryArtists
from landscape.render.plots.curve import apply_scale
from landscape.render.plots.path import learning_rate_changes
from landscape.render.scale import metric_scale
from landscape.render.style import CURVE_COLOURS, CURVE_STYLES, Size, new_figure, style_context
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory

By = Literal["epoch", "step"]
_Metrics = Sequence[str | Sequence[str]]


@dataclass(frozen=True)
class History:
    """Metrics of a training run.

    Attributes:
        name: name of the run in legends.
        step: ``(n,)`` optimizer steps.
        epoch: ``(n,)`` passes over the training data.
        values: ``(n,)`` arrays by metric (``train_loss``, ``test_acc``, ...), NaN where not measured.
        learning_rate: ``(n,)`` learning rates, or None if unknown.
    """

    name: str
    step: np.ndarray
    epoch: np.ndarray
    values: Mapping[str, np.ndarray]
    learning_rate: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.step)
        rates = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        for name, array in {"epoch": self.epoch, **self.values, **rates}.items():
            if np.shape(array) != (n,):
                raise ValueError(
                    f"{name} of run {self.name!r}: expected shape ({n},) as for step, got {np.shape(array)}"
                )

    @staticmethod
    def from_columns(columns: Mapping[str, Any], name: str = "") -> History:
        """Create a history from columns by name: ``step`` or ``epoch``, ``learning_rate`` (optional), and metrics.

        ``loss``, ``accuracy`` and ``acc`` without a split are those of training.

        Raises:
            ValueError: there is neither ``step`` nor ``epoch``, or columns have different lengths.
        """
        arrays = {key: np.asarray(column, dtype=np.float64) for key, column in columns.items() if key != "name"}
        if not {"step", "epoch"} & set(arrays):
            raise ValueError(f"expected a column 'step' or 'epoch', got {', '.join(arrays) or 'none'}")
        step = arrays.pop("step") if "step" in arrays else arrays["epoch"]
        epoch = arrays.pop("epoch", step)
        rates = arrays.pop("learning_rate", None)
        known = {"loss": "train_loss", "accuracy": "train_acc", "acc": "train_acc"}
        known = {key: name for key, name in known.items() if name not in arrays}
        values = {known.get(key, key.replace("accuracy", "acc")): array for key, array in arrays.items()}
        return History(name or str(columns.get("name", "")), step, epoch, values, rates)


def plot_history(
    runs: Sequence[History | Mapping[str, Any]],
    metrics: _Metrics = ("train_loss", "train_acc"),
    *,
    ax: Axes | Sequence[Axes] | None = None,
    by: By = "epoch",
    scale: str = "auto",
    learning_rate: bool = True,
    legend: bool = True,
    size: str | Size = "column",
) -> HistoryArtists:
    """Draw metrics of several runs against the epoch or the step.

    Args:
        runs: at least one run; a mapping is read by :meth:`History.from_columns`.
        metrics: one entry for each axes: a metric, or several metrics that share the axes and differ by line style
            (``("train_loss", "test_loss")``). A run without a metric is left out there.
        ax: as many axes as entries (a single axes for one entry); by default those of a new figure, stacked, or side by
            side if ``size`` is wider than a column.
        by: ``"epoch"`` or ``"step"``.
        scale: scale of the losses, as for :class:`ContourOptions`.
        learning_rate: mark jumps of the learning rate on the first axes.
        legend: name the runs above the first axes.
        size: name of the size of a new figure.

    Returns:
        Everything that was drawn, by axes.

    Raises:
        ValueError: there are no runs, no run has a metric, the number of axes differs from that of the entries, or
            ``by`` is unknown.
    """
    histories = [run if isinstance(run, History) else History.from_columns(run) for run in runs]
    if not histories:
        raise ValueError("expected at least one run, got none")
    if by not in ("epoch", "step"):
        raise ValueError(f"expected by='epoch' or by='step', got {by!r}")
    if any(len(run.epoch) and np.isnan(run.epoch).all() for run in histories):
        by = "step"  # recorded runs need not have epochs
    groups = [(entry,) if isinstance(entry, str) else tuple(entry) for entry in metrics]
    for group in groups:
        if not any(name in run.values for run in histories for name in group):
            known = sorted({name for run in histories for name in run.values})
            raise ValueError(f"no run has {' or '.join(group)}; they have {', '.join(known) or 'no metrics'}")
    axes = _axes(ax, len(groups), size)
    scales, lines, marks = [], [], []
    with style_context(axes[0]):
        for one, group in zip(axes, groups, strict=True):
            own = metric_scale(group[0], [run.values[n] for run in histories for n in group if n in run.values], scale)
            lines.append(tuple(_lines(one, histories, group, by)))
            apply_scale(one, own)
            scales.append(own)
            kinds = list(dict.fromkeys(name.partition("_")[2] or name for name in group))
            one.set_ylabel(metric_label(group[0] if len(group) == 1 else kinds[0]))
            # Stacked axes share the x axis, and the lowest one labels it.
            if ax is not None or one is axes[-1] or not one.get_shared_x_axes().joined(one, axes[-1]):
                one.set_xlabel(by)
        if learning_rate:
            marks = _rate_marks(axes[0], histories, groups[0][0], by)
        if legend:
            handles = _handles(histories, lines[0], groups[0])
            legend_above(axes[0], handles + marks[:1])
        for one, group, own in zip(axes, groups, scales, strict=True):
            add_note(one, own.note(metric_label(group[0]).removesuffix(" (%)")))
    return HistoryArtists(tuple(axes), tuple(scales), tuple(lines), tuple(marks))


def plot_plane_loss(
    trajectories: Sequence[Trajectory],
    *,
    ax: Axes | None = None,
    by: By = "epoch",
    scale: str = "auto",
    legend: bool = True,
    size: str | Size = "column",
) -> HistoryArtists:
    """Draw the true loss of each run (solid) and the loss on the plane below its path (dashed).

    Where the two differ, the plane does not show the landscape that the run traversed.

    Args:
        trajectories: paths with ``loss`` and ``surface_loss``.
        ax: axes to draw on; by default those of a new figure.
        by: ``"epoch"`` or ``"step"``.
        scale: scale of the losses, as for :class:`ContourOptions`.
        legend: name the runs above the axes.
        size: name of the size of a new figure.

    Returns:
        Everything that was drawn.

    Raises:
        ValueError: there are no trajectories, or none has a finite loss.
    """
    histories = [
        History(t.name, t.step, t.epoch, {"train_loss": t.loss, "plane_loss": t.surface_loss}, t.learning_rate)
        for t in trajectories
    ]
    return plot_history(histories, [("train_loss", "plane_loss")], ax=ax, by=by, scale=scale, legend=legend, size=size)


def _axes(ax: Axes | Sequence[Axes] | None, count: int, size: str | Size) -> list[Axes]:
    if ax is None:
        figure = new_figure(size)
        with figure.style():
            rows, columns = (count, 1) if figure.get_figwidth() < 4 else (1, count)
            if rows > 1:
                figure.set_figheight(figure.get_figheight() * (0.25 + 0.6 * rows))
            elif columns > 1:
                figure.set_figheight(figure.get_figwidth() / columns * 0.85)
            return list(figure.subplots(rows, columns, squeeze=False, sharex=rows > 1).ravel())
    axes = list(ax) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
    if len(axes) != count:
        raise ValueError(f"expected {count} axes, one for each entry of metrics, got {len(axes)}")
    return axes


def _lines(ax: Axes, histories: Sequence[History], group: Sequence[str], by: By) -> list[Line2D]:
    lines = []
    for i, run in enumerate(histories):
        for j, name in enumerate(group):
            if name not in run.values:
                continue
            x, y = getattr(run, by), np.asarray(run.values[name])
            measured = ~np.isnan(y)
            marker = "." if measured.sum() <= 25 else ""
            (line,) = ax.plot(
                x[measured],
                y[measured],
                marker=marker,
                color=CURVE_COLOURS[i % len(CURVE_COLOURS)],
                linestyle=CURVE_STYLES[j % len(CURVE_STYLES)],
                label=run.name or f"run {i + 1}",
            )
            lines.append(line)
    return lines


def _rate_marks(ax: Axes, histories: Sequence[History], name: str, by: By) -> list[Line2D]:
    marks = []
    for i, run in enumerate(histories):
        if run.learning_rate is None or name not in run.values:
            continue
        at = learning_rate_changes(run.learning_rate)
        if at.size:
            colour = CURVE_COLOURS[i % len(CURVE_COLOURS)]
            x, y = getattr(run, by)[at], np.asarray(run.values[name])[at]
            (mark,) = ax.plot(x, y, "D", color="white", markeredgecolor=colour, markersize=3.5, zorder=4)
            mark.set_label("LR change")
            marks.append(mark)
    return marks


def _handles(histories: Sequence[History], lines: Sequence[Line2D], group: Sequence[str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    first = {line.get_label(): line for line in reversed(lines)}
    handles = [Line2D([], [], color=line.get_color(), label=name) for name, line in reversed(first.items())]
    if len(handles) == 1 and not histories[0].name:
        handles = []
    if len(group) > 1:
        for j, name in enumerate(group):
            handles.append(
                Line2D([], [], color="0.35", linestyle=CURVE_STYLES[j % len(CURVE_STYLES)], label=metric_label(name))
            )
    return handles
