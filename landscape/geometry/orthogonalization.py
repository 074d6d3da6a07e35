"""Gram-Schmidt orthogonalization of weights in float64, without a float64 copy of anything large."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.geometry.arena import empty_like
from landscape.geometry.weights import WRITE_BLOCK, Weights, float64_blocks, named_float64_blocks, real_view


def orthogonalize_(weights: Sequence[Weights], first_owned: int) -> list[Weights]:
    """Remove from each of ``weights`` its components along those before it.

    The float64 residual is never stored as a whole: only the multiples that were subtracted are kept, and the residual
    is recomputed from the original weights wherever it is needed, a block at a time.

    Args:
        weights: linearly independent displacements of one layout.
        first_owned: index of the first item whose tensors may be overwritten; results for items before it are new.

    Returns:
        The orthogonal displacements; the first one is ``weights[0]`` itself.

    Raises:
        ValueError: an item is zero or lies in the span of those before it.
    """
    subtracted: list[list[tuple[int, float]]] = []  # for each item: (index of a unit vector, multiple), in order
    lengths: list[float] = []
    spare = torch.empty(WRITE_BLOCK, dtype=torch.float64, device=weights[0].device if weights else None)

    def form_residual(parts: Sequence[Tensor], k: int) -> Tensor:
        """Turn block ``k`` of ``parts`` into its residual, in place; the blocks before it become unit vectors."""
        for i in range(k + 1):
            for j, multiple in subtracted[i]:
                for residual, unit in zip(
                    torch.split(parts[i], WRITE_BLOCK), torch.split(parts[j], WRITE_BLOCK), strict=True
                ):
                    residual.sub_(torch.mul(unit, multiple, out=spare[: len(unit)]))
            if i < k:
                parts[i].div_(lengths[i])
        return parts[k]

    def inner_product(k: int, j: int) -> float:
        """Return the inner product of the residual of item ``k`` with unit vector ``j``, or with itself."""
        return sum(float(torch.dot(form_residual(parts, k), parts[j])) for parts in float64_blocks(*weights[: k + 1]))

    for k in range(len(weights)):
        subtracted.append([])
        before = inner_product(k, k) ** 0.5
        for _ in range(2):  # twice is enough: the second pass removes what rounding left of the first
            for j in range(k):
                subtracted[k].append((j, inner_product(k, j)))
        length = inner_product(k, k) ** 0.5 if k else before
        # Entries are rounded to float32 at best: a residual shorter than this is rounding error, not a direction.
        if not length > 1e-6 * before:
            raise ValueError("expected linearly independent directions; one lies in the span of the others")
        lengths.append(length)
    results = list(weights)
    for k in reversed(range(1, len(weights))):  # from the last to the first: earlier ones are still needed unchanged
        if k < first_owned:
            results[k] = weights[k].with_tensors({name: empty_like(t.contiguous()) for name, t in weights[k]})
        for name, part, parts in named_float64_blocks(*weights[: k + 1], size=WRITE_BLOCK):
            real_view(results[k].tensors[name]).view(-1)[part] = form_residual(parts, k)
    return results
