"""Scales that map values to heights and colours (log, linear, symmetric log), with levels, ticks and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from landscape.render.ticks import LEVEL_SERIES, TICK_SERIES, linear_labels, log_labels, round_values, roundest

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

ScaleKind = Literal["log", "linear", "symlog"]
SCALE_KINDS: tuple[ScaleKind, ...] = get_args(ScaleKind)

AUTO_LOG_RATIO = 10.0
"""``choose_scale("auto")`` selects a log scale above this ratio of the largest to the smallest value."""

_SYMLOG_DECADES = 6  # decades of a symlog scale, at most
_CROSSING_DECADES = 3  # decades on the shorter side of zero, at most


@dataclass(frozen=True)
class Scale:
    """A scale from ``vmin`` to ``vmax``. It never changes values; ``note`` tells which ones are outside.

    Attributes:
        kind: ``log``, ``linear`` or ``symlog``.
        vmin: lower end of the scale, in the unit of the values.
        vmax: upper end of the scale.
        linthresh: half-width of the approximately linear part around zero of a ``symlog`` scale, else None.
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
            raise ValueError(f"scale: expected one of {', '.join(SCALE_KINDS)}, got {self.kind!r}")
        if not (math.isfinite(self.vmin) and math.isfinite(self.vmax) and self.vmin < self.vmax):
            raise ValueError(
                f"expected a scale with finite vmin < vmax, got {self.vmin:.6g} and {self.vmax:.6g}; "
                "a clip value must be above the lowest value"
            )
        if self.kind == "log" and self.vmin <= 0:
            raise ValueError(f"expected vmin > 0 for a log scale, got {self.vmin}; choose symlog or linear")
        if self.kind == "symlog" and not (self.linthresh and self.linthresh > 0):
            raise ValueError(f"expected linthresh > 0 for a symlog scale, got {self.linthresh}")

    def transform(self, values: ArrayLike) -> np.ndarray:
        """Map values to heights: monotonic and not clipped.

        ``log``: log10, NaN for values that are not positive. ``linear``: the values. ``symlog``:
        ``arcsinh(v / linthresh) / ln 10``, smooth, and one unit per decade far from zero.

        Returns:
            Float64 array of the shape of ``values``.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "log":
            positive = values > 0
            heights: np.ndarray = np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)
        elif self.kind == "symlog":
            heights = np.arcsinh(values / self._threshold) / math.log(10)
        else:
            heights = values.copy()
        return heights

    def inverse(self, heights: ArrayLike) -> np.ndarray:
        """Map heights to values."""
        heights = np.asarray(heights, dtype=np.float64)
        if self.kind == "log":
            values: np.ndarray = np.power(10.0, heights)
        elif self.kind == "symlog":
            values = self._threshold * np.sinh(heights * math.log(10))
        else:
            values = heights.copy()
        return values

    @property
    def _threshold(self) -> float:
        return self.linthresh or math.nan

    @property
    def extend(self) -> Literal["neither", "min", "max", "both"]:
        """Ends of a colour bar that get arrows: those beyond which there are measured values."""
        below, above = self.lowest < self.vmin, self.highest > self.vmax
        return "both" if below and above else "min" if below else "max" if above else "neither"

    def note(self, label: str = "loss") -> str:
        """Return the remark of the figure on values outside of the scale; empty if there are none."""
        not_positive = self.kind == "log" and self.lowest <= 0
        below, above = self.lowest < self.vmin and not not_positive, self.highest > self.vmax
        if below and above:
            return f"{label} clipped to {self.format(self.vmin)}–{self.format(self.vmax)}"
        parts = [f"{label} ≤ 0 not drawn (log scale)"] if not_positive else []
        parts += [f"{label} clipped below {self.format(self.vmin)}"] if below else []
        parts += [f"{label} clipped at {self.format(self.vmax)}"] if above else []
        return "; ".join(parts)

    def norm(self) -> Normalize:
        """Return the matplotlib norm of this scale; it agrees with ``transform``."""
        from matplotlib import colors

        if self.kind == "log":
            return colors.LogNorm(self.vmin, self.vmax)
        if self.kind == "symlog":
            return colors.AsinhNorm(linear_width=self._threshold, vmin=self.vmin, vmax=self.vmax)
        return colors.Normalize(self.vmin, self.vmax)

    def levels(self, n: int = 12) -> np.ndarray:
        """Return about ``n`` round contour levels, evenly spread on the scale, strictly inside scale and data.

        For ``n = 12`` there are 8 to 16, whether the range is a third of a decade or twelve; none for constant data.
        """
        lower = self.vmin if math.isnan(self.lowest) else max(self.vmin, self.lowest)
        upper = self.vmax if math.isnan(self.highest) else min(self.vmax, self.highest)
        # A contour at exactly the lowest or highest value would be a point or the border: stay clear of both ends.
        low, high = self.inverse(np.interp([1e-6, 1 - 1e-6], [0, 1], self.transform([lower, upper]))).tolist()
        values = round_values(self.kind, low, high, n, LEVEL_SERIES, threshold=self.linthresh, even_below=0.5)
        return values[(values > lower) & (values < upper)]

    def ticks(self, n: int = 5) -> np.ndarray:
        """Return about ``n`` round axis ticks from ``vmin`` to ``vmax``, including the ends if they are round."""
        count = n + 2 if self.kind == "symlog" else n
        ticks = round_values(
            self.kind, self.vmin, self.vmax, count, TICK_SERIES, threshold=self.linthresh, even_below=0.8
        )
        if self.kind == "symlog":
            # The linear part is narrow on a long scale: labels there would overlap that of zero.
            low, high = self.transform((self.vmin, self.vmax))
            ticks = ticks[(ticks == 0) | (np.abs(self.transform(ticks)) > 0.07 * (high - low))]
        return ticks

    def roundest(self, levels: np.ndarray, n: int = 7) -> np.ndarray:
        """Return at most ``n`` of ``levels`` (sorted) with the shortest labels, for ticks and contour labels."""
        return roundest(levels, n, logarithmic=self.kind != "linear")

    def format(self, value: float) -> str:
        r"""Format a value for a figure: plain (``0.05``, ``200``) or with a power of ten as mathtext (``$10^{5}$``)."""
        return self.labels([value])[0]

    def labels(self, values: Iterable[float]) -> list[str]:
        """Format values in one style: the same number of decimals, or all decades as powers of ten."""
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
    """Return a scale for one array, or for several arrays to share.

    ``auto`` considers the finite values: **log** if all are positive and the largest is more than ten times the
    smallest; **symlog** if some are not positive and the magnitudes of the non-zero ones span more than a factor of 100
    (mixed signs over decades, or a loss that reaches exactly 0); otherwise **linear**. ``linthresh`` is the decade at
    or below the smallest non-zero magnitude, but at most six decades below the largest magnitude and, if there are both
    signs, at most three decades below the extent of the shorter side: how close to zero a grid point happens to be
    where values change sign has no meaning.

    The ends are the smallest and the largest finite value; no percentiles are cut off.

    Args:
        values: an array, or a list or tuple of arrays.
        kind: ``auto``, ``log``, ``linear`` or ``symlog``.
        vmin: another lower end; ``Scale.note`` tells if values are below.
        vmax: another upper end; ``Scale.note`` tells if values are above.

    Raises:
        ValueError: an unknown kind, no finite values, ends in the wrong order, or a log scale without positive values.
    """
    arrays = values if isinstance(values, (list, tuple)) else [values]
    flat = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays]) if arrays else np.empty(0)
    flat = flat[np.isfinite(flat)]
    if kind not in ("auto", *SCALE_KINDS):
        raise ValueError(f"scale: expected one of auto, {', '.join(SCALE_KINDS)}, got {kind!r}")
    if not flat.size:
        raise ValueError("no finite value to draw: nothing is computed yet, or all values are NaN or infinite")
    lowest, highest = float(flat.min()), float(flat.max())
    magnitudes = np.abs(flat[flat != 0])
    chosen: ScaleKind
    if kind != "auto":
        chosen = cast(ScaleKind, kind)
    elif lowest > 0:
        chosen = "log" if highest > AUTO_LOG_RATIO * lowest else "linear"
    else:
        wide = magnitudes.size and magnitudes.max() > AUTO_LOG_RATIO**2 * magnitudes.min()
        chosen = "symlog" if wide else "linear"
    linthresh = None
    if chosen == "symlog":
        largest = float(magnitudes.max()) if magnitudes.size else 1.0
        smallest = max(float(magnitudes.min()) if magnitudes.size else 1.0, largest / 10**_SYMLOG_DECADES)
        if lowest < 0 < highest:
            smallest = max(smallest, min(-lowest, highest) / 10**_CROSSING_DECADES)
        # Below the smallest normal number, a power of ten may underflow to zero.
        linthresh = max(float(10.0 ** math.floor(math.log10(smallest) + 1e-9)), float(np.finfo(np.float64).tiny))
    bottom = lowest
    if chosen == "log" and lowest <= 0:
        if highest <= 0:
            raise ValueError(
                f"expected positive values for a log scale, the largest is {highest:g}; choose symlog or linear"
            )
        bottom = float(flat[flat > 0].min())
    lower, upper = bottom if vmin is None else vmin, highest if vmax is None else vmax
    free = vmin is None and vmax is None
    spread = np.ptp(Scale(chosen, lower, upper, linthresh).transform([lower, upper])) if lower < upper else 0.0
    if free and not spread >= np.finfo(np.float64).tiny:
        # A constant, or values that rounding makes equal on the scale: widen it, so that norms and axes are defined.
        lower, upper = (lower / 2, upper * 2) if chosen == "log" else (lower - abs(lower) / 2, upper + abs(upper) / 2)
        lower, upper = (lower, upper) if upper - lower >= np.finfo(np.float64).tiny else (-1.0, 1.0)
    return Scale(chosen, float(lower), float(upper), linthresh, lowest, highest)


def metric_scale(metric: str, values: Sequence[np.ndarray], kind: str = "auto", *, vmax: float | None = None) -> Scale:
    """Return the scale of one metric on one or several surfaces.

    As :func:`choose_scale`, except that ``auto`` means linear for accuracies, which are bounded percentages, and linear
    from zero for the ratio of eigenvalues, where zero means convex, and for shares.
    """
    if kind == "auto" and metric in ("eig_ratio", "gradient_share"):
        return choose_scale(list(values), "linear", vmin=0.0, vmax=vmax)
    return choose_scale(list(values), "linear" if kind == "auto" and metric.endswith("_acc") else kind, vmax=vmax)
