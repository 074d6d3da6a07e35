"""The error for a name that a table does not have."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """An error that says ``what`` is not known, names the nearest known one where there is one, and lists them all."""
    known = list(known)
    nearest = get_close_matches(str(name).lower(), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return ValueError(f"{what} {name!r}{hint} known: {', '.join(known)}")
