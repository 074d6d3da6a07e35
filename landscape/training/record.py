"""What ``run.json`` says about a run, and whether a run that is asked for is the one that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.errors import CheckpointError

FORMAT = "landscape-run-1"

# Where the data lie and where the work is done may change between two sittings: digests tell whether the data are the
# same, and each session notes its own device.
_MAY_CHANGE = ("problem.data", "problem.data_description", "settings.device")
_IDENTITY = ("problem", "optimizer", "settings")


def plain(value: Any) -> Any:
    """``value`` as JSON gives it back: tuples become lists, and what JSON does not know becomes its name."""
    return json.loads(json.dumps(value, default=_name))


def read_record(path: Path) -> dict[str, Any]:
    """The contents of a ``run.json``.

    Raises:
        CheckpointError: there is none, or it is not of this kind.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        inside = sorted(found.parent.name for found in path.parent.glob(f"*/{path.name}"))
        hint = f"; there are runs in it: {', '.join(inside[:6])}" if inside else ""
        raise CheckpointError(f"no run at {path.parent}: it has no {path.name}{hint}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise CheckpointError(f"{path}: format {FORMAT!r} expected, got {found!r}")
    return record


def require_same(path: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Check that the run at ``path`` is the one asked for.

    Raises:
        CheckpointError: a setting differs; the message names each, with the stored and the asked value.
    """
    there, here = (_flat({key: record.get(key) for key in _IDENTITY}) for record in (stored, plain(asked)))
    if there["optimizer.name"] != here["optimizer.name"]:  # then its arguments are bound to differ
        there, here = ({k: v for k, v in s.items() if not k.startswith("optimizer.arguments")} for s in (there, here))
    differing = [
        f"{name} is {there.get(name)!r} there, {here.get(name)!r} asked"
        for name in {**there, **here}
        if not _same(there.get(name), here.get(name)) and not _may_change(name)
    ]
    if differing:
        raise CheckpointError(
            f"{path} holds a run with other settings: {'; '.join(differing)}. Repeat the stored settings to resume it, "
            "name another folder, or have it overwritten"
        )


def _may_change(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _MAY_CHANGE)


def _same(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN is the same setting as NaN


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def _name(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}:{name}" if name else str(value)
