"""The kernel host as its pytest process sees it: start, signal and kill, awaitable from any event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.kernel_host.connection import HostConnection, KernelProcess
from pytest_nbgroups.kernel_host.warm_start import Command, ForkReadiness, Wanted, WarmStarts
from pytest_nbgroups.kernel_host.wire import Message

__all__ = ["KernelHost", "KernelProcess"]

_KILL_S = 10.0
_ANSWER_MARGIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """Usage of a process tree until its end, as the operating system counted it."""

    cpu_s: float
    peak_bytes: int
    """Of the largest single process."""
    cpu_limit_s: float | None = None
    """The limit on CPU time that the kernel had used up when SIGKILL ended it."""


class KernelHost:
    """Holds the kernel host of this process; starts it when the first kernel is asked for.

    One kernel at a time. The methods may be called from any thread. If the host ends unexpectedly, the calls under way
    raise KernelHostError, and the next ``start`` brings up another host.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: HostConnection | None = None
        self._warm_starts = WarmStarts()
        self._owner_pid = os.getpid()
        self.reaped: Reaped | None = None
        """Usage of the last kernel's tree; None if the platform does not report it."""

    @property
    def pid(self) -> int | None:
        """The host's own process, None while there is none."""
        return self._connection.process.pid if self._connection else None

    async def start(  # noqa: PLR0913  each is a fact of its own
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log_path: Path | None,
        scratch: Path | None = None,
        descriptors: Sequence[int] = (),
        fork: Command | None = None,
    ) -> KernelProcess:
        """Start a kernel with exactly this environment, its output appended to ``log_path`` if given.

        With ``fork`` it is forked from the server that was prepared. The host removes the folder ``scratch`` if this
        process is killed. The kernel inherits ``descriptors``, and the host keeps them open until the whole tree is
        gone; not on Windows. Raises OSError if the operating system refuses, NotForkedError if there is no server,
        KernelHostError if an earlier kernel's processes are still alive.
        """
        self.reaped = None
        inherited = () if sys.platform == "win32" else descriptors
        request = self._connected().request(
            "start",
            descriptors=inherited,
            descriptor_count=len(inherited),
            argv=list(argv),
            fork=None if fork is None else {"module": fork.module, "arguments": fork.arguments},
            cwd=str(cwd),
            env=dict(env),
            log_path=str(log_path or os.devnull),
            scratch=str(scratch) if scratch else None,
        )
        process: KernelProcess = (await asyncio.wrap_future(request))["process"]
        return process

    async def prepare(self, wanted: Wanted, *, timeout_s: float | None) -> ForkReadiness:
        """Have a server ready from which such a kernel can be forked, or return the obstacle.

        Raises TimeoutError if that takes longer than ``timeout_s``, KernelHostError.
        """
        return await self._warm_starts.prepare(self._connected(), wanted, timeout_s)

    async def signal(self, signum: int) -> bool:
        """Signal the kernel's process group; False if the kernel has ended. Raises KernelHostError."""
        if self._connection is None:
            return False
        request = self._connection.request("signal", signum=int(signum))
        return bool((await _answered(self._connection, request, _ANSWER_MARGIN_S))["delivered"])

    async def expect_end(self) -> None:
        """Let the host look at the kernel's processes before the kernel is asked to end. Raises KernelHostError."""
        if self._connection is not None:
            request = self._connection.request("expect_end")
            await _answered(self._connection, request, _ANSWER_MARGIN_S)

    async def kill_tree(self) -> tuple[str, ...]:
        """Kill the kernel and everything that it has started, and wait until all of it is gone.

        Returns descriptions of processes that are left after 10 s. Raises KernelHostError.
        """
        if self._connection is None:
            return ()
        request = self._connection.request("kill_tree", deadline_s=_KILL_S)
        answer = await _answered(self._connection, request, _KILL_S + _ANSWER_MARGIN_S)
        self.reaped = Reaped(**answer["reaped"]) if answer["reaped"] else None
        return tuple(answer["left"])

    def kill_tree_soon(self) -> None:
        """Have the tree killed, waiting for nothing. Raises KernelHostError if the host has ended."""
        if self._connection is not None:
            self._connection.request("kill_tree", deadline_s=_KILL_S)

    def close(self) -> None:
        """End the host and everything below it. May be called again."""
        # A child that was forked shares the socket: shutting it down would end the host of its parent.
        if os.getpid() != self._owner_pid:
            return
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> HostConnection:
        """Give the connection to a living host."""
        with self._lock:
            if self._connection is not None and self._connection.ended:
                self._connection.close()
                self._connection = None
            if self._connection is None:
                self._connection = HostConnection()
            return self._connection


async def _answered(
    connection: HostConnection, request: Future[Message], timeout_s: float
) -> Message:
    """Wait for an answer. Raises KernelHostError, also if the host is mute."""
    answer = asyncio.wrap_future(request)
    done, _ = await asyncio.wait({answer}, timeout=timeout_s)
    if not done:  # a kernel can stop its host with SIGSTOP, and deadlines must hold all the same
        connection.give_up()
    return await answer
