"""Metadata of surfaces: the settings of a sweep, its provenance, and how both are stored as HDF5 attributes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape._utils.provenance import Environment
from landscape._utils.typed import require_types
from landscape.errors import StoreError
from landscape.geometry.quadratic import QuadraticModel
from landscape.geometry.recipe import DirectionRecipe, MovingCount, describe_moving
from landscape.surface.settings import SweepSettings, as_lists, as_tuples, names_of

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane
    from landscape.geometry.plane_sets import PlaneSet

FORMAT, FORMAT_VERSION = "landscape-surface", 1
LI_FORMAT = "li-et-al"
"""``SurfaceMetadata.format`` of a surface read from a file of Li et al."""


@dataclass(frozen=True)
class CheckpointReference:
    """The checkpoint at the origin of a surface.

    Attributes:
        path: path of the checkpoint when the surface was made.
        step: number of optimizer steps taken; None if unknown.
        epoch: number of passes over the training data; None if unknown.
    """

    path: str
    step: int | None = None
    epoch: float | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> CheckpointReference:
        """Return the reference that :meth:`to_json` wrote.

        Raises:
            ValueError: the path is missing, or a value has another type than its field.
        """
        if not isinstance(stored, Mapping) or "path" not in stored:
            raise ValueError(f"checkpoint: expected an object with a path, got {stored!r}")
        known: dict[str, Any] = {name: stored.get(name) for name in ("path", "step", "epoch")}
        require_types(cls, known)
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """Return the reference as plain JSON values; an unknown epoch is None."""
        return {"path": self.path, "step": self.step, "epoch": self.epoch}


@dataclass(frozen=True)
class SurfaceMetadata:
    """Description of a surface: how, from what, where and when it was made.

    Attributes:
        settings: settings on which the values depend.
        title: name of the surface on figures.
        recipes: construction of each direction, x first; for several seeds, of the directions of the first seed.
        checkpoint: checkpoint at the origin; None if unknown. Of a surface through training, the one whose weights the
            directions are normalized to.
        checkpoints: checkpoints along the last axis of a surface through training, in order; empty for others.
        problem: description of the model and the data, from which they can be rebuilt; None if unknown.
        environment: command, host and versions of packages; None if unknown.
        precision: measured error of a reduced precision, see ``landscape.evaluation.precision``; None if not measured.
        origin_values: values at the origin by dataset, stored with paired standard errors; None if not stored.
        quadratic: quadratic model of the loss at the origin, see :class:`~landscape.geometry.quadratic.QuadraticModel`;
            None if not computed.
        moving: number of parameters that the directions move; None if unknown, as in files of version 0.1.
        cosines: cosine of the angle between each pair of axes: ``{"xy": 0.02}``.
        metrics: names of the datasets with values, in the order of the file.
        started: time at which the file was created, UTC, ISO 8601; empty if unknown.
        finished: time at which the last point was computed; empty if points are left.
        merged_from: names of the shards that were merged.
        remark: warning about the file, found when it was read.
        format: kind of the file: ``landscape-surface``, ``li-et-al``, or empty for a surface not read from a file.
        format_version: version of the file format; 0 for a surface not read from a file.
        other: attributes under any other name.
    """

    settings: SweepSettings | None = None
    title: str = ""
    recipes: tuple[DirectionRecipe, ...] = ()
    checkpoint: CheckpointReference | None = None
    checkpoints: tuple[CheckpointReference, ...] = ()
    problem: Mapping[str, Any] | None = None
    environment: Environment | None = None
    precision: Mapping[str, Any] | None = None
    origin_values: Mapping[str, float] | None = None
    quadratic: QuadraticModel | None = None
    moving: MovingCount | None = None
    cosines: Mapping[str, float] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    started: str = ""
    finished: str = ""
    merged_from: tuple[str, ...] = ()
    remark: str = ""
    format: str = ""
    format_version: int = 0
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SurfaceMetadata:
        """Return the metadata that :meth:`to_json` wrote; fields that are missing have their defaults.

        Raises:
            ValueError: a value has another type than its field.
        """
        rest = dict(values)
        require_types(cls, {key: value for key, value in values.items() if value is not None}, _PLAIN_FIELDS)
        recipes = tuple(DirectionRecipe.from_json(recipe) for recipe in rest.pop("recipes", None) or ())
        known: dict[str, Any] = {
            key: as_tuples(rest.pop(key)) if key in ("metrics", "merged_from") else rest.pop(key)
            for key in ("title", "problem", "precision", "origin_values", "metrics", "started", "finished",
                        "merged_from", "remark", "format", "format_version")
            if rest.get(key) is not None
        }  # fmt: skip
        if isinstance(rest.get("quadratic"), Mapping):
            known["quadratic"] = QuadraticModel.from_json(rest.pop("quadratic"))
        if isinstance(rest.get("moving"), Mapping):
            require_types(MovingCount, rest["moving"])
            if {"moving", "parameters"} <= rest["moving"].keys():
                known["moving"] = MovingCount.from_json(rest.pop("moving"))
        if isinstance(rest.get("settings"), Mapping):
            known["settings"] = SweepSettings.from_json(rest.pop("settings"))
        if "checkpoint" in rest:
            path, step, epoch = (rest.pop(f"checkpoint{part}", None) for part in ("", "_step", "_epoch"))
            require_types(CheckpointReference, {"path": path, "step": step, "epoch": epoch})
            unknown = isinstance(epoch, float) and math.isnan(epoch)
            known["checkpoint"] = CheckpointReference(path, None if step == -1 else step, None if unknown else epoch)
        if rest.get("checkpoints") is not None:
            known["checkpoints"] = tuple(map(CheckpointReference.from_json, rest.pop("checkpoints")))
        environment = {key: rest.pop(key) for key in names_of(Environment) if key in rest}
        if environment:
            known["environment"] = Environment.from_json(environment)
        cosines = {pair: rest.pop(f"cosine_{pair}") for pair in ("xy", "xz", "yz") if f"cosine_{pair}" in rest}
        require_types(cls, {"cosines": cosines})
        return cls(**known, recipes=recipes, cosines=cosines, other=rest)

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as one flat object, under the names that the attributes of a file have."""
        values: dict[str, Any] = {}
        if self.format:
            values["format"] = self.format
        if self.format_version:
            values["format_version"] = self.format_version
        if self.metrics:
            values["metrics"] = list(self.metrics)
        if self.settings is not None:
            values["settings"] = self.settings.to_json()
        if self.environment is not None:
            values |= self.environment.to_json()
        if self.checkpoint is not None:
            values |= self._checkpoint_values(self.checkpoint)
        if self.checkpoints:
            values["checkpoints"] = [checkpoint.to_json() for checkpoint in self.checkpoints]
        for name in ("title", "problem", "recipes", "precision", "origin_values", "merged_from", "remark"):
            value = getattr(self, name)
            if value not in ("", None, ()):
                values[name] = [recipe.to_json() for recipe in value] if name == "recipes" else as_lists(value)
        if self.quadratic is not None:
            values["quadratic"] = self.quadratic.to_json()
        if self.moving is not None:
            values["moving"] = self.moving.to_json()
        values |= self.other
        values |= {f"cosine_{pair}": value for pair, value in self.cosines.items()}
        if self.started:
            values |= {"started": self.started, "finished": self.finished}
        return values

    def _checkpoint_values(self, checkpoint: CheckpointReference) -> dict[str, Any]:
        values: dict[str, Any] = {"checkpoint": checkpoint.path}
        if self.format == LI_FORMAT:  # the names of their files hold the epoch at most
            return values if checkpoint.epoch is None else {**values, "checkpoint_epoch": checkpoint.epoch}
        values["checkpoint_step"] = -1 if checkpoint.step is None else checkpoint.step
        values["checkpoint_epoch"] = math.nan if checkpoint.epoch is None else checkpoint.epoch
        return values

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> SurfaceMetadata:
        """Return the metadata in HDF5 attributes, as :func:`landscape.surface.hdf5.read_attributes` returns them."""
        return cls.from_json({key: _unpacked(value) for key, value in attributes.items()})

    def to_attributes(self) -> dict[str, Any]:
        """Return the metadata as HDF5 attributes; objects, lists and None are JSON text."""
        return {key: as_attribute(value) for key, value in self.to_json().items()}


