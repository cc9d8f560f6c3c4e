"""Failures that can be reported and stored, from the errors that end a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_nbgroups.core.errors import KernelStartError, NbgroupsError, NotebookError
from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.core.text import first_line, last_lines, plain_text, shortened
from pytest_nbgroups.execution.deadlines import Limit
from pytest_nbgroups.execution.failing_line import failing_line, with_lines_of_cell
from pytest_nbgroups.execution.tracebacks import PIECE, shown_by
from pytest_nbgroups.execution.wording import (
    printed_group,
    remedy_of,
    remedy_without_answer,
    reworded,
)
from pytest_nbgroups.kernel_host.exits import describe_exit, exit_hint
from pytest_nbgroups.monitoring.death import death_message
from pytest_nbgroups.monitoring.standstill import Standstill
from pytest_nbgroups.notebooks.notebook_format import RAISES_TAG
from pytest_nbgroups.notebooks.outputs import (
    ERROR_OUTPUTS_KEY,
    OUTPUT_LINES,
    error_outputs,
    printed,
)

if TYPE_CHECKING:
    from nbclient.exceptions import CellExecutionError
    from nbformat import NotebookNode

_LINE, _TEXT, _SOURCE = 2_000, 20_000, 100_000
"""Characters that are kept of a line, of a text, and of the source of a cell."""
_LOG_LINES = 20


def cell_reference(
    notebook: NotebookNode, index: int, *, traceback: str = "", execution_count: int | None = None
) -> CellReference:
    """Refer to ``notebook.cells[index]``, with the failing line if the traceback names it."""
    cell = notebook.cells[index]
    return CellReference(
        number=index + 1,
        count=len(notebook.cells),
        source=cell.source,
        execution_count=execution_count,
        line=failing_line(cell.source, traceback, execution_count),
    )


def cell_failure(notebook: NotebookNode, index: int, error: CellExecutionError) -> Failure:
    """The failure of a cell that raised."""
    if not names_exception(error.ename) and (shown := shown_failure(notebook, index)):
        return shown
    return _raised(notebook, index, error.ename or "", error.evalue or "")


def names_exception(ename: str | None) -> bool:
    """Return whether a kernel has named what a cell raised.

    ipykernel answers "NoneType: None" if not the cell but the display of its result has raised.
    """
    return ename not in {None, "", "NoneType"}


def shown_failure(notebook: NotebookNode, index: int, *, evidence: str = "") -> Failure | None:
    """The failure that the last error in a cell's outputs is; None if it shows no error."""
    if not (errors := error_outputs(notebook.cells[index])):
        return None
    failure = _raised(notebook, index, errors[-1].ename, errors[-1].evalue)
    return replace(failure, evidence=(evidence,) if evidence else ())


def error_output_failure(notebook: NotebookNode, index: int, errors: Sequence[str]) -> Failure:
    """The failure of a cell that passed with errors, a line each, among its outputs."""
    # An error in an output widget is no output of the cell itself.
    shown = shown_failure(notebook, index) or Failure(
        kind=FailureKind.CELL,
        message=errors[-1],
        cell=cell_reference(notebook, index),
        output=printed(notebook.cells[index]),
    )
    return replace(
        shown,
        evidence=("the cell ended without an exception, but an error is among its outputs",),
        remedy=f"tag the cell {RAISES_TAG} if the error belongs there, or set {ERROR_OUTPUTS_KEY} = warn",
    )


def unanswered_failure(notebook: NotebookNode, index: int, *, reason: str, log: str) -> Failure:
    """The failure of a cell whose kernel is done with it but sends no answer.

    ``reason`` is the error that the kernel has logged, if there is one, and ``log`` the text around it.
    """
    why = f": {first_line(reason)}" if reason else ""
    cell, reference = notebook.cells[index], cell_reference(notebook, index)
    which = f"cell {reference.number} of {reference.count}"
    what = f"the kernel is done with {which} but could not answer{why}"
    if group := printed_group(log, cell):
        ename, _, evalue = group.partition(": ")
        return replace(_raised(notebook, index, ename, evalue), evidence=(what,))
    return shown_failure(notebook, index, evidence=what) or Failure(
        kind=FailureKind.ERROR,
        message=what,
        cell=reference,
        traceback=last_lines(log, _LOG_LINES),
        output=printed(cell),
        remedy=remedy_without_answer(log),
    )


