"""The traceback of a cell that failed, also if something else than IPython shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pytest_nbgroups.core.text import plain_text, shortened
from pytest_nbgroups.notebooks.outputs import printed

if TYPE_CHECKING:
    from nbformat import NotebookNode

PIECE = 200_000
"""Characters that are kept of a piece of a traceback, before escapes are removed."""

# Inside of a group of exceptions or of a box, the headers of tracebacks have "|" or "│" before them.
_HEADER = re.compile(
    r"^[^\w|│\n]*(?:Exception Group )?Traceback \(most recent call last\)", re.MULTILINE
)

# rich draws a box: "in <module>:3" or "/home/me/fit.py:7 in fit", a blank line, and numbered lines, in which "❱" points
# at the one that failed and "│" shows how far they are indented.
_BOX_EDGE = re.compile(r"[╭╰].*[╮╯]")
_BOX_LINE = re.compile(r"│ ?(.*?) *│")
_BOX_FILE = re.compile(r"(\S.*:\d+) in (\S+)")
_BOX_CELL = re.compile(r"in <module>:(\d+)")
_BOX_PLACE = re.compile(r"in \S+:\d+|\S.*:\d+ in \S+")
_BOX_CODE = re.compile(r"(❱?) *(\d+) ?((?:│   )*)(.*)")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Outputs of a failed cell, in plain text."""

    traceback: str
    printed: str
    """The last lines of the rest."""


def shown_by(cell: NotebookNode) -> Shown:
    """The traceback that a cell has shown, and the rest of its outputs.

    `rich.traceback.install` and groups of exceptions leave no error output. Their traceback is among the displayed or
    printed outputs.
    """
    outputs = cell.get("outputs", [])
    errors = [o for o in outputs if o.get("output_type") == "error"]
    if errors:
        traceback = shortened("\n".join(_pieces(errors)), 2 * PIECE)
        return Shown(traceback=plain_text(traceback).strip("\n"), printed=printed(cell))
    for index, output in reversed(list(enumerate(outputs))):
        text = plain_text(shortened(_text(output), 2 * PIECE))
        if header := _HEADER.search(text):
            before = type(output)({**output, "text": text[: header.start()]})
            rest = [*outputs[:index], before, *outputs[index + 1 :]]
            return Shown(
                traceback=_without_box(text[header.start() :], cell.get("execution_count")),
                printed=printed(type(cell)({**cell, "outputs": rest})),
            )
    return Shown(traceback="", printed=printed(cell))


def _pieces(errors: Iterable[NotebookNode]) -> Iterator[str]:
    """The frames of all errors; those without news, or less than a later one, are left out.

    ipykernel publishes two errors for an exception whose ``__str__`` raises, and IPython one for each notebook or file
    that ``%run`` has come through.
    """
    kept: list[list[str]] = []
    for error in errors:
        pieces = [shortened(piece, PIECE) for piece in error.get("traceback", [])]
        if not set(chain(*kept)).issuperset(pieces):
            kept = [each for each in kept if not set(pieces).issuperset(each)]
            kept.append(pieces)
    return chain(*kept)


def _text(output: NotebookNode) -> str:
    if output.get("output_type") == "stream":
        return str(output.get("text", ""))
    return str(output.get("data", {}).get("text/plain", ""))


def _without_box(text: str, execution_count: int | None) -> str:
    """A traceback that rich has drawn, as IPython would show it; any other one as it is."""
    lines: list[str] = []
    is_first, after_place = False, False
    for line in text.splitlines():
        boxed = _BOX_LINE.fullmatch(line.rstrip())
        if boxed is None:
            is_edge = _BOX_EDGE.fullmatch(line.rstrip())
            is_first |= is_edge is not None
            lines.append("" if is_edge else line)
            continue
        if not (after_place and not boxed[1]):
            lines.append(_unboxed(boxed[1], execution_count if is_first else None))
        after_place, is_first = bool(_BOX_PLACE.fullmatch(boxed[1])), False
    return "\n".join(lines).strip("\n")


def _unboxed(line: str, execution_count: int | None) -> str:
    """``execution_count`` is that of the cell for the first frame, which is the cell's own."""
    if place := _BOX_FILE.fullmatch(line):
        return f"File {place[1]}, in {place[2]}"
    if execution_count is not None and (place := _BOX_CELL.fullmatch(line)):
        return f"Cell In[{execution_count}], line {place[1]}"
    if code := _BOX_CODE.fullmatch(line.lstrip()):
        arrow, number, guides, text = code.groups()
        return f"{'---->' if arrow else '':5} {number} {' ' * len(guides)}{text}"
    return line
