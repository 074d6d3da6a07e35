"""Accumulation of per-sample losses and metrics over batches, in float64, and the means and standard errors of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import clone_each
from landscape.errors import UnsoundError
from landscape.evaluation.baselines import Chord, PairedBaseline
from landscape.evaluation.engines.chunked_loss import ChunkedLogits
from landscape.evaluation.few_classes import WithFewClasses
from landscape.evaluation.names import EXCESS, EXCESS_STDERR, PAIRED_SUFFIX, split_of
from landscape.problem.measures import is_own_measure
from landscape.problem.problem import Measure, MeasureResult
from landscape.problem.reduction import BatchValues, read_values
from landscape.problem.whole import WholeSplitMeasure

# Sums for a ratio and its error; the slash keeps them apart from the names of measures.
_WEIGHT, _WEIGHT_SQUARES, _CROSS, _CHANGED = "/weight", "/weight squares", "/cross", "/changed"
_STDERR_SUFFIXES = ("_loss_stderr", PAIRED_SUFFIX, EXCESS_STDERR)

_Array = npt.NDArray[np.float64]


class MetricAccumulator:
    """Sums of measures over batches, on the device; used as ``begin``, ``add`` for every batch, then ``values``.

    Args:
        measures: measures by name; the loss is called ``loss``.
        counts: number of samples of each split.
        names: names of the values to compute, in order; see :func:`metric_names`.
        points: number of points whose outputs follow one another, each with the batch's rows and their padding.
        baseline: losses at the origin, if paired standard errors are among ``names``.
        chord: values at both ends of a line, if excesses over the chord are among ``names``.
        together: call every measure once for all points. By default only those of :mod:`landscape.problem.measures`
            are, since they compute each row by itself; any other measure gets the batch of one point at a time,
            without padding.
        writes: give each measure copies of outputs and targets, into which it may write.

    Attributes:
        stop_above: loss of the first split (``names[0]``) above which a point is abandoned; None for never.
        stopped: True once every point is abandoned, so that nothing more need be added.
        recorder: called with measure, split, index of the first sample, and values and weights of a batch
            ``(points, samples)`` for each measure that has one value per sample; None for not recording.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        counts: Mapping[str, int],
        names: Sequence[str],
        points: int = 1,
        baseline: PairedBaseline | None = None,
        together: bool = False,
        writes: bool = False,
        chord: Chord | None = None,
    ) -> None:
        self._measures, self._counts, self._names, self._points = dict(measures), dict(counts), tuple(names), points
        self._baseline, self._together, self._writes, self._chord = baseline, together, writes, chord
        self._calls = {name: f if is_own_measure(f) else WithFewClasses(f) for name, f in measures.items()}
        self._sums: dict[str, Tensor] = {}
        self._seen: dict[str, int] = {}
        self.stop_above: float | None = None
        self.stopped = False
        self.recorder: Callable[[str, str, BatchValues], None] | None = None
        self._bounds: _Array | None = None  # of abandoned points: the bound that exceeded `stop_above`; else NaN

    def begin(self) -> None:
        """Start a new launch."""
        self._sums, self._seen = {}, dict.fromkeys(self._counts, 0)
        self.stopped, self._bounds = False, None

    def add(self, split: str, outputs: Any, targets: Any, samples: int) -> None:
        """Add the measures of a batch, and their squares for standard errors.

        Args:
            split: name of the split.
            outputs: outputs of the network, or logits that are computed in chunks.
            targets: targets of the batch, repeated for each point.
            samples: number of samples of the batch, without padding.

        Raises:
            UnsoundError: a measure returns another number of values than the batch has samples; or a negative loss
                although points may be abandoned, which assumes losses of 0 or more.
        """
        chunked = outputs.measure(self._measures, targets) if isinstance(outputs, ChunkedLogits) else None
        for measure_name, measure in self._measures.items():
            key = f"{split}_{measure_name}"
            if isinstance(measure, WholeSplitMeasure):
                self._add_to_whole(split, key, measure, outputs, targets, samples)
                continue
            if chunked is not None:
                value, weights = _checked(chunked[measure_name], samples, measure_name).values.view(1, -1), None
            else:
                value, weights = self._measured(measure, outputs, targets, samples, measure_name)
            if self.recorder is not None and value.ndim == 2:
                given = None if weights is None else weights[:, :samples]
                self.recorder(measure_name, split, BatchValues(value[:, :samples], given))
            if weights is not None and value.ndim == 2:
                self._add_weighted(split, key, value, weights, samples)
            elif value.ndim == 2:
                # Padding stays in the rows until they are summed: a GPU sums by the alignment of a row in memory, and a
                # product of rows without padding would put every other one at an odd address.
                self._add_to(key, value[:, :samples].sum(1))
                if f"{key}_stderr" in self._names:
                    self._add_to(f"{key}_stderr", (value * value)[:, :samples].sum(1))
                if self._baseline is not None and measure_name == "loss":
                    differences = self._baseline.differences(split, self._seen[split], value, samples)
                    self._add_to(f"{key}_paired", differences[:, :samples].sum(1))
                    self._add_to(f"{key}_paired_stderr", (differences * differences)[:, :samples].sum(1))
                if self._chord is not None:
                    excess = self._chord.excess(split, key, self._seen[split], value, samples)
                    self._add_to(f"{key}{EXCESS}", excess.sum(1))
                    self._add_to(f"{key}{EXCESS_STDERR}", (excess * excess).sum(1))
            elif f"{key}_stderr" in self._names or f"{key}{EXCESS}" in self._names:
                raise UnsoundError(
                    f"{measure_name}: expected one value per sample of every batch, as for the first one, got a scalar "
                    f"for a batch of {samples} samples"
                )
            elif weights is not None:
                self._add_to(key, value)
                self._add_to(f"{key}{_WEIGHT}", weights)
            else:
                self._add_to(key, value * samples)
            if self.stop_above is not None and key == self._names[0]:
                self._update_bounds(key, value, self.stop_above)
        self._seen[split] += samples

    def _add_to_whole(
        self, split: str, key: str, measure: WholeSplitMeasure, outputs: Any, targets: Any, samples: int
    ) -> None:
        """Add a batch of the only point to a measure of the whole split, whose value follows after the last one."""
        if not self._seen[split]:
            measure.reset()
        measure.update(*((outputs, targets) if measure.reads_only else clone_each((outputs, targets))))
        if self._seen[split] + samples == self._counts[split]:
            device = tree_leaves(targets)[0].device
            self._sums[key] = torch.tensor([measure.compute()], dtype=torch.float64, device=device)

    def _add_weighted(self, split: str, key: str, value: Tensor, weights: Tensor, samples: int) -> None:
        """Add values ``(points, rows)`` with weights, and the products that the error of their ratio follows from."""
        value, weights = value[:, :samples], weights[:, :samples]
        self._add_to(key, value.sum(1))
        self._add_to(f"{key}{_WEIGHT}", weights.sum(1))
        if f"{key}_stderr" not in self._names:
            return
        self._add_to(f"{key}_stderr", (value * value).sum(1))
        self._add_to(f"{key}{_CROSS}", (value * weights).sum(1))
        self._add_to(f"{key}{_WEIGHT_SQUARES}", (weights * weights).sum(1))
        if self._baseline is None or key != f"{split}_loss":
            return
        paired, first = f"{key}_paired", self._seen[split]
        differences = self._baseline.differences(split, first, value, samples)
        changes = self._baseline.differences(split, first, weights, samples, "weights")
        self._add_to(paired, differences.sum(1))
        self._add_to(f"{paired}_stderr", (differences * differences).sum(1))
        self._add_to(f"{paired}{_CROSS}", (differences * weights).sum(1))
        self._add_to(f"{paired}{_CHANGED}", changes.abs().sum(1))

    def _measured(self, measure: Measure, outputs: Any, targets: Any, samples: int, name: str) -> BatchValues:
        """Return a measure at all points in float64: ``(points, rows)``, or ``(points,)`` if it returns scalars.

        Weights, if it has any, have the same shape. Rows beyond ``samples`` are padding.
        """
        rows = len(tree_leaves(targets)[0]) // self._points
        together = self._points == 1 or self._together or is_own_measure(measure)
        measure = self._calls[name]
        if self._writes:
            given = measure

            def measure(outputs: Any, targets: Any) -> MeasureResult:
                return given(*clone_each((outputs, targets)))

        if together:
            result = _checked(measure(outputs, targets), rows * self._points, name, tree_leaves(targets)[0].device)
            return result.map(self._by_point)
        own_targets = tree_map(lambda leaf: leaf[:samples], targets)
        found: list[Tensor | None] | None = None
        for point in range(self._points):
            own_outputs = tree_map(partial(_rows_from, point * rows, samples), outputs)
            result = _checked(measure(own_outputs, own_targets), samples, name, tree_leaves(targets)[0].device)
            if found is None:
                shape = (self._points, rows) if result.values.ndim else (self._points,)
                found = [None if each is None else each.new_zeros(shape) for each in result]
            # Copied at once: a measure may return the same memory each time.
            for into, each in zip(found, result, strict=True):
                if into is not None and each is not None:
                    if into.ndim == 2:
                        into[point, :samples] = each
                    else:
                        into[point] = each.mean()
        assert found is not None  # there is at least one point
        values, weights = found
        assert values is not None
        return BatchValues(values, weights)

    def _by_point(self, value: Tensor) -> Tensor:
        return value.view(self._points, -1) if value.ndim else value.expand(self._points)

    def _add_to(self, key: str, part: Tensor) -> None:
        self._sums[key] = self._sums[key] + part if key in self._sums else part

    def _update_bounds(self, key: str, value: Tensor, limit: float) -> None:
        """Note the points whose lower bound of the loss has just exceeded ``limit``; waits for the device."""
        negative = (value < 0).any().double().expand(1)
        *bounds, negative_flag = torch.cat(
            [self._sums[key] / self._counts[split_of(key, self._counts)], negative]
        ).tolist()
        if negative_flag:
            raise UnsoundError(
                f"{key} is negative for some samples, so that a sum over part of the samples is not a lower bound and "
                "no point can be stopped by it: leave stop_above unset. Points stored as stopped may be wrong; "
                "overwrite the file"
            )
        if self._bounds is None:
            self._bounds = np.full(self._points, np.nan)
        new = np.isnan(self._bounds) & (np.array(bounds) > limit)
        self._bounds[new] = np.array(bounds)[new]
        self.stopped = not np.isnan(self._bounds).any()

    def values(self) -> _Array:
        """Return the values of each point, ``(points, len(names))`` float64.

        A value is a mean over samples or the standard error of such a mean. An abandoned point has the lower bound of
        its first value and NaN for the others. Everything is transferred at once, so that the device is waited for
        once per launch.
        """
        if self.stopped and self._bounds is not None:
            return self._abandoned_values(self._bounds)
        values = self.finish(self.totals().cpu().numpy())
        if self._bounds is None:
            return values
        return np.where(np.isnan(self._bounds)[:, None], values, self._abandoned_values(self._bounds))

    def totals(self) -> Tensor:
        """Return the sums over the samples so far, ``(sums, points)`` float64, on the device."""
        return torch.stack(list(self._sums.values()))

    def finish(self, totals: _Array) -> _Array:
        """Return the values, ``(points, len(names))``, that sums over all samples give; see :meth:`totals`."""
        sums = dict(zip(self._sums, totals, strict=True))
        return np.stack([self._finish(name, sums) for name in self._names], axis=1)

    def _abandoned_values(self, bounds: _Array) -> _Array:
        values = np.full((self._points, len(self._names)), np.nan)
        values[:, 0] = bounds
        return values

    def _finish(self, name: str, sums: Mapping[str, _Array]) -> _Array:
        """Return the mean or the standard error called ``name``, ``(points,)``."""
        split = split_of(name, self._counts)
        count = self._counts[split]
        if isinstance(self._measures.get(name.removeprefix(f"{split}_")), WholeSplitMeasure):
            return sums.get(name, np.full(self._points, np.nan))  # of some batches only, it is unknown
        if f"{name}{_WEIGHT}" in sums:
            with np.errstate(divide="ignore", invalid="ignore"):
                return sums[name] / sums[f"{name}{_WEIGHT}"]
        base = name.removesuffix("_stderr")
        if f"{base}{_CROSS}" in sums:
            return self._ratio_error(base, sums, count)
        if not name.endswith(_STDERR_SUFFIXES):
            return sums[name] / count
        if count < 2:
            return np.full(self._points, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sums[name.removesuffix("_stderr")] / count
            error = np.sqrt(np.maximum(sums[name] - count * mean**2, 0.0) / (count - 1) / count)
        return np.where(np.isfinite(sums[name]), error, np.nan)

    def _ratio_error(self, base: str, sums: Mapping[str, _Array], count: int) -> _Array:
        """Return the standard error of the sum of values over the sum of weights, ``(points,)``.

        By the delta method: with ``R = sum(v) / sum(w)`` and residuals ``e = v - R w`` of n samples, it is
        ``sqrt(n / (n - 1) * sum(e^2)) / sum(w)`` (Cochran, Sampling Techniques, 3rd ed. 1977, section 2.11). Of paired
        differences it is NaN if the weights differ from those at the origin.
        """
        if count < 2:
            return np.full(self._points, np.nan)
        key = base.removesuffix("_paired")
        weight, weight_squares = sums[f"{key}{_WEIGHT}"], sums[f"{key}{_WEIGHT_SQUARES}"]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ratio = sums[base] / weight
            squares = sums[f"{base}_stderr"] - 2 * ratio * sums[f"{base}{_CROSS}"] + ratio**2 * weight_squares
            error = np.sqrt(count / (count - 1) * np.maximum(squares, 0.0)) / weight
        known = np.isfinite(squares) & (sums.get(f"{base}{_CHANGED}", np.zeros(self._points)) == 0)
        return np.where(known, error, np.nan)


def _rows_from(first: int, count: int, leaf: Tensor) -> Tensor:
    return leaf[first : first + count]


def _checked(result: Any, samples: int, name: str, device: torch.device | None = None) -> BatchValues:
    """Return a measure of a batch as float64, ``(samples,)`` or a scalar.

    Raises:
        UnsoundError: it is neither; its sum would then be divided by a number that it was not summed over.
    """
    found = read_values(result, samples, name, UnsoundError, device).map(lambda each: each.detach().double())
    # Of a single sample, a scalar is the value of the sample as well as the mean.
    return found.map(lambda each: each.expand(1)) if samples == 1 else found


def sample_means(batches: Sequence[BatchValues]) -> _Array:
    """Return one value per sample, ``(points, samples)``, whose mean is the value of a measure.

    Of values with weights these are ``R + n (v - R w) / sum(w)`` for n samples, with their ratio R: their mean is R and
    the standard error of that mean the one of the ratio by the delta method.

    Args:
        batches: values of each batch, ``(points, samples)``.
    """
    values = np.concatenate([batch.values.numpy() for batch in batches], axis=1)
    if any(batch.weights is None for batch in batches):
        return values
    weights = np.concatenate([batch.weights.numpy() for batch in batches if batch.weights is not None], axis=1)
    total = weights.sum(1, keepdims=True)
    ratio = values.sum(1, keepdims=True) / total
    means: _Array = ratio + values.shape[1] * (values - ratio * weights) / total
    return means
