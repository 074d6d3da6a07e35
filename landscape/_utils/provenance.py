"""Provenance of results: command, versions and host, which a reader needs beside the settings to repeat them."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from landscape._utils.git import git_commit


@dataclass(frozen=True)
class Environment:
    """The environment of a computation.

    Attributes:
        command: command line of the process, quoted for a shell.
        host: name of the machine.
        python: version of Python.
        packages: versions of packages by name; None for a package that is not installed.
        commit: git commit of the working directory, with ``-dirty`` if files differ from it; None outside a git tree.
    """

    command: str = ""
    host: str = ""
    python: str = ""
    packages: Mapping[str, str | None] = field(default_factory=dict)
    commit: str | None = None

    @classmethod
    def current(cls, packages: Iterable[str] = ("landscape", "torch", "numpy")) -> Environment:
        """Return the environment of this process, with the versions of ``packages``."""
        return cls(
            command=shlex.join(sys.argv),
            host=platform.node(),
            python=platform.python_version(),
            packages={name: _version(name) for name in packages},
            commit=git_commit(Path.cwd()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Environment:
        """Return the environment that :meth:`to_json` wrote; missing fields get defaults, others are ignored."""
        return cls(
            command=str(values.get("command", "")),
            host=str(values.get("host", "")),
            python=str(values.get("python", "")),
            packages=dict(values.get("packages") or {}),
            commit=values.get("commit"),
        )


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
