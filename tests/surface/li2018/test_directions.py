"""Direction files of Li et al.: read unchanged, assigned to a network in either order, and written bit for bit."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.decomposition import PCA
from torch import nn

from landscape import models
from landscape.errors import StoreError
from landscape.geometry import Plane, Weights, difference
from landscape.geometry.plane import principal_plane, random_plane
from landscape.surface.li2018.directions import (
    DirectionArrays,
    read_direction_arrays,
    to_arrays,
    write_direction_arrays,
)
from landscape.surface.plane_files import read_directions


def published(path, **groups) -> None:
    """Write a file as the published script does: one group per axis, datasets numbered from 0, nothing else."""
    with h5py.File(path, "w") as file:
        for name, arrays in groups.items():
            if isinstance(arrays, list):
                group = file.create_group(name)
                for index, array in enumerate(arrays):
                    group.create_dataset(str(index), data=array)
            else:
                file[name] = arrays


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build("resnet20")


def state_arrays(model: nn.Module, seed: int = 0) -> list[np.ndarray]:
    """Return a difference of two state_dicts, including 0-dimensional integer counters."""
    stream = np.random.default_rng(seed)
    return [
        stream.normal(size=tuple(t.shape)).astype(np.float32)
        if t.is_floating_point()
        else np.array(391, dtype=np.int64)
        for t in model.state_dict().values()
    ]


def test_direction_file_round_trip_bit_for_bit(tmp_path, resnet):
    x, y = state_arrays(resnet, 0), state_arrays(resnet, 1)
    assert any(a.ndim == 0 for a in x)
    published(tmp_path / "li.h5", xdirection=x, ydirection=y, explained_variance_ratio_=np.array([0.7, 0.2]))
    write_direction_arrays(tmp_path / "again.h5", read_direction_arrays(tmp_path / "li.h5"))
    with h5py.File(tmp_path / "li.h5") as old, h5py.File(tmp_path / "again.h5") as new:
        assert set(old) == set(new) == {"xdirection", "ydirection", "explained_variance_ratio_"}
        for group in ("xdirection", "ydirection"):
            assert len(old[group]) == len(new[group])
            for key in old[group]:
                assert old[group][key].dtype == new[group][key].dtype
                assert old[group][key].shape == new[group][key].shape
                assert old[group][key][()].tobytes() == new[group][key][()].tobytes()
        assert old["explained_variance_ratio_"][()].tobytes() == new["explained_variance_ratio_"][()].tobytes()


any_array = st.sampled_from([np.float32, np.float64, np.int64]).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, max_side=3))
)


@settings(max_examples=25)
@given(st.lists(st.lists(any_array, min_size=1, max_size=4), min_size=1, max_size=2))
def test_any_arrays_round_trip(tmp_path_factory, directions):
    path = tmp_path_factory.mktemp("li") / "directions.h5"
    write_direction_arrays(path, DirectionArrays(tuple(map(tuple, directions))))
    found = read_direction_arrays(path)
    for a, b in zip(found.directions, directions, strict=True):
        assert [(x.dtype, x.shape, x.tobytes()) for x in a] == [(x.dtype, x.shape, x.tobytes()) for x in b]


def test_arrays_in_order_of_parameters(tmp_path, resnet):
    arrays = [np.full(tuple(p.shape), i, dtype=np.float32) for i, p in enumerate(resnet.parameters())]
    published(tmp_path / "li.h5", xdirection=arrays)
    for layout in (None, resnet.state_dict()):
        (found,) = read_directions(tmp_path / "li.h5", Weights.from_model(resnet), layout)
        for i, (name, _) in enumerate(resnet.named_parameters()):
            assert (found.weights.tensors[name] == i).all(), name
        assert found.recipe.to_json() == {"kind": "file", "file": str(tmp_path / "li.h5"), "group": "xdirection"}


@pytest.mark.parametrize("counters", [True, False], ids=["with counters", "torch before 0.4.1"])
def test_arrays_in_order_of_state_dict(tmp_path, resnet, counters):
    layout = resnet.state_dict()
    arrays = {name: array for name, array in zip(layout, state_arrays(resnet), strict=True)}
    kept = [array for name, array in arrays.items() if counters or layout[name].is_floating_point()]
    published(tmp_path / "li.h5", xdirection=kept)
    (found,) = read_directions(tmp_path / "li.h5", Weights.from_model(resnet, buffers=True), layout)
    assert "bn1.num_batches_tracked" not in found.weights.tensors
    for name, tensor in found.weights:
        assert np.array_equal(tensor.numpy(), arrays[name]), name
    with pytest.raises(StoreError, match=r"moves bn1\.running_mean too, which is not part of the origin.*buffers=True"):
        read_directions(tmp_path / "li.h5", Weights.from_model(resnet), layout)


def test_zero_statistics_need_no_buffers(tmp_path, resnet):
    """``--dir_type states`` with ``--xignore biasbn`` writes zeros for all one-dimensional tensors."""
    layout = resnet.state_dict()
    arrays = [array if array.ndim > 1 else np.zeros_like(array) for array in state_arrays(resnet)]
    published(tmp_path / "li.h5", xdirection=arrays)
    (found,) = read_directions(tmp_path / "li.h5", Weights.from_model(resnet), layout)
    for name, array in zip(layout, arrays, strict=True):
        assert name not in found.weights.tensors or np.array_equal(found.weights.tensors[name].numpy(), array)


def test_tied_tensors(tmp_path):
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    moved = np.arange(12, dtype=np.float32).reshape(4, 3)
    published(tmp_path / "li.h5", xdirection=[moved, moved])
    (found,) = read_directions(tmp_path / "li.h5", Weights.from_model(model), model.state_dict())
    assert list(found.weights.tensors) == ["0.weight"]
    assert np.array_equal(found.weights.tensors["0.weight"].numpy(), moved)
    back = to_arrays([found], model.state_dict()).directions[0]
    assert [a.tobytes() for a in back] == [moved.tobytes()] * 2
    published(tmp_path / "odd.h5", xdirection=[moved, moved + 1])
    with pytest.raises(StoreError, match=r"moves 1\.weight too, which is not part of the origin"):
        read_directions(tmp_path / "odd.h5", Weights.from_model(model), model.state_dict())


@pytest.mark.parametrize("whole", [False, True], ids=["weights", "states"])
def test_to_arrays_for_published_scripts(tmp_path, resnet, whole):
    plane = random_plane(resnet)
    layout = resnet.state_dict() if whole else None
    write_direction_arrays(tmp_path / "ours.h5", to_arrays(plane.directions, layout))
    expected = list(resnet.state_dict()) if whole else [name for name, _ in resnet.named_parameters()]
    with h5py.File(tmp_path / "ours.h5") as file:
        # As their loader does: as many datasets as tensors, "0", "1", ... in order.
        for axis, direction in zip("xy", plane.directions, strict=True):
            loaded = [file[f"{axis}direction"][str(i)][()] for i in range(len(file[f"{axis}direction"]))]
            assert len(loaded) == len(expected)
            for name, array in zip(expected, loaded, strict=True):
                assert array.shape == tuple(resnet.state_dict()[name].shape)
                moved = direction.weights.tensors.get(name)
                assert np.array_equal(array, moved.numpy() if moved is not None else np.zeros_like(array))
    found = read_directions(tmp_path / "ours.h5", Weights.from_model(resnet), resnet.state_dict())
    assert [d.weights.digest() for d in found] == [d.weights.digest() for d in plane.directions]


def test_to_arrays_of_principal_plane(tmp_path):
    stream = torch.Generator().manual_seed(0)
    points = [
        Weights({"w": torch.randn(4, 6, generator=stream), "b": torch.randn(4, generator=stream)}) for _ in range(9)
    ]
    plane = principal_plane(points[-1], [lambda w=w: w for w in points])
    write_direction_arrays(tmp_path / "pca.h5", to_arrays(plane.directions))
    matrix = np.stack([np.concatenate([t.numpy().ravel() for _, t in w]) for w in points]).astype(np.float64)
    reference = PCA(n_components=2).fit(matrix)
    with h5py.File(tmp_path / "pca.h5") as file:
        for name in ("explained_variance_ratio_", "explained_variance_", "singular_values_"):
            np.testing.assert_allclose(file[name][()], getattr(reference, name), rtol=1e-6)
    found = read_directions(tmp_path / "pca.h5", points[0])
    assert found[1].recipe.explained_variance_ratio == pytest.approx(reference.explained_variance_ratio_[1])


def test_to_arrays_keeps_running_statistics(resnet):
    origin = Weights.from_model(resnet, buffers=True)
    target = origin.with_tensors({name: t + 1 for name, t in origin})
    direction = difference(origin, target)
    with pytest.raises(ValueError, match=r"moves running statistics \(bn1\.running_mean\): pass state_dict="):
        to_arrays([direction])
    whole = dict(zip(resnet.state_dict(), to_arrays([direction], resnet.state_dict()).directions[0], strict=True))
    np.testing.assert_allclose(whole["bn1.running_mean"], 1)
    assert whole["bn1.num_batches_tracked"] == 0
    assert whole["bn1.num_batches_tracked"].dtype == np.int64


def test_to_arrays_refuses_three_directions(resnet):
    with pytest.raises(ValueError, match=r"expected one or two directions, as Li et al\.'s scripts take, got 3"):
        to_arrays(random_plane(resnet, axes=3).directions)


def test_directions_of_another_network(tmp_path, resnet):
    origin, layout = Weights.from_model(resnet), resnet.state_dict()
    published(tmp_path / "li.h5", xdirection=[np.zeros(3), np.zeros(4)])
    with pytest.raises(StoreError, match=r"expected 65 for its parameters, 128 for its .*, got 2 tensors"):
        read_directions(tmp_path / "li.h5", origin, layout)
    arrays = [np.zeros(tuple(p.shape)) for p in resnet.parameters()]
    arrays[3] = np.zeros((2, 2))
    published(tmp_path / "li.h5", xdirection=arrays)
    with pytest.raises(StoreError, match=r"expected shape \(16, 16, 3, 3\) for layer1\.0\.conv1\.weight, got \(2, 2\)"):
        read_directions(tmp_path / "li.h5", origin, layout)
    published(tmp_path / "li.h5", ydirection=[np.zeros(3)])
    with pytest.raises(StoreError, match="holds no directions: expected a group 'xdirection', found ydirection"):
        read_directions(tmp_path / "li.h5", origin)
    published(tmp_path / "li.h5", xdirection=np.zeros(3))
    with pytest.raises(StoreError, match=r"xdirection holds no direction: expected datasets '0', '1'"):
        read_direction_arrays(tmp_path / "li.h5")
    with h5py.File(tmp_path / "li.h5", "w") as file:
        file["xdirection/1"] = np.zeros(3)
    with pytest.raises(StoreError, match="xdirection holds no direction"):
        read_direction_arrays(tmp_path / "li.h5")
    published(tmp_path / "li.h5", train_loss=np.zeros(3))
    with pytest.raises(StoreError, match="holds no directions"):
        read_direction_arrays(tmp_path / "li.h5")


def test_directions_are_not_normalized_again(tmp_path):
    """The displacement is the one in the file."""
    model = nn.Linear(3, 2)
    arrays = [np.full((2, 3), 5, dtype=np.float32), np.full(2, -1, dtype=np.float32)]
    published(tmp_path / "li.h5", xdirection=arrays)
    origin = Weights.from_model(model)
    plane = Plane(origin, read_directions(tmp_path / "li.h5", origin, model.state_dict()))
    there = plane.at([0.5])
    torch.testing.assert_close(there.tensors["weight"], model.weight.detach() + 2.5)
    torch.testing.assert_close(there.tensors["bias"], model.bias.detach() - 0.5)
