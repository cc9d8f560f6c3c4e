"""Work that reads files, in a thread that can be left behind when a file does not answer."""

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
    """Wait for work in a thread of its own, as long as ``bounds`` allows it.

    Raises what the work raises, ReadingCutError if it was left behind, and CancelledError at once.
    """
    future = asyncio.wrap_future(_start(work, bounds))
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=_LOOK_S)
            if not future.done():
                bounds.watch()
        return future.result()
    finally:
        future.cancel()  # nothing is to reach the loop later, which may be closed by then


def aside_blocking(work: Callable[[], Value], bounds: ReadingBounds) -> Value:
    """As `aside` for a caller without an event loop, which stays open to signals."""
    future = _start(work, bounds)
    while not wait([future], timeout=_LOOK_S).done:
        bounds.watch()
    return future.result()


def _start(work: Callable[[], Value], bounds: ReadingBounds) -> Future[Value]:
    """A daemon thread: the threads of an executor are joined before Python ends."""
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
