"""What is made of a process tree's numbers. The processes are files here."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from pytest_nbgroups.execution import memory
from pytest_nbgroups.execution.holding import Holding, Sample
from pytest_nbgroups.execution.host_client import Reaped
from pytest_nbgroups.execution.memory import MemoryWatch

MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


class Processes:
    """A tree whose numbers a test sets."""

    def __init__(self, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = proc
        self.pids: list[int] = []
        self.samples: list[Sample] = []
        self.gpu: dict[str, int] | None = None
        monkeypatch.setattr(memory, "descendants", lambda _root: list(self.pids))
        holding = Holding(on_sample=self.samples.append, gpu_memory=self._gpu_memory)
        self.watch = MemoryWatch(1, holding, proc=proc)

    def _gpu_memory(self, pids: Collection[int]) -> Mapping[str, int] | None:
        assert list(pids) == self.pids
        return self.gpu

    def set(self, pid: int, rss: int, *, peak: int | None = None, pss: int | None = None) -> None:
        """In MiB."""
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        lines = ["Name:\tpython", f"VmHWM:\t{1024 * (peak or rss)} kB", f"VmRSS:\t{1024 * rss} kB"]
        (folder / "status").write_text("\n".join(lines) + "\n")
        (folder / "smaps_rollup").unlink(missing_ok=True)
        if pss is not None:
            (folder / "smaps_rollup").write_text(f"55-66 [rollup]\nRss: 9 kB\nPss:    {1024 * pss} kB\n")
        if pid not in self.pids:
            self.pids.append(pid)

    def peak(self, reaped: Reaped | None = None) -> float | None:
        """In MiB."""
        usage = self.watch.usage(reaped)
        return usage.peak_bytes / MIB if usage else None


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(tmp_path, monkeypatch)


def test_a_peak_between_two_samples(processes: Processes) -> None:
    """The operating system remembers it, and it counts once."""
    processes.set(5, 100)
    processes.watch.sample()
    processes.set(5, 120, peak=600)
    processes.watch.sample()
    processes.watch.sample()
    assert processes.peak() == 600


def test_shared_pages_count_once(processes: Processes) -> None:
    """Four readers of what their parent has: their own part is small."""
    processes.set(5, 400)
    processes.watch.sample()
    for pid in range(6, 10):
        processes.set(pid, 400, pss=84)
    processes.set(5, 400, pss=84)
    processes.watch.sample()
    assert processes.peak() == 420


def test_pages_that_may_not_be_read_count_in_full(processes: Processes) -> None:
    """Of a process of another user: too much is safe, too little is not."""
    processes.set(5, 100, pss=90)
    processes.set(6, 50)
    processes.watch.sample()
    assert processes.peak() == 140


def test_a_process_that_nobody_saw(processes: Processes) -> None:
    """Known from when it was reaped; it ran beside what was always there."""
    processes.set(5, 60)
    processes.watch.sample()
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=500 * MIB)) == 560
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=61 * MIB)) == 60


def test_cpu_time_is_what_was_reaped(processes: Processes) -> None:
    """Every process of the tree is, in the end."""
    processes.set(5, 60)
    processes.watch.sample()
    usage = processes.watch.usage(Reaped(cpu_s=2.5, peak_bytes=MIB))
    assert usage is not None
    assert (usage.cpu_s, usage.is_upper_bound, usage.gpu_bytes) == (2.5, False, None)


def test_nothing_was_seen(processes: Processes) -> None:
    """A kernel that ended at once has no numbers, rather than zeros."""
    processes.watch.sample()
    assert processes.peak() is None
    processes.pids.append(7)
    processes.watch.sample()
    assert processes.peak() is None


def test_gpu_memory(processes: Processes) -> None:
    """The most that was held of any one GPU; None where nothing can tell."""
    processes.set(5, 60)
    processes.gpu = {"GPU-a": 3, "GPU-b": 8}
    processes.watch.sample()
    processes.set(5, 90)
    processes.gpu = {"GPU-a": 5, "GPU-b": 1}
    processes.watch.sample()
    usage = processes.watch.usage(None)
    assert usage is not None
    assert usage.gpu_bytes == 8
    assert [sample.gpu_used_bytes["GPU-a"] for sample in processes.samples] == [3, 5]
    assert [sample.used_bytes for sample in processes.samples] == [60 * MIB, 90 * MIB]


def test_what_hardly_changes_is_not_told_at_once(processes: Processes) -> None:
    """Whoever listens may have to wait for a lock."""
    processes.set(5, 100)
    processes.watch.sample()
    processes.set(5, 101)
    processes.watch.sample()
    assert len(processes.samples) == 1


def test_trouble_costs_a_warning(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the run."""

    def fail(_root: int) -> list[int]:
        raise PermissionError("no")

    monkeypatch.setattr(memory, "descendants", fail)
    with processes.watch:
        pass
    assert processes.watch.warnings == ["its memory was not measured: PermissionError: no"]
    assert processes.peak() is None


def test_it_samples_while_it_is_entered() -> None:
    """At once and a last time, of the real processes below this one."""
    samples: list[Sample] = []
    with MemoryWatch(os.getppid(), Holding(on_sample=samples.append)) as watch:
        pass
    usage = watch.usage(None)
    assert usage is not None
    assert usage.peak_bytes > MIB
    assert not watch.warnings
