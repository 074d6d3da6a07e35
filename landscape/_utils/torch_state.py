"""State of a network and of torch: dtype, evaluation mode and random numbers, changed and restored."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves, tree_map

T = TypeVar("T")

_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
# Devices whose random state torch can save and restore by index.
_INDEXED = ("cuda", "xpu")


def convert_tensors(model: nn.Module, device: torch.device, dtype: torch.dtype, forward: Callable[[], object]) -> None:
    """Convert parameters and buffers of ``model`` to ``device`` and to the precision of ``dtype``.

    ``Module.to`` would make complex tensors real. Here they get the complex type that belongs to ``dtype``, and
    integers and booleans keep theirs. A double-precision buffer of a network without double-precision parameters holds
    what needs its digits (times, constants, bin edges), and keeps them unless ``forward`` then fails. Tensors that need
    no conversion keep their memory; those that share memory still do.

    Args:
        model: the network. Its tensors are pointed at the converted ones.
        device: target device.
        dtype: target type of real tensors.
        forward: function that runs the network on a batch.
    """
    double = any(_bits(parameter.dtype) == 64 for parameter in model.parameters())
    kept = [] if double else [buffer for buffer in model.buffers() if _bits(buffer.dtype) == 64]
    converted: dict[tuple[object, torch.dtype], Tensor] = {}

    def convert(tensor: Tensor, to: torch.dtype) -> None:
        data = tensor.data
        memory: object = id(tensor)
        if data.layout is torch.strided:
            memory = (data.untyped_storage().data_ptr(), data.storage_offset(), data.shape, data.stride(), data.dtype)
        if (memory, to) not in converted:
            converted[memory, to] = data.to(device=device, dtype=to)
        tensor.data = converted[memory, to]

    keep = {id(buffer) for buffer in kept}
    for tensor in (*model.parameters(), *(b for b in model.buffers() if b.layout is torch.strided)):
        convert(tensor, tensor.dtype if id(tensor) in keep else converted_dtype(tensor, dtype))
    for module, name, buffer in sparse_buffers(model):  # those of compressed layouts have no data that can be set
        to = buffer.dtype if id(buffer) in keep else converted_dtype(buffer, dtype)
        setattr(module, name, buffer.to(device=device, dtype=to))
    if kept and _bits(dtype) < 64:
        try:
            with evaluation_mode(model), preserve_random_state(device):
                call_without_grad(forward)
        except Exception:  # a network is any callable
            for buffer in kept:
                if buffer.layout is torch.strided:
                    convert(buffer, converted_dtype(buffer, dtype))
            for module, name, buffer in sparse_buffers(model):
                setattr(module, name, buffer.to(dtype=converted_dtype(buffer, dtype)))


def sparse_buffers(model: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Return the buffers of ``model`` that are not dense, each with its module and its name in it."""
    return [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.layout is not torch.strided
    ]


def copy_network(model: nn.Module) -> nn.Module:
    """Return a deep copy of ``model`` whose parameters can be trained.

    Raises:
        ValueError: the network cannot be copied.
    """
    # torch copies neither tensors of compressed layouts nor those with a history: the weight that
    # `torch.nn.utils.weight_norm` computes before each forward pass, or activations that a module keeps.
    copies: dict[int, Any] = {
        id(leaf): leaf.detach().clone()
        for module in model.modules()
        for leaf in tree_leaves([value for key, value in vars(module).items() if key != "_modules"])
        if isinstance(leaf, Tensor) and (leaf.layout in _COMPRESSED or not leaf.is_leaf)
    }
    try:
        copied = copy.deepcopy(model, copies)
    except Exception as error:  # a network may hold anything
        raise ValueError(f"{type(model).__name__} cannot be copied: {str(error).partition('.')[0]}") from error
    for parameter, original in zip(copied.parameters(), model.parameters(), strict=True):
        if not parameter.is_leaf:  # the copy of a TorchScript module depends on the original
            parameter.detach_().requires_grad_(original.requires_grad)
    return copied


def converted_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the type that ``tensor`` gets in a network of type ``dtype``: integers and booleans keep theirs."""
    if tensor.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if tensor.is_floating_point() else tensor.dtype


def _bits(dtype: torch.dtype) -> int:
    """Return the precision of a floating-point or complex type in bits per real number; 0 for other types."""
    return torch.finfo(dtype).bits if dtype.is_floating_point or dtype.is_complex else 0


def detach_each(tree: Any) -> Any:
    """Return nested tensors as new ones of the same memory.

    A network that lets its inputs require gradients, or collects some in them, then does not change the caller's.
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


def clone_each(tree: Any) -> Any:
    """Return nested tensors as detached copies."""
    return tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, tree)


