"""A kernel is looked at in the thread that waits for its experiment."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import Failure, FailureKind
from pytest_nbgroups.execution.halting import Halted, Halts

HALTED = Halted(
    notebook="2-fit.ipynb",
    failure=Failure(kind=FailureKind.CELL, message="ValueError"),
    connection_file=Path("connection.json"),
    executed_path=None,
)


def in_thread(halts: Halts, stopped: list[str]) -> threading.Thread:
    """Halt once in an event loop of another thread, as an experiment does."""

    def work() -> None:
        asyncio.run(halts.halt(HALTED, stopped=lambda: stopped.append("stopped")))
        halts.end()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_caller_is_asked_in_its_own_thread() -> None:
    """With what is known of the notebook; the experiment goes on when the call returns."""
    seen: list[tuple[Halted, threading.Thread]] = []
    stopped: list[str] = []
    halts = Halts(lambda halted: seen.append((halted, threading.current_thread())))
    thread = in_thread(halts, stopped)
    halts.serve()
    thread.join()
    assert seen == [(HALTED, threading.current_thread())]
    assert halts.total_s > 0
    assert stopped == []


def test_whatever_the_call_raises_ends_the_wait() -> None:
    """Also what an empty queue raises, which is none of ours."""

    def raises(_halted: Halted) -> None:
        raise queue.Empty

    halts = Halts(raises)
    halting = halts.halt(HALTED, stopped=lambda: None)
    with pytest.raises(queue.Empty):
        asyncio.run(_served(halts, halting))


async def _served(halts: Halts, halting: Coroutine[None, None, None]) -> None:
    """Serve in the thread of the event loop, once there is a call."""
    waiting = asyncio.ensure_future(halting)
    await asyncio.sleep(0)
    try:
        halts.serve()
    finally:
        waiting.cancel()


def test_what_the_call_raises_is_the_callers() -> None:
    """The experiment then waits until it is cancelled, and is told so."""
    stopped: list[str] = []
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    def raises(_halted: Halted) -> None:
        raise KeyboardInterrupt

    halts = Halts(raises)

    async def run() -> None:
        halting = asyncio.ensure_future(
            halts.halt(HALTED, stopped=lambda: stopped.append("stopped"))
        )
        tasks.append((asyncio.get_running_loop(), halting))
        await halting

    def work() -> None:
        asyncio.run(run())
        halts.end()

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        halts.serve()
    loop, task = tasks[0]
    loop.call_soon_threadsafe(task.cancel)
    halts.wait()
    thread.join()
    assert stopped == ["stopped"]


def test_nobody_wants_to_look() -> None:
    """Nothing is called, and nothing waits."""
    halts = Halts(None)
    assert not halts.wanted
    in_thread(halts, []).join()
    halts.serve()
    assert halts.total_s == 0
