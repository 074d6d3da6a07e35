"""Resources of this machine that the process may use, and how it uses its memory."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

KEPT_BYTES = 2**30
"""Free memory at the end of the heap that the process keeps at most (1 GiB)."""
_HEAP_BYTES = 2**25
"""Size below which memory comes from the heap (32 MiB), the largest that glibc accepts. Larger pieces, such as data and
planes, are still returned to the system when they are freed."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>

_PARENT_SECONDS = 0.5
_TABLE, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> set[int]:
    """Return the CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def core_count() -> int:
    """Return the number of CPU cores that this process may run on."""
    return len(usable_cores())


def core_budget() -> int:
    """Return the number of CPU cores that this process may keep busy.

    The lowest of its affinity mask, the CPU quota of its control group (as ``docker run --cpus`` sets it) and SLURM's
    ``SLURM_CPUS_PER_TASK``.
    """
    limits = [core_count(), *(max(math.floor(quota), 1) for quota in control_group_cpu_quotas())]
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdecimal():
        limits.append(max(int(granted), 1))
    return min(limits)


def thread_budget() -> int:
    """Return the number of CPU threads for a task that uses several: the core budget, or ``OMP_NUM_THREADS`` if lower.

    Two tasks side by side on the same cores then keep out of each other's way, if either variable says so.
    """
    requested = _requested_threads if _requested_threads is not None else os.environ.get("OMP_NUM_THREADS", "")
    first = requested.partition(",")[0].strip()  # the others are for nested levels
    return min(core_budget(), max(int(first), 1)) if first.isdecimal() else core_budget()


_requested_threads: str | None = None


def limit_library_threads() -> None:
    """Give OpenMP and the BLAS libraries one thread in this process unless the environment says otherwise.

    Must be called before torch and numpy are loaded. :func:`thread_budget` remembers what the user's environment said.
    """
    global _requested_threads
    _requested_threads = os.environ.get("OMP_NUM_THREADS", "")
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let the BLAS library of numpy use one thread within the context.

    Its threads wait for each other in a loop. On a machine with other work, products of blocks that fit in a cache then
    take ten times as long on two threads as on one; threads that each have a block of their own don't wait.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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
    return min([*limits, *control_group_memory_limits()], default=sys.maxsize)


def memory_left() -> int:
    """Return the memory that this process can still allocate, in bytes.

    It is the smallest of the machine's available memory and what is left of the limits of the control groups and of
    the process's resource limits.
    """
    left = [memory_limit()]
    with suppress(OSError, StopIteration), open("/proc/meminfo") as file:
        left.append(next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:")))
    left += [limit - used for limit, used in control_group_memory()]
    with suppress(ImportError, OSError, ValueError):
        import resource

        # Pages of the whole address space, and of data and stack.
        pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
        for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                left.append(soft - used * resource.getpagesize())
    return max(min(left), 0)


def control_group_memory(table: Path = _TABLE, root: Path = _ROOT) -> list[tuple[int, int]]:
    """Return limit and use in bytes of the process's control group and of its parents, without the cache of files."""
    found = []
    for folder, version in _control_groups("memory", table, root):
        limit, use, cache = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        with suppress(OSError, ValueError):
            rows = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
            cached = sum(int(row[1]) for row in rows if row[0] == cache)
            found.append((int((folder / limit).read_text()), int((folder / use).read_text()) - cached))
    return found


def control_group_memory_limits(table: Path = _TABLE, root: Path = _ROOT) -> list[int]:
    """Return the memory limits in bytes of the process's control group and of its parents (versions 1 and 2)."""
    limits = []
    for folder, version in _control_groups("memory", table, root):
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            limits.append(int((folder / name).read_text()))
    return limits


def control_group_cpu_quotas(table: Path = _TABLE, root: Path = _ROOT) -> list[float]:
    """Return the CPU quotas, in cores, of the process's control group and of its parents (versions 1 and 2)."""
    quotas = []
    for folder, version in _control_groups("cpu", table, root):
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            if version == 2:
                quota, period = (int(word) for word in (folder / "cpu.max").read_text().split())
            else:
                quota = int((folder / "cpu.cfs_quota_us").read_text())
                period = int((folder / "cpu.cfs_period_us").read_text())
            if quota > 0:  # version 1 writes -1 for no limit
                quotas.append(quota / period)
    return quotas


def _control_groups(controller: str, table: Path, root: Path) -> Iterator[tuple[Path, int]]:
    """Yield the directories of the control groups that govern this process, innermost first, with their version."""
    with suppress(OSError):
        for line in table.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                tree, version = root / controller, 1
            elif not controllers:
                tree, version = root, 2
            else:
                continue
            group = tree / path.lstrip("/")
            for folder in (group, *group.parents):
                yield folder, version
                if folder == tree:
                    break


def end_with_parent() -> Callable[[], None]:
    """End this process soon after the one that started it has died, until the returned function is called.

    A thread asks for the parent twice a second. The signal that Linux sends at the death of a parent comes at the end
    of the *thread* that started the process, and a launcher may outlive that.
    """
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(_PARENT_SECONDS):
            if os.getppid() != parent:
                os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    return over.set


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next allocation, instead of returning it to the system.

    By default, glibc returns the activations of each layer, and the kernel clears the same pages for the next one:
    40% of the time of a small convolutional network on a CPU. Afterwards up to :data:`KEPT_BYTES` of freed memory stay
    with the process. It has needed that memory before, so its peak grows only by the gaps between blocks in use.

    This is a setting of the whole process, so programs call it and the library doesn't. It does nothing on systems
    without glibc, and leaves settings alone that the environment gives.

    Returns:
        True if the C library accepted the settings.
    """
    environment = os.environ
    if "MALLOC_TRIM_THRESHOLD_" in environment or "MALLOC_MMAP_THRESHOLD_" in environment:
        return False
    if "glibc.malloc" in environment.get("GLIBC_TUNABLES", "") or not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        # Other C libraries may have a mallopt with other numbers.
        library.gnu_get_libc_version  # noqa: B018
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _HEAP_BYTES) and mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
