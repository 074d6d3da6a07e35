"""Loss and metrics of a model over a whole split, weighted by samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import call_without_grad, clone_each, detach_each, evaluation_mode, preserve_tensors
from landscape._utils.user_code import refuse_exit
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import BatchValues, SplitMetric, read_values
from landscape.problem.whole import WholeSplitMeasure, batch_size_for, prepare_measures


def measure(
    model: nn.Module, split: Split, loss: Measure, metrics: Mapping[str, Measure | SplitMetric], batch_size: int = 128
) -> dict[str, float]:
    """Compute loss and metrics of ``model`` in evaluation mode: float64 sums over samples, divided by their number
    or by the sum of their weights.

    The model's mode is restored, weights and buffers are not touched, and no gradients are computed.

    Args:
        model: the network.
        split: the samples, on its device or in the memory of the host.
        loss: per-sample loss, one with weights, or a scalar mean (see ``Measure``); called ``"loss"`` in the result.
        metrics: further measures by name.
        batch_size: number of samples per forward pass.

    Returns:
        Means by name, ``loss`` first.

    Raises:
        ValueError: the split is empty, or a measure returns what :data:`Measure` does not allow.
        UserCodeError: the network or a measure ends the program.
    """
    if not len(split):
        raise ValueError("expected a split with at least one sample, got an empty one")
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    device = next((parameter.device for parameter in model.parameters()), split.device)
    measures = prepare_measures({"loss": loss, **metrics}, device, dtype)
    whole = {name: f for name, f in measures.items() if isinstance(f, WholeSplitMeasure)}
    batch_size = batch_size_for(measures, None) or batch_size
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    weights: dict[str, list[Tensor]] = {name: [] for name in measures}

    def results(batch: Split) -> dict[str, BatchValues]:
        outputs = model(detach_each(batch.inputs))
        found = {
            name: read_values(function(outputs, batch.targets), len(batch), name, device=device)
            for name, function in measures.items()
            if name not in whole
        }
        for metric in whole.values():  # last: if anything before needs gradients, all is computed again
            metric.update(*((outputs, batch.targets) if metric.reads_only else clone_each((outputs, batch.targets))))
        return found

    for metric in whole.values():
        metric.reset()
    with evaluation_mode(model), refuse_exit(), preserve_tensors(list(model.buffers())):
        for batch in (part.read().to(device) for part in split.batches(batch_size)):
            # They are the caller's, and a network may write into its inputs, a measure into targets or its last result.
            with preserve_tensors((batch.inputs, batch.targets)):
                for name, result in call_without_grad(partial(results, batch)).items():
                    found = result.values.detach().clone()
                    if result.weights is None:
                        values[name].append(found.expand(len(batch)))
                    else:
                        values[name].append(found.reshape(-1))
                        weights[name].append(result.weights.detach().clone().reshape(-1))
    # Moved to the CPU once, after all batches, so that a GPU is never waited for in between.
    return {
        name: whole[name].compute()
        if name in whole
        else _sum(parts) / (_sum(weights[name]) or math.nan if weights[name] else len(split))
        for name, parts in values.items()
    }


def _sum(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).to("cpu").to(torch.float64).sum())
