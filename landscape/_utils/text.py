"""Text for messages, terminals and XML."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters without a width that words of some languages and some emoji need."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def counted(number: int, unit: str) -> str:
    """Return a number with its unit, in the plural unless the number is 1: ``1 rank``, ``2 ranks``."""
    return f"{number} {unit}{'' if number == 1 else 's'}"


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which each character that would control a terminal is escaped, such as ``\x1b``.

    These are control characters (escape sequences, backspace, line ends), invisible ones, and those that change the
    direction of writing.

    Args:
        text: any text, such as a name from a file.
        keep: control characters to keep.
    """
    return "".join(character if _is_plain(character, keep) else _escape(character) for character in text)


def xml_text(text: str) -> str:
    """Return a text in which the characters that XML cannot hold are replaced by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def _is_plain(character: str, keep: str) -> bool:
    return (
        character.isprintable()
        or character in keep
        or character in _JOINERS
        or unicodedata.category(character) in ("Zs", "Cn", "Co")
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def non_breaking(name: str) -> str:
    """Return a name in which no line is broken."""
    return name.replace(" ", "\N{NO-BREAK SPACE}")
