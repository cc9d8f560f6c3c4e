"""Executes one cell of a running kernel, under a deadline that holds."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.core.settings import ErrorOutputs
from pytest_nbgroups.core.text import first_line
from pytest_nbgroups.execution.deadlines import Limit
from pytest_nbgroups.execution.failures import (
    cell_failure,
    cell_reference,
    deadline_failure,
    death_failure,
    error_line,
    error_output_failure,
    exit_failure,
    shown_failure,
    unanswered_failure,
)
from pytest_nbgroups.execution.missing_answer import GRACE_S, MissingAnswer, raised_last
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.kernels.output_allowance import LeftOut
from pytest_nbgroups.monitoring.standstill import standstill
from pytest_nbgroups.notebooks.notebook_format import RAISES_TAG, SKIP_TAG
from pytest_nbgroups.notebooks.outputs import error_outputs, mark_left_out, printed

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from pytest_nbgroups.execution.cell_client import CellClient

_log = logging.getLogger("pytest_nbgroups.nbclient")
_log.disabled = True  # a failure reports the same
_NO_LIMIT_S = 10**6
"""nbclient has no limit for outputs: their channel knows better when no more of them come."""
INTERRUPT_GRACE_S = 5.0
"""Time for a cell to end by itself after its interrupt."""
CANCEL_GRACE_S = 0.5
"""The same after a cancellation, when pytest has to end within seconds."""
OUTPUT_GRACE_S = 1.0
"""Time for outputs that have arrived before an interrupt; then they are dropped to get to the end of the cell."""
LAST_OUTPUT_S = 0.3
"""Time for the last messages of a kernel that died."""
EXIT_S = 1.0
"""Time for the end of a kernel. An ipykernel that is to exit goes on for a tenth of a second."""
_ENDS_UNSAID = re.compile(r"\b(?:do_shutdown|exit_now)\b")
"""Ways to end an ipykernel that its reply does not show; notebooks use them to restart their kernel."""


class NotebookEnded(Exception):  # noqa: N818  it ends a notebook, which may be no error
    """A cell ended the notebook: with a failure, or without one when it was cancelled."""

    def __init__(
        self, failure: Failure | None, *, kernel_is_lost: bool, kernel_is_idle: bool = False
    ) -> None:
        super().__init__(failure)
        self.failure = failure
        self.kernel_is_lost = kernel_is_lost
        self.kernel_is_idle = kernel_is_idle


def is_run(cell: NotebookNode) -> bool:
    """Return whether it is sent to the kernel at all."""
    # nbclient passes over the same cells.
    return (
        cell.cell_type == "code"
        and bool(cell.source.strip())
        and SKIP_TAG not in cell.metadata.get("tags", [])
    )


def client_on(notebook: NotebookNode, kernel: RunningKernel) -> CellClient:
    """An nbclient on a kernel that is ours: nbclient neither starts, signals nor ends it."""
    from pytest_nbgroups.execution.cell_client import CellClient

    client = CellClient(notebook, km=kernel.manager, log=_log, iopub_timeout=_NO_LIMIT_S)
    client.kc, client.refuse = kernel.client, kernel.outputs.refuse
    client.reset_execution_trackers()
    if kernel.language_info:
        notebook.metadata["language_info"] = dict(kernel.language_info)
    return client


async def execute_cell(
    client: CellClient,
    kernel: RunningKernel,
    index: int,
    until: Limit | None,
    error_outputs: ErrorOutputs = "warn",
) -> None:
    """Execute one cell. Raises `NotebookEnded` if the notebook cannot go on."""
    kernel.outputs.begin_cell()
    client.taken_errors = []
    missing = MissingAnswer(kernel)
    task = asyncio.ensure_future(
        client.async_execute_cell(
            client.nb.cells[index], index, execution_count=client.code_cells_executed + 1
        )
    )
    run = _CellRun(client=client, kernel=kernel, index=index, task=task, missing=missing)
    try:
        await _await_end(run, None if until is None else until.ends_at - time.monotonic())
        if until is not None and not run.is_over:
            await _end_at_deadline(run, until)
        await _settle(run)
        _judge_error_outputs(run, error_outputs)
    except asyncio.CancelledError:
        await _interrupt(run, CANCEL_GRACE_S)
        run.close_outputs()
        raise NotebookEnded(None, kernel_is_lost=True) from None
    finally:
        await _discard(task)


@dataclass(frozen=True, kw_only=True)
class _CellRun:
    """One execution of one cell, and the task that waits for it."""

    client: CellClient
    kernel: RunningKernel
    index: int
    task: asyncio.Future[Any]
    missing: MissingAnswer

    @property
    def is_over(self) -> bool:
        """Return whether the cell has ended, or its kernel."""
        return self.task.done() or self.kernel.exited.done()

    def reference(self) -> CellReference:
        return cell_reference(self.client.nb, self.index)

    def printed(self) -> str:
        return printed(self.client.nb.cells[self.index])

    def close_outputs(self) -> None:
        """Take note of outputs that were left out: no more are expected."""
        left_out = self.kernel.outputs.end_cell()
        if self._is_answered() and not self.kernel.outputs.has_ended:
            left_out = replace(left_out, is_end_missing=True)
        if left_out != LeftOut():
            self.kernel.left_out[self.index] = left_out
        if left_out.total_bytes:
            limit, last = self.kernel.output_limit, self.kernel.outputs.last_printed()
            mark_left_out(self.client.nb.cells[self.index], left_out, limit, last)

    def error_outputs(self) -> tuple[str, ...]:
        """The errors that the cell shows, a line each."""
        shown = [*error_outputs(self.client.nb.cells[self.index]), *self.client.taken_errors]
        return tuple(error_line(each.ename, each.evalue) for each in shown)

    def _is_answered(self) -> bool:
        """Return whether nbclient has got the cell's result; an error of the cell is a result too."""
        from nbclient.exceptions import CellExecutionError

        if not self.task.done() or self.task.cancelled():
            return False
        return isinstance(self.task.exception(), CellExecutionError | None)


