"""The executed copy of a notebook: written while it runs, and at the end.

The process that executes a notebook holds the outputs so far, and can be killed at any moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.artifacts import Artifacts, write_atomically
from pytest_nbgroups.core.text import first_line
from pytest_nbgroups.notebooks.library_log import silenced
from pytest_nbgroups.notebooks.outputs import joined_streams

if TYPE_CHECKING:
    from nbformat import NotebookNode

EVERY_S = 2.0
_SHARE = 0.05
"""Share of a notebook's run time for writing the copy: a large one is written less often."""


class ExecutedCopy:
    """The file of a notebook with its outputs."""

    def __init__(self, notebook: NotebookNode, artifacts: Artifacts, path: Path) -> None:
        self._notebook = notebook
        self._artifacts = artifacts
        self.path = path
        self._written: object = None

    def save(self) -> str:
        """Write the notebook as it is now; return the error, or an empty text."""
        try:
            self._write()
        except (OSError, ValueError, TypeError) as exc:
            return f"{self.path}: the executed notebook could not be saved: {_reason(exc)}"
        return ""

    @asynccontextmanager
    async def kept_up_to_date(self, *, every_s: float = EVERY_S) -> AsyncIterator[None]:
        """Write the notebook repeatedly while the context lasts. Errors are reported at the end."""
        keeper = asyncio.ensure_future(self._keep(every_s))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, every_s: float) -> None:
        pause_s = every_s
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            if self._state() != self._written:
                self.save()
            pause_s = max(every_s, (time.monotonic() - began) / _SHARE)

    def _write(self) -> None:
        """Write the notebook. Raises OSError, ValueError, TypeError."""
        import nbformat

        self._written = self._state()
        copy = type(self._notebook)(self._notebook)
        copy.cells = [_with_joined_streams(cell) for cell in self._notebook.cells]
        self._artifacts.make_room(self.path)
        with silenced():
            text = nbformat.writes(copy)
        write_atomically(self.path, text, "\n")

    def _state(self) -> object:
        """Return a value that changes with a new output, or with a change of the last one."""
        return [
            # With the content: an update replaces values inside the same output.
            (
                cell.execution_count,
                len(cell.outputs),
                [tuple(o.values()) for o in cell.outputs[-1:]],
            )
            for cell in self._notebook.cells
            if cell.cell_type == "code"
        ]


def _with_joined_streams(cell: NotebookNode) -> NotebookNode:
    if not cell.get("outputs"):
        return cell
    return type(cell)({**cell, "outputs": joined_streams(cell.outputs)})


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or first_line(str(error))
