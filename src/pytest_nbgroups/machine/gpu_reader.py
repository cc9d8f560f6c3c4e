"""The GPUs as they are at this moment: NVML, kept open, since to open it can take a second."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.machine.gpu import Handle, ask, mig_handles, read_devices

T = TypeVar("T")

_FIRST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h


class GpuReader:
    """Asks NVML, from any thread. Errors end in an answer with less in it, never in an exception."""

    def __init__(self, *, pid_namespace: str | None = None) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_open = False
        self._sees_pids = (pid_namespace or _pid_namespace()) == _FIRST_NAMESPACE

    def read(self, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
        """Those of the GPUs that NVML still reports, with their memory and utilization now."""
        wanted = {gpu.uuid for gpu in gpus}
        if not wanted:
            return ()
        found, _notes = self._asked(read_devices) or ((), ())
        return tuple(gpu for gpu in found if gpu.uuid in wanted)

    def process_memory(
        self, pids: Collection[int], gpus: Collection[str]
    ) -> Mapping[str, int] | None:
        """UUID -> bytes that these processes hold on the given GPUs.

        A GPU on which that is not known is absent. None if NVML does not report it: in a container it
        lists no processes, or those of the host under other numbers.
        """
        answer = self._asked(_processes) or {}
        listed = {uuid: processes for uuid, processes in answer.items() if uuid in gpus}
        seen = {pid for processes in listed.values() for pid, _ in processes}
        if not listed or not (self._sees_pids or seen.intersection(pids)):
            return None
        sums = {uuid: _sum(processes, pids) for uuid, processes in listed.items()}
        return {uuid: total for uuid, total in sums.items() if total is not None}

    def close(self) -> None:
        """Let go of NVML; the next question opens it again."""
        with self._lock, suppress(ImportError):
            import pynvml

            self._shut(pynvml)

    def _asked(self, question: Callable[[ModuleType], T]) -> T | None:
        """An answer, from a second attempt if the driver has been restarted since the first."""
        try:
            import pynvml
        except ImportError:
            return None
        self._mind_fork(pynvml)
        for _ in range(2):
            try:
                with self._lock:
                    self._open(pynvml)
                    return question(pynvml)
            except pynvml.NVMLError:
                self.close()
        return None

    def _mind_fork(self, nvml: ModuleType) -> None:
        """A child can use neither what its parent has opened, nor a lock that a thread there held."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._lock = threading.Lock()
            self._shut(nvml)

    def _open(self, nvml: ModuleType) -> None:
        """Raises NVMLError."""
        if not self._is_open:
            nvml.nvmlInit()
            self._is_open = True

    def _shut(self, nvml: ModuleType) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def _processes(nvml: ModuleType) -> dict[str, list[tuple[int, int | None]]]:
    """UUID -> (pid, bytes or None) of what computes there; a GPU that does not report is absent."""
    found: dict[str, list[tuple[int, int | None]]] = {}
    for handle in _handles(nvml):
        with suppress(nvml.NVMLError, UnicodeError):
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            found[nvml.nvmlDeviceGetUUID(handle)] = [
                (process.pid, process.usedGpuMemory) for process in processes
            ]
    return found


def _handles(nvml: ModuleType) -> Iterator[Handle]:
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = ask(nvml, None, nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is not None:
            parts = mig_handles(nvml, handle)
            yield from [handle] if parts is None else parts


def _sum(processes: Sequence[tuple[int, int | None]], pids: Collection[int]) -> int | None:
    held = [used for pid, used in processes if pid in pids]
    return None if None in held else sum(used or 0 for used in held)


def _pid_namespace() -> str:
    """Elsewhere than on Linux there is one numbering of processes, which NVML uses too."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return _FIRST_NAMESPACE
