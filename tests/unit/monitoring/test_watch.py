"""What is made of a process tree's numbers. The processes are files here."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernel_host.client import Reaped
from pytest_nbgroups.kernels.holding import Holding, Sample
from pytest_nbgroups.monitoring import shared_pages
from pytest_nbgroups.monitoring import watch as module
from pytest_nbgroups.monitoring.process_memory import (
    Portion,
    ProcessMemory,
    ProcReader,
)
from pytest_nbgroups.monitoring.watch import Excess, MemoryWatch

MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


class Clock:
    """Wall time and CPU time, which pass only if a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.cpu_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for each in (module, shared_pages):
        monkeypatch.setattr(each, "time", clock)
    return clock


class Processes:
    """A tree whose numbers a test sets."""

    def __init__(self, proc: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = proc
        self.clock = clock
        self.pids: list[int] = []
        self.samples: list[Sample] = []
        self.gpu: dict[str, int] | None = None
        monkeypatch.setattr(module, "descendants", lambda _root, **_: list(self.pids))
        self.kills = 0
        holding = Holding(
            on_sample=self.samples.append,
            gpu_memory=self._gpu_memory,
            ram_limit=Size(300 * MIB),
        )
        self.watch = MemoryWatch(
            1, holding, reader=ProcReader(str(proc)), on_excess=self._count_kill
        )

    def _count_kill(self) -> None:
        self.kills += 1

    def _gpu_memory(self, pids: Collection[int]) -> Mapping[str, int] | None:
        assert set(self.pids) <= set(pids)
        return self.gpu

    def set(
        self,
        pid: int,
        rss: int,
        *,
        peak: int | None = None,
        pss: int | None = None,
        rss_later: int | None = None,
    ) -> None:
        """In MiB."""
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        lines = ["Name:\tpython", f"VmHWM:\t{1024 * (peak or rss)} kB", f"VmRSS:\t{1024 * rss} kB"]
        (folder / "status").write_text("\n".join(lines) + "\n")
        (folder / "smaps_rollup").unlink(missing_ok=True)
        if pss is not None:
            (folder / "smaps_rollup").write_text(
                f"55-66 [rollup]\nRss: {1024 * (rss_later or rss)} kB\nPss:    {1024 * pss} kB\n"
            )
        if pid not in self.pids:
            self.pids.append(pid)

    def end(self, pid: int) -> None:
        self.pids.remove(pid)
        for file in (self.proc / str(pid)).iterdir():
            file.unlink()

    def peak(self, reaped: Reaped | None = None) -> float | None:
        """In MiB."""
        usage = self.watch.usage(reaped)
        return usage.peak_bytes / MIB if usage else None


@pytest.fixture
def processes(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(tmp_path, clock, monkeypatch)


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
    processes.watch.sample()
    assert processes.peak() == 420


def test_pages_that_may_not_be_read_count_in_full(processes: Processes) -> None:
    """Of a process of another user: too much is safe, too little is not, and it is said."""
    processes.set(5, 100, pss=90)
    processes.set(6, 50)
    processes.watch.sample()
    usage = processes.watch.usage(None)
    assert usage is not None
    assert (usage.peak_bytes, usage.is_upper_bound) == (140 * MIB, True)


def test_a_process_that_ends_while_it_is_looked_at(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shared is the others' now; it counts for nothing."""
    processes.set(5, 100, pss=100)
    processes.set(6, 100, pss=50)
    original = ProcReader.portion

    def end_before(reader: ProcReader, pid: int) -> Portion | None:
        if pid == 6:
            processes.end(6)
        return original(reader, pid)

    monkeypatch.setattr(ProcReader, "portion", end_before)
    processes.watch.sample()
    usage = processes.watch.usage(None)
    assert usage is not None
    assert (usage.peak_bytes, usage.is_upper_bound) == (100 * MIB, False)
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=103 * MIB)) == 203


def test_what_is_given_back_between_two_readings(processes: Processes) -> None:
    """It was there at the first, which is read before the closer look."""
    processes.set(5, 50, pss=50)
    processes.watch.sample()
    processes.set(6, 300, peak=500, pss=90, rss_later=100)
    processes.watch.sample()
    assert processes.peak() == 50 + 90 + 200 + 200


def test_another_program_in_the_same_process(processes: Processes) -> None:
    """Its peak starts anew, below that of the program before it."""
    processes.set(5, 500)
    processes.watch.sample()
    processes.set(6, 450, pss=450)
    processes.set(5, 10, peak=200, pss=10)
    processes.watch.sample()
    assert processes.peak() == 450 + 200


def test_an_estimate_is_replaced_by_a_closer_look(processes: Processes) -> None:
    """Nothing is looked at while forks are still being made, if that costs much."""
    processes.watch._shared_pages._cost_s = 1.0
    processes.set(5, 400, pss=200)
    processes.watch.sample()
    processes.set(6, 400, pss=200)
    processes.watch.sample()
    assert processes.peak() == 800
    processes.watch.sample()
    assert processes.peak() == 400


def test_an_estimate_stands_where_no_look_was_possible(processes: Processes) -> None:
    """Those processes have ended; all that is known is that it was no more than the sum."""
    processes.watch._shared_pages._cost_s = 1.0
    processes.set(5, 400, pss=400)
    processes.set(6, 400, pss=200)
    processes.watch.sample()
    processes.end(6)
    processes.watch.sample()
    usage = processes.watch.usage(None)
    assert usage is not None
    assert (usage.peak_bytes, usage.is_upper_bound) == (800 * MIB, True)


def test_a_process_that_nobody_saw(processes: Processes) -> None:
    """Known from when it was reaped, if it had more than a kernel takes to end; it ran beside what was always there."""
    processes.set(5, 60)
    processes.watch.sample()
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=500 * MIB)) == 560
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=69 * MIB)) == 129
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=67 * MIB)) == 60
    processes.set(5, 1000)
    processes.watch.sample()
    assert processes.peak(Reaped(cpu_s=1, peak_bytes=1040 * MIB)) == 1000


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
    """The most that was held of any one GPU; asked for once a second, and in the end."""
    processes.set(5, 60)
    processes.gpu = {"GPU-a": 3, "GPU-b": 1}
    processes.watch.sample()
    processes.set(5, 90)
    processes.gpu = {"GPU-a": 5, "GPU-b": 8}
    processes.watch.sample()
    assert [sample.gpu_used_bytes["GPU-b"] for sample in processes.samples] == [1, 1]
    processes.watch.sample(is_last=True)
    usage = processes.watch.usage(None)
    assert usage is not None
    assert usage.gpu_bytes == 8
    assert processes.samples[-1].gpu_used_bytes == {"GPU-a": 5, "GPU-b": 8}
    assert [sample.used_bytes for sample in processes.samples] == [60 * MIB, 90 * MIB, 90 * MIB]


