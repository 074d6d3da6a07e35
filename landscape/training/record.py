"""Contents of ``run.json`` as frozen dataclasses, and the comparison of a stored run with given settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from landscape._utils.legacy import same_digest
from landscape._utils.provenance import Environment
from landscape._utils.reading import read_json
from landscape._utils.text import counted
from landscape._utils.typed import require_types
from landscape.errors import CheckpointError
from landscape.problem.references import current_reference
from landscape.training.settings import TrainingSettings

FORMAT = "landscape-run-1"
RECORDED = "recorded"
"""Kind of a run that another program trained, and that was recorded by :func:`landscape.record`."""

# The data may have moved, and a run may be resumed on another device: digests identify the data, and each session
# records its own device.
_MAY_DIFFER = ("problem.data", "problem.data_description", "settings.device")
# Values that may name code by a reference whose home has changed since the run was made.
_REFERENCES = ("problem.factory", "problem.model", "problem.dataset", "optimizer.name")


@dataclass(frozen=True)
class OptimizerRecord:
    """An optimizer by name, with its arguments.

    Attributes:
        name: name or reference, as :func:`landscape.training.optimizers.find` takes it.
        arguments: all arguments, those that were given and the defaults of the others.
        defaults: default values of the arguments in the installed version; empty for a record that was read from a
            file, which stores ``arguments`` only.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return ``name`` and ``arguments`` as JSON writes them."""
        return {"name": self.name, "arguments": to_plain(self.arguments)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OptimizerRecord:
        """Return the record that :meth:`to_json` wrote."""
        return cls(str(values.get("name", "")), dict(values.get("arguments") or {}))


@dataclass(frozen=True)
class SessionRecord:
    """One process that worked on a run.

    Attributes:
        environment: command, host and versions.
        device: device of the computation, as torch names it.
        threads: number of CPU threads.
        started: time in UTC, ISO 8601.
        from_step: step at which the session began.
        to_step: step at which it ended.
        ended: time in UTC; None while it runs, or if it was killed.
        outcome: ``finished``, ``stopped``, or the error that ended it; None as for ``ended``.
    """

    environment: Environment = field(default_factory=Environment)
    device: str = ""
    threads: int = 0
    started: str = ""
    from_step: int = 0
    to_step: int = 0
    ended: str | None = None
    outcome: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them, those of the environment beside the others."""
        own = {name: getattr(self, name) for name in _names(SessionRecord) if name != "environment"}
        return {**self.environment.to_json(), **own}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SessionRecord:
        """Return the record that :meth:`to_json` wrote; missing fields get defaults, unknown ones are ignored."""
        own = {name: values[name] for name in _names(cls) if name in values and name != "environment"}
        require_types(cls, own)
        return cls(environment=Environment.from_json(values), **own)


