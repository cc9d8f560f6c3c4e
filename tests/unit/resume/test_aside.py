"""Reading that takes too long is left behind, and cannot change anything later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pytest_nbgroups.resume.aside import aside, aside_blocking
from pytest_nbgroups.resume.bounds import (
    GRACE_S,
    LONGEST_S,
    STALL_S,
    ReadingBounds,
    ReadingCutError,
    ReadingStoppedError,
)


class Clock:
    """Stands still, unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def waits_async(work: Callable[[], object], bounds: ReadingBounds) -> object:
    return asyncio.run(aside(work, bounds))


both = pytest.mark.parametrize("wait_for", [waits_async, aside_blocking])


@both
def test_what_work_gives_and_raises(
    wait_for: Callable[[Callable[[], object], ReadingBounds], object],
) -> None:
    """It reaches who waits; a TimeoutError of its own is none of ours."""
    assert wait_for(lambda: 7, ReadingBounds()) == 7

    def fail() -> None:
        raise TimeoutError("from a file system")

    with pytest.raises(TimeoutError, match="from a file system"):
        wait_for(fail, ReadingBounds())


@both
def test_a_read_without_an_answer_is_left_behind(
    wait_for: Callable[[Callable[[], object], ReadingBounds], object],
) -> None:
    """The reason names the file; the reader, once it is answered, is stopped."""
    clock, answer = Clock(), threading.Event()
    bounds = ReadingBounds(folder="/repo/A", clock=clock)
    ends: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        bounds.at("/repo/A/data/x.csv")
        clock.now += STALL_S + 0.1
        answer.wait()
        try:
            bounds.check()
        except BaseException as exc:
            ends.append(exc)
            raise
        finally:
            ended.set()

    try:
        reason = r"^reading ended at data/x\.csv after 0 B, no answer for 30\.0s$"
        with pytest.raises(ReadingCutError, match=reason):
            wait_for(read, bounds)
        with pytest.raises(ReadingCutError, match=reason):  # there is no second try
            wait_for(lambda: bounds.at("/repo/A/other"), bounds)
        with bounds.reader():
            answer.set()
            assert ended.wait(60)
    finally:
        answer.set()
    assert isinstance(ends[0], ReadingStoppedError)


def test_a_cancelled_run_does_not_wait_for_a_reader() -> None:
    """Neither does the end of its event loop."""
    answer, reads = threading.Event(), threading.Event()

    def read() -> None:
        reads.set()
        answer.wait()

    async def cancelled() -> None:
        task = asyncio.create_task(aside(read, ReadingBounds()))
        await asyncio.to_thread(reads.wait)
        task.cancel()
        await task

    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(cancelled())
    finally:
        answer.set()


def test_reading_leaves_half_of_the_time_to_the_notebooks() -> None:
    """Of what is left until the deadline when it begins."""
    clock = Clock()
    bounds = ReadingBounds(folder="/repo", clock=clock)
    bounds.ends_at = 120.0
    with bounds.reader():
        bounds.at("/repo/a")
        clock.now = 109.9
        bounds.check()
        bounds.watch()
        clock.now = 110.0 + GRACE_S
        bounds.watch()
        reason = (
            r"^reading ended at a after 0 B in 10\.0s, half of the time left until the deadline$"
        )
        with pytest.raises(ReadingCutError, match=reason):
            bounds.check()
    assert bounds.reason
    assert bounds.spent_s == 10.0 + GRACE_S


def test_without_a_deadline_there_is_a_longest_time() -> None:
    """Also if bytes keep coming: who waits does not rely on the reader."""
    clock = Clock()
    bounds = ReadingBounds(folder="/repo", clock=clock)
    with bounds.reader():
        bounds.at("/repo/a")
        for _ in range(int(LONGEST_S)):
            clock.now += 1
            bounds.count(1)
            bounds.watch()
        clock.now += GRACE_S + 0.1
        with pytest.raises(ReadingCutError, match=r"after 300 B in 5m00s, the limit$"):
            bounds.watch()
