"""Reports while a session runs: the header, and lines as experiments proceed."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import pytest
from _pytest.outcomes import OutcomeException

from pytest_nbgroups.core.events import (
    Event,
    ExperimentFinished,
    ExperimentWaiting,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.core.model import Experiment, ExperimentResult
from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.units import counted, format_size
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.own_lines import begin_line
from pytest_nbgroups.integration.record_keeping import RecordKeeping
from pytest_nbgroups.integration.scope import has_companions, places
from pytest_nbgroups.integration.shard_selection import exit_status, nodeid_in
from pytest_nbgroups.integration.summary import Summary
from pytest_nbgroups.integration.xdist.limits import worker_count
from pytest_nbgroups.reports.advice import warnings_of
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.live import (
    notebook_line,
    running_line,
    starting_line,
    stopping_line,
    waiting_line,
)
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.scheduling.needs import notes as notes_on
from pytest_nbgroups.scheduling.planning import Parallelism

MINUTE_S = 60.0
NOTES_SHOWN = 5


@dataclass(kw_only=True, eq=False)
class ExperimentReporter:
    """Reports experiments in the process that the user watches."""

    facts: SessionFacts
    has_workers: bool
    record: SessionRecord = field(default_factory=SessionRecord)
    # Events come from background threads: the one that runs an experiment, or execnet's receivers. The
    # lock keeps each of pytest's own reports, and each of our lines, whole.
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _exit: BaseException | None = None
    """Raised by `pytest_experiment_event` in a background thread, where it cannot end the session."""

    @cached_property
    def summary(self) -> Summary:
        return Summary(facts=self.facts)

    @cached_property
    def _keeping(self) -> RecordKeeping:
        return RecordKeeping(lambda: self.summary.save(self.record), self._lock)

    def receive(self, event: Event, *, nodeid: str, worker: str = "") -> None:
        """Record an event, print it, and pass it to the hook."""
        with self._lock:
            self.record.add(event, worker=worker, nodeid=nodeid)
            self._say(self._lines(event, worker))
            self._call_hook(event)
            if isinstance(event, ExperimentFinished):
                self.summary.warn(*warnings_of(event.result))
                self._keeping.keep_up()

    def worker_crashed(
        self, nodeid: str, *, worker: str, message: str
    ) -> tuple[str, ExperimentResult] | None:
        """Record what was lost with a worker. Return node id and result; None if it was no experiment."""
        with self._lock:
            for candidate in _without_group(nodeid):
                experiment = self._experiment_of(candidate)
                result = self.record.crashed(
                    candidate, worker, message, time.time(), experiment=experiment
                )
                if result is not None:
                    self._keeping.keep_up()
                    return candidate, result
        return None

    def _experiment_of(self, nodeid: str) -> Experiment | None:
        """Return the experiment of an item; None for a test, even if it runs one."""
        own = self.facts.experiments
        return next((e for e in own if nodeid_in(self.facts.config.rootpath, e) == nodeid), None)

    def _call_hook(self, event: Event) -> None:
        try:
            self.facts.config.hook.pytest_experiment_event(config=self.facts.config, event=event)
        except pytest.exit.Exception as exc:
            self._exit = exc
            # Only the main thread can end the session: pytest_runtestloop raises the exit there.
            _thread.interrupt_main()
        except (Exception, OutcomeException) as exc:  # noqa: BLE001  the user's code, in a thread of ours
            self.summary.warn(f"pytest_experiment_event raised {type(exc).__name__}: {exc}")

    def _lines(self, event: Event, worker: str) -> Iterable[str]:
        verbose = self.facts.config.get_verbosity() > 0
        is_captured = self.has_workers or self.facts.config.getoption("capture", "no") != "no"
        match event:
            case NotebookStarted() if not is_captured:  # with -s, a title for the notebook's output
                yield starting_line(event)
            case ExperimentWaiting():
                yield waiting_line(event, worker=worker)
            case NotebookFinished() if verbose:
                yield notebook_line(event, worker=worker)
            case ExperimentFinished() if not is_captured and (line := stopping_line(event.result)):
                yield line

    def _say(self, lines: Iterable[str]) -> None:
        reporter = self.facts.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or not (texts := list(lines)):
            return
        with self._uncaptured():
            begin_line(reporter)
            for text in texts:
                reporter.write_line(text)
            reporter.flush()

    def _uncaptured(self) -> AbstractContextManager[None]:
        capture = self.facts.config.pluginmanager.getplugin("capturemanager")
        if capture is None or self.has_workers:
            return nullcontext()
        return cast("AbstractContextManager[None]", capture.global_and_fixture_disabled())

    # Without a terminal, a line a minute

    def pytest_sessionstart(self) -> None:
        reporter = self.facts.config.pluginmanager.getplugin("terminalreporter")
        is_terminal = reporter is None or getattr(reporter, "isatty", False)
        if not is_terminal and self.facts.config.get_verbosity() >= 0:
            thread = threading.Thread(target=self._tick, name="nbgroups-minutes", daemon=True)
            thread.start()
            self.facts.config.add_cleanup(thread.join)
        # Cleanups run in reverse order: the thread ends before it is joined.
        self.facts.config.add_cleanup(self._ended.set)
        self.facts.config.add_cleanup(self._keeping.finish)

    def _tick(self) -> None:
        while not self._ended.wait(MINUTE_S):
            with self._lock:
                self._say(running_line(r, time.time()) for r in self.record.running())

    # pytest's own reporting

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Let ``pytest.exit`` in the hook for events end the session as it does elsewhere."""
        try:
            return (yield)
        except KeyboardInterrupt:
            if self._exit is None:
                raise
            raise self._exit from None

    # Outermost, so that the lock covers what every other plugin writes.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None]:
        with self._lock:
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None]:
        with self._lock:
            return (yield)

    def pytest_report_header(self) -> list[str]:
        experiments = self.facts.experiments
        if not experiments:
            where = ", ".join(places(self.facts.scope)) or "the paths given"
            return [f"experiments: none found{self._part} below {where}"]
        header = f"experiments: {self._processes()}: {budget_text(self.facts.budget)}"
        fitting = fitting_text(self.facts.fitting, len(experiments))
        return [f"{header}; {fitting}{self._part}", *self._notes(experiments)]

    @property
    def _part(self) -> str:
        """Render `` for shard 1/3``; empty if this session has all experiments."""
        shard = self.facts.settings.shard
        return "" if shard is None else f" for shard {shard.index}/{shard.count}"

    def _processes(self) -> str:
        if not self.has_workers:
            return "one at a time"
        count = worker_count(self.facts.config)
        return counted(count, "worker")

    def _notes(self, experiments: Sequence[Experiment]) -> Iterable[str]:
        dist = self.facts.config.getoption("dist", "no")
        if (
            self.has_workers
            and dist == "worksteal"
            and has_companions(self.facts.config, experiments)
        ):
            yield (
                f"  --dist {dist} can run an experiment, the tests beside its notebooks and the experiments "
                "below it at the same time; --dist load keeps them in order"
            )
        notes = list(self.facts.budget.notes)
        for experiment in experiments:
            notes += experiment_notes(experiment, self.facts.planner)
        yield from (f"  {one_line(note)}" for note in notes[:NOTES_SHOWN])
        if len(notes) > NOTES_SHOWN:
            yield f"  and {len(notes) - NOTES_SHOWN} more notes"

    # The end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        session.exitstatus = exit_status(int(exitstatus), self.facts.shard_record)
        self.summary.exit_status = int(session.exitstatus)

    # Below the sections of pytest and other plugins.
    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        self._ended.set()
        with self._lock:
            for result in self.record.interrupted_rest(
                time.time(), experiment_of=self._experiment_of
            ):
                self.facts.history.record_experiment(result, nodeid="")
            if (
                left := self.facts.not_run()
            ) and self.summary.exit_status != pytest.ExitCode.INTERRUPTED:
                self.summary.warn(f"not run, because no worker was left: {', '.join(left)}")
            self._keeping.forget()
            self.summary.show(self.record, terminalreporter)