def _raised(notebook: NotebookNode, index: int, ename: str, evalue: str) -> Failure:
    cell, shown = notebook.cells[index], shown_by(notebook.cells[index])
    said = error_line(ename, evalue)
    better = reworded(ename, evalue, cell)
    reference = cell_reference(
        notebook, index, traceback=shown.traceback, execution_count=cell.get("execution_count")
    )
    traceback = shown.traceback.replace(said, better) if better else shown.traceback
    return Failure(
        kind=FailureKind.CELL,
        message=better or said or "the cell reported an error without a message",
        cell=reference,
        traceback=with_lines_of_cell(traceback, cell.source, reference.execution_count),
        output=shown.printed,
        remedy=remedy_of(ename, shown.traceback, shown.printed),
    )


def error_line(ename: str | None, evalue: str | None) -> str:
    """``ValueError: bad value``, in one line; empty if there is neither."""
    text = plain_text((evalue or "")[:PIECE]).strip()  # matplotlib's begins with an empty line
    return first_line(": ".join(filter(None, [ename, text])))


def bounded(failure: Failure) -> Failure:
    """The failure without the megabytes that an exception or a cell may hold: it is sent, stored and shown."""
    return replace(
        failure,
        message=shortened(failure.message, _TEXT),
        cell=_bounded_cell(failure.cell) if failure.cell else None,
        traceback=shortened(_short_lines(failure.traceback), _TEXT),
        output=shortened(failure.output, _TEXT),
    )


def _bounded_cell(cell: CellReference) -> CellReference:
    source = _short_lines(cell.source)
    is_whole = len(source) <= _SOURCE
    # Where lines are missing, no number points at the right one.
    return replace(cell, source=shortened(source, _SOURCE), line=cell.line if is_whole else None)


def _short_lines(text: str) -> str:
    if len(text) <= _LINE:
        return text
    return "\n".join(shortened(line, _LINE) for line in text.split("\n"))


def exit_failure(notebook: NotebookNode, index: int, *, left: int) -> Failure:
    """Return the failure of a cell that ended its kernel, with ``left`` cells after it."""
    cell = notebook.cells[index]
    cells = "the cell" if left == 1 else f"the {left} cells"
    return Failure(
        kind=FailureKind.CELL,
        message=f"it ended its kernel, as exit() and quit() do, so {cells} after it did not run",
        cell=cell_reference(notebook, index, execution_count=cell.get("execution_count")),
        output=printed(cell),
        remedy="remove the call, or the cells after it, or tag these skip-execution: exit() may end the last cell "
        "that runs",
    )


def deadline_failure(
    limit: Limit,
    *,
    cell: CellReference | None,
    output: str = "",
    killed_after_s: float | None,
    seen: Standstill | None = None,
) -> Failure:
    """The failure of a cell, or of a start without one, that ran into a limit.

    ``killed_after_s`` is the grace that it did not use. ``seen`` is why it could not go on; a longer limit does not
    help then.
    """
    if cell is None:
        message = f"the kernel was not ready within {limit.describe()}; it was killed"
        return Failure(kind=FailureKind.DEADLINE, message=message, remedy=limit.remedy())
    who = "the cell" if seen else "it"
    how = (
        f"; {who} did not answer the interrupt within {killed_after_s:g}s and was killed"
        if killed_after_s is not None
        else f"; {who} was interrupted"
    )
    why = f"; {seen.reason}" if seen else ""
    return Failure(
        kind=FailureKind.DEADLINE,
        message=f"cell {cell.number} of {cell.count} ran into {limit.describe()}{why}{how}",
        cell=cell,
        output=output,
        remedy=seen.remedy if seen else limit.remedy(),
    )


def death_failure(
    returncode: int | None, *, cell: CellReference | None, output: str = "", log: str = ""
) -> Failure:
    """The failure of a notebook whose kernel ended by itself."""
    return Failure(
        kind=FailureKind.KERNEL_DIED,
        message=death_message(cell, f"{describe_exit(returncode)}{exit_hint(returncode)}"),
        cell=cell,
        output=output,
        traceback=last_lines(plain_text(log), OUTPUT_LINES),
    )


def failure_of(error: Exception) -> Failure:
    """Return the failure for an error outside of the cells."""
    match error:
        case KernelStartError():
            kind = FailureKind.KERNEL_START
        case NotebookError():
            kind = FailureKind.NOTEBOOK
        case _:
            kind = FailureKind.ERROR
    is_ours = isinstance(error, NbgroupsError)
    text = str(error) if is_ours else f"{type(error).__name__}: {first_line(str(error))}"
    return Failure(kind=kind, message=text)
