"""Stores: memory and file behave alike, and a file is resumed, or refused with a reason."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress

import h5py
import numpy as np
import pytest

from landscape._utils.provenance import Environment
from landscape.errors import StoreError
from landscape.surface import FileStore, layout, raw_files, read_surface
from landscape.surface import store as module
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.store import MemoryStore
from landscape.surface.surface import DONE, FAILED, PENDING

X, Y = np.linspace(-1.0, 0.5, 4), np.linspace(0.0, 1.0, 3)
METRICS = ("train_loss", "train_acc")


def metadata_of(settings):
    known = SweepSettings(other={"model": "mlp", "seed": 0, **settings})
    return SurfaceMetadata(known, title="a title", environment=Environment(host="here"))


def header(**settings):
    return Header((X, Y), METRICS, metadata_of(settings))


def done_in(path):
    with h5py.File(path, "r", locking=False) as file:
        return set(np.flatnonzero(file["status"][()] == DONE).tolist())


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = MemoryStore(header()) if request.param == "memory" else FileStore.open(tmp_path / "s.h5", header())
    with made:
        yield made


def test_record_by_flat_index(store):
    store.record(6, [0.5, 90.0], 0.25)
    surface = store.surface("s")
    assert surface.shape == (3, 4)
    assert surface.metric("train_loss")[1, 2] == 0.5
    assert surface.metric("train_acc")[1, 2] == 90.0
    assert surface.status[1, 2] == DONE
    assert np.isnan(surface.metric("train_loss")).sum() == 11
    assert store.seconds[1, 2] == 0.25


def test_nan_and_infinity_are_values(store):
    store.record(0, [np.nan, np.inf], 0.0)
    assert store.status.flat[0] == DONE
    assert store.pending().tolist() == list(range(1, 12))
    assert np.isinf(store.surface().metric("train_acc")[0, 0])


def test_failed_points_are_pending_with_retry(store):
    store.fail(3, "out of memory", 1.0)
    store.record(4, [1, 2], 0.0)
    assert store.status.flat[3] == FAILED
    assert 3 not in store.pending()
    assert 3 in store.pending(retry_failed=True)
    assert 4 not in store.pending(retry_failed=True)
    store.record(3, [1, 2], 0.0)
    assert store.messages == {}


def test_surface_is_a_copy(store):
    surface = store.surface()
    store.record(0, [1, 2], 0.0)
    assert surface.status.flat[0] == PENDING
    assert np.isnan(surface.metric("train_loss").flat[0])


def test_resume_after_close(tmp_path):
    path = tmp_path / "s.h5"
    with FileStore.open(path, header()) as store:
        store.record(5, [0.1, 1.0], 0.5)
        store.fail(7, "bad \N{GREEK SMALL LETTER ALPHA}" * 200, 0.5)
    with FileStore.open(path, header()) as store:
        assert store.pending().tolist() == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]
        assert store.messages[7].startswith("bad \N{GREEK SMALL LETTER ALPHA}")
        assert store.values[:, 1, 1].tolist() == [0.1, 1.0]
        assert store.seconds[1, 1] == 0.5
        for index in store.pending(retry_failed=True):
            store.record(index, [index, 0.0], 0.0)
    surface = read_surface(path)
    assert (surface.status == DONE).all()
    assert surface.metadata.finished
    assert surface.name == "a title"
    with FileStore.open(path, header()) as store:
        assert store.pending(retry_failed=True).size == 0
        assert store.messages == {}


def test_finished_is_written_once(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"
    for moment in ("first", "second"):
        monkeypatch.setattr(layout, "now", lambda moment=moment: moment)
        with FileStore.open(path, header()) as store:
            for index in store.pending():
                store.record(index, [0, 0], 0)
    with open_hdf5(path) as file:
        assert file.attrs["finished"] == b"first"
        assert file.attrs["started"] == "first"


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
def test_one_to_three_axes(tmp_path, shape):
    axes = tuple(np.arange(float(n)) for n in reversed(shape))
    size = int(np.prod(shape))
    with FileStore.open(tmp_path / "s.h5", Header(axes, ("train_loss",))) as store:
        for index in range(0, size, 2):
            store.record(index, [index], 0.0)
            store.flush()
        for index in range(1, size, 2):
            store.record(index, [index], 0.0)
    surface = read_surface(tmp_path / "s.h5")
    assert surface.shape == shape
    assert surface.metric().ravel().tolist() == list(range(size))


def test_more_failures_than_messages(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_MESSAGES", 3)
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        for index in range(5):
            store.fail(index, f"message {index}")
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        assert store.messages == {0: "message 0", 1: "message 1", 2: "message 2"}
        assert (store.status == FAILED).sum() == 5


# ---- refused files


def test_resume_names_differing_settings(tmp_path):
    path = tmp_path / "s.h5"
    FileStore.open(path, header()).close()
    before = path.read_bytes()
    with pytest.raises(StoreError) as refused:
        FileStore.open(path, header(seed=1, model="vgg"))
    assert "made with other settings: " in str(refused.value)
    assert "model: the file has 'mlp', this sweep uses 'vgg'" in str(refused.value)
    assert "seed: the file has 0, this sweep uses 1" in str(refused.value)
    assert path.read_bytes() == before


def test_overwrite(tmp_path):
    path = tmp_path / "s.h5"
    with FileStore.open(path, header()) as store:
        store.record(0, [1, 2], 0)
    with FileStore.open(path, header(seed=1), overwrite=True) as store:
        assert len(store.pending()) == 12
    assert read_surface(path).metadata.settings.other["seed"] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_second_writer_is_refused(tmp_path, overwrite):
    path = tmp_path / "s.h5"
    with FileStore.open(path, header()) as store:
        with pytest.raises(StoreError, match="open in another process: a second writer is refused"):
            FileStore.open(path, header(), overwrite)
        store.record(0, [1, 2], 0)
    assert done_in(path) == {0}
    assert [child.name for child in tmp_path.iterdir()] == ["s.h5"]


def test_deleted_store_releases_lock(tmp_path):
    path = tmp_path / "s.h5"
    store = FileStore.open(path, header())
    del store
    FileStore.open(path, header()).close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(raw_files.fcntl, "flock", refuse)
    leftover = tmp_path / ".s.h5.elsewhere.1.part"
    leftover.touch()
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        store.record(0, [1, 2], 0)
    assert done_in(tmp_path / "s.h5") == {0}
    assert "a file system without locks: a second writer would not be noticed" in caplog.text
    assert leftover.exists(), "without locks nobody knows whether it is in use"


@pytest.mark.process
def test_lock_excludes_hdf5_writer(tmp_path):
    path = tmp_path / "s.h5"
    code = f"import h5py\ntry:\n    h5py.File({str(path)!r}, 'r+')\nexcept OSError as e:\n    print(type(e).__name__)"
    with FileStore.open(path, header()):
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "BlockingIOError"


def test_hdf5_writer_excludes_store(tmp_path):
    path = tmp_path / "s.h5"
    FileStore.open(path, header()).close()
    with h5py.File(path, "r+"), pytest.raises(StoreError, match="open in another process"):
        FileStore.open(path, header())


def test_foreign_and_unwritable_files_are_kept(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    with pytest.raises(StoreError, match=r"text.h5 is not a readable HDF5 file"):
        FileStore.open(text, header())
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["xcoordinates"] = X
    before = foreign.read_bytes()
    with pytest.raises(StoreError, match="not a surface file of this program and is left unchanged"):
        FileStore.open(foreign, header())
    assert foreign.read_bytes() == before
    with pytest.raises(StoreError, match="is a directory; expected an HDF5 file"):
        FileStore.open(tmp_path, header())
    with pytest.raises(StoreError, match=r"cannot be written: (Not a directory|File exists)"):
        FileStore.open(text / "s.h5", header())


@pytest.mark.parametrize("name", [*METRICS, "status", "seconds", "failures"])
def test_missing_dataset_is_named(tmp_path, name):
    path = tmp_path / "s.h5"
    FileStore.open(path, header()).close()
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(StoreError, match=f"is damaged .*{name}.*restore the file, or overwrite it"):
        FileStore.open(path, header())


def test_other_format_version_is_refused(tmp_path):
    path = tmp_path / "s.h5"
    FileStore.open(path, header()).close()
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 9
    with pytest.raises(StoreError, match="format version 9; this program reads version 1"):
        FileStore.open(path, header())


def test_damaged_file_raises_store_error(tmp_path):
    path, spoilt = tmp_path / "s.h5", tmp_path / "spoilt.h5"
    with FileStore.open(path, header()) as store:
        store.record(0, [1, 2], 0)
    good = path.read_bytes()
    generator = np.random.default_rng(0)
    for round_ in range(60):
        data = bytearray(good)
        if round_ % 2:
            data = data[: generator.integers(0, len(data))]
        else:
            at = int(generator.integers(0, len(data)))
            data[at : at + 8] = generator.bytes(8)
        spoilt.write_bytes(data)
        with suppress(StoreError):
            FileStore.open(spoilt, header()).close()


def test_write_error_does_not_hide_earlier_error(tmp_path, monkeypatch):
    store = FileStore.open(tmp_path / "s.h5", header())

    def refuse(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(store._writer, "write", refuse)

    def fail():
        with store:
            MemoryStore.record(store, 0, [1, 2], 0)
            store._dirty = (0, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    FileStore.open(tmp_path / "s.h5", header()).close()


# ---- flushing


def test_fast_disk_is_flushed_at_once(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        sync = store._writer.sync

        def fast_sync():
            sync()
            clock[0] += 0.001

        monkeypatch.setattr(store._writer, "sync", fast_sync)
        for index in range(5):
            store.record(index, [1, 2], 0)
            clock[0] += 0.06  # more than 50 times as long as a flush
            store.flush_if_due()
            assert done_in(tmp_path / "s.h5") == set(range(index + 1))


def test_slow_disk_is_flushed_every_few_seconds(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        writes = []

        def slow_sync():
            writes.append(clock[0])
            clock[0] += 1.0

        monkeypatch.setattr(store._writer, "sync", slow_sync)
        for step in range(200):
            clock[0] += 0.1
            store.record(step % 12, [1, 2], 0)
        gaps = np.diff(writes)
        assert np.all(gaps >= module.MAX_FLUSH_INTERVAL)
        assert np.all(gaps <= module.MAX_FLUSH_INTERVAL + 1.2)


def test_values_are_synced_before_status(tmp_path, monkeypatch):
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        calls = []
        write, sync = store._writer.write, store._writer.sync
        monkeypatch.setattr(store._writer, "write", lambda name, *rest: (calls.append(name), write(name, *rest))[1])
        monkeypatch.setattr(store._writer, "sync", lambda: (calls.append("sync"), sync())[1])
        store.record(0, [1, 2], 0)
        store.flush()
        assert calls == ["train_loss", "train_acc", "seconds", "sync", "status"]


# ---- interpolated values


def adaptive_header():
    metrics = ("train_loss", "train_loss_stderr", "train_acc")
    return Header((X, Y), metrics, metadata_of({}), interpolated=True)


def test_interpolated_values_have_datasets_without_standard_errors(tmp_path):
    with FileStore.open(tmp_path / "s.h5", adaptive_header()) as store:
        store.record_interpolated("train_loss", np.full((3, 4), 2.0))
    with h5py.File(tmp_path / "s.h5") as file:
        assert sorted(file["interpolated"]) == ["train_acc", "train_loss"]
        assert (file["interpolated/train_loss"][()] == 2.0).all()
        assert np.isnan(file["interpolated/train_acc"][()]).all()


def test_interpolated_values_without_dataset_stay_in_memory(tmp_path):
    """A file that was created for a full sweep has no datasets for them."""
    with FileStore.open(tmp_path / "s.h5", header()) as store:
        store.record_interpolated("train_loss", np.full((3, 4), 2.0))
        assert (store.interpolated["train_loss"] == 2.0).all()
    with h5py.File(tmp_path / "s.h5") as file:
        assert "interpolated" not in file


def test_interpolated_values_after_close_stay_in_memory(tmp_path):
    with FileStore.open(tmp_path / "s.h5", adaptive_header()) as store:
        pass
    store.record_interpolated("train_loss", np.full((3, 4), 2.0))
    assert (store.interpolated["train_loss"] == 2.0).all()


def test_write_error_of_interpolated_values(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "full")

    with FileStore.open(tmp_path / "s.h5", adaptive_header()) as store, monkeypatch.context() as patch:
        patch.setattr(store._writer, "write", refuse)
        with pytest.raises(StoreError, match=r"s\.h5: writing failed: No space left on device"):
            store.record_interpolated("train_loss", np.full((3, 4), 2.0))
