"""Calls in the source of a notebook that may have ended its kernel."""

from __future__ import annotations

import signal
import sys

import pytest

from pytest_nbgroups.monitoring.own_calls import exit_calls, limit_calls, signal_calls

if sys.platform == "win32":
    pytest.skip("no process is ended by signals there", allow_module_level=True)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("exit()", "exit"),
        ("if done: sys.exit(3)", "sys.exit"),
        ("x = 1; os._exit (1)", "os._exit"),
        ("_exit(1)", "_exit"),
        ("quit()\nexit()", "exit"),
        ("os.abort()", "os.abort"),
    ],
)
def test_calls_that_exit(source: str, name: str) -> None:
    """As they stand in the source; the last one of the cell."""
    assert list(exit_calls(["1", source, "2"])) == [f"cell 2 calls {name}()"]


@pytest.mark.parametrize(
    "source",
    [
        "# exit()",
        "print('exit()')",
        "loop.exit()",
        "self._exit()",
        "my_exit()",
        "exit",
        "abort()",
        "os.kill(1, 9)",
    ],
)
def test_what_only_looks_like_one(source: str) -> None:
    """Comments, strings, methods of other things, and names without a call."""
    assert list(exit_calls([source])) == []


def test_the_last_cell_is_named() -> None:
    """It is the one that most likely did it."""
    assert list(exit_calls(["exit()", "quit()", "1"])) == ["cell 2 calls quit()"]


@pytest.mark.parametrize(
    ("signum", "source", "name"),
    [
        (signal.SIGKILL, "os.kill(os.getpid(), 9)", "os.kill"),
        (signal.SIGTERM, "raise_signal(15)", "raise_signal"),
        (signal.SIGABRT, "os.abort()", "os.abort"),
        (signal.SIGALRM, "signal.alarm(1)", "signal.alarm"),
        (signal.SIGXCPU, "resource.setrlimit(0, (1, 1))", "resource.setrlimit"),
    ],
)
def test_calls_that_send_a_signal(signum: int, source: str, name: str) -> None:
    """Any sender may have sent any signal; the rest has signals of its own."""
    assert list(signal_calls([source], signum)) == [f"cell 1 calls {name}()"]
    is_sender = name in {"os.kill", "raise_signal"}
    assert list(signal_calls([source], signal.SIGUSR1)) == (
        [f"cell 1 calls {name}()"] if is_sender else []
    )


def test_calls_that_set_a_limit() -> None:
    """Evidence for what the operating system ends at a limit."""
    assert list(limit_calls(["prlimit(0, 0)"])) == ["cell 1 calls prlimit()"]
    assert list(limit_calls(["os.kill(1, 9)"])) == []
