"""The kernel host: the small process that starts, reaps and kills the kernels of one pytest process.

Run as ``python -P -m pytest_nbgroups.kernel_host.host SOCKET PARENT_PID`` (-P: nothing in the working directory is
imported), in a session of its own. It serves one kernel at a time. At end of file, or when the parent is gone, it
kills everything below it and ends. Both are watched: a forked child of the parent can hold the socket open, and a
parent can close the socket and live on.

Requests: ``start`` {argv, fork, cwd, env, log_path, scratch, descriptor_count} -> {pid, server_pid} | {error, errno,
filename}, with so many descriptors, which the kernel inherits and the host keeps until the tree is gone; with ``fork``
{module, arguments} the kernel is forked instead, from the server of that ``prepare`` {interpreter, modules, env, cwd,
log_path} -> {obstacle} which came last; ``forget`` -> {} ends that;
``signal`` {signum} -> {delivered}; ``expect_end`` -> {}, before the kernel is asked to end; ``kill_tree`` {deadline_s}
-> {left, reaped}, once the whole tree is gone and reaped.
Event: ``exited`` {pid, returncode}, at once when the kernel ends; a negative returncode is a signal.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pytest_nbgroups.kernel_host.fork_servers import ForkError, ForkServers, ServerOwner
from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.parent import is_parent, open_pidfd
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.signal_wakeups import signal_wakeups
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode

_POLL_S = 0.5
"""How often the parent is looked for if no pidfd shows its end."""
_WINDOWS_POLL_S = 0.05
"""Windows has no signal at a kernel's end."""
_LAST_KILL_S = 8.0
"""Within the ten seconds after which nothing may be left."""
_STRAY_KILL_S = 1.0
_RECEIVE_BYTES = 65536
_DESCRIPTORS = 16
"""More than a request ever brings."""


class ProcessTree(ServerOwner, Protocol):
    """Starts a kernel and sees everything below it. Each platform has one."""

    @property
    def output(self) -> KernelOutput | None:
        """Return the output of the kernel that was started last; None if it goes to its log directly."""

    @property
    def server_pid(self) -> int | None:
        """The process that kernels are forked from, which is no part of the tree."""

    def start(self, program: Program, log_path: str) -> int: ...
    def adopt(self, spawn: Callable[[KernelOutput], int], log_path: str) -> int: ...
    def reaped(self) -> Mapping[str, float | None] | None: ...
    def reap(self) -> tuple[int, int] | None: ...
    def is_empty(self) -> bool: ...
    def signal(self, signum: int) -> bool: ...
    def expect_end(self) -> None: ...
    def kill(
        self, deadline_s: float, on_reaped: Callable[[tuple[int, int]], None]
    ) -> list[str]: ...