async def _await_end(run: _CellRun, timeout_s: float | None) -> None:
    """Wait for the end of a cell. Raises `NotebookEnded` if its kernel is done but sends no answer."""
    await _await_answer(run, timeout_s, GRACE_S)
    # The limit is over, but a longer one would not help, so the message should not blame it.
    if not run.is_over and run.missing.is_suspected:
        await _await_answer(run, 2 * INTERRUPT_GRACE_S, INTERRUPT_GRACE_S)


async def _await_answer(run: _CellRun, timeout_s: float | None, grace_s: float) -> None:
    watch = asyncio.ensure_future(run.missing.confirmed(grace_s))
    try:
        await _first_of(run, timeout_s, watch)
        if watch.done() and not run.is_over:
            raise _unanswered(run)
    finally:
        await _discard(watch)


def _unanswered(run: _CellRun) -> NotebookEnded:
    run.close_outputs()
    log = run.missing.log()
    failure = unanswered_failure(run.client.nb, run.index, reason=raised_last(log), log=log)
    is_idle = run.kernel.outputs.has_ended
    return NotebookEnded(failure, kernel_is_lost=not is_idle, kernel_is_idle=is_idle)


async def _first_of(run: _CellRun, timeout_s: float | None, *others: asyncio.Future[None]) -> None:
    timeout = None if timeout_s is None else max(0.0, timeout_s)
    await asyncio.wait(
        {run.task, run.kernel.exited, *others},
        timeout=timeout,
        return_when=asyncio.FIRST_COMPLETED,
    )


async def _end_at_deadline(run: _CellRun, until: Limit) -> None:
    # Before the interrupt, which also reaches the children of the kernel.
    seen = standstill(run.kernel.process.pid)
    answered = await _interrupt(run, INTERRUPT_GRACE_S)
    run.close_outputs()
    failure = deadline_failure(
        until,
        cell=run.reference(),
        output=run.printed(),
        killed_after_s=None if answered else INTERRUPT_GRACE_S,
        seen=seen,
    )
    raise NotebookEnded(failure, kernel_is_lost=True, kernel_is_idle=answered)


