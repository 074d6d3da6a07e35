"""Settings of network, data and training in which surfaces differ, as words for a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape._utils.names import unknown
from landscape.errors import LandscapeError
from landscape.surface.surface import Surface

_NETWORK = re.compile(r"(?P<family>[a-z_]*?[a-z])(?P<depth>\d+)(?:_(?P<width>\d+))?(?P<plain>_noshort)?")
_NOTHING = ("maximize", "foreach", "differentiable", "fused", "capturable", "dampening", "num_classes", "in_channels",
            "in_features")  # fmt: skip
"""Arguments without meaning for a reader."""
_ORDER = (
    "depth", "width", "widths", "shortcuts", "model", "dataset", "optimizer", "lr", "momentum", "weight_decay",
    "batch_size", "schedule", "epochs", "seed", "step",
)  # fmt: skip
"""Settings in the order of what a reader wants to know first; all others follow."""
_WORDS = {"widths": "width"}
_BARE = ("model", "dataset", "optimizer", "schedule", "dtype", "loss")
"""Settings whose value says what it is."""


@dataclass(frozen=True)
class Variation:
    """One setting in which surfaces differ, and others that differ in the same way.

    Attributes:
        key: name of the setting, such as ``batch_size``.
        values: value of each surface.
        also: names of settings that tell the same surfaces apart.
    """

    key: str
    values: tuple[Any, ...]
    also: tuple[str, ...] = ()

    @property
    def distinct(self) -> tuple[Any, ...]:
        """Values that occur, numbers in ascending order, others as they come."""
        found = list({repr(value): value for value in self.values}.values())
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in found):
            return tuple(sorted(found))
        return tuple(sorted(found, key=lambda value: value is False))

    def label(self, value: object) -> str:
        """Return a value in words: "batch size 16", "without shortcuts"."""
        if isinstance(value, list | tuple):
            value = " ".join(map(_text, value))
        if isinstance(value, bool) and self.key == "shortcuts":
            return "with shortcuts" if value else "without shortcuts"
        if value is None:
            return f"no {_words(self.key)}"
        if self.key == "weight_decay" and value == 0:
            return "no weight decay"
        return _text(value) if self.key in _BARE else f"{_words(self.key)} {_text(value)}"


def variations(surfaces: Sequence[Surface]) -> list[Variation]:
    """Return the settings in which surfaces differ, those first that a reader wants to know first.

    Settings that tell the same surfaces apart, such as the depth and the name of a network, are one variation.
    """
    found = [settings_of(surface) for surface in surfaces]
    names = list(dict.fromkeys(name for settings in found for name in settings))
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    different: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        values = [repr(settings.get(name)) for settings in found]
        groups = tuple(values.index(value) for value in values)
        if len(set(groups)) > 1:
            different.setdefault(groups, []).append(name)
    return [
        Variation(first, tuple(settings.get(first) for settings in found), tuple(also))
        for first, *also in different.values()
    ]


def telling(found: Sequence[Variation]) -> list[Variation]:
    """Return the variations that tell surfaces apart which those before do not."""
    kept: list[Variation] = []
    groups: set[tuple[str, ...]] = set()
    for one in found:
        combined = {tuple(map(repr, values)) for values in zip(*(v.values for v in (*kept, one)), strict=True)}
        if len(combined) > max(len(groups), 1):
            kept.append(one)
            groups = combined
    return kept


def find_variation(found: Sequence[Variation], name: str, surfaces: Sequence[Surface]) -> Variation:
    """Return the variation of a setting by its name.

    Raises:
        ValueError: the surfaces do not differ in such a setting; the message lists those in which they do.
    """
    wanted = name.strip().lower().replace(" ", "_").replace("-", "_")
    for one in found:
        if wanted in (one.key, *one.also):
            values = tuple(settings_of(surface).get(wanted) for surface in surfaces)
            return Variation(wanted, values)
    raise unknown("setting in which the surfaces differ", name, [key for one in found for key in (one.key, *one.also)])


def settings_of(surface: Surface) -> dict[str, Any]:
    """Return the settings of network, data, training and plane by name, as far as files tell.

    Those of the training come from the run, if the checkpoint of the surface is still in one.
    """
    metadata = surface.metadata
    problem = metadata.problem or (metadata.settings.problem if metadata.settings else None) or {}
    found = dict(_of_problem(problem))
    checkpoint = metadata.checkpoint
    if checkpoint is not None:
        found.update(_of_run(checkpoint.path))
        found["step"] = checkpoint.step
    recipes = metadata.recipes
    if recipes and recipes[0].seed is not None:
        found["plane_seed"] = recipes[0].seed
    return found


def _of_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    model = str(problem.get("model") or problem.get("factory") or "")
    found: dict[str, Any] = {"model": model, "dataset": problem.get("dataset")}
    if match := _NETWORK.fullmatch(model):
        found |= {"model": match["family"], "depth": int(match["depth"]), "shortcuts": match["plain"] is None}
        if match["width"]:
            found["width"] = int(match["width"])
    for arguments in ("model_args", "dataset_args", "args"):
        values = problem.get(arguments)
        if isinstance(values, Mapping):
            found.update({str(key): _plain(value) for key, value in values.items() if key not in _NOTHING})
    if problem.get("seed") is not None:
        found["seed"] = problem["seed"]
    return found


def _of_run(checkpoint: str) -> dict[str, Any]:
    """Return optimizer and settings of the run that holds a checkpoint; empty if there is none."""
    folder = Path(checkpoint).parent.parent
    if not (folder / "run.json").is_file():
        return {}
    from landscape.training.record import read_record

    try:
        record = read_record(folder / "run.json")
    except (LandscapeError, OSError):
        return {}
    optimizer, settings = record.optimizer, record.settings
    if optimizer is None or settings is None:  # a run recorded by another program
        return {}
    return {
        "optimizer": optimizer.name,
        **{key: value for key, value in optimizer.arguments.items() if key not in _NOTHING},
        "batch_size": settings.batch_size,
        "schedule": settings.schedule,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "dtype": settings.dtype,
    }


def _plain(value: object) -> object:
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _words(key: str) -> str:
    return _WORDS.get(key, key.replace("_", " "))


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
