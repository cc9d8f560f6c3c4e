"""Runs an experiment from Python, without pytest."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import SelectionError
from pytest_nbgroups.core.events import Event, ExperimentWaiting
from pytest_nbgroups.core.identity import session_id
from pytest_nbgroups.core.model import SUFFIX, Experiment, ExperimentResult
from pytest_nbgroups.core.settings import ARTIFACTS_FOLDER, Deadlines, Settings
from pytest_nbgroups.core.units import parse_duration
from pytest_nbgroups.declarations.directory import (
    Customization,
    only_experiment,
    read_experiments,
    read_pyproject,
)
from pytest_nbgroups.declarations.listing import nested_experiments
from pytest_nbgroups.engines.local import LocalEngine
from pytest_nbgroups.engines.protocol import Order
from pytest_nbgroups.engines.session_start import open_session
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.reports.live import waiting_line


def run_experiment(  # noqa: PLR0913  each is a choice of its own
    path: str | os.PathLike[str],
    *,
    rootdir: str | os.PathLike[str] = ".",
    artifacts: str | os.PathLike[str] = ARTIFACTS_FOLDER,
    kernel: str | None = None,
    timeout: str | float | None = None,
    notebook_timeout: str | float | None = None,
    cell_timeout: str | float | None = None,
    env: Mapping[str, str] | None = None,
    resume: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> ExperimentResult:
    """Run the notebooks of a directory in order, each in a fresh kernel, up to the first failure.

    Reads experiment.toml in the directory and ``[tool.nbgroups]`` in ``rootdir``'s pyproject.toml;
    the arguments win over both. ``path`` and ``artifacts`` are relative to ``rootdir``. Timeouts are
    seconds or texts like ``"30min"``. ``env`` is added to this process's environment. ``resume``
    reuses the notebooks that passed in the last attempt and have not changed since. ``on_event`` is
    called with each of `pytest_nbgroups.events`, most of them in a background thread, one call at a
    time; an exception in it becomes a warning of the result. Without it, a line on stderr reports a
    wait.

    The experiment waits for its lease, as in a session of pytest. Inside the notebook of another
    experiment, it takes its lease from that experiment's lease.

    Failures are in the result and are not raised. Raises SelectionError if the directory has no
    notebook to run, or if its notebooks are independent and ``path`` names no notebook;
    DeclarationError for a bad pyproject.toml; ValueError for a bad timeout; LeaseError if the lease
    pool cannot be used; KeyboardInterrupt, once nothing is left running.
    """
    root = Path(os.path.abspath(rootdir))  # noqa: PTH100  follows no links, unlike resolve
    settings = Settings(
        rootdir=root,
        roots=(root / "experiments",),
        artifacts=root / artifacts,
        option_kernel=kernel,
        resume=resume,
        option_deadlines=Deadlines(
            experiment_s=_seconds("timeout", timeout),
            notebook_s=_seconds("notebook_timeout", notebook_timeout),
            cell_s=_seconds("cell_timeout", cell_timeout),
        ),
    )
    experiment = _find(Path(os.path.abspath(root / path)), settings)  # noqa: PTH100
    started_at = time.time()
    session = session_id(started_at, uuid.uuid4().hex[:6])
    machine = ThisMachine.open()
    listen = on_event or _report_wait
    with (
        open_session(machine, settings, session=session, started_at=started_at) as (known, history),
        closing(LocalEngine(machine)) as engine,
    ):

        def emit(event: Event) -> None:
            history.receive(event, nodeid="")
            listen(event)

        order = Order(
            experiment=_with_surroundings(experiment, env or {}),
            settings=settings,
            env=dict(os.environ),
            knowledge=known,
        )
        return engine.run(order, emit, cancellation=Cancellation())


def _report_wait(event: Event) -> None:
    if isinstance(event, ExperimentWaiting):
        sys.stderr.write(f"{waiting_line(event)}\n")
        sys.stderr.flush()


def _with_surroundings(experiment: Experiment, env: Mapping[str, str]) -> Experiment:
    """Add the variables, which its own win over, and the experiments below it."""
    nested = nested_experiments(experiment.directory, lambda path: path.name.startswith("."))
    return replace(experiment, env={**env, **experiment.env}, nested=nested)


def _seconds(name: str, value: str | float | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as exc:
        raise ValueError(f"{name} = {value!r}: {exc}") from exc


def _find(target: Path, settings: Settings) -> Experiment:
    directory = target.parent if target.suffix == SUFFIX else target
    if not directory.is_dir():
        raise SelectionError(f"{directory}: no such directory")
    found = read_experiments(
        directory, settings, customization=Customization(patterns=read_pyproject(settings.rootdir))
    )
    return only_experiment(found, target)
