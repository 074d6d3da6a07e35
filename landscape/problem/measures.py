"""What can be measured on a batch: one value per sample, so that means are weighted by samples and have an error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FEW_CLASSES = 32
"""Up to so many classes torch's CPU kernel is faster with the classes not on the last axis, where it takes samples
together: 32 against 319 us for 1797 x 10. With more classes it is slower."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of each sample; the mean over the tokens of each sequence for a language model.

    Args:
        outputs: logits ``(batch, classes)``, or ``(batch, ..., classes)`` for sequences; half precision is raised to
            float32 first.
        targets: class indices ``(batch,)``, or ``(batch, ...)``, integers.

    Returns:
        ``(batch,)``.

    Raises:
        ValueError: the shapes do not belong together.
    """
    _check_classes("cross_entropy", outputs, targets)
    logits = _at_least_float32(outputs)
    rows, flat = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    if logits.shape[-1] <= FEW_CLASSES and logits.device.type == "cpu":
        losses = functional.cross_entropy(rows.t().unsqueeze(0), flat.unsqueeze(0), reduction="none")
    else:
        losses = functional.cross_entropy(rows, flat, reduction="none")
    return _mean_per_sample(losses.reshape(targets.shape))


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Accuracy in percent: 0 or 100 for each sample; for sequences the percentage of tokens that are right.

    Arguments, shape of the result and what raises are those of :func:`cross_entropy`.
    """
    _check_classes("accuracy", outputs, targets)
    # The first of equals, as argmax gives it, and on a CPU in two thirds of its time.
    right = (outputs.max(dim=-1).indices == targets).to(torch.promote_types(outputs.dtype, torch.float32))
    return 100 * _mean_per_sample(right)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of the squared differences of each sample, over all axes but the first.

    Args:
        outputs: ``(batch, ...)``, real.
        targets: of the same shape. Shapes that would only broadcast are refused: ``(n, 1)`` against ``(n,)`` would
            compare every sample with every other.

    Returns:
        ``(batch,)``.

    Raises:
        ValueError: the shapes differ.
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"mean_squared_error: outputs and targets of one shape expected, got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}"
        )
    return _mean_per_sample((_at_least_float32(outputs) - targets).square())


def _check_classes(measure: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.dim() < 2 or outputs.shape[:-1] != targets.shape:
        raise ValueError(
            f"{measure}: logits (batch, ..., classes) and class indices (batch, ...) expected, got shapes "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        )


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _mean_per_sample(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.flatten(start_dim=1).mean(dim=1)
