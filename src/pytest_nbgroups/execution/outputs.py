"""What a cell has shown, as its notebook stores it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_nbgroups.execution.allowance import LeftOut
from pytest_nbgroups.text import last_lines, plain_text
from pytest_nbgroups.units import Size, format_size

if TYPE_CHECKING:
    from nbformat import NotebookNode

OUTPUT_LINES = 10
"""How many of the last lines that a cell printed are told."""
LIMIT_KEY = "experiment_output_limit"
_TAIL = 100_000
"""Characters in which they are looked for."""


def joined_streams(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """One output of what a cell printed in one go, which arrives in pieces; these stay as they are.

    nbclient's own ``coalesce_streams`` takes hours for a line of some megabytes.
    """
    joined: list[NotebookNode] = []
    for (kind, _), group in groupby(outputs, key=lambda o: (o.output_type, o.get("name"))):
        pieces = list(group)
        joined += pieces if kind != "stream" or len(pieces) == 1 else [_joined(pieces)]
    return joined


def _joined(pieces: Sequence[NotebookNode]) -> NotebookNode:
    return type(pieces[0])({**pieces[0], "text": "".join(piece.text for piece in pieces)})


def printed(cell: NotebookNode) -> str:
    """The last lines of what a cell printed, stdout and stderr together."""
    pieces: list[str] = []
    length = 0
    for output in reversed(cell.get("outputs", [])):
        if output.get("output_type") == "stream" and length < _TAIL:
            pieces.append(output.get("text", "")[-_TAIL:])
            length += len(pieces[-1])
    return last_lines(plain_text("".join(reversed(pieces))), OUTPUT_LINES)


def mark_left_out(cell: NotebookNode, left_out: LeftOut, limit: Size, last_printed: str) -> None:
    """Say at the end of what a cell printed how much of it is missing, and give its last lines."""
    from nbformat.v4 import new_output

    errors = [o for o in cell.outputs if o.output_type == "error"]
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
    """The lines of the summary; ``where`` names experiment, notebook and cell."""
    if left_out.over_limit_bytes:
        yield (
            f"{where}: {format_size(left_out.total_bytes)} of its output were left out, more than a notebook "
            f"may keep; raise {LIMIT_KEY} ({limit}) in the ini file if it is needed"
        )
    if lost := left_out.lost_messages:
        were, them = ("were", "them") if lost > 1 else ("was", "it")
        yield (
            f"{where}: at least {lost} of its outputs {were} lost: its kernel dropped {them} because the "
            f"machine was too busy to take {them}; run fewer experiments at once, or print less often"
        )
