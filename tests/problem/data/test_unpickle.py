"""The restricted unpickler: allowed types, and rejection of everything else."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.errors import DataError
from landscape.problem.data import unpickle

PLAIN = {b"a": [1, -2, 10**20, 0.5, None, True], "b": ("x", b"y", b"", ""), "c": {"d": [{}, ()]}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays(protocol: int) -> None:
    arrays = [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([True, False]),
        np.array(7, dtype=">i4"),
        np.zeros((0, 3), np.float16),
    ]
    read = unpickle.load(pickle.dumps([PLAIN, arrays], protocol=protocol), "x")
    assert read[0] == PLAIN
    for ours, theirs in zip(read[1], arrays, strict=True):
        assert ours.dtype == theirs.dtype.newbyteorder("=")
        assert np.array_equal(ours, theirs)


class Reduce:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "value",
    [
        Reduce(os.system, ("true",)),
        Reduce(eval, ("1",)),
        Reduce(getattr, ("x", "upper")),
        Reduce(np.load, ("x",)),
        os.getcwd,
        dict,
        collections.OrderedDict(a=1),
        1j,
        np.array([object()]),
        np.array(["text"]),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.float64(1.0),
        np.dtype("M8[s]"),
    ],
    ids=[
        "system",
        "eval",
        "getattr",
        "np.load",
        "builtin",
        "class",
        "OrderedDict",
        "complex",
        "objects",
        "strings",
        "records",
        "np.float64",
        "datetime",
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_types_are_rejected(value: Any, protocol: int) -> None:
    raw = pickle.dumps({"data": [value]}, protocol=protocol)
    with pytest.raises(DataError, match=r"file: refused|file is damaged"):
        unpickle.load(raw, "file")


@pytest.mark.parametrize(
    "raw",
    [
        b"c__builtin__\nbytes\n(I100000000000\ntR.",  # memory without end
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
        b"c_codecs\nencode\n}X\x0c\x00\x00\x00__defaults__(tsb.",  # to change a function of ours
        b"c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__(ts\x86b.",
        b"cnumpy\ndtype\n(X\x01\x00\x00\x00OK\x00K\x01tR.",
        b"cnumpy\nndarray\n(K\x05tR.",
        b"cnumpy\nndarray\n)\x81.",
        b"\x82\x01.",
        b"P1\n.",
    ],
)
def test_misuse_of_allowed_names(raw: bytes) -> None:
    with pytest.raises(DataError):
        unpickle.load(raw, "x")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, (5,), np.dtype("u1"), False, b"1234"), r"an array \(5,\) of uint8 has 4 bytes"),
        ((1, (2**62, 4), np.dtype("u1"), False, b""), "has 0 bytes"),
        ((1, (-1,), np.dtype("u1"), False, b""), "expected the shape of an array"),
        ((1, [4], np.dtype("u1"), False, b"1234"), "expected the shape of an array"),
        ((1, (4,), "u1", False, b"1234"), "expected the type and bytes of an array"),
        ((1, (1,), np.dtype("u1"), False, [1]), "expected the type and bytes of an array"),
        ((1, (4,), np.dtype("u1"), False), "not enough values"),
    ],
)
def test_invalid_array_state(state: tuple, message: str) -> None:
    reconstruct, arguments, _ = np.zeros(1).__reduce__()
    with pytest.raises(DataError, match=f"x is damaged.*{message}"):
        unpickle.load(pickle.dumps(Reduce(reconstruct, arguments, state)), "x")


@settings(max_examples=300)
@given(st.data())
def test_damaged_pickles(data: st.DataObject) -> None:
    raw = bytearray(pickle.dumps({"data": np.arange(4, dtype=np.uint8), "labels": [1, 2]}, protocol=2))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    with contextlib.suppress(DataError):  # and not of anything else
        unpickle.load(bytes(raw), "x")
