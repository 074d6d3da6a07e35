"""Planes made tensor by tensor: the numbers of the plain formulas, in little memory, or in a file."""

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
from landscape.geometry import arena as room_module
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
    """Pieces that end in the middle of slices, that hold some, and that hold everything."""
    for module in (normalization_module, direction_module):
        monkeypatch.setattr(module, "WRITE_BLOCK", request.param)
    return request.param


def plainly_drawn(origin, seed, axis):
    """Whole tensors at once, as the formula says."""
    names = [name for name in origin.tensors if name not in origin.buffers]
    streams = {n: np.random.MT19937(np.random.SeedSequence([seed, axis, i])) for i, n in enumerate(names)}
    return {
        name: torch.as_tensor(np.random.RandomState(streams[name]).standard_normal(tuple(t.shape)), dtype=torch.float32)
        if name in streams
        else torch.zeros(t.shape)
        for name, t in origin
    }


def plainly_normalized(direction, origin, norm, ignore):
    scaled = {
        n: torch.zeros_like(d) if n in ignored_names(origin, ignore) else RULES[norm](d, origin.tensors[n])
        for n, d in direction
    }
    if norm == "model":
        moving = [name for name, d in scaled.items() if d.any()]
        factor = origin.with_tensors({n: origin.tensors[n] for n in moving}).norm() / origin.with_tensors(scaled).norm()
        scaled = {name: (d.double() * factor).to(d.dtype) for name, d in scaled.items()}
    return direction.with_tensors(scaled)


def plainly_orthogonal(directions):
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
def test_the_numbers_are_those_of_whole_tensors(network, norm, ignore, piece):
    origin = Weights.from_model(network, buffers=True)
    drawn = origin.with_tensors(plainly_drawn(origin, 3, 1))
    expected = plainly_normalized(drawn, origin, norm, ignore).digest()
    assert random_direction(origin, 3, 1, norm, ignore).weights.digest() == expected
    before = drawn.digest()
    assert normalize(drawn, origin, norm, ignore).digest() == expected
    assert drawn.digest() == before, "what is given stays as it is"


@pytest.mark.parametrize("norm", ["filter", "model"])
def test_orthogonal_axes_are_those_of_whole_copies(weights, norm, piece):
    still = ignored_names(weights, "biasbn")
    drawn = [weights.with_tensors(plainly_drawn(weights, 2, axis)) for axis in range(3)]
    expected = [weights.with_tensors({n: torch.zeros_like(d) if n in still else d for n, d in each}) for each in drawn]
    expected = [plainly_normalized(d, weights, norm, "biasbn").digest() for d in plainly_orthogonal(expected)]
    plane = random_plane(weights, 2, 3, norm, orthogonal=True)
    assert plane.digests() == expected
    given = [Direction(each) for each in drawn]
    kept = [each.digest() for each in drawn]
    assert [d.weights.digest() for d in orthogonalize(given)] == [d.digest() for d in plainly_orthogonal(drawn)]
    assert [each.digest() for each in drawn] == kept


def test_what_rounding_leaves_is_taken_off_too(weights, piece):
    x, y, z = (weights.with_tensors(plainly_drawn(weights, 2, axis)).to(dtype=torch.float64) for axis in range(3))
    nearly = x.with_tensors({name: t + 1e-5 * y.tensors[name] for name, t in x})
    found = [d.weights for d in orthogonalize([Direction(x), Direction(nearly), Direction(z)])]
    assert [d.digest() for d in found] == [d.digest() for d in plainly_orthogonal([x, nearly, z])]
    assert abs(found[0].dot(found[1])) < 1e-14 * found[0].norm() * found[1].norm()


def test_given_directions_stay_as_they_are_among_orthogonal_ones(weights):
    given = [random_direction(weights, 8, axis, "layer", "none") for axis in range(2)]
    before = [d.weights.digest() for d in given]
    plane = random_plane(weights, 1, 3, orthogonal=True, first=given)
    assert [d.weights.digest() for d in given] == before
    raw = weights.with_tensors(
        {n: torch.zeros_like(d) if d.ndim <= 1 else d for n, d in plainly_drawn(weights, 1, 2).items()}
    )
    expected = plainly_orthogonal([*(d.weights for d in given), raw])
    assert plane.digests()[:2] == [d.digest() for d in expected[:2]]
    assert plane.digests()[2] == plainly_normalized(expected[2], weights, "filter", "biasbn").digest()


