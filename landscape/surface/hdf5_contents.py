"""Checks of an open HDF5 file before a value is read: nothing outside the file is touched, and sizes are bounded.

HDF5 can keep values in any other file (external storage, external links, virtual datasets), and declare sizes that have
nothing to do with the size of the file (compressed and unwritten chunks). A file of this program has neither.
"""

from __future__ import annotations

import mmap
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np

from landscape.errors import StoreError

MAX_UNSTORED_BYTES = 2**28
"""Bytes (256 MiB) by which the values that a file declares may exceed its size, compressed or never written."""
MAX_ATTRIBUTE_BYTES = 2**24
"""Largest attribute in bytes (16 MiB)."""
MAX_LABELS = 3
"""Number of texts of variable length that may be read from a file of any size: the labels of its axes."""
MAX_OBJECTS = 2_000_000
"""Largest number of groups and datasets; a surface of 200 seeds of a network of 1,000 tensors has 600,000."""
MAX_DEPTH = 8
"""Largest depth of nested groups; files of this program have at most five."""
MAX_SCANNED_BYTES = 2**26
"""Size (64 MiB) up to which all of a file is searched for damaged heaps; beyond, everything but the values."""
LINKED_GROUP = "VTKHDF"
"""Group for ParaView, the only one with soft links."""

_INTERNAL_ATTRIBUTES = (b"CLASS", b"NAME", b"DIMENSION_LIST", b"REFERENCE_LIST")
_HEAP = b"GCOL\x01\0\0\0"
"""Beginning of a heap with text of variable length: signature, version and three zeros."""
_INFLATION = 1032
"""Largest ratio of zlib: its longest match has 258 bytes and takes two bits."""
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "deflate",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_PLAIN_CLASSES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
_Object: TypeAlias = "h5py.h5g.GroupID | h5py.h5d.DatasetID | h5py.h5t.TypeID"


def require_plain_contents(file: h5py.File, path: Path, size: int) -> None:
    """Refuse a file that reaches outside of itself, declares more than it holds, or is nested without end.

    No value is read, except compressed chunks that could inflate beyond :data:`MAX_UNSTORED_BYTES`.

    Args:
        file: the open file.
        path: its name in messages.
        size: its size on the disk in bytes.

    Raises:
        StoreError: external storage, an external link, a virtual dataset, a soft link outside ``/VTKHDF`` or to an
            object that is not in the file, a group with two names, an unknown filter, a type without a fixed size, or
            a size beyond the limits; the message names the object.
    """
    _Inspection(path, size).run(file)


