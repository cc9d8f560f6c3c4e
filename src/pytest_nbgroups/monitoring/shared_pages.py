"""Memory of several processes, with each shared page counted once.

PSS counts them once, but a look at everything that a few large processes have takes seconds of CPU time, so it is taken only
where it matters and as often as an allowance permits. In between the total is estimated from the last look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_nbgroups.monitoring.process_memory import Portion, ProcessMemory, ProcessReader

_ENDED = Portion()
# Without pauses, two processes that grow cost 0.99 % of a core instead of 0.30 %, for peaks within 4 %.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 2.0
"""A process that writes to shared pages gets its own copies, and only a look shows that."""
_USUAL_COST_S = 3e-11
"""For each byte of RSS, until it has been measured."""
_CLOSE_LOOK_SHARE = 0.1
"""Part of one core that looks beyond the allowance take at most."""


class CpuAllowance:
    """CPU time that may be spent: a share of the time that passes. What is not spent is saved up to a limit."""

    def __init__(self, *, share: float, at_first_s: float, most_s: float) -> None:
        self._share = share
        self._most_s = most_s
        self._balance_s = at_first_s
        self._updated_at: float | None = None

    def left_s(self, now: float) -> float:
        """Return the time to spend now; below zero if it is overdrawn."""
        passed_s = now - (now if self._updated_at is None else self._updated_at)
        self._balance_s = min(self._most_s, self._balance_s + self._share * passed_s)
        self._updated_at = now
        return self._balance_s

    def spend(self, cpu_s: float) -> None:
        self._balance_s -= cpu_s


@dataclass(frozen=True, kw_only=True)
class Total:
    """Memory of a tree at one moment."""

    used_bytes: int
    is_exact: bool = True
    """Else it is an estimate."""
    is_upper_bound: bool = False
    """Some pages may be counted more than once."""
    given_back_bytes: int = 0
    """Memory freed between the reading of each process and the look at the shared pages."""
    is_complete: bool = True
    """Else some process has ended in between."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """Result of the last look."""

    pids: frozenset[int]
    sum_bytes: int
    used_bytes: int

    def estimate(self, found: Mapping[int, ProcessMemory], sum_bytes: int) -> int:
        """Count new memory of known processes as their own; of other processes only the shared part is known."""
        if self.pids == found.keys():
            estimate = self.used_bytes + sum_bytes - self.sum_bytes
        else:
            estimate = sum_bytes * self.used_bytes // (self.sum_bytes or 1)
        return max(estimate, *(memory.rss_bytes for memory in found.values()))


def _all_of(memory: ProcessMemory) -> Portion:
    """Count an unreadable process in full: too much is safe, too little is not."""
    return Portion(rss_bytes=memory.rss_bytes, proportional_bytes=memory.rss_bytes)


class SharedPages:
    """Looks at one tree of processes again and again."""

    def __init__(self, reader: ProcessReader, allowance: CpuAllowance) -> None:
        self.cpu_s = 0.0
        """CPU time of the looks."""
        self._reader = reader
        self._allowance = allowance
        self._last: _Look | None = None
        self._cost_s = _USUAL_COST_S
        self._pids: frozenset[int] = frozenset()
        self._pause_s = _FIRST_PAUSE_S
        self._next_look = self._next_close_look = 0.0

    def total(self, found: Mapping[int, ProcessMemory], *, matters: bool) -> Total:
        """``matters`` if the sum of what each has could be a new peak."""
        sum_bytes = sum(memory.rss_bytes for memory in found.values())
        settled, self._pids = self._pids == found.keys(), frozenset(found)
        if len(found) == 1:
            return Total(used_bytes=sum_bytes)
        if not self._reader.tells_shared_pages:
            return Total(used_bytes=sum_bytes, is_upper_bound=True)
        if matters and self._may_look(sum_bytes, settled=settled):
            return self._look(found, sum_bytes)
        if self._last is None:
            return Total(used_bytes=sum_bytes, is_exact=False, is_upper_bound=True)
        return Total(used_bytes=self._last.estimate(found, sum_bytes), is_exact=False)

    def look_closely(self, found: Mapping[int, ProcessMemory]) -> Total | None:
        """Look although it may overdraw the allowance; None if that would cost too much time."""
        now = time.monotonic()
        if now < self._next_close_look:
            return None
        before_s = self.cpu_s
        total = self._look(found, sum(memory.rss_bytes for memory in found.values()))
        self._next_close_look = now + (self.cpu_s - before_s) / _CLOSE_LOOK_SHARE
        return total

    def _may_look(self, sum_bytes: int, *, settled: bool) -> bool:
        """A costly look waits until all that is being forked is there: the next one has to wait long."""
        now = time.monotonic()
        left_s = self._allowance.left_s(now)
        if self._last is None or self._last.pids != self._pids:
            self._pause_s, self._next_look = _FIRST_PAUSE_S, now
        if left_s <= 0 or now < self._next_look:
            return False
        return settled or sum_bytes * self._cost_s < left_s / 2

    def _look(self, found: Mapping[int, ProcessMemory], sum_bytes: int) -> Total:
        begun = time.thread_time()  # of this thread: notebooks run beside it
        read = {pid: self._reader.portion(pid) for pid in found}
        self._pay(time.thread_time() - begun, sum_bytes)
        portions = {pid: portion or _all_of(found[pid]) for pid, portion in read.items()}
        used_bytes = sum(portion.proportional_bytes for portion in portions.values())
        self._last = _Look(
            pids=self._pids,
            sum_bytes=sum(portion.rss_bytes for portion in portions.values()),
            used_bytes=used_bytes,
        )
        return Total(
            used_bytes=used_bytes,
            is_upper_bound=None in read.values(),
            given_back_bytes=sum(
                max(0, found[pid].rss_bytes - portion.rss_bytes)
                for pid, portion in portions.items()
                if portion != _ENDED
            ),
            is_complete=_ENDED not in portions.values(),
        )

    def _pay(self, cpu_s: float, sum_bytes: int) -> None:
        self.cpu_s += cpu_s
        self._allowance.spend(cpu_s)
        self._cost_s = cpu_s / sum_bytes if sum_bytes else self._cost_s
        self._next_look = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
