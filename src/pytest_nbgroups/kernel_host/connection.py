"""Connection to a kernel host: its process, and requests and answers over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.kernel_host.descendants import group
from pytest_nbgroups.kernel_host.tidying import is_tracker
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode

_CLOSE_S = 6.0
"""More than trackers have for their work when the host ends; it takes milliseconds without any."""
_RECEIVE_BYTES = 65536
_MODULE = "pytest_nbgroups.kernel_host.host"


class NotForkedError(Exception):
    """A kernel could not be forked. It can still be started plainly; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class KernelProcess:
    """A kernel that the host has started."""

    pid: int
    exited: Future[int]
    """Its exit code, negative for a signal; KernelHostError if the host ended first."""
    server_pid: int | None = None
    """The process beside it from which kernels are forked, if there is one."""

    @property
    def returncode(self) -> int | None:
        """None while it runs. A kernel whose host has ended counts as killed."""
        if not self.exited.done():
            return None
        return -9 if self.exited.exception() else self.exited.result()

    async def wait(self) -> int:
        """Wait for the kernel itself, not for its children. Raises KernelHostError."""
        return await asyncio.wrap_future(self.exited)


class HostConnection:
    """One host process, the socket to it and the thread that reads from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[int, Future[Message]] = {}
        self._exits: dict[int, Future[int]] = {}
        self._next_id = 0
        self._closing = False
        self._is_given_up = False
        self.ended: KernelHostError | None = None
        self._socket, theirs = socket.socketpair()
        # A file and not a pipe: it is read only after the host's end, and a full pipe would block the host.
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

    def request(
        self,
        op: str,
        *,
        descriptors: Sequence[int] = (),
        **fields: Any,  # noqa: ANN401  JSON
    ) -> Future[Message]:
        """Send a request, and copies of descriptors with it.

        Raises KernelHostError after the end, OSError if a descriptor is not open.
        """
        future: Future[Message] = _promise()
        with self._lock:
            if self.ended is not None:
                raise self.ended
            self._next_id += 1
            message = encode({"id": self._next_id, "op": op, **fields})
            self._answers[self._next_id] = future
            try:
                # Descriptors go with the first byte, so they are there before the last.
                sent = socket.send_fds(self._socket, [message], descriptors) if descriptors else 0
                self._socket.sendall(message[sent:])
            except ConnectionError:
                pass  # the reader meets the same end and fails the future
            except OSError:
                del self._answers[self._next_id]
                raise
        return future

    def give_up(self) -> None:
        """Kill a host that is mute, and its kernel with it; waiting calls get an error."""
        self._is_given_up = True
        self.process.kill()

    def close(self) -> None:
        self._closing = True
        # Shut down rather than closed: if a forked child holds the socket too, a close is no end of file.
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
        try:
            while data := self._socket.recv(_RECEIVE_BYTES):
                for message in lines.feed(data):
                    self._dispatch(message)
        except OSError:
            pass  # as good as an end of file
        finally:
            self._end()

    def _dispatch(self, message: Message) -> None:
        with self._lock:
            if message.get("event") == "exited":
                self._exits.pop(message["pid"]).set_result(message["returncode"])
                return
            future = self._answers.pop(message["id"])
            if "pid" in message:
                # Registered before the next message, which may be the end of this kernel.
                exited = self._exits[message["pid"]] = _promise()
                message["process"] = KernelProcess(
                    pid=message["pid"], exited=exited, server_pid=message["server_pid"]
                )
        if "error" in message:
            future.set_exception(_refusal(message))
        else:
            future.set_result(message)

    def _end(self) -> None:
        """Fail everything that waits. Nothing is added once ``ended`` is set."""
        failure = KernelHostError(self._farewell())
        with self._lock:
            self.ended = failure
        if not self._closing:  # the kernel must not outlive a host that was killed
            _kill_groups(self._exits)
        # Exits first: a caller that gets no answer may ask at once how the kernel has ended.
        for waiting in chain[Future[Any]](self._exits.values(), self._answers.values()):
            waiting.set_exception(failure)

    def _farewell(self) -> str:
        if self._closing:
            return "the kernel host was closed"
        if self._is_given_up:
            return "the kernel host did not answer and was killed"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_CLOSE_S)
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        how = f"exit code {self.process.returncode}"
        return f"the kernel host ended unexpectedly ({how})" + (f":\n{text}" if text else "")


def _promise() -> Future[Any]:
    """A future that its awaiters cannot cancel, so that it can always be resolved."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _refusal(message: Message) -> Exception:
    if "errno" in message:
        return OSError(message["errno"], message["error"], message["filename"])
    if "fork" in message:
        return NotForkedError(message["error"])
    return KernelHostError(message["error"])


def _kill_groups(leaders: Mapping[int, object]) -> None:
    """Kill all but the trackers, which end by themselves once the others are gone."""
    if sys.platform != "win32":
        for pid in (pid for leader in leaders for pid in group(leader) if not is_tracker(pid)):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _spawn(theirs: socket.socket, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    arguments = ["-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())]
    if sys.platform == "win32":
        return _spawn_windows(theirs, arguments, stderr)
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=[theirs.fileno()],
        start_new_session=True,  # Ctrl-C in the terminal does not reach it
    )


if sys.platform == "win32":

    def _spawn_windows(
        theirs: socket.socket, arguments: Sequence[str], stderr: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start the base interpreter: a virtual environment's python.exe is only a launcher of it."""
        process = subprocess.Popen(  # noqa: S603
            [getattr(sys, "_base_executable", sys.executable), *arguments],
            env={**os.environ, "__PYVENV_LAUNCHER__": sys.executable},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
        assert process.stdin is not None  # noqa: S101  a pipe, as asked for
        with process.stdin as stdin:
            stdin.write(theirs.share(process.pid))
        return process
