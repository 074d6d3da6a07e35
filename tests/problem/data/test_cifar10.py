"""CIFAR-10 from small archives in the published formats: search, contents and damage."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.errors import DataError
from landscape.problem.data import registry as datasets
from landscape.problem.data.cifar10 import MEAN, STD
from landscape.problem.data.cifar10_archive import find
from landscape.problem.data.subset import subset

VERSIONS = ["python", "binary"]
INSIDE = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
ARCHIVE = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}


def expected(cifar: object, names: list[str]) -> tuple[torch.Tensor, list[int]]:
    """Return inputs and targets, computed pixel by pixel from the records."""
    images = np.concatenate([cifar.batches[name][0] for name in names]).astype(np.float64)
    red, green, blue = (images[:, 1024 * c : 1024 * (c + 1)].reshape(-1, 32, 32) for c in range(3))
    planes = [(plane - mean) / std for plane, mean, std in zip((red, green, blue), MEAN, STD, strict=True)]
    labels = np.concatenate([cifar.batches[name][1] for name in names])
    return torch.from_numpy(np.stack(planes, axis=1)), labels.tolist()


TRAIN = [f"data_batch_{n}" for n in range(1, 6)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["itself", "inside", "packed", "archive"])
def test_find_and_read(cifar: object, tmp_path: Path, version: str, place: str) -> None:
    if place == "itself":
        data = cifar.write(tmp_path / "anywhere", version)
    elif place == "inside":
        data = cifar.write(tmp_path / INSIDE[version], version).parent
    else:
        packed = cifar.pack(tmp_path / ARCHIVE[version], version)
        data = packed if place == "archive" else tmp_path
    before = sorted(tmp_path.rglob("*"))
    loaded = datasets.load("cifar10", data=data)
    for name, batches in (("train", TRAIN), ("test", ["test_batch"])):
        inputs, targets = expected(cifar, batches)
        torch.testing.assert_close(loaded.splits[name].inputs.double(), inputs, rtol=0, atol=1e-6)
        assert loaded.splits[name].inputs.dtype == torch.float32
        assert loaded.splits[name].targets.tolist() == targets
    assert dict(loaded.model_hints) == {"num_classes": 10, "in_channels": 3, "in_features": 3072}
    assert loaded.description["version"] == version
    assert sorted(tmp_path.rglob("*")) == before


def test_versions_are_bit_equal(cifar: object, tmp_path: Path) -> None:
    first, second = (
        datasets.load("cifar10", data=cifar.write(tmp_path / version, version)).splits for version in VERSIONS
    )
    assert {name: split.digest() for name, split in first.items()} == {
        name: split.digest() for name, split in second.items()
    }


def test_python2_pickle_of_the_tests(cifar: object, python2: Callable[..., bytes]) -> None:
    images, labels = cifar.batches["data_batch_1"]
    for fortran in (False, True):
        with warnings.catch_warnings(action="ignore"):  # numpy's old module names
            batch = pickle.loads(python2(images, labels, fortran), encoding="bytes")
        assert list(batch) == [b"batch_label", b"labels", b"data", b"filenames"]
        assert np.array_equal(batch[b"data"], images)
        assert batch[b"data"].flags.f_contiguous == fortran
        assert batch[b"labels"] == labels.tolist()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("as_bytes", [True, False])
def test_python3_pickle(cifar: object, tmp_path: Path, protocol: int, as_bytes: bool) -> None:
    folder = cifar.write(tmp_path, "python")
    images, labels = cifar.batches["test_batch"]
    fields = {"data": np.asfortranarray(images), "labels": labels, "note": b"", "batch_label": "testing"}
    batch = {key.encode(): value for key, value in fields.items()} if as_bytes else fields
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
    inputs, targets = expected(cifar, ["test_batch"])
    test = datasets.load("cifar10", data=folder, splits=["test"]).splits["test"]
    torch.testing.assert_close(test.inputs.double(), inputs, rtol=0, atol=1e-6)
    assert test.targets.tolist() == targets


def test_samples_equal_subset_of_whole(cifar: object, tmp_path: Path) -> None:
    folder = cifar.write(tmp_path, "binary")
    everything, part = datasets.load("cifar10", data=folder), datasets.load("cifar10", data=folder, samples=25)
    assert sorted(part.splits["train"].targets.bincount().tolist()) == [2] * 5 + [3] * 5
    assert part.splits["train"].digest() == subset(everything.splits["train"], 25).digest()
    assert len(part.splits["test"]) == 20


def test_missing_files_of_other_splits(cifar: object, tmp_path: Path) -> None:
    folder = cifar.write(tmp_path, "python")
    for name in TRAIN:
        (folder / name).unlink()
    assert list(datasets.load("cifar10", data=folder, splits=["test"]).splits) == ["test"]
    with pytest.raises(DataError, match="lacks data_batch_1, data_batch_2"):
        datasets.load("cifar10", data=folder)


def test_unpacked_preferred_to_packed(cifar: object, tmp_path: Path) -> None:
    cifar.pack(tmp_path / ARCHIVE["python"], "python")
    assert find(tmp_path).path.name == ARCHIVE["python"]
    cifar.write(tmp_path / INSIDE["binary"], "binary")
    assert find(tmp_path).path.name == INSIDE["binary"]


def test_unusual_size_is_logged(cifar: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datasets.load("cifar10", data=cifar.write(tmp_path, "binary"), splits=["test"])
    assert "test_batch.bin holds 20 images instead of the 10000 in the published archive" in caplog.text


def test_published_size_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073) * 10_000)
    with caplog.at_level(logging.DEBUG):
        loaded = datasets.load("cifar10", data=tmp_path, splits=["test"], samples=10)
    assert len(loaded.splits["test"]) == 10
    assert not caplog.records


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load("cifar10", data=tmp_path)
    message = str(caught.value)
    for place in (tmp_path, *(tmp_path / name for name in (*INSIDE.values(), *ARCHIVE.values()))):
        assert str(place) in message
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in message
    with pytest.raises(DataError, match="data=DIRECTORY"):
        datasets.load("cifar10")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split of cifar10: 'tset'; did you mean 'test'"):
        datasets.load("cifar10", data=tmp_path, splits=["tset"])


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (bytes(3073 * 2 - 1), "expected records of 3073 bytes, got 6145 bytes"),
        (b"", "got 0 bytes"),
        (bytes(3073) + b"\x0a" + bytes(3072), "got 10 in record 1"),
    ],
)
def test_damaged_binary_batch(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "test_batch.bin").write_bytes(raw)
    with pytest.raises(DataError, match=f"test_batch.bin.*{message}"):
        datasets.load("cifar10", data=tmp_path, splits=["test"])


IMAGES = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "expected a dict, got list"),
        ({"data": IMAGES}, "expected 'data' and 'labels', got"),
        ({"data": IMAGES.tolist(), "labels": [0, 1]}, "got list"),
        ({"data": IMAGES[:, 1:], "labels": [0, 1]}, r"got uint8 \(2, 3071\)"),
        ({"data": IMAGES.astype(np.float32), "labels": [0, 1]}, "got float32"),
        ({"data": IMAGES[:0], "labels": []}, r"got uint8 \(0, 3072\)"),
        ({"data": np.array(7, np.uint8), "labels": []}, r"got uint8 \(\)"),
        ({"data": IMAGES, "labels": [0]}, "'labels' as 2 integers"),
        ({"data": IMAGES, "labels": [0, "1"]}, "'labels' as 2 integers"),
        ({"data": IMAGES, "labels": np.array([0.0, 1.0])}, "'labels' as 2 integers"),
        ({"data": IMAGES, "labels": [0, -1]}, "got -1 in record 1"),
        ({"data": IMAGES, "labels": [0, 10**30]}, "'labels' as 2 integers"),
    ],
)
def test_invalid_pickle_batch(tmp_path: Path, batch: object, message: str) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=f"test_batch.*{message}"):
        datasets.load("cifar10", data=tmp_path, splits=["test"])


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_archive(cifar: object, tmp_path: Path, version: str) -> None:
    packed = cifar.pack(tmp_path / ARCHIVE[version], version)
    whole = packed.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],  # an interrupted download
        whole[:-20],
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :],
        b"<html>404 not found</html>",
        b"",
    ):
        packed.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{ARCHIVE[version]} is damaged or incomplete .*Download it again"):
            datasets.load("cifar10", data=tmp_path, splits=["test"])


def test_archive_without_batches(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "cat.txt").write_text("cat")
    archive = shutil.make_archive(str(tmp_path / "cats"), "gztar", tmp_path / "cats")
    with pytest.raises(DataError, match=r"cats\.tar\.gz is an archive without the batches of CIFAR-10"):
        datasets.load("cifar10", data=archive)


def test_malicious_pickle(tmp_path: Path) -> None:
    mark = tmp_path / "was-here"

    class Hostile:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {mark}",)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        raw = pickle.dumps({"data": Hostile(), "labels": [0]}, protocol=protocol)
        (tmp_path / "test_batch").write_bytes(raw)
        with pytest.raises(DataError, match=r"test_batch: refused because it needs (posix|nt)\.system"):
            datasets.load("cifar10", data=tmp_path, splits=["test"])
        assert not mark.exists()
    pickle.loads(raw)  # it would have
    assert mark.exists()
