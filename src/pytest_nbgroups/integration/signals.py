"""SIGTERM ends a session as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

import pytest


def end_on_sigterm() -> Callable[[], None]:
    """Make SIGTERM end the session with exit code 2. Return a function that undoes it."""
    # Python sets handlers in the main thread only, and a handler that someone else has set stays.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    signal.signal(signal.SIGTERM, _end)
    return _restore


def _end(_signum: int, _frame: FrameType | None) -> None:
    raise pytest.exit.Exception("received SIGTERM", returncode=pytest.ExitCode.INTERRUPTED)


def _restore() -> None:
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
