"""Conversion of an experiment's outcome to pytest's."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from _pytest import outcomes
from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult
from pytest_nbgroups.integration.options.command_line import value_of
from pytest_nbgroups.integration.selecting import arguments_for
from pytest_nbgroups.reports.failure import failure_headline, failure_lines
from pytest_nbgroups.reports.lines import one_line

_COMMON = ("--experiment-artifacts", "--experiment-kernel")


class ExperimentFailed(Exception):  # noqa: N818  as pytest names its outcomes
    """An experiment failed; the result has everything to report."""

    def __init__(self, result: ExperimentResult) -> None:
        super().__init__(failure_headline(result))
        self.result = result


class Failed(outcomes.Failed):
    """A test failed by the experiment that it runs. Shown as pytest's own, whose name it has for that."""

    __module__ = "builtins"


@contextmanager
def interrupting(config: pytest.Config) -> Generator[None]:
    """Have Ctrl-C end the session with ``--pdb`` too, which would take it for a failure to look into."""
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


def text_of_failure(
    config: pytest.Config, result: ExperimentResult, *, nodeid: str, gpus_visible: bool
) -> list[str]:
    """The lines that report a failure, with the command that reruns the item."""
    short = config.getoption("tbstyle", "auto") in {"short", "line", "no"}
    return failure_lines(
        result,
        rerun_command=_rerun_command(config, nodeid, resumes=result.resumable > 0),
        shown=partial(shown, config),
        gpus_visible=gpus_visible,
        tb_style="short" if short else "long",
    )


def _rerun_command(config: pytest.Config, nodeid: str, *, resumes: bool) -> str:
    """With what a run has to have in common with this one, to reuse a part of it."""
    words = ["pytest", "--run-experiments"]
    if resumes:
        common = {flag: value_of(config, flag) for flag in _COMMON}
        given = [f"{flag}={text}" for flag, text in common.items() if text is not None]
        words += ["--experiment-resume", *given]
    return shlex.join([*words, *arguments_for(config, nodeid)])


def shown(config: pytest.Config, path: Path) -> str:
    """A path as it is shown: relative to the directory of the call, if it lies below."""
    directory = config.invocation_params.dir
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def failure_repr(
    config: pytest.Config, result: ExperimentResult, *, nodeid: str, gpus_visible: bool
) -> ReprExceptionInfo:
    """The failure text, in the shape that xdist carries and the short summary takes a line from."""
    lines = []  # with --tb=line pytest writes the location and its message alone
    if config.getoption("tbstyle", "auto") != "line":
        lines = text_of_failure(config, result, nodeid=nodeid, gpus_visible=gpus_visible)
    failed = result.failed_notebook
    path = result.directory / failed.name if failed else result.directory
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback(
            reprentries=[ReprEntryNative([f"{line}\n" for line in lines])],
            extraline=None,
            style="native",
        ),
        reprcrash=ReprFileLocation(shown(config, path), 0, failure_headline(result)),
    )
