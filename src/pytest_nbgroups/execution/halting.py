"""A failed notebook's kernel that lives on while somebody looks at it."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.model import Failure


@dataclass(frozen=True, kw_only=True)
class Halted:
    """A notebook that has failed, and the kernel that is left of it: idle, and open to any client."""

    notebook: str
    failure: Failure
    connection_file: Path
    executed_path: Path | None
    """The notebook up to the failure; None if it could not be saved."""


OnHalt: TypeAlias = Callable[[Halted], None]
"""Called once for a notebook that has failed; its kernel is ended when this returns or raises."""


class Halts:
    """Calls ``on_halt`` in the thread that waits for the experiment, which may ask at a terminal.

    The experiment runs in a thread and an event loop of its own; there ``halt`` is awaited, while
    the caller's thread is in ``serve``.
    """

    def __init__(self, on_halt: OnHalt | None) -> None:
        self._on_halt = on_halt
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._over = threading.Event()
        self.total_s = 0.0
        """How long kernels were halted: no time of the experiment's own."""

    @property
    def wanted(self) -> bool:
        return self._on_halt is not None

    async def halt(self, halted: Halted, *, stopped: Callable[[], None]) -> None:
        """Let a kernel be looked at; call ``stopped`` if the experiment is cancelled meanwhile.

        CancelledError is not raised: the notebook has failed already, and stays failed.
        """
        if self._on_halt is None:
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        since = time.monotonic()
        self._calls.put(partial(_call, partial(self._on_halt, halted), loop, over))
        try:
            await over.wait()
        except asyncio.CancelledError:
            stopped()
        finally:
            self.total_s += time.monotonic() - since

    def serve(self) -> None:
        """Make the calls until the experiment is over. Raises the exceptions of ``on_halt``."""
        while not self._over.is_set():
            try:  # a wait without a timeout cannot be interrupted by Ctrl-C on Windows
                call = self._calls.get(timeout=1.0)
            except queue.Empty:
                continue
            call()

    def end(self) -> None:
        """The experiment is over: let ``serve`` and ``wait`` return."""
        self._over.set()
        self._calls.put(lambda: None)  # wakes `serve` up

    def wait(self) -> None:
        """Wait for the end without making any more calls.

        Not Thread.join: before Python 3.13 an interrupted join takes the thread for ended.
        """
        while not self._over.wait(timeout=1.0):
            pass


def _call(
    on_halt: Callable[[], None], loop: asyncio.AbstractEventLoop, over: asyncio.Event
) -> None:
    on_halt()  # if it raises, the caller of `serve` cancels the waiting task
    with suppress(RuntimeError):  # the experiment was stopped meanwhile, and its loop is closed
        loop.call_soon_threadsafe(over.set)
