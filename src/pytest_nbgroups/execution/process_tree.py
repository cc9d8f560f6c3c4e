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
from functools import cache
from pathlib import Path

from pytest_nbgroups.execution.kernel_output import KernelOutput

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
_OOM_SCORE = "/proc/self/oom_score_adj"
_OOM_SCORE_ABOVE = 500
"""As if a kernel used half of the memory more: it is ended before pytest and the kernel host are."""
_OOM_SCORE_MOST = 1000
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05


class PosixTree:
    """Starts one kernel at a time, reaps what ends, kills the whole tree."""

    def __init__(self) -> None:
        self.output: KernelOutput | None = None
        """What the kernel started last writes; whoever holds the tree copies and closes it."""
        self._kernel: subprocess.Popen[bytes] | None = None
        self._childless = True
        self._cpu_s, self._peak_bytes = 0.0, 0
        self._subreaper = _become_subreaper()
        self._prepare = _preparation()

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        log_path: str,
        descriptors: Sequence[int] = (),
    ) -> int:
        """Start the kernel in a session of its own; give its pid. Raises OSError as Popen does."""
        output = KernelOutput(log_path)
        try:
            self._kernel = subprocess.Popen(  # noqa: S603
                argv,
                cwd=cwd,
                env={**env, "JPY_PARENT_PID": str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=output.writer,
                stderr=output.writer,
                start_new_session=True,
                pass_fds=tuple(descriptors),
                preexec_fn=self._prepare,  # noqa: PLW1509  the host has one thread
            )
        except BaseException:
            output.close()
            raise
        finally:
            output.close_writer()
        self.output = output
        self._childless = False
        self._cpu_s, self._peak_bytes = 0.0, 0
        return self._kernel.pid

    def reaped(self) -> Mapping[str, float] | None:
        """CPU time of all that has been reaped since the start, and the peak of the largest of them."""
        return {"cpu_s": self._cpu_s, "peak_bytes": self._peak_bytes}

    def reap(self) -> tuple[int, int] | None:
        """Collect what has ended; give pid and exit code (negative: the signal) if the kernel has."""
        ended: tuple[int, int] | None = None
        while (child := self._next_ended_child()) is not None:
            if self._kernel is not None and child[0] == self._kernel.pid:
                ended = child
                self._kernel.returncode = child[1]
        return ended

    def is_empty(self) -> bool:
        """Whether the last reaping left nothing behind."""
        return self._childless

    def signal(self, signum: int) -> bool:
        """Signal the kernel's process group, as Jupyter does; False if the kernel has ended."""
        if self._kernel is None or self._kernel.returncode is not None:
            return False
        return _send(os.killpg, self._kernel.pid, signum)

    def kill(self, deadline_s: float, on_reaped: Callable[[tuple[int, int]], None]) -> list[str]:
        """Kill until nothing is left; describe what is left after the deadline."""
        end, pause_s, known = time.monotonic() + deadline_s, _FIRST_PAUSE_S, list[int]()
        while True:
            if (ended := self.reap()) is not None:
                on_reaped(ended)
            known = self._members(known)
            if not known and self.is_empty():
                return []
            self._kill_each(known)
            if time.monotonic() > end:
                return [describe(pid) for pid in known] or ["a process that cannot be found"]
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _next_ended_child(self) -> tuple[int, int] | None:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            self._childless = True
            return None
        if not pid:
            return None
        self._cpu_s += usage.ru_utime + usage.ru_stime
        self._peak_bytes = max(self._peak_bytes, usage.ru_maxrss * _MAXRSS_BYTES)
        return pid, os.waitstatus_to_exitcode(status)

    def _members(self, known: Sequence[int]) -> list[int]:
        current = descendants(os.getpid())
        if self._subreaper:
            return current
        return [*current, *(p for p in known if p not in current and _send(os.kill, p, 0))]

    def _kill_each(self, pids: Sequence[int]) -> None:
        self.signal(signal.SIGKILL)
        for pid in pids:
            _send(os.kill, pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Everything below a process, parents before their children."""
    if not _lists_children():
        return _descendants_by_parent_links(pid)
    found = [pid]
    for parent in found:
        found += _children(parent)
    return found[1:]


def describe(pid: int) -> str:
    """Name a process for a person: ``python3 (pid 4242, uninterruptible)``."""
    import psutil

    try:
        process = psutil.Process(pid)
        name, status = process.name(), process.status()
    except psutil.Error:
        return f"pid {pid}"
    state = "uninterruptible" if status == psutil.STATUS_DISK_SLEEP else status
    return f"{name} (pid {pid}, {state})"


@cache
def _lists_children() -> bool:
    """A Linux without this file is rare: it is a choice of who configured it."""
    return Path("/proc/thread-self/children").exists()


def _children(pid: int) -> list[int]:
    """Not through pathlib, which takes three times as long: the memory of the tree is sampled often."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as file,  # noqa: PTH123
            ):
                children += map(int, file.readall().split())
    return children


def _descendants_by_parent_links(pid: int) -> list[int]:
    import psutil

    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


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
    """What to call in the kernel before exec, so that it dies with its host, and first where memory is short."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    score = _higher_oom_score()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if score is not None:
            _write_oom_score(score)

    return prepare


def _higher_oom_score() -> bytes | None:
    """To raise it needs no privilege; the kernel's children inherit it."""
    try:
        with open(_OOM_SCORE, "rb") as file:  # noqa: PTH123  as below
            score = int(file.read())
    except (OSError, ValueError):
        return None
    return b"%d" % min(_OOM_SCORE_MOST, score + _OOM_SCORE_ABOVE)


def _write_oom_score(score: bytes) -> None:
    """Between fork and exec, so with system calls alone. Where it is forbidden it stays as it is."""
    try:
        descriptor = os.open(_OOM_SCORE, os.O_WRONLY)
    except OSError:
        return
    with contextlib.suppress(OSError):
        os.write(descriptor, score)
    os.close(descriptor)