@dataclass(frozen=True)
class RecordingSettings:
    """Settings of the recording of a training run by another program.

    Attributes:
        every: number of steps between checkpoints; None for a schedule of the program.
        dtype: type to which matrices, or their differences, are rounded; None for weights as they are.
        differences: number of checkpoints for each full one, the others being differences to it; 0 for full ones only.
        checkpoints: False if only the last weights are kept, for the path's principal components.
        components: number of principal components that are computed while recording.
        given: what the program says about its training (``batch_size``, ``epochs``); plain values.
    """

    every: int | None = 1
    dtype: str | None = None
    differences: int = 0
    checkpoints: bool = True
    components: int = 0
    given: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """Return how the weights are stored, with the error of it, as a phrase."""
        bits = {"bfloat16": 8, "float16": 11}.get(self.dtype or "", 0)
        rounded = f"rounded to {self.dtype} (relative error at most 2^-{bits})"
        if not self.checkpoints:
            return f"the last weights, and {self.components} principal components of the path"
        if self.differences:
            form = f"entries of matrices {rounded}" if self.dtype else "without loss"
            return f"one full checkpoint in {self.differences}, the others as differences to it, {form}"
        when = "" if self.every is None else f" every {counted(self.every, 'step')}"
        return f"full checkpoints{when}, {f'matrices {rounded}' if self.dtype else 'exact'}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them."""
        return {name: to_plain(getattr(self, name)) for name in _names(RecordingSettings)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RecordingSettings:
        """Return the settings that :meth:`to_json` wrote; missing fields get defaults, unknown ones are ignored."""
        known = {name: values[name] for name in _names(cls) if name in values}
        require_types(cls, known)
        return cls(**known)


@dataclass(frozen=True)
class RunRecord:
    """The contents of ``run.json``: everything needed to repeat a run, or what is known of a recorded one.

    Attributes:
        problem: description of the problem, plain values (``Problem.describe()``); empty if it isn't known.
        optimizer: the optimizer and its arguments; None if unknown.
        settings: training settings; None for a recorded run.
        steps_per_epoch: number of batches in an epoch; 0 if unknown.
        steps: number of steps of the whole run; of a recorded one, those recorded when it was last closed.
        created: time in UTC, ISO 8601.
        finished: time in UTC; None if the run isn't finished.
        sessions: the processes that worked on it, in order.
        recording: settings of the recording; None for a run trained by :func:`landscape.train`.
        unknown: values that this version doesn't know, by dotted name (``"settings.x"``). They are written back.
    """

    problem: Mapping[str, Any]
    optimizer: OptimizerRecord | None
    settings: TrainingSettings | None
    steps_per_epoch: int
    steps: int
    created: str = ""
    finished: str | None = None
    sessions: tuple[SessionRecord, ...] = ()
    recording: RecordingSettings | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Random seed of the initial weights."""
        return int(self.problem.get("seed", 0))

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``run.json``."""
        values: dict[str, Any] = {
            "format": FORMAT,
            **({} if self.recording is None else {"kind": RECORDED, "recording": self.recording.to_json()}),
            "problem": to_plain(self.problem),
            **({} if self.optimizer is None else {"optimizer": self.optimizer.to_json()}),
            **({} if self.settings is None else {"settings": self.settings.to_json()}),
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "created": self.created,
            "finished": self.finished,
            "sessions": [session.to_json() for session in self.sessions],
        }
        if self.recording is not None and not self.steps_per_epoch:
            del values["steps_per_epoch"]
        for name, value in self.unknown.items():
            group, dot, inner = name.partition(".")
            if dot:
                values[group][inner] = value
            else:
                values[name] = value
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunRecord:
        """Return the record that :meth:`to_json` wrote; missing fields get defaults.

        Raises:
            ValueError: a value that cannot be what it should be.
        """
        unknown = {name: value for name, value in values.items() if name not in {"format", "kind", *_names(cls)}}
        recording, known, epochs = None, None, 0
        if values.get("kind") == RECORDED:
            recording = RecordingSettings.from_json(values.get("recording") or {})
        elif "kind" in values:
            raise ValueError(f"kind: expected {RECORDED!r}, got {str(values['kind'])[:40]!r}")
        else:
            settings = dict(values.get("settings") or {})
            unknown |= {f"settings.{k}": settings[k] for k in settings if k not in _names(TrainingSettings)}
            known = TrainingSettings.from_json(settings)
            epochs = known.epochs
        named = recording is None or "optimizer" in values
        require_types(cls, values, ("problem", "steps_per_epoch", "steps", "created", "finished"))
        seed = (values.get("problem") or {}).get("seed", 0)
        if not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"problem.seed: expected an integer from 0 to 2^63 - 1, got {str(seed)[:40]!r}")
        steps_per_epoch = int(values.get("steps_per_epoch", 0))
        return cls(
            problem=dict(values.get("problem") or {}),
            optimizer=OptimizerRecord.from_json(values.get("optimizer") or {}) if named else None,
            settings=known,
            steps_per_epoch=steps_per_epoch,
            steps=int(values.get("steps", steps_per_epoch * epochs)),
            created=str(values.get("created", "")),
            finished=values.get("finished"),
            sessions=tuple(SessionRecord.from_json(session) for session in values.get("sessions") or ()),
            recording=recording,
            unknown=unknown,
        )


