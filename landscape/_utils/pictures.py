"""Pictures of objects in notebooks, drawn by modules that are loaded only when one is displayed.

The objects belong to packages that know nothing of drawing, so the function that draws one is named here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

Picture: TypeAlias = tuple[bytes, dict[str, int]]
"""A PNG, and its width in pixels of the page."""
DRAWN_BY = {"Surface": "landscape.workflows.notebook:surface_picture"}
_log = logging.getLogger(__name__)


def picture_of(thing: object) -> Picture | None:
    """Return a small picture of an object, or None if none can be drawn: a notebook then shows its ``repr``."""
    try:
        module, _, name = DRAWN_BY[type(thing).__name__].partition(":")
        draw: Callable[[object], Picture] = getattr(import_module(module), name)
        return draw(thing)
    except Exception as error:  # displaying a value must not fail, whatever is in it
        _log.debug("no picture: %s", error)
        return None
