"""Weights of a network as one object: named tensors with the arithmetic that planes need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape._utils.state_dict import (
    bare_name,
    fits,
    form,
    full_state_dict,
    match_names,
    misfit,
    prefix_hint,
    tied_names,
)
from landscape._utils.text import counted
from landscape.errors import CheckpointError
from landscape.geometry.arena import empty_like

SUM_BLOCK = 2**21
"""Entries that sums convert to float64 at a time (16 MiB), so that an embedding of any size costs no more than that.
Which entries are summed together decides the last bits of norms, and so this number is part of every direction."""
WRITE_BLOCK = 2**18
"""Entries that are written at a time if nothing is summed over them: their temporary copies stay in the cache."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The movable tensors of a network by name, in the order of its ``state_dict``.

    Attributes:
        tensors: detached floating-point or complex tensors. A tensor that several modules share (tied weights) appears
            once, under the first of its names. Norms and inner products count a complex number as two real ones.
        buffers: names among them that are running statistics of normalization layers, not parameters.
        tied: other names of tensors that several modules share.
        trainable: names of the parameters that training changes: those that require gradients, or in a plane of merged
            adapters, those that the adapters change. None if unknown.
    """

    tensors: Mapping[str, Tensor]
    buffers: frozenset[str] = frozenset()
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trainable: frozenset[str] | None = None

    def __repr__(self) -> str:
        dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in self.tensors.values()})
        return f"<Weights: {self.numel:,} in {counted(len(self.tensors), 'tensor')}, {', '.join(dtypes)}>"

    @classmethod
    def from_model(cls, model: nn.Module, buffers: bool = False) -> Weights:
        """Return a copy of the movable tensors of ``model``; see :func:`movable_tensors`.

        Half-precision tensors are copied as float32, so that displacements are computed in float32 and rounded once.

        Args:
            model: the network.
            buffers: include the floating-point buffers that a checkpoint holds (running statistics).

        Raises:
            ValueError: the model has no movable tensors, or some whose size isn't known yet.
        """
        unknown = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
        if unknown:
            raise ValueError(
                f"{type(model).__name__} has tensors without a size yet ({unknown[0]}): call the network once on a "
                "batch, model(inputs)"
            )
        live = movable_tensors(model, buffers)
        if not live:
            raise ValueError(
                f"expected a network with floating-point parameters; {type(model).__name__} has none (a quantized "
                "network can't be moved: take it as it was before)"
            )
        parameters = {id(parameter) for parameter in model.parameters()}
        names = frozenset(name for name, tensor in live.items() if id(tensor) not in parameters)
        tied = {name: others for name, others in tied_names(full_state_dict(model)).items() if name in live}
        return cls(
            {name: _copy(tensor, torch.float32) for name, tensor in live.items()}, names, tied, trainable_names(live)
        )

    @classmethod
    def of(cls, network: nn.Module | Weights) -> Weights:
        """Return weights as they are, and a copy of those of a network, on the CPU.

        Raises:
            TypeError: something else, such as a ``state_dict``, which doesn't say which tensors are parameters.
        """
        if isinstance(network, Weights):
            return network
        if isinstance(network, nn.Module):
            return cls.from_model(network).to("cpu")
        raise TypeError(
            f"expected a network or its Weights, got {type(network).__name__}; of a state_dict, "
            "Weights.from_model(network).select(state_dict)"
        )

    def select(
        self, state_dict: Mapping[str, Tensor], source: str = "checkpoint", *, as_stored: bool = False
    ) -> Weights:
        """Return the tensors of a ``state_dict`` under the names of this object, in its order and dtypes.

        A tensor that already has its dtype is not copied: one that is mapped from disk stays on disk.

        Args:
            state_dict: tensors by name, with or without the names of wrappers (``module.``); further entries are
                ignored.
            source: what the message calls them.
            as_stored: leave tensors of lower precision as they are, since their numbers are the same: those in half
                precision stay on disk, too.

        Raises:
            CheckpointError: a tensor is missing or has another shape; the message names the first ones.
        """
        match = match_names(self.tensors, state_dict, self.tied)
        if match is not None:
            for name, tensor in self:
                stored_tensor = state_dict[match.names[name]]
                if stored_tensor.layout != tensor.layout:
                    raise CheckpointError(
                        f"{source}: {match.names[name]} is stored as {stored_tensor.layout}, but the network has "
                        f"{tensor.layout}; save it in that form"
                    )
            chosen = {name: state_dict[match.names[name]].detach() for name in self.tensors}
            return self.with_tensors(
                {
                    name: chosen[name] if as_stored and _widens(chosen[name], tensor) else chosen[name].to(tensor.dtype)
                    for name, tensor in self
                }
            )
        found = {name: state_dict.get(name) for name in self.tensors}
        wrong = [
            f"{name} {form(tensor)}: " + ("missing" if (stored := found[name]) is None else f"shape {form(stored)}")
            for name, tensor in self.tensors.items()
            if not fits(found[name], tensor)
        ]
        differing = misfit(self.tensors, state_dict, self.tied)
        if " missing (" not in differing:  # all tensors are there, under the names of wrappers
            raise CheckpointError(f"{source} does not fit the network: {differing}")
        raise CheckpointError(
            f"{source}: {len(wrong)} of {len(self.tensors)} tensors do not fit the network: "
            + "; ".join(wrong[:4])
            + ("; ..." if len(wrong) > 4 else "")
            + prefix_hint(self.tensors, state_dict, self.tied)
        )

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.tensors.items())

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def numel(self) -> int:
        """Total number of entries."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def device(self) -> torch.device:
        """Device of the first tensor, usually of all."""
        return next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Weights:
        """Return weights of the same layout, made of other tensors."""
        return Weights(tensors, self.buffers, self.tied, self.trainable)

    def __sub__(self, other: Weights) -> Weights:
        require_same_layout(self, other)
        return self.with_tensors({name: _difference(tensor, other.tensors[name]) for name, tensor in self})

    def copy(self) -> Weights:
        """Return a copy that shares no memory with this object."""
        return self.with_tensors({name: _copy(tensor, tensor.dtype) for name, tensor in self})

    def dot(self, other: Weights) -> float:
        """Return the inner product over all tensors, accumulated in float64."""
        return sum(_dots(float64_blocks(self, other)))

    def norm(self) -> float:
        """Return the Euclidean norm over all tensors, accumulated in float64."""
        return float(sum(_dots(float64_blocks(self))) ** 0.5)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Weights:
        """Return the weights on ``device`` as ``dtype``; tensors that need no conversion are not copied."""
        return self.with_tensors({name: tensor.to(device=device, dtype=dtype) for name, tensor in self})

    def digest(self) -> str:
        """Return the SHA-256 over names, shapes, dtypes and bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for name, tensor in self:
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            if tensor.layout is not torch.strided:
                digest.update(str(tensor.layout).encode())
                tensor = tensor.to_dense()
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _dots(parts: Iterator[tuple[Tensor, ...]]) -> Iterator[float]:
    """Yield the inner product of the first and the last tensor of each tuple."""
    return (float(torch.dot(part[0], part[-1])) for part in parts)


def real_view(tensor: Tensor) -> Tensor:
    """Return a detached view of real numbers: of complex ones, real and imaginary parts along a last axis of two."""
    tensor = tensor.detach()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _copy(tensor: Tensor, least: torch.dtype) -> Tensor:
    """Return a copy whose dtype is at least as wide as ``least``."""
    return empty_like(tensor, torch.promote_types(tensor.dtype, least)).copy_(tensor.detach())


def _widens(stored: Tensor, tensor: Tensor) -> bool:
    """Return True if the numbers of ``stored`` remain the same in the dtype of ``tensor``."""
    alike = stored.is_floating_point() == tensor.is_floating_point()
    return alike and torch.promote_types(stored.dtype, tensor.dtype) == tensor.dtype


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return torch.sub(a.detach(), b.detach(), out=empty_like(a, torch.result_type(a, b)))


def float64_blocks(first: Weights, *others: Weights) -> Iterator[tuple[Tensor, ...]]:
    """Yield matching blocks of several weights as flat float64 tensors of at most :data:`SUM_BLOCK` entries.

    Every sum over all weights is taken over these blocks: in float64, on the device of the first weights, and without
    a float64 copy of anything large. Blocks are copies that the caller may overwrite; the next ones reuse their memory.

    Raises:
        ValueError: the weights are not of one layout.
    """
    for _, _, parts in named_float64_blocks(first, *others):
        yield parts


def named_float64_blocks(
    first: Weights, *others: Weights, size: int | None = None
) -> Iterator[tuple[str, slice, tuple[Tensor, ...]]]:
    """Like :func:`float64_blocks`, with the tensor's name and the block's range in the flattened :func:`real_view`.

    Args:
        first: weights whose device the blocks are on.
        *others: weights of the same layout.
        size: entries of a block; :data:`SUM_BLOCK` by default.
    """
    size = size or SUM_BLOCK
    for other in others:
        require_same_layout(first, other)
    most = min(size, max((real_view(tensor).numel() for _, tensor in first), default=0))
    # The memory is allocated once: allocating and freeing megabytes for each block would fragment the heap.
    workspaces = [torch.empty(most, dtype=torch.float64, device=first.device) for _ in (first, *others)]
    for name, _ in first:
        flat = [real_view(each.tensors[name]).reshape(-1) for each in (first, *others)]
        for start in range(0, len(flat[0]), size):
            part = slice(start, start + size)
            yield name, part, tuple(w[: len(f[part])].copy_(f[part]) for w, f in zip(workspaces, flat, strict=True))


def movable_tensors(model: nn.Module, buffers: bool = False) -> dict[str, Tensor]:
    """Return the live tensors of ``model`` that a plane may move, in ``state_dict`` order.

    These are the parameters, whether they require gradients or not. Integers (counters, quantized weights) and sparse
    buffers never move. Names that refer to the same memory (tied weights) are one tensor, under the first of its names.

    Args:
        model: the network.
        buffers: include dense floating-point buffers that a checkpoint holds: running statistics of normalization
            layers.

    Raises:
        ValueError: a parameter is sparse, or parameters share memory without being the same tensor.
    """
    live: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    if buffers:
        live |= dict(model.named_buffers(remove_duplicate=False))
    found: dict[str, Tensor] = {}
    first_names: dict[tuple[int, int], str] = {}
    # The state_dict gives the order and says which buffers are persistent; its tensors may be copies made by a hook.
    own = {id(tensor) for tensor in live.values()}
    for name, stored in full_state_dict(model, keep_vars=True).items():
        # A hook may also rename them, as that of activation checkpointing does.
        tensor = live.get(name, stored if id(stored) in own else None)
        if tensor is None or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if tensor.layout is not torch.strided:
            if isinstance(tensor, nn.Parameter):
                raise ValueError(f"expected dense parameters; {name} has the layout {tensor.layout}. Use to_dense()")
            continue  # a constant of the network, such as the edges of a graph
        # Tensors without memory (empty, or on the meta device) are distinguished by identity.
        start = (tensor.untyped_storage().data_ptr(), int(tensor.storage_offset())) if tensor.numel() else (0, 0)
        first_name = first_names.setdefault(start if start[0] else (0, id(tensor)), name)
        if first_name == name:
            found[name] = tensor
        elif (tensor.shape, tensor.stride()) != (found[first_name].shape, found[first_name].stride()):
            raise ValueError(
                f"{first_name} and {name} share memory in different forms, so that neither can move without the "
                "other; make one of them the only parameter"
            )
    return found


def trainable_names(live: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the names of the tensors of a model that require gradients."""
    return frozenset(name for name, tensor in live.items() if tensor.requires_grad)


def require_same_layout(a: Weights, b: Weights) -> None:
    """Raise ``ValueError`` unless names and shapes agree; the message says where they first differ."""
    if list(a.tensors) != list(b.tensors):
        odd = sorted(set(a.tensors) ^ set(b.tensors)) or [
            x for x, y in zip(a.tensors, b.tensors, strict=True) if x != y
        ]
        wrapped = [bare_name(name) for name in a.tensors] == [bare_name(name) for name in b.tensors]
        advice = "; one is wrapped (DataParallel, torch.compile): take both from the same object" if wrapped else ""
        raise ValueError(
            f"expected weights of one network; {len(odd)} names differ or are out of order, first {odd[0]}{advice}"
        )
    for name, tensor in a:
        other = b.tensors[name]
        if tensor.shape != other.shape:
            raise ValueError(
                f"expected weights of one network; {name} has shapes {tuple(tensor.shape)} and {tuple(other.shape)}"
            )
        if tensor.is_complex() != other.is_complex():
            raise ValueError(f"expected weights of one network; {name} is {tensor.dtype} and {other.dtype}")
