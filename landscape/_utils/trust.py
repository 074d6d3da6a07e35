"""Permission to run code that a file names.

Runs and surfaces record their problem by reference (``mine.py:problem``), so that it can be rebuilt. A reference in a
file that somebody else wrote can name any function of any module. It is therefore imported only if the user gave the
same reference in this process, or trusts the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from landscape.errors import UntrustedCodeError

TRUST_VARIABLE = "LANDSCAPE_TRUST"
"""Environment variable; ``1`` trusts all files. It also carries the permission to processes that this one starts."""
OWN_FACTORIES = frozenset({"landscape.functions.problem:problem", "landscape.problem.analytic:problem"})
"""Factories of this package, which do nothing but build a problem."""

_given: set[str] = set()
_trusting: ContextVar[bool] = ContextVar("trusting", default=False)
_recorded_in: ContextVar[str] = ContextVar("recorded_in", default="")


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Allow the code that files name inside the block, if ``trust`` is True or an outer block allows it."""
    token = _trusting.set(trust or _trusting.get())
    try:
        yield
    finally:
        _trusting.reset(token)


def trust_from_here() -> None:
    """Allow the code that files name until the enclosing block of :func:`trusting` ends."""
    _trusting.set(True)


def is_trusting() -> bool:
    """Return True if the code that files name is allowed."""
    return _trusting.get() or os.environ.get(TRUST_VARIABLE) == "1"


@contextmanager
def recorded_in(file: str) -> Iterator[None]:
    """Treat the references that are resolved inside the block as those of a file; an empty name as the user's own."""
    token = _recorded_in.set(file)
    try:
        yield
    finally:
        _recorded_in.reset(token)


def give(references: Iterable[str | None]) -> None:
    """Remember references that the user gave; names without a colon and None are ignored."""
    _given.update(reference for reference in references if reference and ":" in reference)


def given() -> tuple[str, ...]:
    """Return the references that the user gave in this process."""
    return tuple(sorted(_given))


def require_permission(reference: str) -> None:
    """Check that a reference may be imported; one that the user gave is remembered.

    Raises:
        UntrustedCodeError: a file names it, which the user doesn't trust, and the user did not give it.
    """
    file = _recorded_in.get()
    if not file:
        give([reference])
    elif not (reference in _given or reference in OWN_FACTORIES or is_trusting()):
        raise UntrustedCodeError(
            f"{file} names code to be run: {reference}. It was not run, since anybody can write such a name into a "
            "file: pass trust=True if the file is yours or comes from somebody you trust"
        )
