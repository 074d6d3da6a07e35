"""Settings of a sweep: everything on which the values of a surface depend, compared when a file is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from landscape._utils.legacy import ENGINES, same_digest
from landscape._utils.typed import require_types


@dataclass(frozen=True)
class SweepSettings:
    """Settings on which the values of a surface depend; a sweep is resumed only with equal settings.

    The default of each field is the behavior before the field existed, so that older files still compare equal. Fields
    from ``device`` to ``derivatives`` are those of ``EvaluationConfig``, beside the others as files store them, since
    this package knows nothing of evaluation. A sweep fills them by name, so that none can be forgotten.

    Attributes:
        axes: axes of the grid as text, x first: ``("-1:1:51", "-1:1:51")``.
        metrics: names of the datasets with values, in order.
        samples: number of samples of each split.
        data: digest of each split.
        origin: digest of the weights at the origin.
        directions: digests of the directions; for several seeds, one tuple of digests per seed.
        seeds: seeds of the random directions, if the last axis counts them.
        steps: steps of the checkpoints, if the last axis goes through training; ``origin`` is then that of the
            checkpoint whose weights the directions are normalized to.
        states: digest of the whole network at each of these steps.
        fixed: digest of the tensors of the model that the plane does not move.
        device: kind of device, without an index.
        dtype: precision of weights, activations and inputs.
        batch_size: samples per forward pass.
        threads: CPU threads per rank.
        bn: source of batch-norm statistics, ``checkpoint`` or ``recalibrate``.
        bn_samples: number of samples for re-estimated statistics.
        bn_weights: weights of the batches in re-estimated statistics: ``batches`` if all count alike, as they did up to
            version 0.1; ``samples`` if a shorter last one counts less.
        engine: forward-pass engine.
        paired: True if standard errors of differences to the origin are stored.
        chord: True if excesses over the chord between the ends of a line are stored.
        stop_above: loss above which a point is abandoned; None if every point is computed in full.
        derivatives: derivatives of the loss that are computed at each point, and how; None for none.
        problem: name and arguments of the model and the data set, as far as values depend on them.
        split: data that is measured: ``train``, ``test`` or ``both``.
        axes_are: description of each direction in words.
        other: settings under any other name.
        stored_keys: keys that the settings of a file have, in their order; None for new settings.
    """

    axes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    directions: tuple[str | tuple[str, ...], ...] = ()
    seeds: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    fixed: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int | None = None
    threads: int = 1
    bn: str = "checkpoint"
    bn_samples: int = 512
    bn_weights: str = "batches"
    engine: str = "auto"
    paired: bool = False
    chord: bool = False
    stop_above: float | None = None
    derivatives: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    split: str = ""
    axes_are: tuple[str, ...] = ()
    other: Mapping[str, Any] = field(default_factory=dict)
    stored_keys: tuple[str, ...] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SweepSettings:
        """Return the settings that :meth:`to_json` wrote, with defaults for missing fields.

        Raises:
            ValueError: a value has another type than its field.
        """
        names = names_of(cls) - {"other", "stored_keys"}
        require_types(cls, values, names)
        known = {key: as_tuples(value) for key, value in values.items() if key in names}
        other = {key: value for key, value in values.items() if key not in names}
        return cls(**known, other=other, stored_keys=tuple(values))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values.

        Of settings that come from a file, only the keys in the file are written, in their order.
        """
        values = {name: as_lists(value) for name, value in self._values().items()}
        keys = values if self.stored_keys is None else self.stored_keys
        optional = ("seeds", "steps", "states", "derivatives", "problem", "split", "axes_are")
        empty: tuple[Any, ...] = ([], "", None)
        found = {key: values[key] for key in keys if key in values and not (key in optional and values[key] in empty)}
        if found.get("bn_weights") == "batches":
            del found["bn_weights"]
        if not found.get("chord", True):
            del found["chord"]
        return found

    def differences(self, other: SweepSettings) -> list[tuple[str, Any, Any]]:
        """Return ``(name, value here, value in other)`` for each setting that differs."""
        mine, others = self._comparable(), other._comparable()
        if mine["data"].keys() == others["data"].keys() and all(
            same_digest(digest, others["data"][split]) for split, digest in mine["data"].items()
        ):
            others["data"] = mine["data"]
        names = {**mine, **others}
        return [(n, mine.get(n), others.get(n)) for n in names if mine.get(n) != others.get(n)]

    def _values(self) -> dict[str, Any]:
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("other", "stored_keys")}
        return {**named, **self.other}

    def _comparable(self) -> dict[str, Any]:
        """JSON values of all fields, with today's names of engines."""
        values: dict[str, Any] = json.loads(json.dumps({name: as_lists(v) for name, v in self._values().items()}))
        values["engine"] = ENGINES.get(self.engine, self.engine)
        return values


def names_of(kind: type[Any]) -> set[str]:
    """Return the names of the fields of a dataclass."""
    return {f.name for f in fields(kind)}


def as_tuples(value: Any) -> Any:
    """Return a JSON value with tuples in place of lists."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def as_lists(value: Any) -> Any:
    """Return a value with lists in place of tuples, and dicts in place of other mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    return [as_lists(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