class Host:
    """Serves one socket until its end, or the parent's."""

    def __init__(self, channel: socket.socket, parent_pid: int, tree: ProcessTree) -> None:
        self._channel = channel
        self._parent_pid = parent_pid
        self._tree = tree
        self._lines = LineBuffer()
        self._received: list[int] = []
        """Descriptors that have arrived before the request that they belong to."""
        self._held: list[int] = []
        """Those of the kernel."""
        self._output: KernelOutput | None = None
        self._selector = selectors.DefaultSelector()
        self._servers = ForkServers(tree, self._selector, self._send)
        self._scratch: str | None = None
        self._serving = True
        self._is_taken = False
        """A kernel has been started whose tree has not been killed."""

    def serve(self) -> None:
        """Answer until there is no one left to answer to, then leave nothing behind."""
        try:
            with self._selector:
                timeout_s = self._watch()
                while self._serving:
                    for key, _ in self._selector.select(timeout_s):
                        key.data()
                    self._collect()
                self._servers.end("the kernel host ends")
        finally:
            self._tree.kill(_LAST_KILL_S, lambda _: None)
            if self._output is not None:
                self._output.drain()
            if self._scratch:
                shutil.rmtree(self._scratch, ignore_errors=True)

    def stop(self) -> None:
        self._serving = False

    def _watch(self) -> float | None:
        """Register every source of events; give the polling interval, None if none is needed."""
        selector = self._selector
        selector.register(self._channel, selectors.EVENT_READ, self._read)
        wakeups, drain = signal_wakeups(self.stop)
        selector.register(wakeups, selectors.EVENT_READ, drain)
        pidfd = open_pidfd(self._parent_pid)
        if pidfd is not None:
            selector.register(pidfd, selectors.EVENT_READ, self.stop)
        self._stop_if_orphaned()  # the parent may have ended before the pidfd was opened
        if sys.platform == "win32":
            return _WINDOWS_POLL_S
        return _POLL_S if pidfd is None else None

    def _collect(self) -> None:
        if (ended := self._tree.reap()) is not None:
            self._report_exit(ended)
        self._stop_if_orphaned()

    def _stop_if_orphaned(self) -> None:
        if not is_parent(self._parent_pid):
            self.stop()

    def _read(self) -> None:
        try:
            data = self._receive()
        except OSError:
            data = b""  # a connection that is reset is at its end too
        if not data:
            self.stop()
        for request in self._lines.feed(data):
            if (answer := self._answer(request)) is not None:
                self._send({"id": request["id"], **answer})

    def _receive(self) -> bytes:
        """Raises OSError."""
        if sys.platform == "win32":
            return self._channel.recv(_RECEIVE_BYTES)
        data, descriptors, _, _ = socket.recv_fds(self._channel, _RECEIVE_BYTES, _DESCRIPTORS)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003  it takes no keyword
        self._received += descriptors
        return data

    def _send(self, message: Message) -> None:
        try:
            self._channel.sendall(encode(message))
        except OSError:
            self.stop()

    def _answer(self, request: Message) -> Message | None:
        """None if the answer comes later."""
        match request["op"]:
            case "prepare":
                self._servers.prepare(request)
                return None
            case "forget":
                self._servers.end("it was given up")
            case "start":
                return self._start(request)
            case "signal":
                return {"delivered": self._tree.signal(request["signum"])}
            case "expect_end":
                self._tree.expect_end()
            case "kill_tree":
                return self._kill_tree(request["deadline_s"])
            case unknown:
                return {"error": f"unknown request {unknown!r}"}
        return {}

    def _kill_tree(self, deadline_s: float) -> Message:
        left = self._tree.kill(deadline_s, self._report_exit)
        if not left:
            self._is_taken = False
            self._let_go()
        return {"left": left, "reaped": self._tree.reaped()}

    def _let_go(self) -> None:
        """Close the descriptors and the output of a kernel whose tree is gone."""
        _close(self._held)
        self._held = []
        if self._output is not None:
            self._output.close()
            self._output = None

    def _start(self, request: Message) -> Message:
        count = request["descriptor_count"]
        descriptors, self._received = self._received[:count], self._received[count:]
        self._collect()
        if not self._is_vacant():
            _close(descriptors)
            return {"error": "the processes of an earlier kernel are still alive; kill them first"}
        try:
            pid = self._started(request, descriptors)
        except (OSError, ValueError, TypeError, ForkError) as exc:
            _close(descriptors)
            return _error(exc)
        self._is_taken = True
        self._let_go()
        self._held = descriptors
        self._output = self._tree.output
        if self._output is not None:
            self._output.follow(self._selector)
        self._scratch = request["scratch"]
        return {"pid": pid, "server_pid": self._tree.server_pid}

    def _is_vacant(self) -> bool:
        """Return whether nothing is left of an earlier kernel. Processes that a fork server has left are killed."""
        if self._tree.is_empty():
            return True
        return not self._is_taken and not self._tree.kill(_STRAY_KILL_S, lambda _: None)

    def _started(self, request: Message, descriptors: Sequence[int]) -> int:
        """Raises OSError as Popen does."""
        log_path = request["log_path"]
        if request["fork"]:
            return self._tree.adopt(
                lambda output: self._servers.fork(request, output.writer, descriptors), log_path
            )
        argv, cwd, env = request["argv"], request["cwd"], request["env"]
        return self._tree.start(
            Program(argv=argv, cwd=cwd, env=env, descriptors=descriptors), log_path
        )

    def _report_exit(self, ended: tuple[int, int]) -> None:
        pid, returncode = ended
        if self._output is not None:  # the client looks for the reason there
            self._output.drain()
        self._send({"event": "exited", "pid": pid, "returncode": returncode})


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _error(exc: OSError | ValueError | TypeError | ForkError) -> Message:
    if isinstance(exc, OSError):
        return {"error": exc.strerror or str(exc), "errno": exc.errno, "filename": exc.filename}
    if isinstance(exc, ForkError):
        return {"error": str(exc), "fork": True}
    return {"error": str(exc)}


def _open_channel(argument: str) -> socket.socket:
    """The host's end of the socket pair: a descriptor, on Windows a description on standard input."""
    if sys.platform == "win32":
        return socket.fromshare(sys.stdin.buffer.read())
    os.set_inheritable(int(argument), False)  # noqa: FBT003  it takes no keyword
    return socket.socket(fileno=int(argument))


def _open_tree() -> ProcessTree:
    if sys.platform == "win32":
        from pytest_nbgroups.kernel_host.windows_tree import WindowsTree

        return WindowsTree()
    from pytest_nbgroups.kernel_host.posix_tree import PosixTree

    return PosixTree()


def main() -> None:
    channel, parent_pid = _open_channel(sys.argv[1]), int(sys.argv[2])
    os.chdir(os.path.abspath(os.sep))  # noqa: PTH100  keep no directory of the user's in use
    with channel:
        Host(channel, parent_pid, _open_tree()).serve()


if __name__ == "__main__":
    main()
