"""Losses and metrics on a batch: one value per sample, so that means are weighted by samples and have an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

FEW_CLASSES = 32
"""Number of classes up to which torch's CPU kernel is faster if the classes aren't on the last axis: 32 against 319 us
for 1797 x 10. With more classes it is slower."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample in nats; for sequences, the mean over the tokens.

    Args:
        outputs: logits ``(batch, classes)``, or ``(batch, ..., classes)`` for sequences; half precision is converted
            to float32 first.
        targets: class indices ``(batch,)``, or ``(batch, ...)``, integers.

    Returns:
        Losses ``(batch,)``.

    Raises:
        ValueError: the shapes don't match.
    """
    _check_classes("cross_entropy", outputs, targets)
    return _mean_per_sample(_token_losses(outputs, targets))


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the accuracy in percent: 0 or 100 for each sample; for sequences, the percentage of correct tokens.

    Args:
        outputs: logits ``(batch, classes)``, or ``(batch, ..., classes)`` for sequences.
        targets: class indices ``(batch,)``, or ``(batch, ...)``, integers.

    Returns:
        Percentages ``(batch,)``.

    Raises:
        ValueError: the shapes don't match.
    """
    _check_classes("accuracy", outputs, targets)
    return 100 * _mean_per_sample(_correct_tokens(outputs, targets))


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of each sample, over all axes but the first.

    Args:
        outputs: real values ``(batch, ...)``.
        targets: values of the same shape. Broadcasting is rejected: ``(n, 1)`` against ``(n,)`` would compare every
            sample with every other.

    Returns:
        Losses ``(batch,)``.

    Raises:
        ValueError: the shapes differ.
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"mean_squared_error: expected outputs and targets of the same shape, got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}"
        )
    return _mean_per_sample((_at_least_float32(outputs) - targets).square())


def is_own_measure(measure: Callable[..., object]) -> bool:
    """Return True for the functions of this module, which are known to compute each sample by itself."""
    return any(measure is own for own in (cross_entropy, accuracy, mean_squared_error))


def can_be_chunked(measure: Callable[..., object]) -> bool:
    """Return True for the measures that :func:`measure_in_chunks` computes."""
    return any(measure is own for own in _OF_TOKENS)


def measure_in_chunks(
    measures: Mapping[str, Callable[..., object]], logits_of: Callable[[slice], Tensor], targets: Tensor, chunk: int
) -> dict[str, Tensor]:
    """Return measures of a batch of sequences whose logits are computed in chunks of tokens, never all at once.

    Args:
        measures: measures by name, each one for which :func:`can_be_chunked` is true.
        logits_of: function that returns the logits ``(tokens, classes)`` of some of the tokens of all sequences.
        targets: class indices ``(batch, ...)``.
        chunk: number of tokens at a time.

    Returns:
        Values ``(batch,)`` by name, those of the measures up to rounding in ``logits_of``.
    """
    flat = targets.reshape(-1)
    parts: dict[str, list[Tensor]] = {name: [] for name in measures}
    for start in range(0, len(flat), chunk):
        tokens = slice(start, start + chunk)
        logits = logits_of(tokens)
        for name, measure in measures.items():
            parts[name].append(_OF_TOKENS[measure][0](logits, flat[tokens]))
        del logits  # before the next ones are computed
    return {
        name: _OF_TOKENS[measure][1] * _mean_per_sample(torch.cat(parts[name]).reshape(targets.shape))
        for name, measure in measures.items()
    }


def _token_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each token, of the shape of ``targets``."""
    logits = _at_least_float32(outputs)
    rows, flat = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    if logits.shape[-1] <= FEW_CLASSES and logits.device.type == "cpu":
        losses = functional.cross_entropy(rows.t().unsqueeze(0), flat.unsqueeze(0), reduction="none")
    else:
        losses = functional.cross_entropy(rows, flat, reduction="none")
    return losses.reshape(targets.shape)


def _correct_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1 for each token that is predicted correctly and 0 for the others, of the shape of ``targets``."""
    # Of equal maxima the first, like argmax, but on a CPU in two thirds of its time.
    return (outputs.max(dim=-1).indices == targets).to(torch.promote_types(outputs.dtype, torch.float32))


_OF_TOKENS: dict[Callable[..., object], tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    cross_entropy: (_token_losses, 1),
    accuracy: (_correct_tokens, 100),
}
"""Values of single tokens behind the measures, and the factor of their mean over a sequence."""


def _check_classes(measure: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.dim() < 2 or outputs.shape[:-1] != targets.shape:
        raise ValueError(
            f"{measure}: expected logits (batch, ..., classes) and class indices (batch, ...), got shapes "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        )


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _mean_per_sample(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.flatten(start_dim=1).mean(dim=1)
