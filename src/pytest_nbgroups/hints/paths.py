"""Texts in the source of a notebook that may be paths. Pure: source in, texts out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LONGEST = 300
_MOST = 2000
"""Limit on texts of one experiment: a notebook with a table of data has more, and they are no paths."""

_LITERAL = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\\n])*)\1""")
"""A text literal in Python and in most other languages that have kernels."""
_COMMAND = re.compile(r"(?m)^[ \t]*[!%].*$")
_WORD = re.compile(r"[^\s\"'=,;|<>()]+")
_VARYING = re.compile(r"[{}*?%<>|$\[\]\n\t]")
"""From here on a text is a format, a pattern, or no path at all."""
_FILE_OR_FOLDER = re.compile(r"[\w.\-+@~ /:]{2,}")

ANY = "*"
"""At the end of a text: only the beginning is known, as of ``f"../data/{name}.csv"``."""


def path_texts(sources: Iterable[str]) -> tuple[str, ...]:
    """Return the texts in code cells that look like a path or a part of one, each once, with slashes.

    Examples: ``../data/x.csv``, ``data``, and ``../data/*`` if the rest is unknown. In shell lines
    each word with a slash counts.
    """
    found: dict[str, None] = {}
    for source in sources:
        for text in _texts(source):
            if name := _path(text):
                found[name] = None
        if len(found) > _MOST:
            break
    return tuple(found)[:_MOST]


def _texts(source: str) -> Iterator[str]:
    yield from (literal for _, literal in _LITERAL.findall(source))
    commands = [source] if source.lstrip().startswith("%%") else _COMMAND.findall(source)
    for command in commands:
        yield from (word for word in _WORD.findall(command) if "/" in word)


def _path(text: str) -> str:
    """Return a text as a path; empty if it is no path."""
    if len(text) > _LONGEST or "://" in text:
        return ""
    # A Windows path in source text doubles its separators, unless the text is raw.
    text = re.sub(r"\\+", "/", text)
    varying = _VARYING.search(text)
    known = text[: varying.start()] if varying else text
    if varying and "/" not in known:
        return ""
    return f"{known}{ANY if varying else ''}" if _FILE_OR_FOLDER.fullmatch(known) else ""
