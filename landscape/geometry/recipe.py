"""The recipe of a direction: its construction, as stored in files and shown on figures.

Free of torch, so that files can be listed and drawn without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

TRAINABLE = "trainable"
"""Word in place of a pattern of names: all parameters that require gradients."""


@dataclass(frozen=True)
class MovingCount:
    """Numbers of parameters of a plane; running statistics don't count.

    Attributes:
        moving: number of entries of the parameters that any of the directions moves.
        parameters: number of entries of all parameters.
    """

    moving: int
    parameters: int

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> MovingCount:
        """Return the numbers that :meth:`to_json` wrote."""
        return cls(int(stored["moving"]), int(stored["parameters"]))

    def to_json(self) -> dict[str, int]:
        """Return the numbers as JSON values."""
        return {"moving": self.moving, "parameters": self.parameters}

    def __str__(self) -> str:
        if self.moving == self.parameters:
            return f"{self.parameters:,} parameters"
        return f"{self.moving:,} of {self.parameters:,} parameters"


@dataclass(frozen=True)
class DirectionRecipe:
    """The construction of a direction: its kind, and what it was made from.

    Which fields are set depends on ``kind``: a random direction has a seed, a difference a target, and so on. A field
    that does not apply has its default and is left out of :meth:`to_json`.

    Attributes:
        kind: ``random``, ``difference``, ``merged`` (the update of an adapter), ``pca``, ``hessian``, ``file`` or
            ``tensors``; other words are kept.
        seed: random seed.
        axis: axis for which the direction was made, 0 for x.
        to: path of the checkpoint that a difference points to, or of the adapter.
        file: path of the file that the direction was read from.
        group: HDF5 group in that file.
        source: description of tensors that were supplied.
        checkpoints: number of checkpoints whose principal components were computed.
        normalization: name of the normalization.
        ignore: tensors left unchanged, ``biasbn`` or ``none``.
        explained_variance: variance along a principal component.
        explained_variance_ratio: its share of the total variance, from 0 to 1.
        eigenvector: number of an eigenvector of the Hessian: 1 for the largest eigenvalue, -1 for the smallest.
        eigenvalue: its eigenvalue.
        residual: norm of the residual of the eigenvector at norm one.
        scale: length of the eigenvector: ``rise`` or ``unit``; see :func:`landscape.hessian_plane`.
        only: patterns of the names of parameters that may move.
        freeze: patterns of the names of parameters that stay unchanged.
        orthogonalized: True if components along earlier directions were removed.
        same_direction: True if the direction repeats that of the first axis.
        extra: entries of a stored recipe that this version does not know.
    """

    kind: str = ""
    seed: int | None = None
    axis: int | None = None
    to: str | None = None
    file: str | None = None
    group: str | None = None
    source: str | None = None
    checkpoints: int | None = None
    normalization: str | None = None
    ignore: str | None = None
    explained_variance: float | None = None
    explained_variance_ratio: float | None = None
    eigenvector: int | None = None
    eigenvalue: float | None = None
    residual: float | None = None
    scale: str | None = None
    only: tuple[str, ...] | None = None
    freeze: tuple[str, ...] | None = None
    orthogonalized: bool = False
    same_direction: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    _order: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> DirectionRecipe:
        """Return the recipe of a stored mapping; whatever is unknown in it goes to ``extra``."""
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in stored.items():
            value = tuple(value) if _is_list_of_text(value) and key in ("only", "freeze") else value
            # A value that a field cannot hold, or would not give back, is kept beside the fields.
            fits = isinstance(value, _TYPES.get(key, ())) and isinstance(value, bool) == (_TYPES.get(key) is bool)
            (known if fits and value != _DEFAULTS[key] else extra)[key] = value
        return cls(**known, extra=extra, _order=tuple(stored))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, in the order in which they were recorded."""
        present: dict[str, Any] = {name: getattr(self, name) for name in _DEFAULTS}
        present = {name: value for name, value in present.items() if value != _DEFAULTS[name]} | dict(self.extra)
        ordered = {name: present[name] for name in (*self._order, *present) if name in present}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in ordered.items()}

    def with_changes(self, **changes: Any) -> DirectionRecipe:
        """Return a recipe with some fields set, recorded after those that were set before.

        Raises:
            TypeError: a field that recipes do not have.
        """
        before = tuple(self.to_json())
        return replace(self, **changes, _order=(*before, *(name for name in changes if name not in before)))

    def describe(self, several_seeds: bool = False) -> str:
        """Return the recipe as a readable phrase.

        Args:
            several_seeds: leave the seed out, for a surface whose last axis counts seeds.
        """
        changes = [
            *self.patterns,
            "orthogonalized" if self.orthogonalized else "",
            "the same as x" if self.same_direction else "",
        ]
        value = "" if self.eigenvalue is None else f"eigenvalue {self.eigenvalue:.4g}"
        return ", ".join([self._phrase(several_seeds), *filter(None, [value, *changes])])

    @property
    def patterns(self) -> list[str]:
        """Phrases on the parameters that may move and those that may not; empty if there are no patterns."""
        only = [f"only {', '.join(self.only)}"] if self.only else []
        return [*only, f"freezing {', '.join(self.freeze)}"] if self.freeze else only

    def stored_phrase(self, several_seeds: bool = False) -> str:
        """Return the phrase that surface files store and compare on resuming.

        Its wording is part of the file format. Paths are left out, since files move; digests tell directions apart.
        """
        to = None if self.to is None else "another checkpoint"
        file = None if self.file is None else "a file"
        return replace(self, to=to, file=file)._phrase(several_seeds)

    def _phrase(self, several_seeds: bool) -> str:
        ratio = float("nan") if self.explained_variance_ratio is None else self.explained_variance_ratio
        phrases = {
            "random": "random" if several_seeds else f"random, seed {self.seed}",
            "difference": f"to {self.to}",
            "merged": f"merged update of {self.to or 'the adapter'}",
            "pca": f"principal component {(self.axis or 0) + 1}, {ratio:.1%} of the variance",
            "hessian": f"eigenvector {self.eigenvector} of the Hessian, scale {self.scale}",
            "file": f"from {self.file}",
        }
        phrase = phrases.get(self.kind, self.kind or "unknown")
        if self.normalization in (None, "none"):
            return phrase
        return f"{phrase}, {self.normalization} normalization, ignoring {self.ignore}"


