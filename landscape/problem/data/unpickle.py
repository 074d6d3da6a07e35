"""A reader of pickles that admits arrays of plain numbers, numbers, bytes, strings, lists, tuples and dicts, no more.

A pickle is a program, and a data file must not be one. Here every global that it may name is replaced by a function of
ours that checks what it is handed, so that not even numpy's own restoring code meets unchecked input.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from landscape.errors import DataError


def load(raw: bytes, name: str) -> Any:
    """What a pickle holds, with strings written by Python 2 as bytes.

    Args:
        raw: the pickle, of any protocol.
        name: what messages call it.

    Raises:
        DataError: it is damaged, or needs anything but the types above.
    """
    try:
        return _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # the pickle module documents that damaged input may raise anything
        raise DataError(
            f"{name} is damaged: it cannot be read as a pickle ({type(error).__name__}: {error})"
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"refused, as it asks for {module}.{name}: a pickle of numpy arrays, bytes, strings, lists and dicts "
                "expected. It is not the published file"
            ) from None


class _Dtype:
    """Stands in for ``numpy.dtype`` while a pickle is read: a name such as ``u1``, and a byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any) -> None:
        self.name, self.order = _text(name), "="
        if not re.fullmatch(r"b1|[iu][1248]|f[248]", self.name):
            raise ValueError(f"arrays of plain numbers expected, got numpy type {self.name!r}")

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1]).replace("|", "=")

    def real(self) -> np.dtype:
        return np.dtype(self.order + self.name)


class _Array(np.ndarray):
    """An array whose pickled state is checked before numpy sees it."""

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, raw = state
        if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
            raise ValueError(f"the shape of an array expected, got {shape!r}")
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise ValueError("the type and bytes of an array expected")
        real = dtype.real()
        if len(raw) != math.prod(shape) * real.itemsize:
            raise ValueError(f"an array {shape} of {real} has {len(raw)} bytes")
        super().__setstate__((int(version), shape, real, bool(fortran), raw))


def _sealed(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as an object that a pickle can call and nothing else: it could set a function's own attributes."""

    class Sealed:
        __slots__ = ()

        def __call__(self, *arguments: Any) -> Any:
            return function(*arguments)

    return Sealed()


@_sealed
def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.uint8)


@_sealed
def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    array = _reconstruct(None, None, None)
    array.__setstate__((1, shape, dtype, _text(order) == "F", bytes(raw)))
    return array


@_sealed
def _dtype(name: Any, align: Any, copy: Any) -> _Dtype:
    return _Dtype(name)


@_sealed
def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if _text(encoding) != "latin1":
        raise ValueError(f"bytes written as latin1 expected, got {encoding!r}")
    return _text(text).encode("latin1")


@_sealed
def _empty_bytes() -> bytes:
    return b""


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, str):
        return value
    raise ValueError(f"a string expected, got {type(value).__name__}")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # only ever handed to _reconstruct, which ignores it
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
}
