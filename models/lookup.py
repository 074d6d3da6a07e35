"""The error for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return an error that names what is unknown, suggests the nearest known name, and lists all of them."""
    known = list(known)
    nearest = get_close_matches(str(name).lower(), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return ValueError(f"{what} {name!r}{hint} Known: {', '.join(known)}")
