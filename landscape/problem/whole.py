"""Measures of a whole split, which are no means over samples: F1, AUC, R2; and measures of batches of a fixed size."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import measure_for
from landscape.problem.problem import Measure, MeasureResult
from landscape.problem.reduction import SplitMetric, describe_result, is_split_metric

Outputs = TypeVar("Outputs")
Targets = TypeVar("Targets")


class WholeSplitMeasure:
    """A measure of all batches of a split, added one by one.

    Called with outputs and targets, it measures them as if they were a whole split.

    Args:
        metric: object with ``reset``, ``update`` and ``compute``.
        name: name of the measure, for messages.

    Attributes:
        reads_only: True if the metric neither changes nor keeps outputs and targets, and says so by an attribute of
            this name: it then gets no copies, which for the logits of a language model are large.
    """

    def __init__(self, metric: SplitMetric, name: str) -> None:
        self._metric, self._name = metric, name
        self.reads_only: bool = getattr(metric, "reads_only", False) is True

    def reset(self) -> None:
        """Forget all batches."""
        self._metric.reset()

    def update(self, outputs: Any, targets: Any) -> None:
        """Add a batch."""
        self._metric.update(outputs, targets)

    def compute(self) -> float:
        """Return the value over all batches since the last reset.

        Raises:
            ValueError: it is not one number.
        """
        value = self._metric.compute()
        single = isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()
        try:
            return float(value.detach() if single else value)  # type: ignore[attr-defined,arg-type]
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                f"{self._name}: expected one number for the whole split, got {describe_result(value)}; an average over "
                "classes (average='macro'), or one metric for each number"
            ) from None

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Return the value of one batch by itself, as a scalar."""
        self.reset()
        self.update(outputs, targets)
        return torch.tensor(self.compute(), dtype=torch.float64)


class _Concatenated:
    """A metric that is a function of the outputs and targets of the whole split."""

    def __init__(self, function: Callable[[Any, Any], object]) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._batches: list[tuple[Any, Any]] = []

    def reset(self) -> None:
        """Forget all batches."""
        self._batches = []

    def update(self, outputs: Any, targets: Any) -> None:
        """Keep a copy of a batch in the memory of the host."""
        self._batches.append(tree_map(_kept, (outputs, targets)))

    def compute(self) -> object:
        """Return the value of the function."""
        leaves = zip(*map(tree_leaves, self._batches), strict=True)
        joined = iter([torch.cat(parts) for parts in leaves])
        outputs, targets = tree_map(lambda _: next(joined), self._batches[0])
        return self._function(outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> object:
        """Return the value of a batch by itself."""
        return self._function(outputs, targets)


def whole(function: Callable[[Outputs, Targets], object]) -> Callable[[Outputs, Targets], Tensor]:
    """Return a metric that is a function of the outputs and targets of a whole split.

    For what is no mean over samples: the F1 score, the area under the ROC curve, R2. All outputs of a split are kept in
    memory until the last batch is there.

    Args:
        function: function ``(outputs, targets)`` that returns one number, such as those of scikit-learn. It gets
            tensors with all samples, on the CPU, without gradients and in float32 at least, in the order of the split.

    Returns:
        The metric, for ``metrics`` of a :class:`~landscape.Problem`.
    """
    if not callable(function):
        raise TypeError(f"whole: expected a function (outputs, targets), got {type(function).__name__}")
    return cast("Callable[[Outputs, Targets], Tensor]", _Concatenated(function))


def _kept(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    wide = leaf.detach().to("cpu", copy=True)
    return wide.float() if wide.dtype in (torch.float16, torch.bfloat16) else wide


def prepare_measures(
    measures: Mapping[str, Measure | SplitMetric], device: torch.device, dtype: torch.dtype
) -> dict[str, Measure]:
    """Return measures for outputs on ``device`` of type ``dtype``; those of whole splits are copies.

    Args:
        measures: measures by name, as a user gave them.
        device: device of outputs and targets.
        dtype: floating-point type of the outputs.
    """

    def prepare(name: str, measure: Measure | SplitMetric) -> Measure:
        if isinstance(measure, PerBatch):
            return measure.for_outputs(device, dtype)
        if not is_split_metric(measure):
            return measure_for(cast("Measure", measure), device, dtype)
        own = copy.deepcopy(measure)  # its state is the user's
        return WholeSplitMeasure(cast("SplitMetric", own.to(device) if isinstance(own, nn.Module) else own), name)

    return {name: prepare(name, measure) for name, measure in measures.items()}


class PerBatch:
    """A measure that depends on the samples of a batch together, by design, on batches of a fixed size.

    Attributes:
        size: number of samples of a batch.
        sizes: by split, the number of samples that belong together, if the measure divides a batch; otherwise empty.
    """

    def __init__(self, measure: Measure, size: int, sizes: Mapping[str, int] | None = None) -> None:
        functools.update_wrapper(self, measure, updated=())
        self._measure, self.size, self.sizes = measure, size, dict(sizes or {})

    def for_outputs(self, device: torch.device, dtype: torch.dtype) -> PerBatch:
        """Return the measure for outputs on ``device`` of type ``dtype``."""
        return PerBatch(measure_for(self._measure, device, dtype), self.size, self.sizes)

    def __call__(self, outputs: Any, targets: Any) -> MeasureResult:
        """Return the measure of a batch."""
        return self._measure(outputs, targets)


def per_batch(measure: Callable[[Outputs, Targets], Tensor], size: int) -> Callable[[Outputs, Targets], Tensor]:
    """Return a measure that is evaluated on batches of ``size`` samples, since it depends on the whole batch by design.

    A contrastive loss compares the samples of a batch with each other, so that its value belongs to a batch size. It is
    the mean over the batches in the order of the split, weighted by samples; the last batch may be shorter. It has no
    standard error.

    Args:
        measure: function ``(outputs, targets)`` that returns a scalar.
        size: number of samples of a batch, at least 2.

    Returns:
        The measure, for ``loss`` or ``metrics`` of a :class:`~landscape.Problem`. All measures of the problem are
        then evaluated on batches of this size.

    Raises:
        ValueError: the size is less than 2.
    """
    if not callable(measure):
        raise TypeError(f"per_batch: expected a function (outputs, targets), got {type(measure).__name__}")
    if size < 2:
        raise ValueError(f"per_batch: expected a size of at least 2 samples, got {size}")
    return cast("Callable[[Outputs, Targets], Tensor]", PerBatch(measure, size))


def batch_size_for(measures: Mapping[str, Measure | SplitMetric], size: int | None) -> int | None:
    """Return the batch size that :func:`per_batch` fixes for some of the measures; else ``size``.

    Raises:
        ValueError: the measures need different sizes, or ``size`` is given and another one.
    """
    fixed = {name: measure.size for name, measure in measures.items() if isinstance(measure, PerBatch)}
    if not fixed:
        return size
    if len(set(fixed.values())) > 1:
        raise ValueError(f"per_batch: expected one size for all measures of a problem, got {fixed}")
    (name, own), *_ = fixed.items()
    if size not in (None, own):
        raise ValueError(f"batch_size: {name} is defined on batches of {own} samples, got {size}; leave it unset")
    return own
