"""Files of ``torch.save``, read without running any code that they may contain."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from landscape.errors import CheckpointError
from landscape.training.everyday_values import everyday_values
from landscape.training.plain_files import require_plain_file, require_plain_tensors, require_same_bits

FORMAT = "landscape-checkpoint-1"
STATE_FORMAT = "landscape-resume-1"
DIFFERENCE_FORMAT = "landscape-difference-1"
_FORBIDDEN = re.compile(r"unsupported (?:global: )?GLOBAL (\S+)", re.IGNORECASE)
_UNPICKLER = re.compile(r"WeightsUnpickler error: *(\S.*)")


def load_plain(path: Path, mapped: bool = True) -> Any:
    """Load a file of ``torch.save`` that holds tensors and plain values, on the CPU.

    Settings, paths and dates beside them are left out, and numbers of numpy become those of Python; see
    :mod:`landscape.training.everyday_values`.

    Args:
        path: the file.
        mapped: leave tensors on disk until they are used, if the format allows it.

    Raises:
        CheckpointError: the file is missing or damaged, or holds anything else.
    """
    if path.is_dir():
        raise CheckpointError(f"expected a checkpoint file such as {path}/step-00000000.pt, got the directory {path}")
    if not os.path.lexists(path):
        raise CheckpointError(f"there is no checkpoint at {path}")
    mapped = require_plain_file(path) and mapped  # torch cannot map its older format
    try:
        with warnings.catch_warnings(action="ignore"):  # of TypedStorage, quantized tensors, older files
            contents = _load(path, mapped)
        require_plain_tensors(contents, path)
        if isinstance(contents, dict) and contents.get("format") in (FORMAT, STATE_FORMAT, DIFFERENCE_FORMAT):
            require_same_bits(path)  # other programs may leave the checksums out
        return contents
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        forbidden = _FORBIDDEN.search(str(error))
        if forbidden:
            raise CheckpointError(
                f"{path} holds a {forbidden[1]}, but only tensors and plain values are read, since anything else could "
                "run code. Save its state_dict() alone with torch.save"
            ) from error
        raise CheckpointError(f"{path} is damaged, or was not written by torch.save ({_reason(error)})") from error


def _load(path: Path, mapped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        if not _FORBIDDEN.search(str(error)):
            raise
        with everyday_values() as readable:
            if not readable:
                raise
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            except Exception as second:  # in a form that the stand-ins don't have
                raise second if _FORBIDDEN.search(str(second)) else error from second


def _reason(error: Exception) -> str:
    """Return one line of torch's message, without its advice about ``weights_only``."""
    lines = [line for line in str(error).splitlines() if line and "weights_only" not in line]
    if unpickler := _UNPICKLER.search(str(error)):
        lines = [unpickler[1]]
    name = type(error).__name__
    reason = lines[0].strip().split(". ")[0] if lines else name
    return reason if any(character.isalpha() for character in reason) else f"{name}: {reason}"  # KeyError: 105
