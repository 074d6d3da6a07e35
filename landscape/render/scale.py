"""How values become heights and colours: a log, linear or symmetric-log scale, with its levels, ticks and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.render.ticks import LEVEL_SERIES, TICK_SERIES, linear_labels, log_labels, round_values, roundest

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

ScaleKind = Literal["log", "linear", "symlog"]
SCALE_KINDS: tuple[ScaleKind, ...] = ("log", "linear", "symlog")

AUTO_LOG_RATIO = 10.0
"""``choose_scale("auto")`` takes a log scale from this ratio of largest to smallest value on."""

_SYMLOG_DECADES, _CROSSING_DECADES = 6, 3


@dataclass(frozen=True)
class Scale:
    """A scale from ``vmin`` to ``vmax``. Values are never changed by it; what lies outside is said by ``note``.

    Attributes:
        kind: ``log``, ``linear`` or ``symlog``.
        vmin: lower end of the drawing, in the values' own unit.
        vmax: upper end of the drawing.
        linthresh: half width of the nearly linear part around zero of a ``symlog`` scale, else None.
        lowest: smallest finite value measured.
        highest: largest finite value measured.
    """

    kind: ScaleKind
    vmin: float
    vmax: float
    linthresh: float | None = None
    lowest: float = math.nan
    highest: float = math.nan

    def __post_init__(self) -> None:
        if self.kind not in SCALE_KINDS:
            raise ValueError(f"scale {self.kind!r}: expected one of {', '.join(SCALE_KINDS)}")
        if not (math.isfinite(self.vmin) and math.isfinite(self.vmax) and self.vmin < self.vmax):
            raise ValueError(f"finite vmin < vmax expected, got {self.vmin} and {self.vmax}")
        if self.kind == "log" and self.vmin <= 0:
            raise ValueError(f"a log scale needs vmin > 0, got {self.vmin}; take symlog or linear")
        if self.kind == "symlog" and not (self.linthresh and self.linthresh > 0):
            raise ValueError(f"a symlog scale needs linthresh > 0, got {self.linthresh}")

    def transform(self, values: Any) -> np.ndarray:
        """Heights of ``values``, float64 of the same shape; monotone, unclipped, NaN where the scale has no place.

        ``log``: log10, NaN for values that are not positive. ``linear``: the values. ``symlog``:
        ``arcsinh(v / linthresh) / ln 10``, smooth, and a decade per unit far from zero.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "log":
            positive = values > 0
            return np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)
        if self.kind == "symlog":
            return np.arcsinh(values / self._threshold) / math.log(10)
        return values.copy()

    def inverse(self, heights: Any) -> np.ndarray:
        """Values whose heights are ``heights``."""
        heights = np.asarray(heights, dtype=np.float64)
        if self.kind == "log":
            return np.power(10.0, heights)
        if self.kind == "symlog":
            return self._threshold * np.sinh(heights * math.log(10))
        return heights.copy()

    @property
    def _threshold(self) -> float:
        return self.linthresh or math.nan

    @property
    def extend(self) -> Literal["neither", "min", "max", "both"]:
        """Which ends of a colour bar are arrows: those beyond which there are measured values."""
        below, above = self.lowest < self.vmin, self.highest > self.vmax
        return "both" if below and above else "min" if below else "max" if above else "neither"

    def note(self, label: str = "loss") -> str:
        """What the figure has to say about values that the scale does not resolve; empty where there are none."""
        not_positive = self.kind == "log" and self.lowest <= 0
        below, above = self.lowest < self.vmin and not not_positive, self.highest > self.vmax
        if below and above:
            return f"{label} clipped to {self.format(self.vmin)}–{self.format(self.vmax)}"
        parts = [f"{label} ≤ 0 not drawn (log scale)"] if not_positive else []
        parts += [f"{label} clipped below {self.format(self.vmin)}"] if below else []
        parts += [f"{label} clipped at {self.format(self.vmax)}"] if above else []
        return "; ".join(parts)

    def norm(self) -> Normalize:
        """The matplotlib norm of this scale; it agrees with ``transform``."""
        from matplotlib import colors

        if self.kind == "log":
            return colors.LogNorm(self.vmin, self.vmax)
        if self.kind == "symlog":
            return colors.AsinhNorm(linear_width=self._threshold, vmin=self.vmin, vmax=self.vmax)
        return colors.Normalize(self.vmin, self.vmax)

    def levels(self, n: int = 12) -> np.ndarray:
        """About ``n`` round values strictly inside the scale and the data, evenly spread on it: contour levels.

        For ``n = 12`` there are 8 to 16, whether the range is a third of a decade or twelve; none on a constant.
        """
        lower = self.vmin if math.isnan(self.lowest) else max(self.vmin, self.lowest)
        upper = self.vmax if math.isnan(self.highest) else min(self.vmax, self.highest)
        # A line at the very lowest or highest value would be a point or the rim: keep a little off both ends.
        inner = self.inverse(np.interp([1e-6, 1 - 1e-6], [0, 1], self.transform([lower, upper])))
        values = round_values(self.kind, *inner.tolist(), n, LEVEL_SERIES, threshold=self.linthresh, even_below=0.5)
        return values[(values > lower) & (values < upper)]

    def ticks(self, n: int = 5) -> np.ndarray:
        """About ``n`` round values from ``vmin`` to ``vmax``, ends included where they are round: axis ticks."""
        ends = (self.vmin, self.vmax)
        ticks = round_values(
            self.kind, *ends, n + 2 * (self.kind == "symlog"), TICK_SERIES, threshold=self.linthresh, even_below=0.8
        )
        if self.kind == "symlog":
            # The linear part is narrow on a long scale: texts there would stand on that of zero.
            low, high = self.transform(ends)
            ticks = ticks[(ticks == 0) | (np.abs(self.transform(ticks)) > 0.07 * (high - low))]
        return ticks

    def roundest(self, levels: np.ndarray, n: int = 7) -> np.ndarray:
        """Those of ``levels`` (sorted) that are shortest to write, at most ``n``: for ticks and texts on lines."""
        return roundest(levels, n, logarithmic=self.kind != "linear")

    def format(self, value: float) -> str:
        r"""``value`` as text for a figure: plain (``0.05``, ``200``) or in powers of ten (``$10^{5}$``), mathtext."""
        return self.labels([value])[0]

    def labels(self, values: Iterable[float]) -> list[str]:
        """Texts of several values on this scale in one style: the same decimals, or all decades as powers of ten."""
        values = [float(value) for value in values]
        if self.kind == "linear" or (self.kind == "log" and self.vmax < 3 * self.vmin):
            return linear_labels(values, self.vmax - self.vmin)
        largest, smallest = max(abs(self.vmin), abs(self.vmax)), self.linthresh or self.vmin
        return log_labels(values, wide=largest >= 1e4 or smallest < 0.999e-3)


