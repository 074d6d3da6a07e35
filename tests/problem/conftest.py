"""Small CIFAR-10 archives in both published formats, byte for byte as Python 2 and the binary version write them."""

from __future__ import annotations

import io
import struct
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

RECORDS = 20


def _string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _python2_array(array: np.ndarray, fortran: bool) -> bytes:
    dtype = b"cnumpy\ndtype\n" + _string(b"u1") + b"K\x00K\x01\x87R(K\x03" + _string(b"|") + b"NNN"
    dtype += 2 * _integer(-1) + b"K\x00tb"
    state = b"(K\x01(" + b"".join(_integer(n) for n in array.shape) + b"t" + dtype + (b"\x88" if fortran else b"\x89")
    state += _string(array.tobytes("F" if fortran else "C")) + b"t"
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _string(b"b") + b"\x87R" + state + b"b"


def python2_pickle(images: np.ndarray, labels: np.ndarray, fortran: bool = False) -> bytes:
    """Return the pickle of a CIFAR-10 batch as cPickle of Python 2 writes it with protocol 2."""
    fields = {
        b"batch_label": _string(b"training batch 1 of 5"),
        b"labels": b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
        b"data": _python2_array(images, fortran),
        b"filenames": b"](" + b"".join(_string(f"auto_s_{n:06}.png".encode()) for n in range(len(labels))) + b"e",
    }
    return b"\x80\x02}(" + b"".join(_string(key) + value for key, value in fields.items()) + b"u."


def binary_batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


@dataclass(frozen=True)
class Cifar:
    """Contents of an archive: images (n, 3072) and labels (n,) by name of the batch."""

    batches: dict[str, tuple[np.ndarray, np.ndarray]]

    def files(self, version: str) -> dict[str, bytes]:
        if version == "python":
            return {name: python2_pickle(*batch) for name, batch in self.batches.items()}
        return {f"{name}.bin": binary_batch(*batch) for name, batch in self.batches.items()}

    def write(self, folder: Path, version: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in self.files(version).items():
            (folder / name).write_bytes(raw)
        return folder

    def pack(self, archive: Path, version: str) -> Path:
        """Write an archive, in another order than that of the batches and with other files, as published."""
        inside = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}[version]
        with tarfile.open(archive, "w:gz") as tar:
            for name, raw in [*reversed(self.files(version).items()), ("readme.html", b"<html>")]:
                member = tarfile.TarInfo(f"{inside}/{name}")
                member.size = len(raw)
                tar.addfile(member, io.BytesIO(raw))
        return archive


@pytest.fixture(scope="session")
def cifar() -> Cifar:
    generator = np.random.default_rng(5)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    return Cifar(
        {
            name: (
                generator.integers(0, 256, (RECORDS, 3072), dtype=np.uint8),
                generator.permutation(np.arange(RECORDS) % 10).astype(np.int64),
            )
            for name in names
        }
    )


@pytest.fixture(scope="session")
def python2() -> Callable[..., bytes]:
    return python2_pickle


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that writes a Python file into a new directory; ``sys.path`` is restored."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.write_text(source)
        return path

    return write
