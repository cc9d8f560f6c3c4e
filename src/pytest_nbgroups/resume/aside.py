"""Work that reads files, in a thread that can be abandoned if a file does not answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from pytest_nbgroups.resume.bounds import ReadingBounds

_LOOK_S = 0.2

Value = TypeVar("Value")


async def aside(work: Callable[[], Value], bounds: ReadingBounds) -> Value:
    """Run work in a separate thread and wait for it as long as ``bounds`` allows.

    Raises the errors of the work, ReadingCutError if it was left behind, and CancelledError at once.
    """
    future = asyncio.wrap_future(_start(work, bounds))
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=_LOOK_S)
            if not future.done():
                bounds.watch()
        return future.result()
    finally:
        future.cancel()  # the loop may be closed by the time that the thread ends


def aside_blocking(work: Callable[[], Value], bounds: ReadingBounds) -> Value:
    """Do as `aside` for a caller without an event loop; signals still get through."""
    future = _start(work, bounds)
    while not wait([future], timeout=_LOOK_S).done:
        bounds.watch()
    return future.result()


def _start(work: Callable[[], Value], bounds: ReadingBounds) -> Future[Value]:
    """Start a daemon thread: Python joins the threads of an executor before it ends."""
    future: Future[Value] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            with bounds.reader():
                value = work()
        except BaseException as exc:  # noqa: BLE001  raised again where it is waited for
            future.set_exception(exc)
        else:
            future.set_result(value)

    threading.Thread(target=run, name="nbgroups-checkpoint", daemon=True).start()
    return future
