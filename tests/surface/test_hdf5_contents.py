"""HDF5 files made to do harm: refused before a value is read, by every function that opens a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface import hdf5_contents
from landscape.surface.hdf5 import create_hdf5, is_hdf5, open_hdf5, update_hdf5


def external_storage(file, folder):
    file.create_dataset("a", (4,), "u1", external=[(str(folder / "victim"), 0, 4)])


def external_link(file, folder):
    file["group/a"] = h5py.ExternalLink(str(folder / "other.h5"), "/a")


def virtual_dataset(file, folder):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "a", (4,))
    file.create_virtual_dataset("a", layout)


def virtual_dataset_of_itself(file, folder):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(".", "a", (4,))
    file.create_virtual_dataset("a", layout)


def soft_link(file, folder):
    file["b"] = 1.0
    file["a"] = h5py.SoftLink("/b")


def soft_link_to_parent(file, folder):
    file.create_group("VTKHDF/a")["b"] = h5py.SoftLink("/VTKHDF")


def relative_soft_link(file, folder):
    file.create_group("VTKHDF/a")["b"] = h5py.SoftLink("..")


def chain_of_soft_links(file, folder):
    group = file.create_group("VTKHDF/a")
    group["b"] = h5py.SoftLink("/VTKHDF/c")
    file["VTKHDF/c"] = h5py.SoftLink("/VTKHDF/a")


def cycle(file, folder):
    file["a/b"] = file.create_group("a")


def cycle_through_root(file, folder):
    file["a"] = file["/"]


def deep_groups(file, folder):
    file.create_group("/".join("a" * 200))


def compressed_zeros(file, folder):
    file.create_dataset("a", (20_000, 20_000), "f8", compression="gzip", chunks=(1000, 1000))


def unwritten_values(file, folder):
    file.create_dataset("a", (10**12,), "f8")


def sum_of_many(file, folder):
    for i in range(100):
        file.create_dataset(str(i), (10**6,), "f8")


def one_dataset_with_many_names(file, folder):
    file["a"] = np.zeros(10**5)
    for i in range(1000):
        file[f"b{i}"] = file["a"]


def chunk_that_inflates(file, folder):
    import zlib

    dataset = file.create_dataset("a", (1000,), "u1", compression="gzip", chunks=(1000,))
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(2**29), 9))


def huge_chunk(file, folder):
    file.create_dataset("a", (1,), "f8", chunks=(2**28,), maxshape=(None,))


def unknown_filter(file, folder):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1,))
    properties.set_filter(31_000, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((1,)), properties)


def references(file, folder):
    file.create_dataset("a", data=np.array([file.ref], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)


def sequences(file, folder):
    file.create_dataset("a", (3,), dtype=h5py.vlen_dtype(np.float64))


def texts_of_variable_length(file, folder):
    file.create_dataset("a", data=["b"] * 1000, dtype=h5py.string_dtype())
    file["filler"] = np.zeros(10**6)


def compound_with_text(file, folder):
    file.create_dataset("a", (3,), dtype=np.dtype([("name", h5py.string_dtype())]))


HARMFUL = {
    external_storage: "/a: its values are in another file",
    external_link: "/group/a: it is a link to another file",
    virtual_dataset: "/a: it is a virtual dataset",
    virtual_dataset_of_itself: "/a: it is a virtual dataset",
    soft_link: "/a: it is a soft link",
    soft_link_to_parent: "leaves the place",
    relative_soft_link: "leaves the place",
    chain_of_soft_links: "leads over another link",
    cycle: "/a/b: the group has two names",
    cycle_through_root: "/a: the group has two names",
    deep_groups: "nested more than 8 deep",
    compressed_zeros: "/a: up to here the file declares 3,200,000,000 bytes",
    unwritten_values: "declares 8,000,000,000,000 bytes",
    sum_of_many: "declares",
    one_dataset_with_many_names: "declares",
    chunk_that_inflates: "a compressed chunk is larger than the 1,000 bytes",
    huge_chunk: "chunks of 2,147,483,648 bytes",
    unknown_filter: "filter 31000",
    references: "no fixed size",
    sequences: "no fixed size",
    texts_of_variable_length: "/a: it has 1,000 texts of variable length",
    compound_with_text: "no fixed size",
}


@pytest.mark.parametrize("build", HARMFUL, ids=lambda build: build.__name__)
def test_harmful_file_is_refused(build, tmp_path):
    path = tmp_path / "harm.h5"
    (tmp_path / "victim").write_bytes(b"keep")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a"] = np.arange(4.0)
    with h5py.File(path, "w") as file:
        build(file, tmp_path)
    message = f"{re.escape(str(path))} is refused.*{re.escape(HARMFUL[build])}"
    with pytest.raises(StoreError, match=message), open_hdf5(path):
        pass
    with pytest.raises(StoreError, match=message), update_hdf5(path):
        pass
    with pytest.raises(StoreError, match=message), create_hdf5(tmp_path / "copy.h5", like=path):
        pass
    assert not (tmp_path / "copy.h5").exists()
    assert (tmp_path / "victim").read_bytes() == b"keep"


def test_file_of_this_program_is_accepted(tmp_path):
    """Links for ParaView, dimension scales, compressed weights, and two names of one dataset."""
    path = tmp_path / "plain.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3.0)
        file["x"].make_scale("x")
        file["loss"] = np.zeros((2, 3))
        file["loss"].dims[1].attach_scale(file["x"])
        file["proj"] = file["x"]
        file["VTKHDF/loss"] = h5py.SoftLink("/loss")
        file["VTKHDF/removed"] = h5py.SoftLink("/removed")
        file["VTKHDF/Assembly/surface"] = h5py.SoftLink("/VTKHDF")
        del file["VTKHDF/Assembly/surface"]
        file.create_dataset("weights", data=np.random.default_rng(0).normal(size=(300, 300)), compression="gzip")
        file["failures"] = np.zeros(2, dtype=[("index", "<i8"), ("message", "S240")])
        file["dir_file"] = "a name of variable length"
        file.attrs["empty"] = h5py.Empty("f8")
    with open_hdf5(path) as file:
        assert file["VTKHDF/loss"].shape == (2, 3)


def test_number_of_objects_is_bounded(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(20):
            file.create_group(str(i))
    monkeypatch.setattr(hdf5_contents, "MAX_OBJECTS", 19)
    with pytest.raises(StoreError, match="more than 19 objects"), open_hdf5(tmp_path / "many.h5"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_fifo_and_device_are_refused_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.h5")
    (tmp_path / "link.h5").symlink_to("/dev/zero")
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    for name, message in (
        ("fifo.h5", "fifo.h5 is a FIFO; expected an HDF5 file"),
        ("link.h5", "link.h5 is a device"),
        ("loop.h5", "loop.h5: cannot be read"),
        ("a" * 300, "cannot be read: File name too long"),
    ):
        assert not is_hdf5(tmp_path / name)
        for use in (open_hdf5, update_hdf5):
            with pytest.raises(StoreError, match=message), use(tmp_path / name):
                pass
        with pytest.raises(StoreError, match=message), create_hdf5(tmp_path / "new.h5", like=tmp_path / name):
            pass


def test_errors_of_libraries_name_the_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = 1.0
    for fail in (lambda f: f["b"], lambda f: f["a"][5], lambda f: int("x"), lambda f: f.attrs["c"], lambda f: 1 / 0):
        with pytest.raises(StoreError, match=r"a\.h5 is damaged"), open_hdf5(tmp_path / "a.h5") as file:
            fail(file)


def test_refusal_costs_no_memory(tmp_path):
    """A gigabyte of address space is enough to refuse what declares more."""
    for build in (compressed_zeros, unwritten_values, chunk_that_inflates, huge_chunk):
        with h5py.File(tmp_path / f"{build.__name__}.h5", "w") as file:
            build(file, tmp_path)
    code = """
        import pathlib, resource, sys
        from landscape.errors import StoreError
        from landscape.surface.hdf5 import open_hdf5
        base = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (base + 2**28, base + 2**28))
        for path in sorted(pathlib.Path(sys.argv[1]).glob("*.h5")):
            try:
                with open_hdf5(path):
                    print("opened", path)
            except StoreError as error:
                print("refused" if "is refused" in str(error) else error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused"] * 4


def test_labels_of_axes_are_read_from_a_file_of_any_size(tmp_path):
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(hdf5_contents.MAX_ATTRIBUTE_BYTES // 8 + 1000)
        for name in ("loss", "acc"):
            file[name] = np.zeros((2, 3))
            for axis, label in enumerate("yx"):
                file[name].dims[axis].label = label
    assert 2 * path.stat().st_size > hdf5_contents.MAX_ATTRIBUTE_BYTES
    with open_hdf5(path) as file:
        assert file["loss"].dims[0].label == "y"


@pytest.mark.parametrize("scanned", [2**26, 0])
def test_damaged_heap_is_refused(tmp_path, monkeypatch, scanned):
    """HDF5 loops without end over an object that takes no room."""
    path = tmp_path / "heap.h5"
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "text of variable length"
        file["a"] = np.frombuffer(b"GCOL\x01\0\0\0" + bytes(8 * 7), np.float64)  # values that look like a heap
    monkeypatch.setattr(hdf5_contents, "MAX_SCANNED_BYTES", scanned)
    raw = path.read_bytes()
    if not scanned:
        with open_hdf5(path) as file:
            assert file.attrs["title"] == "text of variable length"
    begin = raw.index(b"GCOL\x01\0\0\0")
    path.write_bytes(raw[: begin + 16] + bytes(len(raw) - begin - 16))
    with pytest.raises(StoreError, match=rf"heap at byte {begin}: it holds an object of 0 bytes"), open_hdf5(path):
        pass
