from __future__ import annotations

import sys

import pytest

from pytest_nbgroups.kernel_host.exits import describe_exit, signal_of

NO_HANDLER = ", sent from outside or by the notebook itself, and no handler was installed for it"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (None, "its exit status is unknown"),
        (0, "exit code 0"),
        (3, "exit code 3"),
        (3221225477, "exit code 3221225477"),
        (-999, "signal 999"),
    ],
)
def test_exits_in_words(returncode: int | None, words: str) -> None:
    """A number is what it is."""
    assert describe_exit(returncode) == words


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (-9, "SIGKILL, sent from outside or by the notebook itself, or out of memory"),
        (-11, "SIGSEGV, a crash in compiled code"),
        (-7, "SIGBUS, a crash in compiled code"),
        (-6, "SIGABRT, aborted by compiled code or os.abort()"),
        (-15, "SIGTERM, sent from outside or by the notebook itself"),
        (-14, "SIGALRM, a timer of the notebook ran out (signal.alarm, signal.setitimer)"),
        (-24, "SIGXCPU, it ran into the operating system's limit on CPU time (ulimit -t)"),
        (-25, "SIGXFSZ, it ran into the operating system's limit on the size of files (ulimit -f)"),
        (-31, "SIGSYS, a system call that is not allowed here"),
        (-10, f"SIGUSR1{NO_HANDLER}"),
        (-12, f"SIGUSR2{NO_HANDLER}"),
        (-40, f"signal 40{NO_HANDLER}"),
        (139, "SIGSEGV (exit code 139), a crash in compiled code"),
    ],
)
def test_signals_in_words(returncode: int, words: str) -> None:
    """A number says little to most people. A shell around the kernel adds 128 to it."""
    if sys.platform == "darwin" and returncode in {-7, -31, -10, -12, -40}:
        pytest.skip("another number there")
    assert describe_exit(returncode) == words


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("returncode", "signum"),
    [(None, None), (-9, 9), (137, 9), (0, None), (128, None), (255, None), (-999, 999)],
)
def test_the_signal_behind_an_exit(returncode: int | None, signum: int | None) -> None:
    """Also where a shell tells of it."""
    assert signal_of(returncode) == signum
