"""Spellings of version 0.1 that are still accepted, in files and on the command line."""

from __future__ import annotations

from collections.abc import Mapping

ENGINES: Mapping[str, str] = {"plain": "eager", "folded": "bn_folded", "dense": "mlp", "grouped": "batched_mlp"}
"""Names of evaluation engines: spelling of 0.1 to present spelling."""


def same_digest(one: str, other: str) -> bool:
    """Return True if two digests of a split are of the same data.

    Version 0.1 left out the suffix for the structure of nested inputs.
    """
    return one == other or one.startswith(f"{other}-") or other.startswith(f"{one}-")
