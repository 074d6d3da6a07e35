"""Planes in files: round trips bit for bit, and directions assigned to a network by name."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape.errors import StoreError
from landscape.geometry import Direction, Plane, Weights, difference
from landscape.geometry.plane import random_plane
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.plane_files import read_directions, read_plane, write_directions


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))
        model.scale = nn.Parameter(torch.tensor(0.3))
        with torch.no_grad():
            model[1].running_mean.normal_()
        return model


def equal(a: Weights, b: Weights) -> bool:
    return a.buffers == b.buffers and a.digest() == b.digest()


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plane_round_trip_bit_for_bit(tmp_path, axes, dtype):
    plane = random_plane(Weights.from_model(network()).to(dtype=dtype), axes=axes, only=["0.*"])
    write_directions(tmp_path / "plane.h5", plane)
    found = read_plane(tmp_path / "plane.h5")
    assert equal(found.origin, plane.origin)
    for a, b in zip(found.directions, plane.directions, strict=True):
        assert equal(a.weights, b.weights)
        assert a.recipe == b.recipe, "lists and numbers as they were"


def test_plane_with_running_statistics(tmp_path):
    origin, target = (Weights.from_model(network(seed), buffers=True) for seed in (0, 1))
    plane = Plane(origin, (difference(origin, target, "b.pt"),))
    write_directions(tmp_path / "plane.h5", plane)
    found = read_plane(tmp_path / "plane.h5")
    assert found.origin.buffers == {"1.running_mean", "1.running_var"}
    assert equal(found.directions[0].weights, plane.directions[0].weights)


def test_cosines_in_attributes(tmp_path):
    plane = random_plane(network(), axes=3)
    write_directions(tmp_path / "plane.h5", plane)
    with h5py.File(tmp_path / "plane.h5") as file:
        for pair, (i, j) in {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}.items():
            assert file.attrs[f"cosine_{pair}"] == pytest.approx(plane.cosines[i, j], rel=1e-12)


def _plain(value: str) -> bool:
    """Text that looks like JSON is parsed when it is read."""
    return value != "null" and not value.startswith(("[", "{"))


numbers = st.one_of(st.booleans(), st.integers(-(2**31), 2**31), st.floats(allow_nan=False), st.none())
text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)


values = st.one_of(numbers, text.filter(_plain), st.lists(text, max_size=3))


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["kind", "seed", "file", "only"]), values))
def test_recipe_round_trip(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "plane.h5"
    origin = Weights({"w": torch.ones(2)})
    write_directions(path, Plane(origin, (Direction(origin, DirectionRecipe.from_json(recipe)),)))
    assert read_plane(path).directions[0].recipe.to_json() == recipe


def test_recipe_text_like_json(tmp_path):
    origin = Weights({"w": torch.ones(2)})
    name = "[-1.0,1.0,51]x[-1.0,1.0,51].h5"
    write_directions(tmp_path / "plane.h5", Plane(origin, (Direction(origin, DirectionRecipe("file", file=name)),)))
    assert read_plane(tmp_path / "plane.h5").directions[0].recipe.file == name


def test_damaged_plane_is_refused(tmp_path):
    path = tmp_path / "plane.h5"
    write_directions(path, random_plane(network()))
    with h5py.File(path, "r+") as file:
        file["ydirection/1"][0, 0, 0, 0] += 1
    with pytest.raises(StoreError, match=r"plane\.h5:/ydirection is damaged: its tensors do not match their digest"):
        read_plane(path)
    with h5py.File(path, "r+") as file:
        del file["ydirection/1"].attrs["name"]
    with pytest.raises(StoreError, match=r"plane\.h5:/ydirection is damaged, or was written by another program"):
        read_plane(path)
    with h5py.File(path, "r+") as file:
        del file["origin"]
    with pytest.raises(StoreError, match="holds no plane: expected groups 'origin' and 'xdirection', found x"):
        read_plane(path)


def test_existing_file_is_kept(tmp_path):
    path = tmp_path / "plane.h5"
    path.write_text("mine")
    with pytest.raises(StoreError, match=r"plane\.h5 exists"):
        write_directions(path, random_plane(network()))
    assert path.read_text() == "mine"
    write_directions(path, random_plane(network()), overwrite=True)
    assert read_plane(path).ndim == 2


def test_directions_match_by_name(tmp_path):
    plane = random_plane(network(), seed=5)
    write_directions(tmp_path / "plane.h5", plane)
    found = read_directions(tmp_path / "plane.h5", Weights.from_model(network(1)))
    assert [d.weights.digest() for d in found] == [d.weights.digest() for d in plane.directions]
    assert found[1].recipe.seed == 5
    assert found[1].recipe.file.endswith("plane.h5")
    wide = read_directions(tmp_path / "plane.h5", Weights.from_model(network()).to(dtype=torch.float64))
    assert wide[0].weights.tensors["scale"].dtype == torch.float64


def test_directions_with_running_statistics(tmp_path):
    path = tmp_path / "plane.h5"
    plain, full = Weights.from_model(network()), Weights.from_model(network(), buffers=True)
    write_directions(path, random_plane(plain))
    (x, _) = read_directions(path, full)
    assert not x.weights.tensors["1.running_mean"].any(), "a file without them does not move them"
    assert x.weights.buffers == full.buffers
    write_directions(path, random_plane(full), overwrite=True)
    assert read_directions(path, plain)[0].weights.digest() == random_plane(plain).directions[0].weights.digest()
    target = Weights.from_model(network(1), buffers=True)
    write_directions(path, Plane(full, (difference(full, target),)), overwrite=True)
    with pytest.raises(StoreError, match=r"moves 1\.running_mean too, which is not part of the origin.*buffers=True"):
        read_directions(path, plain)


def test_directions_of_another_network(tmp_path):
    path = tmp_path / "plane.h5"
    write_directions(path, random_plane(nn.Sequential(nn.Linear(3, 2))))
    with pytest.raises(StoreError, match=r"belongs to another network: it lacks tensor '0\.other' \(1 missing\)"):
        read_directions(path, Weights({"0.weight": torch.zeros(2, 3), "0.other": torch.zeros(2)}))
    with pytest.raises(StoreError, match=r"another network: expected shape \(4, 4\) for 0\.weight, got \(2, 3\)"):
        read_directions(path, Weights({"0.weight": torch.zeros(4, 4), "0.bias": torch.zeros(2)}))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["train_loss"] = np.zeros(3)
    with pytest.raises(StoreError, match="holds no directions: expected a group 'xdirection', found train_loss"):
        read_directions(tmp_path / "other.h5", Weights.from_model(network()))
