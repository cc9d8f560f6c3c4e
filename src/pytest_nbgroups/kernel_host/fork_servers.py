"""The fork server of a kernel host: kept, replaced and asked for kernels; see `fork_server`. Linux only."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.surroundings import Surroundings, read_at_start
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode

_PROGRAM = Path(__file__).with_name("fork_server.py")
_ANSWER_S = 3.0
"""A fork takes milliseconds. The kernel host does nothing else meanwhile, and Ctrl-C has to end pytest in time."""
_RECEIVE_BYTES = 65536
_KIND = ("interpreter", "modules", "env", "cwd")
"""Fields of a request that decide which server it needs."""


class ForkError(Exception):
    """No kernel could be forked; it can still be started plainly."""


class ServerOwner(Protocol):
    """Holds the server as a process that is no kernel's."""

    def start_server(self, program: Program, output: KernelOutput) -> None: ...
    def end_server(self) -> None: ...


@dataclass(kw_only=True)
class _Server:
    kind: Message
    channel: socket.socket
    output: KernelOutput
    """All that it writes while it imports."""
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
        """Answer once a server of this kind is ready, or with the ``obstacle``."""
        kind = {name: request[name] for name in _KIND}
        server = self._server
        if server is None or server.kind != kind or server.surroundings.changed():
            self.end("another fork server is needed")
            try:
                server = self._server = self._started(kind, request["log_path"])
            except OSError as exc:
                self._answer(
                    {"id": request["id"], "obstacle": f"the fork server cannot be started: {exc}"}
                )
                return
        server.waiting.append(request["id"])
        if server.is_ready:
            self._answer_all(server, None)

    def fork(self, request: Message, output: int, descriptors: Sequence[int]) -> int:
        """Return the pid of a kernel, a child of this process. Raises OSError as Popen does, ForkError."""
        server = self._server
        if server is None or not server.is_ready:
            raise ForkError("the fork server has ended")
        if entry := server.surroundings.hidden_by(request["cwd"]):
            raise ForkError(
                f"{entry} in its directory has the name of a module that is imported already"
            )
        started_with = server.kind["env"]
        env = {n: text for n, text in request["env"].items() if started_with.get(n) != text}
        message = encode({**request["fork"], "cwd": request["cwd"], "env": env})
        try:
            # The descriptors go with the first byte, so they are there before the request is whole.
            sent = socket.send_fds(server.channel, [message], [output, *descriptors])
            server.channel.sendall(message[sent:])
            (answer,) = server.received()
        except OSError as exc:
            # Ended, so that a late answer is not taken for that to the next request.
            self.end("the fork server does not answer")
            raise ForkError(f"the fork server is lost: {exc}") from exc
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
        server.output.close()
        server.channel.close()
        self._owner.end_server()
        self._answer_all(server, reason)

    def _started(self, kind: Message, log_path: str) -> _Server:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            output = KernelOutput(log_path)
            unless_started.callback(output.close)
            channel = theirs.fileno()
            argv = [*kind["interpreter"], str(_PROGRAM), str(channel), *kind["modules"]]
            program = Program(argv=argv, cwd=kind["cwd"], env=kind["env"], descriptors=[channel])
            self._owner.start_server(program, output)
            unless_started.pop_all()
        ours.settimeout(_ANSWER_S)
        server = _Server(kind=kind, channel=ours, output=output)
        self._selector.register(ours, selectors.EVENT_READ, partial(self._hear, server))
        output.follow(self._selector)
        return server

    def _hear(self, server: _Server) -> None:
        """Take the messages that answer no request: it is ready, has failed or has ended."""
        if server is not self._server:  # an event that was selected with this one ended it
            return
        try:
            messages = server.received()
        except OSError:
            # A crash in compiled code leaves no error: the module is all that can be named.
            doing = f" while it imported {server.importing}" if server.importing else ""
            self.end(f"the fork server ended{doing}")
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
            server.output.close()
            self._answer_all(server, None)

    def _answer_all(self, server: _Server, obstacle: str | None) -> None:
        while server.waiting:
            self._answer({"id": server.waiting.pop(), "obstacle": obstacle})
