"""Vectors in weight space as arrays by parameter name, and their parts by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from landscape.evaluation.config import DTYPES
from landscape.evaluation.derivatives.derivatives import LossDerivatives


def by_name(vectors: Tensor, derivatives: LossDerivatives) -> dict[str, npt.NDArray[Any]]:
    """Return vectors ``(k, n)`` as arrays by parameter name, ``(k, *shape)``."""
    parts = torch.split(vectors, [shape.numel() for shape in derivatives.parameters.values()], dim=1)
    return {
        name: part.reshape(len(vectors), *shape).numpy()
        for (name, shape), part in zip(derivatives.parameters.items(), parts, strict=True)
    }


def rows_of(tensors: Mapping[str, npt.NDArray[Any]], derivatives: LossDerivatives) -> Tensor:
    """Return arrays by parameter name as vectors ``(k, n)``."""
    if not tensors:
        return torch.empty(0, derivatives.n, dtype=DTYPES[derivatives.config.dtype])
    parts = [torch.from_numpy(tensors[name]) for name in derivatives.parameters]
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)


def layer_forms(
    vector: Tensor, image: Tensor, derivatives: LossDerivatives, layers: Mapping[str, Sequence[str]]
) -> Tensor:
    """Return the part of each layer in the inner product of a vector and its image, ``(layers,)``."""
    products = derivatives.unflatten(vector.double() * image)
    return torch.stack([torch.stack([products[name].sum() for name in names]).sum() for names in layers.values()])
