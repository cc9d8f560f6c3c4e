"""SIGTERM ends a session as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from pytest_nbgroups.integration.signals import end_on_sigterm


@pytest.fixture(autouse=True)
def _default() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_ends_the_session() -> None:
    """With the exit code of an interruption, until it is undone."""
    undo = end_on_sigterm()
    with pytest.raises(pytest.exit.Exception, match="received SIGTERM") as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.returncode == pytest.ExitCode.INTERRUPTED
    undo()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_handlers_of_others_stay() -> None:
    """One set before, and one set meanwhile."""

    def theirs(_signum: int, _frame: object) -> None: ...

    undo = end_on_sigterm()
    signal.signal(signal.SIGTERM, theirs)
    undo()
    assert signal.getsignal(signal.SIGTERM) is theirs
    end_on_sigterm()()
    assert signal.getsignal(signal.SIGTERM) is theirs


def test_other_threads_set_nothing() -> None:
    """Python allows it to none but the main one."""
    thread = threading.Thread(target=end_on_sigterm)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
