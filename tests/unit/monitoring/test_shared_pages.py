"""When several processes are looked at closely, and what is said in between."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_nbgroups.monitoring import shared_pages as module
from pytest_nbgroups.monitoring.process_memory import Portion, ProcessMemory
from pytest_nbgroups.monitoring.shared_pages import CpuAllowance, SharedPages, Total

SHARE = 0.01


class Clocks:
    """Wall time and CPU time, which a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.cpu_s


class Sharers:
    """Processes of 100 bytes, which share all of them; each look at one costs CPU time."""

    tells_shared_pages = True

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self.cost_s = 0.01
        self.sharing = 1
        self.looks = 0
        self.ended: set[int] = set()

    def memory(self, pid: int) -> ProcessMemory | None:
        raise AssertionError(pid)

    def portion(self, pid: int) -> Portion | None:
        self.clocks.cpu_s += self.cost_s
        self.looks += 1
        if pid in self.ended:
            return Portion()
        return Portion(rss_bytes=100, proportional_bytes=100 // self.sharing)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(module, "time", clocks)
    return clocks


@pytest.fixture
def sharers(clocks: Clocks) -> Sharers:
    return Sharers(clocks)


@pytest.fixture
def pages(sharers: Sharers) -> SharedPages:
    return SharedPages(sharers, CpuAllowance(share=SHARE, at_first_s=0.1, most_s=1))


def total(pages: SharedPages, sharers: Sharers, pids: Iterable[int], *, matters: bool) -> Total:
    found = {pid: ProcessMemory(rss_bytes=100, peak_rss_bytes=100) for pid in pids}
    sharers.sharing = len(found)
    return pages.total(found, matters=matters)


def test_one_process_shares_nothing(pages: SharedPages, sharers: Sharers) -> None:
    """What it has is exact."""
    assert total(pages, sharers, [1], matters=True) == Total(used_bytes=100)
    assert sharers.looks == 0


def test_what_does_not_matter_is_not_looked_at(pages: SharedPages, sharers: Sharers) -> None:
    """Without a look there is but the sum; after one there is an estimate."""
    assert total(pages, sharers, [1, 2], matters=False) == Total(
        used_bytes=200, is_exact=False, is_upper_bound=True
    )
    assert total(pages, sharers, [1, 2], matters=True) == Total(used_bytes=100)
    assert total(pages, sharers, [1, 2], matters=False) == Total(used_bytes=100, is_exact=False)
    assert sharers.looks == 2


def test_an_estimate_is_no_less_than_the_largest_process(
    pages: SharedPages, sharers: Sharers
) -> None:
    """Even where many shared everything when they were looked at."""
    total(pages, sharers, range(10), matters=True)
    assert total(pages, sharers, [1, 2], matters=False).used_bytes == 100


def test_an_estimate_of_the_same_processes_counts_what_they_got_since(
    pages: SharedPages, sharers: Sharers
) -> None:
    """Hardly anything of that is shared."""
    total(pages, sharers, [1, 2], matters=True)
    grown = {pid: ProcessMemory(rss_bytes=150, peak_rss_bytes=150) for pid in (1, 2)}
    assert pages.total(grown, matters=False) == Total(used_bytes=200, is_exact=False)


def test_looks_are_paid_for(pages: SharedPages, sharers: Sharers, clocks: Clocks) -> None:
    """In the long run they take no more than their share of the time."""
    sharers.cost_s = 0.1
    for _ in range(4000):
        clocks.now_s += 0.25
        total(pages, sharers, [1, 2, 3], matters=True)
    assert pages.cpu_s == pytest.approx(clocks.cpu_s)
    assert clocks.cpu_s / clocks.now_s == pytest.approx(SHARE, rel=0.05)


def test_looks_at_the_same_processes_become_rarer(
    pages: SharedPages, sharers: Sharers, clocks: Clocks
) -> None:
    """Though they be cheap; with another process they are frequent again."""
    sharers.cost_s = 0.0001
    looked: list[float] = []
    for tick in range(40):
        clocks.now_s = tick * 0.25
        pids = [1, 2] if tick < 30 else [1, 3]
        if total(pages, sharers, pids, matters=True).is_exact:
            looked.append(clocks.now_s)
    assert looked == [0.0, 0.5, 1.5, 3.5, 5.5, 7.5, 8.0, 9.0]


def test_a_costly_look_waits_for_the_last_fork(
    pages: SharedPages, sharers: Sharers, clocks: Clocks
) -> None:
    """One in the midst would be all that there is for a long time."""
    sharers.cost_s = 0.3
    assert total(pages, sharers, [1, 2], matters=True).is_exact  # what it costs is not known yet
    clocks.now_s += 1000
    assert not total(pages, sharers, [1, 2, 3], matters=True).is_exact
    assert not total(pages, sharers, [1, 2, 3, 4], matters=True).is_exact
    assert total(pages, sharers, [1, 2, 3, 4], matters=True) == Total(used_bytes=100)


def test_what_ends_meanwhile_makes_a_look_incomplete(pages: SharedPages, sharers: Sharers) -> None:
    """It may have had more than the look met."""
    sharers.ended.add(2)
    assert total(pages, sharers, [1, 2], matters=True) == Total(used_bytes=50, is_complete=False)


def test_an_allowance_is_saved_up_to_a_limit() -> None:
    """What is overdrawn has to be earned before there is more."""
    allowance = CpuAllowance(share=0.01, at_first_s=0.1, most_s=0.5)
    assert allowance.left_s(100.0) == pytest.approx(0.1)
    allowance.spend(0.3)
    assert allowance.left_s(110.0) == pytest.approx(-0.1)
    assert allowance.left_s(130.0) == pytest.approx(0.1)
    assert allowance.left_s(1_000_000.0) == 0.5
