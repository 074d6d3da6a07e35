"""Loss and metrics of causal language models: means over tokens, at any batch size."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""Label of a token that doesn't count, as in torch's cross-entropy and in transformers."""
_CHUNK = 2**22
"""Number of logits whose losses are computed at a time: their logarithms of probabilities take 16 MiB in float32, and
those of a batch of a model with 50,000 tokens as much as the logits."""


def token_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each next token in nats, and 1 for each token that counts.

    The sum over all samples divided by the number of tokens is the mean over the tokens, as ``model(**batch).loss`` of
    transformers is for one batch.

    Args:
        logits: logits ``(batch, length, vocabulary)``. A model with a prompt of its own may return more positions, of
            which the last ones are those of ``labels``.
        labels: tokens ``(batch, length)``, not shifted; -100 where they don't count.

    Returns:
        Losses and weights ``(batch, length)``, zero where a token doesn't count. The last position predicts none.
    """
    targets = _next_tokens(labels)

    def losses(chunk: Tensor, wanted: Tensor) -> Tensor:
        wide = chunk.to(torch.promote_types(chunk.dtype, torch.float32))
        return functional.cross_entropy(wide, wanted, ignore_index=IGNORED, reduction="none")

    mask = targets != IGNORED
    values = _by_tokens(losses, logits, targets)
    return values, mask.to(values.dtype)


def token_accuracy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return 100 for each next token that has the largest logit and 0 for the others, and 1 for each that counts.

    Arguments and shapes are those of :func:`token_loss`; the result is a mean over tokens in percent.
    """
    targets = _next_tokens(labels)
    mask = targets != IGNORED
    right = _by_tokens(lambda chunk, wanted: chunk.max(dim=-1).indices == wanted, logits, targets)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return 100 * (right & mask).to(dtype), mask.to(dtype)


class Perplexity:
    """The exponential of the mean loss over all tokens of a split, which is no mean over samples itself."""

    reads_only = True
    """Outputs and targets are neither changed nor kept."""

    def __init__(self) -> None:
        self._loss, self._tokens = 0.0, 0.0

    def reset(self) -> None:
        """Forget all batches."""
        self._loss, self._tokens = 0.0, 0.0

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch; arguments are those of :func:`token_loss`."""
        losses, weights = token_loss(logits, labels)
        self._loss += float(losses.double().sum())
        self._tokens += float(weights.double().sum())

    def compute(self) -> float:
        """Return the value over all batches since the last reset; NaN without tokens, infinity beyond float64."""
        try:
            return math.exp(self._loss / self._tokens) if self._tokens else math.nan
        except OverflowError:
            return math.inf


def _next_tokens(labels: Tensor) -> Tensor:
    """Return the labels of the tokens after each position, instead of a copy of the logits without the last one."""
    return functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def _by_tokens(function: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> Tensor:
    """Return a function of the logits ``(tokens, vocabulary)`` and targets ``(tokens,)``, some tokens at a time."""
    rows, wanted = logits[:, -targets.shape[1] :].flatten(0, 1), targets.flatten()
    count = max(1, _CHUNK // max(1, rows.shape[-1]))
    if count >= len(rows):
        return function(rows, wanted).view(targets.shape)
    parts = zip(torch.split(rows, count), torch.split(wanted, count), strict=True)
    return torch.cat([function(chunk, each) for chunk, each in parts]).view(targets.shape)
