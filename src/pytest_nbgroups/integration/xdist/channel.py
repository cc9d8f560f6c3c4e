"""The channel between xdist's controller and its workers: events one way, orders the other."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_nbgroups.core import events
from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.codec import plain, rebuild
from pytest_nbgroups.core.events import Event
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.integration.facts import KNOWLEDGE, SessionFacts
from pytest_nbgroups.integration.outcomes import failure_repr
from pytest_nbgroups.integration.shard_selection import record_of
from pytest_nbgroups.integration.xdist.items import CollectedItems, describe
from pytest_nbgroups.integration.xdist.scheduler import ExperimentScheduler
from pytest_nbgroups.integration.xdist.scope_schedulers import fixed_scheduler
from pytest_nbgroups.scheduling.needs import SlowStart
from pytest_nbgroups.scheduling.sharding import ShardRecord

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from pytest_nbgroups.core.model import ExperimentResult

CHANNEL = "nbgroups_channel"
CANCEL = "cancel"
SLOW_START = "slow start"
RERUN: Any = "rerun"
"""Outcome of an attempt that does not count, as in pytest-rerunfailures and others."""
_ORPHAN_GRACE_S = 3.0
"""Time to save the interrupted notebook."""


class Receiver(Protocol):
    """Takes the workers' events; called in execnet's receiver threads."""

    def receive(self, event: Event, *, nodeid: str, worker: str) -> None: ...

    def worker_crashed(
        self, nodeid: str, *, worker: str, message: str
    ) -> tuple[str, ExperimentResult] | None:
        """Return the node id and the result of the experiment that was lost with a worker, if any."""


class Controller:
    """The controller's end: one channel to each worker."""

    # Not xdist's sendevent: an event with a name that xdist does not know ends the worker.

    def __init__(self, facts: SessionFacts, receiver: Receiver) -> None:
        self._facts = facts
        self._config = facts.config
        self._receiver = receiver
        self._channels: dict[str, Any] = {}
        self._items = CollectedItems()
        self._failures = 0
        self._retried: set[str] = set()
        """Experiments that were lost with their workers, and run again."""
        self._has_started = False
        self._ending: BaseException | None = None
        """The exception that ended a worker's collection."""
        self.scheduler: ExperimentScheduler | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        worker = node.gateway.id
        channel = node.gateway.newchannel()
        channel.setcallback(lambda message: self._take(worker, message))
        node.workerinput[CHANNEL] = channel
        node.workerinput[KNOWLEDGE] = json.dumps(plain(self._facts.planner.knowledge))
        self._channels[worker] = channel

    def _take(self, worker: str, message: str) -> None:
        match json.loads(message):
            case {"items": items}:
                self._items = rebuild(CollectedItems, items)
            case {"usage error": arguments}:
                self._ending = pytest.UsageError(*arguments)
            case {"exit": arguments}:
                self._ending = pytest.exit.Exception(*arguments)
            case {"event": event, "nodeid": nodeid}:
                self._receiver.receive(events.from_dict(event), worker=worker, nodeid=nodeid)

    @property
    def shard(self) -> ShardRecord | None:
        """The part that the workers leave to other machines."""
        return self._items.shard

    def not_run(self) -> list[str]:
        """Return the node ids that no worker was left to run."""
        return [] if self.scheduler is None else self.scheduler.not_run()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """End the session as a worker's collection ended, such as for a path that does not exist."""
        self._channels.pop(node.gateway.id, None)
        # xdist knows only the worker's exit status, and would end in an INTERNALERROR, "Unexpectedly no
        # active workers available". Once tests run, a worker that replaces another one ends nothing.
        if self._ending is not None and not self._has_started:
            raise self._ending

    def pytest_runtest_logstart(self) -> None:
        self._has_started = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(
        self,
        crashitem: str,
        report: pytest.TestReport,
        sched: Any,  # noqa: ANN401  any of xdist's schedulers
    ) -> None:
        worker, message = report.node.gateway.id, str(report.longrepr)
        lost = self._receiver.worker_crashed(crashitem, worker=worker, message=message)
        if lost is not None:
            nodeid, result = lost
            report.longrepr = failure_repr(self._facts, result, nodeid=nodeid)
        is_wanted = self._facts.settings.lost == "retry" and crashitem in self._items.experiments
        if is_wanted and crashitem not in self._retried and isinstance(sched, ExperimentScheduler):
            self._retried.add(crashitem)
            report.outcome = RERUN
            sched.mark_test_pending(crashitem)

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        if report.outcome != RERUN:
            return None
        return RERUN, "R", ("RERUN", {"yellow": True})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, bool, bool]:
        """Fail a session that ran out of workers, even if nothing else failed."""
        is_over = yield
        if self.not_run():
            raise session.Failed
        return is_over

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the session at once for ``-x`` or ``--maxfail``."""
        # xdist would wait for what runs, then run what is queued behind it, and it counts no crash.
        self._failures += report.failed
        if 0 < (self._config.getoption("maxfail") or 0) <= self._failures:
            from xdist.dsession import Interrupted

            raise Interrupted(f"stopping after {self._failures} failures")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.cancel(str(excinfo.value) or excinfo.typename)

    def cancel(self, reason: str) -> None:
        """Interrupt what the workers run."""
        self._send((CANCEL, reason))

    def send_slow_start(self) -> None:
        """Send what the session has learned to the workers."""
        slow_start = self._facts.planner.knowledge.slow_start
        self._send((SLOW_START, json.dumps(plain(slow_start))))

    def _send(self, order: tuple[str, str]) -> None:
        for channel in list(self._channels.values()):
            with suppress(OSError):  # the worker has died
                channel.send(order)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
        if config.getoption("dist") != "load":
            return fixed_scheduler(config, log)
        self.scheduler = ExperimentScheduler(self._facts, lambda: self._items)
        return self.scheduler


class WorkerLink:
    """A worker's end of the channel."""

    def __init__(self, facts: SessionFacts, cancellation: Cancellation) -> None:
        self._channel = facts.config.workerinput[CHANNEL]  # type: ignore[attr-defined]  # set by xdist
        self._cancellation = cancellation
        self._facts = facts
        self._parent = os.getppid()
        self._channel.setcallback(self._hear, endmarker=None)

    def deliver(self, event: Event, *, nodeid: str) -> None:
        self._tell({"event": events.to_dict(event), "nodeid": nodeid})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Report what ends the collection; the controller prints it and takes its exit code."""
        try:
            return (yield)
        except pytest.UsageError as exc:
            self._tell({"usage error": [str(argument) for argument in exc.args]})
            raise
        except pytest.exit.Exception as exc:
            self._tell({"exit": [str(exc.msg), exc.returncode]})
            raise

    # Before xdist reports the collection, upon which the controller schedules.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        items = replace(describe(session.items), shard=record_of(session.config))
        self._tell({"items": plain(items)})

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Escape file names that are not UTF-8, for which execnet would end the session."""
        data = yield
        return _encodable(data)

    def _tell(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # the controller is gone
            self._channel.send(json.dumps(message))

    def _hear(self, order: tuple[str, str] | None) -> None:
        # In a thread of its own: this is execnet's receiver thread, which must not wait.
        if order is None:
            threading.Thread(target=self._end_if_orphaned, daemon=True).start()
        elif order[0] == CANCEL:
            self._cancellation.cancel(order[1])
        elif order[0] == SLOW_START:
            self._facts.planner.set_slow_start(rebuild(SlowStart, json.loads(order[1])))

    def _end_if_orphaned(self) -> None:
        # The channel ends with the session too. An orphan gets another parent, but not at once, and execnet
        # would let it go on for 15 s.
        for _ in range(20):
            if os.getppid() != self._parent:
                self._cancellation.cancel("the controller is gone")
                time.sleep(_ORPHAN_GRACE_S)
                os._exit(2)
            time.sleep(0.05)


def _encodable(data: Any) -> Any:  # noqa: ANN401  what a report is made of
    match data:
        case str():
            return encodable(data)
        case dict():
            return {_encodable(key): _encodable(value) for key, value in data.items()}
        case list() | tuple():
            return type(data)(map(_encodable, data))
        case _:
            return data
