"""The seam between a session and the place of its experiments.

A session hands over an `Order` and gets events and a result. It does not know about leases, kernel hosts or
GPU readers: those belong to the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.events import Emit
from pytest_nbgroups.core.model import Experiment, ExperimentResult
from pytest_nbgroups.core.resources import Budget, Estimate
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.execution.halting import OnHalt
from pytest_nbgroups.scheduling.needs import SlowStart


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """Facts that a session has found out before its first experiment runs."""

    session: str
    """Random id, one for each invocation."""
    budget: Budget
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    """By the name of the experiment."""
    slow_start: SlowStart
    parallel: int = 1
    """How many experiments can run at once."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One experiment to run, with all that an engine has to know for it.

    Plain values that pickle: another process, without pytest, can carry the order out on the same files.
    """

    experiment: Experiment
    settings: Settings
    env: Mapping[str, str]
    """Environment that the kernels inherit, before the experiment's own variables."""
    knowledge: Knowledge
    nodeid: str = ""
    """Node id of the item or test that asks for the run; empty outside of pytest."""


class Engine(Protocol):
    """A place for experiments to run."""

    def run(
        self,
        order: Order,
        emit: Emit,
        *,
        cancellation: Cancellation,
        on_halt: OnHalt | None = None,
    ) -> ExperimentResult:
        """Carry out an order and return its result; failures are in the result.

        Blocks. Calls ``emit`` with each event in order, possibly in another thread, and last with
        `ExperimentFinished`. Ends early after ``cancellation`` or a KeyboardInterrupt, which is raised again
        once nothing of the experiment is left running. ``on_halt`` is called in the caller's thread when a
        cell has failed, while its kernel is still alive.
        """

    def close(self) -> None:
        """Release all resources of the engine. No order is running by then."""
