"""``--pdb``: keep the kernel of a failed notebook until its user has looked at it."""

from __future__ import annotations

import importlib.util
import pdb  # noqa: T100  the hooks of pytest's prompt take one
import shlex
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from _pytest.config import create_terminal_writer
from _pytest.skipping import evaluate_xfail_marks

from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.execution.halting import Halted, OnHalt
from pytest_nbgroups.integration.outcomes import ExperimentFailed, Failed, shown
from pytest_nbgroups.reports.failure import failure_lines

QUIT = "q"
PROMPT = f"Enter ends the kernel and goes on, {QUIT} ends the session: "
_PYTESTS_OWN = "pdbinvoke"


class KernelPrompt:
    """The prompt of ``--pdb`` for an experiment; a plugin that ends the session on request."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.has_asked = False
        """True if the last experiment opened the prompt."""
        self._end: str | None = None
        """Reason to end the session as soon as the failure is reported."""

    def on_halt(self, experiment: Experiment, item: pytest.Item) -> OnHalt | None:
        """Return the function that halts a failed notebook's kernel; None if pytest would open no prompt."""
        self.has_asked = False
        expected = evaluate_xfail_marks(item)
        if expected is not None and expected.raises is None:
            return None
        return partial(self._show, experiment)

    def _show(self, experiment: Experiment, halted: Halted) -> None:
        self.has_asked = True
        with _terminal(self.config) as write:
            for line in self._lines(experiment, halted):
                write(line)
            self._end = _answer()

    def _lines(self, experiment: Experiment, halted: Halted) -> Iterator[str]:
        result = _as_result(experiment, halted)
        yield from failure_lines(result, rerun_command="", shown=partial(shown, self.config))
        yield ""
        yield (
            f"the kernel of {experiment.name}/{halted.notebook} is still running; "
            "connect to it from another terminal with:"
        )
        yield f"    jupyter console --existing {shlex.quote(str(halted.connection_file))}"
        if importlib.util.find_spec("jupyter_console") is None:
            yield "jupyter console is not installed here: pip install jupyter-console"

    # pytest calls it after the failure is reported. First, so that no other prompt opens.
    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self) -> None:
        self._end_session()

    # For an expected failure, which pytest does not show to the hook above.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        self._end_session()

    def _end_session(self) -> None:
        if self._end is not None:
            raise pytest.exit.Exception(self._end, returncode=pytest.ExitCode.INTERRUPTED)

    def pytest_sessionstart(self) -> None:
        """Replace pytest's own prompt, which is registered by now."""
        plugins = self.config.pluginmanager
        if (own := plugins.unregister(name=_PYTESTS_OWN)) is not None:
            plugins.register(_ForOthers(own, self), _PYTESTS_OWN)


class _ForOthers:
    """pytest's own prompt for all but a failed experiment."""

    # For an experiment it would stop in our own code; for a test that ran one, it would ask a second time.

    def __init__(self, own: Any, prompt: KernelPrompt) -> None:  # noqa: ANN401
        self._own = own
        self._prompt = prompt
        self.pytest_internalerror = own.pytest_internalerror

    def pytest_exception_interact(
        self,
        node: pytest.Item | pytest.Collector,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport,
    ) -> None:
        error = call.excinfo.value if call.excinfo else None
        # Only an experiment's own item raises ExperimentFailed; a test that has run one raises Failed.
        has_asked = isinstance(error, Failed) and self._prompt.has_asked
        if not isinstance(error, ExperimentFailed) and not has_asked:
            self._own.pytest_exception_interact(node=node, call=call, report=report)


def _as_result(experiment: Experiment, halted: Halted) -> ExperimentResult:
    """Return the result as far as it is known before the experiment has ended."""
    failed = NotebookResult(
        name=halted.notebook,
        outcome=NotebookOutcome.FAILED,
        failure=halted.failure,
        executed_path=halted.executed_path,
    )
    return ExperimentResult(
        name=experiment.name,
        directory=experiment.directory,
        outcome=ExperimentOutcome.FAILED,
        notebooks=tuple(
            failed
            if notebook.name == halted.notebook
            else NotebookResult(name=notebook.name, outcome=NotebookOutcome.PASSED)
            for notebook in experiment.notebooks
        ),
    )


@contextmanager
def _terminal(config: pytest.Config) -> Generator[Callable[[str], None]]:
    """Stop capturing, stdin included, and notify plugins, as pytest does for its own prompt."""
    capture = config.pluginmanager.getplugin("capturemanager")
    debugger = pdb.Pdb(nosigint=True, readrc=False)
    if capture is not None:
        capture.suspend(in_=True)
    writer = create_terminal_writer(config)
    try:
        config.hook.pytest_enter_pdb(config=config, pdb=debugger)
        writer.line()
        writer.sep(">", "kernel kept for --pdb")
        yield writer.line
        writer.line()
        config.hook.pytest_leave_pdb(config=config, pdb=debugger)
    finally:
        if capture is not None:
            capture.resume()


def _answer() -> str | None:
    """Wait for the user; return the reason to end the session, or None to go on."""
    if sys.stdin is None:  # closed
        return None
    try:
        answer = input(PROMPT)
    except KeyboardInterrupt:
        return "interrupted"
    except (EOFError, OSError, ValueError):  # at its end, unreadable, or closed meanwhile
        return None
    return "Quitting debugger" if answer.strip().lower() == QUIT else None
