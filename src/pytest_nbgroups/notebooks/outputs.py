"""Outputs of a cell, as its notebook stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_nbgroups.core.text import last_lines, plain_text
from pytest_nbgroups.core.units import Size, format_size
from pytest_nbgroups.kernels.output_allowance import LeftOut

if TYPE_CHECKING:
    from nbformat import NotebookNode

ERROR_OUTPUTS_KEY = "experiment_error_outputs"
OUTPUT_LINES = 10
"""Number of lines shown from the end of a cell's printed output."""
LIMIT_KEY = "experiment_output_limit"
_ERRORS = 5
"""Number of different errors shown from the outputs of one notebook."""
_CELLS = 3
_TAIL = 100_000
"""Number of characters searched for the last lines."""


def joined_streams(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Join the pieces of printed output to one output each; the pieces do not change."""
    # nbclient's coalesce_streams takes hours for a line of some megabytes.
    joined: list[NotebookNode] = []
    for (kind, _), group in groupby(outputs, key=lambda o: (o.output_type, o.get("name"))):
        pieces = list(group)
        joined += pieces if kind != "stream" or len(pieces) == 1 else [_joined(pieces)]
    return joined


def _joined(pieces: Sequence[NotebookNode]) -> NotebookNode:
    return type(pieces[0])({**pieces[0], "text": "".join(piece.text for piece in pieces)})


def printed(cell: NotebookNode) -> str:
    """Return the last lines that a cell printed, stdout and stderr together."""
    pieces: list[str] = []
    length = 0
    for output in reversed(cell.get("outputs", [])):
        if output.get("output_type") == "stream" and length < _TAIL:
            pieces.append(output.get("text", "")[-_TAIL:])
            length += len(pieces[-1])
    return last_lines(plain_text("".join(reversed(pieces))), OUTPUT_LINES)


def error_outputs(cell: NotebookNode) -> list[NotebookNode]:
    """Return the errors in a cell's outputs."""
    return [o for o in cell.get("outputs", []) if o.get("output_type") == "error"]


def mark_left_out(cell: NotebookNode, left_out: LeftOut, limit: Size, last_printed: str) -> None:
    """Add the amount that is missing and the last lines to the end of a cell's printed output."""
    from nbformat.v4 import new_output

    errors = error_outputs(cell)
    others = [o for o in cell.outputs if o.output_type != "error"]
    last = others[-1] if others and others[-1].output_type == "stream" else None
    begins = "\n" if last is not None and not last.text.endswith("\n") else ""
    end = last_lines(plain_text(last_printed), OUTPUT_LINES)
    why = f"{LIMIT_KEY} is {limit}" if left_out.over_limit_bytes else "the cell had to end"
    text = f"{begins}[{format_size(left_out.total_bytes)} of output left out: {why}]\n"
    if end:
        text += f"[its last lines:]\n{end}\n"
    note = new_output("stream", name=last.name if last is not None else "stdout", text=text)
    cell.outputs = [*others, note, *errors]


def left_out_warnings(where: str, left_out: LeftOut, limit: Size) -> Iterator[str]:
    """Return lines for the summary; ``where`` names experiment, notebook and cell."""
    if left_out.over_limit_bytes:
        yield (
            f"{where}: {format_size(left_out.total_bytes)} of its output were left out, more than a notebook "
            f"may keep; raise {LIMIT_KEY} ({limit}) in the ini file if it is needed"
        )
    if refused := left_out.refused_messages:
        were, them = ("outputs were", "them") if refused > 1 else ("output was", "it")
        yield (
            f"{where}: {refused} {were} left out because a notebook cannot hold {them}: "
            f"{'; '.join(left_out.refusals)}; check what the cell displays"
        )
    if left_out.is_end_missing:
        yield (
            f"{where}: its kernel never reported the end of its outputs, and the last ones may be missing: the "
            "machine was too busy, or this kernel does not report it"
        )
    if lost := left_out.lost_messages:
        were, them = ("were", "them") if lost > 1 else ("was", "it")
        yield (
            f"{where}: at least {lost} of its outputs {were} lost: its kernel dropped {them} because the "
            f"machine was too busy to take {them}; run fewer experiments at once, or print less often"
        )


def error_output_warnings(where: str, errors: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """Return lines for the summary on errors in cells that passed.

    ``where`` names experiment and notebook; ``errors`` are lines by index of the cell.
    """
    # A failing hook can show the same error in every cell: the error gets a single line.
    cells: dict[str, dict[int, None]] = {}
    for index, lines in errors.items():
        for line in lines:
            cells.setdefault(line, {})[index + 1] = None
    for line, numbers in list(cells.items())[:_ERRORS]:
        yield (
            f"{where}, {_cells(list(numbers))}: passed although an error is among the outputs: {line}; tag a cell "
            f"raises-exception if the error belongs there, or set {ERROR_OUTPUTS_KEY} in the ini file"
        )
    if (more := len(cells) - _ERRORS) > 0:
        yield f"{where}: {more} more different errors are among the outputs of cells that passed"


def _cells(numbers: Sequence[int]) -> str:
    """Render ``cell 2`` or ``cells 2, 3, 4 and 12 more``."""
    shown = ", ".join(map(str, numbers[:_CELLS]))
    more = len(numbers) - _CELLS
    return f"cell{'s' if len(numbers) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''}"
