"""Names of the values of a point, and kinds of the measures that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape._utils.torch_compat import tree_leaves
from landscape.problem.measures import is_own_measure
from landscape.problem.problem import Measure
from landscape.problem.reduction import read_values
from landscape.problem.whole import WholeSplitMeasure

PAIRED_SUFFIX, EXCESS, EXCESS_STDERR = "_loss_paired_stderr", "_excess", "_excess_stderr"


def metric_names(
    measures: Mapping[str, Measure], outputs: Any, targets: Any, samples: int, split: str, paired: bool = False,
    chord: bool = False,
) -> list[str]:  # fmt: skip
    """Return the names of the values of a split, found by applying the measures to a small batch.

    Args:
        measures: measures by name.
        outputs: outputs of the network for the batch.
        targets: targets of the batch.
        samples: number of samples of the batch.
        split: name of the split.
        paired: include the paired standard error of the loss.
        chord: include the excess over the chord, and its standard error, of each measure with one value per sample.

    Raises:
        ValueError: a measure returns what :data:`~landscape.problem.problem.Measure` does not allow; or ``paired``,
            and the loss returns the mean.
    """
    names = []
    for measure_name, measure in measures.items():
        if isinstance(measure, WholeSplitMeasure):  # a few samples may have no value
            names.append(f"{split}_{measure_name}")
            continue
        value, weights = read_values(measure(outputs, targets), samples, measure_name)
        names.append(f"{split}_{measure_name}")
        if measure_name != "loss" and weights is not None and value.ndim == 1:
            names.append(f"{split}_{measure_name}_stderr")
        if measure_name == "loss" and value.ndim == 1:
            names += [f"{split}_loss_stderr"] + [f"{split}{PAIRED_SUFFIX}"] * paired
        elif measure_name == "loss" and paired:
            raise ValueError(
                "the paired standard error needs the loss of each sample, but this loss returns the mean of the batch; "
                "return one value per sample (reduction='none'), or set paired=False"
            )
        if chord and weights is None and value.ndim == 1:
            names += [f"{split}_{measure_name}{EXCESS}", f"{split}_{measure_name}{EXCESS_STDERR}"]
    return names


def scalar_measures(measures: Mapping[str, Measure], outputs: Any, targets: Any) -> tuple[str, ...]:
    """Return the names of the measures that return one value for a whole batch, found by applying them to one."""
    others = {name: measure for name, measure in measures.items() if _of_batches(measure)}
    samples = len(tree_leaves(targets)[0])
    found = {name: read_values(measure(outputs, targets), samples, name) for name, measure in others.items()}
    return tuple(name for name, result in found.items() if not result.values.ndim and result.weights is None)


def weighted_measures(measures: Mapping[str, Measure], outputs: Any, targets: Any) -> tuple[str, ...]:
    """Return the names of the measures that return values with weights, found by applying them to a batch."""
    samples = len(tree_leaves(targets)[0])
    others = {name: measure for name, measure in measures.items() if _of_batches(measure)}
    found = {name: read_values(measure(outputs, targets), samples, name) for name, measure in others.items()}
    return tuple(name for name, result in found.items() if result.weights is not None)


def split_of(name: str, splits: Mapping[str, Any]) -> str:
    """Return the longest name of a split that ``name`` begins with, since one name may begin another."""
    return max((split for split in splits if name.startswith(f"{split}_")), key=len)


def _of_batches(measure: Measure) -> bool:
    """Return True for a measure of batches whose kind isn't known."""
    return not is_own_measure(measure) and not isinstance(measure, WholeSplitMeasure)