def read_record(path: Path) -> RunRecord:
    """Read a ``run.json``.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this format.
    """
    if os.path.isfile(path.parent):
        raise CheckpointError(f"{path.parent} is a file; expected a run directory")
    if not os.path.lexists(path):
        inside = sorted(found.parent.name for found in path.parent.glob(f"*/{path.name}"))
        hint = f"; these are in it: {', '.join(inside[:6])}" if inside else ""
        raise CheckpointError(f"{path.parent} is not a run: it has no {path.name}{hint}")
    values = read_json(path, CheckpointError)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise CheckpointError(f"{path}: expected format {FORMAT!r}, got {found!r}")
    try:
        return RunRecord.from_json(values)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged, or was written by a newer version: {error}") from error


def require_same(path: Path, stored: RunRecord, given: RunRecord) -> None:
    """Check that the run at ``path`` was made with the given settings.

    What was *given* is compared: a setting or an optimizer argument that the stored run doesn't know, because it was
    made before there was one, is equal to its default. So is an argument that the installed optimizer doesn't know, if
    it was switched off.

    Raises:
        CheckpointError: a setting differs; the message names each with its stored and its given value.
    """
    if stored.recording is not None and given.recording is None:
        raise CheckpointError(
            f"{path} was recorded while another program trained, and only that program can resume it; choose another "
            "directory, or overwrite it"
        )
    if stored.recording is None and given.recording is not None:
        raise CheckpointError(f"{path} is a run that was not recorded; choose another directory, or overwrite it")
    there, here = _identity(stored), _identity(given)
    if given.recording is not None:  # an optimizer may have another learning rate when a program continues
        # A problem is described by its reference alone, or with digests of its data if it was handed over itself.
        common = [name for name in there if name in here and name.startswith("problem.")]
        there, here = ({name: values[name] for name in common} for values in (there, here))
    for name, value in (given.optimizer.defaults if given.optimizer else {}).items():
        key = f"optimizer.arguments.{name}"
        if key not in there and key in here and _same(here[key], to_plain(value)):
            del here[key]
    for key in [key for key in there if key.startswith("optimizer.arguments.") and key not in here]:
        if there[key] in (None, False):  # an argument of another version of the optimizer that was not used
            del there[key]
    if there.get("optimizer.name") != here.get("optimizer.name"):  # then the arguments are bound to differ
        there, here = ({k: v for k, v in s.items() if not k.startswith("optimizer.arguments")} for s in (there, here))
    differing = [
        f"{name} is {there.get(name)!r} in the run, but {here.get(name)!r} was given"
        for name in {**there, **here}
        if not _same(there.get(name), here.get(name), name) and not _may_differ(name)
    ]
    if differing:
        raise CheckpointError(
            f"the run at {path} has other settings: {'; '.join(differing)}. Repeat the stored settings to resume it, "
            "choose another directory, or overwrite it"
        )


def to_plain(value: Any) -> Any:
    """Return ``value`` as it comes back from JSON: tuples as lists, and functions and classes by name."""
    return json.loads(json.dumps(value, default=_name))


def _identity(record: RunRecord) -> dict[str, Any]:
    """Return everything that makes a run the same run, flat, by dotted names."""
    values = record.to_json()
    flat = _flat({key: values[key] for key in ("problem", "optimizer", "settings") if key in values})
    for name in _REFERENCES:
        if isinstance(flat.get(name), str):
            flat[name] = current_reference(flat[name])
    return flat


def _may_differ(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _MAY_DIFFER)


def _same(one: Any, other: Any, name: str = "") -> bool:
    if name.endswith(".digest") and isinstance(one, str) and isinstance(other, str):
        return same_digest(one, other)
    return bool(one == other or (one != one and other != other))  # NaN is the same setting as NaN


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, with dotted names."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _names(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls)]


def _name(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}:{name}" if name else str(value)