def test_components_do_not_depend_on_how_many_tensors_are_summed_at_a_time(weights, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    runs = [
        weights.with_tensors({n: t + torch.randn(t.shape, generator=generator) for n, t in weights}) for _ in range(4)
    ]
    together = principal_plane(weights, [lambda r=r: r for r in runs]).digests()
    monkeypatch.setattr(pca_module, "MIN_GROUP_BYTES", 0)
    monkeypatch.setattr(pca_module, "_groups", lambda origin, names, axes: [[name] for name in names])
    assert principal_plane(weights, [lambda r=r: r for r in runs]).digests() == together


def test_groups_hold_every_name_once_and_are_as_large_as_said(weights, monkeypatch):
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
small = random_plane(nn.Linear(64, 64), orthogonal=True)  # libraries are there before it counts
bare = now("VmRSS")
plane = random_plane(model, **eval(sys.argv[1]))
print((now("VmHWM") - bare) / size, size)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
@pytest.mark.parametrize("look", [{}, {"orthogonal": True, "norm": "model"}])
def test_a_plane_takes_little_more_than_itself_while_it_is_made(look):
    done = subprocess.run(
        [sys.executable, "-c", MAKING, repr(look)], capture_output=True, text=True, timeout=120, check=True
    )
    peak, size = map(float, done.stdout.split())
    # Origin and two directions are three sizes; the rest is stretches in float64 of at most 16 MiB, four of them.
    assert peak <= 3 + 64 / size < 3.7


def test_in_a_file_the_numbers_are_the_same(network, tmp_path):
    network.conv.weight.data = network.conv.weight.data.to(memory_format=torch.channels_last)
    target = Weights.from_model(network, buffers=True)

    def make():
        origin = Weights.from_model(network, buffers=True)
        first = [difference(origin, origin.with_tensors({n: t * 1.5 + 1 for n, t in target}))]
        return random_plane(origin, 4, 3, orthogonal=True, first=first)

    expected = make()
    room = MappedArena(tmp_path)
    with allocate_in(room):
        plane = make()
    assert room.path.parent == tmp_path
    where = [room.offset_of(t) for w in (plane.origin, *(d.weights for d in plane.directions)) for _, t in w]
    assert None not in where
    assert len(set(where)) == len(where)
    assert all(offset % 64 == 0 for offset in where)
    assert room.offset_of(torch.ones(3)) is None
    room.close()
    assert not list(tmp_path.iterdir()), "the file has no name any more"
    assert plane.origin.digest() == expected.origin.digest()
    assert plane.digests() == expected.digests()
    assert plane.origin.tensors["conv.weight"].stride() == network.conv.weight.stride()
    assert room.offset_of(Weights.from_model(nn.Linear(2, 2)).tensors["weight"]) is None, "made outside"


def test_tensors_larger_than_what_the_file_grows_by(monkeypatch, tmp_path):
    monkeypatch.setattr(room_module, "GROWTH_BYTES", 4096)
    room = MappedArena(tmp_path)
    kinds = [((100, 30), torch.float32), ((), torch.float64), ((0, 3), torch.float32), ((5,), torch.bfloat16)]
    tensors = [room.allocate(*kind) for kind in kinds * 3]
    for i, tensor in enumerate(tensors):
        assert not tensor.any()
        tensor.fill_(i)
    assert all((tensor == i).all() for i, tensor in enumerate(tensors)), "none lies over another"
    content = np.fromfile(room.path, np.uint8)
    assert np.array_equal(content[:12000].view(np.float32), np.zeros(3000, np.float32))
    assert len(content) % 4096 == 0
    room.close()


def test_a_small_plane_takes_little_of_the_disk_and_a_large_one_few_mappings(tmp_path):
    room, sizes = MappedArena(tmp_path), []
    for _ in range(40):
        room.allocate((2**20,), torch.float32)
        sizes.append(room.path.stat().st_size)
    assert sizes[0] == 4 * 2**20
    assert all(size <= 2 * used * 2**22 for used, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 10
    room.close()
    room = MappedArena(tmp_path)
    room.allocate((10,), torch.float32)
    assert room.path.stat().st_size == 2**20
    room.close()


def full(handle, start, size):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_only_where_the_file_is_required(monkeypatch, tmp_path):
    monkeypatch.setattr(room_module, "reserve_space", full)
    room = MappedArena(tmp_path)
    with allocate_in(room):
        drawn = gaussian(Weights({"w": torch.ones(3, 4)})).weights
    assert drawn.tensors["w"].std() > 0
    assert room.allocation_error is not None
    assert room.offset_of(drawn.tensors["w"]) is None
    room.close()
    room = MappedArena(tmp_path, required=True)
    with allocate_in(room), pytest.raises(OSError, match="No space left"):
        gaussian(Weights({"w": torch.ones(3, 4)}))
    room.close()
