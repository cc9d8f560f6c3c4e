"""Binding of kernels to CPUs: for code that counts its CPUs, and to keep experiments apart."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path


def available_cpus() -> tuple[int, ...]:
    """Return the CPUs that this process may use; empty if the system cannot bind processes to CPUs."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def choose_cpus(
    count: int, available: Sequence[int], taken: Iterable[Sequence[int]]
) -> tuple[int, ...]:
    """Choose at least one CPU and at most all: free ones, then those that the fewest others have.

    Among equals the lowest numbers. Linux numbers the cores of a socket in a row and their second threads after
    all cores, so that these are mostly separate cores of one socket.
    """
    load = Counter(cpu for cpus in taken for cpu in cpus)
    by_load = sorted(available, key=lambda cpu: (load[cpu], cpu))
    return tuple(sorted(by_load[: max(1, count)]))


def apply(pid: int, cpus: Iterable[int], *, proc: Path = Path("/proc")) -> str | None:
    """Bind all threads of a process, and so what it starts from then on; else return the reason.

    Called in the process that runs the experiment as soon as its kernel is started.
    """
    wanted, bound = set(cpus), set[int]()
    try:
        # A thread that was not bound yet may have started another while the list was read.
        while new := {int(path.name) for path in (proc / str(pid) / "task").iterdir()} - bound:
            for thread in new:
                _bind_thread(thread, wanted)
            bound |= new
    except OSError as exc:
        numbers = ",".join(map(str, sorted(wanted)))
        return f"not bound to CPUs {numbers}: {exc.strerror or exc}"
    return None


def _bind_thread(thread: int, cpus: set[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(thread, cpus)
