"""What is kept of the outputs while a point is computed: sums over samples in float64, and the means they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import UnsoundError
from landscape.problem.problem import Measure

PAIRED = "_loss_paired_stderr"
_ERRORS = ("_loss_stderr", PAIRED)


class PairedBaseline:
    """Losses at the origin, sample by sample, which those of other points are compared with.

    The standard error of a difference of two means over the same samples is that of the mean of the differences: what
    samples have in common at both points, and most of it is common, drops out.

    Args:
        counts: samples of each split.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = dict(counts)
        self._losses: dict[str, Tensor] = {}
        self._recording = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within, passes over the samples are at the origin, and are kept."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    def differences(self, split: str, first: int, rows: Tensor) -> Tensor:
        """``rows`` (points, samples), of samples from the ``first`` on, less the losses at the origin."""
        if self._recording:
            kept = self._losses.setdefault(split, rows.new_empty(self._counts[split]))
            kept[first : first + rows.shape[1]] = rows[0]
        return rows - self._losses[split][first : first + rows.shape[1]]


class MetricAccumulator:
    """Adds up measures batch by batch, on the device; used as ``begin``, ``add`` for every batch, then ``values``.

    Args:
        measures: by name; the loss is called ``loss``.
        counts: samples of each split.
        names: what is wanted, in order: see :func:`names_of`.
        points: how many points the outputs are of, one behind the other: the batch's rows, and what fills them up.
        origin: what losses are compared with, where paired standard errors are wanted.

    Attributes:
        stop_above: the loss of the first split, ``names[0]``, from which on a point is given up; None for never.
        stopped: whether every point is given up, and nothing more need be added.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        counts: Mapping[str, int],
        names: Sequence[str],
        points: int = 1,
        origin: PairedBaseline | None = None,
    ) -> None:
        self._measures, self._counts, self._names, self._points = dict(measures), dict(counts), tuple(names), points
        self._origin = origin
        self._sums: dict[str, Tensor] = {}
        self._seen: dict[str, int] = {}
        self.stop_above: float | None = None
        self.stopped = False
        self._bounds: np.ndarray | None = None

    def begin(self) -> None:
        """Forget the point before."""
        self._sums, self._seen = {}, dict.fromkeys(self._counts, 0)
        self.stopped, self._bounds = False, None

    def add(self, split: str, outputs: Any, targets: Any, samples: int) -> None:
        """Add a batch of ``samples`` of a split: its sums, and those of squares for standard errors.

        Raises:
            UnsoundError: a negative loss, where points are stopped by a bound that holds for others.
        """
        for measure_name, measure in self._measures.items():
            key = f"{split}_{measure_name}"
            value = measure(outputs, targets).double()
            if value.ndim:
                rows = value.view(self._points, -1)[:, :samples]
                self._put(key, rows.sum(1))
                if f"{key}_stderr" in self._names:
                    self._put(f"{key}_stderr", torch.linalg.vecdot(rows, rows))
                if self._origin is not None and measure_name == "loss":
                    apart = self._origin.differences(split, self._seen[split], rows)
                    self._put(f"{key}_paired", apart.sum(1))
                    self._put(f"{key}_paired_stderr", torch.linalg.vecdot(apart, apart))
            else:
                self._put(key, (value * samples).expand(self._points))
            if self.stop_above is not None and key == self._names[0]:
                self._bound(key, value)
        self._seen[split] += samples

    def _put(self, key: str, part: Tensor) -> None:
        self._sums[key] = self._sums[key] + part if key in self._sums else part

    def _bound(self, key: str, value: Tensor) -> None:
        """Note points whose bound has come to exceed the threshold; a device is waited for."""
        negative = (value < 0).any().double().expand(1)
        *bounds, negative = torch.cat([self._sums[key] / self._counts[split_of(key, self._counts)], negative]).tolist()
        if negative:
            raise UnsoundError(
                f"{key} is negative in places, so that a sum over some samples is no lower bound of that over all, and "
                "no point can be stopped by it: leave --stop-above (stop_above) out. Points that a file holds as "
                "stopped may be wrong; --overwrite replaces it"
            )
        if self._bounds is None:
            self._bounds = np.full(self._points, np.nan)
        new = np.isnan(self._bounds) & (np.array(bounds) > self.stop_above)
        self._bounds[new] = np.array(bounds)[new]
        self.stopped = not np.isnan(self._bounds).any()

    def values(self) -> np.ndarray:
        """``(points, len(names))`` float64: means over samples, and standard errors of the mean.

        Of points that are given up, the lower bound of the first, and NaN. One transfer brings everything: a device is
        waited for once.
        """
        if self.stopped:
            return self._given_up()
        sums = dict(zip(self._sums, torch.stack(list(self._sums.values())).cpu().numpy(), strict=True))
        values = np.stack([self._mean(name, sums) for name in self._names], axis=1)
        return values if self._bounds is None else np.where(np.isnan(self._bounds)[:, None], values, self._given_up())

    def _given_up(self) -> np.ndarray:
        values = np.full((self._points, len(self._names)), np.nan)
        values[:, 0] = self._bounds
        return values

    def _mean(self, name: str, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """A mean over samples, or its standard error."""
        count = self._counts[split_of(name, self._counts)]
        if not name.endswith(_ERRORS):
            return sums[name] / count
        if count < 2:
            return np.full(self._points, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sums[name.removesuffix("_stderr")] / count
            error = np.sqrt(np.maximum(sums[name] - count * mean**2, 0.0) / (count - 1) / count)
        return np.where(np.isfinite(sums[name]), error, np.nan)


def names_of(
    measures: Mapping[str, Measure], outputs: Any, targets: Any, samples: int, split: str, paired: bool = False
) -> list[str]:
    """What a split's values are called, as seen on a small batch: a loss may be per sample or a mean.

    Raises:
        ValueError: a measure gives neither one value per sample nor the batch's mean; or the latter, where a
            ``paired`` standard error needs the former.
    """
    names = []
    for measure_name, measure in measures.items():
        value = measure(outputs, targets)
        if not isinstance(value, Tensor) or value.shape not in ((), (samples,)):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{measure_name}: one value per sample, shape ({samples},), or a scalar tensor that is the batch's "
                f"mean expected, got {got}"
            )
        names.append(f"{split}_{measure_name}")
        if measure_name == "loss" and value.ndim == 1:
            names += [f"{split}_loss_stderr"] + [f"{split}{PAIRED}"] * paired
        elif measure_name == "loss" and paired:
            raise ValueError(
                "the paired standard error needs the loss of each sample, and this loss gives the batch's mean; "
                "return one value per sample (reduction='none'), or leave the paired error out"
            )
    return names


def split_of(name: str, splits: Mapping[str, Any]) -> str:
    """The split whose name begins ``name``; the longest, since one may begin another."""
    return max((split for split in splits if name.startswith(f"{split}_")), key=len)
