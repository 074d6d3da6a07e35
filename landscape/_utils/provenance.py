"""Where and with what something was computed: what a reader needs beside the settings to repeat it."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment(packages: Iterable[str] = ("landscape", "torch", "numpy")) -> dict[str, Any]:
    """Command line, host, versions and, inside a git tree, the commit of the working directory; plain values."""
    return {
        "command": shlex.join(sys.argv),
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "commit": git_commit(Path.cwd()),
    }


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_commit(folder: Path) -> str | None:
    """The commit of the git tree around ``folder``, with ``-dirty`` where files differ from it; None outside of one."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
