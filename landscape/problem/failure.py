"""Explanations of why a network doesn't take the inputs of its problem, or a measure its outputs and targets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from landscape._utils.torch_compat import tree_map
from landscape._utils.torch_state import call_without_grad, evaluation_mode, preserve_random_state, preserve_tensors
from landscape.errors import LandscapeError
from landscape.problem.problem import Split
from landscape.problem.reduction import is_split_metric
from landscape.problem.whole import WholeSplitMeasure


def explain_failure(
    model: nn.Module, split: Split, batch_size: int, error: Exception, measures: Mapping[str, Any] | None = None
) -> ValueError | None:
    """Return an error that says what to do if ``model`` or a measure fails on a batch; None if they don't.

    Args:
        model: the network.
        split: the samples, on the device and in the type of the network.
        batch_size: number of samples of a batch.
        error: the error, which is quoted.
        measures: loss and metrics by name.
    """
    batch = split.take(slice(0, batch_size))
    found = _outputs(model, batch.inputs)
    if found is not None:
        return _explain_measures(measures or {}, found, batch) or _explain_whole(
            measures or {}, model, split, batch_size
        )
    reason = _reason(error)
    kind, inputs = type(model).__name__, batch.inputs
    if len(batch) < len(split) and _outputs(model, split.inputs) is not None:
        advice = (
            "it takes all samples at once, as networks on one graph do: set the batch size to the number of samples, "
            f"{len(split)}"
        )
    elif _outputs_of_numbers(model, inputs) is not None:
        advice = (
            f"inputs are {_shapes(inputs)}, and integers stay what they are: write Problem(..., forward=lambda model, "
            "batch: model(batch.float()))"
        )
    elif isinstance(inputs, tuple | list) and (outputs := _outputs(model, *inputs)) is not None:
        advice = _advice("*batch", outputs)
    elif isinstance(inputs, Mapping) and (outputs := _outputs(model, **inputs)) is not None:
        advice = _advice("**batch", outputs)
    else:
        advice = f"inputs are {_shapes(inputs)}"
        if isinstance(inputs, tuple | list | Mapping):
            entry = repr(next(iter(inputs), "name")) if isinstance(inputs, Mapping) else "0"
            advice += (
                ", passed as one argument; Problem(..., forward=lambda model, batch: ...) calls the network in "
                f"another way, such as model(batch[{entry}])"
            )
    return ValueError(
        f"the network {kind} fails on a batch of {len(batch)} of {len(split)} samples ({reason}); {advice}"
    )


def _explain_measures(measures: Mapping[str, Any], outputs: Any, batch: Split) -> ValueError | None:
    """Return an error with the shapes that a measure of batches fails on; None if none fails."""
    for name, measure in measures.items():
        if is_split_metric(measure):
            continue
        try:
            with preserve_random_state():
                call_without_grad(partial(measure, outputs, batch.targets))
        except LandscapeError:
            return None  # says itself what to do
        except Exception as error:
            advice = _choice(measure, outputs, batch.targets) or _conversion(measure, outputs, batch.targets)
            return ValueError(
                f"{name} fails on a batch of {len(batch)} samples ({_reason(error)}); it is called with the outputs, "
                f"{_shapes(outputs)}, and targets, {_shapes(batch.targets)}{advice}"
            )
    return None


def _explain_whole(measures: Mapping[str, Any], model: nn.Module, split: Split, batch_size: int) -> ValueError | None:
    """Return an error with the name of a measure of the whole split that fails; None if none fails."""
    for name, measure in measures.items():
        if not is_split_metric(measure):
            continue
        own = WholeSplitMeasure(copy.deepcopy(measure), name)
        outputs: Any = None
        try:
            own.reset()
            for start in range(0, len(split), batch_size):
                batch = split.take(slice(start, start + batch_size))
                outputs = _outputs(model, batch.inputs)
                with preserve_random_state():
                    call_without_grad(partial(own.update, outputs, batch.targets))
            own.compute()
        except LandscapeError:
            return None  # says itself what to do
        except Exception as error:
            if str(error).startswith(f"{name}: "):
                return None
            shapes = (
                ""
                if outputs is None
                else (f"; the last batch has the outputs, {_shapes(outputs)}, and targets, {_shapes(batch.targets)}")
            )
            return ValueError(f"{name} fails on all {len(split)} samples together ({_reason(error)}){shapes}")
    return None


def _works(function: Callable[[], object]) -> bool:
    try:
        with preserve_random_state():
            call_without_grad(function)
    except Exception:  # of a user's code
        return False
    return True


def _choice(measure: Any, outputs: Any, targets: Any) -> str:
    """Return which entry of the outputs a measure takes, if it takes one alone; empty for a single tensor."""
    entries: dict[str, Any] = {}
    if isinstance(outputs, Mapping):
        entries = {
            f".{key}" if type(outputs) is not dict and hasattr(outputs, str(key)) else f"[{key!r}]": value
            for key, value in outputs.items()
        }
    elif isinstance(outputs, tuple | list):
        names = [f".{name}" for name in getattr(outputs, "_fields", ())]
        entries = {names[k] if names else f"[{k}]": value for k, value in enumerate(outputs)}
    elif not isinstance(outputs, Tensor):
        entries = {f".{key}": value for key, value in getattr(outputs, "__dict__", {}).items()}
    for entry, value in entries.items():
        if isinstance(value, Tensor) and _works(partial(measure, value, targets)):
            return (
                f". It takes {entry} of the outputs alone: let forward return that, as in Problem(..., forward=lambda "
                f"model, batch: model(batch){entry})"
            )
    return ""


def _conversion(measure: Any, outputs: Any, targets: Any) -> str:
    """Return a conversion of the targets with which a measure works; empty if none is known."""
    if isinstance(targets, Tensor) and isinstance(outputs, Tensor):
        conversions = {
            "targets.long()": Tensor.long, "targets.float()": Tensor.float,
            "targets[:, None]": lambda t: t[:, None], "targets.float()[:, None]": lambda t: t.float()[:, None],
            "targets.squeeze(1)": lambda t: t.squeeze(1), "targets.squeeze(1).long()": lambda t: t.squeeze(1).long(),
        }  # fmt: skip
        for text, convert in conversions.items():
            if _works(lambda convert=convert: measure(outputs, convert(targets))):  # type: ignore[misc]
                return f". It works with {text}"
    return ""


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _shapes(tree: Any) -> str:
    """Return the shapes and types of nested tensors, and the types of everything else."""
    described = tree_map(
        lambda leaf: f"{tuple(leaf.shape)} {leaf.dtype}" if isinstance(leaf, Tensor) else type(leaf).__name__, tree
    )
    return described if isinstance(described, str) else f"{described}"


def _advice(arguments: str, outputs: Any) -> str:
    logits = ".logits" if hasattr(outputs, "logits") else ""  # as those of Hugging Face have
    call = f"model({arguments}){logits}"
    return f"inputs are passed as one argument: write Problem(..., forward=lambda model, batch: {call})"


def _outputs_of_numbers(model: nn.Module, inputs: Any) -> Any:
    """Return the outputs for integers as floating-point numbers; None if the network fails or they are none."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    if dtype is None or not isinstance(inputs, Tensor) or inputs.is_floating_point() or inputs.is_complex():
        return None
    return _outputs(model, inputs.to(dtype))


def _outputs(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Return the outputs of a network, of whatever type; None if it fails."""
    try:
        with evaluation_mode(model), preserve_random_state(), preserve_tensors((args, kwargs)):
            outputs = call_without_grad(lambda: model(*args, **kwargs))
    except Exception:  # a network is any callable
        return None
    return () if outputs is None else outputs