@dataclass
class _Inspection:
    """The walk over the links of one file.

    Attributes:
        path: name of the file in messages.
        size: size of the file in bytes.
        declared: sum of the sizes that its datasets declare; a dataset with two names counts twice.
        objects: number of objects found.
        groups: addresses of the groups found.
        soft_links: targets by name.
        raw_data: offset and size of each contiguous dataset.
    """

    path: Path
    size: int
    declared: int = 0
    objects: int = 0
    groups: set[int] = field(default_factory=set)
    soft_links: list[tuple[str, str]] = field(default_factory=list)
    raw_data: list[tuple[int, int]] = field(default_factory=list)

    def run(self, file: h5py.File) -> None:
        root = h5py.h5g.open(file.id, b"/")
        self._require_plain_attributes(root, "/")
        self.groups.add(h5py.h5o.get_info(root).addr)
        pending = [("", 0, root)]
        while pending:
            name, depth, group = pending.pop()
            pending += [(child, depth + 1, found) for child, found in self._members(name, depth, group)]
        for name, target in self.soft_links:
            self._require_inner_target(file, name, target)
        if file.id.get_create_plist().get_sizes()[1] != 8:
            raise self._refusal("/", "its lengths do not have 8 bytes")
        self._require_sound_heaps()

    def _require_sound_heaps(self) -> None:
        """Check the heaps with text of variable length, in which HDF5 loops without end if one is damaged."""
        begins = sorted(self.raw_data) if self.size > MAX_SCANNED_BYTES else []
        ends = [begin + length for begin, length in begins]
        gaps = zip([0, *ends], [*(begin for begin, _ in begins), self.size], strict=True)
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
            for begin, end in gaps:
                found = contents.find(_HEAP, begin, end)
                while found >= 0:
                    self._require_sound_heap(contents, found)
                    found = contents.find(_HEAP, found + len(_HEAP), end)

    def _require_sound_heap(self, contents: mmap.mmap, begin: int) -> None:
        end = begin + int.from_bytes(contents[begin + 8 : begin + 16], "little")
        position = begin + 16
        while position + 16 <= min(end, self.size):
            index = int.from_bytes(contents[position : position + 2], "little")
            length = int.from_bytes(contents[position + 8 : position + 16], "little")
            # Free space, with index 0, counts its own head; an object is padded to 8 bytes.
            needed = length if index == 0 else 16 + (length + 7) // 8 * 8
            if needed < 16 or position + needed > end:
                raise self._refusal(f"heap at byte {begin}", f"it holds an object of {length:,} bytes")
            position += needed

    def _members(self, name: str, depth: int, group: h5py.h5g.GroupID) -> list[tuple[str, h5py.h5g.GroupID]]:
        """Check the members of a group, and return the groups among them."""
        links: list[tuple[bytes, int, int]] = []

        def collect(link: bytes, info: h5py.h5l.LinkInfo) -> bool | None:
            links.append((link, info.type, info.u))
            return True if self.objects + len(links) > MAX_OBJECTS else None  # anything but None ends the iteration

        group.links.iterate(collect, info=True)
        self.objects += len(links)
        if self.objects > MAX_OBJECTS:
            raise self._refusal(name or "/", f"the file has more than {MAX_OBJECTS:,} objects")
        if links and depth >= MAX_DEPTH:
            raise self._refusal(name, f"groups are nested more than {MAX_DEPTH} deep")
        groups = []
        for link, kind, address in links:
            path = f"{name}/{link.decode('utf-8', 'backslashreplace')}"
            if kind == h5py.h5l.TYPE_SOFT:
                target = group.links.get_val(link).decode("utf-8", "backslashreplace")
                self.soft_links.append((path, target))
            elif kind != h5py.h5l.TYPE_HARD:
                raise self._refusal(path, "it is a link to another file")
            else:
                found = h5py.h5o.open(group, link)
                self._require_plain_attributes(found, path)
                if isinstance(found, h5py.h5g.GroupID):
                    if address in self.groups:
                        raise self._refusal(path, "the group has two names, as in a cycle of links")
                    self.groups.add(address)
                    groups.append((path, found))
                elif isinstance(found, h5py.h5d.DatasetID):
                    self._require_plain_dataset(found, path)
        return groups

    def _require_inner_target(self, file: h5py.File, name: str, target: str) -> None:
        """Refuse a soft link unless it is one for ParaView, to a dataset or another group of this file."""
        if not name.startswith(f"/{LINKED_GROUP}/"):
            raise self._refusal(name, f"it is a soft link (to {target!r}); links belong into /{LINKED_GROUP} only")
        parts = target.split("/")
        if parts[0] or ".." in parts or "." in parts or name.startswith(target.rstrip("/") + "/"):
            raise self._refusal(name, f"its soft link to {target!r} leaves the place that it may name")
        # A target that does not exist is harmless: nothing follows it. One behind another link could be a cycle.
        place = ""
        for part in filter(None, parts):
            place += f"/{part}"
            link = file.get(place, getlink=True)
            if link is None:
                return
            if not isinstance(link, h5py.HardLink):
                raise self._refusal(name, f"its soft link to {target!r} leads over another link")

    def _require_plain_dataset(self, dataset: h5py.h5d.DatasetID, name: str) -> None:
        properties = dataset.get_create_plist()
        layout = properties.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise self._refusal(name, "it is a virtual dataset, whose values are in other datasets or files")
        if layout == h5py.h5d.CONTIGUOUS and properties.get_external_count():
            raise self._refusal(name, "its values are in another file (external storage)")
        space = dataset.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            return
        count, kind = space.get_simple_extent_npoints(), dataset.get_type()
        self._require_fixed_size(kind, count, name)
        size = kind.get_size()
        self.declared += count * size
        if self.declared > self.size + MAX_UNSTORED_BYTES:
            raise self._refusal(
                name,
                f"up to here the file declares {self.declared:,} bytes of values, but has {self.size:,}; at most "
                f"{MAX_UNSTORED_BYTES:,} more are accepted",
            )
        if layout == h5py.h5d.CONTIGUOUS and (offset := dataset.get_offset()) is not None:
            self.raw_data.append((offset, count * size))
        if layout == h5py.h5d.CHUNKED:
            self._require_plain_chunks(dataset, properties, size, name)

    def _require_plain_chunks(
        self, dataset: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID, item_size: int, name: str
    ) -> None:
        """Refuse unknown filters, chunks larger than the limit, and chunks that inflate beyond it."""
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        for code in filters:
            if code not in _FILTERS or filters.count(code) > 1:
                known = ", ".join(_FILTERS.values())
                raise self._refusal(name, f"filter {code}: expected each of {known} at most once")
        chunk = item_size * int(np.prod(properties.get_chunk(), dtype=object))
        if chunk > MAX_UNSTORED_BYTES + self.size:
            raise self._refusal(name, f"it has chunks of {chunk:,} bytes")
        if h5py.h5z.FILTER_DEFLATE not in filters or dataset.get_storage_size() * _INFLATION <= MAX_UNSTORED_BYTES:
            return
        for i in range(dataset.get_num_chunks()):
            info = dataset.get_chunk_info(i)
            if info.size * _INFLATION > MAX_UNSTORED_BYTES:
                _, stored = dataset.read_direct_chunk(info.chunk_offset)
                inflated = zlib.decompressobj().decompress(stored, chunk + 1)
                if len(inflated) > chunk:
                    raise self._refusal(name, f"a compressed chunk is larger than the {chunk:,} bytes that it declares")

    def _require_plain_attributes(self, node: _Object, name: str) -> None:
        for i in range(h5py.h5a.get_num_attrs(node)):
            attribute = h5py.h5a.open(node, index=i)
            if attribute.name in _INTERNAL_ATTRIBUTES:
                continue
            label = f"{name}, attribute {attribute.name.decode('utf-8', 'backslashreplace')}"
            space, kind = attribute.get_space(), attribute.get_type()
            if space.get_simple_extent_type() == h5py.h5s.NULL:
                continue
            count = space.get_simple_extent_npoints()
            self._require_fixed_size(kind, count, label)
            if count * kind.get_size() > MAX_ATTRIBUTE_BYTES:
                size = count * kind.get_size()
                raise self._refusal(label, f"it declares {size:,} bytes; at most {MAX_ATTRIBUTE_BYTES:,} are accepted")

    def _require_fixed_size(self, kind: h5py.h5t.TypeID, count: int, name: str) -> None:
        """Refuse types whose values can be larger than the file; a text of variable length is part of it."""
        if kind.get_class() in _PLAIN_CLASSES:
            return
        if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
            if count > MAX_LABELS and count * self.size > max(self.size, MAX_ATTRIBUTE_BYTES):
                raise self._refusal(name, f"it has {count:,} texts of variable length")
        elif kind.detect_class(h5py.h5t.VLEN) or kind.detect_class(h5py.h5t.REFERENCE) or _has_variable_text(kind):
            raise self._refusal(name, "its values have no fixed size; expected numbers or text")

    def _refusal(self, name: str, reason: str) -> StoreError:
        return StoreError(
            f"{self.path} is refused, nothing of it was read: {name}: {reason}. Files of this program have no such "
            "parts: it is damaged, or made to do harm"
        )


def _has_variable_text(kind: h5py.h5t.TypeID) -> bool:
    """Return True if a compound or array type contains text of variable length."""
    return bool(kind.dtype.hasobject)
