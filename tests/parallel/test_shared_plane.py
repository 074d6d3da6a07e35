"""Planes in files: chosen by the memory there is, the same bits as in memory, one copy per host, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from landscape._utils import machine as memory_module
from landscape._utils.machine import memory_limit
from landscape.errors import StoreError
from landscape.geometry import Weights
from landscape.geometry import arena as arena_module
from landscape.geometry.plane import random_plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.parallel import shared_plane as sharing
from landscape.parallel.ranks import Ranks
from landscape.parallel.shared_plane import make_in_arena, scratch_directory, share_plane
from landscape.problem import Problem, Split, cross_entropy
from landscape.surface.plane_files import read_plane
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

on_linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.Linear(8, 3)
    )
    inputs, targets = torch.randn(30, 1, 8, 8, generator=generator), torch.arange(30) % 3
    return Problem(model, {"train": Split(inputs, targets)}, cross_entropy)


def maps():
    """Mappings of planes' files: access, inode."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [(line.split()[1], line.split()[4]) for line in lines if "landscape-plane" in line]


@on_linux
def test_surface_over_mapped_plane_is_bit_equal(problem, tmp_path):
    scratch, grid = tmp_path / "large" / "disk", Grid.parse("-1:1:4", "0:1:3")
    before = maps()

    def make():
        assert not list(scratch.iterdir()), "nothing is left behind, also if the process is killed by now"
        return random_plane(Weights.from_model(problem.model), 3)

    plane = share_plane(Ranks(), make, scratch)
    assert len(maps()) > len(before)
    inside = random_plane(problem.model, 3)
    assert plane.digests() == inside.digests()
    one, two = (
        run_sweep(problem, each, grid, SweepConfig(tmp_path / f"{each is plane}.h5")) for each in (plane, inside)
    )
    assert one.surface.metric().tobytes() == two.surface.metric().tobytes()
    assert one.surface.metadata.settings == two.surface.metadata.settings, "each file resumes the other"
    del plane
    assert maps() == before, "the space is free again"


@on_linux
def test_planes_of_several_seeds_are_mapped_one_by_one(problem, tmp_path):
    origin = Weights.from_model(problem.model)
    family = PlaneFamily(origin, (0, 1), lambda seed: random_plane(origin, seed, 1), 1)
    kept = make_in_arena(tmp_path, lambda: family)
    grid = Grid.parse("0:1:3")
    one, two = (run_sweep(problem, where, grid).surface for where in (kept, family))
    assert one.metric().tobytes() == two.metric().tobytes()
    plane = kept.make_plane(1)
    assert maps()
    assert plane.digests() == family.make_plane(1).digests()
    assert not list(tmp_path.iterdir())


@on_linux
def test_stored_plane_can_stay_in_its_file(problem, tmp_path):
    plane = random_plane(Weights.from_model(problem.model, buffers=True), 3)
    run_sweep(problem, plane, Grid.parse("0:1:2", "0:1:2"), SweepConfig(tmp_path / "s.h5"))
    mapped = read_plane(tmp_path / "s.h5", mapped=True)
    assert str(tmp_path / "s.h5") in Path("/proc/self/maps").read_text()
    assert mapped.origin.digest() == plane.origin.digest()
    assert mapped.digests() == plane.digests()
    assert mapped.directions[0].recipe == plane.directions[0].recipe
    del mapped
    assert str(tmp_path / "s.h5") not in Path("/proc/self/maps").read_text()


def test_scratch_directory_for_large_planes(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(sharing, "memory_limit", lambda: 2**30)
    assert scratch_directory(2**29, tmp_path) is None
    assert not caplog.records
    assert scratch_directory(2**29 + 1, tmp_path / "not" / "yet") == tmp_path / "not" / "yet"
    assert "origin and directions take 0.5 GiB, over 50% of 1 GiB of memory: keeping them in a file in" in caplog.text
    assert scratch_directory(2**70, tmp_path) is None
    assert "choose another scratch directory" in caplog.text


def test_full_disk_is_a_store_error(monkeypatch, tmp_path, problem):
    def full(handle, start, size):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(arena_module, "reserve_space", full)
    with pytest.raises(StoreError, match=r"no space for origin and directions: No space left.* scratch directory"):
        share_plane(Ranks(), lambda: random_plane(Weights.from_model(problem.model)), tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="no space for origin and directions"):
        make_in_arena(tmp_path / "file", lambda: random_plane(Weights.from_model(problem.model)))


def test_error_of_make_is_passed_on(tmp_path):
    def lost():
        raise FileNotFoundError("no such checkpoint")

    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        share_plane(Ranks(), lost, tmp_path)
    assert not list(tmp_path.iterdir())


def test_memory_limit_is_the_lowest(monkeypatch, tmp_path):
    machine = memory_limit()
    assert 2**28 < machine <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    table, root = tmp_path / "cgroup", tmp_path / "fs"
    for folder, name, text in (
        ("job/step", "memory.max", "max"),
        ("job", "memory.max", "3000"),
        ("memory/old", "memory.limit_in_bytes", "2000"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(text + "\n")
    table.write_text("4:memory:/old\n1:cpu:/\n0::/job/step\n")
    assert sorted(memory_module.control_group_memory_limits(table, root)) == [2000, 3000, 9223372036854771712]
    monkeypatch.setattr(memory_module, "control_group_memory_limits", lambda: [2000])
    assert memory_limit() == 2000


LIMITED = """
import json, resource, sys, torch
from pathlib import Path
from torch import nn
from landscape.geometry import Weights, random_plane
from landscape.problem import Problem, Split, cross_entropy
from landscape.parallel import Ranks
from landscape.sweep import Grid, SweepConfig, run_sweep
from landscape._utils.machine import memory_limit
from landscape.parallel.shared_plane import scratch_directory, share_plane
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(*[nn.Linear(1024, 1024, bias=False) for _ in range(16)])
size = sum(p.numel() * 4 for p in model.parameters())
problem = Problem(model, {"train": Split(torch.randn(8, 1024), torch.arange(8))}, cross_entropy)
small = nn.Linear(2, 2)
run_sweep(
    Problem(small, {"train": Split(torch.randn(8, 2), torch.arange(8) % 2)}, cross_entropy),
    random_plane(small), Grid.parse("0:1:2", "0:1:2"), SweepConfig(Path(sys.argv[1]) / "small.h5"),
)
data = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmData")) * 1024

def values(name, scratch):
    plane = share_plane(Ranks(), lambda: random_plane(Weights.from_model(model)), scratch)
    outcome = run_sweep(problem, plane, Grid.parse("-1:1:3", "0:1:2"), SweepConfig(Path(sys.argv[1]) / name))
    return outcome.surface.metric().tobytes().hex()

said, (soft, hard) = {}, resource.getrlimit(resource.RLIMIT_DATA)
# The network is there, and from here on less than as much again.
resource.setrlimit(resource.RLIMIT_DATA, (data + int(0.9 * size), hard))
try:
    said["memory"] = values("memory.h5", None)
except (MemoryError, RuntimeError) as error:
    said["error"] = f"{type(error).__name__}: {error}"
said["file"] = values("file.h5", scratch_directory(3 * size, Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
said["free"] = values("free.h5", None)
print(json.dumps(said))
"""


@pytest.mark.process
@on_linux
def test_plane_larger_than_memory(tmp_path):
    """With less private memory than one copy of the network, the plane fails in memory and works in a file."""
    words = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "memory" not in said
    assert "alloc" in said["error"].lower() or "MemoryError" in said["error"]
    assert said["file"] == said["free"]
