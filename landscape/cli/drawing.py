"""Phrases for the directions of a plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def words_of(recipe: Mapping[str, Any], several: bool = False) -> str:
    """Return a direction's recipe as a phrase; with ``several`` seeds, without its seed."""
    kind = recipe.get("kind", "unknown")
    about = {
        "random": "random" + ("" if several else f", seed {recipe.get('seed')}"),
        "difference": f"to {recipe.get('to')}",
        "pca": f"principal component {recipe.get('axis', 0) + 1}, "
        f"{recipe.get('explained_variance_ratio', float('nan')):.1%} of the variance",
        "file": f"from {recipe.get('file')}",
    }.get(kind, kind)
    norm = recipe.get("normalization", "none")
    return about + (f", {norm} normalization, ignoring {recipe.get('ignore')}" if norm != "none" else "")
