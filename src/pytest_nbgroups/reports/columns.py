"""Width of a text in columns of a terminal, and functions to change it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

GAP = "..."


def display_width(text: str) -> int:
    """Return the columns that a text takes."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    # Combining marks and invisible formatting.
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def shorten_middle(text: str, width: int) -> str:
    """Shorten a text to ``width`` columns, with ``...`` for its middle."""
    if display_width(text) <= width:
        return text
    room = width - len(GAP)
    if room < len(GAP):
        return _fitting(text, width)
    tail = _fitting(reversed(text), room // 2)[::-1]
    return f"{_fitting(text, room - room // 2)}{GAP}{tail}"


def shorten_end(text: str, width: int) -> str:
    """Shorten a text to ``width`` columns, with ``...`` for its end."""
    if display_width(text) <= width:
        return text
    room = width - len(GAP)
    return _fitting(text, width) if room < len(GAP) else f"{_fitting(text, room)}{GAP}"


def _fitting(characters: Iterable[str], width: int) -> str:
    taken, used = [], 0
    for character in characters:
        used += _character_width(character)
        if used > width:
            break
        taken.append(character)
    return "".join(taken)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Fill a text with blanks up to ``width`` columns; ``right`` aligns it there."""
    blanks = " " * (width - display_width(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"
