"""Keeps the process from which kernels are forked, for the kernel host; see `fork_server`. Linux only."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.surroundings import Surroundings, read_at_start
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode

_PROGRAM = Path(__file__).with_name("fork_server.py")
_ANSWER_S = 3.0
"""A fork takes milliseconds. The kernel host does nothing else meanwhile, and Ctrl-C has to end pytest in time."""
_RECEIVE_BYTES = 65536
_KIND = ("interpreter", "modules", "env", "cwd")
"""Fields of a request that tell which server it needs."""


class ForkError(Exception):
    """No kernel could be forked; it can still be started."""


class ServerOwner(Protocol):
    """Holds the server as a process that is no kernel's."""

    def start_server(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        channel: int,
        output: KernelOutput,
    ) -> None: ...
    def end_server(self) -> None: ...


@dataclass(kw_only=True)
class _Server:
    kind: Message
    channel: socket.socket
    output: KernelOutput | None
    """What it writes while it imports; None once that is over."""
    surroundings: Surroundings = field(default_factory=Surroundings)
    is_ready: bool = False
    waiting: list[int] = field(default_factory=list)
    """Requests that are answered when it is ready or has failed."""
    lines: LineBuffer = field(default_factory=LineBuffer)
    importing: str | None = None
    """The module that it imports."""

    def received(self) -> list[Message]:
        """One message at least. Raises OSError at its end, and if it is silent for too long."""
        messages: list[Message] = []
        while not messages:
            if not (data := self.channel.recv(_RECEIVE_BYTES)):
                raise ConnectionResetError("it has ended")
            messages += self.lines.feed(data)
        return messages


class ForkServers:
    """Keeps one server, of the kind that was asked for last."""

    def __init__(
        self,
        owner: ServerOwner,
        selector: selectors.BaseSelector,
        answer: Callable[[Message], None],
    ) -> None:
        self._owner = owner
        self._selector = selector
        self._answer = answer
        self._server: _Server | None = None

    def prepare(self, request: Message) -> None:
        """Answer once a server of this kind is ready, ``obstacle`` being what is in the way."""
        kind = {name: request[name] for name in _KIND}
        server = self._server
        if server is None or server.kind != kind or server.surroundings.changed():
            self.end("another one is needed")
            try:
                server = self._server = self._started(kind, request["log_path"])
            except OSError as exc:
                self._answer({"id": request["id"], "obstacle": f"it cannot be started: {exc}"})
                return
        server.waiting.append(request["id"])
        if server.is_ready:
            self._tell(server, None)

    def fork(self, request: Message, output: int, descriptors: Sequence[int]) -> int:
        """The pid of a kernel, a child of this process. Raises OSError as Popen does, ForkError."""
        server = self._server
        if server is None or not server.is_ready:
            raise ForkError("the process that kernels are forked from has ended")
        if entry := server.surroundings.hidden_by(request["cwd"]):
            raise ForkError(
                f"{entry} in its directory has the name of a module that is imported already"
            )
        env = _changes(server, request["env"])
        message = encode({**request["fork"], "cwd": request["cwd"], "env": env})
        try:
            sent = socket.send_fds(server.channel, [message], [output, *descriptors])
            server.channel.sendall(message[sent:])
            (answer,) = server.received()
        except OSError as exc:
            self.end("it does not answer")
            raise ForkError(f"the process that kernels are forked from is lost: {exc}") from exc
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"], answer["filename"])
        pid: int = answer["pid"]
        return pid

    def end(self, reason: str) -> None:
        """End the server; waiting calls get the reason."""
        server, self._server = self._server, None
        if server is None:
            return
        self._selector.unregister(server.channel)
        self._close_output(server)
        server.channel.close()
        self._owner.end_server()
        self._tell(server, reason)

    def _started(self, kind: Message, log_path: str) -> _Server:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            output = KernelOutput(log_path)
            unless_started.callback(output.close)
            self._owner.start_server(
                [*kind["interpreter"], str(_PROGRAM), str(theirs.fileno()), *kind["modules"]],
                cwd=kind["cwd"],
                env=kind["env"],
                channel=theirs.fileno(),
                output=output,
            )
            unless_started.pop_all()
        ours.settimeout(_ANSWER_S)
        server = _Server(kind=kind, channel=ours, output=output)
        self._selector.register(ours, selectors.EVENT_READ, partial(self._hear, server))
        self._selector.register(output, selectors.EVENT_READ, partial(self._copy_output, server))
        return server

    def _hear(self, server: _Server) -> None:
        """Take its messages that answer no request: that it is ready, or has failed, or its end."""
        if server is not self._server:  # it was ended between its word and this call
            return
        try:
            messages = server.received()
        except OSError:
            doing = f" while it imported {server.importing}" if server.importing else ""
            self.end(f"the process that kernels are forked from ended{doing}")
            return
        for message in messages:
            self._take(server, message)

    def _take(self, server: _Server, message: Message) -> None:
        if "error" in message:
            self.end(message["error"])
        elif "importing" in message:
            server.importing = message["importing"]
        elif "path" in message:
            server.surroundings.watch([*message["files"], *read_at_start(message["path"])])
        else:
            server.surroundings.watch(message["files"])
            server.surroundings.modules = message["folders"]
            server.is_ready = True
            self._close_output(server)
            self._tell(server, None)

    def _copy_output(self, server: _Server) -> None:
        if server.output is not None and not server.output.copy():
            self._close_output(server)  # nobody writes any more, but it may import for long

    def _close_output(self, server: _Server) -> None:
        if server.output is not None:
            self._selector.unregister(server.output)
            server.output.close()
            server.output = None

    def _tell(self, server: _Server, obstacle: str | None) -> None:
        while server.waiting:
            self._answer({"id": server.waiting.pop(), "obstacle": obstacle})


def _changes(server: _Server, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a kernel needs beyond its server's environment."""
    before = server.kind["env"]
    return {name: value for name, value in env.items() if before.get(name) != value}