@contextmanager
def preserve_tensors(tree: Any) -> Iterator[None]:
    """Restore the values of nested tensors after the block if something in it has written to them."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and not leaf.is_inference()]
    kept = [(tensor, tensor._version, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, version, value in kept:
                if tensor._version != version:
                    tensor.detach().copy_(value)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return True if two tensors are equal bit for bit, including the sign of zeros and the bits of NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.is_complex():
        return same_bits(torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj()))
    integer = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}[a.element_size()]
    return torch.equal(a.view(integer), b.view(integer)) if a.is_floating_point() else torch.equal(a, b)


def measure_for(measure: T, device: torch.device, dtype: torch.dtype) -> T:
    """Return a measure for outputs on ``device`` of type ``dtype``.

    A measure that is a module (``nn.CrossEntropyLoss(weight=...)``) has tensors of its own: it is copied if they are
    elsewhere or of another type. Any other measure is returned as it is.
    """
    if not isinstance(measure, nn.Module):
        return measure
    tensors = (*measure.parameters(), *measure.buffers())
    if all(t.device == device and t.dtype == converted_dtype(t, dtype) for t in tensors):
        return measure
    copied = copy_network(measure)
    for tensor in (*copied.parameters(), *copied.buffers()):
        tensor.data = tensor.data.to(device=device, dtype=converted_dtype(tensor, dtype))
    return cast(T, copied)


def call_without_grad(function: Callable[[], T]) -> T:
    """Return ``function()`` computed without gradients, or with them if it needs them to differentiate by itself."""
    try:
        with torch.no_grad():
            return function()
    except RuntimeError as error:
        if "grad" not in str(error):
            raise
    with torch.enable_grad():
        return function()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode inside the block and restore the mode of each module afterwards."""
    with preserve_modes(model):
        model.eval()
        yield


@contextmanager
def preserve_modes(model: nn.Module) -> Iterator[None]:
    """Restore the training mode of each module of ``model`` after the block, also after an exception.

    Modules are restored by their own ``train()``, so that one that overrides it (a frozen backbone, a moving average of
    weights) is notified; each flag is then set to exactly what it was.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:  # parents come before their children, whose modes may differ
            if module.training != training:
                module.train(training)
        for module, training in modes:
            module.training = training


@contextmanager
def preserve_random_state(*devices: torch.device) -> Iterator[None]:
    """Restore torch's random state on the CPU and on ``devices`` after the block.

    Other devices are left alone, since saving their state would initialize them.
    """
    indices: dict[str, set[int]] = {}
    for device in devices:
        if device.type in _INDEXED:
            index = getattr(torch, device.type).current_device() if device.index is None else device.index
            indices.setdefault(device.type, set()).add(index)
    with ExitStack() as stack:
        if not indices:  # then without a type: torch 2.4 does not take None for it
            stack.enter_context(torch.random.fork_rng(devices=[]))
        for kind, numbers in indices.items():
            stack.enter_context(torch.random.fork_rng(devices=sorted(numbers), device_type=kind))
        yield


def cuda_in_use() -> tuple[torch.device, ...]:
    """Return the current CUDA device if this process has initialized CUDA, otherwise nothing."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        return (torch.device("cuda", torch.cuda.current_device()),)
    return ()


def seed_random(seed: int, *devices: torch.device) -> None:
    """Seed torch's default generators of the CPU and of ``devices``.

    ``torch.manual_seed`` would take 70 us and keep a pending seed for every accelerator that is not in use.
    """
    torch.default_generator.manual_seed(seed)
    for device in devices:
        if device.type in _INDEXED:
            module = getattr(torch, device.type)
            with module.device(device):
                module.manual_seed(seed)
        elif device.type != "cpu":
            torch.manual_seed(seed)


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the state of torch's default generators of the CPU and of ``device``; others are not known."""
    own = getattr(torch, device.type).get_rng_state(device) if device.type in _INDEXED else None
    return torch.get_rng_state(), own


def set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Set what :func:`random_state` has returned for ``device``."""
    cpu, own = state
    torch.set_rng_state(cpu)
    if own is not None:
        getattr(torch, device.type).set_rng_state(own, device)


def derive_seed(seed: int, purpose: str, index: int) -> int:
    """Derive a seed for one purpose at one step or epoch, so that a run can be resumed at any step.

    Args:
        seed: random seed of the run.
        purpose: use of the random numbers (``"order"``, ``"dropout"``); different purposes get unrelated numbers.
        index: step or epoch.

    Returns:
        An integer below 2**63 from the first bytes of a SHA-256. Neighbouring seeds give unrelated numbers.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
