"""Resources of this machine: memory limits."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def memory_limit() -> int:
    """Bytes: the least of what the machine has, what its control group allows, and the limit on data segments."""
    limits = []
    with suppress(ValueError, OSError, AttributeError):  # no such names on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ImportError, OSError):
        import resource

        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                limits.append(soft)
    return min([*limits, *_of_control_groups()], default=sys.maxsize)


def _of_control_groups(table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Limits of the process's control group and of those around it: version 2 (one tree) and version 1."""
    found = []
    with suppress(OSError):
        for line in table.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory":
                tree, name = root / "memory", "memory.limit_in_bytes"
            elif not controllers:
                tree, name = root, "memory.max"
            else:
                continue
            group = tree / path.lstrip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # not there, or "max"
                    found.append(int((folder / name).read_text()))
                if folder == tree:
                    break
    return found
