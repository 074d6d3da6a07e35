"""Libraries that only some tasks need."""

from __future__ import annotations

import importlib
from typing import Any

from landscape.errors import MissingLibraryError


def import_optional(module: str, extra: str) -> Any:
    """Return a module of a library that is installed by an extra of this package.

    Args:
        module: name of the module.
        extra: name of the extra.

    Raises:
        MissingLibraryError: it isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != library:
            library = f"{error.name}, which {library} imports,"
        raise MissingLibraryError(f"{library} is not installed: pip install 'landscape[{extra}]'") from error
