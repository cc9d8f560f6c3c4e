"""Text of an experiment's failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_nbgroups.core.cell_lines import python_lines
from pytest_nbgroups.core.model import (
    DECLARATION_FILE,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.reports.frames import split_traceback
from pytest_nbgroups.reports.lines import one_line, plain_lines, without_middle
from pytest_nbgroups.reports.source import source_lines

TracebackStyle: TypeAlias = Literal["long", "short"]
Shown: TypeAlias = Callable[[Path], str]
"""Renders a path for the user."""

_DEATHS = {FailureKind.KERNEL_DIED, FailureKind.OUT_OF_MEMORY, FailureKind.RAM_LIMIT}
_MENTIONS_GPU = re.compile(r"cuda|cudnn|gpu|nvidia|nvml", re.IGNORECASE)


def failure_headline(result: ExperimentResult) -> str:
    """Return the failure in one line; empty for an experiment that passed.

    ``2-fit.ipynb, cell 5: ValueError: bad value``; the reason if it was skipped or interrupted.
    """
    if result.error is not None:
        return _message(result.error)
    if (notebook := result.failed_notebook) is not None:
        return notebook_headline(notebook)
    if result.outcome is ExperimentOutcome.PASSED:
        return ""
    at = _with_outcome(result, NotebookOutcome.INTERRUPTED)
    where = f"interrupted in {at[0]}" if at else ""
    return one_line(": ".join(filter(None, [where, result.reason])) or result.outcome.value)


def notebook_headline(notebook: NotebookResult) -> str:
    """Render the notebook, the failed cell, and the message; the name alone without a failure."""
    failure, name = notebook.failure, one_line(notebook.name)
    if failure is None:
        return name
    text = what_failed(failure)
    if name in text:  # some messages name the notebook themselves
        return text
    return one_line(f"{name}{', ' if _is_in_cell(failure) else ': '}{text}")


def what_failed(failure: Failure) -> str:
    """Render the cell and the message in one line: ``cell 5: ValueError: bad value``."""
    cell = f"cell {failure.cell.number}: " if failure.cell and _is_in_cell(failure) else ""
    return f"{cell}{_message(failure)}{_bare_line(failure)}"


def _message(failure: Failure) -> str:
    return one_line(failure.message) or failure.kind.value


def _is_in_cell(failure: Failure) -> bool:
    # The messages of all other kinds state the place themselves.
    return failure.kind is FailureKind.CELL and failure.cell is not None


def _bare_line(failure: Failure) -> str:
    """Render the line that failed, if the message is only the name of an exception."""
    cell = failure.cell
    if cell is None or cell.line is None or not re.fullmatch(r"[\w.]+", failure.message):
        return ""
    lines = python_lines(cell.source)
    return f" at {one_line(lines[cell.line - 1])}" if cell.line <= len(lines) else ""


def _with_outcome(result: ExperimentResult, outcome: NotebookOutcome) -> list[str]:
    return [one_line(n.name) for n in result.notebooks if n.outcome is outcome]


def failure_lines(
    result: ExperimentResult,
    *,
    rerun_command: str,
    shown: Shown = str,
    gpus_visible: bool | None = None,
    tb_style: TracebackStyle = "long",
) -> list[str]:
    """Return all that helps to understand a failure, as lines without control characters.

    ``gpus_visible`` is True if the session has a GPU to lease, None if that is not known.
    """
    notebook = result.failed_notebook
    paragraphs = [
        _heading(result, notebook if result.error is None else None),
        *(_paragraphs(result.error, tb_style) if result.error else ()),
        *([_heading(result, notebook)] if result.error and notebook else ()),
        *(_paragraphs(notebook.failure, tb_style) if notebook and notebook.failure else ()),
        list(_facts(result, rerun_command, shown, gpus_visible=gpus_visible)),
    ]
    lines = [line for paragraph in paragraphs if paragraph for line in [*paragraph, ""]]
    return lines[:-1]


def _heading(result: ExperimentResult, notebook: NotebookResult | None) -> list[str]:
    if notebook is None:
        return [f"experiment {one_line(result.name)}"]
    number = result.notebooks.index(notebook) + 1
    where = f"notebook {number} of {len(result.notebooks)}: {one_line(notebook.name)}"
    return [f"experiment {one_line(result.name)}, {where}{_position(notebook.failure)}"]


def _position(failure: Failure | None) -> str:
    if failure is None or failure.cell is None:
        return ""
    cell = failure.cell
    prompt = f" (In [{cell.execution_count}])" if cell.execution_count is not None else ""
    return f", cell {cell.number} of {cell.count}{prompt}"


def _paragraphs(failure: Failure, tb_style: TracebackStyle) -> Iterator[list[str]]:
    short = tb_style == "short"
    frames, error = split_traceback(failure, short=short)
    if failure.cell is not None:
        yield source_lines(failure.cell, around=2 if short else 8)
    if failure.kind in _DEATHS and frames:
        yield ["last lines of the kernel's log:", *(f"    {line}" for line in frames)]
    else:
        yield frames
    yield [f"E   {line}".rstrip() for line in error]
    if failure.evidence:
        yield ["evidence:", *(f"    {one_line(line)}" for line in failure.evidence)]
    if output := plain_lines(failure.output):
        shown = without_middle(output, head=0, tail=3 if short else 20)
        yield ["last lines of its output:", *(f"    {line}".rstrip() for line in shown)]


def _facts(
    result: ExperimentResult, rerun_command: str, shown: Shown, *, gpus_visible: bool | None
) -> Iterator[str]:
    notebook, failure = result.failed_notebook, result.failure
    if failure is not None and _mentions_gpu(failure):
        yield from _without_gpu(result, shown, gpus_visible=gpus_visible)
    if notebook is not None and notebook.executed_path is not None:
        yield f"executed notebook: {one_line(shown(notebook.executed_path))}"
    if notebook is not None and notebook.log_path is not None:
        yield f"kernel log: {one_line(shown(notebook.log_path))}"
    if interrupted := _with_outcome(result, NotebookOutcome.INTERRUPTED):
        yield f"interrupted: {', '.join(interrupted)}"
    if not_run := _with_outcome(result, NotebookOutcome.NOT_RUN):
        yield f"not run: {', '.join(not_run)}"
    if failure is not None and failure.remedy:
        yield f"remedy: {one_line(failure.remedy)}"
    if rerun_command:
        yield f"rerun: {one_line(rerun_command)}"


def _without_gpu(
    result: ExperimentResult, shown: Shown, *, gpus_visible: bool | None
) -> Iterator[str]:
    if gpus_visible is False:
        yield "no GPU was visible to this experiment"
    elif gpus_visible and result.lease is not None and not result.lease.gpus:
        file = one_line(shown(result.directory / DECLARATION_FILE))
        yield f"it declares no GPU, so it saw none; put gpus = 1 into [resources] of {file}"


def _mentions_gpu(failure: Failure) -> bool:
    # Nothing ran, so the word is about a declared GPU, not about a missing one.
    if failure.kind in {FailureKind.DECLARATION, FailureKind.LEASE}:
        return False
    texts = (failure.message, failure.traceback, failure.output)
    return any(_MENTIONS_GPU.search(text) for text in texts)
