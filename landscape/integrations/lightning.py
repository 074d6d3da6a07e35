"""Problems made of Lightning modules: the loss is that of their own validation step, batch by batch."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from landscape._utils.own_call import own_forward
from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import call_without_grad, evaluation_mode, preserve_random_state, preserve_tensors
from landscape.integrations.recording import Arguments, fresh_metrics, recording
from landscape.problem.problem import Measure, Problem, Split
from landscape.problem.reduction import SplitMetric
from landscape.problem.sources import split_of
from landscape.problem.whole import PerBatch

_LOADERS = ("train", "val")
"""Splits that are made of a data module, by the names of its loaders."""
_PREFIX = re.compile(r"^(valid|validation|val|test)[_/]+")
_ADVICE = (
    "give the loss as a function of outputs and targets (loss=), or write landscape.Problem(module, splits, loss, "
    "forward=lambda module, batch: ...)"
)


def problem(
    module: nn.Module,
    data: Any,
    *,
    loss: Measure | str | None = None,
    metrics: Mapping[str, Measure | SplitMetric] | None = None,
    step: str = "validation_step",
    batch_size: int | None = None,
    limit: int | None = None,
) -> Problem:
    """Return the problem of a Lightning module, with its present weights and its own names.

    Without ``loss``, a batch is measured by ``validation_step``: what it returns, or what it logs. Such a value belongs
    to a batch, so that batches are as large as those of each loader, in the order of the data set, and are weighted by
    samples, as Lightning averages what is logged. What the step logs becomes metrics, and a metric of torchmetrics is
    computed over all batches. Nothing else of a trainer is there: a step that uses ``self.trainer`` needs ``loss``.

    Args:
        module: a ``LightningModule`` of ``lightning`` or ``pytorch_lightning``.
        data: a data module, whose training and validation data become the splits ``train`` and ``val``; a loader or
            data set, which becomes ``train``; or loaders by name.
        loss: function ``(outputs, targets)`` that replaces the step, of what ``module(inputs)`` returns; it may return
            one value per sample, which has a standard error. Or the name under which the step logs or returns the loss.
        metrics: further measures, together with a function as ``loss``.
        step: name of the method that measures a batch.
        batch_size: number of samples of a batch, of all splits; by default that of each loader.
        limit: number of samples of each split, the first ones; all by default.

    Returns:
        The problem. Names of metrics are those that the step logs, without ``val_``.

    Raises:
        TypeError: data that don't become tensors.
        ValueError: no loss in what the step returns and logs, a step that needs a trainer, or data
            without a batch size.
    """
    loaders = _loaders(data)
    description = {"architecture": type(module).__name__}
    if callable(loss):
        splits = {name: Split.of(loader, limit=limit) for name, loader in loaders.items()}
        return Problem(module, splits, loss, dict(metrics or {}), description=description)
    if metrics:
        raise ValueError(f"metrics: expected none without a function as loss, since {step} logs its own")
    if not callable(getattr(module, step, None)):
        raise ValueError(f"{type(module).__name__} has no {step}: {_ADVICE}")
    sizes = dict.fromkeys(loaders, batch_size) if batch_size else _batch_sizes(loaders)
    # Loaders of different batch sizes: the step gets its own batches, and several of them are one of the evaluation.
    size = math.lcm(*sizes.values())
    splits = {name: _split(loader, limit, sizes[name]) for name, loader in loaders.items()}
    forward = _Step(step, fresh_metrics(module))
    batch = next(iter(splits.values())).take(slice(0, size))
    outputs = _tried(module, forward, batch)
    key = _loss_key(outputs, loss, type(module).__name__, step)
    found: dict[str, Any] = {}
    for name, value in outputs.items():
        short = re.sub(r"[^\w-]", "_", _PREFIX.sub("", name))
        if name != key and short != "loss":
            found[short] = (
                _Recorded(forward.metric(name), name)
                if isinstance(value, _Updates)
                else PerBatch(_Entry(name), size, sizes)
            )
    return Problem(module, splits, PerBatch(_Entry(key), size, sizes), found, description=description, forward=forward)


class _Updates:
    """Calls of a metric of torchmetrics in one batch."""

    def __init__(self, calls: list[Arguments]) -> None:
        self.calls = calls


class _Step:
    """The step of a module as a function of a batch, whose outputs are what it returns and logs, by name."""

    def __init__(self, step: str, fresh: Mapping[str, Any]) -> None:
        self.__name__ = step
        self._step, self._fresh = step, fresh
        self._attributes: dict[str, str] = {}

    def metric(self, name: str) -> Any:
        """Return the metric of torchmetrics that is logged under a name, without any batch."""
        return self._fresh[self._attributes.get(name, name)]

    def __call__(self, module: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the step returns and logs for one or several batches of a loader."""
        numbers, size = inputs["number"], int(inputs["size"][0])
        parts = [slice(start, start + size) for start in range(0, len(numbers), size)]
        if len(parts) == 1:
            return self._of_batch(module, inputs["batch"], int(numbers[0]) // size)
        found = [
            self._of_batch(module, tree_map(operator.itemgetter(part), inputs["batch"]), int(numbers[part][0]) // size)
            for part in parts
        ]
        return _joined(found, [len(numbers[part]) for part in parts])

    def _of_batch(self, module: nn.Module, batch: Any, number: int) -> dict[str, Any]:
        function = getattr(module, self._step)
        wanted = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        further = [number, 0][: max(0, len([p for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]) - 1)]
        with recording(module, self._fresh) as recorded:
            returned = function(batch, *further)
            record = recorded()
        self._attributes.update(record.attributes)
        outputs: dict[str, Any] = dict(record.values)
        outputs |= {name: _Updates(calls) for name, calls in record.updates.items()}
        if isinstance(returned, Mapping):
            outputs |= {name: value for name, value in returned.items() if _is_value(value)}
        elif _is_value(returned):
            outputs["loss"] = returned
        return outputs


def _joined(found: Sequence[Mapping[str, Any]], lengths: Sequence[int]) -> dict[str, Any]:
    """Return the outputs for several batches together: means weighted by samples, values of samples, calls."""
    joined: dict[str, Any] = {}
    for name in (name for name in found[0] if all(name in outputs for outputs in found)):
        values = [outputs[name] for outputs in found]
        if isinstance(values[0], _Updates):
            joined[name] = _Updates([call for value in values for call in value.calls])
        elif values[0].dim():
            joined[name] = torch.cat(values)
        else:
            total = sum(value.double() * length for value, length in zip(values, lengths, strict=True))
            joined[name] = total / sum(lengths)
    return joined


def _is_value(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() < 2 and value.is_floating_point()


class _Entry:
    """A measure that a step has computed already."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, outputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Return the value of the batch."""
        if self.__name__ not in outputs:
            raise ValueError(f"{self.__name__}: expected it to be logged or returned for every batch")
        value: Tensor = outputs[self.__name__]
        return value


class _Recorded:
    """A metric of torchmetrics over all batches of a split, from the calls that a step has made."""

    def __init__(self, metric: Any, name: str) -> None:
        self.__name__, self._metric = name, copy.deepcopy(metric)

    def reset(self) -> None:
        """Forget all batches."""
        self._metric.reset()

    def update(self, outputs: Mapping[str, Any], targets: Any) -> None:
        """Add a batch."""
        self._metric.to(tree_leaves(targets)[0].device)
        for args, kwargs in outputs[self.__name__].calls:
            self._metric.update(*args, **kwargs)

    def compute(self) -> Any:
        """Return the value over all batches since the last reset."""
        return self._metric.compute()


def _tried(module: nn.Module, forward: _Step, batch: Split) -> dict[str, Any]:
    """Return the outputs for a batch, in evaluation mode and without a trace in the module."""
    try:
        with (
            evaluation_mode(module),
            preserve_random_state(),
            preserve_tensors(list(module.buffers())),
            own_forward(module, forward),
        ):
            outputs: dict[str, Any] = call_without_grad(lambda: module(batch.inputs))
            return outputs
    except Exception as error:  # a step is any code
        reason = str(error).partition("\n")[0]
        hint = "" if "rainer" not in reason else ", which needs a trainer"
        raise ValueError(
            f"{type(module).__name__}.{forward.__name__} fails on a batch of {len(batch)} samples{hint} "
            f"({type(error).__name__}: {reason}): {_ADVICE}"
        ) from error


def _loss_key(outputs: Mapping[str, Any], given: str | None, kind: str, step: str) -> str:
    """Return the name of the loss among what a step returns and logs."""
    values = [name for name, value in outputs.items() if isinstance(value, Tensor)]
    if given is not None:
        if given not in values:
            raise ValueError(f"loss: {kind}.{step} logs and returns {', '.join(values) or 'nothing'}, not {given!r}")
        return given
    losses = [name for name in values if "loss" in name.lower()]
    for candidates in (["loss"], [name for name in losses if _PREFIX.sub("", name) == "loss"], losses):
        present = [name for name in candidates if name in values]
        if len(present) == 1:
            return present[0]
    raise ValueError(
        f"{kind}.{step} returns no loss and logs {', '.join(values) or 'nothing'}: let it return the loss, name it "
        f"(loss='name'), or {_ADVICE}"
    )


def _loaders(data: Any) -> dict[str, Any]:
    """Return loaders or data sets by the names of their splits."""
    if isinstance(data, Mapping):
        return dict(data)
    if not any(callable(getattr(data, f"{name}_dataloader", None)) for name in _LOADERS):
        return {"train": data}
    data.prepare_data()
    data.setup("fit")
    found = {}
    for name in _LOADERS:
        try:
            loader = getattr(data, f"{name}_dataloader")()
        except (NotImplementedError, RuntimeError) as error:
            if type(error).__name__ not in ("NotImplementedError", "MisconfigurationException"):
                raise
            continue  # a data module need not have all of them
        loader = loader[0] if isinstance(loader, list | tuple) and len(loader) == 1 else loader
        if isinstance(loader, list | tuple | Mapping):
            raise ValueError(
                f"data: {name}_dataloader returns several loaders; give them by name: data={{'a': loader}}"
            )
        if loader is not None:
            found[name] = loader
    return found


def _batch_sizes(loaders: Mapping[str, Any]) -> dict[str, int]:
    sizes = {
        name: loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) if isinstance(loader, DataLoader)
        else None
        for name, loader in loaders.items()
    }  # fmt: skip
    known = {name: size for name, size in sizes.items() if size}
    if len(known) != len(sizes):
        raise ValueError(
            f"batch_size: the value of a step belongs to a batch, and the loaders have batches of {sizes}; say how "
            "many samples a batch has (batch_size=)"
        )
    return known


def _split(loader: Any, limit: int | None, size: int) -> Split:
    """Return a split whose inputs are whole batches, and the numbers of their samples with the size of a batch."""

    def part(batch: Any, numbers: Sequence[int]) -> tuple[Any, Any]:
        number = torch.tensor(list(numbers))
        targets = batch[-1] if isinstance(batch, tuple | list) and len(batch) > 1 else number
        return {"batch": batch, "number": number, "size": torch.full_like(number, size)}, targets

    return split_of(loader, limit, part=part)
