"""What is kept of the outputs while a point is computed: sums over samples in float64, and the means they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.problem.problem import Measure


class Tally:
    """Adds up measures batch by batch, on the device; used as ``begin``, ``add`` for every batch, then ``values``.

    Args:
        measures: by name; the loss is called ``loss``.
        counts: samples of each split.
        names: what is wanted, in order: see :func:`names_of`.
        points: how many points the outputs are of: ``points`` times the batch's rows, one point after the other.
    """

    def __init__(
        self, measures: Mapping[str, Measure], counts: Mapping[str, int], names: Sequence[str], points: int = 1
    ) -> None:
        self._measures, self._counts, self._names, self._points = dict(measures), dict(counts), tuple(names), points
        self._sums: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Forget the point before."""
        self._sums = {}

    def add(self, split: str, outputs: Any, targets: Any, samples: int) -> None:
        """Add a batch of ``samples`` of a split: its sums, and those of squares for standard errors."""
        for measure_name, measure in self._measures.items():
            key = f"{split}_{measure_name}"
            value = measure(outputs, targets).double()
            if value.ndim:
                rows = value.view(self._points, samples)
                self._put(key, rows.sum(1))
                if f"{key}_stderr" in self._names:
                    self._put(f"{key}_stderr", torch.linalg.vecdot(rows, rows))
            else:
                self._put(key, (value * samples).expand(self._points))

    def _put(self, key: str, part: Tensor) -> None:
        self._sums[key] = self._sums[key] + part if key in self._sums else part

    def values(self) -> np.ndarray:
        """``(points, len(names))`` float64: means over samples, and standard errors of the mean.

        One transfer brings everything: a device is waited for once.
        """
        sums = dict(zip(self._sums, torch.stack(list(self._sums.values())).cpu().numpy(), strict=True))
        return np.stack([self._mean(name, sums) for name in self._names], axis=1)

    def _mean(self, name: str, sums: Mapping[str, np.ndarray]) -> np.ndarray:
        """A mean over samples, or its standard error."""
        count = self._counts[split_of(name, self._counts)]
        if not name.endswith("_loss_stderr"):
            return sums[name] / count
        if count < 2:
            return np.full(self._points, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sums[name.removesuffix("_stderr")] / count
            error = np.sqrt(np.maximum(sums[name] - count * mean**2, 0.0) / (count - 1) / count)
        return np.where(np.isfinite(sums[name]), error, np.nan)


def names_of(measures: Mapping[str, Measure], outputs: Any, targets: Any, samples: int, split: str) -> list[str]:
    """What a split's values are called, as seen on a small batch: a loss may be per sample or a mean.

    Raises:
        ValueError: a measure gives neither one value per sample nor the batch's mean.
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
            names.append(f"{split}_loss_stderr")
    return names


def split_of(name: str, splits: Mapping[str, Any]) -> str:
    """The split whose name begins ``name``; the longest, since one may begin another."""
    return max((split for split in splits if name.startswith(f"{split}_")), key=len)
