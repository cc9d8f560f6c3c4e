from __future__ import annotations

import threading

import pytest

from pytest_nbgroups.core.cancellation import Cancellation


def test_who_listens_is_told_once() -> None:
    """Later requests change neither that nor the reason."""
    cancellation, calls = Cancellation(), []
    with cancellation.calling(lambda: calls.append(cancellation.reason)):
        assert cancellation.reason is None
        cancellation.cancel("Ctrl-C")
        cancellation.cancel("SIGTERM")
    assert calls == ["Ctrl-C"]
    assert cancellation.reason == "Ctrl-C"


def test_who_comes_late_is_told_at_once() -> None:
    """An experiment that begins after Ctrl-C must not run."""
    cancellation, calls = Cancellation(), []
    cancellation.cancel("Ctrl-C")
    with cancellation.calling(lambda: calls.append("told")):
        assert calls == ["told"]


def test_who_has_left_is_not_told() -> None:
    """Its event loop is closed."""
    cancellation, calls = Cancellation(), []
    with cancellation.calling(lambda: calls.append("inner")):
        pass
    with pytest.raises(ValueError, match="x"), cancellation.calling(lambda: calls.append("raised")):
        raise ValueError("x")
    cancellation.cancel("Ctrl-C")
    assert calls == []


def test_all_are_told() -> None:
    """Several experiments may run in one process, and one listener be used twice."""
    cancellation, calls = Cancellation(), []

    def listener() -> None:
        calls.append("told")

    with cancellation.calling(listener), cancellation.calling(listener):
        cancellation.cancel("Ctrl-C")
    assert calls == ["told", "told"]


def test_nobody_leaves_while_being_told() -> None:
    """The end of the context waits for the call, which uses what the context holds open."""
    cancellation, steps = Cancellation(), []
    inside, let_go = threading.Event(), threading.Event()

    def listener() -> None:
        inside.set()
        let_go.wait(5)
        steps.append("told")

    canceller = threading.Thread(target=cancellation.cancel, args=["Ctrl-C"])
    with cancellation.calling(listener):
        canceller.start()
        assert inside.wait(5)
        threading.Timer(0.05, let_go.set).start()
    steps.append("left")
    canceller.join()
    assert steps == ["told", "left"]


def test_a_stop_may_be_asked_for_while_it_is_told() -> None:
    """A second Ctrl-C arrives in the same thread."""
    cancellation, calls = Cancellation(), []

    def listener() -> None:
        calls.append("told")
        cancellation.cancel("again")

    with cancellation.calling(listener):
        cancellation.cancel("Ctrl-C")
    assert calls == ["told"]
