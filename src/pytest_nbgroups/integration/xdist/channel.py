"""The channel between xdist's controller and its workers: events one way, orders the other."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_nbgroups.core import events
from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.codec import plain, rebuild
from pytest_nbgroups.core.events import Event
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.outcomes import failure_repr
from pytest_nbgroups.integration.shard_selection import record_of
from pytest_nbgroups.integration.xdist.items import CollectedItems, describe
from pytest_nbgroups.integration.xdist.scheduler import ExperimentScheduler
from pytest_nbgroups.integration.xdist.scope_schedulers import mended_scheduler
from pytest_nbgroups.scheduling.needs import SlowStart
from pytest_nbgroups.scheduling.sharding import ShardRecord

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from pytest_nbgroups.core.model import ExperimentResult

CHANNEL = "nbgroups_channel"
KNOWLEDGE = "nbgroups_knowledge"
CANCEL = "cancel"
SLOW_START = "slow start"
RERUN: Any = "rerun"
"""The outcome by which pytest-rerunfailures, and others, tell of an attempt that does not count."""


class Receiver(Protocol):
    """Takes the workers' events; called in execnet's receiver threads."""

    def receive(self, event: Event, *, nodeid: str, worker: str) -> None: ...

    def worker_crashed(
        self, nodeid: str, *, worker: str, message: str
    ) -> tuple[str, ExperimentResult] | None:
        """Give the node id and the result of the experiment that was lost with a worker, if one was."""


class Controller:
    """The controller's end: one channel to each worker."""

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
        """What ended a worker's collection, as pytest raised it there."""
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
        told = json.loads(message)
        if "items" in told:
            self._items = rebuild(CollectedItems, told["items"])
            return
        if "usage error" in told:
            self._ending = pytest.UsageError(*told["usage error"])
            return
        if "exit" in told:
            self._ending = pytest.exit.Exception(*told["exit"])
            return
        event = events.from_dict(told["event"])
        self._receiver.receive(event, worker=worker, nodeid=told["nodeid"])

    @property
    def shard(self) -> ShardRecord | None:
        """Return the part that the workers leave to other machines."""
        return self._items.shard

    def not_run(self) -> list[str]:
        """Node ids of what no worker was left to run."""
        return [] if self.scheduler is None else self.scheduler.not_run()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """End the session as a worker's collection ended, such as for a path that does not exist.

        xdist knows the worker's exit status alone. Without the others' collections it ends in an INTERNALERROR,
        "Unexpectedly no active workers available". A worker that replaces another one later ends nothing.
        """
        self._channels.pop(node.gateway.id, None)
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
            gpus_visible = bool(self._facts.budget.gpus)
            report.longrepr = failure_repr(
                self._config, result, nodeid=nodeid, gpus_visible=gpus_visible
            )
        if isinstance(sched, ExperimentScheduler) and self._is_to_be_retried(crashitem):
            self._retried.add(crashitem)
            report.outcome = RERUN
            sched.mark_test_pending(crashitem)

    def _is_to_be_retried(self, nodeid: str) -> bool:
        is_experiment = nodeid in self._items.experiments
        wanted = self._facts.settings.lost == "retry"
        return wanted and is_experiment and nodeid not in self._retried

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        if report.outcome != RERUN:
            return None
        return RERUN, "R", ("RERUN", {"yellow": True})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, bool, bool]:
        """Fail a session that ran out of workers, whatever has failed besides."""
        is_over = yield
        if self.not_run():
            raise session.Failed
        return is_over

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the session at once for ``-x`` or ``--maxfail``.

        xdist would wait for what runs, then run what is queued behind it, and it counts no crash.
        """
        self._failures += report.failed
        if 0 < (self._config.getoption("maxfail") or 0) <= self._failures:
            from xdist.dsession import Interrupted

            raise Interrupted(f"stopping after {self._failures} failures")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.cancel(str(excinfo.value) or excinfo.typename)

    def cancel(self, reason: str) -> None:
        """Interrupt what the workers run, without waiting for execnet to give them up."""
        self._send((CANCEL, reason))

    def send_slow_start(self) -> None:
        """Send what the session has learned to the workers."""
        slow_start = self._facts.planner.knowledge.slow_start
        self._send((SLOW_START, json.dumps(plain(slow_start))))

    def _send(self, order: tuple[str, str]) -> None:
        for channel in list(self._channels.values()):
            try:
                channel.send(order)
            except OSError:
                continue

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
        if config.getoption("dist") != "load":
            return mended_scheduler(config, log)
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
        """Hand on what ends the collection; the controller prints it and takes its exit code."""
        try:
            return (yield)
        except pytest.UsageError as exc:
            self._tell({"usage error": [str(argument) for argument in exc.args]})
            raise
        except pytest.exit.Exception as exc:
            self._tell({"exit": [str(exc.msg), exc.returncode]})
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called before xdist reports the collection."""
        items = replace(describe(session.items), shard=record_of(session.config))
        self._tell({"items": plain(items)})

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Escape names of files that are not UTF-8: execnet would end the session for them."""
        data = yield
        return _encodable(data)

    def _tell(self, message: dict[str, Any]) -> None:
        """The controller may be gone: then there is no receiver."""
        try:
            self._channel.send(json.dumps(message))
        except OSError:
            return

    def _hear(self, order: tuple[str, str] | None) -> None:
        """Called in execnet's receiver thread."""
        if order is None:
            threading.Thread(target=self._end_if_orphaned, daemon=True).start()
        elif order[0] == CANCEL:
            self._cancellation.cancel(order[1])
        elif order[0] == SLOW_START:
            self._facts.planner.set_slow_start(rebuild(SlowStart, json.loads(order[1])))

    def _end_if_orphaned(self) -> None:
        """The channel has ended: with the session, or because the controller has died.

        execnet would let an orphan go on for 15 s.
        """
        for _ in range(20):
            if os.getppid() != self._parent:
                self._cancellation.cancel("the controller is gone")
                threading.Event().wait(_ORPHAN_GRACE_S)
                os._exit(2)
            threading.Event().wait(0.05)


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


_ORPHAN_GRACE_S = 3.0
"""What the interrupted notebook has to be saved."""


def knowledge_of_worker(config: pytest.Config) -> Knowledge | None:
    """Return the knowledge of the controller; None if this process is not a worker."""
    handed_down = getattr(config, "workerinput", {}).get(KNOWLEDGE)
    return rebuild(Knowledge, json.loads(handed_down)) if handed_down else None
