"""The source of a cell with its failing line marked."""

from __future__ import annotations

from pytest_nbgroups.core.cell_lines import python_lines
from pytest_nbgroups.core.model import CellReference
from pytest_nbgroups.reports.lines import plain_lines


def source_lines(cell: CellReference, *, around: int) -> list[str]:
    """Render numbered lines of a cell, with an arrow at the one that failed.

    At most ``around`` lines precede and follow it, or twice as many from the start if the failing line
    is unknown. A line counts those left out.
    """
    lines = _numbered(cell.source)
    marked = cell.line if cell.line is not None and cell.line <= len(lines) else 0
    first = max(1, marked - around) if marked else 1
    last = min(len(lines), marked + around if marked else 2 * around)
    return [
        *_left_out(first - 1, "above"),
        *(
            _line(f"{number:>{len(str(last))}}", lines[number - 1], is_marked=number == marked)
            for number in range(first, last + 1)
        ),
        *_left_out(len(lines) - last, "below"),
    ]


def _numbered(source: str) -> list[str]:
    # One printable line for each line of the source, so that the numbers stay true.
    return ["".join(plain_lines(line)) for line in python_lines(source)]


def _line(number: str, text: str, *, is_marked: bool) -> str:
    arrow = "---->" if is_marked else ""
    return f"{arrow:5} {number} {text}".rstrip()


def _left_out(count: int, where: str) -> list[str]:
    return [f"      ... {count} more line{'s' if count > 1 else ''} {where}"] if count > 0 else []
