"""A kernel and everything that it starts, as the kernel host sees them on POSIX.

On Linux the host is a child subreaper: whatever loses its parent becomes the host's own child, so the tree is
gone exactly when the host has no child left. Elsewhere a process that leaves the kernel's process group *and* loses
its parent before the kill is out of reach; the rest is found through the group and the parent links.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pytest_nbgroups.kernel_host.cpu_limit import used_up_cpu_limit_s
from pytest_nbgroups.kernel_host.descendants import (
    children,
    descendants,
    describe,
    group,
    lists_children,
)
from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.program import Program
from pytest_nbgroups.kernel_host.tidying import Farewell, Sighting, sighted

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
_OOM_SCORE = "/proc/self/oom_score_adj"
_OOM_SCORE_ABOVE = 500
"""As if a kernel used half of the memory more: it is ended before pytest and the kernel host are."""
_OOM_SCORE_MOST, _OOM_SCORE_BYTES = 1000, 16
_FIRST_PAUSE_S = 0.002
_SERVER_S = 1.0
_LONGEST_PAUSE_S = 0.05


@dataclass(kw_only=True)
class _Kernel:
    pid: int
    returncode: int | None = None
    cpu_limit_s: float | None = None
    """The limit on CPU time that ended it, if one did."""


class PosixTree:
    """Starts one kernel at a time, reaps processes that end, kills the whole tree.

    The server that kernels are forked from is started and ended here too, and is no part of the tree.
    """

    def __init__(self) -> None:
        self.output: KernelOutput | None = None
        """Output of the kernel that was started last; the holder of the tree copies and closes it."""
        self.server_pid: int | None = None
        self._kernel: _Kernel | None = None
        self._before_end: Sighting | None = None
        self._childless = True
        self._cpu_s, self._peak_bytes = 0.0, 0
        self._subreaper = _become_subreaper()
        self._prepare = _preparation()

    def start(self, program: Program, log_path: str) -> int:
        """Start the kernel in a session of its own; give its pid. Raises OSError as Popen does."""
        return self.adopt(partial(self._spawn, program), log_path)

    def adopt(self, spawn: Callable[[KernelOutput], int], log_path: str) -> int:
        """Take the child process that ``spawn`` starts for the kernel; give its pid.

        Raises what ``spawn`` raises, and OSError.
        """
        output = KernelOutput(log_path)
        try:
            pid = spawn(output)
        except BaseException:
            output.close()
            raise
        finally:
            output.close_writer()
        self.output = output
        self._kernel, self._before_end = _Kernel(pid=pid), None
        self._childless = False
        self._cpu_s, self._peak_bytes = 0.0, 0
        return pid

    def start_server(self, program: Program, output: KernelOutput) -> None:
        """Start the server that kernels are forked from. Raises OSError, also if kernels cannot be adopted."""
        try:
            if not (self._subreaper and lists_children()):
                raise OSError("the operating system does not report the parent of an orphan")
            self.server_pid = self._spawn(program, output)
        finally:
            output.close_writer()
        self._childless = False

    def end_server(self) -> None:
        """Kill it and wait for its end. One that does not end belongs to the tree from now on, and is reported there."""
        pid, self.server_pid = self.server_pid, None
        if pid is None:  # it has been reaped
            return
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _SERVER_S
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(_FIRST_PAUSE_S)

    def _spawn(self, program: Program, output: KernelOutput) -> int:
        process = subprocess.Popen(  # noqa: S603
            program.argv,
            cwd=program.cwd,
            # An ipykernel ends when this process is no longer its parent.
            env={**program.env, "JPY_PARENT_PID": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output.writer,
            stderr=output.writer,
            start_new_session=True,  # a process group to signal, which Ctrl-C in the terminal does not reach
            pass_fds=tuple(program.descriptors),
            preexec_fn=self._prepare,  # noqa: PLW1509  the host has one thread
        )
        process.returncode = 0  # it is reaped by `reap`
        return process.pid

    @property
    def _unreaped(self) -> _Kernel | None:
        """The kernel, as long as its pid cannot be that of another process."""
        return self._kernel if self._kernel and self._kernel.returncode is None else None

    def reaped(self) -> Mapping[str, float | None] | None:
        """CPU time of the reaped processes, the peak of the largest, and the kernel's limit."""
        limit_s = self._kernel.cpu_limit_s if self._kernel else None
        return {"cpu_s": self._cpu_s, "peak_bytes": self._peak_bytes, "cpu_limit_s": limit_s}

    def reap(self) -> tuple[int, int] | None:
        """Reap the processes that have ended; give pid and exit code (negative: the signal) if the kernel has."""
        ended: tuple[int, int] | None = None
        while (child := self._next_ended_child()) is not None:
            if self._kernel is not None and child[0] == self._kernel.pid:
                ended = child
                self._kernel.returncode = child[1]
        return ended

    def is_empty(self) -> bool:
        """Return whether the last reaping left nothing behind."""
        if self._childless or self.server_pid is None:
            return self._childless
        # A process that has lost its parent is a child of this process before that parent can be reaped.
        return children(os.getpid()) == [self.server_pid]

    def signal(self, signum: int) -> bool:
        """Signal the kernel's process group, as Jupyter does; False if the kernel has ended."""
        kernel = self._unreaped
        return kernel is not None and _send(os.killpg, kernel.pid, signum)

    def expect_end(self) -> None:
        """Look at the processes below the kernel, just before it is asked to end."""
        if self._kernel is not None:
            self._before_end = sighted(self._kernel.pid, self._below_kernel())

    def _below_kernel(self) -> list[int]:
        kernel = self._kernel.pid if self._kernel else None
        return [pid for pid in descendants(os.getpid(), apart=self.server_pid) if pid != kernel]

    def kill(self, deadline_s: float, on_reaped: Callable[[tuple[int, int]], None]) -> list[str]:
        """Kill until nothing is left; describe what is left after the deadline.

        Processes that tidy up after a kernel have some time, and are killed last; see `tidying`.
        """
        end, pause_s, known = time.monotonic() + deadline_s, _FIRST_PAUSE_S, list[int]()
        farewell: Farewell | None = None
        while True:
            if (ended := self.reap()) is not None:
                on_reaped(ended)
            known = self._members(known)
            if not known and self.is_empty():
                return []
            farewell = farewell or Farewell(before=self._sighting(), deadline_s=deadline_s)
            self._kill_each(known, *farewell.spared(known))
            if time.monotonic() > end:
                return [describe(pid) for pid in known] or ["a process that cannot be found"]
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _sighting(self) -> Sighting | None:
        """Return, once, the sighting before the kernel's own end; None if it did not end by itself."""
        seen, self._before_end = self._before_end, None
        has_ended = self._kernel is not None and self._kernel.returncode is not None
        return seen if has_ended else None

    def _next_ended_child(self) -> tuple[int, int] | None:
        if kernel := self._unreaped:  # once it is reaped, its limit cannot be read any more
            kernel.cpu_limit_s = used_up_cpu_limit_s(kernel.pid)
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            self._childless = True
            return None
        if not pid:
            return None
        if pid == self.server_pid:
            self.server_pid = None
            return pid, status
        self._cpu_s += usage.ru_utime + usage.ru_stime
        self._peak_bytes = max(self._peak_bytes, usage.ru_maxrss * _MAXRSS_BYTES)
        return pid, os.waitstatus_to_exitcode(status)

    def _members(self, known: Sequence[int]) -> list[int]:
        current = descendants(os.getpid(), apart=self.server_pid)
        if self._subreaper:
            return current
        if kernel := self._unreaped:
            known = [*known, *group(kernel.pid)]
        return [*current, *(p for p in {*known}.difference(current) if _send(os.kill, p, 0))]

    def _kill_each(self, pids: Sequence[int], trackers: set[int], others: set[int]) -> None:
        if not trackers and not others and self._kernel_lives():
            # All at once, as a fork bomb needs it. Had the kernel ended before it was asked for its children, a
            # tracker might have been overlooked.
            self.signal(signal.SIGKILL)
        for pid in trackers:
            _send(os.kill, pid, signal.SIGCONT)  # one that is stopped could not tidy up
        for pid in {*pids} - trackers - others:
            _send(os.kill, pid, signal.SIGKILL)

    def _kernel_lives(self) -> bool:
        if (kernel := self._unreaped) is None:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, kernel.pid, options) is None


def _send(function: Callable[[int, int], None], target: int, signum: int) -> bool:
    try:
        function(target, signum)
    except ProcessLookupError:
        return False
    except PermissionError:  # a set-user-id child: there, but not ours to signal
        return True
    return True


def _become_subreaper() -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _preparation() -> Callable[[], None] | None:
    """Return the function to call before exec: the kernel then dies with its host, and first if memory is short."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _raise_oom_score()

    return prepare


def _raise_oom_score() -> None:
    """Raise it between fork and exec, so with system calls alone. If that is forbidden it stays as it is."""
    with contextlib.suppress(OSError, ValueError):
        # Raising it needs no privilege, and the kernel's children inherit it. The exec closes the file.
        descriptor = os.open(_OOM_SCORE, os.O_RDWR)
        score = int(os.read(descriptor, _OOM_SCORE_BYTES)) + _OOM_SCORE_ABOVE
        os.pwrite(descriptor, b"%d" % min(_OOM_SCORE_MOST, score), 0)
