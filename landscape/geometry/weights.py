"""Weights as one object: named tensors of a network that a plane may move, with the arithmetic that planes need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.errors import CheckpointError
from landscape.geometry.arena import empty_like

BLOCK = 2**21
"""Entries that sums look at in float64 at a time (16 MiB): an embedding of any size costs no more than that.
Which entries are summed together decides the last bits of norms, so this number is part of what directions are."""
PIECE = 2**18
"""Entries that are written at a time where nothing is summed over them: their temporary copies stay in the cache."""


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

        Raises:
            ValueError: there is nothing to move.
        """
        live = movable(model, states)
        if not live:
            raise ValueError(f"a network with floating-point parameters expected; {type(model).__name__} has none")
        parameters = {name for name, _ in model.named_parameters()}
        states_among = frozenset(live) - parameters
        return cls({name: _copy(tensor, torch.float32) for name, tensor in live.items()}, states_among)

    def select(self, state_dict: Mapping[str, Tensor], source: str = "checkpoint") -> Weights:
        """The tensors of a ``state_dict`` that stand where these stand, in the same order, in these dtypes.

        A tensor that has its dtype already is not copied: one that is mapped from disk stays there.

        Raises:
            CheckpointError: a tensor is missing or has another shape; the message names the first ones.
        """
        shapes = {name: getattr(state_dict.get(name), "shape", None) for name in self.tensors}
        wrong = [
            f"{name} {tuple(tensor.shape)}: "
            + ("missing" if (shape := shapes[name]) is None else f"shape {tuple(shape)}")
            for name, tensor in self.tensors.items()
            if shapes[name] != tensor.shape
        ]
        if wrong:
            raise CheckpointError(
                f"{source}: {len(wrong)} of {len(self.tensors)} tensors do not fit the network: "
                + "; ".join(wrong[:4])
                + ("; ..." if len(wrong) > 4 else "")
            )
        return self.like({name: state_dict[name].detach().to(tensor.dtype) for name, tensor in self})

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.tensors.items())

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def numel(self) -> int:
        """Number of scalars in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def device(self) -> torch.device:
        """Where the first tensor is, and as a rule all."""
        return next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))

    def like(self, tensors: Mapping[str, Tensor]) -> Weights:
        """The given tensors under this object's account of which of them are running statistics."""
        return Weights(tensors, self.states)

    def minus(self, other: Weights) -> Weights:
        """Difference ``self - other``, tensor by tensor."""
        require_same_layout(self, other)
        return self.like({name: _less(tensor, other.tensors[name]) for name, tensor in self})

    def copy(self) -> Weights:
        """The same weights in memory of their own."""
        return self.like({name: _copy(tensor, tensor.dtype) for name, tensor in self})

    def dot(self, other: Weights) -> float:
        """Inner product over all tensors, accumulated in float64."""
        return sum(_dots(blocks(self, other)))

    def norm(self) -> float:
        """Euclidean norm over all tensors, accumulated in float64."""
        return sum(_dots(blocks(self))) ** 0.5

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


def _dots(parts: Iterator[tuple[Tensor, ...]]) -> Iterator[float]:
    """Inner products of the first and the last of each."""
    return (float(torch.dot(part[0], part[-1])) for part in parts)


def _copy(tensor: Tensor, least: torch.dtype) -> Tensor:
    """A copy, as ``least`` where that is wider."""
    return empty_like(tensor, torch.promote_types(tensor.dtype, least)).copy_(tensor.detach())


def _less(a: Tensor, b: Tensor) -> Tensor:
    return torch.sub(a.detach(), b.detach(), out=empty_like(a, torch.result_type(a, b)))


def blocks(first: Weights, *others: Weights) -> Iterator[tuple[Tensor, ...]]:
    """The same stretch of several weights as flat float64 tensors, at most :data:`BLOCK` entries at a time.

    What is summed over all weights is summed over these: in float64, on the device of the first, and without a
    float64 copy of anything large. They are copies, and the caller's own until the next ones come in their place.

    Raises:
        ValueError: the weights are not of one layout.
    """
    for _, _, parts in stretches(first, *others):
        yield parts


def stretches(first: Weights, *others: Weights, step: int = 0) -> Iterator[tuple[str, slice, tuple[Tensor, ...]]]:
    """As :func:`blocks`, with the tensor's name and the stretch of it; of ``step`` entries where that is given."""
    for other in others:
        require_same_layout(first, other)
    step = step or BLOCK
    most = min(step, max((tensor.numel() for _, tensor in first), default=0))
    # The same memory for all: what is allocated and let go again by the million bytes leaves holes in the heap.
    rooms = [torch.empty(most, dtype=torch.float64, device=first.device) for _ in (first, *others)]
    for name, tensor in first:
        flat = [tensor.detach().reshape(-1), *(other.tensors[name].detach().reshape(-1) for other in others)]
        for start in range(0, tensor.numel(), step):
            part = slice(start, start + step)
            yield name, part, tuple(r[: len(f[part])].copy_(f[part]) for r, f in zip(rooms, flat, strict=True))


def movable(model: nn.Module, states: bool = False) -> dict[str, Tensor]:
    """The live tensors of ``model`` that a plane may move, in ``state_dict`` order.

    Parameters, whether they require gradients or not; with ``states`` also floating-point buffers that a checkpoint
    holds, which are the running statistics of normalization layers. Integers (counters, quantized weights) never
    move. Names of one memory (tied weights) are one tensor, under the first of its names.

    Raises:
        ValueError: parameters are complex, or share memory without being the same tensor.
    """
    live = dict(model.named_parameters(remove_duplicate=False))
    if states:
        live |= dict(model.named_buffers(remove_duplicate=False))
    found: dict[str, Tensor] = {}
    homes: dict[tuple[int, int], str] = {}
    # The state_dict gives order and says which buffers are kept; the live tensors may differ where a hook copies.
    for name in model.state_dict(keep_vars=True):
        tensor = live.get(name)
        if tensor is None or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if tensor.is_complex():
            raise ValueError(f"real weights expected; {name} is {tensor.dtype}. Keep torch.view_as_real of it")
        # Tensors without memory of their own (empty, or on the meta device) are told apart by identity.
        start = (tensor.untyped_storage().data_ptr(), tensor.storage_offset()) if tensor.numel() else (0, 0)
        home = homes.setdefault(start if start[0] else (0, id(tensor)), name)
        if home == name:
            found[name] = tensor
        elif (tensor.shape, tensor.stride()) != (found[home].shape, found[home].stride()):
            raise ValueError(
                f"{home} and {name} share memory in different forms, so that neither can move without the other; "
                "make one of them the only parameter"
            )
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
