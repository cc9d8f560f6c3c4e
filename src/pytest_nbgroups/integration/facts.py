"""Facts of a session, for the parts of the plugin in one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Budget, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import MachineState, Planner
from pytest_nbgroups.engines.protocol import Engine
from pytest_nbgroups.integration.scope import Scope
from pytest_nbgroups.scheduling.planning import Parallelism
from pytest_nbgroups.scheduling.sharding import ShardRecord

if TYPE_CHECKING:
    from pytest_nbgroups.history.store import History


class SessionFacts(Protocol):
    """Facts of a session, each found out when it is first asked for.

    A run without experiments asks for few of them, and then pays for few.
    """

    @property
    def config(self) -> pytest.Config: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def scope(self) -> Scope: ...
    @property
    def session(self) -> str:
        """Id of the session's record and of its leases."""

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""

    @property
    def planner(self) -> Planner: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def history(self) -> History:
        """Not for workers: one process of a session writes."""

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments that collection will find if nothing is deselected."""

    @property
    def declared(self) -> Sequence[tuple[str, Resources]]:
        """Name and resources of each experiment that its declaration lets run."""

    @property
    def fitting(self) -> Parallelism:
        """Number of experiments that can ever run at once."""

    @property
    def shard_record(self) -> ShardRecord | None:
        """Experiments that this session leaves to other machines; None without shards."""

    def machine_state(self) -> MachineState:
        """Read what is held and used now. Raises LeaseError if the lease pool cannot be used."""

    def not_run(self) -> Sequence[str]:
        """Node ids that no worker was left to run."""

    def end_history(self) -> Sequence[str]:
        """Close the history and return the warnings about it."""
