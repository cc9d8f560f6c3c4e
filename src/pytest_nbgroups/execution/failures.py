"""Turns what ended a notebook into a `Failure` that can be told and stored."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from pytest_nbgroups.execution.deadlines import Limit
from pytest_nbgroups.model import CellReference, Failure, FailureKind
from pytest_nbgroups.text import first_line, last_lines, plain_text

if TYPE_CHECKING:
    from nbclient.exceptions import CellExecutionError
    from nbformat import NotebookNode

OUTPUT_LINES = 10

_SHELL = 128
_LARGEST_EXIT = 255
_EXITS = {
    0: ", exit() or quit() in a cell?",
    1: ", os._exit() in a cell or an error of the kernel itself?",
}
_COMPILED = ", a crash in compiled code"
_OUTSIDE = ", sent from outside"
_SIGNALS = {
    "SIGKILL": ", killed from outside or out of memory",
    "SIGSEGV": _COMPILED,
    "SIGBUS": _COMPILED,
    "SIGILL": _COMPILED,
    "SIGFPE": _COMPILED,
    "SIGABRT": ", aborted by compiled code",
    "SIGTERM": _OUTSIDE,
    "SIGHUP": _OUTSIDE,
    "SIGQUIT": _OUTSIDE,
    "SIGINT": _OUTSIDE,
    "SIGXCPU": ", it ran into the operating system's limit on CPU time (ulimit -t)",
    "SIGXFSZ": ", it ran into the operating system's limit on the size of files (ulimit -f)",
    "SIGSYS": ", a system call that is not allowed here",
}

# "Cell In[3], line 2" since IPython 8.7, "Input In [3], in <cell line: 2>()" before.
_CELL_LINE = re.compile(r"(?:Cell|Input) In ?\[(\d+)\],? (?:line |in <cell line: )(\d+)")

# What Python writes between an exception and the one that came of it.
_CHAINED = re.compile(
    r"^(?:The above exception was the direct cause|During handling of the above exception)",
    re.MULTILINE,
)


def cell_reference(
    notebook: NotebookNode, index: int, *, traceback: str = "", execution_count: int | None = None
) -> CellReference:
    """Refer to ``notebook.cells[index]``, with the failing line where the traceback names it."""
    cell = notebook.cells[index]
    last = _CHAINED.split(traceback)[-1]
    lines = [
        int(line)
        for count, line in _CELL_LINE.findall(last)
        if execution_count is None or int(count) == execution_count
    ]
    return CellReference(
        number=index + 1,
        count=len(notebook.cells),
        source=cell.source,
        execution_count=execution_count,
        line=lines[0] if lines and 0 < lines[0] <= len(cell.source.splitlines()) else None,
    )


def cell_failure(notebook: NotebookNode, index: int, error: CellExecutionError) -> Failure:
    """The failure of a cell that raised."""
    cell = notebook.cells[index]
    traceback = plain_text(_traceback(cell))
    message = first_line(": ".join(filter(None, [error.ename, plain_text(error.evalue or "")])))
    return Failure(
        kind=FailureKind.CELL,
        message=message or "the cell reported an error without a message",
        cell=cell_reference(
            notebook, index, traceback=traceback, execution_count=cell.get("execution_count")
        ),
        traceback=traceback.strip("\n"),
        output=printed(cell),
    )


def _traceback(cell: NotebookNode) -> str:
    errors = (o for o in cell.get("outputs", []) if o.get("output_type") == "error")
    return "\n".join(line for output in errors for line in output.get("traceback", []))


def printed(cell: NotebookNode) -> str:
    """The last lines of what a cell printed, stdout and stderr together."""
    outputs = cell.get("outputs", [])
    text = "".join(o.get("text", "") for o in outputs if o.get("output_type") == "stream")
    return last_lines(plain_text(text), OUTPUT_LINES)


def deadline_failure(
    limit: Limit, *, cell: CellReference | None, output: str = "", killed_after_s: float | None
) -> Failure:
    """The failure of what ran into a limit; ``killed_after_s`` is the grace that it did not use."""
    if cell is None:
        message = f"the kernel was not ready within {limit.describe()}; it was killed"
        return Failure(kind=FailureKind.DEADLINE, message=message, remedy=limit.remedy())
    how = (
        f"; it did not answer the interrupt within {killed_after_s:g}s and was killed"
        if killed_after_s is not None
        else "; it was interrupted"
    )
    return Failure(
        kind=FailureKind.DEADLINE,
        message=f"cell {cell.number} of {cell.count} ran into {limit.describe()}{how}",
        cell=cell,
        output=output,
        remedy=limit.remedy(),
    )


def death_failure(
    returncode: int | None, *, cell: CellReference | None, output: str = "", log: str = ""
) -> Failure:
    """The failure of a notebook whose kernel ended by itself."""
    return Failure(
        kind=FailureKind.KERNEL_DIED,
        message=death_message(cell, f"{describe_exit(returncode)}{_exit_hint(returncode)}"),
        cell=cell,
        output=output,
        traceback=last_lines(plain_text(log), OUTPUT_LINES),
    )


def death_message(cell: CellReference | None, cause: str) -> str:
    """``the kernel died in cell 4 of 9: exit code 3``."""
    where = f" in cell {cell.number} of {cell.count}" if cell else ""
    return f"the kernel died{where}: {cause}"


def signal_of(returncode: int | None) -> int | None:
    """The signal that ended a kernel, or what a shell around it made of that: 128 and the signal."""
    if returncode is None:
        return None
    if returncode < 0:
        return -returncode
    return returncode - _SHELL if _name(returncode - _SHELL) else None


def describe_exit(returncode: int | None) -> str:
    """An exit status in words; negative numbers are signals, as in `subprocess`."""
    if returncode is None:
        return "its exit status is unknown"
    signum = signal_of(returncode)
    if signum is None:
        return f"exit code {returncode}"
    name = _name(signum) or f"signal {signum}"
    through_shell = f" (exit code {returncode})" if returncode > 0 else ""
    return f"{name}{through_shell}{_SIGNALS.get(name, '')}"


def _exit_hint(returncode: int | None) -> str:
    """What usually makes a process exit in the midst of a cell. Windows has larger codes for crashes."""
    if returncode is None or signal_of(returncode) is not None or returncode > _LARGEST_EXIT:
        return ""
    return _EXITS.get(returncode, ", os._exit() in a cell or exit() in compiled code?")


def _name(signum: int) -> str | None:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return None
