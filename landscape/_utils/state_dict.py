"""Names of the tensors in a checkpoint, matched with those of a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import same_bits

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Children that hold the wrapped network: of ``DataParallel`` and averaged models, of ``torch.compile``, of FSDP, and
of activation checkpointing. Their names come and go as a network is wrapped and unwrapped."""
COUNTER = "num_batches_tracked"
"""Counter of batch norm, which files from before torch 0.4.1 lack."""
AVERAGES = "n_averaged"
"""Counter of averaged models, which files of the network itself lack."""
_NESTED = 4  # wrappers around one another
_LISTED = 4  # tensors of each kind named in a message
_TRIED = 8  # names by which a prefix is looked for


def full_state_dict(model: nn.Module, keep_vars: bool = False) -> dict[str, Tensor]:
    """Return all parameters and persistent buffers by name, also of a network that overrides ``state_dict``."""
    return dict(nn.Module.state_dict(model, keep_vars=keep_vars))


def tied_names(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Return for each name that shares its tensor the other names of it."""
    groups: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        key: object = name
        # Empty tensors and those on the meta device have no memory to share; an extra state is any object.
        if isinstance(tensor, Tensor) and tensor.layout is torch.strided and tensor.numel() and tensor.data_ptr():
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        groups.setdefault(key, []).append(name)
    return {name: tuple(n for n in names if n != name) for names in groups.values() if len(names) > 1 for name in names}


@dataclass(frozen=True)
class NameMatch:
    """The tensors of a checkpoint for each of a network's names.

    Attributes:
        names: name in the checkpoint by name in the network.
        unused: names in the checkpoint that the network has no place for.
        removed: prefix that was removed from the names in the checkpoint to make them match; empty as a rule.
        added: prefix that was put before the names in the checkpoint; empty as a rule.
    """

    names: Mapping[str, str]
    unused: tuple[str, ...]
    removed: str = ""
    added: str = ""

    @property
    def unused_within(self) -> tuple[str, ...]:
        """Unused names as the network would have them; those outside of a removed prefix are left out."""
        inside = (name for name in self.unused if name.startswith(self.removed))
        return tuple(self.added + name.removeprefix(self.removed) for name in inside)

    def note(self, path: object) -> str:
        """Return which prefix was removed from the names in a file, or put before them; empty if none."""
        if not (self.removed or self.added):
            return ""
        done = f"{self.removed!r} removed from" if self.removed else f"{self.added!r} put before"
        return f"{path}: its weights fit with {done} their names"


def match_names(
    own: Mapping[str, Tensor],
    stored: Mapping[str, Tensor],
    tied: Mapping[str, Sequence[str]] | None = None,
) -> NameMatch | None:
    """Match the names in a checkpoint with those of a network, by name and shape.

    The names need not be equal: either side may have those of wrappers (:data:`WRAPPERS`), in front or anywhere inside.
    Of tied tensors one suffices; if there are more, they must be equal. Batch-norm counters may be missing if all are.
    If nothing matches, one prefix is removed from the names in the checkpoint, or put before them, provided that there
    is only one with which all names match.

    Args:
        own: tensors of the network.
        stored: tensors of the checkpoint.
        tied: other names of tied tensors; see :func:`tied_names`.

    Returns:
        The match; None if a tensor is missing or has another shape.
    """
    match = _matched(own, stored, tied or {})
    if match is not None:
        return match
    without, with_prefix = _fitting_prefixes(own, stored, tied or {})
    if len(without) == 1:
        ((removed, match),) = without.items()
        names = {name: removed + found for name, found in match.names.items()}
        used = {removed + name for name in strip(stored, removed) if name not in match.unused}
        return NameMatch(names, tuple(name for name in stored if name not in used), removed=removed)
    if not without and len(with_prefix) == 1:
        ((added, match),) = with_prefix.items()
        names = {name: found.removeprefix(added) for name, found in match.names.items()}
        return NameMatch(names, tuple(name.removeprefix(added) for name in match.unused), added=added)
    return None


def strip(stored: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}


def extends_rows(own: Iterable[str], unused: Iterable[str]) -> bool:
    """Return True if unused tensors continue numbered rows of a network, as those of a deeper one do.

    ``layers.3.weight`` continues the row of ``layers.2.weight``; ``n_averaged`` continues none.
    """
    rows = {_row(bare_name(name)) for name in own}
    return any(_row(bare_name(name)) in rows for name in unused)


def misfit(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], tied: Mapping[str, Sequence[str]]) -> str:
    """Return how a checkpoint differs from a network that it doesn't fit, and which prefix would make it fit."""

    def by_name(renaming: _Renaming) -> int:
        return len({renaming[0](name) for name in own} & {renaming[1](name) for name in stored})

    of_own, of_stored = max(_renamings(), key=by_name)  # the first of those with most names in common
    found = {of_stored(name): tensor for name, tensor in stored.items()}
    wanted = {of_own(name): tensor for name, tensor in own.items()}
    counted = any(name.endswith(COUNTER) for name in stored)
    missing = [
        name
        for original, name in zip(own, wanted, strict=False)
        if name not in found
        and not any(of_own(other) in found for other in tied.get(original, ()))
        and not _may_be_missing(original, counted)
    ]
    torn = [
        f"{name}, which is one tensor with {' and '.join(tied[original])} in the model and differs in the checkpoint"
        for original, name in zip(own, wanted, strict=False)
        if original in tied and not _alike([found[k] for k in map(of_own, (original, *tied[original])) if k in found])
    ]
    unexpected = [name for name in found if name not in wanted]
    reshaped = [
        f"{name} {form(found[name])} in the checkpoint, {form(tensor)} in the model"
        for name, tensor in wanted.items()
        if name in found and not fits(found[name], tensor)
    ]
    differing = [
        f"{len(names)} {kind} ({', '.join(names[:_LISTED])}{', ...' if len(names) > _LISTED else ''})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
            ("tied", torn),
        )
        if names
    ]
    return "; ".join(differing) + prefix_hint(own, stored, tied)


