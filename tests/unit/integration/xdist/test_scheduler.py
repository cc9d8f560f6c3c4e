"""The scheduler as xdist sees it, with workers that only note what they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machines import budget

from pytest_nbgroups.core.resources import Claim, Estimate, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.integration.xdist import scheduler as module
from pytest_nbgroups.integration.xdist.items import CollectedItems, Declared
from pytest_nbgroups.integration.xdist.scheduler import ExperimentScheduler
from pytest_nbgroups.leases.pool import HeldLease, LeasePool
from pytest_nbgroups.scheduling.backlog import Verdict
from pytest_nbgroups.scheduling.needs import SlowStart

pytestmark = pytest.mark.xdist

TINY = Resources(cpus=0.1, ram=Size(10**6, "1MB"))


@dataclass(eq=False)
class FakeNode:
    """A worker as the controller has it."""

    name: str
    sent: list[list[int]] = field(default_factory=list)
    shutting_down: bool = False
    told: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.sent.append(list(indices))

    def shutdown(self) -> None:
        self.shutting_down = True

    def notify_inproc(self, name: str, *, node: Any, item_index: int, duration: float) -> None:
        self.event = (name, node, item_index, duration)
        self.told.release()


class Session:
    """A scheduler, its workers, and what was reported."""

    def __init__(
        self,
        folder: Path,
        collection: Sequence[str],
        experiments: dict[str, Resources],
        *,
        workers: int = 2,
        durations: dict[str, float] | None = None,
        tx: Sequence[str] = (),
    ) -> None:
        knowledge = Knowledge(
            session=folder.name,
            budget=budget(),
            slow_start=SlowStart(default_bytes=10**6),
            estimates={n: Estimate(runs=1, duration_s=s) for n, s in (durations or {}).items()},
        )
        settings = Settings(rootdir=folder, artifacts=folder / ".experiments")
        self.planner = Planner(knowledge, settings)
        self.machine = ThisMachine(LeasePool(folder.parent / "pool"))
        self.reports: list[pytest.CollectReport] = []
        self.collection = list(collection)
        config: Any = SimpleNamespace(
            getoption=lambda *_: list(tx) or ["popen"] * workers,
            hook=SimpleNamespace(
                pytest_collectreport=self.note,
            ),
        )
        declared = {
            nodeid: Declared(name=nodeid.partition("::")[0], resources=resources)
            for nodeid, resources in experiments.items()
        }
        items = CollectedItems(experiments=declared)
        facts: Any = SimpleNamespace(
            config=config,
            planner=self.planner,
            machine_state=lambda: self.machine.state(self.planner.budget),
        )
        self.scheduler: Any = ExperimentScheduler(facts, lambda: items)
        self.nodes = [FakeNode(f"gw{number}") for number in range(workers)]

    def lease(self, resources: Resources) -> AbstractContextManager[HeldLease]:
        """Hold a lease, as an experiment of this session."""
        need = self.planner.need("theirs", resources)
        return self.machine.pool.lease(
            self.planner.claim("theirs", "", need),
            admission=partial(self.planner.admission, self.machine.readings),
        )

    def note(self, report: pytest.CollectReport) -> None:
        self.reports.append(report)

    def join(self, node: FakeNode, collection: Sequence[str] | None = None) -> None:
        """As `DSession` does for a worker that is ready and has collected."""
        self.scheduler.add_node(node)
        self.scheduler.add_node_collection(node, collection or self.collection)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()

    def begin(self) -> Sequence[Any]:
        for node in self.nodes:
            self.join(node)
        return self.nodes

    def finish(self, node: FakeNode) -> None:
        """Have a worker end all that it was sent, and come to rest at the idle item."""
        for index in node.sent[-1][:-1]:
            self.scheduler.mark_test_complete(node, index, 0.1)


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., Session]:
    def make(*experiments: str, tests: Sequence[str] = (), **more: Any) -> Session:
        declared = {f"{name}::notebooks": TINY for name in experiments}
        return Session(tmp_path / "s", [*declared, *tests], declared, **more)

    return make


def test_a_worker_is_sent_one_experiment_and_the_idle_item(session: Callable[..., Session]) -> None:
    """Nothing is queued behind an experiment; the next is chosen when a worker is free."""
    made = session("A", "B", "C", durations={"A": 3, "B": 1, "C": 1})
    first, second = made.begin()
    assert (first.sent, second.sent) == ([[0, 3]], [[1, 3]])
    made.finish(second)
    assert (first.sent, second.sent) == ([[0, 3]], [[1, 3], [2, 3]])
    made.scheduler.mark_test_complete(second, 3)  # the idle item between the two
    assert not second.shutting_down
    assert made.scheduler.has_pending
    made.finish(second)
    assert second.shutting_down
    assert not made.scheduler.tests_finished
    made.finish(first)
    assert made.scheduler.tests_finished
    assert not made.scheduler.has_pending


def test_nothing_starts_before_all_workers_have_collected(session: Callable[..., Session]) -> None:
    """A number before ``*`` stands for so many workers."""
    made = session("A", "B", workers=3, tx=["popen", "2*popen"])
    made.join(made.nodes[0])
    made.join(made.nodes[1])
    assert not made.scheduler.collection_is_completed
    assert [node.sent for node in made.nodes] == [[], [], []]
    made.join(made.nodes[2])
    assert [node.sent for node in made.nodes] == [[[0, 2]], [[1, 2]], []]


def test_the_longest_comes_first(session: Callable[..., Session]) -> None:
    """By what history expects."""
    made = session("A", "B", "C", workers=1, durations={"A": 1, "B": 3, "C": 2})
    (node,) = made.begin()
    for _ in range(3):
        made.finish(node)
    assert [sent[0] for sent in node.sent] == [1, 2, 0]


def test_tests_go_by_file(session: Callable[..., Session]) -> None:
    """One worker takes them first, a file at a time; a long file is cut at a fair share."""
    tests = ["test_a.py::one", "test_a.py::two", "test_b.py::one", "test_b.py::two"]
    made = session("A", tests=tests)
    first, second = made.begin()
    assert first.sent == [[1, 2, 5]]
    assert second.sent == [[0, 5]]
    made.scheduler.mark_test_complete(first, 1)
    assert first.sent == [[1, 2, 5]]
    made.scheduler.mark_test_complete(first, 2)
    assert first.sent[1:] == [[3, 4, 5]]


def test_what_cannot_run_here_waits_for_nothing(tmp_path: Path) -> None:
    """An experiment that the machine can never grant is told at once, and passes none by."""
    never = Resources(gpus=99)
    declared = {"A::notebooks": Resources(exclusive=True), "B::notebooks": never}
    made = Session(tmp_path / "s", list(declared), declared)
    first, second = made.begin()
    assert [first.sent, second.sent] == [[[1, 2]], [[0, 2]]]


def test_a_worker_that_dies(session: Callable[..., Session]) -> None:
    """Its item is named; what stood behind that is run by others, and it by none."""
    tests = ["t.py::one", "t.py::two", "t.py::three", "t.py::four"]
    made = session(tests=tests, workers=1)
    (node,) = made.begin()
    made.scheduler.mark_test_complete(node, 0)
    assert made.scheduler.remove_node(node) == "t.py::two"
    assert made.scheduler.nodes == []
    assert not made.scheduler.tests_finished
    assert made.scheduler.not_run() == ["t.py::three", "t.py::four"]
    other = FakeNode("gw1")
    made.join(other)
    assert other.sent == [[2, 3, 4]]
    assert made.scheduler.not_run() == []


def test_a_worker_that_dies_with_nothing_to_do(session: Callable[..., Session]) -> None:
    """It takes no item down; one that never got ready is not known."""
    made = session("A")
    _, second = made.begin()
    assert made.scheduler.remove_node(second) is None
    with pytest.raises(KeyError):
        made.scheduler.remove_node(FakeNode("gw9"))


def test_an_item_that_is_to_run_once_more(session: Callable[..., Session]) -> None:
    """What ``pytest_handlecrashitem`` asks for."""
    made = session("A", workers=1)
    (node,) = made.begin()
    assert made.scheduler.remove_node(node) == "A::notebooks"
    made.scheduler.mark_test_pending("A::notebooks")
    assert not made.scheduler.tests_finished
    other = FakeNode("gw1")
    made.join(other)
    assert other.sent == [[0, 1]]


def test_nothing_is_stolen(session: Callable[..., Session]) -> None:
    """A worker has nothing to be stolen."""
    made = session("A")
    with pytest.raises(NotImplementedError):
        made.scheduler.remove_pending_tests_from_node(made.nodes[0], [0])


def test_workers_that_differ_from_the_start(session: Callable[..., Session]) -> None:
    """It is reported as xdist does, and nothing runs."""
    made = session("A")
    made.join(made.nodes[0])
    made.join(made.nodes[1], ["A::notebooks", "t.py::more"])
    (report,) = made.reports
    assert (report.nodeid, report.outcome) == ("gw1", "failed")
    assert "Different tests were collected between gw0 and gw1" in str(report.longrepr)
    assert "+t.py::more" in str(report.longrepr)
    assert made.scheduler.tests_finished
    assert [(node.sent, node.shutting_down) for node in made.nodes] == [([], True), ([], True)]


def test_a_replacement_that_differs(session: Callable[..., Session]) -> None:
    """It is not used; where no other worker is left the session ends, and what waits is named."""
    made = session("A", "B", "C")
    first, second = made.begin()
    assert made.scheduler.remove_node(first) == "A::notebooks"
    made.join(FakeNode("gw2"), ["A::notebooks"])
    assert [report.nodeid for report in made.reports] == ["gw2"]
    assert not made.scheduler.tests_finished
    assert made.scheduler.remove_node(second) == "B::notebooks"
    assert made.scheduler.tests_finished
    assert made.scheduler.not_run() == ["C::notebooks"]


def test_what_others_release_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Callable[..., Session]
) -> None:
    """Workers that are free look again by themselves, though nothing of the session begins or ends."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.01)
    one, two = Resources(cpus=0.1, locks=("x",)), Resources(cpus=0.1, locks=("y",))
    other = session("theirs")
    with other.lease(one):
        with other.lease(two):
            declared = {"A::notebooks": one, "B::notebooks": two}
            made = Session(tmp_path / "t", list(declared), declared)
            first, second = made.begin()
            assert (first.sent, second.sent) == ([[0, 2]], [])
            assert first.told.acquire(timeout=10)
            assert first.event == ("runtest_protocol_complete", first, 2, 0.0)
        made.scheduler.mark_test_complete(first, 2)
        assert second.sent == [[1, 2]]