def test_no_gpu_memory_is_known(processes: Processes) -> None:
    """Which is not the same as none that is used."""
    processes.set(5, 60)
    processes.watch.sample(is_last=True)
    usage = processes.watch.usage(None)
    assert usage is not None
    assert usage.gpu_bytes is None
    assert processes.samples[-1].gpu_used_bytes == {}


def test_less_than_the_peak_is_not_reported_at_once(processes: Processes) -> None:
    """Whoever listens may have to wait for a lock."""
    processes.set(5, 100)
    processes.watch.sample()
    processes.set(5, 90)
    processes.watch.sample()
    assert len(processes.samples) == 1
    processes.clock.now_s += 1
    processes.watch.sample()
    assert [sample.used_bytes for sample in processes.samples] == [100 * MIB, 90 * MIB]


def test_trouble_costs_a_warning(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the run."""

    def fail(_root: int, **_: object) -> list[int]:
        raise PermissionError("no")

    monkeypatch.setattr(module, "descendants", fail)
    with processes.watch:
        pass
    assert processes.watch.warnings == ["its memory was not measured: PermissionError: no"]
    assert processes.peak() is None


def test_a_sample_that_hangs_does_not_hold_up_the_run(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may; the kernel is ended all the same."""
    monkeypatch.setattr(module, "_END_S", 0.01)
    release = threading.Event()

    def hang(_root: int, **_: object) -> list[int]:
        release.wait(30)
        return []

    monkeypatch.setattr(module, "descendants", hang)
    with processes.watch:
        pass
    release.set()
    assert processes.watch.warnings == [
        "its memory was not measured to the end: a sample takes too long"
    ]


def test_more_than_the_limit(processes: Processes) -> None:
    """The tree is called to be killed, once; not for what one had between two samples."""
    processes.set(5, 250, peak=500)
    processes.watch.sample()
    assert (processes.kills, processes.watch.excess) == (0, None)
    processes.set(5, 301)
    processes.watch.sample()
    processes.watch.sample()
    assert processes.kills == 1
    assert processes.watch.excess == Excess(
        used_bytes=301 * MIB,
        processes=1,
        largest_bytes=301 * MIB,
        limit=Size(300 * MIB),
    )


def test_the_limit_counts_shared_pages_once(processes: Processes) -> None:
    """The sum of what five readers have is far above it, and nobody is killed."""
    processes.set(5, 200, pss=40)
    for pid in range(6, 10):
        processes.set(pid, 200, pss=40)
    for _ in range(3):
        processes.watch.sample()
    assert processes.kills == 0


def test_an_estimate_kills_nobody(processes: Processes) -> None:
    """Where looks are too expensive for the allowance, the limit takes one of its own."""
    processes.watch._shared_pages._cost_s = 1.0
    processes.set(5, 200, pss=100)
    processes.set(6, 200, pss=100)
    processes.watch.sample()
    assert (processes.kills, processes.peak()) == (0, 400)
    processes.watch._shared_pages._next_close_look = 0.0
    processes.set(7, 200, pss=150)
    processes.watch.sample()
    assert processes.kills == 1
    assert processes.watch.excess == Excess(
        used_bytes=350 * MIB,
        processes=3,
        largest_bytes=200 * MIB,
        limit=Size(300 * MIB),
    )


def test_close_looks_are_bounded(processes: Processes) -> None:
    """They take a tenth of the time at most, whatever the limit."""
    pages = processes.watch._shared_pages
    processes.set(5, 200, pss=100)
    found = processes.watch._found()
    assert pages.look_closely(found) is not None
    pages._next_close_look = processes.clock.now_s + 60
    assert pages.look_closely(found) is None
    processes.clock.now_s += 60
    assert pages.look_closely(found) is not None


def test_unreadable_pages_kill_nobody(processes: Processes) -> None:
    """What might be shared does not count; what the largest one has does."""
    processes.set(5, 200)
    processes.set(6, 200)
    processes.watch.sample()
    assert processes.kills == 0
    processes.set(6, 310)
    processes.watch.sample()
    assert processes.kills == 1


def test_nothing_is_killed_after_the_end(processes: Processes) -> None:
    """The last sample is for the peak; what runs then may be of the next notebook."""
    processes.set(5, 400)
    processes.watch._ended.set()
    processes.watch.sample(is_last=True)
    assert (processes.kills, processes.watch.excess) == (0, None)


def test_what_was_there_in_the_last_second(processes: Processes) -> None:
    """A tree that dies has less and less; what it had before counts."""
    processes.set(5, 200)
    processes.watch.sample()
    processes.set(5, 10)
    processes.watch.sample()
    assert processes.watch.recent_bytes == 200 * MIB
    processes.clock.now_s += 2
    processes.watch.sample()
    assert processes.watch.recent_bytes == 10 * MIB


def test_a_process_that_was_lost(processes: Processes) -> None:
    """One that was seen and has ended since this was last asked."""
    processes.set(5, 10)
    processes.set(6, 10, pss=10)
    processes.watch.sample()
    assert not processes.watch.has_lost_a_process()
    processes.end(6)
    assert processes.watch.has_lost_a_process()
    processes.watch.sample()
    assert not processes.watch.has_lost_a_process()


class Elsewhere:
    """A platform without shared pages or remembered peaks; processes have 10 bytes and 1.5 s each."""

    tells_shared_pages = False

    def memory(self, pid: int) -> ProcessMemory | None:
        return ProcessMemory(rss_bytes=10, peak_rss_bytes=10, cpu_s=1.5) if pid else None

    def portion(self, pid: int) -> Portion | None:
        raise AssertionError(pid)


@pytest.mark.parametrize(("pids", "is_upper_bound"), [([7], False), ([7, 8], True)])
def test_elsewhere(
    monkeypatch: pytest.MonkeyPatch, pids: list[int], *, is_upper_bound: bool
) -> None:
    """The sum is all that is known of several processes, and CPU time is what was seen."""
    monkeypatch.setattr(module, "descendants", lambda _root, **_: pids)
    watch = MemoryWatch(1, Holding(), reader=Elsewhere())
    watch.sample()
    usage = watch.usage(None)
    assert usage is not None
    assert (usage.peak_bytes, usage.is_upper_bound) == (10 * len(pids), is_upper_bound)
    assert usage.cpu_s == 1.5 * len(pids)
    reaped = watch.usage(Reaped(cpu_s=9, peak_bytes=400 * MIB))
    assert reaped is not None
    assert (reaped.peak_bytes, reaped.cpu_s) == (400 * MIB, 9)


class Pauses:
    """In the place of the event that ends the sampling: notes how long each pause would be."""

    def __init__(self, count: int) -> None:
        self.noted: list[float] = []
        self._count = count

    def wait(self, pause_s: float) -> bool:
        self.noted.append(pause_s)
        return len(self.noted) > self._count

    def is_set(self) -> bool:
        return len(self.noted) > self._count


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.001, 0.25), (0.0035, 0.5), (7.0, 1000.0)])
def test_it_costs_little(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, took_s: float, pause_s: float
) -> None:
    """Sampling takes at most 0.7 % of a core: the longer a sample takes, the longer is the pause."""

    def busy(_root: int, **_: object) -> list[int]:
        clock.cpu_s += took_s
        return []

    monkeypatch.setattr(module, "descendants", busy)
    watch, pauses = MemoryWatch(1, Holding()), Pauses(3)
    monkeypatch.setattr(watch, "_ended", pauses)
    watch._watch()
    assert pauses.noted == pytest.approx([0.0, pause_s, pause_s, pause_s])
    assert watch.cpu_s == pytest.approx(4 * took_s)
