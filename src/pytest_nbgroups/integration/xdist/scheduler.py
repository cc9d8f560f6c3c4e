"""The scheduler for ``--dist load``: one unit a worker, the next one chosen when a worker is free.

xdist starts an item only when it knows its successor, and runs what it has queued behind a long item
only after that. So each unit is followed by the *idle* item, which each worker has put behind its
items (see `pytest_nbgroups.integration.xdist.idle`): a worker never holds anything that another could run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.engines.planner import MachineState
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.xdist.items import CollectedItems, Declared
from pytest_nbgroups.integration.xdist.limits import worker_count
from pytest_nbgroups.scheduling.backlog import Backlog, Unit, Verdict, fair_chunks, in_order
from pytest_nbgroups.scheduling.families import experiment_directories, family_of

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_LOOK_AGAIN_S = 1.0
"""Other sessions can release a lease while none of our experiments starts or ends."""


class ExperimentScheduler:
    """Implementation of xdist's `Scheduling` protocol over a backlog."""

    def __init__(self, facts: SessionFacts, items: Callable[[], CollectedItems]) -> None:
        self.config = facts.config
        self._facts = facts
        self._items = items
        self._expected = worker_count(facts.config)
        self._nodes: dict[WorkerController, Sequence[str] | None] = {}
        """Each worker and the node ids that it has collected; None before it reports them."""
        self._collection: Sequence[str] | None = None
        self._backlog: Backlog[WorkerController] = Backlog(())
        self._claims: dict[WorkerController, Claim] = {}
        """Claims of the experiments that were sent to workers."""
        self._has_refused_worker = False
        self._alarm: threading.Timer | None = None

    # What xdist reads

    @property
    def nodes(self) -> list[WorkerController]:
        return list(self._nodes)

    @property
    def collection_is_completed(self) -> bool:
        ready = sum(collected is not None for collected in self._nodes.values())
        return self._collection is not None or ready >= self._expected

    @property
    def tests_finished(self) -> bool:
        return self._collection is not None and (self._backlog.is_empty or self._has_no_hope)

    @property
    def _has_no_hope(self) -> bool:
        """True if replacements collected other items, and no other worker is left."""
        return self._has_refused_worker and all(node.shutting_down for node in self._nodes)

    @property
    def has_pending(self) -> bool:
        return not self._backlog.is_empty

    # What xdist calls

    def add_node(self, node: WorkerController) -> None:
        self._nodes[node] = None

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Refuse a worker that collects other items than those before it."""
        if self._collection is not None and list(collection) != self._collection:
            self._report_difference(self._collection, collection, "the first worker", node)
            self._has_refused_worker = True
            node.shutdown()
            return
        self._nodes[node] = list(collection)

    def schedule(self) -> None:
        if self._collection is None:
            self._collection = self._agreed_collection()
            self._backlog = Backlog(self._ordered_units())
        self._dispatch()

    def mark_test_complete(
        self,
        node: WorkerController,
        item_index: int,
        duration: float = 0,  # noqa: ARG002  given by xdist
    ) -> None:
        assert self._collection is not None  # noqa: S101  nothing runs before
        if item_index == len(self._collection):  # the idle item, from `look_again`
            self._dispatch()
        elif self._backlog.finish(node, item_index):
            self._claims.pop(node, None)
            self._dispatch()

    def mark_test_pending(self, item: str) -> None:
        """Run an item again that was lost with its worker, as `pytest_handlecrashitem` can request."""
        assert self._collection is not None  # noqa: S101  nothing runs before
        self._backlog.put_back(self._unit([self._collection.index(item)]))
        self._dispatch()

    def remove_pending_tests_from_node(
        self, node: WorkerController, indices: Sequence[int]
    ) -> None:
        raise NotImplementedError("nothing is ever stolen from a worker")

    def remove_node(self, node: WorkerController) -> str | None:
        del self._nodes[node]  # xdist expects KeyError for one that was never ready
        self._claims.pop(node, None)
        crashed = self._backlog.lose(node)
        if crashed is None:
            return None
        assert self._collection is not None  # noqa: S101  something ran
        self._dispatch()
        return self._collection[crashed]

    def look_again(self) -> None:
        """Dispatch in the main thread. Called from any thread."""
        # As if a worker's idle item had run: xdist's main thread waits for events of workers alone.
        if (collection := self._collection) is None:
            return
        for node in list(self._nodes)[:1]:
            node.notify_inproc(
                "runtest_protocol_complete", node=node, item_index=len(collection), duration=0.0
            )

    def not_run(self) -> list[str]:
        """Return the node ids that no worker is left to run."""
        collection = self._collection or []
        return [collection[index] for unit in self._backlog.waiting for index in unit.indices]

    # Units

    def _agreed_collection(self) -> list[str]:
        """Return the collection that all workers agree on; report a difference and return nothing."""
        (first, agreed), *others = (
            (node, collected) for node, collected in self._nodes.items() if collected is not None
        )
        for node, collected in others:
            if collected != agreed:
                self._report_difference(agreed, collected, first.gateway.id, node)
                return []
        return list(agreed)

    def _report_difference(
        self,
        agreed: Sequence[str],
        collected: Sequence[str],
        agreed_by: str,
        node: WorkerController,
    ) -> None:
        from xdist.report import report_collection_diff

        text = report_collection_diff(agreed, collected, agreed_by, node.gateway.id)
        report = pytest.CollectReport(
            nodeid=node.gateway.id, outcome="failed", longrepr=text, result=[]
        )
        self.config.hook.pytest_collectreport(report=report)

    @cached_property
    def _directories(self) -> frozenset[str]:
        return experiment_directories(self._collection or ())

    def _ordered_units(self) -> list[Unit]:
        return in_order(
            map(self._unit, self._groups()),
            schedule=self._facts.planner.settings.schedule,
            budget=self._facts.planner.budget,
            workers=self._expected,
            max_parallel=self._facts.planner.settings.max_parallel,
        )

    def _groups(self) -> Iterator[list[int]]:
        """Yield an experiment by itself; ordinary tests by file, a very long file in parts."""
        whole_files, files = frozenset(self._items().whole_files), dict[str, list[int]]()
        for index, nodeid in enumerate(self._collection or ()):
            if self._declared(nodeid):
                yield [index]
            else:
                files.setdefault(nodeid.partition("::")[0], []).append(index)
        total = sum(map(len, files.values()))
        for file, indices in files.items():
            if file in whole_files:
                yield indices
            else:
                yield from fair_chunks(indices, total=total, workers=self._expected)

    def _unit(self, indices: list[int]) -> Unit:
        collection = self._collection or ()
        nodeid = collection[indices[0]]
        declared = self._declared(nodeid)
        return Unit(
            indices=indices,
            job=self._facts.planner.job(declared.name, declared.resources) if declared else None,
            family=family_of(nodeid, self._directories),
        )

    def _declared(self, nodeid: str) -> Declared | None:
        """Return None for what holds no lease: ordinary tests, and experiments that cannot run here."""
        declared = self._items().experiments.get(nodeid)
        if declared is None or not self._facts.planner.refusal(declared.resources).runs:
            return None
        return declared

    # Dispatch

    def _dispatch(self) -> None:
        """Give every free worker what can start now; end those for which nothing is left."""
        look, has_idle = _Look(self._facts, self._claims), False

        def verdict(unit: Unit) -> Verdict:
            return look.verdict(self._claim(unit))

        for node, collected in list(self._nodes.items()):
            is_busy = collected is None or node in self._backlog.running
            if is_busy or node.shutting_down:
                continue
            self._backlog.note_leases(look.holds)
            if (unit := self._backlog.next_for(node, verdict)) is not None:
                self._send(node, unit)
            elif self._backlog.has_waiting:
                has_idle = True
                break  # no other worker can start it either
            else:
                node.shutdown()
        self._set_alarm(is_needed=has_idle)

    def _set_alarm(self, *, is_needed: bool) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if is_needed:
            self._alarm = threading.Timer(_LOOK_AGAIN_S, self.look_again)
            self._alarm.daemon = True
            self._alarm.start()

    def _send(self, node: WorkerController, unit: Unit) -> None:
        if unit.job is not None:
            self._claims[node] = self._claim(unit)
        idle = len(self._collection or ())
        node.send_runtest_some([*unit.indices, idle])

    def _claim(self, unit: Unit) -> Claim:
        """Return the claim of the unit's experiment at this moment."""
        nodeid = (self._collection or ())[unit.indices[0]]
        declared = self._items().experiments[nodeid]
        need = self._facts.planner.need(declared.name, declared.resources)
        return self._facts.planner.claim(declared.name, nodeid, need, place=declared.place)


class _Look:
    """State of the machine, read at most once for each dispatch."""

    def __init__(self, facts: SessionFacts, running: Mapping[WorkerController, Claim]) -> None:
        self._facts = facts
        self._running = running

    @cached_property
    def _state(self) -> MachineState | None:
        """None if the lease pool cannot be used, which the run of an experiment reports."""
        try:
            return self._facts.machine_state()
        except LeaseError:
            return None

    def verdict(self, claim: Claim) -> Verdict:
        if self._state is None:
            return "start"
        return self._facts.planner.verdict(claim, tuple(self._running.values()), self._state)

    def holds(self, worker: WorkerController) -> bool:
        """Return whether the worker's experiment has its lease by now."""
        claim = self._running.get(worker)
        if claim is None or self._state is None:
            return True
        mine = claim.session, claim.nodeid
        return any((c.session, c.nodeid) == mine for c in self._state.holders)
