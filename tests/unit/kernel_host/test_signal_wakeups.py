"""Signals as something that a selector can wait for."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from pytest_nbgroups.kernel_host.signal_wakeups import signal_wakeups

if sys.platform == "win32":
    pytest.skip("sends POSIX signals", allow_module_level=True)

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers = {signum: signal.getsignal(signum) for signum in HANDLED}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    descriptor = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        os.close(descriptor)
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def is_readable(receiver: socket.socket) -> bool:
    return bool(select.select([receiver], [], [], 0)[0])


@pytest.mark.parametrize("signum", HANDLED)
def test_each_signal_wakes(signum: signal.Signals) -> None:
    """What asks for the end stops; Ctrl-C and the end of a child only wake."""
    stops: list[None] = []
    receiver, drain = signal_wakeups(lambda: stops.append(None))
    with receiver:
        assert not is_readable(receiver)
        signal.raise_signal(signum)
        assert is_readable(receiver)
        assert len(stops) == (signum in {signal.SIGTERM, signal.SIGHUP})
        drain()
        assert not is_readable(receiver)
        drain()


def test_a_flood_of_signals_blocks_nobody() -> None:
    """A full socket loses wake-ups, of which one is enough."""
    receiver, drain = signal_wakeups(lambda: None)
    with receiver:
        for _ in range(5000):
            signal.raise_signal(signal.SIGCHLD)
        while is_readable(receiver):
            drain()


def test_nothing_is_ignored_or_blocked_that_kernels_need() -> None:
    """Kernels inherit both: a shell that runs pytest in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    receiver, _ = signal_wakeups(lambda: None)
    with receiver:
        assert callable(signal.getsignal(signal.SIGINT))
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
