"""Tables of text: columns under headers, in the available width."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytest_nbgroups.reports.columns import display_width, pad, shorten_end, shorten_middle

Columns: TypeAlias = Mapping[str, Sequence[str]]
"""Header -> the cells below it, which are single lines."""

NO_LIMIT = sys.maxsize
"""Width without a limit."""

_GAP = "  "
_INDENT = "    "
_NARROWEST_NAME = 12
_NARROWEST_NOTE = 8


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns with a special treatment, by their headers."""

    right: Collection[str] = ()
    """Columns that are aligned on the right."""
    names: str = ""
    """The column whose cells are shortened if the table is too wide."""
    dispensable: Sequence[str] = ()
    """Columns that are left out, in this order, if the names have too little room."""
    notes: str = ""
    """The column whose cells stand below their rows if the table is too wide."""
    note_lines: int | None = None
    """Lines that a note may take there; None for any number."""


def grid_lines(columns: Columns, layout: Layout, width: int = NO_LIMIT) -> list[list[str]]:
    """Lay out the header, then each row: its line, and the lines of its note below it.

    No line is wider than ``width``. Columns without any text are left out.
    """
    cells = {header: [header, *each] for header, each in columns.items() if any(each)}
    if _total(cells) <= width or layout.notes not in cells:
        return [[line] for line in _rows(cells, layout, width)]
    _, *notes = cells.pop(layout.notes)
    below = [[], *(_below(note, width, layout.note_lines) for note in notes)]
    rows = zip(_rows(cells, layout, width), below, strict=True)
    return [[line, *under] for line, under in rows]


def _below(note: str, width: int, most: int | None) -> list[str]:
    room = max(width - len(_INDENT), _NARROWEST_NOTE)
    parts = textwrap.wrap(note, room, max_lines=most, placeholder=" ...")
    return [shorten_end(f"{_INDENT}{part}", width) for part in parts]


def _rows(cells: Mapping[str, list[str]], layout: Layout, width: int) -> list[str]:
    cells = dict(cells)
    if names := cells.get(layout.names):
        least = min(_NARROWEST_NAME, max(map(display_width, names)))
        for header in layout.dispensable:
            if _room(cells, layout, width) < least:
                cells.pop(header, None)
        room = max(_room(cells, layout, width), 1)
        cells[layout.names] = [shorten_middle(name, room) for name in names]
    aligned = [_aligned(each, right=header in layout.right) for header, each in cells.items()]
    return [shorten_end(_GAP.join(row).rstrip(), width) for row in zip(*aligned, strict=True)]


def _aligned(cells: Sequence[str], *, right: bool) -> list[str]:
    width = max(map(display_width, cells))
    return [pad(cell, width, right=right) for cell in cells]


def _room(cells: Mapping[str, Sequence[str]], layout: Layout, width: int) -> int:
    """Return the width that the other columns leave for the names."""
    return width - _total({**cells, layout.names: [""]})


def _total(cells: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(display_width, each)) + len(_GAP) for each in cells.values()) - len(_GAP)
