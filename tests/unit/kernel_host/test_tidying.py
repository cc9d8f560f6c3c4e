from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_nbgroups.kernel_host import tidying
from pytest_nbgroups.kernel_host.tidying import Farewell, Sighting, is_tracker

TRACKER, HELPER, BELOW, SLEEPER, POLLER, NEW = range(11, 17)
EVERYTHING = (TRACKER, HELPER, BELOW, SLEEPER, POLLER, NEW)
BEFORE = Sighting(
    waiting=frozenset({HELPER}), switches={TRACKER: 1, HELPER: 1, BELOW: 1, SLEEPER: 1, POLLER: 1}
)


class Clock:
    """Seconds that a test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, bool]]:
    """How often each process was switched, and whether it runs."""
    activity = {TRACKER: (1, False), HELPER: (2, False), BELOW: (1, False)}
    activity |= {SLEEPER: (1, False), POLLER: (9, False), NEW: (1, False)}
    monkeypatch.setattr(tidying, "_activity", activity.__getitem__)
    monkeypatch.setattr(tidying, "is_tracker", TRACKER.__eq__)
    below = {HELPER: [BELOW]}
    monkeypatch.setattr(tidying, "descendants", lambda pid: below.get(pid, []))
    return activity


@pytest.mark.parametrize(
    "command",
    [
        "/bin/python3 -c|from multiprocessing.resource_tracker import main;main(5)",
        "python -X a -c|from multiprocess.resource_tracker import main;main(5)",
        "python -c|from joblib.externals.loky.backend.resource_tracker import main; main(5, False)",
        "/site-packages/torch/bin/torch_shm_manager",
        "torch_shm_manager",
    ],
)
def test_trackers_are_known_by_their_command(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Those of multiprocessing, loky and torch, wherever they are installed."""
    monkeypatch.setattr(tidying, "command", {1: _parts(command)}.__getitem__)
    assert is_tracker(1)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "python -m ipykernel_launcher",
        "python -c|from multiprocessing.spawn import spawn_main; spawn_main()",
        "cat torch_shm_manager",
        "grep|multiprocessing.resource_tracker import main",
    ],
)
def test_other_commands_are_no_trackers(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Workers, what only names a tracker, and what has ended."""
    monkeypatch.setattr(tidying, "command", {1: _parts(command)}.__getitem__)
    assert not is_tracker(1)


def _parts(command: str) -> list[bytes]:
    """Split at spaces up to the code, which comes after a bar."""
    words, *code = command.split("|")
    return [part.encode() for part in (*words.split(), *code)]


def spared(farewell: Farewell) -> set[int]:
    trackers, others = farewell.spared(EVERYTHING)
    return trackers | others


@pytest.mark.usefixtures("processes")
def test_what_the_end_of_a_kernel_wakes_has_time() -> None:
    """A helper and what is below it more than others, a tracker most; one that sleeps on has none."""
    clock = Clock()
    farewell = Farewell(before=BEFORE, deadline_s=10.0, clock=clock)
    assert spared(farewell) == {TRACKER, HELPER, BELOW, POLLER, NEW}
    clock.now += tidying.AWAKE_S
    assert spared(farewell) == {TRACKER, HELPER, BELOW}
    clock.now = 100 + tidying.HELPERS_S
    assert spared(farewell) == {TRACKER}
    clock.now += tidying.TRACKERS_S
    assert spared(farewell) == set()


def test_a_reader_that_sleeps_on_is_no_helper(processes: dict[int, tuple[int, bool]]) -> None:
    """It has a pipe of the kernel, and does not wait for its end. One that runs has only not slept yet."""
    farewell = Farewell(before=BEFORE, deadline_s=10.0)
    processes[HELPER] = 1, False
    assert HELPER not in spared(farewell)
    processes[HELPER] = 1, True
    assert HELPER in spared(farewell)


@pytest.mark.usefixtures("processes")
def test_when_a_kernel_is_killed_only_trackers_have_time() -> None:
    """There is no sighting then."""
    assert spared(Farewell(before=None, deadline_s=10.0)) == {TRACKER}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("deadline_s", [0.2, 1.0, 8.0])
def test_half_of_the_time_is_left_for_killing(deadline_s: float) -> None:
    """However little there is."""
    clock = Clock()
    farewell = Farewell(before=BEFORE, deadline_s=deadline_s, clock=clock)
    clock.now += deadline_s / 4
    assert spared(farewell) == {TRACKER}
    clock.now = 100 + deadline_s / 2
    assert spared(farewell) == set()


def test_who_waits_for_a_kernel_is_seen_by_its_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what the kernel writes, or what another such one writes; who also writes there never sees its end."""
    pipes: Mapping[int, tuple[set[str], set[str]]] = {
        1: (set(), {"pipe:[a]", "pipe:[c]"}),
        2: ({"pipe:[a]"}, {"pipe:[b]"}),
        3: ({"pipe:[b]"}, set()),
        4: (set(), {"pipe:[c]"}),
        5: ({"pipe:[d]"}, set()),
    }
    monkeypatch.setattr(tidying, "_pipes", pipes.__getitem__)
    assert tidying._waiting(1, [2, 3, 4, 5]) == {2, 3}


def test_nothing_is_looked_at_below_a_kernel_without_children() -> None:
    """Most notebooks leave none."""
    assert tidying.sighted(1, []) is None
