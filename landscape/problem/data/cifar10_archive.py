"""The published CIFAR-10 archive: where it may lie, packed or unpacked, and its two formats."""

from __future__ import annotations

import logging
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from landscape._utils.names import unknown
from landscape.errors import DataError
from landscape.problem.data import unpickle

BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
"""The files of each split, in order, without the ending that tells the versions apart."""
ENDINGS = {"python": "", "binary": ".bin"}
"""What those files' names end in, by version of the archive."""
FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
ARCHIVES = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}
HOW_TO_GET = (
    f"Get {ARCHIVES['python']} or {ARCHIVES['binary']} from "
    "https://www.cs.toronto.edu/~kriz/cifar.html; it need not be unpacked"
)

PIXELS = 3 * 32 * 32
PUBLISHED_RECORDS = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSource:
    """Where a data set was read from.

    Attributes:
        path: the folder that holds the batches, or the packed archive.
        version: ``python`` or ``binary``.
    """

    path: Path
    version: str


def check_splits(splits: Sequence[str] | None) -> tuple[str, ...]:
    """The splits asked for, all of them by default; ``ValueError`` where one is not there."""
    for name in splits or ():
        if name not in BATCHES:
            raise unknown("split of cifar10", name, BATCHES)
    return tuple(BATCHES if splits is None else splits)


def read(place: Path, splits: Sequence[str]) -> tuple[ArchiveSource, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` int64 of each split, in the published order.

    Args:
        place: an unpacked folder, a packed archive, or a folder that holds one of these.
        splits: which of ``train`` and ``test``.

    Raises:
        DataError: nothing is found there, or a file is missing or damaged.
    """
    source = find(place)
    batches = [batch for split in splits for batch in BATCHES[split]]
    raw = _read_files(source, [batch + ENDINGS[source.version] for batch in batches])
    decode = {"python": _decode_python, "binary": _decode_binary}[source.version]

    def gather(split: str) -> tuple[np.ndarray, np.ndarray]:
        # Taken out of the dict as they are decoded, so that the training images are in memory twice and not thrice.
        parts = []
        for batch in BATCHES[split]:
            file = batch + ENDINGS[source.version]
            parts.append(decode(raw.pop(file), f"{source.path}: {file}"))
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return images.reshape(-1, 3, 32, 32), labels

    return source, {split: gather(split) for split in splits}


def find(place: Path) -> ArchiveSource:
    """Where the data are: in ``place`` itself, in one of the published folders in it, or packed.

    Raises:
        DataError: nowhere; the message says where it was looked for.
    """
    if place.is_file():
        return ArchiveSource(place, _version(_members(place), place))
    folders = [place, *(place / name for name in FOLDERS.values())]
    for folder in folders:
        if folder.is_dir():
            names = {path.name for path in folder.iterdir()}
            for version in ENDINGS:
                if names & _files(version):
                    return ArchiveSource(folder, version)
    archives = {version: place / name for version, name in ARCHIVES.items()}
    for version, archive in archives.items():
        if archive.is_file():
            return ArchiveSource(archive, version)
    looked = ", ".join(str(path) for path in (*folders, *archives.values()))
    raise DataError(f"cifar10 was not found: looked for its batches in {looked}. {HOW_TO_GET}")


def _files(version: str) -> set[str]:
    return {batch + ENDINGS[version] for batches in BATCHES.values() for batch in batches}


def _version(names: Iterable[str], place: Path) -> str:
    for name in names:
        for version in ENDINGS:
            if name in _files(version):
                return version
    raise DataError(f"{place} is an archive without CIFAR-10's batches. {HOW_TO_GET}")


def _members(archive: Path) -> Iterable[str]:
    with _open(archive) as tar:
        for member in tar:
            yield PurePosixPath(member.name).name


def _read_files(source: ArchiveSource, wanted: Sequence[str]) -> dict[str, bytes]:
    raw: dict[str, bytes] = {}
    if source.path.is_dir():
        for name in wanted:
            path = source.path / name
            try:
                raw[name] = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
    else:
        # One pass in the archive's own order: a compressed file cannot be searched.
        with _open(source.path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isfile():
                    raw[name] = tar.extractfile(member).read()
            # To the very end, where the compressed file has its checksum.
            while tar.fileobj.read(2**20):
                pass
    missing = [name for name in wanted if name not in raw]
    if missing:
        raise DataError(f"{source.path} lacks {', '.join(missing)} of CIFAR-10's batches. Fetch and unpack it again")
    return raw


@contextmanager
def _open(archive: Path) -> Iterator[tarfile.TarFile]:
    """A packed archive; whatever is raised because it is damaged becomes a ``DataError`` that names it."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = str(error).partition(":\n")[0]  # tarfile lists on further lines what it tried
        raise DataError(f"{archive} is damaged or incomplete ({reason}). Fetch it again") from error


def _decode_binary(raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3,072 pixels: red, green and blue planes, row by row."""
    record = 1 + PIXELS
    if not raw or len(raw) % record:
        raise DataError(f"{name} is damaged: records of {record} bytes expected, got {len(raw)} bytes. Fetch it again")
    records = np.frombuffer(raw, np.uint8).reshape(-1, record)
    return _checked(records[:, 1:], records[:, 0].astype(np.int64), name)


def _decode_python(raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dict, whose keys are bytes where Python 2 wrote it: ``data`` (n, 3072) and ``labels``, a list."""
    batch = unpickle.load(raw, name)
    if not isinstance(batch, Mapping):
        raise DataError(f"{name}: a dict expected, got {type(batch).__name__}. It is not the published file")
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if not {"data", "labels"} <= fields.keys():
        raise DataError(f"{name}: 'data' and 'labels' expected, got {sorted(map(str, fields))}")
    images, labels = fields["data"], fields["labels"]
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 2
        or not images.size
        or images.shape[1] != PIXELS
    ):
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{name}: 'data' as uint8 (n, {PIXELS}) expected, got {found}")
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = np.array(labels)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise DataError(f"{name}: 'labels' as {len(images)} integers, one for each image, expected")
    return _checked(np.asarray(images), np.asarray(labels, dtype=np.int64), name)


def _checked(images: np.ndarray, labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise DataError(f"{name} is damaged: label {labels[wrong[0]]} of record {wrong[0]}, where 0 to 9 are expected")
    if len(labels) != PUBLISHED_RECORDS:
        _log.warning("%s holds %d images, not the %d of the published archive", name, len(labels), PUBLISHED_RECORDS)
    return images, labels
