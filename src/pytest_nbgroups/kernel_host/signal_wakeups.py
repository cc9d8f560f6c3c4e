"""Signals as something that a selector can wait for."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

_RECEIVE_BYTES = 4096


def signal_wakeups(stop: Callable[[], None]) -> tuple[socket.socket, Callable[[], None]]:
    """A socket that becomes readable at each signal, and how to empty it.

    Handlers, not SIG_IGN: what is ignored stays ignored in the kernels, and these need their SIGINT.
    """
    receiver, sender = socket.socketpair()
    receiver.settimeout(0)
    sender.settimeout(0)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)

    def note(_signum: int, _frame: FrameType | None) -> None: ...

    def end(_signum: int, _frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, end)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, end)
        signal.signal(signal.SIGCHLD, note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            receiver.recv(_RECEIVE_BYTES)

    return receiver, drain
