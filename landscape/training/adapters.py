"""Adapters of PEFT: files that have only the tensors that an adapter adds to a network, under shorter names.

PEFT leaves the name of the adapter (``default``) out of the names in a file: ``lora_A.weight`` there is
``lora_A.default.weight`` in the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from landscape._utils.state_dict import fits
from landscape.errors import CheckpointError

_SAVED = "modules_to_save"
"""Child that holds the trained copy of a layer, whose name files leave out, too."""
_DEFAULT = "default"


def complete_adapter(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return all tensors of a network, those of its adapter from a file.

    Args:
        own: tensors of the network with its adapter.
        stored: tensors of the file.
        path: the file in messages.

    Raises:
        CheckpointError: the network has no place for a tensor of the file.
    """
    places: dict[str, list[str]] = {}
    for name in own:
        for short in _short_names(name):
            places.setdefault(short, []).append(name)
    found = dict(own)
    wrong = []
    for name, tensor in stored.items():
        fitting = [place for place in places.get(name, []) if fits(tensor, own[place])]
        usual = [place for place in fitting if _DEFAULT in place.split(".")] or fitting
        if name in fitting:
            usual = [name]
        if len(usual) != 1:
            wrong.append(name)
        else:
            found[usual[0]] = tensor
    if wrong:
        adapters = sorted({name.rpartition("lora_")[0].rpartition(".")[0] for name in own if ".lora_" in name})
        hint = (
            "build the network of the problem with the same adapter, for instance by peft.get_peft_model"
            if not adapters
            else "its adapter has other layers, another rank, or several adapters"
        )
        raise CheckpointError(
            f"{path} is an adapter, and the network has no place for {len(wrong)} of its {len(stored)} tensors "
            f"({', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}): {hint}"
        )
    return found


def _short_names(name: str) -> list[str]:
    """Return the names that a tensor may have in a file: its own, and without the name of an adapter."""
    parts = name.split(".")
    shorter = [".".join(parts[:k] + parts[k + 1 :]) for k in range(1, len(parts))]
    if _SAVED in parts:
        k = parts.index(_SAVED)
        shorter.append(".".join(parts[:k] + parts[k + 2 :]))
    return [name, *dict.fromkeys(shorter)]