async def _interrupt(run: _CellRun, grace_s: float) -> bool:
    """Interrupt the kernel and wait for the cell; True if it ended within the grace."""
    run.kernel.outputs.hurry(time.monotonic() + min(OUTPUT_GRACE_S, grace_s / 2))
    try:
        await run.kernel.interrupt()
    except (RuntimeError, OSError, KernelHostError):  # jupyter_client: "No kernel is running!"
        return False
    await _first_of(run, grace_s)
    return run.task.done()


async def _settle(run: _CellRun) -> None:
    """Return if the cell has passed, else raise `NotebookEnded`."""
    from nbclient.exceptions import CellExecutionError

    if not run.task.done():  # the kernel has ended, but its last outputs may still be under way
        await asyncio.wait({run.task}, timeout=LAST_OUTPUT_S)
    run.close_outputs()
    if not run.task.done():
        raise NotebookEnded(_death(run), kernel_is_lost=True)
    try:
        run.task.result()
    except CellExecutionError as exc:
        failure = cell_failure(run.client.nb, run.index, exc)
        raise NotebookEnded(failure, kernel_is_lost=False, kernel_is_idle=True) from exc
    except asyncio.CancelledError as exc:
        raise NotebookEnded(_death(run), kernel_is_lost=True) from exc
    except Exception as exc:  # nbclient shows a dead kernel as one of many errors
        raise NotebookEnded(await _unexpected(exc, run), kernel_is_lost=True) from exc
    await _refuse_early_exit(run)


async def _refuse_early_exit(run: _CellRun) -> None:
    """Raise `NotebookEnded` if the kernel ends before the last cell."""
    # An ipykernel goes on for a tenth of a second after exit(): chance would decide how many more cells run.
    left = sum(map(is_run, run.client.nb.cells[run.index + 1 :]))
    if left and await _kernel_ends(run):
        failure = exit_failure(run.client.nb, run.index, left=left)
        raise NotebookEnded(failure, kernel_is_lost=False)


async def _kernel_ends(run: _CellRun) -> bool:
    """Return whether the cell has brought its kernel to an end: the reply shows it, or it has ended."""
    if run.client.kernel_ends:
        return True
    if _ENDS_UNSAID.search(run.client.nb.cells[run.index].source):
        await asyncio.wait({run.kernel.exited}, timeout=EXIT_S)
    return run.kernel.process.returncode == 0


def _judge_error_outputs(run: _CellRun, policy: ErrorOutputs) -> None:
    """Take note of errors among the outputs of a passed cell. Raises `NotebookEnded` if that is a failure."""
    is_meant = RAISES_TAG in run.client.nb.cells[run.index].metadata.get("tags", [])
    if policy == "ignore" or is_meant or not (errors := run.error_outputs()):
        return
    if policy == "fail":
        failure = error_output_failure(run.client.nb, run.index, errors)
        raise NotebookEnded(failure, kernel_is_lost=False, kernel_is_idle=True)
    run.kernel.error_outputs[run.index] = errors


async def _unexpected(exc: Exception, run: _CellRun) -> Failure:
    # nbclient may notice the end of a kernel before its host has reported it.
    await asyncio.wait({run.kernel.exited}, timeout=LAST_OUTPUT_S)
    if run.kernel.exited.done():
        return _death(run)
    what = f"nbclient could not execute the cell: {type(exc).__name__}: {first_line(str(exc))}"
    return shown_failure(run.client.nb, run.index, evidence=what) or Failure(
        kind=FailureKind.ERROR, message=what, cell=run.reference(), output=run.printed()
    )


def _death(run: _CellRun) -> Failure:
    return death_failure(
        run.kernel.process.returncode,
        cell=run.reference(),
        output=run.printed(),
        log=run.kernel.log.tail(),
    )


async def _discard(task: asyncio.Future[Any]) -> None:
    """Leave no task behind, nor an exception for asyncio to log."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
