"""Processes that tidy up after a kernel, and the time that they have for it.

*Trackers* hold the names of shared memory, semaphores and temporary folders, and remove what is left of these when all
processes that could use it have ended. They ignore SIGINT and SIGTERM, and see the end of a pipe or socket. So they
have to be the last of a tree, also of one that is killed.

*Helpers* wait for the end of the kernel to do the rest of their work: a JVM behind a gateway, a writer of logs. They
read from a pipe that the kernel writes to, and wake up when it is gone.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.kernel_host.descendants import command, descendants

HELPERS_S = 2.0
"""Time that helpers have once the kernel has ended by itself."""
TRACKERS_S = 3.0
"""Time that trackers have after that."""
AWAKE_S = 0.1
"""Time that any other process has if the end of the kernel has woken it."""

_TRACKER = re.compile(rb"from [\w.]+\.resource_tracker import main\b")
"""Start of the code that multiprocessing, its fork multiprocess, and loky give to a new interpreter."""
_TORCH = b"torch_shm_manager"
_SWITCHES = re.compile(r"^\w*voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)
_RUNS = re.compile(r"^State:\s*[RD]", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """The processes below a kernel shortly before its end."""

    waiting: frozenset[int]
    """Those that read from a pipe which the kernel, or another one of these, writes to."""
    switches: dict[int, int]
    """Process -> how often it has gone to sleep or was preempted. One that sleeps on keeps its number."""


@dataclass(kw_only=True)
class Farewell:
    """Decides which processes of a tree may still end by themselves while the others are killed."""

    before: Sighting | None
    """None if the kernel did not end by itself: then there is time for trackers only."""
    deadline_s: float
    """For everything. Half of it is for killing."""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        began, for_helpers_s = self.clock(), min(HELPERS_S, self.deadline_s / 4)
        self._awake_until = began + min(AWAKE_S, for_helpers_s)
        self._helpers_until = began + for_helpers_s
        self._trackers_until = began + min(for_helpers_s + TRACKERS_S, self.deadline_s / 2)

    def spared(self, pids: Sequence[int]) -> tuple[set[int], set[int]]:
        """Return the trackers among these processes, and the others that may go on."""
        now = self.clock()
        trackers = set(filter(is_tracker, pids)) if now < self._trackers_until else set()
        if self.before is None or now >= self._helpers_until:
            return trackers, set()
        awake = {pid for pid in pids if self._has_woken(self.before, pid)}
        helpers = awake & self.before.waiting
        below = {pid for helper in helpers for pid in descendants(helper)}
        return trackers, helpers | below | (awake if now < self._awake_until else set())

    @staticmethod
    def _has_woken(before: Sighting, pid: int) -> bool:
        switches, runs = _activity(pid)
        return runs or switches != before.switches.get(pid)


def is_tracker(pid: int) -> bool:
    """Return whether a process removes what others have left behind, once these have ended."""
    program, *arguments = command(pid) or [b""]
    return program.rpartition(b"/")[2] == _TORCH or any(map(_TRACKER.match, arguments))


def sighted(kernel: int, pids: Collection[int]) -> Sighting | None:
    """Look at the processes below a kernel that is about to end. None if there are none, or no /proc."""
    if not pids or not Path("/proc/self/fd").exists():
        return None
    return Sighting(
        waiting=frozenset(_waiting(kernel, pids)),
        switches={pid: _activity(pid)[0] for pid in pids},
    )


def _waiting(kernel: int, pids: Iterable[int]) -> set[int]:
    written = _pipes(kernel)[1]
    pipes = {pid: _pipes(pid) for pid in pids}
    found: set[int] = set()
    while more := {p for p, (read, _) in pipes.items() if p not in found and read & written}:
        found |= more
        written = written.union(*(pipes[pid][1] for pid in more))
    return found


def _pipes(pid: int) -> tuple[set[str], set[str]]:
    """Return the pipes that a process only reads from, and those that it writes to."""
    read, written = set[str](), set[str]()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(entry.path)  # noqa: PTH115  there are many
                if target.startswith("pipe:"):
                    mode = entry.stat(follow_symlinks=False).st_mode  # that of the descriptor
                    (written if mode & stat.S_IWUSR else read).add(target)
    return read - written, written


def _activity(pid: int) -> tuple[int, bool]:
    """Return how often the threads of a process were switched, and whether one of them runs now."""
    switches, runs = 0, False
    with suppress(OSError):
        for task in os.scandir(f"/proc/{pid}/task"):
            with suppress(OSError):
                text = Path(task.path, "status").read_text("utf-8", errors="replace")
                switches += sum(map(int, _SWITCHES.findall(text)))
                runs = runs or _RUNS.search(text) is not None
    return switches, runs
