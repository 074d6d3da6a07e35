"""Weights as other programs store them: one reader for files and folders of every common kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape._utils.reading import read_json
from landscape._utils.state_dict import bare_name
from landscape.errors import CheckpointError
from landscape.training.difference_files import completed
from landscape.training.distributed_checkpoint import METADATA, read_distributed
from landscape.training.safetensors import read_safetensors
from landscape.training.torch_files import DIFFERENCE_FORMAT, load_plain

SAFETENSORS, INDEX = ".safetensors", ".index.json"
"""Suffix of files of safetensors, and of the index of weights in several files."""
FOLDER_FILES = (
    "adapter_model.safetensors", "adapter_model.bin",
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json", METADATA,
)  # fmt: skip
"""Files that hold the weights of a folder, in the order in which they are looked for."""
TRAINER_STATE = "trainer_state.json"
"""File of the ``Trainer`` of Hugging Face beside the weights, with the step."""
NESTS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which a state_dict is expected."""
KEY_MARK = "::"
"""Separator between the path of a checkpoint and a key in it: ``last.ckpt::ema.module``."""
_OPTIMIZERS = ("optim", "optimizer", "optimizers", "optimizer_states")
_LISTED = 4
_DEPTH = 2


@dataclass(frozen=True)
class WeightFile:
    """Contents of a checkpoint of any kind.

    Attributes:
        weights: tensors by their names in the file.
        values: whatever else the file has, such as step and metrics.
        adapter: True for the adapter of PEFT, which has only the tensors that it adds to a network.
        others: keys under which the file has further weights of the same names.
    """

    weights: Mapping[str, Tensor]
    values: Mapping[str, Any] = field(default_factory=dict)
    adapter: bool = False
    others: tuple[str, ...] = ()


