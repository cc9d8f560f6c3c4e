"""Usage of a kernel's process tree, sampled while its notebook runs.

On Linux the peak comes from three sources. ``VmHWM`` of each process is the most that it had since its last exec, also
between two samples; a forked child's begins at what its parent had at that moment. Pages that processes share count
once. And a process that lived too briefly to be seen is known from what the operating system counted when it was
reaped, if it had more than any that was seen. Elsewhere the sum of what each process has is an upper bound.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernel_host.client import Reaped
from pytest_nbgroups.kernel_host.descendants import descendants
from pytest_nbgroups.kernels.holding import Holding, Sample
from pytest_nbgroups.monitoring.process_memory import (
    ProcessMemory,
    ProcessReader,
    reader_of_this_platform,
)
from pytest_nbgroups.monitoring.shared_pages import CpuAllowance, SharedPages, Total

_INTERVAL_S = 0.25  # Linux remembers the peaks between two samples
_CPU_SHARE = 0.013
"""Part of one core that sampling takes, with the looks at shared pages."""
_LOOKLESS_CPU_SHARE = 0.007
"""Part of one core that samples take without the looks; if they would take more, they become rarer."""
_CPU_AT_FIRST_S = 0.06  # a short notebook has no time to earn its first look
_CPU_SAVED_S = 1.0
_PUBLISH_S = 1.0
_NEW_PEAK = 1.01
"""Factor above the peak from which on a closer look is worth its cost."""
_UNSEEN = 1.05
_ENDING_BYTES = 8 * 2**20
"""Both above the largest process seen: less than that a kernel can need itself while it ends."""
_END_S = 2.0  # a driver can let readers hang
_RECENT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """A peak that no exact sample has confirmed."""

    used_bytes: int = 0
    pids: frozenset[int] = frozenset()
    is_upper_bound: bool = False


@dataclass(kw_only=True)
class Peak:
    """The most that a tree had."""

    used_bytes: int = 0
    is_upper_bound: bool = False
    _estimate: _Estimate = field(default_factory=_Estimate)

    def add(self, total: Total, unseen_bytes: int, pids: Collection[int]) -> None:
        """Take a sample; an exact one takes the place of an estimate made of the same processes."""
        used_bytes = total.used_bytes + unseen_bytes
        if total.is_exact and self._estimate.pids <= frozenset(pids):
            self._estimate = _Estimate()
        if total.is_exact and used_bytes > self.used_bytes:
            self.used_bytes, self.is_upper_bound = used_bytes, total.is_upper_bound
        if not total.is_exact and used_bytes > self.highest.used_bytes:
            self._estimate = _Estimate(
                used_bytes=used_bytes, pids=frozenset(pids), is_upper_bound=total.is_upper_bound
            )

    @property
    def highest(self) -> Peak | _Estimate:
        """The estimate stands if its processes ended before they could be looked at closely."""
        return self._estimate if self._estimate.used_bytes > self.used_bytes else self


@dataclass(frozen=True, kw_only=True)
class Excess:
    """Memory of a tree at the moment it exceeded its limit."""

    used_bytes: int
    processes: int
    largest_bytes: int
    """Of one process."""
    limit: Size
    """What it may have."""


class MemoryWatch:
    """Samples everything below a process while it is entered. Never raises; see `warnings`."""

    def __init__(
        self,
        root_pid: int,
        holding: Holding,
        *,
        apart: int | None = None,
        reader: ProcessReader | None = None,
        on_excess: Callable[[], None] = lambda: None,
    ) -> None:
        """Of what is below ``root_pid``, ``apart`` does not count.

        ``on_excess`` is called once, in a thread, when more is used than ``holding.ram_limit``.
        """
        self.warnings: list[str] = []
        self.cpu_s = 0.0
        """CPU time that the sampling has taken."""
        self.excess: Excess | None = None
        """What was there when ``on_excess`` was called."""
        self._root_pid = root_pid
        self._apart = apart
        self._holding = holding
        self._on_excess = on_excess
        self._reader = reader or reader_of_this_platform()
        self._allowance = CpuAllowance(
            share=_CPU_SHARE, at_first_s=_CPU_AT_FIRST_S, most_s=_CPU_SAVED_S
        )
        self._shared_pages = SharedPages(self._reader, self._allowance)
        self._ended = threading.Event()
        self._ending = threading.Lock()
        # A daemon: a driver that hangs must not keep pytest from ending.
        self._thread = threading.Thread(target=self._watch, name="nbgroups-memory", daemon=True)
        self._peak = Peak()
        self._least_bytes = 0
        """Of all samples."""
        self._largest_bytes = 0
        """The peak of the largest single process that was seen whole."""
        self._peaks: dict[int, int] = {}
        """Of each process, as it was last seen."""
        self._living: set[int] = set()
        """Those of them of which it is not known that they have ended."""
        self._cpu_seen_s: dict[int, float] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._gpu_used: Mapping[str, int] | None = None
        self._gpu_bytes: int | None = None
        self._next_publishing = self._next_gpu = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Wait for the last sample, but not for a driver or a process that lets readers hang."""
        with self._ending:  # from here on there is nothing of this notebook to kill
            self._ended.set()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            self.warnings.append("its memory was not measured to the end: a sample takes too long")

    def usage(self, reaped: Reaped | None) -> Usage | None:
        """Return the usage of the whole run; None if nothing was measured."""
        highest = self._peak.highest
        peak_bytes = max(highest.used_bytes, self._never_seen_bytes(reaped))
        if not self._least_bytes:
            return None
        return Usage(
            peak_bytes=peak_bytes,
            is_upper_bound=highest.is_upper_bound,
            cpu_s=reaped.cpu_s if reaped else sum(self._cpu_seen_s.values()),
            gpu_bytes=self._gpu_bytes,
        )

    @property
    def recent_bytes(self) -> int:
        """The most in the last second in which anything was seen: a dying tree has less and less."""
        return max((used_bytes for _, used_bytes in list(self._recent)), default=0)

    def has_lost_a_process(self) -> bool:
        """Return whether one that was seen below the kernel host has ended since this was last asked."""
        ended = {pid for pid in list(self._living) if self._reader.memory(pid) is None}
        self._living -= ended
        return bool(ended)

    def _never_seen_bytes(self, reaped: Reaped | None) -> int:
        """A process that was reaped but not seen, and what was always there beside it; 0 without one."""
        seen_bytes = max(_UNSEEN * self._largest_bytes, self._largest_bytes + _ENDING_BYTES)
        if reaped is None or reaped.peak_bytes <= seen_bytes:
            return 0
        if not self._reader.tells_shared_pages:  # nor remembers peaks: it may well have been seen
            return reaped.peak_bytes
        return reaped.peak_bytes + self._least_bytes

    def _watch(self) -> None:
        """Look at once, then again and again, and a last time before the kernel is asked to end."""
        pause_s, is_last = 0.0, False
        while not is_last:
            is_last = self._ended.wait(pause_s)
            begun, looks_s = time.thread_time(), -self._shared_pages.cpu_s
            try:
                self.sample(is_last=is_last)
            except Exception as exc:  # noqa: BLE001  a measurement is not worth a run
                self.warnings.append(f"its memory was not measured: {type(exc).__name__}: {exc}")
                return
            took_s = time.thread_time() - begun
            self.cpu_s += took_s
            looks_s += self._shared_pages.cpu_s
            self._allowance.spend(took_s - looks_s)
            # The allowance bounds the looks, and the pause bounds the rest.
            pause_s = max(_INTERVAL_S, (took_s - looks_s) / _LOOKLESS_CPU_SHARE)

    def sample(self, *, is_last: bool = False) -> None:
        """Take one sample, and report it about once a second and when more is used than ever before."""
        found = self._found()
        if not found:
            return
        before_bytes = self._peak.highest.used_bytes
        unseen_bytes = sum(self._risen(pid, memory) for pid, memory in found.items())
        most_bytes = sum(memory.rss_bytes for memory in found.values()) + unseen_bytes
        matters = most_bytes > _NEW_PEAK * self._peak.used_bytes
        total = self._shared_pages.total(found, matters=matters)
        self._peak.add(total, unseen_bytes + total.given_back_bytes, found)
        if total.is_exact and total.is_complete:
            largest_bytes = max(memory.peak_rss_bytes for memory in found.values())
            self._largest_bytes = max(self._largest_bytes, largest_bytes)
        self._least_bytes = min(self._least_bytes or total.used_bytes, total.used_bytes)
        self._remember(total.used_bytes)
        self._limit(found, total)
        grown = self._peak.highest.used_bytes > before_bytes
        self._report(total.used_bytes, found, grown=grown, is_last=is_last)

    def _remember(self, used_bytes: int) -> None:
        now = time.monotonic()
        self._recent.append((now, used_bytes))
        while now - self._recent[0][0] > _RECENT_S:
            self._recent.popleft()

    def _limit(self, found: Mapping[int, ProcessMemory], total: Total) -> None:
        """Call for the end of a tree that certainly has more than it may."""
        limit = self._holding.ram_limit
        if limit is None or self.excess is not None or total.used_bytes <= limit.bytes:
            return
        used_bytes = self._certain_bytes(found, total)
        if used_bytes <= limit.bytes:
            return
        with self._ending:  # `__exit__` waits, so that no tree of the next notebook is killed
            if not self._ended.is_set():
                largest_bytes = max(memory.rss_bytes for memory in found.values())
                self.excess = Excess(
                    used_bytes=used_bytes,
                    processes=len(found),
                    largest_bytes=largest_bytes,
                    limit=limit,
                )
                self._on_excess()

    def _certain_bytes(self, found: Mapping[int, ProcessMemory], total: Total) -> int:
        """No estimate, and no page twice: if that is not known, what the largest process has."""
        exact = total if total.is_exact else self._shared_pages.look_closely(found)
        if exact is None:
            return 0
        if exact.is_upper_bound:
            return max(memory.rss_bytes for memory in found.values())
        return exact.used_bytes

    def _found(self) -> dict[int, ProcessMemory]:
        read = (
            (pid, self._reader.memory(pid))
            for pid in descendants(self._root_pid, apart=self._apart)
        )
        return {pid: memory for pid, memory in read if memory is not None}

    def _risen(self, pid: int, memory: ProcessMemory) -> int:
        """Return the memory that was in use between two samples and is free again.

        A peak that has changed at all is a new one: it falls when a process executes another program.
        """
        before_bytes, self._peaks[pid] = self._peaks.get(pid), memory.peak_rss_bytes
        self._living.add(pid)
        self._cpu_seen_s[pid] = memory.cpu_s
        if memory.peak_rss_bytes == before_bytes:
            return 0
        return memory.peak_rss_bytes - memory.rss_bytes

    def _report(
        self, used_bytes: int, pids: Collection[int], *, grown: bool, is_last: bool
    ) -> None:
        now = time.monotonic()
        if not (grown or is_last or now >= self._next_publishing):
            return
        if is_last or now >= self._next_gpu:
            self._next_gpu = now + _PUBLISH_S
            self._ask_for_gpu_memory(pids)
        self._next_publishing = now + _PUBLISH_S
        self._holding.on_sample(
            Sample(used_bytes=used_bytes, gpu_used_bytes=dict(self._gpu_used or {}))
        )

    def _ask_for_gpu_memory(self, pids: Collection[int]) -> None:
        self._gpu_used = self._holding.gpu_memory(list(pids))
        if self._gpu_used is not None:
            self._gpu_bytes = max(self._gpu_bytes or 0, *self._gpu_used.values(), 0)
