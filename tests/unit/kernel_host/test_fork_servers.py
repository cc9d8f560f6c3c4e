"""Which server the kernel host keeps to fork kernels from, and what it tells of it: without a process."""

from __future__ import annotations

import gc
import os
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("descriptors travel on POSIX only", allow_module_level=True)

from pytest_nbgroups.kernel_host import fork_servers
from pytest_nbgroups.kernel_host.fork_servers import ForkError, ForkServers
from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode

READY: Message = {"files": [], "folders": {}}


class FakeServer:
    """The other end of the socket, and of the pipe that a server writes its output to."""

    def __init__(self, channel: int, output: KernelOutput) -> None:
        self.channel = socket.socket(fileno=os.dup(channel))
        self.channel.settimeout(5)
        self.output = os.fdopen(os.dup(output.writer), "wb", buffering=0)

    def say(self, *messages: Message) -> None:
        """All at once."""
        self.channel.sendall(b"".join(map(encode, messages)))

    def heard(self) -> tuple[Message, list[int]]:
        """The next request, and the descriptors that came with it."""
        data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 16)
        (message,) = LineBuffer().feed(data)
        return message, descriptors

    def is_let_go(self) -> bool:
        """Whether the host has closed its end."""
        return self.channel.recv(1) == b""

    def close(self) -> None:
        self.channel.close()
        self.output.close()


class FakeOwner:
    """Starts servers that are but their ends of what they are given."""

    def __init__(self) -> None:
        self.servers: list[FakeServer] = []
        self.programs: list[Program] = []
        self.ended = 0
        self.refusal: OSError | None = None

    @property
    def server(self) -> FakeServer:
        return self.servers[-1]

    def start_server(self, program: Program, output: KernelOutput) -> None:
        try:
            if self.refusal is not None:
                raise self.refusal
            self.programs.append(program)
            (channel,) = program.descriptors
            self.servers.append(FakeServer(channel, output))
        finally:
            output.close_writer()

    def end_server(self) -> None:
        self.ended += 1


class Stage:
    """The servers of one host, and what was answered."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.owner = FakeOwner()
        self.selector = selectors.DefaultSelector()
        self.answers: list[Message] = []
        self.servers = ForkServers(self.owner, self.selector, self.answers.append)

    def prepare(self, number: int, **changes: Any) -> None:
        request = {
            "interpreter": ["python", "-O"],
            "modules": [],
            "env": {"A": "1", "B": "2"},
            "cwd": "/",
            "log_path": str(self.log),
        }
        self.servers.prepare({"id": number, **request, **changes})

    def prepared(self) -> FakeServer:
        """A server that has said that it is ready."""
        self.prepare(1)
        self.owner.server.say(READY)
        self.turn()
        self.answers.clear()
        return self.owner.server

    def turn(self) -> None:
        """What the host's loop does once."""
        for act in self.events():
            act()

    def events(self) -> list[Callable[[], None]]:
        return [key.data for key, _ in self.selector.select(0)]

    def fork(self, output: int, **changes: Any) -> int:
        request = {
            "fork": {"module": "ipykernel_launcher", "arguments": ["-f", "x"]},
            "cwd": "/tmp",  # noqa: S108  nothing is written there
            "env": {"A": "1", "B": "2"},
        }
        return self.servers.fork({**request, **changes}, output, [])

    def close(self) -> None:
        self.servers.end("the test is over")
        assert not self.selector.get_map()
        self.selector.close()
        for server in self.owner.servers:
            server.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def output() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def obstacles(stage: Stage) -> list[tuple[int, str | None]]:
    return [(answer["id"], answer["obstacle"]) for answer in stage.answers]


def count_descriptors() -> int:
    gc.collect()  # not to have those of earlier tests closed meanwhile
    return len(list(Path("/dev/fd").iterdir()))


def test_a_request_waits_for_its_server(stage: Stage) -> None:
    """It is started with its flags, modules, directory and environment, and answers once it is ready."""
    stage.prepare(1, modules=["wave"])
    (program,) = stage.owner.programs
    assert [*program.argv[:2], *program.argv[4:]] == ["python", "-O", "wave"]
    assert Path(program.argv[2]).name == "fork_server.py"
    assert (program.cwd, program.env) == ("/", {"A": "1", "B": "2"})
    stage.turn()
    stage.owner.server.say({"importing": "wave"})
    stage.turn()
    assert stage.answers == []
    stage.owner.server.say(READY)
    stage.turn()
    assert obstacles(stage) == [(1, None)]


