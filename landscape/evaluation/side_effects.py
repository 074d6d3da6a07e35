"""Side effects of networks and measures: data that they change in place, and a state that they keep between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import clone_each, same_bits, seed_random
from landscape.errors import UnsoundError
from landscape.evaluation.grad_mode import GradMode
from landscape.evaluation.lazy_batches import windows
from landscape.evaluation.streaming import Batches
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import finite_mean

REPEATS = 1e-6
"""Relative difference up to which two values of one batch count as equal: more than atomic sums of a GPU cause."""


class ClonedBatches(Batches):
    """Batches that are cloned on access, for networks and measures that change what they are given.

    Args:
        batches: the batches, which stay as they are.

    Attributes:
        cloned: the batches.
    """

    def __init__(self, batches: Sequence[Split]) -> None:
        self.cloned = batches

    def __len__(self) -> int:
        return len(self.cloned)

    def windows(self, count: int | None = None) -> Iterator[range]:
        """Yield ranges of batches that are in memory together, in order."""
        return windows(self.cloned, count)

    def make(self, number: int) -> Split:
        batch = self.cloned[number]
        return Split(*clone_each((batch.inputs, batch.targets)))


class Watch:
    """A watch over data that must not change between points, by the version counters of its tensors.

    Args:
        batches: batches of each split; those that are streamed are new on each access and not watched.
        others: further tensors, nested.
    """

    def __init__(self, batches: Mapping[str, Sequence[Split]], others: Any = ()) -> None:
        resident = [batch for parts in batches.values() if isinstance(parts, list) for batch in parts]
        tree = [(batch.inputs, batch.targets) for batch in resident], others
        self._leaves = [leaf for leaf in _tensors(tree) if not leaf.is_inference()]
        self._versions = self._count()

    def _count(self) -> int:
        return sum(leaf._version for leaf in self._leaves)

    def require_unchanged(self) -> None:
        """Raise ``UnsoundError`` if a tensor has been written to."""
        if self._count() != self._versions:
            raise UnsoundError(
                "the network or a measure has changed its inputs or targets in place, so that all further points would "
                "be computed on other data: work on a copy (inputs.clone(), targets.clone())"
            )


def changes_data(model: nn.Module, measures: Mapping[str, Measure], batch: Split, mode: GradMode) -> bool:
    """Return True if the network writes into its inputs, or a measure into outputs or targets.

    Both are common, and harmless where each batch is used once: ``x -= mean``, ``outputs -= targets``.

    Args:
        model: the network, in evaluation mode.
        measures: loss and metrics by name.
        batch: a few samples, which are left unchanged.
        mode: autograd mode that the network needs.
    """
    inputs, targets = clone_each((batch.inputs, batch.targets))
    try:
        with mode():
            outputs = model(inputs)
            given = _tensors((outputs, targets))
            before = [tensor.detach().clone() for tensor in given]
            for measure in measures.values():
                measure(outputs, targets)
    except Exception:  # a network is any callable; what is wrong is reported elsewhere
        return False
    pairs = [*zip(_tensors(inputs), _tensors(batch.inputs), strict=True), *zip(given, before, strict=True)]
    return not all(same_bits(a.detach(), b) for a, b in pairs)


class Drift:
    """Buffers that a network changes in evaluation mode, such as moving averages that it always updates.

    They are reset at each point, whose value then doesn't depend on the points before it.

    Args:
        model: the network, before its first forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [(b, b.detach().clone()) for b in model.buffers() if b.layout is torch.strided]

    @property
    def found(self) -> bool:
        """True if there are such buffers."""
        return bool(self._buffers)

    def settle(self) -> None:
        """Forget all buffers that are as they were; called at the origin, after at least one forward pass."""
        self._buffers = [(buffer, value) for buffer, value in self._buffers if not same_bits(buffer.detach(), value)]

    def reset(self) -> None:
        """Restore the buffers."""
        if self._buffers:
            with torch.no_grad():
                for buffer, value in self._buffers:
                    buffer.copy_(value)


def state_remark(
    model: nn.Module,
    measures: Mapping[str, Measure],
    batches: Mapping[str, Sequence[Split]],
    device: torch.device,
    reset: Callable[[], None],
    writes: bool = True,
) -> Iterator[str]:
    """Yield a warning for each measure whose value on a batch is another one the second time, or a note on random ones.

    Called at the origin, in the autograd mode that the network needs. Random numbers from torch's default generators
    are the same at each point, which is said; those of other generators, and anything that is counted or averaged over
    calls, are not.

    Args:
        model: the network, in evaluation mode.
        measures: loss and metrics by name.
        batches: batches of each split.
        device: device of the model and the data.
        reset: function that restores weights and buffers at the origin.
        writes: give each measure copies of outputs and targets, into which it may write.
    """
    split, parts = next(iter(batches.items()))
    found: list[dict[str, float]] = []
    try:
        for seed in (0, 0, 1):
            reset()
            seed_random(seed, device)
            inputs, targets = clone_each((parts[0].inputs, parts[0].targets))
            outputs = model(inputs)
            values = {}
            for name, measure in measures.items():
                given = clone_each((outputs, targets)) if writes else (outputs, targets)
                values[name] = finite_mean(measure(*given), len(parts[0]))
            found.append(values)
            del outputs, given  # before the next ones are computed
    except Exception:  # reported elsewhere
        return
    for name, first in found[0].items():
        second = found[1][name]
        if abs(second - first) > REPEATS * max(abs(first), abs(second)):
            yield (
                f"warning: {split}_{name} of one batch at the origin is {first:.9g}, and {second:.9g} when it is "
                "computed again: the network or the measure keeps a state or draws random numbers from a generator of "
                "its own, so that values depend on the order of the points and on the number of ranks. Let it follow "
                "from its arguments alone"
            )
        elif abs(found[2][name] - first) > REPEATS * max(abs(first), abs(found[2][name])):
            yield (
                f"{split}_{name} depends on random numbers that are drawn for each batch: every point gets the same "
                f"ones, so that points can be compared, but another batch size than {len(parts[0])} draws others "
                f"({first:.6g} and {found[2][name]:.6g} of one batch at the origin)"
            )


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
