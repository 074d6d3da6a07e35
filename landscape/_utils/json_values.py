"""Values as JSON holds them: without NaN and infinity, or as they come back from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def finite(value: Any) -> Any:
    """Return a value with None in place of NaN and infinity, which JSON cannot express, and with lists for tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def plain(values: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return values by name as they come back from JSON.

    Args:
        values: values by name.
        default: function of what JSON cannot express; an error by default.
    """
    found: dict[str, Any] = json.loads(json.dumps(dict(values), default=default))
    return found
