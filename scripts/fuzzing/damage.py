"""Damage to files of every format, by bytes and by structure, decided by a seed."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from fuzzing.corpus import Kind
from fuzzing.hdf5 import VICTIM, damage_hdf5
from fuzzing.values import ESCAPES, VALUES, damage_json, dump, pick, shown


def damage(kind: Kind, good: Path, folder: Path, seed: int) -> str:
    """Copy the files of a kind into ``folder``, damage one, and return what was done."""
    generator = np.random.default_rng(seed)
    for source in kind.sources:
        target = folder / ("run" if source in ("run", "stopped") else source)
        copy = shutil.copytree if (good / source).is_dir() else shutil.copy
        copy(good / source, target)
    (folder / VICTIM).write_bytes(b"must stay as it is\n" * 200)
    with h5py.File(folder / "other.h5", "w") as other:
        other["a"] = np.arange(10_000.0)
    os.mkfifo(folder / "fifo")
    path, choice = folder / kind.file, generator.random()
    if choice < 0.06:
        return f"place: {_replace_by_no_file(path, generator)}"
    if choice < 0.4 or kind.format == "bytes":
        return f"bytes: {_damage_bytes(path, generator)}"
    return f"structure: {_STRUCTURE[kind.format](path, generator)}"


def _replace_by_no_file(path: Path, generator: np.random.Generator) -> str:
    kind = pick(["fifo", "directory", "endless", "loop", "dangling", "empty", "missing"], generator)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind in ("endless", "loop", "dangling"):
        path.symlink_to({"endless": "/dev/zero", "loop": path.name, "dangling": "nowhere"}[kind])
    elif kind == "empty":
        path.touch()
    return kind


def _damage_bytes(path: Path, generator: np.random.Generator) -> str:
    raw = bytearray(path.read_bytes())
    size = len(raw)
    begin = int(generator.integers(size)) if generator.random() < 0.5 else int(generator.integers(min(size, 4096)))
    end = min(begin + int(generator.integers(1, 200)), size)
    kind = pick(["flip", "truncate", "zero", "random", "swap", "append", "repeat", "remove", "ones"], generator)
    if kind == "flip":
        for _ in range(int(generator.integers(1, 20))):
            raw[int(generator.integers(size)) if generator.random() < 0.5 else begin] ^= 1 << int(generator.integers(8))
    elif kind == "truncate":
        del raw[begin:]
    elif kind in ("zero", "ones"):
        raw[begin:end] = bytes([0 if kind == "zero" else 255]) * (end - begin)
    elif kind == "random":
        raw[begin:end] = generator.bytes(end - begin)
    elif kind == "swap":
        other = int(generator.integers(max(size - 200, 1)))
        raw[begin:end] = raw[other : other + end - begin]
    elif kind == "append":
        raw += generator.bytes(int(generator.integers(1, 5000)))
    elif kind == "repeat":
        raw[begin:begin] = raw[begin:end] * int(generator.integers(1, 50))
    else:
        del raw[begin:end]
    path.write_bytes(raw)
    return f"{kind} at {begin} of {size}"


def _damage_json_file(path: Path, generator: np.random.Generator) -> str:
    values: Any = json.loads(path.read_text())
    if generator.random() < 0.3:
        values["problem"] |= pick(
            [
                {"model": "os:system", "model_args": {"command": "touch owned"}},
                {"dataset": "os:system", "dataset_args": {"command": "touch owned"}},
                {"model_args": {"widths": [10**7, 10**7]}}, {"dataset": "text", "data": "/dev/zero"},
                {"dataset": "cifar10", "data": str(path.parent.parent / "fifo")},
                {"dataset": "text", "data": str(path.parent.parent / "fifo")}, {"model": ESCAPES},
            ],
            generator,
        )  # fmt: skip
    for _ in range(int(generator.integers(1, 3))):
        values = damage_json(values, generator)
    path.write_text(dump(values), errors="surrogatepass")
    return path.read_text(errors="replace")[:60]


def _damage_csv(path: Path, generator: np.random.Generator) -> str:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row, new = pick(rows, generator), _text(pick(VALUES, generator))[:5000]
    row[int(generator.integers(len(row)))] = new
    if generator.random() < 0.3:
        rows.append(pick(rows, generator)[:-1])
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", errors="replace")
    return repr(new[:40])


def _text(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return "9" * 5000


class _Code:
    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


class _Zeros:
    def __reduce__(self) -> Any:
        return bytearray, (10**11,)


def _odd_tensor(tensor: torch.Tensor, generator: np.random.Generator) -> Any:
    shape = tensor.shape
    makers: list[Callable[[], Any]] = [
        lambda: torch.full(shape, float("nan")), lambda: tensor.to(torch.complex64), lambda: tensor.to(torch.float16),
        lambda: tensor.to_sparse(), lambda: torch.zeros(1).expand(10**10), lambda: torch.zeros(*shape, 2),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8), lambda: tensor.to(torch.int64),
        lambda: torch.empty(shape, device="meta"), lambda: torch.zeros(0), lambda: tensor.double() * 1e300,
        lambda: pick(VALUES[:-13], generator), lambda: torch.zeros(()), lambda: tensor.to(torch.bfloat16),
    ]  # fmt: skip
    return pick(makers, generator)()


def _damage_torch(path: Path, generator: np.random.Generator) -> str:
    contents = torch.load(path, weights_only=True)
    choice = generator.random()
    modern = zipfile.is_zipfile(path)
    if choice < 0.1 and modern:  # packed members
        with zipfile.ZipFile(path) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for info, raw in members:
                if generator.random() < 0.9:
                    archive.writestr(info.filename, raw)
        return "packed"
    place = contents
    while isinstance(place, dict) and any(isinstance(v, dict) for v in place.values()) and generator.random() < 0.7:
        place = pick([value for value in place.values() if isinstance(value, dict)] or [place], generator)
    if not place:
        return "nothing"
    key = pick(list(place), generator)
    if choice < 0.25:
        del place[key]
        done = f"without {key}"
    elif choice < 0.35:
        place[key] = pick([_Code(), _Zeros(), torch.nn.Linear(1, 1), np.float64(1.0)], generator)
        done = f"{key}: an object"
    elif isinstance(place[key], torch.Tensor):
        place[key] = _odd_tensor(place[key], generator)
        done = f"{key}: {type(place[key]).__name__} {getattr(place[key], 'dtype', '')}"
    else:
        place[key] = pick([*VALUES[:-4], torch.zeros(3), torch.zeros(()) + 1j], generator)
        done = f"{key}: {shown(place[key])}"
    torch.save(contents, path, _use_new_zipfile_serialization=modern)
    return done


def _damage_pickle(path: Path, generator: np.random.Generator) -> str:
    contents = pickle.loads(path.read_bytes())
    value = pick(
        [_Code(), _Zeros(), *VALUES, np.zeros((4, 3072)), np.zeros((3, 3072), np.uint8), np.zeros(4, dtype=object),
         [0, 1, 2, 99], [0, 1, 2, "3"], np.array([0, 1, 2, 300]), np.zeros((2**10, 3072), np.uint8)],
        generator,
    )  # fmt: skip
    key = pick([*contents, b"other"], generator)
    path.write_bytes(pickle.dumps({**contents, key: value}, protocol=2))
    return f"{key!r}: {shown(value)}"


def _damage_tar(path: Path, generator: np.random.Generator) -> str:
    kind = pick(["large member", "endless name", "link", "device", "no members", "two of a name", "plain"], generator)
    packed = "w" if kind == "plain" else "w:gz"
    with tarfile.open(path) as old:
        members = [(info, (old.extractfile(info) or io.BytesIO()).read()) for info in old]
    with tarfile.open(path, packed) as tar:
        for info, raw in members if kind != "no members" else []:
            if kind == "link" and generator.random() < 0.5:
                info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
            if kind == "device" and generator.random() < 0.5:
                info.type, info.size = tarfile.CHRTYPE, 0
            tar.addfile(info, io.BytesIO(raw))
            if kind == "two of a name":
                tar.addfile(info, io.BytesIO(raw[::-1]))
        if kind in ("large member", "endless name"):
            info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
            info.size = 2**27
            info.type = tarfile.GNUTYPE_LONGNAME if kind == "endless name" else tarfile.REGTYPE
            tar.addfile(info, _Zeroes())
    return kind


class _Zeroes(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


_STRUCTURE: dict[str, Callable[[Path, np.random.Generator], str]] = {
    "hdf5": damage_hdf5,
    "json": _damage_json_file,
    "csv": _damage_csv,
    "torch": _damage_torch,
    "pickle": _damage_pickle,
    "tar": _damage_tar,
}
