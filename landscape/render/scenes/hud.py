"""Head-up display of an animation: step, epoch, and the loss at the last checkpoint of each path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from landscape.geometry.trajectory import Trajectory
from landscape.render.figure import figure_of, small_size
from landscape.render.height_field import interpolate_path
from landscape.render.scale import Scale
from landscape.render.scenes import overlay
from landscape.render.scenes.panel import ScenePanel, ScenePath
from landscape.render.ticks import metric_label

ROW = 1.3
"""Height of a row in units of the font size."""
_UNKNOWN = "–"
_FIRST_LOSS = 2  # items before the losses: step and label


def path_parameter(trajectory: Trajectory, step: float) -> float | None:
    """Return the path parameter at ``step``: index of the checkpoint plus the fraction of the way to the next one.

    It is None before the first checkpoint, and that of the last checkpoint from its step on.

    Raises:
        ValueError: steps that are not ascending.
    """
    steps = np.asarray(trajectory.step, np.float64)
    if np.any(np.diff(steps) <= 0):
        raise ValueError(f"path {trajectory.name!r}: expected ascending steps, got {steps.tolist()}")
    if step < steps[0]:
        return None
    return float(np.interp(step, steps, np.arange(len(steps))))


def epoch_at(trajectories: Sequence[Trajectory], step: float) -> float | None:
    """Return the epoch at ``step`` of the runs in progress; None where they disagree."""
    in_progress = [t for t in trajectories if t.step[0] <= step <= t.step[-1]]
    epochs = [float(np.interp(step, t.step, t.epoch)) for t in in_progress]
    if not epochs or not np.all(np.isfinite(epochs)) or np.ptp(epochs) > 1e-6 * max(1.0, max(epochs)):
        return None
    return epochs[0]


def last_finite(values: np.ndarray, t: float) -> float:
    """Return the last finite value at a checkpoint up to the path parameter ``t``; NaN if there is none."""
    reached = np.asarray(values, np.float64)[: int(t) + 1]
    known = reached[np.isfinite(reached)]
    return float(known[-1]) if len(known) else float("nan")


@dataclass(frozen=True)
class HUD:
    """Head-up display of one panel, in rows that fit; every item keeps its position during the animation.

    The items are the step, the label of the losses, and a loss for each path.

    Attributes:
        panel: panel whose paths are shown.
        scale: scale of the surface.
        own_loss: True if the losses are the checkpoints' own; otherwise they are those of the surface under the path.
        label: label of the losses.
        positions: row of each item, and its distance in pixels from the left end of the row.
        widths: widths of the rows in pixels.
    """

    panel: ScenePanel
    scale: Scale
    own_loss: bool
    label: str
    positions: Sequence[tuple[int, float]]
    widths: Sequence[float]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.widths)

    def texts(self, step: float) -> list[str]:
        """Return the text of each item at ``step``."""
        return _texts(self.panel, self.scale, self.own_loss, self.label, step)

    def draw(self, ax: Axes, centre: float, top: float) -> list[Text]:
        """Draw the coloured dots, and return an empty text for each item.

        Args:
            ax: axes over the whole figure.
            centre: horizontal centre in pixels.
            top: upper edge in pixels.
        """
        em = overlay.em(figure_of(ax))
        texts = []
        for k, (row, left) in enumerate(self.positions):
            x, y = centre - self.widths[row] / 2 + left, top - (row + 0.5) * ROW * em
            if k >= _FIRST_LOSS:
                overlay.draw_dot(ax, (x + 0.4 * em, y), self.panel.paths[k - _FIRST_LOSS].colour)
                x += em
            colour = matplotlib.rcParams["text.color"]
            texts.append(ax.text(x, y, "", ha="left", va="center_baseline", fontsize=small_size(), color=colour))
        return texts


def make_hud(panel: ScenePanel, metric: str, scale: Scale, figure: Figure, width: float) -> HUD:
    """Lay out the head-up display of a panel that is ``width`` pixels wide.

    Raises:
        ValueError: steps of a path that are not ascending.
    """
    own_loss = all(np.isfinite(path.trajectory.loss).any() for path in panel.paths)
    label = "loss:" if own_loss else f"{metric_label(metric)} of the surface:"
    em = overlay.em(figure)
    gap = 1.2 * em
    steps = np.unique(np.concatenate([path.trajectory.step for path in panel.paths] or [np.zeros(0, np.int64)]))
    longest: list[str] = []
    for step in steps:
        texts = _texts(panel, scale, own_loss, label, float(step))
        longest = [max(pair, key=len) for pair in zip(texts, longest or texts, strict=True)]
    positions, widths, left = [], [0.0], 0.0
    for k, text in enumerate(longest):
        # Digits have equal widths, so the text with the most characters stands for all texts.
        item = overlay.text_width(figure, text, small_size()) + (em if k >= _FIRST_LOSS else 0.0) + 0.3 * em
        if left and left + item > width:
            widths.append(0.0)
            left = 0.0
        positions.append((len(widths) - 1, left))
        widths[-1] = left + item
        left += item + (gap if k != _FIRST_LOSS - 1 else 0.3 * em)
    return HUD(panel, scale, own_loss, label, positions, widths)


def _texts(panel: ScenePanel, scale: Scale, own_loss: bool, label: str, step: float) -> list[str]:
    epoch = epoch_at([path.trajectory for path in panel.paths], step)
    progress = f"step {int(step)}" + ("" if epoch is None else f", epoch {epoch:.1f}")
    return [progress, label, *(_loss(path, scale, own_loss, step) for path in panel.paths)]


def _loss(path: ScenePath, scale: Scale, own_loss: bool, step: float) -> str:
    t = path_parameter(path.trajectory, step)
    if t is None:
        return _UNKNOWN
    if own_loss:
        value = last_finite(path.trajectory.loss, t)
    else:
        point = interpolate_path(path.segments, t)
        value = float("nan") if point is None else float(scale.inverse(point[2]))
    return f"{value:.3g}" if np.isfinite(value) else _UNKNOWN
