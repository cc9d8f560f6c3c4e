"""What a kernel's process tree uses, sampled while its notebook runs.

On Linux the peak comes from three sources. ``VmHWM`` of each process is the most that it ever had, also
between two samples. Pages that processes share count once: PSS, which costs a walk through their page
tables, is read only where there are several processes and the sum of what each has could be a new
peak. And a process that lived too briefly to be seen is known from what the operating system counted
when it was reaped. Elsewhere the sum of what each process has is an upper bound.

https://docs.kernel.org/filesystems/proc.html, "status" and "smaps_rollup"
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_nbgroups.execution.holding import Holding, Sample
from pytest_nbgroups.execution.host_client import Reaped
from pytest_nbgroups.execution.process_tree import descendants
from pytest_nbgroups.resources import Usage

_INTERVAL_S = 0.25
_CPU_SHARE = 0.01
"""Of one core: what sampling may take on average, and PSS once more."""
_PUBLISH_S = 1.0
_NEW_PEAK = 1.01
"""So much above the peak, what processes have is worth a closer look."""
_UNSEEN = 1.05
"""So much above all that was seen, what was reaped was another process."""
_STATUS_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """One process, in bytes."""

    rss_bytes: int
    peak_rss_bytes: int


class MemoryWatch:
    """Samples everything below a process while it is entered. Never raises; see `warnings`."""

    def __init__(self, root_pid: int, holding: Holding, *, proc: Path = Path("/proc")) -> None:
        self.warnings: list[str] = []
        self._root_pid = root_pid
        self._holding = holding
        self._proc = proc if sys.platform == "linux" else None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nbgroups-memory", daemon=True)
        self._highest: dict[int, int] = {}
        """The highest peak seen of each process."""
        self._peak_bytes = 0
        self._least_bytes = 0
        self._shared = 1.0
        """What several processes have, pages that they share counted once, over the sum of all."""
        self._next_pss = self._next_publishing = 0.0
        self._gpu_bytes: int | None = None
        self._is_upper_bound = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def usage(self, reaped: Reaped | None) -> Usage | None:
        """What was used in all; None where nothing could be seen."""
        peak = self._peak_bytes
        if reaped and reaped.peak_bytes > _UNSEEN * max(self._highest.values(), default=0):
            peak = max(peak, reaped.peak_bytes + self._least_bytes)
        if not peak:
            return None
        return Usage(
            peak_bytes=peak,
            is_upper_bound=self._is_upper_bound,
            cpu_s=reaped.cpu_s if reaped else 0.0,
            gpu_bytes=self._gpu_bytes,
        )

    def _watch(self) -> None:
        """Look at once, then again and again, and a last time before the kernel is asked to end."""
        pause_s = 0.0
        while True:
            is_last = self._ended.wait(pause_s)
            begun = time.thread_time()
            try:
                self.sample(publish=not is_last)
            except Exception as exc:  # noqa: BLE001  a measurement is not worth a run
                self.warnings.append(f"its memory was not measured: {type(exc).__name__}: {exc}")
                return
            if is_last:
                return
            pause_s = max(_INTERVAL_S, (time.thread_time() - begun) / _CPU_SHARE)

    def sample(self, *, publish: bool = True) -> None:
        """Take one sample."""
        pids = descendants(self._root_pid)
        found = dict(self._memory_of(pids))
        if not found:
            return
        unseen = sum(self._rise(pid, memory) for pid, memory in found.items())
        now_bytes = self._total(found, unseen)
        self._least_bytes = min(self._least_bytes or now_bytes, now_bytes)
        grown = now_bytes + unseen > 1.02 * self._peak_bytes
        self._peak_bytes = max(self._peak_bytes, now_bytes + unseen)
        if publish and (grown or time.monotonic() >= self._next_publishing):
            self._next_publishing = time.monotonic() + _PUBLISH_S
            self._publish(now_bytes, pids)

    def _rise(self, pid: int, memory: ProcessMemory) -> int:
        """What it had for a while since the last sample, and has given back."""
        if memory.peak_rss_bytes <= self._highest.get(pid, 0):
            return 0
        self._highest[pid] = memory.peak_rss_bytes
        return max(0, memory.peak_rss_bytes - memory.rss_bytes)

    def _total(self, found: Mapping[int, ProcessMemory], unseen: int) -> int:
        """What all have now."""
        rss_bytes = sum(memory.rss_bytes for memory in found.values())
        if len(found) == 1:
            return rss_bytes
        if self._proc is None:
            self._is_upper_bound = True
            return rss_bytes
        now = time.monotonic()
        if rss_bytes + unseen > _NEW_PEAK * self._peak_bytes and now >= self._next_pss:
            begun = time.thread_time()
            pss_bytes = sum(self._pss(pid, memory) for pid, memory in found.items())
            self._next_pss = now + (time.thread_time() - begun) / _CPU_SHARE
            self._shared = pss_bytes / rss_bytes if rss_bytes else 1.0
        return int(rss_bytes * self._shared)

    def _publish(self, now_bytes: int, pids: Iterable[int]) -> None:
        used = self._holding.gpu_memory(list(pids))
        if used is not None:
            self._gpu_bytes = max(self._gpu_bytes or 0, *used.values(), 0)
        self._holding.on_sample(Sample(used_bytes=now_bytes, gpu_used_bytes=used or {}))

    def _memory_of(self, pids: Iterable[int]) -> Iterable[tuple[int, ProcessMemory]]:
        for pid in pids:
            memory = _from_psutil(pid) if self._proc is None else _from_proc(self._proc, pid)
            if memory is not None:
                yield pid, memory

    def _pss(self, pid: int, memory: ProcessMemory) -> int:
        """Its part of what it shares, and all of the rest; all of it where that may not be read."""
        assert self._proc is not None  # noqa: S101  only Linux knows of it
        try:
            with (self._proc / str(pid) / "smaps_rollup").open("rb", buffering=0) as file:
                text = file.read(_STATUS_BYTES)
        except OSError:
            return memory.rss_bytes
        return _kibibytes(text, b"\nPss:") or memory.rss_bytes


def _from_proc(proc: Path, pid: int) -> ProcessMemory | None:
    """None for a process that has ended, or of which only the exit code is left."""
    try:
        with (proc / str(pid) / "status").open("rb", buffering=0) as file:
            text = file.read(_STATUS_BYTES)
    except OSError:
        return None
    rss_bytes, peak_bytes = _kibibytes(text, b"\nVmRSS:"), _kibibytes(text, b"\nVmHWM:")
    if rss_bytes is None:
        return None
    return ProcessMemory(rss_bytes=rss_bytes, peak_rss_bytes=max(peak_bytes or 0, rss_bytes))


def _kibibytes(text: bytes, label: bytes) -> int | None:
    """The bytes behind a label."""
    _, found, rest = text.partition(label)
    return int(rest[: rest.index(b"kB")]) * 1024 if found and b"kB" in rest else None


def _from_psutil(pid: int) -> ProcessMemory | None:
    import psutil

    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return None
    return ProcessMemory(
        rss_bytes=memory.rss, peak_rss_bytes=max(getattr(memory, "peak_wset", 0), memory.rss)
    )
