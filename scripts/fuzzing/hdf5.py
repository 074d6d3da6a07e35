"""Damage to the structure of HDF5 files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fuzzing.values import ESCAPES, TEXTS, VALUES, damage_json, dump, nested, pick, shown

VICTIM = "victim"
"""File beside the damaged one that must stay as it is."""


def damage_hdf5(path: Path, generator: np.random.Generator) -> str:
    """Change one or two things in a file, and return what was done."""
    done = []
    with h5py.File(path, "r+") as file:
        for _ in range(int(generator.integers(1, 3))):
            action = pick(_ACTIONS, generator)
            try:
                done.append(f"{action.__name__}: {action(file, generator, path.parent)}")
            except (KeyError, ValueError, TypeError, OSError, RuntimeError, OverflowError, MemoryError) as error:
                done.append(f"{action.__name__} failed: {type(error).__name__}")
    return "; ".join(done)


def _objects(file: h5py.File, kind: type[Any]) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, kind) else None)
    return found


def _any(file: h5py.File, generator: np.random.Generator, kind: type[Any] = h5py.Dataset) -> str:
    # Half of the time one of the root, which readers look at first.
    names = [name for name in _objects(file, kind) if "/" not in name] if generator.random() < 0.5 else []
    return str(pick(names or _objects(file, kind), generator))


def delete(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    name = _any(file, generator, pick([h5py.Dataset, h5py.Group], generator))
    del file[name]
    return name


def rename(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    name, new = _any(file, generator), pick(["train_loss", "abc", "members/abc/x", "status", ESCAPES, "99"], generator)
    file.move(name, f"{name}_" if new in file else new)
    return f"{name} to {new!r}"


def replace(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    name = _any(file, generator)
    shape = file[name].shape or ()
    options: list[Any] = [
        1.0, np.zeros(3), np.zeros((2, 2, 2, 2)), np.zeros(shape, "S5"), np.zeros(shape, np.complex128),
        np.zeros(shape, np.int64), np.full(shape, 255, np.uint8), np.full(shape, np.nan), np.full(shape, np.inf),
        np.full(shape, 1e308), np.full(shape, 1e-320), np.zeros((*shape, 1)), np.zeros(shape[::-1]), np.zeros(0),
        h5py.Empty("f8"), "text", np.zeros(shape, np.float16), np.zeros(shape, ">f8"), np.zeros(shape, bool),
        np.zeros(shape, [("a", "f8")]),
    ]  # fmt: skip
    value = pick(options, generator)
    attributes = dict(file[name].attrs)
    del file[name]
    if generator.random() < 0.1:
        file.create_group(name)
        return f"{name} by a group"
    file[name] = value
    for key, attribute in attributes.items():
        if key in ("name", "state"):
            file[name].attrs[key] = attribute
    return f"{name} by {getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}"


def change_values(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    name = _any(file, generator)
    values = np.array(file[name])
    if values.dtype.kind not in "fiu" or not values.size:
        return f"{name} not"
    odd = {"f": [np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 0.0], "i": [-1, 2**62], "u": [2, 3, 4, 255]}
    few = generator.random(values.shape) < generator.random()
    values[few] = np.array(pick(odd[values.dtype.kind], generator)).astype(values.dtype)
    file[name][...] = values
    return name


def attribute(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    """Remove or replace an attribute, or a part of its JSON text."""
    names = [name for name in _objects(file, h5py.Group) if file[name].attrs]
    node = file if generator.random() < 0.7 or not names else file[pick(names, generator)]
    keys = list(node.attrs)
    if not keys:
        return "none"
    key = pick(keys, generator)
    if generator.random() < 0.15:
        del node.attrs[key]
        return f"{node.name} {key} removed"
    value = node.attrs[key]
    text = value.decode() if isinstance(value, bytes) else value
    if isinstance(text, str) and text[:1] in ("{", "[") and generator.random() < 0.7:
        new: Any = dump(damage_json(json.loads(text), generator))
    else:
        new = pick([*VALUES, b"\xff\xfe", np.zeros(3), h5py.Empty("f8"), dump(nested(generator))], generator)
    node.attrs[key] = dump(new) if isinstance(new, dict | list) or new is None else new
    return f"{node.name} {key} = {shown(new)}"


def problem(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    """Name code, or absurd arguments, in the description of the problem."""
    described = pick(
        [
            {"factory": "os:system", "factory_args": {"command": "touch owned"}},
            {"model": "os:system", "model_args": {"command": "touch owned"}, "dataset": "digits"},
            {"model": "mlp", "dataset": "os:system", "dataset_args": {"command": "touch owned"}},
            {"factory": "landscape.functions.problem:problem", "factory_args": {"function": "os:system"}},
            {"model": "mlp", "model_args": {"widths": [10**7, 10**7]}, "dataset": "digits"},
            {"model": "mlp", "dataset": "text", "data": "/dev/zero"},
            {"model": "mlp", "dataset": "cifar10", "data": "/dev/zero"},
            {"model": "transformer", "model_args": {"depth": 10**9}, "dataset": "digits"},
        ],
        generator,
    )
    file.attrs["problem"] = json.dumps(described)
    return str(described)


def checkpoint(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    file.attrs["checkpoint"] = pick(["/dev/zero", str(folder / "fifo"), str(folder), *TEXTS], generator)
    return str(file.attrs["checkpoint"])


def link(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    """Put a link or a dataset of another file in the place of a dataset."""
    name = _any(file, generator)
    shape = file[name].shape or (4,)
    count = int(np.prod(shape))
    kind = pick(["external link", "soft link", "dangling link", "cycle", "storage", "virtual", "itself"], generator)
    del file[name]
    if kind == "external link":
        file[name] = h5py.ExternalLink(str(folder / "other.h5"), "/a")
    elif kind == "soft link":
        file[name] = h5py.SoftLink(
            pick(["/", "..", f"/{name}", f"/{pick(_objects(file, h5py.Dataset), generator)}"], generator)
        )
    elif kind == "dangling link":
        file[name] = h5py.SoftLink("/nowhere")
    elif kind == "cycle":
        file[name] = file["/"]
    elif kind == "storage":
        file.create_dataset(name, shape, "f8", external=[(str(folder / VICTIM), 0, 8 * count)])
    else:
        layout = h5py.VirtualLayout(shape, "f8")
        source = "." if kind == "itself" else str(folder / "other.h5")
        layout[...] = h5py.VirtualSource(source, name if kind == "itself" else "a", shape)
        file.create_virtual_dataset(name, layout)
    return f"{kind} for {name}"


def size(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    """Declare more values than the file holds."""
    name = _any(file, generator)
    attributes = {key: value for key, value in file[name].attrs.items() if key in ("name", "state")}
    shape = pick([(10**12,), (20_000, 20_000), (10**6,), (3000, 3000), (2**40, 1)], generator)
    packed = generator.random() < 0.5
    del file[name]
    file.create_dataset(name, shape, "f8", compression="gzip" if packed else None, chunks=True if packed else None)
    file[name].attrs.update(attributes)
    return f"{name} {shape}"


def names(file: h5py.File, generator: np.random.Generator, folder: Path) -> str:
    """Put text that controls a terminal wherever text is."""
    for key in ("title", "command", "commit", "remark", "checkpoint", "host", "started"):
        if key in file.attrs:
            file.attrs[key] = ESCAPES.replace("\x00", "")
    for group in file.get("trajectories", {}).values():
        group.attrs["name"] = ESCAPES
    return "escapes"


Action = Callable[[h5py.File, np.random.Generator, Path], str]
_ACTIONS: tuple[Action, ...] = (
    delete, delete, rename, replace, replace, change_values, change_values, attribute, attribute, attribute, problem,
    checkpoint, link, link, size, names,
)  # fmt: skip
