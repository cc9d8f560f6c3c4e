"""Conversion of an experiment's outcome to pytest's."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest import outcomes
from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult
from pytest_nbgroups.integration.options.command_line import value_of
from pytest_nbgroups.integration.selecting import arguments_for
from pytest_nbgroups.reports.failure import failure_headline, failure_lines
from pytest_nbgroups.reports.lines import one_line

if TYPE_CHECKING:
    from pytest_nbgroups.integration.facts import SessionFacts

_COMMON = ("--experiment-artifacts", "--experiment-kernel")


class ExperimentFailed(Exception):  # noqa: N818  as pytest names its outcomes
    """An experiment failed; the result has everything to report."""

    def __init__(self, result: ExperimentResult) -> None:
        super().__init__(failure_headline(result))
        self.result = result


class Failed(outcomes.Failed):
    """A test failed because of the experiment that it runs."""

    # As in pytest's own class, so that the short summary shows its name without a module.
    __module__ = "builtins"


@contextmanager
def interrupting(config: pytest.Config) -> Generator[None]:
    """Let Ctrl-C end the session with ``--pdb`` too, which would open its prompt for it."""
    try:
        yield
    except KeyboardInterrupt as exc:
        if not config.getoption("usepdb", False):  # noqa: FBT003  -p no:debugging
            raise
        reason = str(exc) or "interrupted"
        raise pytest.exit.Exception(reason, returncode=pytest.ExitCode.INTERRUPTED) from exc


def raise_outcome(result: ExperimentResult) -> None:
    """Raise what pytest takes for the outcome; return if the experiment passed."""
    __tracebackhide__ = True
    match result.outcome:
        case ExperimentOutcome.FAILED:
            raise ExperimentFailed(result)
        case ExperimentOutcome.SKIPPED:
            pytest.skip(one_line(result.reason or "") or "skipped")
        case ExperimentOutcome.INTERRUPTED:
            raise KeyboardInterrupt(one_line(result.reason or "") or "interrupted")
        case ExperimentOutcome.PASSED:
            return


def text_of_failure(facts: SessionFacts, result: ExperimentResult, *, nodeid: str) -> list[str]:
    """Return the lines that report a failure, with the command that reruns the item."""
    config = facts.config
    short = config.getoption("tbstyle", "auto") in {"short", "line", "no"}
    return failure_lines(
        result,
        rerun_command=_rerun_command(config, nodeid, resumes=result.resumable > 0),
        shown=partial(shown, config),
        gpus_visible=bool(facts.budget.gpus),
        tb_style="short" if short else "long",
    )


def _rerun_command(config: pytest.Config, nodeid: str, *, resumes: bool) -> str:
    words = ["pytest", "--run-experiments"]
    if resumes:
        # A run with another artifacts folder or kernel would find nothing to reuse.
        common = {flag: value_of(config, flag) for flag in _COMMON}
        given = [f"{flag}={text}" for flag, text in common.items() if text is not None]
        words += ["--experiment-resume", *given]
    return shlex.join([*words, *arguments_for(config, nodeid)])


def shown(config: pytest.Config, path: Path) -> str:
    """Return a path for the user: relative to the directory of the call, if it lies below."""
    directory = config.invocation_params.dir
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def failure_repr(
    facts: SessionFacts, result: ExperimentResult, *, nodeid: str
) -> ReprExceptionInfo:
    """Return the failure text, as xdist can carry it and the short summary takes a line from it."""
    lines = []  # with --tb=line pytest writes the location and its message alone
    if facts.config.getoption("tbstyle", "auto") != "line":
        lines = text_of_failure(facts, result, nodeid=nodeid)
    failed = result.failed_notebook
    path = result.directory / failed.name if failed else result.directory
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback(
            reprentries=[ReprEntryNative([f"{line}\n" for line in lines])],
            extraline=None,
            style="native",
        ),
        reprcrash=ReprFileLocation(shown(facts.config, path), 0, failure_headline(result)),
    )
