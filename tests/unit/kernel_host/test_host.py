from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pytest_nbgroups.kernel_host.host import Host
from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.wire import LineBuffer, Message, encode


class FakeTree:
    """A tree without processes, and what was asked of it."""

    output = None
    server_pid = None

    def __init__(self) -> None:
        self.ended: list[tuple[int, int]] = []
        self.empty = True
        self.left: list[str] = []
        self.kills = 0
        self.expects_end = False
        self.refusal: Exception | None = None

    def start(self, program: Program, log_path: str) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.started = (program, log_path)
        return 4242

    def adopt(self, spawn: Callable[[KernelOutput], int], log_path: str) -> int:
        raise NotImplementedError

    def start_server(self, program: Program, output: KernelOutput) -> None:
        raise NotImplementedError

    def end_server(self) -> None:
        raise NotImplementedError

    def reap(self) -> tuple[int, int] | None:
        return self.ended.pop() if self.ended else None

    def reaped(self) -> Mapping[str, float]:
        return {"cpu_s": 1.5, "peak_bytes": 7}

    def is_empty(self) -> bool:
        return self.empty

    def signal(self, signum: int) -> bool:
        return signum == 2

    def expect_end(self) -> None:
        self.expects_end = True

    def kill(
        self,
        deadline_s: float,  # noqa: ARG002
        on_reaped: Callable[[tuple[int, int]], None],
    ) -> list[str]:
        self.kills += 1
        if (ended := self.reap()) is not None:
            on_reaped(ended)
        return self.left


@pytest.fixture
def tree() -> FakeTree:
    return FakeTree()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        yield ours, theirs


@pytest.fixture
def host(ends: tuple[socket.socket, socket.socket], tree: FakeTree) -> Host:
    return Host(ends[1], parent_pid=1, tree=tree)


@pytest.fixture
def ask(
    host: Host, ends: tuple[socket.socket, socket.socket]
) -> Callable[[Message], list[Message]]:
    def send(request: Message) -> list[Message]:
        ends[0].sendall(encode(request))
        host._read()
        return list(LineBuffer().feed(ends[0].recv(65536)))

    return send


START = {
    "op": "start",
    "fork": None,
    "argv": ["a"],
    "cwd": "/",
    "env": {"A": "1"},
    "log_path": "l",
    "scratch": None,
    "descriptor_count": 0,
}


def test_start_is_answered_with_the_pid(
    ask: Callable[[Message], list[Message]], tree: FakeTree
) -> None:
    """An answer repeats the id of its request."""
    assert ask({"id": 7, **START}) == [{"id": 7, "pid": 4242, "server_pid": None}]
    assert tree.started == (Program(argv=["a"], cwd="/", env={"A": "1"}, descriptors=[]), "l")


def test_a_refusal_of_the_system_is_told_with_its_number(
    ask: Callable[[Message], list[Message]], tree: FakeTree
) -> None:
    """The client can raise the same OSError again."""
    tree.refusal = FileNotFoundError(2, "No such file or directory", "a")
    assert ask({"id": 1, **START}) == [
        {"id": 1, "error": "No such file or directory", "errno": 2, "filename": "a"}
    ]


def test_start_is_refused_while_a_tree_lives(
    ask: Callable[[Message], list[Message]], tree: FakeTree
) -> None:
    """One kernel at a time, its children included."""
    ask({"id": 1, **START})
    tree.empty = False
    (answer,) = ask({"id": 2, **START})
    assert "still alive" in answer["error"]
    assert tree.kills == 0


def test_what_no_kernel_has_started_is_killed(
    ask: Callable[[Message], list[Message]], tree: FakeTree
) -> None:
    """A fork server has left it behind; only where that fails is a kernel refused."""
    ask({"id": 1, **START})
    ask({"id": 2, "op": "kill_tree", "deadline_s": 1})
    tree.empty, tree.left = False, ["x (pid 5, uninterruptible)"]
    (answer,) = ask({"id": 3, **START})
    assert "still alive" in answer["error"]
    tree.left = []
    (answer,) = ask({"id": 4, **START})
    assert answer["pid"] == 4242
    assert tree.kills == 3


