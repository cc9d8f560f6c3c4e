"""Outlooks on experiments that are alike."""

from __future__ import annotations

from machines import GB, budget, need

from pytest_nbgroups.core.resources import Budget, Need
from pytest_nbgroups.scheduling.backlog import Unit
from pytest_nbgroups.scheduling.outlook import Conditions, Outlook, outlook
from pytest_nbgroups.scheduling.planning import Job, most_at_once

SMALL = need(cpus=0.5, ram=0.1)


def unit(
    index: int, duration_s: float | None, of: Need = SMALL, *, family: str | None = None
) -> Unit:
    """An experiment that takes so long."""
    job = Job(name=str(index), need=of, duration_s=duration_s, peak_bytes=GB)
    return Unit(indices=[index], job=job, family=family)


def around(machine: Budget | None = None, max_parallel: int | None = None) -> Conditions:
    """Four CPUs with 16 GB, unless another machine is given."""
    return Conditions(budget=machine or budget(), schedule="longest", max_parallel=max_parallel)


def look(
    *durations: float | None,
    of: Need = SMALL,
    machine: Budget | None = None,
    max_parallel: int | None = None,
    asked: int = 0,
) -> Outlook:
    """Of experiments alike that take so long."""
    circumstances = around(machine, max_parallel)
    needs = [of] * len(durations)
    fits = most_at_once(needs, circumstances.budget, max_parallel=max_parallel)
    units = [unit(index, duration_s, of) for index, duration_s in enumerate(durations)]
    return outlook(units, circumstances, fits=fits, asked=asked)
