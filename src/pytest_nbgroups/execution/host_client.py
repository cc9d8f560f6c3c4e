"""The kernel host as its pytest process sees it: start, signal and kill, awaitable from any event loop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytest_nbgroups.errors import KernelHostError
from pytest_nbgroups.execution.wire import LineBuffer, Message, encode

_CLOSE_S = 2.0
_KILL_S = 10.0
_ANSWER_MARGIN_S = 5.0
_RECEIVE_BYTES = 65536
_MODULE = "pytest_nbgroups.execution.host"


@dataclass(frozen=True, kw_only=True)
class KernelProcess:
    """A kernel that the host has started."""

    pid: int
    exited: Future[int]
    """Its exit code, negative for a signal; KernelHostError if the host ended first."""

    @property
    def returncode(self) -> int | None:
        """None while it runs. A kernel whose host has ended counts as killed."""
        if not self.exited.done():
            return None
        return -9 if self.exited.exception() else self.exited.result()

    async def wait(self) -> int:
        """Wait for the kernel itself, not for its children. Raises KernelHostError."""
        return await asyncio.wrap_future(self.exited)


class KernelHost:
    """Holds the kernel host of this process; starts it when the first kernel is asked for.

    One kernel at a time. The methods may be called from any thread; a host that has ended unexpectedly fails what
    is under way with KernelHostError, and the next ``start`` brings up a new one.
    """

    def __init__(self) -> None:
        self._connection: _Connection | None = None
        self._owner_pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The host's own process, None while there is none."""
        return self._connection.process.pid if self._connection else None

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log_path: Path,
        scratch: Path | None = None,
    ) -> KernelProcess:
        """Start a kernel with exactly this environment, its output appended to ``log_path``.

        ``scratch`` is a folder that the host removes should this process be killed. Raises OSError where the
        operating system refuses, KernelHostError where an earlier kernel's processes are still alive.
        """
        answer = await self._request(
            "start",
            argv=list(argv),
            cwd=str(cwd),
            env=dict(env),
            log_path=str(log_path),
            scratch=str(scratch) if scratch else None,
        )
        process: KernelProcess = answer["process"]
        return process

    async def signal(self, signum: int) -> bool:
        """Signal the kernel's process group; False if the kernel has ended."""
        return bool((await self._request("signal", signum=int(signum)))["delivered"])

    async def kill_tree(self, *, deadline_s: float = _KILL_S) -> tuple[str, ...]:
        """Kill the kernel and everything that it has started, and wait until all of it is gone.

        Describes what is left after the deadline.
        """
        if self._connection is None:
            return ()
        return tuple((await self._request("kill_tree", deadline_s=deadline_s))["left"])

    def kill_tree_now(self, *, deadline_s: float = _KILL_S) -> tuple[str, ...]:
        """``kill_tree`` for where no event loop runs. Raises KernelHostError if the host is mute."""
        if self._connection is None:
            return ()
        future = self._connection.request("kill_tree", deadline_s=deadline_s)
        try:
            return tuple(future.result(deadline_s + _ANSWER_MARGIN_S)["left"])
        except TimeoutError as exc:
            raise KernelHostError("the kernel host does not answer") from exc

    def close(self) -> None:
        """End the host and everything below it. May be called again; does nothing in a forked child."""
        if self._connection is None or os.getpid() != self._owner_pid:
            return
        connection, self._connection = self._connection, None
        connection.close()

    async def _request(self, op: str, **fields: Any) -> Message:  # noqa: ANN401  JSON
        if self._connection is not None and op == "start" and self._connection.ended:
            self.close()
        if self._connection is None:
            self._connection = _Connection()
        return await asyncio.wrap_future(self._connection.request(op, **fields))


@dataclass
class _Expected:
    """Who waits for what from the host."""

    answers: dict[int, Future[Message]] = field(default_factory=dict)
    exits: dict[int, Future[int]] = field(default_factory=dict)


class _Connection:
    """One host process, the socket to it and the thread that reads from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected = _Expected()
        self._next_id = 0
        self._closing = False
        self.ended: KernelHostError | None = None
        self._socket, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the connection
        try:
            with theirs:
                self.process = _spawn(theirs, self._stderr)
        except OSError as exc:
            self._socket.close()
            self._stderr.close()
            raise KernelHostError(f"cannot start the kernel host: {exc}") from exc
        self._reader = threading.Thread(target=self._read, name="nbgroups-kernel-host", daemon=True)
        self._reader.start()

    def request(self, op: str, **fields: Any) -> Future[Message]:  # noqa: ANN401  JSON
        future = _promise(Message)
        with self._lock:
            if self.ended is not None:
                raise self.ended
            self._next_id += 1
            self._expected.answers[self._next_id] = future
            message = encode({"id": self._next_id, "op": op, **fields})
            with contextlib.suppress(OSError):  # the reader meets the same end and fails the future
                self._socket.sendall(message)
        return future

    def close(self) -> None:
        """Shut down rather than close: a forked child may hold the socket too."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self._socket.close()
        self._stderr.close()

    def _read(self) -> None:
        lines = LineBuffer()
        with contextlib.suppress(OSError):
            while data := self._socket.recv(_RECEIVE_BYTES):
                for message in lines.feed(data):
                    self._dispatch(message)
        self._end()

    def _dispatch(self, message: Message) -> None:
        with self._lock:
            if message.get("event") == "exited":
                self._expected.exits.pop(message["pid"]).set_result(message["returncode"])
                return
            future = self._expected.answers.pop(message["id"])
            if "pid" in message:  # before the next message, which may tell of this kernel's end
                exited = self._expected.exits[message["pid"]] = _promise(int)
                message["process"] = KernelProcess(pid=message["pid"], exited=exited)
        if "error" in message:
            future.set_exception(_refusal(message))
        else:
            future.set_result(message)

    def _end(self) -> None:
        """Fail everything that waits; the kernel must not outlive a host that was killed."""
        failure = KernelHostError(self._farewell())
        with self._lock:
            self.ended = failure
            expected, self._expected = self._expected, _Expected()
        if not self._closing:
            _kill_groups(expected.exits)
        for future in (*expected.answers.values(), *expected.exits.values()):
            future.set_exception(failure)

    def _farewell(self) -> str:
        if self._closing:
            return "the kernel host was closed"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_CLOSE_S)
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        how = f"exit code {self.process.returncode}"
        return f"the kernel host ended unexpectedly ({how})" + (f":\n{text}" if text else "")


def _promise(_kind: type[Any]) -> Future[Any]:
    """A future that its awaiters cannot cancel, so that it can always be resolved."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _refusal(message: Message) -> Exception:
    if "errno" in message:
        return OSError(message["errno"], message["error"], message["filename"])
    return KernelHostError(message["error"])


def _kill_groups(pids: Mapping[int, object]) -> None:
    if sys.platform != "win32":
        for pid in pids:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)


def _spawn(theirs: socket.socket, stderr: io.BufferedRandom | Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    arguments = ["-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())]
    if sys.platform == "win32":
        return _spawn_windows(theirs, arguments, stderr)
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )


if sys.platform == "win32":

    def _spawn_windows(
        theirs: socket.socket, arguments: Sequence[str], stderr: Any  # noqa: ANN401
    ) -> subprocess.Popen[bytes]:
        """The base interpreter: a virtual environment's python.exe starts the real one as a child."""
        process = subprocess.Popen(
            [sys._base_executable, *arguments],
            env={**os.environ, "__PYVENV_LAUNCHER__": sys.executable},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
        process.communicate  # noqa: B018
        return process
