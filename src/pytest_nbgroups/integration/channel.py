"""The channel between xdist's controller and its workers: events one way, cancels the other."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_nbgroups import events
from pytest_nbgroups.events import Event
from pytest_nbgroups.execution.cancellation import Cancellation
from pytest_nbgroups.integration.scheduling import make_scheduler
from pytest_nbgroups.model import Budget

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

CHANNEL = "nbgroups_channel"
BUDGET = "nbgroups_budget"
CANCEL = "cancel"


class Receiver(Protocol):
    """Takes the workers' events; called in execnet's receiver threads."""

    def receive(self, event: Event, *, worker: str, nodeid: str) -> None: ...

    def worker_crashed(self, nodeid: str, *, worker: str, message: str) -> None: ...


class Controller:
    """The controller's end: one channel to each worker."""

    def __init__(
        self, config: pytest.Config, receiver: Receiver, budget: Callable[[], Budget]
    ) -> None:
        self._config = config
        self._receiver = receiver
        self._budget = budget
        self._channels: dict[str, Any] = {}
        self._failures = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        worker = node.gateway.id
        channel = node.gateway.newchannel()
        channel.setcallback(lambda message: self._take(worker, message))
        node.workerinput[CHANNEL] = channel
        node.workerinput[BUDGET] = json.dumps(events.plain(self._budget()))
        self._channels[worker] = channel

    def _take(self, worker: str, message: str) -> None:
        envelope = json.loads(message)
        event = events.from_dict(envelope["event"])
        self._receiver.receive(event, worker=worker, nodeid=envelope["nodeid"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        self._channels.pop(node.gateway.id, None)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        worker = report.node.gateway.id
        self._receiver.worker_crashed(crashitem, worker=worker, message=str(report.longrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the session at once where ``-x`` or ``--maxfail`` says so.

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
        for channel in list(self._channels.values()):
            try:
                channel.send((CANCEL, reason))
            except OSError:
                continue

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
        return make_scheduler(config, log)


class WorkerLink:
    """A worker's end of the channel."""

    def __init__(self, config: pytest.Config, cancellation: Cancellation) -> None:
        self._channel = config.workerinput[CHANNEL]  # type: ignore[attr-defined]  # set by xdist
        self._cancellation = cancellation
        self._parent = os.getppid()
        self._channel.setcallback(self._hear, endmarker=None)

    def deliver(self, event: Event, *, nodeid: str) -> None:
        """Send an event. The controller may be gone: then nobody is left to be told."""
        envelope = {"event": events.to_dict(event), "nodeid": nodeid}
        try:
            self._channel.send(json.dumps(envelope))
        except OSError:
            return

    def _hear(self, message: tuple[str, str] | None) -> None:
        """Called in execnet's receiver thread."""
        if message is None:
            threading.Thread(target=self._end_if_orphaned, daemon=True).start()
        elif message[0] == CANCEL:
            self._cancellation.cancel(message[1])

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


_ORPHAN_GRACE_S = 3.0
"""What the interrupted notebook has to be saved."""


def budget_of_worker(config: pytest.Config) -> Budget | None:
    """The budget that the controller found; None in a process that is no worker."""
    handed_down = getattr(config, "workerinput", {}).get(BUDGET)
    return events.rebuild(Budget, json.loads(handed_down)) if handed_down else None