_Rename = Callable[[str], str]
_Renaming = tuple[_Rename, _Rename]


def _renamings() -> list[_Renaming]:
    """Return the ways to make names comparable, those of the network and those of the checkpoint, closest first."""
    same, leading = _without_leading(0), [_without_leading(count) for count in range(1, _NESTED + 1)]
    one_side = [*((same, each) for each in leading), *((each, same) for each in leading)]
    return [(same, same), *one_side, (bare_name, bare_name)]


def _without_leading(count: int) -> _Rename:
    def rename(name: str) -> str:
        parts = name.split(".")
        for _ in range(count):
            if len(parts) > 1 and parts[0] in WRAPPERS:
                parts = parts[1:]
        return ".".join(parts)

    return rename


def bare_name(name: str) -> str:
    """Return the name of a tensor without those of wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _matched(
    own: Mapping[str, Tensor], stored: Mapping[str, Tensor], tied: Mapping[str, Sequence[str]]
) -> NameMatch | None:
    """Return the match with the names of wrappers alone left out; None if there is none."""
    matches = (_match(own, stored, tied, of_own, of_stored) for of_own, of_stored in _renamings())
    return next((match for match in matches if match is not None), None)


def _match(
    own: Mapping[str, Tensor],
    stored: Mapping[str, Tensor],
    tied: Mapping[str, Sequence[str]],
    of_own: _Rename,
    of_stored: _Rename,
) -> NameMatch | None:
    found = {of_stored(name): name for name in stored}
    if len(found) < len(stored) or len({of_own(name) for name in own}) < len(own):
        return None  # two tensors of one name
    counted = any(name.endswith(COUNTER) for name in stored)
    names: dict[str, str] = {}
    used: set[str] = set()
    for name, tensor in own.items():
        known = [found[key] for key in map(of_own, (name, *tied.get(name, ()))) if key in found]
        if known and fits(stored[known[0]], tensor) and _alike([stored[key] for key in known]):
            names[name] = known[0]
            used.update(known)
        elif known or not _may_be_missing(name, counted):
            return None
    return NameMatch(names, tuple(name for name in stored if name not in used))


def _may_be_missing(name: str, counted: bool) -> bool:
    return name.endswith(AVERAGES) or (name.endswith(COUNTER) and not counted)


def _alike(tensors: Sequence[Tensor]) -> bool:
    """Return True if tensors that a network ties have the same values, as in every checkpoint of it."""
    return all(
        one.shape == other.shape and (one.data_ptr() == other.data_ptr() or same_bits(one, other))
        for one, other in pairwise(tensors)
    )


def _row(name: str) -> str:
    """Return a name with its numbers left out, which all members of a row have in common."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1#", name)


def prefix_hint(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], tied: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence on the prefix that would have to be removed or added, if one would do; else nothing."""
    without, with_prefix = _fitting_prefixes(own, stored, tied)
    if without:
        return f". It fits if {_quoted(list(without))} is removed from the names in the file: choose one by its key"
    return f". It fits if {_quoted(list(with_prefix))} is put before the names in the file" if with_prefix else ""


def _fitting_prefixes(
    own: Mapping[str, Tensor], stored: Mapping[str, Tensor], tied: Mapping[str, Sequence[str]]
) -> tuple[dict[str, NameMatch], dict[str, NameMatch]]:
    """Return the prefixes to remove from the names of a checkpoint, and those to add, that make it fit."""
    without = {prefix: _matched(own, strip(stored, prefix), tied) for prefix in _prefixes(stored, own)}
    added = {
        prefix: _matched(own, {prefix + name: tensor for name, tensor in stored.items()}, tied)
        for prefix in _prefixes(own, stored)
    }
    return (
        {prefix: match for prefix, match in without.items() if match is not None},
        {prefix: match for prefix, match in added.items() if match is not None},
    )


def _prefixes(longer: Iterable[str], shorter: Iterable[str]) -> list[str]:
    """Return what comes before a name of ``shorter`` in the names of ``longer``.

    The first names may be missing there, as one of two tied tensors is.
    """
    first = list(islice(shorter, _TRIED))
    for name in [*first, *map(bare_name, first)]:
        ends = [other.removesuffix(name) for other in longer if other.endswith(f".{name}")]
        if ends:
            return list(dict.fromkeys(ends))
    return []


def _shape(value: object) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _is_complex(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def fits(stored: object, own: object) -> bool:
    """Return True if a tensor has the shape of another, and no imaginary part that the other has no place for."""
    shape = None if stored is None else _shape(stored)
    return shape == _shape(own) and (_is_complex(own) or not _is_complex(stored))


def form(value: object) -> str:
    """Return the shape of a tensor as text, and that it is complex."""
    return f"{_shape(value)}{' complex' if _is_complex(value) else ''}"


def _quoted(prefixes: Sequence[str]) -> str:
    return " or ".join(repr(prefix) for prefix in prefixes)
