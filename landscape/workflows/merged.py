"""Adapters of PEFT merged into the weights of their network: the network without them, and the updates they make.

PEFT merges, on a copy of the network. Scaling, rank-stabilized and weight-decomposed adapters (DoRA), layers that store
their weights transposed (``Conv1D`` of GPT-2), embeddings and layers trained as a whole (``modules_to_save``) hence
follow its own arithmetic.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from landscape._utils.state_dict import full_state_dict
from landscape.errors import CheckpointError, MissingLibraryError
from landscape.geometry.direction import Direction, difference
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.training.checkpoint import Checkpoint, load_into
from landscape.training.weight_files import split_key
from landscape.workflows.sources import load_weights

MERGED = "merged"
"""Kind of the direction that an adapter's merged update makes."""
_CONFIG = "adapter_config.json"


def has_adapters(model: nn.Module) -> bool:
    """Return True if layers of a network have adapters of PEFT."""
    return "peft" in sys.modules and next(_adapted_layers(model), None) is not None


def without_adapters(problem: Problem) -> Problem:
    """Return a problem with a copy of its network from which the adapters are removed.

    Layers that were trained as a whole (``modules_to_save``) are those from before the training. Biases that an adapter
    trained stay: PEFT does not keep the others.

    Raises:
        ValueError: the network has no adapters that can be merged.
    """
    return replace(problem, model=_base_network(problem.model))


def merged_directions(
    model: nn.Module, targets: Sequence[Path], states: bool = True
) -> tuple[Weights, list[Direction]]:
    """Return the weights of a network without its adapters, and the updates that merging adapters adds to them.

    Args:
        model: network with adapters, of which the active ones make the first direction.
        targets: adapters for further directions: folders of PEFT, or checkpoints of this network with or without its
            adapters.
        states: include running statistics.

    Returns:
        The origin, whose ``trainable`` parameters are those that any of the adapters changes, and the directions, not
        normalized: the network with merged adapters is at coordinate 1.

    Raises:
        ValueError: the network has no adapters, or merging one of them changes nothing.
        CheckpointError: a target cannot be read, or belongs to another network.
        MissingLibraryError: PEFT isn't installed.
    """
    base = _base_network(model)
    origin = Weights.from_model(base, buffers=states)
    directions = [_update(origin, _merged_network(model), None)]
    directions += [_update(origin, _merged_with(target, model, base), target) for target in targets]
    changed = {name for direction in directions for name, tensor in direction.weights if tensor.any()}
    return replace(origin, trainable=frozenset(changed - origin.buffers)), directions


def merged_target(origin: Weights, model: nn.Module, target: Path) -> Direction | None:
    """Return the update that merging the adapter in a folder adds to a network without adapters.

    None if the target is no folder of an adapter with its configuration, or the network has adapters itself.

    Raises:
        ValueError: merging the adapter changes nothing.
        CheckpointError: the adapter cannot be read, or belongs to another network.
        MissingLibraryError: PEFT isn't installed.
    """
    checkpoint = load_weights(target) if _config_of(target) is not None and not has_adapters(model) else None
    if checkpoint is None or not checkpoint.adapter:
        return None
    return _update(origin, _applied(model, checkpoint), target)


def merged_network_at(path: Path, model: nn.Module) -> nn.Module:
    """Return a copy of a network with the adapter of a checkpoint merged.

    Args:
        path: folder of an adapter, or checkpoint of the network with or without adapters.
        model: the network, with adapters or without.

    Raises:
        CheckpointError: the checkpoint cannot be read, or belongs to another network.
        MissingLibraryError: PEFT isn't installed.
    """
    return _merged_with(path, model, _base_network(model) if has_adapters(model) else model)


def is_merged(plane: Plane) -> bool:
    """Return True if a direction of a plane is the merged update of an adapter."""
    return any(direction.recipe.kind == MERGED for direction in plane.directions)


def bias_note(model: nn.Module) -> str:
    """Return the note that the origin of a merged plane has the biases that an adapter trained; empty as a rule."""
    configs = [dict(getattr(module, "peft_config", None) or {}) for module in model.modules()]
    if all(getattr(config, "bias", "none") == "none" for named in configs for config in named.values()):
        return ""
    return "the origin has the biases that the adapter trained: PEFT does not keep those from before the training"


