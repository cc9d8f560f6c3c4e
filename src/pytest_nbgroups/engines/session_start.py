"""The start of a session, with pytest or without it: find the machine's budget, open the history."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_nbgroups.core.identity import plugin_version
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.history.kind import read_machine
from pytest_nbgroups.history.store import History, Session, open_history
from pytest_nbgroups.leases.lender import find_lender
from pytest_nbgroups.machine.capacity import find_budget
from pytest_nbgroups.scheduling.lending import within
from pytest_nbgroups.scheduling.needs import SlowStart


@contextmanager
def open_session(
    machine: ThisMachine, settings: Settings, *, session: str, started_at: float
) -> Iterator[tuple[Knowledge, History]]:
    """Find the budget, and keep the history open for as long as the session lasts.

    For the one process of a session that looks at the machine and writes. Raises SelectionError if the GPUs
    that the user names do not exist, LeaseError if the lease pool cannot be used.
    """
    budget = find_budget(settings)
    about = Session(
        id=session,
        started_at=started_at,
        machine=read_machine(budget),
        plugin_version=plugin_version(),
        python_version=platform.python_version(),
    )
    lender = find_lender(machine.pool, os.environ)
    with open_history(settings.artifacts, about) as history:
        knowledge = Knowledge(
            session=session,
            budget=budget if lender is None else within(budget, lender),
            estimates=history.estimates(about.machine.kind),
            slow_start=SlowStart(default_bytes=settings.default_ram.bytes),
        )
        yield knowledge, history
