"""Memory of one process, and its private part, as the operating system reports it.

https://docs.kernel.org/filesystems/proc.html, "status" and "smaps_rollup"
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Protocol

_READ_BYTES = 8192  # several times the length of either file


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """One process, in bytes."""

    rss_bytes: int
    peak_rss_bytes: int
    """Since its last exec, where the platform remembers; else what it has now."""
    cpu_s: float = 0.0
    """Only if the platform does not report it when the process is reaped."""


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Share of a process in the memory of all, in bytes."""

    rss_bytes: int = 0
    """At the same moment, which is later than that of its `ProcessMemory`."""
    proportional_bytes: int = 0
    """All of its own pages, and its part of those that it shares (PSS)."""


class ProcessReader(Protocol):
    """Reader of a platform's facts about a process. Never raises."""

    tells_shared_pages: bool

    def memory(self, pid: int) -> ProcessMemory | None:
        """None for a process that has ended, or of which only the exit code is left."""

    def portion(self, pid: int) -> Portion | None:
        """Nothing for a process that has ended, None if it may not be read.

        Costs a walk through its page tables: 30 ms for each GB.
        """


class ProcReader:
    """Linux: ``VmHWM`` remembers peaks, PSS divides each shared page among those that share it."""

    tells_shared_pages = True

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def memory(self, pid: int) -> ProcessMemory | None:
        try:
            text = self._read(pid, "status")
        except OSError:
            return None
        rss_bytes, peak_bytes = _number(text, b"\nVmRSS:"), _number(text, b"\nVmHWM:")
        if rss_bytes is None:
            return None
        return ProcessMemory(rss_bytes=rss_bytes, peak_rss_bytes=max(peak_bytes or 0, rss_bytes))

    def portion(self, pid: int) -> Portion | None:
        try:
            text = self._read(pid, "smaps_rollup")
        except OSError:  # forbidden, or it has ended, or before Linux 4.14
            text = b""
        rss_bytes, proportional_bytes = _number(text, b"\nRss:"), _number(text, b"\nPss:")
        if rss_bytes is None or proportional_bytes is None:
            return None if self.memory(pid) else Portion()
        return Portion(rss_bytes=rss_bytes, proportional_bytes=proportional_bytes)

    def _read(self, pid: int, name: str) -> bytes:
        # pathlib and file objects cost more than the system calls themselves.
        descriptor = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY)
        try:
            return os.read(descriptor, _READ_BYTES)
        finally:
            os.close(descriptor)


def _number(text: bytes, label: bytes) -> int | None:
    """The kibibytes behind a label, in bytes."""
    _, _, rest = text.partition(label)
    number, unit, _ = rest.partition(b"kB")
    return int(number) * 1024 if unit else None


class PsutilReader:
    """Elsewhere nothing distinguishes shared pages, and only Windows remembers peaks."""

    tells_shared_pages = False

    def memory(self, pid: int) -> ProcessMemory | None:
        import psutil

        try:
            process = psutil.Process(pid)
            with process.oneshot():
                memory, times = process.memory_info(), process.cpu_times()
        except psutil.Error:
            return None
        return ProcessMemory(
            rss_bytes=memory.rss,
            peak_rss_bytes=max(getattr(memory, "peak_wset", 0), memory.rss),
            cpu_s=times.user + times.system,
        )

    def portion(self, pid: int) -> Portion | None:  # noqa: ARG002
        return None


def reader_of_this_platform() -> ProcessReader:
    return ProcReader() if sys.platform == "linux" else PsutilReader()
