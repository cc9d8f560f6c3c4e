"""What one process has of memory, and what of that is its own, as the operating system tells it.

https://docs.kernel.org/filesystems/proc.html, "status" and "smaps_rollup"
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Protocol

_READ_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """One process, in bytes."""

    rss_bytes: int
    peak_rss_bytes: int
    """Since its last exec, where the platform remembers; else what it has now."""
    cpu_s: float = 0.0
    """Only where nothing tells it when the process is reaped."""


class ProcessReader(Protocol):
    """What a platform tells of a process. Never raises."""

    tells_shared_pages: bool

    def memory(self, pid: int) -> ProcessMemory | None:
        """None for a process that has ended, or of which only the exit code is left."""

    def proportional_bytes(self, pid: int) -> int | None:
        """Its part of the pages that it shares and all of the rest; None where that may not be read.

        0 for a process that has ended. Costs a walk through its page tables: 30 ms for each GB.
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

    def proportional_bytes(self, pid: int) -> int | None:
        try:
            return _number(self._read(pid, "smaps_rollup"), b"\nPss:")
        except OSError:  # the file is missing for the dead, but before Linux 4.14 for all
            return None if os.path.exists(f"{self._proc}/{pid}/status") else 0  # noqa: PTH110

    def _read(self, pid: int, name: str) -> bytes:
        """Not through pathlib and file objects: they cost more than the system calls."""
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
    """Elsewhere nothing tells shared pages apart, and only Windows remembers peaks."""

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

    def proportional_bytes(self, pid: int) -> int | None:  # noqa: ARG002
        return None


def reader_of_this_platform() -> ProcessReader:
    return ProcReader() if sys.platform == "linux" else PsutilReader()