_PLAIN_FIELDS = (
    "title", "problem", "precision", "origin_values", "metrics", "started", "finished", "merged_from", "remark",
    "format", "format_version",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The parts of a surface that are fixed before its first point is computed.

    Attributes:
        coordinates: coordinates along each axis, x first, evenly spaced, each ``(n,)`` float64.
        metrics: names of the datasets, in the order of the values of a point.
        metadata: settings and provenance, stored with the values.
        plane: origin and directions, stored with the values; or several planes, whose last coordinate is the
            seed or step; None if the values come from elsewhere.
        interpolated: True if only some points are to be measured, so that the file needs room for interpolated values.
    """

    coordinates: tuple[np.ndarray, ...]
    metrics: tuple[str, ...]
    metadata: SurfaceMetadata = field(default_factory=SurfaceMetadata)
    plane: Plane | PlaneSet | None = None
    interpolated: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every grid dataset: ``(nx,)``, ``(ny, nx)`` or ``(nz, ny, nx)``."""
        return tuple(len(axis) for axis in reversed(self.coordinates))

    @property
    def settings(self) -> SweepSettings:
        """Settings on which the values depend."""
        return self.metadata.settings or SweepSettings(stored_keys=())

    def require_settings(
        self, stored: SweepSettings, path: str, metadata: Callable[[], SurfaceMetadata] | None = None
    ) -> None:
        """Raise ``StoreError`` unless the settings in a file equal those of this sweep; name each that differs.

        Args:
            stored: settings in the file.
            path: path of the file in the message.
            metadata: function that returns the metadata of the file, which tell directions apart in words.
        """
        differing = self.settings.differences(stored)
        if differing:
            described = SurfaceMetadata() if metadata is None else metadata()
            listed = "; ".join(
                f"{name}: the file has {self._in_words(name, here, there, described)}" + _EXPLAINED.get(name, "")
                for name, here, there in differing
            )
            raise StoreError(
                f"{path} was made with other settings: {listed}. Choose another file, repeat the settings of this "
                "one, or overwrite it"
            )

    def _in_words(self, name: str, here: Any, there: Any, metadata: SurfaceMetadata) -> str:
        """Return how a setting in a file differs from that of this sweep, without digests."""
        if name == "origin":
            return "other weights at the origin"
        if name == "states":
            return "other weights at its checkpoints"
        if name == "fixed":
            return "other values in the tensors that the plane does not move, such as running statistics"
        if name == "data" and here.keys() == there.keys():
            return f"other samples of {', '.join(split for split in here if here[split] != there[split])}"
        if name == "directions":
            counted = self.metadata.moving is not None and metadata.moving is not None
            words = [
                describe_moving(one.recipes, one.moving if counted else None) if one.recipes else ""
                for one in (metadata, self.metadata)
            ]
            if not all(words) or words[0] == words[1]:
                return "others"
            return f"{words[0]}, this sweep uses {words[1]}"
        return f"{there!r}, this sweep uses {here!r}"


_EXPLAINED = {
    "bn_weights": " (version 0.1 gave a shorter last batch the weight of a full one; a batch size that divides the "
    "number of samples gives equal statistics in both)",
    "steps": " (a file takes further checkpoints, but keeps those that it has)",
    "states": " (a checkpoint has changed since then)",
}


def as_attribute(value: Any) -> Any:
    """Return a JSON value in the form of an HDF5 attribute: JSON text for objects, lists and None."""
    return json.dumps(as_lists(value)) if value is None or isinstance(value, Mapping | list | tuple) else value


def _unpacked(value: Any) -> Any:
    """The inverse of :func:`as_attribute`; text that only begins like JSON stays text."""
    if isinstance(value, str) and (value[:1] in ("{", "[") or value == "null"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
