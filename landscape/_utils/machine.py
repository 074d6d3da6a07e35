"""Resources of this machine that the process may use: memory and CPU cores."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def usable_cores() -> set[int]:
    """Return the CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def core_count() -> int:
    """Return the number of CPU cores that this process may run on."""
    return len(usable_cores())


def memory_limit() -> int:
    """Return the memory that this process may use, in bytes.

    It is the smallest of the machine's memory, the limits of the control groups, and the process's resource limits.
    """
    limits = []
    with suppress(ValueError, OSError, AttributeError):  # no such names on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ImportError, OSError):
        import resource

        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                limits.append(soft)
    return min([*limits, *_control_group_limits()], default=sys.maxsize)


def _control_group_limits(table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the memory limits of the process's control group and its parents, of version 2 (one tree) and 1."""
    limits = []
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
                with suppress(OSError, ValueError):  # no such file, or the word "max"
                    limits.append(int((folder / name).read_text()))
                if folder == tree:
                    break
    return limits
