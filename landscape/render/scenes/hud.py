"""Head-up display of an animation: step, epoch, and name and loss of each path or surface at its last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

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
from landscape.render.scenes.layout import HUD_ROW
from landscape.render.scenes.panel import ScenePanel, ScenePath
from landscape.render.through import centre_value
from landscape.render.through import epoch_at as epoch_of_surface
from landscape.render.ticks import metric_label
from landscape.surface.surface import Surface

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


class Readout(Protocol):
    """Content of a head-up display: the step, a label, and values; their number stays the same through an animation."""

    @property
    def steps(self) -> Sequence[float]:
        """Steps at which the texts change, ascending."""

    @property
    def colours(self) -> Sequence[str]:
        """Colour of the dot before each value; empty for values without dots."""

    def texts(self, step: float) -> list[str]:
        """Return the text of each item at ``step``."""


@dataclass(frozen=True)
class PathReadout:
    """Step and epoch of the paths on a panel, and the loss of each at its last checkpoint.

    Attributes:
        panel: panel whose paths are shown.
        metric: metric of the surface.
        scale: scale of the surface.
    """

    panel: ScenePanel
    metric: str
    scale: Scale

    @cached_property
    def own_loss(self) -> bool:
        """True if the losses are the checkpoints' own; otherwise they are those of the surface under the path."""
        return all(np.isfinite(path.trajectory.loss).any() for path in self.panel.paths)

    @property
    def steps(self) -> Sequence[float]:
        """Steps of the checkpoints of all paths."""
        steps = [path.trajectory.step for path in self.panel.paths]
        return [float(step) for step in np.unique(np.concatenate(steps or [np.zeros(0, np.int64)]))]

    @property
    def colours(self) -> Sequence[str]:
        """Colours of the paths."""
        return [path.colour for path in self.panel.paths]

    def texts(self, step: float) -> list[str]:
        """Return the step, the label and the losses; nothing for a panel without paths."""
        if not self.panel.paths:
            return []
        label = "loss:" if self.own_loss else f"{metric_label(self.metric)} of the surface:"
        epoch = epoch_at([path.trajectory for path in self.panel.paths], step)
        paths = self.panel.paths
        names = [f"{path.trajectory.name}: " if path.trajectory.name else "" for path in paths]
        losses = [name + _loss(path, self.scale, self.own_loss, step) for name, path in zip(names, paths, strict=True)]
        return [_progress(step, epoch), label, *losses]


@dataclass(frozen=True)
class ThroughReadout:
    """Step and epoch of a surface through training, and the loss of its last checkpoint.

    Attributes:
        surface: surface through training.
        metric: metric that is drawn.
        steps: steps of the checkpoints that are drawn.
    """

    surface: Surface
    metric: str
    steps: Sequence[float]

    @property
    def colours(self) -> Sequence[str]:
        """No colours: there is a single value."""
        return ()

    @cached_property
    def _values(self) -> dict[float, float]:
        return {step: centre_value(self.surface.for_step(int(step)), self.metric) for step in self.steps}

    def texts(self, step: float) -> list[str]:
        """Return the step, the label and the value, which is that of the last checkpoint up to ``step``."""
        reached = [one for one in self.steps if one <= step] or self.steps[:1]
        value = self._values[reached[-1]]
        shown = f"{value:.3g}" if np.isfinite(value) else _UNKNOWN
        return [_progress(step, epoch_of_surface(self.surface, step)), f"{metric_label(self.metric)}:", shown]


def _progress(step: float, epoch: float | None) -> str:
    return f"step {int(step)}" + ("" if epoch is None else f", epoch {epoch:.1f}")


@dataclass(frozen=True)
class HUD:
    """Head-up display of one panel, in rows that fit; every item keeps its position during the animation.

    Attributes:
        readout: content.
        positions: row of each item, and its distance in pixels from the left end of the row.
        widths: widths of the rows in pixels.
    """

    readout: Readout
    positions: Sequence[tuple[int, float]]
    widths: Sequence[float]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.widths)

    def texts(self, step: float) -> list[str]:
        """Return the text of each item at ``step``."""
        return self.readout.texts(step)

    def draw(self, ax: Axes, centre: float, top: float) -> list[Text]:
        """Draw the coloured dots, and return an empty text for each item.

        Args:
            ax: axes over the whole figure.
            centre: horizontal centre in pixels.
            top: upper edge in pixels.
        """
        em, colours = overlay.em(figure_of(ax)), self.readout.colours
        texts = []
        for k, (row, left) in enumerate(self.positions):
            x, y = centre - self.widths[row] / 2 + left, top - (row + 0.5) * HUD_ROW * em
            if colours and k >= _FIRST_LOSS:
                overlay.draw_dot(ax, (x + 0.4 * em, y), colours[k - _FIRST_LOSS])
                x += em
            colour = matplotlib.rcParams["text.color"]
            texts.append(ax.text(x, y, "", ha="left", va="center_baseline", fontsize=small_size(), color=colour))
        return texts


def make_hud(readout: Readout, figure: Figure, width: float) -> HUD:
    """Lay out the head-up display of a panel that is ``width`` pixels wide.

    Raises:
        ValueError: steps of a path that are not ascending.
    """
    em = overlay.em(figure)
    gap = 1.2 * em
    longest: list[str] = []
    for step in readout.steps:
        texts = readout.texts(step)
        longest = [max(pair, key=len) for pair in zip(texts, longest or texts, strict=True)]
    positions, widths, left = [], [0.0], 0.0
    for k, text in enumerate(longest):
        # Digits have equal widths, so the text with the most characters stands for all texts.
        dot = em if readout.colours and k >= _FIRST_LOSS else 0.0
        item = overlay.text_width(figure, text, small_size()) + dot + 0.3 * em
        if left and left + item > width:
            widths.append(0.0)
            left = 0.0
        positions.append((len(widths) - 1, left))
        widths[-1] = left + item
        left += item + (gap if k != _FIRST_LOSS - 1 else 0.3 * em)
    return HUD(readout, positions, widths)


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
