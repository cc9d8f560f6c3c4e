"""Text from notebooks made fit for a report: without escapes, control characters, surrogates or commands.

A runner of CI jobs obeys commands in lines of its log, even if a notebook printed them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_nbgroups.core.text import encodable, plain_text

LINE_WIDTH = 500
"""No line of a report is longer."""

# GitHub Actions obeys "::name::" where a line begins and "##[name]" anywhere; others have "##vso[name]".
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)")


def one_line(text: str) -> str:
    """Replace each run of white space, line ends included, by a single space."""
    return _inert(encodable(" ".join(plain_text(text).split())))


def plain_lines(text: str) -> list[str]:
    """Return the lines without blank ones at either end; tabs are expanded, very long lines cut."""
    lines = [_inert(_line(each)) for each in encodable(plain_text(text)).splitlines()]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return lines


def without_middle(lines: Sequence[str], *, head: int, tail: int) -> list[str]:
    """Return the first ``head`` and the last ``tail`` lines, with a line that counts the rest."""
    missing = len(lines) - head - tail
    if missing <= 1:  # the line that counts would take as much room
        return list(lines)
    return [*lines[:head], f"... {missing} more lines", *lines[len(lines) - tail :]]


def _inert(line: str) -> str:
    """Put a blank into the beginning of a command: ``: :error::``, ``# #[error]``."""
    return _COMMAND.sub(lambda match: f"{match[0]} ", line)


def _line(text: str) -> str:
    line = text.expandtabs().rstrip()
    return line if len(line) <= LINE_WIDTH else f"{line[:LINE_WIDTH]}..."