def _update(origin: Weights, network: nn.Module, target: Path | None) -> Direction:
    """Return the direction from ``origin`` to a network with merged adapters."""
    weights = origin.select(full_state_dict(network), "the merged network" if target is None else str(target))
    direction = difference(origin, weights)
    if not direction.weights.norm() > 0:
        raise ValueError(
            f"expected an adapter that changes the network, but merging {target or 'that of the network'} changes "
            "nothing: it is as before training, or its layers are quantized"
        )
    to = None if target is None else str(target.resolve())
    return direction.with_weights(direction.weights, kind=MERGED, to=to)


def _merged_with(target: Path, model: nn.Module, base: nn.Module) -> nn.Module:
    """Return the network with the adapter of a target merged, or the one that a target holds."""
    checkpoint = load_weights(target)
    if checkpoint.adapter and _config_of(target) is not None:
        return _applied(base, checkpoint)
    plain = copy.deepcopy(base)
    try:
        load_into(plain, checkpoint)
    except CheckpointError:
        adapted = copy.deepcopy(model)
        load_into(adapted, checkpoint)
        return _merged_network(adapted)
    return plain


def _config_of(target: Path) -> Path | None:
    """Return the folder of an adapter, if its configuration is there."""
    path, _ = split_key(target)
    folder = path if path.is_dir() else path.parent
    return folder if (folder / _CONFIG).is_file() else None


def _applied(base: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """Return a copy of a network with the adapter of a folder merged."""
    peft = _peft()
    folder = _config_of(checkpoint.path)
    config = peft.PeftConfig.from_pretrained(str(folder))  # reads the JSON file alone
    config.task_type = None  # of a network that is only evaluated, whatever class it has
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the name of the base model, which is only copied here
            adapted = peft.get_peft_model(copy.deepcopy(base), config)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: PEFT cannot add this adapter to {type(base).__name__}: {error}") from error
    load_into(adapted, checkpoint)
    return _merged_network(adapted)


def _base_network(model: nn.Module) -> nn.Module:
    """Return a copy of a network without its adapters."""
    copied = copy.deepcopy(_adapted(model))
    for name, layer in list(_adapted_layers(copied)):
        if hasattr(layer, "modules_to_save"):
            # The copy is not tied to other layers, as the layer that was trained is not.
            _replace(copied, name, copy.deepcopy(layer.original_module))
        elif getattr(layer, "merged", False):
            layer.unmerge()
    return _unloaded(copied, merge=False)


def _merged_network(model: nn.Module) -> nn.Module:
    """Return a copy of a network with its active adapters merged into the weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All adapters are already merged")
        return _unloaded(copy.deepcopy(_adapted(model)), merge=True)


def _adapted(model: nn.Module) -> nn.Module:
    if not has_adapters(model):
        raise ValueError(
            f"expected a network with adapters of PEFT, as peft.get_peft_model returns it, got {type(model).__name__} "
            "without any; a network without adapters is the origin itself: give the adapter as target (to)"
        )
    return model


def _unloaded(model: nn.Module, merge: bool) -> nn.Module:
    """Remove the adapters of a network in place, merged into the weights or not, and return the network."""
    peft = _peft()
    for name, module in list(model.named_modules()):
        if isinstance(module, (peft.PeftModel, peft.PeftMixedModel)):
            plain = module.base_model.merge_and_unload() if merge else module.base_model.unload()
            if not name:
                return _as_network(plain)
            _replace(model, name, plain)
    for name, layer in list(_adapted_layers(model)):  # injected without a PeftModel around them
        if hasattr(layer, "unload_and_optionally_merge_module"):
            plain = layer.unload_and_optionally_merge_module(merge=merge, safe_merge=False, adapter_names=None)
        else:
            if merge:
                layer.merge()
            plain = layer.get_base_layer()
        if not name:
            return _as_network(plain)
        _replace(model, name, plain)
    return model


def _as_network(module: Any) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected PEFT to return a network, got {type(module).__name__}")
    return module


def _adapted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the outermost layers with adapters by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import other

    # PEFT before 0.15 has one kind of wrapper only.
    wrapper = getattr(other, "AuxiliaryTrainingWrapper", other.ModulesToSaveWrapper)
    found: list[str] = []
    for name, module in model.named_modules():
        within = any(not outer or name.startswith(f"{outer}.") for outer in found)
        if not within and isinstance(module, (BaseTunerLayer, wrapper)):
            found.append(name)
            yield name, module


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingLibraryError(
            "merging adapters needs PEFT, which isn't installed: pip install 'landscape[hf]'"
        ) from error
    return peft
