"""Executes one cell of a running kernel, under a deadline that holds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pytest_nbgroups.execution.deadlines import Limit
from pytest_nbgroups.execution.failures import (
    cell_failure,
    cell_reference,
    deadline_failure,
    death_failure,
    printed,
)
from pytest_nbgroups.execution.kernels import RunningKernel
from pytest_nbgroups.model import Failure, FailureKind

if TYPE_CHECKING:
    from nbclient import NotebookClient

INTERRUPT_GRACE_S = 5.0
"""What a cell has, after its interrupt, to end by itself."""
CANCEL_GRACE_S = 0.5
LAST_OUTPUT_S = 0.3
"""What the messages of a kernel that died have to arrive."""


class NotebookEnded(Exception):  # noqa: N818  it ends a notebook, which may be no error
    """A cell ended the notebook: with a failure, or without one when it was cancelled."""

    def __init__(self, failure: Failure | None, *, kernel_is_lost: bool) -> None:
        super().__init__(failure)
        self.failure = failure
        self.kernel_is_lost = kernel_is_lost


async def execute_cell(
    client: NotebookClient, kernel: RunningKernel, index: int, until: Limit | None
) -> None:
    """Execute one cell. Raises `NotebookEnded` where the notebook cannot go on."""
    task = asyncio.ensure_future(
        client.async_execute_cell(
            client.nb.cells[index], index, execution_count=client.code_cells_executed + 1
        )
    )
    try:
        await _first_of(task, kernel.exited, until)
        if not task.done() and not kernel.exited.done():
            await _end_at_deadline(client, kernel, task, index, until)
        await _settle(task, kernel, client, index)
    except asyncio.CancelledError:
        await _interrupt(kernel, task, CANCEL_GRACE_S)
        raise NotebookEnded(None, kernel_is_lost=True) from None
    finally:
        await _discard(task)


async def _first_of(
    task: asyncio.Future[Any], exited: asyncio.Future[Any], until: Limit | None
) -> None:
    timeout = None if until is None else max(0.0, until.ends_at - time.monotonic())
    await asyncio.wait({task, exited}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def _end_at_deadline(
    client: NotebookClient,
    kernel: RunningKernel,
    task: asyncio.Future[Any],
    index: int,
    until: Limit | None,
) -> None:
    assert until is not None  # noqa: S101  only a limit ends the wait with nothing done
    answered = await _interrupt(kernel, task, INTERRUPT_GRACE_S)
    raise NotebookEnded(
        deadline_failure(
            until,
            cell=cell_reference(client.nb, index),
            output=printed(client.nb.cells[index]),
            killed_after_s=None if answered else INTERRUPT_GRACE_S,
        ),
        kernel_is_lost=True,
    )


async def _interrupt(kernel: RunningKernel, task: asyncio.Future[Any], grace_s: float) -> bool:
    """Interrupt the kernel and wait for the cell; True if it ended within the grace."""
    try:
        await kernel.interrupt()
    except (RuntimeError, OSError):
        return False
    await asyncio.wait({task, kernel.exited}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
    return task.done()


async def _settle(
    task: asyncio.Future[Any], kernel: RunningKernel, client: NotebookClient, index: int
) -> None:
    """Turn the end of a cell into nothing, when it passed, or into `NotebookEnded`."""
    from nbclient.exceptions import CellExecutionError

    if not task.done():
        await asyncio.wait({task}, timeout=LAST_OUTPUT_S)
    if not task.done():
        raise NotebookEnded(_death(client, kernel, index), kernel_is_lost=True)
    try:
        task.result()
    except CellExecutionError as exc:
        raise NotebookEnded(cell_failure(client.nb, index, exc), kernel_is_lost=False) from exc
    except asyncio.CancelledError as exc:
        raise NotebookEnded(_death(client, kernel, index), kernel_is_lost=True) from exc
    except Exception as exc:
        raise NotebookEnded(
            await _unexpected(exc, kernel, client, index), kernel_is_lost=True
        ) from exc


async def _unexpected(
    exc: Exception, kernel: RunningKernel, client: NotebookClient, index: int
) -> Failure:
    await asyncio.wait({kernel.exited}, timeout=LAST_OUTPUT_S)
    if kernel.exited.done():
        return _death(client, kernel, index)
    return Failure(
        kind=FailureKind.ERROR,
        message=f"nbclient could not execute the cell: {type(exc).__name__}: {exc}",
        cell=cell_reference(client.nb, index),
        output=printed(client.nb.cells[index]),
    )


def _death(client: NotebookClient, kernel: RunningKernel, index: int) -> Failure:
    returncode = kernel.exited.result() if kernel.exited.done() else None
    return death_failure(
        returncode,
        cell=cell_reference(client.nb, index),
        output=printed(client.nb.cells[index]),
        log=kernel.log_tail(),
    )


async def _discard(task: asyncio.Future[Any]) -> None:
    """Leave no task behind, nor an exception that nobody has looked at."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