def split_key(path: str | PathLike[str]) -> tuple[Path, str | None]:
    """Return the path of a checkpoint and the key behind ``::`` in it, if there is one."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"expected the path of a checkpoint, run or file, got {type(path).__name__}")
    file, mark, key = str(path).rpartition(KEY_MARK)
    return (Path(file), key) if mark and file and key and not Path(path).exists() else (Path(path), None)


def with_key(path: str | PathLike[str], key: str | None) -> Path:
    """Return the path that means the weights under a key of a checkpoint: ``last.ckpt::ema.module``."""
    return Path(path) if key is None else Path(f"{path}{KEY_MARK}{key}")


def weights_in_folder(folder: Path) -> Path | None:
    """Return the file that holds the weights of a folder of another program; None if there is none."""
    return next((folder / name for name in FOLDER_FILES if (folder / name).is_file()), None)


def read_weights(path: Path, key: str | None = None) -> WeightFile:
    """Read the weights in a file or folder.

    Args:
        path: a file of ``torch.save`` or safetensors, an index of several, or a folder with one of them or with a
            checkpoint of ``torch.distributed.checkpoint``.
        key: where in the file the weights are, such as ``ema.module``; found by rule if None.

    Raises:
        CheckpointError: nothing there, damage, or no weights under the key.
    """
    file = weights_in_folder(path) if path.is_dir() else path
    if file is None:
        raise CheckpointError(
            f"expected a run or a checkpoint, got the directory {path}, which has none of run.json, "
            f"{', '.join(FOLDER_FILES)}"
        )
    if file.name == METADATA:
        return WeightFile(read_distributed(file.parent, lambda names: _weight_names(names, key, path)))
    values: dict[str, Any] = {}
    state = file.parent / TRAINER_STATE
    if file.name in FOLDER_FILES and state.is_file():
        stored = read_json(state, CheckpointError)
        if not isinstance(stored, dict):
            raise CheckpointError(f"{state} is damaged: expected a dict with the step, got {type(stored).__name__}")
        values = {name: stored.get(of) for name, of in (("step", "global_step"), ("epoch", "epoch"))}
    if file.name.endswith(INDEX):
        found: Any = _sharded(file)
    elif file.suffix == SAFETENSORS:
        found = read_safetensors(file)
    else:
        found = load_plain(file)
        if isinstance(found, dict) and found.get("format") == DIFFERENCE_FORMAT:
            found = completed(found, file)
    weights = state_dict_in(found, path, key)
    others: tuple[str, ...] = ()
    if weights is not found and isinstance(found, Mapping):
        values = {"step": found.get("global_step", found.get("iteration")), **found}
        if key is None:
            names = _bare_names(weights)
            others = tuple(k for k, v in _nested_weights(found) if v is not weights and _bare_names(v) == names)
    return WeightFile(weights, values, file.name.startswith("adapter_model."), others)


def _sharded(index: Path) -> dict[str, Tensor]:
    """Return the tensors that an index distributes over several files."""
    stored = read_json(index, CheckpointError)
    weight_map = stored.get("weight_map") if isinstance(stored, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: expected a weight_map with the file of each tensor")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index} is refused: it refers to {name!r}, outside of its folder")
    tensors: dict[str, Tensor] = {}
    for name in dict.fromkeys(weight_map.values()):
        path = index.parent / name
        if not path.is_file():
            raise CheckpointError(f"{index.parent} is incomplete: {name} is missing, which {index.name} names")
        shard = read_safetensors(path) if path.suffix == SAFETENSORS else load_plain(path)
        if not isinstance(shard, Mapping):
            raise CheckpointError(f"{path}: expected a dict of tensors, got {type(shard).__name__}")
        missing = [tensor for tensor, file in weight_map.items() if file == name and tensor not in shard]
        if missing:
            raise CheckpointError(f"{path}: {missing[0]} is missing, which {index.name} places there")
        tensors.update((tensor, shard[tensor]) for tensor, file in weight_map.items() if file == name)
    return tensors


def state_dict_in(stored: Any, path: Path, key: str | None = None) -> Mapping[str, Any]:
    """Return the state_dict in the contents of a file: under a key, under a usual one, or the only one there is.

    Raises:
        CheckpointError: there is none, or there are several; the message lists what there is.
    """
    if key is not None:
        stored = _under(stored, key, path)
    if isinstance(stored, Mapping):
        for nest in NESTS:
            nested = stored.get(nest)
            if isinstance(nested, Mapping):
                return nested
        if _only_tensors(stored):
            return stored
        nested_ones = list(_nested_weights(stored))
        upper = [(name, value) for name, value in nested_ones if name in stored]
        if len(upper) == 1:
            return upper[0][1]
        if nested_ones:
            names = [name for name, _ in upper or nested_ones]
            several = "one by its key, such as" if names[1:] else "by its key,"
            raise CheckpointError(
                f"{path} has weights under {' and '.join(names[:_LISTED])}; choose {several} {names[0]}"
            )
    kind = (
        f"a dict of {', '.join(map(str, list(stored)[:_LISTED]))}"
        if isinstance(stored, Mapping)
        else type(stored).__name__
    )
    raise CheckpointError(f"{path}: expected a state_dict, or a dict with one under {' or '.join(NESTS)}, got {kind}")


def _under(stored: Any, key: str, path: Path) -> Mapping[str, Any]:
    """Return the dict under a dotted key, or the tensors whose names begin with it."""
    found = _descend(stored, key.split("."))
    if found is not None:
        return found
    places = [stored, *(stored.get(nest) for nest in NESTS)] if isinstance(stored, Mapping) else []
    for place in places:
        if isinstance(place, Mapping):
            named = {n.removeprefix(f"{key}."): t for n, t in place.items() if str(n).startswith(f"{key}.")}
            if named:
                return named
    names = sorted({str(name).partition(".")[0] for place in places if isinstance(place, Mapping) for name in place})
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise CheckpointError(f"{path} has nothing under {key!r}; it has {listed or type(stored).__name__}")


def _descend(stored: Any, parts: Sequence[str]) -> Mapping[str, Any] | None:
    if not parts:
        return stored if isinstance(stored, Mapping) else None
    if not isinstance(stored, Mapping):
        return None
    for length in range(len(parts), 0, -1):  # names of dicts may have dots, too
        name = ".".join(parts[:length])
        if name in stored:
            found = _descend(stored[name], parts[length:])
            if found is not None:
                return found
    return None


def _only_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _nested_weights(stored: Mapping[Any, Any], within: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dicts of tensors in a file with the keys that choose them; the state of optimizers is none."""
    for name, value in stored.items():
        if isinstance(name, str) and name not in _OPTIMIZERS and isinstance(value, Mapping):
            if _only_tensors(value):
                yield within + name, value
            elif within.count(".") < _DEPTH:
                yield from _nested_weights(value, f"{within}{name}.")


def _bare_names(weights: Mapping[str, Any]) -> set[str]:
    """Return the names of weights without those of wrappers, nor the counter of averaged models."""
    return {bare_name(str(name)) for name in weights} - {"n_averaged"}


def _weight_names(names: Collection[str], key: str | None, path: Path) -> Iterable[str]:
    """Return the names of weights in a distributed checkpoint, which has those of the optimizer beside them."""
    for nest in [key] if key is not None else NESTS:
        found = [name for name in names if name.startswith(f"{nest}.")]
        if found:
            return found
    if key is not None:
        tops = sorted({name.partition(".")[0] for name in names})
        raise CheckpointError(f"{path} has nothing under {key!r}; it has {', '.join(tops[:8])}")
    return [name for name in names if name.partition(".")[0] not in _OPTIMIZERS]
