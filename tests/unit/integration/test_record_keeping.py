"""When a session's record is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pytest_nbgroups.integration.record_keeping import RecordKeeping

SOON_S = 30.0


class Bench:
    """A record that takes as long to write as it is told, by a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.takes_s = 0.0
        self.written = threading.Semaphore(0)
        self.count = 0
        self.lock = threading.RLock()
        self.keeping = RecordKeeping(self.write, self.lock, clock=lambda: self.now_s)

    def write(self) -> None:
        self.now_s += self.takes_s
        self.count += 1
        self.written.release()

    def keep_up(self) -> int:
        """How often it has been written by now."""
        with self.lock:
            self.keeping.keep_up()
            return self.count


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    with bench.lock:
        bench.keeping.forget()


def test_what_takes_no_time_is_written_at_once(bench: Bench) -> None:
    """Whoever looks after an experiment finds it."""
    bench.takes_s = 0.02
    assert [bench.keep_up() for _ in range(50)] == list(range(1, 51))


def test_what_takes_long_is_written_a_twentieth_of_the_time(bench: Bench) -> None:
    """However often there is something new."""
    bench.takes_s = 1.0
    for _ in range(1000):
        bench.keep_up()
        with bench.lock:
            bench.keeping.forget()
        bench.now_s += 1.0
    assert bench.count == pytest.approx(1000 / 20, abs=3)


def test_what_is_put_off_is_written_soon(bench: Bench) -> None:
    """Once for all, also when nothing else finishes."""
    bench.takes_s = 0.03
    assert [bench.keep_up() for _ in range(3)] == [1, 1, 1]
    assert all(bench.written.acquire(timeout=SOON_S) for _ in range(2))
    with bench.lock:
        assert bench.count == 2


def test_what_is_put_off_is_written_at_the_end(bench: Bench) -> None:
    """Whether there is a terminal or not."""
    bench.takes_s = 60.0
    assert [bench.keep_up() for _ in range(3)] == [1, 1, 1]
    bench.keeping.finish()
    bench.keeping.finish()
    assert bench.count == 2


def test_what_is_put_off_never_replaces_the_last_word(bench: Bench) -> None:
    """After the end's own writing, which says that the session is over, comes no other."""
    bench.takes_s = 60.0
    assert [bench.keep_up() for _ in range(2)] == [1, 1]
    with bench.lock:
        bench.keeping.forget()
    bench.keeping.finish()
    assert bench.count == 1
