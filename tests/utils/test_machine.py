"""Tests of how a process uses its memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from landscape._utils.machine import keep_freed_memory

ALLOCATE = """
import ctypes
import resource
import sys
from landscape._utils.machine import keep_freed_memory

accepted = keep_freed_memory() if sys.argv[1] == "keep" else None
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        pieces = [library.malloc(2**21) for _ in range(8)]
        for piece in pieces:
            ctypes.memset(piece, 1, 2**21)
        for piece in pieces:
            library.free(piece)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(accepted, faults())
"""
HAS_GLIBC = platform.libc_ver()[0] == "glibc"


def run(mode, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", ALLOCATE, mode]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    accepted, faults = done.stdout.split()
    return accepted, int(faults)


@pytest.mark.process
@pytest.mark.skipif(not HAS_GLIBC, reason="the C library isn't glibc")
def test_freed_memory_is_kept():
    accepted, kept = run("keep")
    _, returned = run("default")
    assert accepted == "True"
    # Twenty times eight pieces of 2 MiB are 81,920 pages of 4 KiB.
    assert kept < 2_000
    assert returned > 20_000


@pytest.mark.process
def test_settings_of_the_environment_are_left_alone():
    assert run("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
    assert run("keep", GLIBC_TUNABLES="glibc.malloc.trim_threshold=131072")[0] == "False"


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
