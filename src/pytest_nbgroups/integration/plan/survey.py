"""The plan of a session, from the collected items and the session's own planner."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.settings import Schedule
from pytest_nbgroups.declarations.environment import environment_of
from pytest_nbgroups.declarations.fate import fate_of, notebook_skip
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.integration.collection import ExperimentItem
from pytest_nbgroups.integration.xdist.items import describe
from pytest_nbgroups.reports.plan import Plan, PlannedExperiment
from pytest_nbgroups.resume.checkpoint import Reuse
from pytest_nbgroups.scheduling.backlog import Unit
from pytest_nbgroups.scheduling.families import experiment_directories, family_of
from pytest_nbgroups.scheduling.outlook import Conditions, Outlook, outlook, tried

_ORDERS: Mapping[Schedule, str] = {
    "longest": "longest first",
    "shortest": "shortest first",
    "collection": "in the order of collection",
}


@dataclass(frozen=True, kw_only=True)
class AskedWorkers:
    """The workers that xdist would have started."""

    count: int
    """0 if the session would run all by itself."""
    dist: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An experiment, or a test that runs one, as it was collected."""

    nodeid: str
    position: int
    """In the collection."""
    resources: Resources
    """Resources to grant, an assumed GPU included."""
    experiment: Experiment | None = None
    """With its resources as declared; None for a test, whose experiment is not known yet."""
    notebooks: str = ""
    """``3``, ``2 of 3`` if one is skipped; empty if they cannot be known."""
    obstacle: str = ""
    """Reason why it will not run; empty if it will."""
    family: str | None = None
    reuse: str = ""
    """Notebooks to reuse, and why not more; empty without ``--experiment-resume``."""
    is_reused: bool = False
    """True if all notebooks are to be reused; then that is its obstacle."""

    @property
    def name(self) -> str:
        """Name of its experiment; empty for a test."""
        return self.experiment.name if self.experiment else ""


def survey(
    items: Sequence[pytest.Item], planner: Planner, declared: Mapping[str, Resources]
) -> list[Candidate]:
    """Return the experiments among the items; ``declared`` are their resources by node id."""
    directories = experiment_directories(item.nodeid for item in items)
    in_tests = describe(items).experiments
    found = []
    for position, item in enumerate(items):
        if isinstance(item, ExperimentItem):
            candidate = _experiment(item, position, planner, declared[item.nodeid])
        elif item.nodeid in in_tests:
            resources = in_tests[item.nodeid].resources
            candidate = Candidate(
                nodeid=item.nodeid,
                position=position,
                resources=resources,
                obstacle=_skip_mark(item) or planner.refusal(resources).text,
            )
        else:
            continue
        found.append(replace(candidate, family=family_of(item.nodeid, directories)))
    return found


def _experiment(
    item: ExperimentItem, position: int, planner: Planner, declared: Resources
) -> Candidate:
    experiment = item.experiment
    env = environment_of(experiment, os.environ)  # once: it copies the environment
    count = len(experiment.notebooks)
    running = sum(notebook_skip(notebook, env) is None for notebook in experiment.notebooks)
    obstacle = _obstacle(item, planner, env, running)
    reuse = None if obstacle else _reuse(item, planner)
    text = reuse.text(count, "reuses") if reuse else ""
    is_whole = reuse is not None and reuse.is_whole(count)
    return Candidate(
        nodeid=item.nodeid,
        position=position,
        resources=experiment.resources,
        experiment=replace(experiment, resources=declared),
        notebooks=str(count) if running == count else f"{running} of {count}",
        obstacle=text if is_whole else obstacle,
        reuse="" if is_whole else text,
        is_reused=is_whole,
    )


# Why something does not run


def _obstacle(item: ExperimentItem, planner: Planner, env: Mapping[str, str], running: int) -> str:
    """Return why an experiment does not run; empty if it does."""
    if skipped := _skip_mark(item):  # in the order in which a run would meet the obstacles
        return skipped
    refusal = planner.refusal(item.experiment.resources)
    artifacts = planner.settings.artifacts
    fate = fate_of(item.experiment, env, artifacts=artifacts, refusal=refusal)
    return fate.text or ("" if running else "skipped: all its notebooks are skipped")


