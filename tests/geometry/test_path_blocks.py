"""Principal components and projections of checkpoints in files: those of checkpoints in memory, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape._utils import file_tensors as module
from landscape._utils.file_tensors import BlockReader, file_tensors
from landscape._utils.torch_state import same_bits
from landscape.geometry import Weights, principal_directions
from landscape.geometry import path_blocks as blocks_module
from landscape.geometry.path_blocks import PathBlocks
from landscape.geometry.plane import Plane
from landscape.training.checkpoint import load_checkpoint, save_checkpoint

SHAPES = {"conv.weight": (20, 10, 3, 3), "conv.bias": (21,), "head.weight": (57, 31), "scale": (), "empty": (0, 3)}


def walk(count, dtype, scale=0.1):
    """Return the points of a random walk."""
    draw = torch.Generator().manual_seed(0)
    now = {name: torch.randn(shape, generator=draw, dtype=torch.float64) for name, shape in SHAPES.items()}
    points = []
    for _ in range(count):
        points.append(Weights({name: tensor.to(dtype) for name, tensor in now.items()}))
        now = {n: t + scale * torch.randn(t.shape, generator=draw, dtype=torch.float64) for n, t in now.items()}
    return points


def written(points, folder, suffix):
    """Return loaders of points that are written to files."""
    layout = points[0]

    def loader(path):
        return lambda: layout.select(load_checkpoint(path).state_dict)

    loaders = []
    for step, point in enumerate(points):
        path = folder / f"{step}{suffix}"
        if suffix == ".pt":
            save_checkpoint(path, point.tensors, step=step, epoch=0)
        else:
            save_file(dict(point.tensors), path)
        loaders.append(loader(path))
    return loaders


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_files_give_the_same_bits(tmp_path, suffix, dtype, monkeypatch):
    monkeypatch.setattr(blocks_module, "CACHED_BLOCK", 512)
    points = walk(7, dtype)
    loaders = written(points, tmp_path, suffix)
    in_files = PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in loaders])
    assert in_files is not None, "both kinds of files are mapped"
    found = principal_directions(points[-1], loaders)
    expected = principal_directions(points[-1], [lambda p=p: p for p in points])
    for one, other in zip(found, expected, strict=True):
        assert one.recipe == other.recipe
        assert all(same_bits(one.weights.tensors[name], other.weights.tensors[name]) for name in SHAPES)
    plane = Plane(points[-1], tuple(found))
    for one, other in zip(plane.project_each(loaders), map(plane.project, points), strict=True):
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        assert (one.distance, one.displacement) == (other.distance, other.displacement)
    chosen = principal_directions(points[-1], loaders, only=["head.*"])
    assert {name for name, tensor in chosen[0].weights if tensor.any()} == {"head.weight"}


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_from_files(tmp_path, stored, monkeypatch):
    """Numbers of a file in half precision are those of the tensors that they widen to, bit for bit."""
    monkeypatch.setattr(blocks_module, "CACHED_BLOCK", 512)
    layout = walk(1, torch.float32)[0]
    written(walk(7, stored), tmp_path, ".pt")
    files = [tmp_path / f"{step}.pt" for step in range(7)]

    def loader(path, as_stored):
        return lambda: layout.select(load_checkpoint(path).state_dict, as_stored=as_stored)

    mapped, widened = ([loader(path, as_stored) for path in files] for as_stored in (True, False))
    assert PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in mapped]) is not None
    assert PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in widened]) is None
    found, expected = principal_directions(layout, mapped), principal_directions(layout, widened)
    for one, other in zip(found, expected, strict=True):
        assert one.recipe == other.recipe
        assert all(same_bits(one.weights.tensors[name], other.weights.tensors[name]) for name in SHAPES)
        assert one.weights.tensors["head.weight"].dtype == torch.float32
    plane = Plane(layout, tuple(found))
    for one, other in zip(plane.project_each(mapped), plane.project_each(widened), strict=True):
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        assert (one.distance, one.displacement) == (other.distance, other.displacement)


def test_precision_that_a_file_keeps():
    """Tensors that are wider in the file are rounded; narrower ones keep their type and their values."""
    stored = {n: torch.ones(2, dtype=d) for n, d in (("a", torch.float64), ("b", torch.float16), ("c", torch.int64))}
    layout = Weights({name: torch.zeros(2) for name in stored})
    assert [t.dtype for _, t in layout.select(stored, as_stored=True)] == [torch.float32, torch.float16, torch.float32]
    assert {t.dtype for _, t in layout.select(stored)} == {torch.float32}


def test_many_blocks_are_sums_of_few(tmp_path, monkeypatch):
    points = walk(6, torch.float64)
    loaders = written(points, tmp_path, ".pt")
    flat = np.stack([np.concatenate([t.numpy().ravel() for _, t in point]) for point in points])
    displaced = flat - flat[0]
    for size in (12, 12 * 500, 2**21):
        monkeypatch.setattr(blocks_module, "SUM_BLOCK", size)
        blocks = PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in loaders])
        np.testing.assert_allclose(blocks.gram_matrix(), displaced @ displaced.T, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize(("kind", "axes"), [("line", 2), ("plane", 3), ("point", 1), ("there and back", 2)])
def test_degenerate_paths_are_noticed_in_a_first_look(tmp_path, kind, axes, monkeypatch):
    points = walk(8, torch.float64)
    start, step, other = points[:3]

    def at(a, b):
        return start.with_tensors({n: t + a * step.tensors[n] + b * other.tensors[n] for n, t in start})

    paths = {
        "line": [at(i, 0) for i in range(8)], "plane": [at(i, i * i) for i in range(8)], "point": [start] * 8,
        "there and back": [at(min(i, 7 - i), 0) for i in range(8)],
    }  # fmt: skip
    loaders = written(paths[kind], tmp_path, ".pt")
    sizes = []
    whole = PathBlocks.gram_matrix
    monkeypatch.setattr(PathBlocks, "gram_matrix", lambda self: (sizes.append(len(self)), whole(self))[1])
    with pytest.raises(ValueError, match=f"the 8 checkpoints span fewer than {axes} dimensions"):
        principal_directions(start, loaders, axes=axes)
    assert max(sizes) <= 4, "not all checkpoints were multiplied in full"


def test_a_look_is_no_verdict(tmp_path, monkeypatch):
    """A path that bends only in entries that the first look misses is not taken for a line."""
    monkeypatch.setattr(blocks_module, "LOOK", 64)
    points = walk(2, torch.float64)
    line = [points[0].with_tensors({n: t + i * points[1].tensors[n] for n, t in points[0]}) for i in range(6)]
    for i, point in enumerate(line):
        point.tensors["head.weight"].view(-1)[11] += i * i
    loaders = written(line, tmp_path, ".pt")
    blocks = PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in loaders])
    assert np.linalg.matrix_rank(blocks.first_look(), tol=1e-9) == 1
    found = principal_directions(line[0], loaders)
    assert found[1].recipe.explained_variance > 0


def test_tensors_that_are_in_no_file():
    assert file_tensors([torch.zeros(5)]) is None
    assert PathBlocks.of([lambda: [torch.zeros(5)]]) is None


def test_systems_without_maps(tmp_path, monkeypatch):
    loaders = written(walk(4, torch.float32), tmp_path, ".pt")
    monkeypatch.setattr(module, "_MAPS", str(tmp_path / "none"))
    assert PathBlocks.of([lambda load=load: list(load().tensors.values()) for load in loaders]) is None
    assert len(principal_directions(loaders[0](), loaders)) == 2


def test_a_file_that_is_replaced(tmp_path):
    (load,) = written(walk(1, torch.float32), tmp_path, ".pt")
    (place, *_) = file_tensors(list(load().tensors.values()))
    os.replace(tmp_path / "0.pt", tmp_path / "old.pt")
    written(walk(1, torch.float32), tmp_path, ".pt")
    with BlockReader() as reader, pytest.raises(OSError, match="was replaced by another file"):
        reader.read(place, 0, 5)


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_OPEN_FILES", 2)
    points = walk(5, torch.float32)
    loaders = written(points, tmp_path, ".pt")
    before = len(os.listdir("/proc/self/fd"))
    found = principal_directions(points[-1], loaders)
    expected = principal_directions(points[-1], [lambda p=p: p for p in points])
    assert all(same_bits(found[0].weights.tensors[name], expected[0].weights.tensors[name]) for name in SHAPES)
    assert len(os.listdir("/proc/self/fd")) == before


MEMORY = """
import resource, sys, torch
from landscape.geometry import Weights, principal_directions
from landscape.geometry.plane import Plane
from landscape.training.checkpoint import load_checkpoint, save_checkpoint
folder, size, draw = sys.argv[1], 6_000_000, torch.Generator().manual_seed(0)
now = torch.zeros(size)
for i in range(10):
    save_checkpoint(f"{folder}/{i}.pt", {"w": now}, step=i, epoch=0)
    now = now + torch.randn(size, generator=draw)
layout = Weights({"w": now})
loaders = [lambda i=i: layout.select(load_checkpoint(f"{folder}/{i}.pt").state_dict) for i in range(10)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plane = Plane(layout, tuple(principal_directions(layout, loaders)))
plane.project_each(loaders)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (4 * size))
"""


@pytest.mark.process
def test_memory_is_below_four_checkpoints(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Beside the two components: blocks of float64, 16 MiB each, of origin, two directions and two displacements. For
    # checkpoints of 100 MB, that is less than four in all; mapped, all of these would be in memory.
    assert (float(done.stdout) - 2) * 24e6 < 2 * 100e6