def test_one_stands_in_the_queue_of_the_pool(
    tmp_path: Path, session: Callable[..., Session]
) -> None:
    """For what another session holds; the other workers take what can run."""
    lock = Resources(cpus=0.1, locks=("x",))
    other = session("theirs")
    with other.lease(lock):
        declared = {"A::notebooks": lock, "B::notebooks": lock, "C::notebooks": TINY}
        made = Session(tmp_path / "t", list(declared), declared, workers=3)
        assert [node.sent for node in made.begin()] == [[[2, 3]], [[0, 3]], []]


def test_alarms_end_with_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is set while a worker is free and something waits."""
    alarms: list[FakeTimer] = []

    class FakeTimer:
        daemon = False
        is_set = False

        def __init__(self, _seconds: float, _function: Callable[[], None]) -> None:
            alarms.append(self)

        def start(self) -> None:
            self.is_set = self.daemon

        def cancel(self) -> None:
            self.is_set = False

    monkeypatch.setattr(module, "threading", SimpleNamespace(Timer=FakeTimer))
    lock = Resources(cpus=0.1, locks=("x",))
    declared = {"A::notebooks": lock, "B::notebooks": lock}
    made = Session(tmp_path / "s", list(declared), declared)
    first, _ = made.begin()
    made.scheduler.mark_test_complete(first, len(declared))
    assert [alarm.is_set for alarm in alarms] == [False, True]
    made.finish(first)
    assert [alarm.is_set for alarm in alarms] == [False, False]


def test_what_one_worker_may_not_start_is_asked_once(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many workers are free and however much waits: no other one may start it either."""
    made = session(*(f"E{number}" for number in range(40)), workers=9)
    asked: list[str] = []

    def one_at_a_time(claim: Claim, ours: Sequence[Claim], _around: object) -> Verdict:
        asked.append(claim.experiment)
        return "no" if ours else "start"

    monkeypatch.setattr(made.planner, "verdict", one_at_a_time)
    first, *others = made.begin()
    assert not any(other.sent for other in others)
    asked.clear()
    made.finish(first)
    assert asked == ["E1", "E2"]
