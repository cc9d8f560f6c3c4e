"""How a claim waits. Nothing sleeps here: the clock moves when it would."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseTimeoutError
from pytest_nbgroups.leases import waiting
from pytest_nbgroups.leases.waiting import Wait, look
from pytest_nbgroups.scheduling.obstacles import Obstacle

POLL_S = 0.05


class Clock:
    """Time passes only in `sleep`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


class Bench:
    """A wait, and what it has told."""

    def __init__(self, folder: Path, *, wait_s: float | None = None) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.is_cancelled = False
        self.wait = Wait(
            on_wait=self.lines.append, cancelled=lambda: self.is_cancelled, wait_s=wait_s
        )

    def refuse(self, lacking: str, detail: str = "") -> None:
        """Have it refused, and wait until it looks again."""
        self.wait.refused(Obstacle(lacking=lacking, detail=detail))
        self.wait.pause(self.folder, look(self.folder), poll_s=POLL_S)


def test_it_looks_again_now_and_then(clock: Clock, tmp_path: Path) -> None:
    """A holder that dies changes nothing in the folder; claims do not all look at one moment."""
    bench = Bench(tmp_path)
    bench.refuse("needs luck")
    assert 0.4 <= bench.wait.elapsed_s <= 0.6 + 1.4 * POLL_S
    assert all(0.6 * POLL_S <= pause <= 1.4 * POLL_S for pause in clock.pauses)
    assert len(set(clock.pauses)) == len(clock.pauses) > 1


def test_a_change_ends_the_pause(clock: Clock, tmp_path: Path) -> None:
    """A ticket that comes or goes is seen at the next look."""
    bench = Bench(tmp_path)
    before = look(tmp_path)
    (tmp_path / "ticket").touch()
    bench.wait.pause(tmp_path, before, poll_s=POLL_S)
    assert len(clock.pauses) == 1


@pytest.mark.usefixtures("clock")
def test_only_news_is_told(tmp_path: Path) -> None:
    """The first reason after a moment, then each other reason; numbers are no news."""
    bench = Bench(tmp_path)
    bench.refuse("needs 8GB of RAM", "1 GiB are free")
    bench.refuse("needs 8GB of RAM", "2 GiB are free")
    bench.refuse("needs 1 gpu")
    assert bench.lines == ["needs 8GB of RAM, 1 GiB are free", "needs 1 gpu"]
    assert bench.wait.waited_for == "needs 8GB of RAM, 1 GiB are free"


def test_a_short_wait_is_not_told(clock: Clock, tmp_path: Path) -> None:
    """Most are over in a quarter of a second, but the reason is remembered."""
    bench = Bench(tmp_path)
    bench.wait.refused(Obstacle(lacking="needs luck"))
    clock.now_s += 0.24
    bench.wait.pause(tmp_path, None, poll_s=POLL_S)
    assert (bench.lines, bench.wait.waited_for) == ([], "needs luck")


@pytest.mark.usefixtures("clock")
def test_the_end_of_patience(tmp_path: Path) -> None:
    """The error says how long it waited and for what."""
    bench = Bench(tmp_path, wait_s=2.0)

    def wait_for_ever() -> None:
        while True:
            bench.refuse("needs luck")

    with pytest.raises(LeaseTimeoutError, match=r"^no lease within 2\.00s: needs luck$"):
        wait_for_ever()
    assert 2.0 <= bench.wait.elapsed_s <= 2.0 + 1.4 * POLL_S


def test_no_patience_asks_once(clock: Clock, tmp_path: Path) -> None:
    """With a wait of zero the first refusal is the answer."""
    with pytest.raises(LeaseTimeoutError):
        Bench(tmp_path, wait_s=0).refuse("needs luck")
    assert clock.pauses == []


def test_a_cancelled_wait_ends_at_once(clock: Clock, tmp_path: Path) -> None:
    """Before it sleeps."""
    bench = Bench(tmp_path)
    bench.is_cancelled = True
    with pytest.raises(LeaseCancelledError):
        bench.refuse("needs luck")
    assert clock.pauses == []


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """It looks like nothing, and different from one that is there."""
    assert look(tmp_path / "gone") is None
    assert look(tmp_path) is not None
