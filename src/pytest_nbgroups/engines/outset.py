"""How a session begins, with pytest or without it: what the machine has, and what history expects."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import Knowledge
from pytest_nbgroups.history.kind import read_machine
from pytest_nbgroups.history.store import History, Session, open_history
from pytest_nbgroups.leases.lender import find_lender
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.machine.capacity import find_budget
from pytest_nbgroups.reports.session_file import plugin_version
from pytest_nbgroups.scheduling.lending import within
from pytest_nbgroups.scheduling.needs import SlowStart


@contextmanager
def begun(
    settings: Settings, *, pool: LeasePool, session: str, started_at: float
) -> Iterator[tuple[Knowledge, History]]:
    """Find the budget and open the history, for as long as the session lasts.

    For the one process of a session that looks about and writes. Raises SelectionError where the
    GPUs that the user names are not there, LeaseError where the pool cannot be used.
    """
    budget = find_budget(settings)
    about = Session(
        id=session,
        started_at=started_at,
        machine=read_machine(budget),
        plugin_version=plugin_version(),
        python_version=platform.python_version(),
    )
    lender = find_lender(pool, os.environ)
    with open_history(settings.artifacts, about) as history:
        knowledge = Knowledge(
            session=session,
            budget=budget if lender is None else within(budget, lender),
            estimates=history.estimates(about.machine.kind),
            slow_start=SlowStart(default_bytes=settings.default_ram.bytes),
        )
        yield knowledge, history
