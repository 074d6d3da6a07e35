"""A restricted unpickler: arrays of plain numbers, numbers, bytes, strings, lists, tuples and dicts only.

A pickle is a program, which a data file must not be. Every global that it may name is replaced by a function that
checks its arguments, so that not even numpy's own reconstruction sees unchecked input.
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
    """Return the contents of a pickle, with strings written by Python 2 as bytes.

    Args:
        raw: the pickle, of any protocol.
        name: name of the pickle in messages.

    Raises:
        DataError: it is damaged, or needs any other type than those above.
    """
    try:
        return _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # by its documentation, damaged input may raise anything
        raise DataError(
            f"{name} is damaged and cannot be read as a pickle ({type(error).__name__}: {error})"
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"refused because it needs {module}.{name}: expected a pickle of numpy arrays, bytes, strings, lists "
                "and dicts. This is not the published file"
            ) from None


class _Dtype:
    """Replacement of ``numpy.dtype`` while a pickle is read: a name such as ``u1`` and a byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any) -> None:
        self.name, self.order = _text(name), "="
        if not re.fullmatch(r"b1|[iu][1248]|f[248]", self.name):
            raise ValueError(f"expected arrays of plain numbers, got numpy type {self.name!r}")

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1]).replace("|", "=")

    def real(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """Array whose pickled state is checked before numpy sees it."""

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, raw = state
        if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
            raise ValueError(f"expected the shape of an array, got {shape!r}")
        if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
            raise ValueError("expected the type and bytes of an array")
        real = dtype.real()
        if len(raw) != math.prod(shape) * real.itemsize:
            raise ValueError(f"an array {shape} of {real} has {len(raw)} bytes")
        super().__setstate__((int(version), shape, real, bool(fortran), raw))  # type: ignore[arg-type]  # the stub wants numpy.bool


def _sealed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``function`` in an object without attributes, since a pickle could set those of a function."""

    class Sealed:
        __slots__ = ()

        def __call__(self, *arguments: Any) -> Any:
            return function(*arguments)

    return Sealed()


@_sealed
def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.uint8)


@_sealed
def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array: _Array = _reconstruct(None, None, None)
    array.__setstate__((1, shape, dtype, _text(order) == "F", bytes(raw)))
    return array


@_sealed
def _dtype(name: Any, align: Any, copy: Any) -> _Dtype:
    return _Dtype(name)


@_sealed
def _encode(text: Any, encoding: Any) -> bytes:
    """Restore bytes, which Python 3 writes as text in the protocols of Python 2."""
    if _text(encoding) != "latin1":
        raise ValueError(f"expected bytes encoded as latin1, got {encoding!r}")
    return _text(text).encode("latin1")


@_sealed
def _empty_bytes() -> bytes:
    return b""


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a string, got {type(value).__name__}")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # only passed to _reconstruct, which ignores it
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
}
