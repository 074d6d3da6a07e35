"""Re-estimation of the running statistics of batch normalization at a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from landscape._utils.torch_compat import NormBase, tree_leaves
from landscape._utils.torch_state import clone_each
from landscape.errors import UnsoundError
from landscape.problem.problem import Split


@dataclass(frozen=True)
class Recalibration:
    """Re-estimation of running statistics at the present weights of a model.

    Attributes:
        model: the network.
        norms: its normalization layers that track running statistics.
        split: training samples.
        batch_size: samples per forward pass.
        writes: True if the network writes into its inputs.
    """

    model: nn.Module
    norms: Sequence[NormBase]
    split: Split
    batch_size: int
    writes: bool = False

    @property
    def batches(self) -> list[Split]:
        """The batches in order. A last one of a single sample, which has no variance, is joined to the one before."""
        size = self.batch_size
        starts = list(range(0, len(self.split), size))
        if len(starts) > 1 and size > 1 and len(self.split) - starts[-1] == 1:
            starts.pop()
        ends = [*starts[1:], len(self.split)]
        return [self.split.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)]

    @property
    def uneven(self) -> bool:
        """True if the batches have different numbers of samples, so that their weights matter."""
        return len(self.split) > self.batch_size and len(self.split) % self.batch_size != 0

    def run(self) -> None:
        """Set running statistics to their average over the batches in order, weighted by samples.

        Called in the autograd mode that the network needs.
        """
        self.model.eval()
        momenta = [norm.momentum for norm in self.norms]
        seen = dict.fromkeys(self.norms, 0)

        def weigh(norm: NormBase, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            """Set the weight of what the layer is about to see, by its number of values per channel."""
            count = next(leaf.numel() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
            seen[norm] += count
            # Equal batches get 1, 1/2, 1/3, ..., which are the weights of torch's own cumulative average.
            norm.momentum = count / seen[norm] if count else 0.0

        handles = [norm.register_forward_pre_hook(weigh, with_kwargs=True) for norm in self.norms]
        try:
            for norm in self.norms:
                norm.reset_running_stats()
                norm.train()
            for batch in self.batches:
                self.model(clone_each(batch.inputs) if self.writes else batch.inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UnsoundError(
                f"running statistics cannot be re-estimated on single samples ({error}): expected batches of two or "
                f"more, got a batch size of {self.batch_size} for {len(self.split)} samples"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()


def require_norms(model: nn.Module, norms: Sequence[NormBase]) -> None:
    """Raise ``ValueError`` if a network has running statistics, but not in layers where they can be re-estimated."""
    statistics = [name for name, _ in model.named_buffers() if name.endswith("running_mean")]
    if statistics and not norms:
        raise ValueError(
            f"bn: the running statistics of {type(model).__name__} ({statistics[0]}) cannot be re-estimated, because "
            "they are not in layers of torch.nn (TorchScript, or frozen layers of its own): use 'checkpoint'"
        )