def test_the_exit_is_told_before_the_end_of_the_tree(
    ask: Callable[[Message], list[Message]], tree: FakeTree
) -> None:
    """Who awaits the kill then finds the exit known."""
    tree.ended, tree.left = [(4242, -9)], ["x (pid 5, uninterruptible)"]
    assert ask({"id": 2, "op": "kill_tree", "deadline_s": 1}) == [
        {"event": "exited", "pid": 4242, "returncode": -9},
        {
            "id": 2,
            "left": ["x (pid 5, uninterruptible)"],
            "reaped": {"cpu_s": 1.5, "peak_bytes": 7},
        },
    ]


@pytest.mark.skipif(os.name != "posix", reason="descriptors travel on POSIX only")
def test_descriptors_are_kept_until_the_tree_is_gone(
    host: Host, ends: tuple[socket.socket, socket.socket], tree: FakeTree, tmp_path: Path
) -> None:
    """They come with their request, go on to the kernel, and are closed with the last of its tree."""
    with (tmp_path / "lease").open("wb") as lease:
        request = encode({"id": 1, **START, "descriptor_count": 1})
        socket.send_fds(ends[0], [request], [lease.fileno()])
        host._read()
        (kept,) = tree.started[0].descriptors
        assert os.path.sameopenfile(kept, lease.fileno())
        assert kept != lease.fileno()
        assert not os.get_inheritable(kept)
    tree.left = ["x"]
    host._answer({"op": "kill_tree", "deadline_s": 1})
    os.fstat(kept)
    tree.left = []
    host._answer({"op": "kill_tree", "deadline_s": 1})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)


@pytest.mark.skipif(os.name != "posix", reason="descriptors travel on POSIX only")
def test_descriptors_of_a_refused_start_are_closed(
    host: Host, ends: tuple[socket.socket, socket.socket], tree: FakeTree, tmp_path: Path
) -> None:
    """Nobody would ever close them, and the lease would be held for ever."""
    tree.refusal = FileNotFoundError(2, "No such file or directory", "a")
    gc.collect()  # not to have descriptors of earlier tests closed meanwhile
    before = len(list(Path("/dev/fd").iterdir()))
    with (tmp_path / "lease").open("wb") as lease:
        request = encode({"id": 1, **START, "descriptor_count": 1})
        socket.send_fds(ends[0], [request], [lease.fileno()])
        host._read()
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no path tells what is open")
def test_descriptors_find_their_request(
    host: Host, ends: tuple[socket.socket, socket.socket], tree: FakeTree, tmp_path: Path
) -> None:
    """They may arrive with what was sent before them, and before the end of their request."""
    with (tmp_path / "one").open("wb") as one, (tmp_path / "other").open("wb") as other:
        first = encode({"id": 1, **START, "descriptor_count": 1})
        second = encode({"id": 3, **START, "descriptor_count": 1})
        ends[0].sendall(encode({"id": 0, "op": "signal", "signum": 2}))
        socket.send_fds(ends[0], [first], [one.fileno()])
        ends[0].sendall(encode({"id": 2, **START}))
        socket.send_fds(ends[0], [second[:5]], [other.fileno()])
        ends[0].sendall(second[5:])
        inherited: list[list[str]] = []
        start = tree.start

        def note(program: Program, log_path: str) -> int:
            paths = [f"/dev/fd/{descriptor}" for descriptor in program.descriptors]
            inherited.append([Path(path).readlink().name for path in paths])
            return start(program, log_path)

        tree.start = note  # type: ignore[method-assign]
        while len(inherited) < 3:
            host._read()
    assert inherited == [["one"], [], ["other"]]
    host._let_go()


def test_a_signal_says_whether_it_was_delivered(
    ask: Callable[[Message], list[Message]],
) -> None:
    """A kernel that has ended is no error."""
    assert ask({"id": 3, "op": "signal", "signum": 2}) == [{"id": 3, "delivered": True}]
    assert ask({"id": 4, "op": "signal", "signum": 9}) == [{"id": 4, "delivered": False}]


def test_an_unknown_request_is_named(ask: Callable[[Message], list[Message]]) -> None:
    """A newer client is told, not left waiting."""
    assert ask({"id": 5, "op": "dance"}) == [{"id": 5, "error": "unknown request 'dance'"}]


def test_the_end_of_file_ends_the_host(
    host: Host, ends: tuple[socket.socket, socket.socket]
) -> None:
    """No one is left to answer to."""
    ends[0].close()
    host._read()
    assert not host._serving
