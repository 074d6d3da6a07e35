"""Weights as one object: named tensors of a network that a plane may move, with the arithmetic that planes need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.errors import CheckpointError


@dataclass(frozen=True)
class Weights:
    """Tensors by name, in the order of the network's ``state_dict``.

    Attributes:
        tensors: detached floating-point tensors; a tensor shared by several modules (tied weights) stands once,
            under the first of its names.
        states: names among them that are running statistics of normalization layers and not parameters.
    """

    tensors: Mapping[str, Tensor]
    states: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: nn.Module, states: bool = False) -> Weights:
        """A copy of the movable tensors of ``model``: see :func:`movable`.

        Half-precision tensors are copied as float32, so that a displacement is computed in float32 and rounded once.
        """
        live = movable(model, states)
        parameters = {name for name, _ in model.named_parameters()}
        copies = {
            name: tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
            for name, tensor in live.items()
        }
        return cls(copies, frozenset(live) - parameters)

    def select(self, state_dict: Mapping[str, Tensor], source: str = "checkpoint") -> Weights:
        """The tensors of a ``state_dict`` that stand where these stand, in the same order, in these dtypes.

        Raises:
            CheckpointError: a tensor is missing or has another shape; the message names the first ones.
        """
        wrong = [
            f"{name} {tuple(tensor.shape)}: "
            + (f"shape {tuple(state_dict[name].shape)}" if name in state_dict else "missing")
            for name, tensor in self.tensors.items()
            if name not in state_dict or state_dict[name].shape != tensor.shape
        ]
        if wrong:
            raise CheckpointError(
                f"{source}: {len(wrong)} of {len(self.tensors)} tensors do not fit the network: "
                + "; ".join(wrong[:4])
                + ("; ..." if len(wrong) > 4 else "")
            )
        return Weights(
            {name: state_dict[name].detach().to(tensor.dtype) for name, tensor in self.tensors.items()}, self.states
        )

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.tensors.items())

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def numel(self) -> int:
        """Number of scalars in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def like(self, tensors: Mapping[str, Tensor]) -> Weights:
        """The given tensors under this object's account of which of them are running statistics."""
        return Weights(tensors, self.states)

    def minus(self, other: Weights) -> Weights:
        """Difference ``self - other``, tensor by tensor."""
        require_same_layout(self, other)
        return self.like({name: tensor - other.tensors[name] for name, tensor in self})

    def dot(self, other: Weights) -> float:
        """Inner product over all tensors, accumulated in float64."""
        require_same_layout(self, other)
        total = sum(
            (torch.dot(a.double().flatten(), b.double().flatten()) for (_, a), (_, b) in zip(self, other, strict=True)),
            start=torch.zeros((), dtype=torch.float64),
        )
        return float(total)

    def norm(self) -> float:
        """Euclidean norm over all tensors, accumulated in float64."""
        return self.dot(self) ** 0.5

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Weights:
        """The same weights on ``device`` as ``dtype``; tensors that already are there are not copied."""
        return self.like({name: tensor.to(device=device, dtype=dtype) for name, tensor in self})

    def digest(self) -> str:
        """SHA-256 over names, shapes, dtypes and bytes, as hexadecimal."""
        digest = hashlib.sha256()
        for name, tensor in self:
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def movable(model: nn.Module, states: bool = False) -> dict[str, Tensor]:
    """The live tensors of ``model`` that a plane may move, in ``state_dict`` order.

    Parameters, whether they require gradients or not; with ``states`` also floating-point buffers that a checkpoint
    holds, which are the running statistics of normalization layers. Integer counters never move.
    """
    parameters = dict(model.named_parameters())
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        wanted = name in parameters if not states else tensor.is_floating_point()
        if wanted and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def require_same_layout(a: Weights, b: Weights) -> None:
    """Raise ``ValueError`` unless names and shapes agree; the message says where they first differ."""
    if list(a.tensors) != list(b.tensors):
        odd = sorted(set(a.tensors) ^ set(b.tensors)) or [
            x for x, y in zip(a.tensors, b.tensors, strict=True) if x != y
        ]
        raise ValueError(f"weights of one network expected; {len(odd)} names differ or stand elsewhere, first {odd[0]}")
    for name, tensor in a:
        if tensor.shape != b.tensors[name].shape:
            raise ValueError(
                f"weights of one network expected; {name} has shapes {tuple(tensor.shape)} and "
                f"{tuple(b.tensors[name].shape)}"
            )