def _without_group(nodeid: str) -> Iterable[str]:
    """Yield the node id, then what it may be without the ``@group`` that ``--dist loadgroup`` adds."""
    # Both parts can contain an "@": the group of an experiment is its directory.
    while nodeid:
        yield nodeid
        nodeid = nodeid.rpartition("@")[0]


def experiment_notes(experiment: Experiment, planner: Planner) -> list[str]:
    """Return remarks on the order of an experiment, and on what it declares."""
    estimate = planner.estimate(experiment.name)
    remarks = (*experiment.notes, *notes_on(experiment.resources, estimate, planner.budget))
    return [f"{experiment.name}: {remark}" for remark in remarks]


def budget_text(budget: Budget) -> str:
    """Render ``8 cpus, 17.2 GiB budget, 2 gpus``."""
    parts = [counted(budget.cpus, "cpu"), f"{format_size(budget.ram_bytes)} budget"]
    if budget.gpus:
        parts.append(counted(len(budget.gpus), "gpu"))
    return ", ".join(parts)


def fitting_text(fits: Parallelism, total: int) -> str:
    """Render ``at most 4 of 11 experiments fit at once (8 cpus)``; ``total`` counts all that were found."""
    if fits.experiments <= 1:
        return counted(total, "experiment")
    if fits.fit < fits.experiments:
        return f"at most {fits.fit} of {fits.experiments} experiments fit at once ({fits.limit})"
    if fits.experiments < total:
        return f"{total} experiments, the {fits.experiments} that can run here fit at once"
    return f"all {total} experiments fit at once"
