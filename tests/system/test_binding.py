"""Real processes are bound to CPUs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_nbgroups.machine.affinity import apply, available_cpus

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system cannot bind processes to CPUs"
)

THREADS = """
import os, sys, threading
ready, done = threading.Barrier(3), threading.Event()
for _ in range(2):
    threading.Thread(target=lambda: (ready.wait(), done.wait()), daemon=True).start()
ready.wait()
print("ready", flush=True)
sys.stdin.readline()
print(*sorted({cpu for task in os.listdir("/proc/self/task") for cpu in os.sched_getaffinity(int(task))}))
"""


@needs_affinity
def test_all_threads_of_a_process_are_bound() -> None:
    """Those included that it started before."""
    (cpu, *_) = available_cpus()
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert apply(process.pid, [cpu]) is None
        assert process.communicate("\n")[0] == f"{cpu}\n"


def test_a_process_that_is_gone_is_told() -> None:
    """And nothing raises: where the kernel went is told by others."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    fault = apply(process.pid, [8, 0, 1, 2])
    assert fault == "not bound to CPUs 0,1,2,8: No such file or directory"


@needs_affinity
def test_cpus_that_are_not_there_are_told() -> None:
    """A container may have lost them since."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        fault = apply(process.pid, [1023])
        process.communicate(b"\n")
    assert fault == "not bound to CPUs 1023: Invalid argument"