def choose_scale(
    values: np.ndarray | Sequence[np.ndarray],
    kind: str = "auto",
    *,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Scale:
    """The scale for an array, or one shared by several arrays (a list of them).

    The rule of ``auto``, over the finite values only: **log** when all are positive and the largest is more than ten
    times the smallest; **symlog** when they are not all positive and the magnitudes of the non-zero ones span more
    than a factor of 100 (mixed signs over decades, or a loss that reaches exactly 0); else **linear**. ``linthresh``
    is the decade at or below the smallest non-zero magnitude, but at most six decades below the largest and, where
    there are both signs, at most three below the larger of the side that reaches less far: how near to zero the points
    happen to fall where values cross it means nothing.

    The ends are the smallest and the largest finite value, nothing is cut by percentiles. ``vmin`` and ``vmax`` cut
    the drawing only, and ``Scale.note`` says so.

    Raises:
        ValueError: an unknown kind, no finite value, ends in the wrong order, or a log scale without positive values.
    """
    arrays = values if isinstance(values, (list, tuple)) else [values]
    flat = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays]) if arrays else np.empty(0)
    flat = flat[np.isfinite(flat)]
    if kind not in ("auto", *SCALE_KINDS):
        raise ValueError(f"scale {kind!r}: expected one of auto, {', '.join(SCALE_KINDS)}")
    if not flat.size:
        raise ValueError("no finite value to draw: nothing is computed yet, or every value is NaN or infinite")
    lowest, highest = float(flat.min()), float(flat.max())
    magnitudes = np.abs(flat[flat != 0])
    if kind == "auto":
        if lowest > 0:
            kind = "log" if highest > AUTO_LOG_RATIO * lowest else "linear"
        else:
            wide = magnitudes.size and magnitudes.max() > AUTO_LOG_RATIO**2 * magnitudes.min()
            kind = "symlog" if wide else "linear"
    linthresh = None
    if kind == "symlog":
        largest = magnitudes.max() if magnitudes.size else 1.0
        smallest = max(magnitudes.min() if magnitudes.size else 1.0, largest / 10**_SYMLOG_DECADES)
        if lowest < 0 < highest:
            smallest = max(smallest, min(-lowest, highest) / 10**_CROSSING_DECADES)
        # Below the smallest normal number a power of ten may be nothing at all.
        linthresh = max(float(10.0 ** math.floor(math.log10(smallest) + 1e-9)), float(np.finfo(np.float64).tiny))
    bottom = lowest
    if kind == "log" and lowest <= 0:
        if highest <= 0:
            raise ValueError(f"a log scale needs positive values, the largest is {highest:g}; take symlog or linear")
        bottom = float(flat[flat > 0].min())
    lower, upper = bottom if vmin is None else vmin, highest if vmax is None else vmax
    free = vmin is None and vmax is None
    if free and (lower == upper or not np.ptp(Scale(kind, lower, upper, linthresh).transform([lower, upper])) > 0):
        # A constant, or values that rounding makes equal on the scale: widened, so that norms and axes are defined.
        lower, upper = (lower / 2, upper * 2) if kind == "log" else (lower - abs(lower) / 2, upper + abs(upper) / 2)
        lower, upper = (lower, upper) if lower < upper else (-1.0, 1.0)
    return Scale(kind, float(lower), float(upper), linthresh, lowest, highest)


def metric_scale(metric: str, values: Sequence[np.ndarray], kind: str = "auto", *, vmax: float | None = None) -> Scale:
    """Return the scale of one metric on one or several surfaces.

    As :func:`choose_scale`, except that ``auto`` means linear for accuracies, which are bounded percentages.
    """
    return choose_scale(list(values), "linear" if kind == "auto" and metric.endswith("_acc") else kind, vmax=vmax)