def _reuse(item: ExperimentItem, planner: Planner) -> Reuse | None:
    """Return the reuse by ``--experiment-resume``; None without the option, or if the hooks fail."""
    if not planner.settings.resume:
        return None
    # Imports what reads checkpoints, which other plans can do without.
    from pytest_nbgroups.resume.attempt import Attempt, looked

    experiment = item.runner.completed(item.experiment, item)
    if experiment.problem:
        return None
    env = environment_of(experiment, os.environ)  # with the variables of the hooks
    session = planner.knowledge.session
    return looked(Attempt(experiment, planner.settings, session=session, env=env))


def _skip_mark(item: pytest.Item) -> str:
    """Render ``skipped: <reason>`` for a marker ``skip``; empty without it."""
    mark = item.get_closest_marker("skip")
    if mark is None:
        return ""
    # The text is pytest's own for a marker without a reason.
    reason = mark.kwargs.get("reason") or next(iter(mark.args), "unconditional skip")
    return f"skipped: {reason}"


# The plan


def make_plan(
    candidates: Sequence[Candidate], planner: Planner, asked: AskedWorkers, *, tests: int
) -> Plan:
    """Put in order what runs, and try it with growing numbers of workers."""
    running = {c.position: c for c in candidates if not c.obstacle}
    units = [_unit(candidate, planner) for candidate in running.values()]
    around = _conditions(planner)
    is_scheduled = asked.count > 0 and asked.dist == "load"
    ordered = tried(units, asked.count, around) if is_scheduled else units
    in_order = [running[unit.indices[0]] for unit in ordered]
    idle = [c for c in candidates if c.obstacle]
    families = Counter(c.family for c in in_order if c.family)
    return Plan(
        experiments=tuple(
            _planned(c, planner, has_kin=not c.obstacle and families[c.family or ""] > 1)
            for c in (*in_order, *idle)
        ),
        order=_ORDERS[around.schedule] if is_scheduled else _collected_order(asked),
        tests=tests,
        outlook=_outlook(list(running.values()), units, planner, asked),
        default_ram=planner.settings.default_ram,
    )


def _collected_order(asked: AskedWorkers) -> str:
    how = f"--dist {asked.dist}" if asked.count else "one at a time"
    return f"{how}, {_ORDERS['collection']}"


def _conditions(planner: Planner) -> Conditions:
    return Conditions(
        budget=planner.budget,
        schedule=planner.settings.schedule,
        max_parallel=planner.settings.max_parallel,
    )


def _unit(candidate: Candidate, planner: Planner) -> Unit:
    job = planner.job(candidate.name, candidate.resources)
    return Unit(indices=[candidate.position], job=job, family=candidate.family)


def _outlook(
    running: Sequence[Candidate], units: Sequence[Unit], planner: Planner, asked: AskedWorkers
) -> Outlook | None:
    if not running:
        return None
    fits = planner.fitting([(c.name, c.resources) for c in running])
    return outlook(units, _conditions(planner), fits=fits, asked=asked.count)


def _planned(candidate: Candidate, planner: Planner, *, has_kin: bool) -> PlannedExperiment:
    experiment = candidate.experiment
    is_readable = experiment is None or not experiment.problem
    return PlannedExperiment(
        name=candidate.name or candidate.nodeid,
        notebooks=candidate.notebooks if is_readable else "",
        resources=experiment.resources if experiment else candidate.resources,
        need=planner.need(candidate.name, candidate.resources) if is_readable else None,
        estimate=planner.estimate(candidate.name),
        obstacle=candidate.obstacle,
        is_reused=candidate.is_reused,
        remarks=tuple(_remarks(candidate, has_kin=has_kin)),
    )


def _remarks(candidate: Candidate, *, has_kin: bool) -> Iterator[str]:
    if candidate.experiment is None:
        yield "a test that runs an experiment"
    if candidate.reuse:
        yield candidate.reuse
    if has_kin:
        yield f"not beside others in {candidate.family}"
