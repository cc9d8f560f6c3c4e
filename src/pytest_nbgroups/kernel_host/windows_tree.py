"""A kernel and everything that it starts, as the kernel host sees them on Windows.

There are no process groups to signal and no orphans to adopt: a process whose parent has ended before the kill is
out of reach.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from pytest_nbgroups.kernel_host.descendants import descendants, describe
from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.tidying import Farewell

_PAUSE_S = 0.02

if sys.platform == "win32":

    class WindowsTree:
        """Starts one kernel at a time, sees it end, kills what is below it."""

        output = None
        server_pid = None

        def __init__(self) -> None:
            self._kernel: subprocess.Popen[bytes] | None = None
            self._is_reported = True
            self._interrupt_event = 0

        def start(self, program: Program, log_path: str) -> int:
            """Start the kernel as jupyter_client does, with an event for interrupts; give its pid."""
            assert not program.descriptors  # noqa: S101  a lock is its process's alone
            from _winapi import DUPLICATE_SAME_ACCESS, DuplicateHandle, GetCurrentProcess

            from jupyter_client.win_interrupt import create_interrupt_event

            self._interrupt_event = create_interrupt_event()
            me = GetCurrentProcess()
            parent = DuplicateHandle(me, me, me, 0, True, DUPLICATE_SAME_ACCESS)  # noqa: FBT003
            variables = {
                "JPY_INTERRUPT_EVENT": str(self._interrupt_event),
                "IPY_INTERRUPT_EVENT": str(self._interrupt_event),
                "JPY_PARENT_PID": str(int(parent)),
            }
            with Path(log_path).open("ab", buffering=0) as log:
                self._kernel = subprocess.Popen(  # noqa: S603
                    program.argv,
                    cwd=program.cwd,
                    env={**program.env, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    close_fds=False,  # the two handles above are inherited
                )
            self._is_reported = False
            return self._kernel.pid

        def adopt(self, spawn: Callable[[KernelOutput], int], log_path: str) -> int:
            """Windows has no fork."""
            raise NotImplementedError

        def start_server(self, program: Program, output: KernelOutput) -> None:
            """Windows has no fork."""
            raise NotImplementedError

        def end_server(self) -> None:
            """There is none."""

        def reap(self) -> tuple[int, int] | None:
            """Give pid and exit code, once, when the kernel has ended."""
            if self._is_reported or self._kernel is None or (code := self._kernel.poll()) is None:
                return None
            self._is_reported = True
            return self._kernel.pid, code

        def reaped(self) -> Mapping[str, float | None] | None:
            """Windows does not report the usage of processes that have ended."""
            return None

        def is_empty(self) -> bool:
            return self._is_reported and not descendants(os.getpid())

        def signal(self, signum: int) -> bool:
            """Interrupt through the event; every other signal ends the kernel."""
            if self._kernel is None or self._kernel.poll() is not None:
                return False
            if signum == signal.SIGINT:
                from jupyter_client.win_interrupt import send_interrupt

                send_interrupt(self._interrupt_event)
            else:
                self._kernel.terminate()
            return True

        def expect_end(self) -> None:
            """Nothing is looked at."""

        def kill(
            self, deadline_s: float, on_reaped: Callable[[tuple[int, int]], None]
        ) -> list[str]:
            """Kill until nothing is left; describe what is left after the deadline."""
            end = time.monotonic() + deadline_s
            farewell = Farewell(before=None, deadline_s=deadline_s)
            while True:
                if (ended := self.reap()) is not None:
                    on_reaped(ended)
                if self.is_empty():
                    return []
                if time.monotonic() > end:
                    return [describe(pid) for pid in descendants(os.getpid())]
                members = descendants(os.getpid())
                trackers, _ = farewell.spared(members)
                _kill_each({*members} - trackers)
                time.sleep(_PAUSE_S)

    def _kill_each(pids: Collection[int]) -> None:
        import psutil

        for pid in pids:
            try:
                psutil.Process(pid).kill()
            except psutil.Error:
                continue
