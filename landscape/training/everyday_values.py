"""Everyday values beside the weights in a checkpoint: settings, paths, dates and numbers of numpy.

``torch.load`` with ``weights_only`` refuses them, since a pickle could name any code. Here each such name stands for an
inert object of this module, so that nothing of the file's is called: numbers are read, the rest is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_INERT = {
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "datetime": ("datetime", "date", "time", "timedelta", "timezone"),
    "builtins": tuple(
        ["set", "frozenset", "complex", "slice", "range", "int", "float", "bool", "str", "list", "dict", "tuple"]
    ),
    "uuid": ("UUID",),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "numpy": ("ndarray",),
    "numpy.core.multiarray": ("_reconstruct",),
    "numpy._core.multiarray": ("_reconstruct",),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.nodes": ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode"),
    "typing": ("Any",),
    "transformers.training_args": ("TrainingArguments",),
}
"""Names that occur in checkpoints of everyday programs and stand for :class:`Inert` objects."""
_DICTS = {
    "collections": ("defaultdict",),
    "easydict": ("EasyDict",),
    "addict.addict": ("Dict",),
    "ml_collections.config_dict.config_dict": ("ConfigDict", "FrozenConfigDict"),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "lightning.pytorch.utilities.parsing": ("AttributeDict",),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
}
"""Names of dicts with more to them, which are read as plain dicts."""
_SCALARS = ("numpy.core.multiarray", "numpy._core.multiarray")


class Inert:
    """A value that is left out: it takes whatever the pickle gives it, and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


class _Dict:
    """Plain dict in place of one with more to it."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> Any:
        return {}


class _List:
    """Plain list in place of a deque."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> Any:
        return []


class _Dtype:
    """Type of a number of numpy: a name such as ``f8`` and a byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *_: Any) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: Any) -> None:
        self.order = {"<": "<", ">": ">"}.get(str(state[1]), "=")


class _Scalar:
    """Number of numpy, which ``_Scalar(dtype, bytes)`` returns as one of Python."""

    __slots__ = ()

    def __new__(cls, dtype: Any, raw: Any = b"") -> Any:
        if not isinstance(dtype, _Dtype) or not re.fullmatch(r"b1|[iu][1248]|f[248]", dtype.name):
            return Inert()  # text, dates, records
        if isinstance(raw, str):
            raw = raw.encode("latin1")
        kind = np.dtype(dtype.order + dtype.name)
        if not isinstance(raw, bytes) or len(raw) != kind.itemsize:
            raise ValueError("a number of numpy has other bytes than its type")
        return np.frombuffer(raw, kind)[0].item()


class _Bytes:
    """Bytes as protocol 2 of pickle writes them: ``_codecs.encode(text, "latin1")``."""

    __slots__ = ()

    def __new__(cls, text: Any = "", encoding: Any = "latin1") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("expected bytes encoded as latin1")
        return text.encode("latin1")


def _named(module: str, name: str, base: type) -> type:
    """Return a class that goes by the name of another, by which torch looks it up."""
    return type(name, (base,), {"__slots__": (), "__module__": module, "__qualname__": name})


STAND_INS = [
    *(_named(module, name, Inert) for module, names in _INERT.items() for name in names),
    *(_named(module, name, _Dict) for module, names in _DICTS.items() for name in names),
    _named("collections", "deque", _List),
    *(_named(module, "scalar", _Scalar) for module in _SCALARS),
    *(_named("numpy.dtypes", f"{kind}DType", _Dtype) for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    _named("numpy", "dtype", _Dtype),
    _named("_codecs", "encode", _Bytes),
]
"""Classes that stand for those of other packages while a checkpoint is read."""


@contextmanager
def everyday_values() -> Iterator[bool]:
    """Let ``torch.load`` read everyday values within the block; yields False if this version of torch cannot."""
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:  # before torch 2.5
        yield False
        return
    with allow(STAND_INS):
        yield True