def test_one_that_is_ready_serves_the_next_request(stage: Stage) -> None:
    """At once, whatever the log of that notebook is."""
    stage.prepared()
    stage.prepare(2, log_path="/nowhere/log")
    assert obstacles(stage) == [(2, None)]
    assert len(stage.owner.servers) == 1


def test_requests_that_wait_for_the_same(stage: Stage) -> None:
    """Are all answered: the first may have been given up at a deadline."""
    stage.prepare(1)
    stage.prepare(2)
    assert len(stage.owner.servers) == 1
    stage.owner.server.say(READY)
    stage.turn()
    assert sorted(obstacles(stage)) == [(1, None), (2, None)]


@pytest.mark.parametrize(
    "change",
    [
        {"interpreter": ["python"]},
        {"modules": ["wave"]},
        {"env": {"A": "2", "B": "2"}},
        {"cwd": "/tmp"},  # noqa: S108  nothing is written there
    ],
    ids=lambda change: str(*change),
)
def test_another_kind_replaces_it(stage: Stage, change: dict[str, Any]) -> None:
    """Whether it is ready or not; what it still says is not taken for the new one's word."""
    stage.prepare(1)
    stage.prepare(2, **change)
    first, second = stage.owner.servers
    assert first.is_let_go()
    assert stage.owner.ended == 1
    assert obstacles(stage) == [(1, "another fork server is needed")]
    second.say(READY)
    stage.turn()
    assert obstacles(stage)[1:] == [(2, None)]


def test_one_that_has_read_what_has_changed(stage: Stage, tmp_path: Path) -> None:
    """Is replaced; Python reads .pth files and sitecustomize at its start, modules when it imports them."""
    module, custom = tmp_path / "mine.py", tmp_path / "sitecustomize.py"
    module.touch()
    stage.prepare(1)
    stage.owner.server.say({"path": [str(tmp_path)], "files": []})
    stage.owner.server.say({"files": [str(module)], "folders": {}})
    stage.turn()
    stage.prepare(2)
    assert len(stage.owner.servers) == 1
    module.write_text("changed")
    stage.prepare(3)
    assert len(stage.owner.servers) == 2
    stage.owner.server.say({"path": [str(tmp_path)], "files": []})
    stage.turn()
    custom.touch()
    stage.prepare(4)
    assert len(stage.owner.servers) == 3


def test_a_directory_with_a_module_that_is_imported_already(
    stage: Stage, output: int, tmp_path: Path
) -> None:
    """Is for a plain start, which would import that one; the server serves other directories."""
    stage.prepare(1)
    server = stage.owner.server
    server.say({"files": [], "folders": {"types": "/usr/lib/python"}})
    stage.turn()
    (tmp_path / "types.py").touch()
    with pytest.raises(ForkError, match=r"^types\.py in its directory has the name of a module"):
        stage.fork(output, cwd=str(tmp_path))
    server.say({"pid": 4242})
    assert stage.fork(output, cwd=str(tmp_path.parent)) == 4242


def test_events_of_a_server_that_was_ended_meanwhile(stage: Stage) -> None:
    """They were selected together with the request that ended it."""
    stage.prepare(1)
    first = stage.owner.server
    first.output.write(b"late")
    first.say({"error": "late"})
    events = stage.events()
    assert len(events) == 2
    stage.prepare(2, modules=["wave"])
    for act in events:
        act()
    assert obstacles(stage) == [(1, "another fork server is needed")]
    assert stage.log.read_bytes() == b"late"


def test_two_messages_in_one_read(stage: Stage) -> None:
    """None of them is lost, whichever piece ends where."""
    stage.prepare(1, modules=["wave", "json"])
    data = encode({"importing": "wave"}) + encode({"importing": "json"})
    stage.owner.server.channel.sendall(data[:-3])
    stage.turn()
    stage.owner.server.channel.sendall(data[-3:])
    stage.turn()
    stage.owner.server.channel.close()
    stage.turn()
    ended = "the fork server ended while it imported json"
    assert obstacles(stage) == [(1, ended)]


def test_a_failure_and_what_comes_after_it(stage: Stage) -> None:
    """The failure is told; the end of file that follows means nothing any more."""
    stage.prepare(1)
    stage.owner.server.say({"importing": "wave"}, {"error": "cannot import 'wave'"})
    stage.owner.server.channel.close()
    stage.turn()
    stage.turn()
    assert obstacles(stage) == [(1, "cannot import 'wave'")]
    assert stage.owner.ended == 1


