"""Tests of what measures return: a value per sample in every batch, or one that is the mean at any batch size."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import clone_each, seed_random
from landscape.errors import UnsoundError
from landscape.evaluation.accumulator import MetricAccumulator
from landscape.evaluation.grad_mode import PROBE
from landscape.evaluation.launch import EvaluationData
from landscape.evaluation.names import PAIRED_SUFFIX
from landscape.evaluation.side_effects import REPEATS
from landscape.geometry.placement import SetCoordinates
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import require_sound_weights
from landscape.problem.whole import PerBatch

_log = logging.getLogger(__name__)
_SCALING = 0.05
"""Exponent of the batch size from which a value is said to scale with it; a sum has 1, a norm 0.5."""
_EXACT = 1e-4
"""Relative error within which a value must follow a law of its batch size to be refused."""


def require_values(model: nn.Module, data: EvaluationData) -> None:
    """Raise unless the measures return, of a full and of the last batch of each split, as many values as samples.

    Called at the origin, so that a sweep is refused before its first point. Errors of the network or of a measure are
    left to the points, which may fail one by one.

    Args:
        model: the network, in evaluation mode.
        data: data and measures.

    Raises:
        UnsoundError: a measure returns another number of values, or a scalar for some batches only.
        ValueError: weights are negative, or values aren't multiplied by them.
    """
    names = [name for name in data.names if not name.endswith(PAIRED_SUFFIX)]
    accumulator = MetricAccumulator(data.measures, data.counts, names)
    for split, batches in data.batches.items():
        for number in sorted({0, len(batches) - 1}):
            batch = batches[number]
            seed_random(0, data.device)
            accumulator.begin()
            pairs, outputs, given = {}, None, None  # also those of the batch before, which may be large
            try:
                inputs, targets = clone_each((batch.inputs, batch.targets))
                outputs = model(inputs)
                accumulator.add(split, outputs, targets, len(batch))
                for name in data.weighted:
                    given = clone_each((outputs, targets)) if data.writes else (outputs, targets)
                    pairs[name] = data.measures[name](*given)
            except UnsoundError:
                raise
            except Exception as error:  # a network and a measure are any callables
                _log.debug("batch %d of %s: %s: %s", number, split, type(error).__name__, error)
            for name, result in pairs.items():
                require_sound_weights(result, name)


def check_reductions(
    model: nn.Module,
    data: EvaluationData,
    axes: int,
    set_coordinates: SetCoordinates,
    dtype: torch.dtype,
    begun: bool = False,
) -> Iterator[str]:
    """Yield remarks for the user on the measures that return a scalar for a batch.

    Each is tried on samples of each split at the origin, or next to it if its value is zero there.

    Args:
        model: the network, in evaluation mode.
        data: data and measures.
        axes: number of axes of the plane.
        set_coordinates: function that writes the weights at a point into ``model``.
        dtype: dtype of the network.
        begun: warn of a measure that depends on the batch size instead of refusing it, for files that were begun with
            it.

    Raises:
        ValueError: a measure scales with the number of samples in the batch, or depends on the batch size.
    """
    tolerance = max(1e-5, 4 * torch.finfo(dtype).eps)  # means of half-precision values are rounded themselves
    for split, batches in data.batches.items():
        size, count = len(batches[0]), data.counts[split]
        if size < 2:
            continue
        # The first and the last samples, which differ most where data are sorted; no more than a batch in all.
        left, last = batches[0].take(slice(0, size // 2)), batches[-1]
        if _sample_shapes(last) != _sample_shapes(left):  # each batch is padded to its own longest sample
            last = batches[0]
        right = last.take(slice(max(len(last) - (size - size // 2), 0), len(last)))
        for name in data.scalars:
            measure = data.measures[name]
            if isinstance(measure, PerBatch):
                own = measure.sizes.get(split, size)
                if count % own:
                    yield (
                        f"{split}_{name} is defined on batches of {own} samples; the last one has {count % own} of "
                        f"the {count}"
                    )
                continue
            difference = None
            for parts in ((left, right), _interleaved(left, right)):
                for point in ((0.0,) * axes, PROBE[:axes]):
                    if difference is None or difference <= tolerance:
                        set_coordinates(point)
                        seed_random(0, data.device)
                        found = check_reduction(name, measure, model, *parts)
                        difference = max(filter(None, (difference, found)), default=found)
            if count == size:
                continue
            if difference is None:
                yield (
                    f"warning: {split}_{name} is one value for a batch, which could not be compared at two batch sizes "
                    f"(it is random, zero or not finite there); it is taken as the mean of the {size} samples"
                )
            elif difference > tolerance:
                text = (
                    f"{split}_{name} depends on the batch size of {size}: it is one value for a batch, and the mean of "
                    f"two batches differs by {difference:.2g} of it from the value of both in one. "
                )
                if not begun:
                    raise ValueError(f"{text}{_WAYS_OUT.format(count=count)}")
                yield (
                    f"warning: {text}The file was begun with it and is continued, although its values are not those of "
                    "all samples"
                )
            elif name == "loss":
                yield (
                    f"{split}_loss is one value for a batch, taken as the mean of its samples (the mean of two batches "
                    f"agrees with the value of both in one to {max(difference, torch.finfo(dtype).eps):.1g}). A loss "
                    "of one value per sample would have a standard error, too"
                )


_WAYS_OUT = (
    "For a mean over tokens or with class weights, return the pair (losses * weights, weights); for F1, AUC or R2, use "
    "landscape.whole(function) or an object with reset, update and compute; for a contrast within batches, use "
    "landscape.per_batch(function, size); or take all {count} samples as one batch"
)


def check_reduction(
    name: str, measure: Measure, model: Callable[[Any], Any], left: Split, right: Split
) -> float | None:
    """Return how far a scalar measure is from a mean over samples, and refuse one that scales with the batch.

    Values of batches are weighted by samples, which is the mean over all samples if each is the mean of its batch. The
    value of two batches in one is compared with the mean over the two.

    Args:
        name: name of the measure, for the message.
        measure: measure that returns a scalar.
        model: the network, in evaluation mode.
        left: some samples.
        right: other samples, preferably unlike the first.

    Returns:
        Relative difference of the two; None if it is unknown because all values are zero or one is not finite, the
        value is random, or the network does not take other batches.

    Raises:
        ValueError: the value grows with the number of samples, like a sum.
    """
    few = torch.arange(max(1, len(left) // 2), device=tree_leaves(left.inputs)[0].device)

    def value(part: Split) -> float:
        inputs, targets = clone_each((part.inputs, part.targets))  # they may be written to
        result = measure(model(inputs), targets)
        if isinstance(result, Tensor) and result.numel() == 1:
            return float(result.detach())
        return float(result) if isinstance(result, Real) else math.nan

    try:
        joined = _joined(left, right)
        parts, whole, again = (value(left), value(right)), value(joined), value(joined)
        copies = [value(left.take(few.repeat(count))) for count in (1, 2, 4)]
    except Exception:  # a network may accept the batch as a whole only
        return None
    if not all(map(math.isfinite, (whole, *parts))):
        return None
    if all(map(math.isfinite, copies)) and whole and _scales(*copies):
        raise ValueError(
            f"{name}: expected one value per sample, or a scalar tensor that is the mean of the batch, got a scalar "
            f"that grows with the batch: {copies[0]:.6g} for some samples, {copies[2]:.6g} for the same samples four "
            "times. A sum over the batch (reduction='sum') would depend on the batch size: return one value per sample "
            "(reduction='none') or the mean (reduction='mean')"
        )
    mean = (len(left) * parts[0] + len(right) * parts[1]) / (len(left) + len(right))
    largest = max(abs(mean), abs(whole))
    if not largest or abs(again - whole) > REPEATS * largest:
        return None
    return abs(mean - whole) / largest


def _interleaved(left: Split, right: Split) -> tuple[Split, Split]:
    """Return every other sample of two splits, and the rest: where data are sorted, both parts have all kinds."""
    both = _joined(left, right)
    return both.take(slice(0, None, 2)), both.take(slice(1, None, 2))


def _sample_shapes(split: Split) -> list[tuple[int, ...]]:
    return [tuple(leaf.shape[1:]) for leaf in tree_leaves((split.inputs, split.targets))]


def _joined(left: Split, right: Split) -> Split:
    """Return the samples of two splits as one."""
    trees = [(split.inputs, split.targets) for split in (left, right)]
    leaves = iter([torch.cat(pair) for pair in zip(*map(tree_leaves, trees), strict=True)])
    return Split(*tree_map(lambda _: next(leaves), trees[0]))


def _scales(once: float, twice: float, four_times: float) -> bool:
    """Return True if a value of the same samples once, twice and four times is a power of their number or linear.

    The mean over the samples stays the same, whatever their weights. A value that takes the batch as a whole, such as
    a contrast between its samples, may grow as well, but follows neither law exactly.
    """
    grown = twice - once
    if abs(grown) > _SCALING * max(abs(once), abs(twice)) and abs(four_times - twice - 2 * grown) <= _EXACT * abs(
        grown
    ):
        return True
    if not once * twice > 0 or abs(math.log2(twice / once)) < _SCALING:
        return False
    return abs(once * four_times - twice**2) <= _EXACT * twice**2
