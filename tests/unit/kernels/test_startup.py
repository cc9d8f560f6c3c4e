from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future
from pathlib import Path
from queue import Empty
from typing import Any, cast

import pytest

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernel_host.client import KernelProcess
from pytest_nbgroups.kernels import startup
from pytest_nbgroups.kernels.kernel import KernelLog
from pytest_nbgroups.kernels.startup import (
    PortClashError,
    StartTimeoutError,
    ended_early,
    silent,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel.log"


def test_the_log_shows_what_came_since(path: Path) -> None:
    """What an earlier kernel wrote is not this one's."""
    path.write_bytes(b"old\n")
    log = KernelLog(path)
    with path.open("ab") as file:
        file.write(b"\x1b[31mnew\x1b[0m\n")
    assert log.tail() == "new"


def test_the_log_shows_its_last_lines(path: Path) -> None:
    """A long log is cut, not read as a whole."""
    log = KernelLog(path)
    path.write_text("".join(f"line {i}\n" for i in range(100_000)))
    assert log.tail().splitlines() == [f"line {i}" for i in range(99_980, 100_000)]


@pytest.mark.parametrize("content", [None, b""])
def test_an_empty_log_is_said_to_be_empty(path: Path, content: bytes | None) -> None:
    """Silence of the kernel is worth telling."""
    log = KernelLog(path)
    if content is not None:
        path.write_bytes(content)
    assert log.tail() == ""
    assert log.quoted() == f"; its log {path} is empty"


def test_no_log_is_not_mentioned() -> None:
    """Where none could be written there is none to look at."""
    assert KernelLog(None).quoted() == ""


def test_an_early_end_is_told_with_its_reason(path: Path) -> None:
    """Exit code, log, and where the log is."""
    log = KernelLog(path)
    path.write_text("ModuleNotFoundError: No module named 'ipykernel_launcher'\n")
    error = ended_early("mine", 1, log, (), cause="; rename it")
    assert str(error) == (
        f"kernel 'mine' ended before it was ready (exit code 1); rename it; the end of its log {path}:\n"
        "ModuleNotFoundError: No module named 'ipykernel_launcher'"
    )
    assert not isinstance(error, PortClashError)


def test_a_signal_is_named(path: Path) -> None:
    """Numbers of signals are for machines."""
    assert "SIGSEGV" in str(ended_early("mine", -11, KernelLog(path), ()))


@pytest.mark.parametrize(
    "text",
    [
        "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:40123')",
        "EADDRINUSE: address in use",
        "Only one usage of each socket address is normally permitted",
    ],
)
def test_a_port_clash_is_recognized_by_its_text(path: Path, text: str) -> None:
    """Then another attempt, with other ports, is worth it; over IPC there is nothing to clash."""
    log = KernelLog(path)
    path.write_text(text)
    assert isinstance(ended_early("mine", 1, log, (1, 2)), PortClashError)
    assert not isinstance(ended_early("mine", 1, log, ()), PortClashError)


def test_a_port_clash_is_recognized_by_the_port(path: Path) -> None:
    """A kernel may end without a word."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert isinstance(ended_early("mine", 1, KernelLog(path), (port,)), PortClashError)
    assert not isinstance(ended_early("mine", 1, KernelLog(path), (port,)), PortClashError)


def test_silence_is_told_with_the_limit(path: Path) -> None:
    """It is a timeout too, for those who set a deadline."""
    error = silent("mine", 60.0, KernelLog(path))
    assert str(error) == f"kernel 'mine' did not answer within 1m00s; its log {path} is empty"
    assert isinstance(error, StartTimeoutError)
    assert isinstance(error, KernelStartError)
    assert isinstance(error, TimeoutError)


class FakeClient:
    """A kernel whose first status is lost, as before a subscription takes effect."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def kernel_info(self) -> str:
        self.requests.append(f"request {len(self.requests)}")
        return self.requests[-1]

    async def get_shell_msg(self, timeout: float) -> dict[str, Any]:  # noqa: ARG002, ASYNC109
        if len(self.requests) == 1:
            raise Empty
        return {"msg_type": "kernel_info_reply", "content": {"language_info": {"name": "x"}}}

    async def get_iopub_msg(self, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        if len(self.requests) < 3:
            await asyncio.sleep(timeout)
            raise Empty
        return {
            "msg_type": "status",
            "content": {"execution_state": "idle"},
            "parent_header": {"msg_id": self.requests[1]},
        }

    def _handle_kernel_info_reply(self, reply: dict[str, Any]) -> None:
        self.handled = reply


def test_a_kernel_is_ready_when_iopub_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply on shell alone is not enough: outputs of the first cell would be lost."""
    monkeypatch.setattr(startup, "_IOPUB_S", 0.01)
    client, process = FakeClient(), KernelProcess(pid=1, exited=Future())
    waiting = startup.await_ready(cast("Any", client), process, 5)
    assert asyncio.run(waiting) == {"language_info": {"name": "x"}}
    assert len(client.requests) == 3
    assert client.handled["msg_type"] == "kernel_info_reply"


class Welcoming(FakeClient):
    """A kernel that greets its subscriber, whose status had been sent before that."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float] = []

    async def get_shell_msg(self, timeout: float) -> dict[str, Any]:  # noqa: ARG002, ASYNC109
        return {"msg_type": "kernel_info_reply", "content": {}}

    async def get_iopub_msg(self, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        self.timeouts.append(timeout)
        if len(self.timeouts) > 1:
            await asyncio.sleep(timeout)
            raise Empty
        return {"msg_type": "iopub_welcome", "content": {}, "parent_header": {}}


def test_a_welcome_shortens_the_wait() -> None:
    """Nothing can be lost after it: the status either comes at once, or has been missed."""
    client = Welcoming()
    process = KernelProcess(pid=1, exited=Future())
    assert asyncio.run(startup.await_ready(cast("Any", client), process, 5)) == {}
    assert len(client.requests) == 1
    assert len(client.timeouts) == 2
    assert client.timeouts[1] <= 0.05
