"""When a kernel that is done with a cell counts as one that cannot answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_nbgroups.execution import missing_answer
from pytest_nbgroups.execution.missing_answer import MissingAnswer, raised_last
from pytest_nbgroups.kernels.kernel import KernelLog

GRACE_S = 0.03
LOGGED = """[IPKernelApp] ERROR | Exception in message handler:
Traceback (most recent call last):
  File "a.py", line 1, in send
    f()
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in dispatch
    g()
TypeError: not serializable
ERROR:tornado.general:Uncaught exception
Traceback (most recent call last):
  File "b.py", line 1, in late
    h()
OSError: of something else
"""


class Control:
    """A control channel; it answers if it is to."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        self.asked.append(message["msg_id"])

    async def get_msg(self, timeout: float) -> dict[str, Any]:  # noqa: ARG002, ASYNC109  as the real one
        if not self.answers:
            raise Empty
        return {"parent_header": {"msg_id": self.asked[-1]}}


class Shell:
    """A shell channel, on which answers come in order."""

    def __init__(self) -> None:
        self.last_answered: str | None = None
        self.asked: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        self.asked.append(message["msg_id"])


class Kernel:
    """What is looked at of a running kernel."""

    def __init__(self, log: Path, *, answers: bool = True) -> None:
        self.path = log
        self.log = KernelLog(log)
        self.outputs = SimpleNamespace(has_ended=False, is_answered=False)
        self.control = Control(answers=answers)
        session = SimpleNamespace(msg=lambda _kind, _content: {"msg_id": "probe"})
        self.shell = Shell()
        self.client = SimpleNamespace(
            control_channel=self.control, shell_channel=self.shell, session=session
        )

    def watch(self) -> MissingAnswer:
        return MissingAnswer(cast("Any", self))

    def writes(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_answer, "_LOOK_S", 0.01)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text(f"{LOGGED}of an earlier cell\n")
    return path


def is_confirmed(missing: MissingAnswer, within_s: float = 10) -> bool:
    async def wait() -> bool:
        try:
            await asyncio.wait_for(missing.confirmed(GRACE_S), within_s)
        except TimeoutError:
            return False
        return True

    return asyncio.run(wait())


def test_a_cell_that_runs(log: Path) -> None:
    """It is left alone, whatever earlier cells have logged."""
    kernel = Kernel(log)
    missing = kernel.watch()
    assert not missing.is_suspected
    assert not is_confirmed(missing, within_s=10 * GRACE_S)
    assert kernel.control.asked == []


def test_idle_without_an_answer(log: Path) -> None:
    """It is certain after the grace; the log of the cell gives the reason."""
    kernel = Kernel(log)
    missing = kernel.watch()
    kernel.outputs.has_ended = True
    kernel.writes("Traceback (most recent call last):\n  x\nValueError: bad\n")
    assert is_confirmed(missing)
    assert raised_last(missing.log()) == "ValueError: bad"
    assert "earlier" not in missing.log()


def test_an_answer_in_time(log: Path) -> None:
    """It may come after the kernel has become idle."""
    kernel = Kernel(log)
    missing = kernel.watch()
    kernel.outputs.has_ended = True
    kernel.outputs.is_answered = True
    assert not missing.is_suspected
    assert not is_confirmed(missing, within_s=10 * GRACE_S)


def test_a_kernel_that_cannot_even_become_idle(log: Path) -> None:
    """Its log reports the failure, and it does not answer on the control channel either."""
    kernel = Kernel(log, answers=False)
    missing = kernel.watch()
    kernel.writes(LOGGED)
    assert missing.is_suspected
    assert is_confirmed(missing)
    assert raised_last(missing.log()) == "TypeError: not serializable"
    assert "tornado" not in missing.log()


def test_a_kernel_that_is_only_busy(log: Path) -> None:
    """A line of the log does not count against one that answers on the control channel."""
    kernel = Kernel(log, answers=True)
    missing = kernel.watch()
    kernel.writes(LOGGED)
    assert not is_confirmed(missing, within_s=10 * GRACE_S)
    assert kernel.control.asked
    assert not missing.is_suspected
    kernel.outputs.has_ended = True
    assert missing.is_suspected


def test_a_kernel_that_goes_on_without_an_answer(log: Path) -> None:
    """It is certain once a question is answered that was asked after the cell, and not before."""
    kernel = Kernel(log, answers=True)
    missing = kernel.watch()
    kernel.writes(LOGGED)
    assert not is_confirmed(missing, within_s=10 * GRACE_S)
    assert kernel.shell.asked == ["probe"]
    kernel.shell.last_answered = "probe"
    assert is_confirmed(missing)
    kernel.outputs.is_answered = True
    assert not missing.is_suspected


def test_a_log_that_grows(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is found wherever it is cut, however much stands before it."""
    monkeypatch.setattr(missing_answer, "_READ_BYTES", 40)
    kernel = Kernel(log)
    missing = kernel.watch()
    kernel.writes("\xff" * 100)
    for letter in "Exception in message handler":
        assert not missing.is_suspected
        kernel.writes(letter)
    assert any(missing.is_suspected for _ in range(20))


def test_without_a_log() -> None:
    """There is no reason to be given."""
    kernel = SimpleNamespace(
        log=KernelLog(None), outputs=SimpleNamespace(has_ended=True, is_answered=False)
    )
    missing = MissingAnswer(cast("Any", kernel))
    assert missing.is_suspected
    assert missing.log() == ""


@pytest.mark.parametrize(
    ("log", "error"),
    [("", ""), ("a warning\n", ""), ("Traceback:\n  x\nE: one\nE: two\n", "E: one")],
)
def test_the_error_in_a_log(log: str, error: str) -> None:
    """It is the line below the frames of the last traceback."""
    assert raised_last(log) == error
