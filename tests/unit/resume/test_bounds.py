"""How much is read for checkpoints, and what the reason says where that is not all."""

from __future__ import annotations

import threading

import pytest

from pytest_nbgroups.core.units import Size
from pytest_nbgroups.resume.bounds import (
    STALL_S,
    ReadingBounds,
    ReadingCutError,
    ReadingStoppedError,
)


def bounds(now: list[float] | None = None, **more: object) -> ReadingBounds:
    """Bounds whose clock shows the last of ``now``."""
    times = now or [0.0]
    return ReadingBounds(folder="/repo", clock=lambda: times[-1], **more)  # type: ignore[arg-type]


def test_as_much_as_the_limit_is_read() -> None:
    """To the byte, and a file that would be over it is refused before it is read."""
    made = bounds(limit=Size(1000, "1kB"))
    made.at("/repo/a")
    made.expect(1000)
    made.count(1000)
    with pytest.raises(ReadingCutError, match=r"^reading a \(1 B\) after 1000 B would exceed"):
        made.expect(1)


def test_reading_stays_cut() -> None:
    """With the first reason: files after that are not recorded either."""
    made = bounds(limit=Size(1000, "1kB"))
    made.at("/repo/a")
    with pytest.raises(ReadingCutError):
        made.expect(2000)
    first = made.reason
    with pytest.raises(ReadingCutError) as caught:
        made.at("/repo/b")
    assert str(caught.value) == first == made.reason
    assert first.startswith("reading a (2 KiB) would exceed experiment_checkpoint_limit = 1kB; ")


def test_a_look_without_an_answer() -> None:
    """Whoever waits for the reader ends the wait, and the reason names where it hangs."""
    now = [0.0]
    made = bounds(now)
    with made.reader():
        made.at("/repo/a")
        now.append(STALL_S)
        made.watch()
        now.append(STALL_S + 0.1)
        with pytest.raises(ReadingCutError, match=r"at a after 0 B, no answer for 30\.0s$"):
            made.watch()


def test_one_reader_leaves_the_other_behind() -> None:
    """The earlier one is stopped at its next look, and its time is not counted."""
    now = [0.0]
    made = bounds(now)
    outcome: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with made.reader():
            began.set()
            assert go_on.wait(30)
            try:
                made.check()
            except ReadingStoppedError:
                outcome.append("stopped")

    thread = threading.Thread(target=first)
    thread.start()
    assert began.wait(30)
    with made.reader():
        made.check()
        now.append(5.0)
        go_on.set()
        thread.join(30)
    assert outcome == ["stopped"]
    assert made.spent_s == 5.0


def test_a_cancelled_run_stops_its_reader() -> None:
    """At once, and it is no reason to record less."""
    made = bounds(is_stopped=lambda: True)
    with pytest.raises(ReadingStoppedError):
        made.at("/repo/a")
    assert made.reason == ""
