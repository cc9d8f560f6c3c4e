"""Facts of a session, for the parts of the plugin in one process."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_nbgroups.core.codec import rebuild
from pytest_nbgroups.core.errors import LeaseError, SelectionError
from pytest_nbgroups.core.identity import session_id
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Budget, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.fate import declared_fate
from pytest_nbgroups.engines.planner import MachineState, Planner
from pytest_nbgroups.engines.protocol import Engine, Knowledge
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.integration.scope import Scope, find_experiments, has_test_files
from pytest_nbgroups.integration.shard_selection import of_shard, record_of
from pytest_nbgroups.scheduling.planning import Parallelism
from pytest_nbgroups.scheduling.sharding import ORDINARY, ShardRecord

if TYPE_CHECKING:
    from pytest_nbgroups.history.store import History

KNOWLEDGE = "nbgroups_knowledge"
"""Key in xdist's ``workerinput`` for the knowledge of the controller."""


class Workers(Protocol):
    """xdist's workers, as their controller sees them."""

    @property
    def shard(self) -> ShardRecord | None:
        """Experiments that the workers leave to other machines."""

    def not_run(self) -> list[str]:
        """Return the node ids that no worker was left to run."""

    def send_slow_start(self) -> None:
        """Send the workers the reservation of experiments without a history."""


@dataclass(kw_only=True, eq=False)
class SessionFacts:
    """Facts of a session, each found out when it is first asked for.

    A run without experiments asks for few of them, and then pays for few.
    """

    config: pytest.Config
    settings: Settings
    scope: Scope
    started_at: float
    """Seconds since the epoch."""
    workers: Workers | None = None
    """In the controller only."""

    @cached_property
    def session(self) -> str:
        """Id of the session's record and of its leases."""
        return session_id(self.started_at, uuid.uuid4().hex[:6])

    @property
    def budget(self) -> Budget:
        return self.planner.budget

    @cached_property
    def planner(self) -> Planner:
        """Raises pytest.UsageError for GPUs or a lease pool that cannot be used."""
        # A worker takes over what the controller has found out about the machine and the history.
        handed_down = getattr(self.config, "workerinput", {}).get(KNOWLEDGE)
        try:
            knowledge = rebuild(Knowledge, json.loads(handed_down)) if handed_down else None
            return Planner(knowledge or self._started[0], self.settings)
        except (LeaseError, SelectionError) as exc:
            raise pytest.UsageError(str(exc)) from exc

    @cached_property
    def engine(self) -> Engine:
        """Raises pytest.UsageError for a lease pool that cannot be used."""
        # Imports nbclient and zmq, which collection and xdist's controller can do without.
        from pytest_nbgroups.engines.local import LocalEngine

        try:
            engine = LocalEngine(self._machine)
        except LeaseError as exc:
            raise pytest.UsageError(str(exc)) from exc
        self.config.add_cleanup(engine.close)
        return engine

    @cached_property
    def _machine(self) -> ThisMachine:
        """Raises LeaseError."""
        return ThisMachine.open()

    def machine_state(self) -> MachineState:
        """Read what is held and used now. Raises LeaseError if the lease pool cannot be used."""
        return self._machine.state(self.budget)

    @property
    def history(self) -> History:
        """Not for workers: one process of a session writes."""
        return self._started[1]

    @cached_property
    def _started(self) -> tuple[Knowledge, History]:
        # Imports sqlite3 and what finds GPUs, which workers can do without.
        from pytest_nbgroups.engines.session_start import open_session

        start = open_session(
            self._machine, self.settings, session=self.session, started_at=self.started_at
        )
        return self._opened.enter_context(start)

    @cached_property
    def _opened(self) -> ExitStack:
        opened = ExitStack()
        self.config.add_cleanup(opened.close)
        return opened

    def end_history(self) -> tuple[str, ...]:
        """Close the history and return the warnings about it."""
        self._opened.close()
        return (*self.history.notes, *self.history.warnings)

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments that collection will find if nothing is deselected."""
        found = find_experiments(self.scope)
        return of_shard(found, self.settings.shard, self.config.rootpath)

    @cached_property
    def declared(self) -> list[tuple[str, Resources]]:
        """Name and resources of each experiment that its declaration lets run."""
        return [(e.name, e.resources) for e in self.experiments if declared_fate(e).runs]

    @cached_property
    def fitting(self) -> Parallelism:
        """Number of experiments that can ever run at once."""
        return self.planner.fitting(self.declared)

    @cached_property
    def has_ordinary_tests(self) -> bool:
        shard = self.settings.shard
        runs_here = shard is None or shard.index == ORDINARY
        return runs_here and has_test_files(self.config, self.scope)

    @property
    def shard_record(self) -> ShardRecord | None:
        """Experiments that this session leaves to other machines; None without shards."""
        return self.workers.shard if self.workers else record_of(self.config)

    def not_run(self) -> list[str]:
        """Node ids that no worker was left to run."""
        return self.workers.not_run() if self.workers else []
