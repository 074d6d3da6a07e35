"""Reader of the published CIFAR-10 archive, packed or unpacked, in both of its formats."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import numpy.typing as npt

from landscape._utils.files import require_regular_file
from landscape._utils.names import unknown
from landscape._utils.reading import read_bytes
from landscape.errors import DataError
from landscape.problem.data import unpickle

BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
"""Files of each split, in order, without the suffix that distinguishes the versions."""
SUFFIXES = {"python": "", "binary": ".bin"}
"""Suffix of these files by version of the archive."""
FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
ARCHIVES = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}
DOWNLOAD_HINT = (
    f"Download {ARCHIVES['python']} or {ARCHIVES['binary']} from "
    "https://www.cs.toronto.edu/~kriz/cifar.html; there is no need to unpack it"
)

MAX_BATCH_BYTES, MAX_ARCHIVE_BYTES = 2**26, 2**30
"""Largest batch (64 MiB; published ones have 31 MB) and unpacked archive (1 GiB; published: 186 MB)."""

PIXELS = 3 * 32 * 32
PUBLISHED_RECORDS = 10_000

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images and labels."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSource:
    """The origin of the data.

    Attributes:
        path: directory of the batches, or the packed archive.
        version: ``python`` or ``binary``.
    """

    path: Path
    version: str


def check_splits(splits: Sequence[str] | None) -> tuple[str, ...]:
    """Return the requested splits, all by default; raise ``ValueError`` for an unknown one."""
    for name in splits or ():
        if name not in BATCHES:
            raise unknown("split of cifar10:", name, BATCHES)
    return tuple(BATCHES if splits is None else splits)


def read(place: Path, splits: Sequence[str]) -> tuple[ArchiveSource, dict[str, Arrays]]:
    """Read splits of the archive.

    Args:
        place: an unpacked directory, a packed archive, or a directory that holds one of these.
        splits: names of the splits, ``train`` and ``test``.

    Returns:
        The origin of the data, and for each split images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` int64, in the
        published order.

    Raises:
        DataError: there is no archive, or a file is missing or damaged.
    """
    source = find(place)
    batches = [batch for split in splits for batch in BATCHES[split]]
    raw = _read_files(source, [batch + SUFFIXES[source.version] for batch in batches])
    decode = {"python": _decode_python, "binary": _decode_binary}[source.version]

    def gather(split: str) -> Arrays:
        # Removed from the dict as they are decoded, so that training images are in memory twice, not three times.
        parts = []
        for batch in BATCHES[split]:
            file = batch + SUFFIXES[source.version]
            parts.append(decode(raw.pop(file), f"{source.path}: {file}"))
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return images.reshape(-1, 3, 32, 32), labels

    return source, {split: gather(split) for split in splits}


def find(place: Path) -> ArchiveSource:
    """Find the data: in ``place`` itself, in one of the published directories in it, or packed.

    Raises:
        DataError: there are none; the message lists the places that were searched.
    """
    if place.is_file():
        return ArchiveSource(place, _version(_members(place), place))
    folders = [place, *(place / name for name in FOLDERS.values())]
    for folder in folders:
        if folder.is_dir():
            names = {path.name for path in folder.iterdir()}
            for version in SUFFIXES:
                if names & _files(version):
                    return ArchiveSource(folder, version)
    archives = {version: place / name for version, name in ARCHIVES.items()}
    for version, archive in archives.items():
        if archive.is_file():
            return ArchiveSource(archive, version)
    looked = ", ".join(str(path) for path in (*folders, *archives.values()))
    raise DataError(f"cannot find the batches of cifar10 in any of {looked}. {DOWNLOAD_HINT}")


def _files(version: str) -> set[str]:
    return {batch + SUFFIXES[version] for batches in BATCHES.values() for batch in batches}


def _version(names: Iterable[str], place: Path) -> str:
    for name in names:
        for version in SUFFIXES:
            if name in _files(version):
                return version
    raise DataError(f"{place} is an archive without the batches of CIFAR-10. {DOWNLOAD_HINT}")


def _members(archive: Path) -> Iterable[str]:
    with _open(archive) as tar:
        for member in tar:
            yield PurePosixPath(member.name).name


def _read_files(source: ArchiveSource, wanted: Sequence[str]) -> dict[str, bytes]:
    raw: dict[str, bytes] = {}
    if source.path.is_dir():
        for name in wanted:
            if os.path.lexists(path := source.path / name):
                raw[name] = read_bytes(path, DataError, max_bytes=MAX_BATCH_BYTES, expected="a batch of CIFAR-10")
    else:
        # One pass in the order of the archive: a compressed file has no random access.
        with _open(source.path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isfile() and (stored := tar.extractfile(member)) is not None:
                    raw[name] = stored.read()
            # To the very end, where the compressed file has its checksum.
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass
    missing = [name for name in wanted if name not in raw]
    if missing:
        raise DataError(
            f"{source.path} lacks {', '.join(missing)} of the batches of CIFAR-10. Download and unpack it again"
        )
    return raw


@contextmanager
def _open(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a packed archive; any error due to damage becomes a ``DataError`` that names it."""
    require_regular_file(archive, DataError, "the archive of CIFAR-10")
    try:
        with _decompressed(archive) as stream, tarfile.open(fileobj=_BoundedStream(stream), mode="r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, LookupError) as error:
        raise DataError(f"{archive} is damaged or incomplete ({error}). Download it again") from error


def _decompressed(archive: Path) -> IO[bytes] | gzip.GzipFile:
    """Open an archive that is packed by gzip, bzip2 or xz, or not at all."""
    with archive.open("rb") as file:
        first = file.read(6)
    if first.startswith(b"\x1f\x8b"):
        return gzip.open(archive)
    if first.startswith(b"BZh"):
        return bz2.open(archive)
    return lzma.open(archive) if first == b"\xfd7zXZ\0" else archive.open("rb")


class _BoundedStream(io.RawIOBase):
    """A stream that ends with an error where a small archive unpacks to more than the published one."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_BATCH_BYTES:
            raise ValueError(f"a part has {size:,} bytes; at most {MAX_BATCH_BYTES:,} are accepted")
        self._require_bounded(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._require_bounded(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _require_bounded(self, position: int) -> None:
        if position > MAX_ARCHIVE_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_ARCHIVE_BYTES:,} bytes")


def _decode_binary(raw: bytes, name: str) -> Arrays:
    """Decode records of one label byte and 3,072 pixels: red, green and blue planes, row by row."""
    record = 1 + PIXELS
    if not raw or len(raw) % record:
        raise DataError(
            f"{name} is damaged: expected records of {record} bytes, got {len(raw)} bytes. Download it again"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, record)
    return _checked(records[:, 1:], records[:, 0].astype(np.int64), name)


def _decode_python(raw: bytes, name: str) -> Arrays:
    """Decode a pickled dict, with bytes as keys if Python 2 wrote it: ``data`` (n, 3072) and ``labels``, a list."""
    batch = unpickle.load(raw, name)
    if not isinstance(batch, Mapping):
        raise DataError(f"{name}: expected a dict, got {type(batch).__name__}. This is not the published file")
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if not {"data", "labels"} <= fields.keys():
        raise DataError(f"{name}: expected 'data' and 'labels', got {sorted(map(str, fields))}")
    images, labels = fields["data"], fields["labels"]
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 2
        or not images.size
        or images.shape[1] != PIXELS
    ):
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{name}: expected 'data' as uint8 (n, {PIXELS}), got {found}")
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = np.array(labels)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise DataError(f"{name}: expected 'labels' as {len(images)} integers, one for each image")
    return _checked(np.asarray(images), np.asarray(labels, dtype=np.int64), name)


def _checked(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], name: str) -> Arrays:
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise DataError(f"{name} is damaged: expected labels 0 to 9, got {labels[wrong[0]]} in record {wrong[0]}")
    if len(labels) != PUBLISHED_RECORDS:
        _log.warning(
            "%s holds %d images instead of the %d in the published archive", name, len(labels), PUBLISHED_RECORDS
        )
    return images, labels
