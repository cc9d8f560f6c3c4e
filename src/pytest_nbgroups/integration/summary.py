"""The end of a session: the table, session.json, and the output for GitHub."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from pytest_nbgroups.core.identity import plugin_version
from pytest_nbgroups.core.model import ExperimentOutcome
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.outcomes import shown, text_of_failure
from pytest_nbgroups.integration.own_lines import begin_line
from pytest_nbgroups.reports.advice import session_advice
from pytest_nbgroups.reports.closing_table import Row, table_lines, table_rows, without_reused
from pytest_nbgroups.reports.github import append_summary, error_annotations
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.markdown import summary_markdown
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict, write_record

_COLORS = {
    ExperimentOutcome.PASSED: "green",
    ExperimentOutcome.FAILED: "red",
    ExperimentOutcome.SKIPPED: "yellow",
    ExperimentOutcome.INTERRUPTED: "yellow",
}


@dataclass(kw_only=True)
class Summary:
    """The end of a session, and the record that is kept up to date until then."""

    facts: SessionFacts
    exit_status: int | None = None
    _warnings: dict[str, None] = field(default_factory=dict)

    def warn(self, *texts: str) -> None:
        """Remember a warning; each is reported once, at the end."""
        self._warnings.update(dict.fromkeys(texts))

    def save(self, record: SessionRecord, *, finished_at: float | None = None) -> None:
        """Write session.json as it is now."""
        data = session_dict(record, self._metadata(finished_at))
        self.warn(*write_record(self.facts.settings.artifacts, data))

    def _metadata(self, finished_at: float | None) -> SessionMetadata:
        params = self.facts.config.invocation_params
        return SessionMetadata(
            id=self.facts.session,
            pytest_version=pytest.__version__,
            plugin_version=plugin_version(),
            python_version=platform.python_version(),
            argv=tuple(str(argument) for argument in params.args),
            rootdir=self.facts.config.rootpath,
            started_at=self.facts.started_at,
            finished_at=finished_at,
            exit_status=self.exit_status if finished_at else None,
            budget=self.facts.budget,
            shard=self.facts.shard_record,
            warnings=tuple(self._warnings),
        )

    def show(self, record: SessionRecord, reporter: pytest.TerminalReporter) -> None:
        """Write the table, the warnings and the output for GitHub; save the record a last time."""
        begin_line(reporter)
        rows = table_rows(record.experiments(), gpus=self.facts.budget.gpus)
        if not rows:
            # A shard without experiments has a record too: the merge looks for one from each.
            if self.facts.shard_record is not None:
                self.save(record, finished_at=time.time())
            self._show_warnings(reporter)
            return
        # Before the record is saved, which lists the warnings.
        self.warn(*self.facts.end_history())
        advice = session_advice(record.experiments(), shown=partial(shown, self.facts.config))
        self.save(record, finished_at=time.time())
        if os.environ.get("GITHUB_ACTIONS") == "true":
            self._write_for_github(record, rows, reporter)
        if self.facts.config.get_verbosity() >= 0:
            reporter.section("experiments")
            self._show_table(rows, reporter)
            for text in advice:
                reporter.write_line(text)
        self._show_warnings(reporter)

    def _show_table(self, rows: tuple[Row, ...], reporter: pytest.TerminalReporter) -> None:
        is_verbose = self.facts.config.get_verbosity() > 0
        rows, counted = (rows, "") if is_verbose else without_reused(rows)
        for line in table_lines(rows, reporter._tw.fullwidth):  # noqa: SLF001  as plugins do
            color = _COLORS.get(line.outcome) if line.outcome else None
            reporter.write_line(line.text, **({color: True} if color else {"bold": True}))
        if counted:
            reporter.write_line(counted, green=True)

    def _show_warnings(self, reporter: pytest.TerminalReporter) -> None:
        for warning in self._warnings:
            reporter.write_line(f"experiments: warning: {one_line(warning)}", yellow=True)

    def _write_for_github(
        self, record: SessionRecord, rows: tuple[Row, ...], reporter: pytest.TerminalReporter
    ) -> None:
        experiments = record.experiments()
        workspace = Path(os.environ.get("GITHUB_WORKSPACE", self.facts.config.rootpath))
        for line in error_annotations(experiments, workspace=workspace):
            reporter.write_line(line)
        target = os.environ.get("GITHUB_STEP_SUMMARY")
        if target is None:
            return
        details = {
            row: text_of_failure(self.facts, e.result, nodeid=e.nodeid)
            for row, e in zip(rows, experiments, strict=True)
            if e.result.outcome is ExperimentOutcome.FAILED
        }
        text = summary_markdown(
            rows, details=details, duration_s=time.time() - self.facts.started_at
        )
        self.warn(*append_summary(Path(target), text))
