"""What a film of paths says of the step it shows: step, epoch, and the loss at each path's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from landscape.geometry.trajectory import Trajectory
from landscape.render.figure import small_size
from landscape.render.height_field import point_at
from landscape.render.scale import Scale
from landscape.render.scenes import overlay
from landscape.render.scenes.panel import ScenePanel, ScenePath
from landscape.render.ticks import metric_label

ROW = 1.3
"""Height of a row in units of the text's size."""
_NOTHING = "–"


def moment(trajectory: Trajectory, step: float) -> float | None:
    """Where on a path its run is after ``step`` steps: checkpoint number plus the fraction of the way to the next.

    None before the first checkpoint; the last one from its step on.

    Raises:
        ValueError: steps that do not rise.
    """
    steps = np.asarray(trajectory.step, np.float64)
    if np.any(np.diff(steps) <= 0):
        raise ValueError(f"path {trajectory.name!r}: steps that rise from checkpoint to checkpoint expected for a film")
    if step < steps[0]:
        return None
    return float(np.interp(step, steps, np.arange(len(steps))))


def epoch_at(trajectories: Sequence[Trajectory], step: float) -> float | None:
    """The epoch of the runs that are under way at ``step``; None where they do not agree."""
    under_way = [t for t in trajectories if t.step[0] <= step <= t.step[-1]]
    found = [float(np.interp(step, t.step, t.epoch)) for t in under_way]
    if not found or not np.all(np.isfinite(found)) or np.ptp(found) > 1e-6 * max(1.0, max(found)):
        return None
    return found[0]


def last_known(values: np.ndarray, t: float) -> float:
    """The value at the last checkpoint up to ``t`` that has one; NaN where none has."""
    reached = np.asarray(values, np.float64)[: int(t) + 1]
    known = reached[np.isfinite(reached)]
    return float(known[-1]) if len(known) else float("nan")


@dataclass(frozen=True)
class HUD:
    """The line over a panel of a film, broken into rows that fit; every item keeps its place.

    Attributes:
        stage: whose paths it follows.
        scale: of the surface.
        own: whether the losses are the checkpoints' own; else those of the surface under the paths.
        label: what the losses are called.
        places: of each item (step, label, a loss for each path) row and distance in pixels from the row's left end.
        widths: of the rows.
    """

    stage: ScenePanel
    scale: Scale
    own: bool
    label: str
    places: Sequence[tuple[int, float]]
    widths: Sequence[float]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.widths)

    def texts(self, step: float) -> list[str]:
        """The items' texts after ``step`` steps."""
        return _texts(self.stage, self.scale, self.own, self.label, step)

    def artists(self, ax: Axes, middle: float, top: float) -> list[Text]:
        """Empty texts for the items, with their marks, in rows under ``top`` around ``middle`` (pixels)."""
        em = overlay.em(ax.get_figure())
        texts = []
        for k, (row, left) in enumerate(self.places):
            x, y = middle - self.widths[row] / 2 + left, top - (row + 0.5) * ROW * em
            if k > 1:
                overlay.draw_dot(ax, (x + 0.4 * em, y), self.stage.paths[k - 2].colour)
                x += em
            look = {"fontsize": small_size(), "color": matplotlib.rcParams["text.color"]}
            texts.append(ax.text(x, y, "", ha="left", va="center_baseline", **look))
        return texts


def hud_of(stage: ScenePanel, metric: str, scale: Scale, figure: Figure, width: float) -> HUD:
    """Lay out the readout of a stage for a panel of ``width`` pixels.

    Raises:
        ValueError: steps of a path that do not rise.
    """
    own = all(np.isfinite(path.trajectory.loss).any() for path in stage.paths)
    label = f"{'loss' if own else metric_label(metric) + ' of the surface'}:"
    em, gap = overlay.em(figure), 1.2 * overlay.em(figure)
    steps = np.unique(np.concatenate([path.trajectory.step for path in stage.paths] or [np.zeros(0)]))
    longest: list[str] = []
    for step in steps:
        texts = _texts(stage, scale, own, label, float(step))
        longest = [max(pair, key=len) for pair in zip(texts, longest or texts, strict=True)]
    places, widths, left = [], [0.0], 0.0
    for k, text in enumerate(longest):
        # Digits are of one width: a text with all of them at their widest place stands for all.
        wide = overlay.text_width(figure, text, small_size()) + (em if k > 1 else 0.0) + 0.3 * em
        if left and left + wide > width:
            widths.append(0.0)
            left = 0.0
        places.append((len(widths) - 1, left))
        widths[-1] = left + wide
        left += wide + (gap if k != 1 else 0.3 * em)
    return HUD(stage, scale, own, label, places, widths)


def _texts(stage: ScenePanel, scale: Scale, own: bool, label: str, step: float) -> list[str]:
    paths = [path.trajectory for path in stage.paths]
    epoch = epoch_at(paths, step)
    about = f"step {int(step)}" + ("" if epoch is None else f", epoch {epoch:.1f}")
    return [about, label, *(_loss(stage, path, scale, own, step) for path in stage.paths)]


def _loss(stage: ScenePanel, path: ScenePath, scale: Scale, own: bool, step: float) -> str:
    t = moment(path.trajectory, step)
    if t is None:
        return _NOTHING
    if own:
        value = last_known(path.trajectory.loss, t)
    else:
        point = point_at(path.pieces, t)
        value = float("nan") if point is None else float(scale.inverse(point[2]))
    return f"{value:.3g}" if np.isfinite(value) else _NOTHING
