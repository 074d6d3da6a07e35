"""Checkpoints stored as differences to a full one beside them: without loss, or rounded to half precision.

Without loss, the bits of a tensor are combined with those of the full checkpoint by exclusive or, so that bits which
both have in common become zero, and compressed byte by byte. Rounded, the difference is stored in half precision: an
entry is then off by at most ``2**-8`` (bfloat16) of its distance from the full checkpoint, beside the rounding of one
addition.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape._utils.files import open_replacing
from landscape.errors import CheckpointError
from landscape.training.torch_files import DIFFERENCE_FORMAT, FORMAT, load_plain

_LEVEL = 1  # of zlib: higher ones gain less than a hundredth on the bits of weights


def rounded(tensor: Any, dtype: torch.dtype) -> Any:
    """Return a tensor of at least two dimensions rounded to half precision; anything else is returned as it is.

    So is a tensor with a finite entry beyond the range of ``dtype``.
    """
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.dim() < 2:
        return tensor
    if not tensor.is_floating_point() or tensor.element_size() <= 2:
        return tensor
    half = tensor.detach().to(dtype)
    return tensor if bool((half.isinf() & tensor.isfinite()).any()) else half


def difference_to(
    base: Mapping[str, Any], tensors: Mapping[str, Any], dtype: torch.dtype | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the tensors to be stored as they are, and the differences of the others to ``base``.

    Args:
        base: tensors of the full checkpoint, on the CPU.
        tensors: tensors of the same names, on the CPU.
        dtype: half precision for differences of matrices; None for differences without loss.
    """
    whole: dict[str, Any] = {}
    differences: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        of_base = base.get(name)
        packed = None
        if isinstance(tensor, Tensor) and isinstance(of_base, Tensor) and _alike(tensor, of_base):
            packed = _packed(of_base, tensor) if dtype is None else _rounded_difference(of_base, tensor, dtype)
        if packed is None:
            whole[name] = tensor
        else:
            differences[name] = packed
    return whole, differences


def save_difference(
    path: Path, base: Path, contents: Mapping[str, Any], whole: Mapping[str, Any], differences: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint as differences to the full one in the file ``base`` of the same folder, atomically.

    Raises:
        CheckpointError: the file cannot be written.
    """
    stored = {
        **contents, "format": DIFFERENCE_FORMAT, "state_dict": dict(whole), "base": base.name,
        "base_checksum": archive_checksum(base), "differences": dict(differences),
    }  # fmt: skip
    with open_replacing(path, durable=True, on_error=CheckpointError) as file:
        torch.save(stored, file)


def completed(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint that :func:`save_difference` wrote, with all of its tensors.

    Raises:
        CheckpointError: the full checkpoint is missing or another one, or the file is damaged.
    """
    name, whole, differences = stored.get("base"), stored.get("state_dict"), stored.get("differences")
    if not isinstance(name, str) or Path(name).name != name or not isinstance(differences, Mapping):
        raise CheckpointError(f"{path} is damaged: expected differences to a full checkpoint beside it, got {name!r}")
    base = path.parent / name
    if not base.is_file():
        raise CheckpointError(f"{path} holds differences to {base}, which is missing; restore that file")
    if archive_checksum(base) != stored.get("base_checksum"):
        raise CheckpointError(f"{path} holds differences to {base}, which is another file now; restore the former one")
    full = load_plain(base)
    if not isinstance(full, Mapping) or full.get("format") != FORMAT or not isinstance(full.get("state_dict"), Mapping):
        raise CheckpointError(f"{base}: expected a full checkpoint, to which {path} holds differences")
    tensors: dict[str, Any] = {}
    for each in full["state_dict"]:  # in the order of the network
        if each in differences:
            tensors[each] = _restored(full["state_dict"][each], differences[each], path)
        elif isinstance(whole, Mapping) and each in whole:
            tensors[each] = whole[each]
    return {**stored, "state_dict": tensors}


def archive_checksum(path: Path) -> str:
    """Return a checksum of a file of ``torch.save``, from the checksums of its members that the file holds.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member.file_size, member.CRC) for member in archive.infolist()]
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, LookupError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    return hashlib.sha256(repr(members).encode()).hexdigest()


def _alike(tensor: Tensor, other: Tensor) -> bool:
    both = tensor.layout is torch.strided and other.layout is torch.strided
    return both and tensor.shape == other.shape and tensor.dtype == other.dtype and tensor.numel() > 0


def _rounded_difference(base: Tensor, tensor: Tensor, dtype: torch.dtype) -> Tensor | None:
    if tensor.dim() < 2 or not tensor.is_floating_point() or tensor.element_size() <= 2:
        return None
    delta = tensor.detach() - base
    half = delta.to(dtype)
    return half if bool(half.isfinite().all()) else None


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _packed(base: Tensor, tensor: Tensor) -> Tensor | None:
    """Return the compressed exclusive or of two tensors' bits, first bytes first; None if that is not smaller."""
    mixed = _bytes(tensor) ^ _bytes(base)
    planes = mixed.reshape(-1, tensor.element_size()).t().contiguous()
    packed = zlib.compress(planes.numpy().data, _LEVEL)
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8) if len(packed) < mixed.numel() else None


def _restored(base: Any, stored: Any, path: Path) -> Tensor:
    if not isinstance(base, Tensor) or not isinstance(stored, Tensor):
        raise CheckpointError(f"{path} is damaged: expected a tensor for each difference")
    if stored.dtype in (torch.bfloat16, torch.float16):
        if stored.shape != base.shape:
            raise CheckpointError(f"{path} is damaged: a difference has another shape than the full checkpoint")
        return base + stored.to(base.dtype)
    size = math.prod(base.shape) * base.element_size()
    if stored.dtype != torch.uint8 or base.is_complex():
        raise CheckpointError(f"{path} is damaged: a difference is stored as {stored.dtype}")
    try:
        unpacking = zlib.decompressobj()
        planes = unpacking.decompress(stored.contiguous().numpy().data, size + 1)
    except zlib.error as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    if len(planes) != size:
        raise CheckpointError(f"{path} is damaged: a difference has {len(planes):,} bytes instead of {size:,}")
    mixed = torch.frombuffer(bytearray(planes), dtype=torch.uint8).reshape(base.element_size(), -1).t().contiguous()
    return (mixed.reshape(-1) ^ _bytes(base)).view(base.dtype).reshape(base.shape)
