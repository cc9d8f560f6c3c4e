"""The pseudo files in which ipykernel compiles cells, and the cells that they stand for."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.cell_lines import CellText
from pytest_nbgroups.core.model import Failure
from pytest_nbgroups.notebooks.run_notebooks import sources_of_run_notebooks

if TYPE_CHECKING:
    from nbformat import NotebookNode

_SEED = 0xC70F6907
_FACTOR = 0x5BD1E995
_MASK = 0xFFFFFFFF

# /tmp/ipykernel_1234/563942855.py, which stands in quotes if it may hold blanks; a SyntaxError names the file without its
# folder. Each alternative begins where no other match can, so that a text of one long word takes no time.
_FILE = re.compile(
    r"(?:(?<=\")[^\"\n]*ipykernel_\d+[/\\]|(?<![^\s\"'(])[^\s\"'(]*ipykernel_\d+[/\\]|\b)"
    r"(?P<file>\d{1,10}\.py)\b"
    r"(?:(?P<before>\"?, line |:(?=\d))(?P<line>\d+))?"
)


def kernel_file(source: str) -> str:
    """Name of the file in which ipykernel compiles a cell: the MurmurHash2 of its source.

    A debugger finds a cell's breakpoints by it, so it is part of Jupyter's protocol:
    https://jupyter-client.readthedocs.io/en/stable/messaging.html#debug-request
    """
    return f"{_murmur2(source.encode('utf-8', 'surrogatepass'))}.py"


def _murmur2(data: bytes) -> int:
    # ipykernel.compiler has this function too, but importing that imports IPython, and it fails for lone surrogates.
    whole = len(data) - len(data) % 4
    found = _SEED ^ len(data)
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * _FACTOR & _MASK
        mixed = (mixed ^ mixed >> 24) * _FACTOR & _MASK
        found = found * _FACTOR & _MASK ^ mixed
    if rest := data[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * _FACTOR & _MASK
    found = (found ^ found >> 13) * _FACTOR & _MASK
    return found ^ found >> 15


def with_cell_names(failure: Failure, notebook: NotebookNode, folder: Path) -> Failure:
    """Name cells by their position if the failure's texts name their pseudo files.

    ``folder`` is the working directory, in which ``%run`` looks for other notebooks.
    """
    texts = (failure.message, failure.traceback, failure.output)
    if not any(_FILE.search(text) for text in texts):
        return failure
    sources = [c.source if c.cell_type == "code" else "" for c in notebook.cells]
    if failure.cell is not None:
        sources = sources[: failure.cell.number]
    others = sources_of_run_notebooks(sources, folder)
    message, traceback, output = (named(text, sources, others) for text in texts)
    return replace(failure, message=message, traceback=traceback, output=output)


def named(text: str, sources: Sequence[str], others: Mapping[str, Sequence[str]]) -> str:
    """The text with ``cell 3, line 2`` for ``/tmp/ipykernel_12/345.py:2``.

    ``sources`` are those of the cells in order; of equal ones the last is meant. Cells of ``others`` have the name of
    their notebook before their number.
    """
    cells = {
        **{k: v for name, theirs in others.items() for k, v in _cells(theirs, f"{name}, ")},
        **dict(_cells(sources)),
    }

    def name(match: re.Match[str]) -> str:
        if match["file"] not in cells:
            return match[0]
        cell, source = cells[match["file"]]
        if match["line"] is None:
            return cell
        before = match["before"] if match["before"] != ":" else ", line "
        return f"{cell}{before}{_line(source, int(match['line']))}"

    return _FILE.sub(name, text)


def _cells(sources: Sequence[str], prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """The file, the name and the source of each cell that has one."""
    for number, source in enumerate(sources, 1):
        if source:
            yield kernel_file(source), (f"{prefix}cell {number}", source)


def _line(source: str, number: int) -> int:
    """A SyntaxError may name the line below the last one."""
    text = CellText(source)
    return next(iter(text.meant(number)), number + text.leading)
