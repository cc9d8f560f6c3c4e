"""``--experiment-plan``: show what would run, and run nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest

from pytest_nbgroups.core.model import DECLARATION_FILE
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.units import counted
from pytest_nbgroups.hints.suggestions import hint_lines
from pytest_nbgroups.integration.collection import ExperimentItem
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.options.command_line import value_of
from pytest_nbgroups.integration.outcomes import shown
from pytest_nbgroups.integration.own_lines import begin_line
from pytest_nbgroups.integration.plan.survey import AskedWorkers, Candidate, make_plan, survey
from pytest_nbgroups.integration.terminal import budget_text, experiment_notes
from pytest_nbgroups.integration.xdist.limits import worker_count
from pytest_nbgroups.notebooks.scanning import scan
from pytest_nbgroups.reports.plan import Plan, plan_lines
from pytest_nbgroups.scheduling.weights import kept_weights, write_weights


def without_workers(config: pytest.Config) -> AskedWorkers:
    """Keep xdist from starting workers. Called before xdist's own configuration, which is the last."""
    dist = config.getoption("dist", "no")
    asked = AskedWorkers(count=0 if dist == "no" else worker_count(config), dist=dist)
    if config.pluginmanager.hasplugin("xdist"):
        config.option.dist = "no"
        config.option.tx = []
    return asked


class PlanOnly:
    """Replaces everything that runs, watches or reports in a session."""

    def __init__(self, facts: SessionFacts, asked: AskedWorkers) -> None:
        self._facts = facts
        self._config = facts.config
        self._asked = asked
        self._declared: dict[str, Resources] = {}

    def pytest_report_header(self) -> str:
        count = self._asked.count
        workers = f"{counted(count, 'worker')} asked for" if count else "one at a time"
        return f"experiments: plan only, nothing runs: {workers}; {budget_text(self._facts.budget)}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the declarations, before an experiment without one gets a GPU by default."""
        for item in items:
            if isinstance(item, ExperimentItem):
                self._declared[item.nodeid] = item.experiment.resources

    # The first answer counts: pytest's own loop would run the items.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest ends the session for the errors of collection
        self._report(session.items)
        return True

    def _report(self, items: Sequence[pytest.Item]) -> None:
        candidates = survey(items, self._facts.planner, self._declared)
        tests = len(items) - len(candidates)
        plan = replace(
            make_plan(candidates, self._facts.planner, self._asked, tests=tests),
            notes=tuple(self._notes(candidates)),
            endnotes=(
                *self._write_weights(candidates),
                *(f"experiments: warning: {text}" for text in self._facts.history.warnings),
            ),
        )
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            self._print(plan, reporter)

    def _print(self, plan: Plan, reporter: pytest.TerminalReporter) -> None:
        verbosity = self._config.get_verbosity()
        is_brief = verbosity < 0
        begin_line(reporter)
        if not is_brief:
            reporter.section("experiment plan")
        width = reporter._tw.fullwidth  # noqa: SLF001  as plugins do
        for line in plan_lines(plan, width, brief=is_brief, verbose=verbosity > 0):
            reporter.write_line(line)

    def _notes(self, candidates: Iterable[Candidate]) -> list[str]:
        """Return remarks on declarations that history contradicts, and hints on what to declare."""
        planner = self._facts.planner
        notes = list(planner.budget.notes)
        hints: list[str] = []
        for candidate in candidates:
            if (experiment := candidate.experiment) is None:
                continue
            notes += experiment_notes(experiment, planner)
            if not candidate.obstacle:
                path = shown(self._config, experiment.directory / DECLARATION_FILE)
                estimate = planner.estimate(experiment.name)
                hints += hint_lines(experiment, scan(experiment), estimate, toml_path=path)
        return [*notes, *hints]

    # The weights file

    def _write_weights(self, candidates: Iterable[Candidate]) -> Iterator[str]:
        """Write the file that the command line names, and report it. Raises pytest.UsageError."""
        path = self._facts.settings.weights
        # Every session reads a file that the ini file names, so no session changes it unasked.
        if path is None or value_of(self._config, "--experiment-weights") is None:
            return
        seconds, unknown = self._durations(candidates)
        name = shown(self._config, path)
        if self._facts.settings.shard is not None:
            yield f"weights not written: {name} is for all shards, and this plan is for one; plan without --experiment-shard"
        elif not seconds:
            yield f"weights not written to {name}: no experiment has ever run here"
        else:
            try:
                kept = kept_weights(path, rootdir=self._config.rootpath)
                write_weights(path, {**kept, **seconds})
            except OSError as exc:
                raise pytest.UsageError(
                    f"{path}: cannot be written: {exc.strerror or exc}"
                ) from exc
            count = counted(len(seconds), "experiment")
            before, without = len(kept.keys() - seconds.keys()), len(unknown - kept.keys())
            yield (
                f"weights of {count} written to {name}"
                + (f"; {before} kept as before" if before else "")
                + (f"; without {without} of unknown time" if without else "")
            )

    def _durations(self, candidates: Iterable[Candidate]) -> tuple[dict[str, float], set[str]]:
        """Return the expected seconds by node id, and the node ids without an estimate."""
        found = [c for c in candidates if c.experiment is not None]
        estimates = {c.nodeid: self._facts.planner.estimate(c.name) for c in found}
        seconds = {
            nodeid: estimate.duration_s
            for nodeid, estimate in estimates.items()
            if estimate and estimate.duration_s is not None
        }
        return seconds, estimates.keys() - seconds.keys()
