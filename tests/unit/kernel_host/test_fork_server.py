"""The process that kernels are forked from, in pieces and without a fork."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_nbgroups.kernel_host import fork_servers

if sys.platform != "linux":
    pytest.skip("kernels are forked only on Linux", allow_module_level=True)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file that is run, as a module."""
    monkeypatch.setattr(sys, "path", ["the folder of a program", *sys.path])
    spec = importlib.util.spec_from_file_location("fork_server", fork_servers._PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.settimeout(5)
        yield ours, theirs


class ProcessEndError(Exception):
    """In the place of the process's end."""


def test_descriptors_are_closed_before_the_answer(
    program: ModuleType,
    ends: tuple[socket.socket, socket.socket],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is stopped from then on, or slow, holds no lease."""
    seen: list[set[str]] = []

    def fork(request: Mapping[str, Any]) -> bytes:
        assert request == {"cwd": "/"}
        seen.append(open_files(tmp_path))
        return b"{}\n"

    class Channel(socket.socket):
        def sendall(self, data: Any, flags: int = 0, /) -> None:
            seen.append(open_files(tmp_path))
            super().sendall(data, flags)

    monkeypatch.setattr(program, "fork", fork)
    with (tmp_path / "lease").open("wb") as file:
        socket.send_fds(ends[0], [b'{"cw'], [file.fileno()])
    ends[0].sendall(b'd": "/"}\n')
    ends[0].shutdown(socket.SHUT_WR)
    with Channel(fileno=ends[1].detach()) as channel:
        assert program.serve(channel, 1) is None
    assert seen == [{"lease"}, set()]
    assert ends[0].recv(100) == b"{}\n"


def open_files(folder: Path) -> set[str]:
    paths = [Path(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]  # noqa: PTH208
    found = [path.readlink() for path in paths if path.is_symlink()]
    return {path.name for path in found if path.parent == folder}


@pytest.mark.parametrize(
    ("parents", "waits"),
    [([7], 0), ([5, 5, 7], 1), ([1], 5), ([5, 1], 0), ([5, 5, 1], 1)],
    ids=["at once", "soon", "an end before", "an end", "a late end"],
)
def test_a_kernel_waits_for_its_host(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, parents: list[int], waits: int
) -> None:
    """Host 7 becomes its parent when process 5 has ended, else process 1, and the kernel ends without waiting."""
    slept: list[float] = []
    options: list[tuple[int, ...]] = []
    is_adopted = parents[-1] == 7

    def parent() -> int:
        return parents.pop(0) if len(parents) > 1 else parents[0]

    def end(code: int) -> None:
        raise ProcessEndError(code)

    libc = SimpleNamespace(prctl=lambda *arguments: options.append(arguments))
    monkeypatch.setattr(program, "os", SimpleNamespace(getppid=parent, _exit=end))
    monkeypatch.setattr(
        program, "time", SimpleNamespace(monotonic=lambda: len(slept), sleep=slept.append)
    )
    monkeypatch.setattr(program, "ctypes", SimpleNamespace(CDLL=lambda _: libc))
    with nullcontext() if is_adopted else pytest.raises(ProcessEndError):
        program._be_adopted(7)
    assert len(slept) == waits
    assert options == [(1, signal.SIGKILL, 0, 0, 0)]