def describe_patterns(recipes: Sequence[DirectionRecipe]) -> str:
    """Return which parameters a plane moves, such as ``only *lora_*``; empty if no pattern restricts it."""
    merged = [recipe.kind == "merged" for recipe in recipes]
    if recipes and all(merged) and not any(recipe.patterns for recipe in recipes):
        return f"only what the adapter{'s change' if len(recipes) > 1 else ' changes'}"
    own = dict.fromkeys(", ".join(recipe.patterns) for recipe in recipes if recipe.patterns)
    text = "; ".join(own)
    # In a plane of merged weights, the word means the tensors that the adapter changes, as its update does.
    return text.replace(f"only {TRAINABLE}", "only what the adapter changes") if any(merged) else text


def describe_moving(recipes: Sequence[DirectionRecipe], count: MovingCount | None = None) -> str:
    """Return which parameters a plane moves, as ``1,024 of 29,568 parameters: only *lora_*``.

    Args:
        recipes: recipes of the directions.
        count: number of parameters that move; None if unknown, as in files of version 0.1.
    """
    ignoring = [recipe.ignore == "biasbn" for recipe in recipes]
    phrases = [describe_patterns(recipes)]
    if any(ignoring):
        phrases.append(f"{'' if all(ignoring) else 'random directions '}ignoring biases and batch norm")
    text = ", ".join(filter(None, phrases))
    if count is None:
        return text or "all parameters"
    return f"{count}: {text}" if text else str(count)


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(DirectionRecipe) if f.name not in ("extra", "_order")}
_TYPES: dict[str, type] = {
    **dict.fromkeys(("seed", "axis", "checkpoints", "eigenvector"), int),
    **dict.fromkeys(("kind", "to", "file", "group", "source", "normalization", "ignore", "scale"), str),
    **dict.fromkeys(("only", "freeze"), tuple),
    **dict.fromkeys(("orthogonalized", "same_direction"), bool),
    **dict.fromkeys(("explained_variance", "explained_variance_ratio", "eigenvalue", "residual"), float),
}


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)