def test_a_server_that_ends_once_it_is_ready(stage: Stage, output: int) -> None:
    """Nobody waits, so nobody is told; the next request has another."""
    stage.prepared().channel.close()
    stage.turn()
    assert stage.answers == []
    with pytest.raises(ForkError, match="has ended"):
        stage.fork(output)
    stage.prepare(2)
    assert len(stage.owner.servers) == 2


def test_whoever_waits_when_it_is_ended(stage: Stage) -> None:
    """Is told why, and nothing is left open."""
    stage.prepare(1)
    stage.servers.end("it was given up")
    assert obstacles(stage) == [(1, "it was given up")]
    assert not stage.selector.get_map()
    stage.servers.end("again")
    assert stage.owner.ended == 1


def test_a_server_that_cannot_be_started(stage: Stage) -> None:
    """Is an obstacle; nothing of the attempt stays open."""
    stage.owner.refusal = PermissionError(13, "Permission denied", "python")
    before = count_descriptors()
    stage.prepare(1)
    assert count_descriptors() == before
    refused = "the fork server cannot be started: [Errno 13] Permission denied: 'python'"
    assert obstacles(stage) == [(1, refused)]


def test_a_log_that_cannot_be_opened(stage: Stage) -> None:
    """Is an obstacle as well; nothing of the attempt stays open."""
    before = count_descriptors()
    stage.prepare(1, log_path="/nowhere/log")
    assert count_descriptors() == before
    ((number, obstacle),) = obstacles(stage)
    assert number == 1
    assert obstacle is not None
    assert "No such file or directory: '/nowhere/log'" in obstacle


def test_output_while_it_imports(stage: Stage) -> None:
    """Goes to the log, also what came just before it was ready."""
    stage.prepare(1)
    stage.owner.server.output.write(b"one\n")
    stage.turn()
    assert stage.log.read_bytes() == b"one\n"
    stage.owner.server.output.write(b"two\n")
    stage.owner.server.say(READY)
    stage.turn()
    assert stage.log.read_bytes() == b"one\ntwo\n"
    assert len(stage.selector.get_map()) == 1


def test_a_module_that_closes_its_output(stage: Stage) -> None:
    """Costs the host no time while it goes on importing."""
    stage.prepare(1)
    stage.owner.server.output.close()
    stage.turn()
    assert stage.events() == []
    with pytest.raises(ForkError, match="has ended"):  # it is not taken for ready
        stage.fork(-1)
    stage.owner.server.say(READY)
    stage.turn()
    assert obstacles(stage) == [(1, None)]


def test_a_fork(stage: Stage, output: int) -> None:
    """The server is told what a kernel has besides its own environment, and gives the pid."""
    server = stage.prepared()
    server.say({"pid": 4242})
    assert stage.fork(output, env={"A": "1", "B": "2", "C": "3"}) == 4242
    message, (arrived,) = server.heard()
    assert message == {
        "module": "ipykernel_launcher",
        "arguments": ["-f", "x"],
        "cwd": "/tmp",  # noqa: S108  nothing is written there
        "env": {"C": "3"},
    }
    assert os.path.sameopenfile(arrived, output)
    os.close(arrived)


def test_a_fork_that_the_system_refuses(stage: Stage, output: int) -> None:
    """Is the error of a plain start; the server lives on."""
    server = stage.prepared()
    server.say({"errno": 11, "error": "Resource temporarily unavailable", "filename": None})
    with pytest.raises(BlockingIOError, match="temporarily unavailable"):
        stage.fork(output)
    server.say({"pid": 4242})
    assert stage.fork(output) == 4242


@pytest.mark.parametrize("how", ["mute", "gone", "half"])
def test_a_fork_without_an_answer(
    stage: Stage, output: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gives the server up, so that an answer that comes late is not taken for the next one's."""
    monkeypatch.setattr(fork_servers, "_ANSWER_S", 0.05)
    server = stage.prepared()
    if how == "gone":
        server.channel.close()
    if how == "half":
        server.channel.sendall(b'{"pid": 42')
    with pytest.raises(ForkError, match="is lost: "):
        stage.fork(output)
    assert stage.owner.ended == 1
    assert not stage.selector.get_map()
    with pytest.raises(ForkError, match="has ended"):
        stage.fork(output)
