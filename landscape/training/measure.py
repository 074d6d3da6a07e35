"""Loss and metrics of a model over a whole split, weighted by samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import call_without_grad, detach_each, evaluation_mode, measure_for, preserve_tensors
from landscape._utils.user_code import refuse_exit
from landscape.problem.problem import Measure, Split
from landscape.problem.reduction import BatchValues, read_values


def measure(
    model: nn.Module, split: Split, loss: Measure, metrics: Mapping[str, Measure], batch_size: int = 128
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
    measures = {name: measure_for(f, device, dtype) for name, f in {"loss": loss, **metrics}.items()}
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    weights: dict[str, list[Tensor]] = {name: [] for name in measures}

    def results(batch: Split) -> dict[str, BatchValues]:
        outputs = model(detach_each(batch.inputs))
        return {
            name: read_values(function(outputs, batch.targets), len(batch), name, device=device)
            for name, function in measures.items()
        }

    with evaluation_mode(model), refuse_exit(), preserve_tensors(list(model.buffers())):
        for batch in (part.to(device) for part in split.batches(batch_size)):
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
        name: _sum(parts) / (_sum(weights[name]) or math.nan if weights[name] else len(split))
        for name, parts in values.items()
    }


def _sum(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).to("cpu").to(torch.float64).sum())
