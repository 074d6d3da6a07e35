"""Tests of planes made block by block, in memory or in a mapped file, against formulas on whole tensors."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape.geometry import Direction, Weights, difference, normalize, orthogonalize
from landscape.geometry import arena as arena_module
from landscape.geometry import direction as direction_module
from landscape.geometry import normalization as normalization_module
from landscape.geometry import pca as pca_module
from landscape.geometry.arena import MappedArena, allocate_in
from landscape.geometry.direction import gaussian, random_direction
from landscape.geometry.normalization import RULES, ignored_names
from landscape.geometry.plane import principal_plane, random_plane

NORMS = sorted(RULES)


@pytest.fixture(params=[7, 64, 2**18])
def piece(request, monkeypatch):
    """Block sizes that cut slices, that hold some slices, and that hold everything."""
    for module in (normalization_module, direction_module):
        monkeypatch.setattr(module, "WRITE_BLOCK", request.param)
    return request.param


def naive_gaussian(origin, seed, axis):
    """Gaussian entries by the formula, whole tensors at once."""
    names = [name for name in origin.tensors if name not in origin.buffers]
    streams = {n: np.random.MT19937(np.random.SeedSequence([seed, axis, i])) for i, n in enumerate(names)}
    return {
        name: torch.as_tensor(np.random.RandomState(streams[name]).standard_normal(tuple(t.shape)), dtype=torch.float32)
        if name in streams
        else torch.zeros(t.shape)
        for name, t in origin
    }


def naive_normalized(direction, origin, norm, ignore):
    scaled = {
        n: torch.zeros_like(d) if n in ignored_names(origin, ignore) else RULES[norm](d, origin.tensors[n])
        for n, d in direction
    }
    if norm == "model":
        moving = [name for name, d in scaled.items() if d.any()]
        factor = origin.with_tensors({n: origin.tensors[n] for n in moving}).norm() / origin.with_tensors(scaled).norm()
        scaled = {name: (d.double() * factor).to(d.dtype) for name, d in scaled.items()}
    return direction.with_tensors(scaled)


def naive_orthogonal(directions):
    """Gram-Schmidt with whole float64 copies."""
    basis, done = [], []
    for direction in directions:
        rest = direction.to(dtype=torch.float64)
        for _ in range(2):
            for unit in basis:
                along = rest.dot(unit)
                rest = rest.with_tensors({name: r - along * unit.tensors[name] for name, r in rest})
        length = rest.norm()
        basis.append(rest.with_tensors({name: r / length for name, r in rest}))
        done.append(
            rest.with_tensors({name: r.to(direction.tensors[name].dtype) for name, r in rest}) if done else direction
        )
    return done


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_random_direction_matches_whole_tensor_formula(network, norm, ignore, piece):
    origin = Weights.from_model(network, buffers=True)
    drawn = origin.with_tensors(naive_gaussian(origin, 3, 1))
    expected = naive_normalized(drawn, origin, norm, ignore).digest()
    assert random_direction(origin, 3, 1, norm=norm, ignore=ignore).weights.digest() == expected
    before = drawn.digest()
    assert normalize(drawn, origin, norm, ignore).digest() == expected
    assert drawn.digest() == before, "the given direction is not modified"


@pytest.mark.parametrize("norm", ["filter", "model"])
def test_orthogonalize_matches_whole_copies(weights, norm, piece):
    still = ignored_names(weights, "biasbn")
    drawn = [weights.with_tensors(naive_gaussian(weights, 2, axis)) for axis in range(3)]
    expected = [weights.with_tensors({n: torch.zeros_like(d) if n in still else d for n, d in each}) for each in drawn]
    expected = [naive_normalized(d, weights, norm, "biasbn").digest() for d in naive_orthogonal(expected)]
    plane = random_plane(weights, 2, 3, norm=norm, orthogonal=True)
    assert plane.digests() == expected
    given = [Direction(each) for each in drawn]
    kept = [each.digest() for each in drawn]
    assert [d.weights.digest() for d in orthogonalize(given)] == [d.digest() for d in naive_orthogonal(drawn)]
    assert [each.digest() for each in drawn] == kept


def test_orthogonalize_second_pass(weights, piece):
    x, y, z = (weights.with_tensors(naive_gaussian(weights, 2, axis)).to(dtype=torch.float64) for axis in range(3))
    nearly = x.with_tensors({name: t + 1e-5 * y.tensors[name] for name, t in x})
    found = [d.weights for d in orthogonalize([Direction(x), Direction(nearly), Direction(z)])]
    assert [d.digest() for d in found] == [d.digest() for d in naive_orthogonal([x, nearly, z])]
    assert abs(found[0].dot(found[1])) < 1e-14 * found[0].norm() * found[1].norm()


def test_orthogonal_plane_keeps_given_directions(weights):
    given = [random_direction(weights, 8, axis, norm="layer", ignore="none") for axis in range(2)]
    before = [d.weights.digest() for d in given]
    plane = random_plane(weights, 1, 3, orthogonal=True, first=given)
    assert [d.weights.digest() for d in given] == before
    raw = weights.with_tensors(
        {n: torch.zeros_like(d) if d.ndim <= 1 else d for n, d in naive_gaussian(weights, 1, 2).items()}
    )
    expected = naive_orthogonal([*(d.weights for d in given), raw])
    assert plane.digests()[:2] == [d.digest() for d in expected[:2]]
    assert plane.digests()[2] == naive_normalized(expected[2], weights, "filter", "biasbn").digest()


def test_pca_is_independent_of_group_size(weights, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    runs = [
        weights.with_tensors({n: t + torch.randn(t.shape, generator=generator) for n, t in weights}) for _ in range(4)
    ]
    together = principal_plane(weights, [lambda r=r: r for r in runs]).digests()
    monkeypatch.setattr(pca_module, "MIN_GROUP_BYTES", 0)
    monkeypatch.setattr(pca_module, "_groups", lambda origin, names, axes: [[name] for name in names])
    assert principal_plane(weights, [lambda r=r: r for r in runs]).digests() == together


def test_pca_groups(weights, monkeypatch):
    names = list(weights.tensors)
    assert list(pca_module._groups(weights, names, 2)) == [names]
    monkeypatch.setattr(pca_module, "MIN_GROUP_BYTES", 0)
    groups = list(pca_module._groups(weights, names, 2))
    assert [name for group in groups for name in group] == names
    most = sum(t.numel() * 4 for _, t in weights) // 2
    assert len(groups) > 2
    assert all(len(g) == 1 or sum(16 * weights.tensors[n].numel() for n in g) <= most for g in groups)


MAKING = """
import resource, sys, torch
from torch import nn
from landscape.geometry import random_plane, Weights, difference, Plane
def now(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024
torch.set_num_threads(1)
model = nn.Sequential(*[nn.Linear(1024, 2048, bias=False) for _ in range(12)])
size = sum(p.numel() * 4 for p in model.parameters()) / 2**20
small = random_plane(nn.Linear(64, 64), orthogonal=True)  # loads libraries before memory is measured
bare = now("VmRSS")
plane = random_plane(model, **eval(sys.argv[1]))
print((now("VmHWM") - bare) / size, size)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
@pytest.mark.parametrize("look", [{}, {"orthogonal": True, "norm": "model"}])
def test_peak_memory_of_making_a_plane(look):
    done = subprocess.run(
        [sys.executable, "-c", MAKING, repr(look)], capture_output=True, text=True, timeout=120, check=True
    )
    peak, size = map(float, done.stdout.split())
    # Origin and two directions take three sizes; the rest is at most four float64 blocks of 16 MiB.
    assert peak <= 3 + 64 / size < 3.7


def test_mapped_plane_is_bit_equal(network, tmp_path):
    network.conv.weight.data = network.conv.weight.data.to(memory_format=torch.channels_last)
    target = Weights.from_model(network, buffers=True)

    def make():
        origin = Weights.from_model(network, buffers=True)
        first = [difference(origin, origin.with_tensors({n: t * 1.5 + 1 for n, t in target}))]
        return random_plane(origin, 4, 3, orthogonal=True, first=first)

    expected = make()
    arena = MappedArena(tmp_path)
    with allocate_in(arena):
        plane = make()
    assert arena.path.parent == tmp_path
    where = [arena.offset_of(t) for w in (plane.origin, *(d.weights for d in plane.directions)) for _, t in w]
    assert None not in where
    assert len(set(where)) == len(where)
    assert all(offset % 64 == 0 for offset in where)
    assert arena.offset_of(torch.ones(3)) is None
    arena.close()
    assert not list(tmp_path.iterdir()), "the file is unlinked"
    assert plane.origin.digest() == expected.origin.digest()
    assert plane.digests() == expected.digests()
    assert plane.origin.tensors["conv.weight"].stride() == network.conv.weight.stride()
    outside = Weights.from_model(nn.Linear(2, 2))
    assert arena.offset_of(outside.tensors["weight"]) is None


def test_arena_tensors_larger_than_growth(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_module, "GROWTH_BYTES", 4096)
    arena = MappedArena(tmp_path)
    kinds = [((100, 30), torch.float32), ((), torch.float64), ((0, 3), torch.float32), ((5,), torch.bfloat16)]
    tensors = [arena.allocate(*kind) for kind in kinds * 3]
    for i, tensor in enumerate(tensors):
        assert not tensor.any()
        tensor.fill_(i)
    assert all((tensor == i).all() for i, tensor in enumerate(tensors)), "tensors do not overlap"
    content = np.fromfile(arena.path, np.uint8)
    assert np.array_equal(content[:12000].view(np.float32), np.zeros(3000, np.float32))
    assert len(content) % 4096 == 0
    arena.close()


def test_arena_growth(tmp_path):
    arena, sizes = MappedArena(tmp_path), []
    for _ in range(40):
        arena.allocate((2**20,), torch.float32)
        sizes.append(arena.path.stat().st_size)
    assert sizes[0] == 4 * 2**20
    assert all(size <= 2 * used * 2**22 for used, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 10
    arena.close()
    arena = MappedArena(tmp_path)
    arena.allocate((10,), torch.float32)
    assert arena.path.stat().st_size == 2**20
    arena.close()


def full(handle, start, size):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_arena_on_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_module, "reserve_space", full)
    arena = MappedArena(tmp_path)
    with allocate_in(arena):
        drawn = gaussian(Weights({"w": torch.ones(3, 4)})).weights
    assert drawn.tensors["w"].std() > 0
    assert arena.allocation_error is not None
    assert arena.offset_of(drawn.tensors["w"]) is None
    arena.close()
    arena = MappedArena(tmp_path, required=True)
    with allocate_in(arena), pytest.raises(OSError, match="No space left"):
        gaussian(Weights({"w": torch.ones(3, 4)}))
    arena.close()
