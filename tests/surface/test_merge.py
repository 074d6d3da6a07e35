"""Merging shards: values are kept bit for bit, and shards that do not match are refused."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from landscape._utils.provenance import Environment
from landscape.errors import StoreError
from landscape.geometry import Plane, Weights, random_direction
from landscape.surface import FileStore, read_surface
from landscape.surface.merge import merge
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.plane_files import read_plane
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING

SHAPE = (5, 7)
SIZE = 35
METRICS = ("train_loss", "train_acc")


@pytest.fixture(scope="module")
def plane():
    generator = torch.Generator().manual_seed(0)
    origin = Weights({"a": torch.randn(3, 4, generator=generator), "b": torch.randn(3, generator=generator).double()})
    return Plane(origin, tuple(random_direction(origin, 1, axis) for axis in range(2)))


@pytest.fixture
def make(plane, tmp_path):
    """``make(name, points, **settings)`` writes a shard with these points, NaN and infinity among them."""

    def write(name, points, failed=(), values=None, plane=plane, **settings):
        digests = tuple(direction.weights.digest() for direction in plane.directions)
        header = Header(
            (np.linspace(-1, 0.5, SHAPE[1]), np.linspace(0, 1, SHAPE[0])),
            METRICS,
            SurfaceMetadata(
                SweepSettings(axes=("-1:0.5:7", "0:1:5"), directions=digests, other={"seed": 1, **settings}),
                environment=Environment(host=name),
            ),
            plane,
        )
        path = tmp_path / name
        with FileStore.open(path, header) as store:
            for point in points:
                store.record(point, value(point) if values is None else values, point / 8)
            for point in failed:
                store.fail(point, f"{name} could not do {point}", 0.5)
        return path

    return write


def value(point):
    return [np.nan, np.inf] if point == 3 else [-0.0, 5e-324] if point == 4 else [point / 3, -point]


def raw(path):
    """Return the bytes of every dataset except ``failures``."""
    found = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    del found["failures"]
    return found


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_merge_equals_unsharded_sweep_bit_for_bit(make, tmp_path, parts):
    whole = make("whole.h5", range(SIZE))
    shards = [make(f"{i}.h5", range(i, SIZE, parts)) for i in range(parts)]
    report = merge(shards, tmp_path / "merged.h5")
    assert (report.total, report.done, report.failed, report.pending, report.overlapping) == (SIZE, SIZE, 0, 0, 0)
    assert report.per_shard == tuple(len(range(i, SIZE, parts)) for i in range(parts))
    assert raw(tmp_path / "merged.h5") == raw(whole)
    surface = read_surface(tmp_path / "merged.h5")
    assert surface.metadata.finished
    assert surface.metadata.merged_from == tuple(f"{i}.h5" for i in range(parts))
    assert surface.metadata.settings == read_surface(whole).metadata.settings


def test_merge_keeps_plane_bit_for_bit(make, plane, tmp_path):
    merge([make("0.h5", [0]), make("1.h5", [1])], tmp_path / "merged.h5")
    carried = read_plane(tmp_path / "merged.h5")
    assert carried.origin.digest() == plane.origin.digest()
    for one, other in zip(carried.directions, plane.directions, strict=True):
        assert one.weights.digest() == other.weights.digest()
        assert one.recipe == other.recipe


def test_merge_counts_pending_points(make, tmp_path):
    report = merge([make("0.h5", range(0, 10)), make("1.h5", range(20, 30), failed=[31])], tmp_path / "merged.h5")
    assert (report.done, report.failed, report.pending) == (20, 1, 14)
    status = read_surface(tmp_path / "merged.h5").status.ravel()
    assert np.flatnonzero(status == PENDING).tolist() == [*range(10, 20), 30, *range(32, 35)]
    assert not read_surface(tmp_path / "merged.h5").metadata.finished


def test_resume_merged_file(make, tmp_path):
    merged = tmp_path / "merged.h5"
    merge([make("0.h5", range(10)), make("1.h5", range(20, 30))], merged)
    make("merged.h5", [*range(10, 20), *range(30, 35)])
    assert raw(merged) == raw(make("whole.h5", range(SIZE)))


def test_merge_prefers_done_over_failed(make, tmp_path):
    first, second = make("0.h5", [0, 1], failed=[5, 6]), make("1.h5", [5], failed=[6, 7])
    for order in ([first, second], [second, first]):
        report = merge(order, tmp_path / "merged.h5", overwrite=True)
        assert (report.done, report.failed) == (3, 2)
        assert read_surface(tmp_path / "merged.h5").status.ravel()[5:8].tolist() == [DONE, FAILED, FAILED]
    with h5py.File(tmp_path / "merged.h5") as file:
        messages = {int(row["index"]): row["message"] for row in file["failures"][()] if row["index"] >= 0}
    assert messages == {6: b"1.h5 could not do 6", 7: b"1.h5 could not do 7"}


def test_merge_refuses_different_values(make, tmp_path):
    first, same = make("0.h5", [3, 4, 8]), make("1.h5", [3, 4, 9])
    assert merge([first, same], tmp_path / "merged.h5").overlapping == 2
    other = make("2.h5", [4], values=[0.0, 5e-324])  # zero of the other sign
    with pytest.raises(
        StoreError, match=r"disagree at 1 points, first at index \(0, 4\): train_loss is .*-0.0.* and .*0.0"
    ):
        merge([first, other], tmp_path / "no.h5")
    assert not (tmp_path / "no.h5").exists()


def test_merge_names_differing_settings(make, tmp_path):
    with pytest.raises(
        StoreError,
        match=r"0.h5 and .*1.h5 were made with different settings.*seed is 1 in the first and 2",
    ):
        merge([make("0.h5", [0]), make("1.h5", [1], seed=2)], tmp_path / "no.h5")
    assert not (tmp_path / "no.h5").exists()


def test_merge_refuses_other_plane(make, plane, tmp_path):
    turned = Plane(plane.origin, plane.directions[::-1])
    with pytest.raises(StoreError, match="cannot be merged: directions: others; plane: others"):
        merge([make("0.h5", [0]), make("1.h5", [1], plane=turned)], tmp_path / "no.h5")


def test_merge_refuses_foreign_files(make, tmp_path):
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["a"] = 1
    with pytest.raises(StoreError, match="not a surface file of this program"):
        merge([make("0.h5", [0]), foreign], tmp_path / "no.h5")
    with pytest.raises(StoreError, match="no such file"):
        merge([tmp_path / "none.h5"], tmp_path / "no.h5")
    with pytest.raises(ValueError, match="expected at least one shard"):
        merge([], tmp_path / "no.h5")


def test_merge_overwrite(make, tmp_path):
    first, second = make("0.h5", [0]), make("1.h5", [1])
    before = second.read_bytes()
    with pytest.raises(StoreError, match="exists"):
        merge([first], second)
    with pytest.raises(StoreError, match="both a shard and the output"):
        merge([first, second], second, overwrite=True)
    assert second.read_bytes() == before
    merge([first], second, overwrite=True)
    assert read_surface(second).status.ravel()[:2].tolist() == [DONE, PENDING]


@pytest.mark.process
def test_merge_running_shard(make, tmp_path):
    path = make("0.h5", [0, 1])
    with h5py.File(path, "r+"):  # holds the writer's lock
        code = (
            f"from landscape.surface.merge import merge; print(merge([{str(path)!r}], {str(tmp_path / 'm.h5')!r}).done)"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "2"


@pytest.mark.process
def test_merge_does_not_import_torch():
    code = "import sys, landscape.surface.merge; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "False"
