"""Weights of a model in somebody else's training loop, under the names of the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from landscape._utils.state_dict import full_state_dict, tied_names
from landscape.geometry.weights import movable_tensors
from landscape.training.checkpoint import common_prefix

_COMPILED = "_orig_mod"
_SHARDED = "_fsdp_wrapped_module"
_STATISTICS = ("running_mean", "running_var", "n_averaged")


def weights_of(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the tensors of a network by name, without the names of wrappers (``module.``, ``_orig_mod.``).

    Args:
        model: the network, as it is or wrapped by ``DataParallel``, ``DistributedDataParallel`` or ``torch.compile``;
            or its ``state_dict``.

    Raises:
        TypeError: neither a network nor a mapping of tensors.
        ValueError: the tensors are shards of those of the network, as FSDP leaves them.
    """
    if isinstance(model, nn.Module):
        tensors: dict[str, Any] = full_state_dict(model)
    elif isinstance(model, Mapping) and any(isinstance(tensor, Tensor) for tensor in model.values()):
        tensors = dict(model)
    else:
        raise TypeError(f"expected a torch.nn.Module or its state_dict, got {type(model).__name__}")
    for name, tensor in tensors.items():
        if _SHARDED in name.split(".") or type(tensor).__name__ in ("DTensor", "ShardedTensor"):
            raise ValueError(
                f"{name} is sharded over processes; gather the weights on every rank with "
                "torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions("
                "full_state_dict=True, cpu_offload=True)), and record that"
            )
    names = _own_names(tensors)
    return {names[name]: tensor for name, tensor in tensors.items()}


def moving_of(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that a plane moves by name: the parameters, each once.

    A ``state_dict`` doesn't say which tensors are parameters: running statistics are recognized by their names.
    """
    if isinstance(model, nn.Module):
        names = _own_names(full_state_dict(model))
        return {names[name]: tensor.detach() for name, tensor in movable_tensors(model).items()}
    tied = tied_names(model)
    found: dict[str, Tensor] = {}
    for name, tensor in weights_of(model).items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or name.endswith(_STATISTICS):
            continue
        if not any(other in found for other in tied.get(name, ())):
            found[name] = tensor.detach()
    return found


def _own_names(tensors: Mapping[str, object]) -> dict[str, str]:
    """Return the name of each tensor in the network itself, by its name in the wrapped one."""
    prefix = common_prefix(tensors)
    return {
        name: ".".join(part for part in name.removeprefix(prefix).split(".") if part != _COMPILED) for name in tensors
    }
