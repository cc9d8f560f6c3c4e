"""Runs experiments in this process, for items and for the ``run_experiment`` fixture."""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.events import Event
from pytest_nbgroups.core.model import Experiment, ExperimentResult
from pytest_nbgroups.declarations.listing import nested_experiments
from pytest_nbgroups.engines.protocol import Order
from pytest_nbgroups.integration.facts import SessionFacts

if TYPE_CHECKING:
    from pytest_nbgroups.integration.debugging import KernelPrompt

_JUPYTER = (
    r"(IPython|ipykernel|jupyter_client|jupyter_core|nbclient|nbformat|tornado|traitlets|zmq)(\.|$)"
)
"""Modules that run in this process for an experiment."""


class Deliver(Protocol):
    """Takes an event to the reporters, in this process or another."""

    def __call__(self, event: Event, *, nodeid: str) -> None: ...


class Runner:
    """Hands experiments to the engine, one at a time, for items and tests."""

    def __init__(
        self,
        facts: SessionFacts,
        *,
        deliver: Deliver,
        cancellation: Cancellation,
        prompt: KernelPrompt | None = None,
    ) -> None:
        self.facts = facts
        self.config = facts.config
        self._cancellation = cancellation
        self._deliver = deliver
        self._prompt = prompt

    def run(self, experiment: Experiment, *, item: pytest.Item, nodeid: str) -> ExperimentResult:
        """Run an experiment for an item; its events carry the node id."""
        _disarm_faulthandler(self.config)
        # Outside of the filter: the user's hooks are called, whose warnings count.
        order = Order(
            experiment=self.completed(experiment, item),
            settings=self.facts.settings,
            env=dict(os.environ),
            knowledge=self.facts.planner.knowledge,
            nodeid=nodeid,
        )
        with warnings.catch_warnings():
            # The user's filters are for the user's code. With -W error, a read-only home directory would
            # fail every notebook before it begins.
            warnings.filterwarnings("ignore", module=_JUPYTER)
            engine = self.facts.engine
            _import_ipython()
            return engine.run(
                order,
                partial(self._deliver, nodeid=nodeid),
                cancellation=self._cancellation,
                on_halt=self._prompt.on_halt(experiment, item) if self._prompt else None,
            )

    def completed(self, experiment: Experiment, item: pytest.Item) -> Experiment:
        """Add what is not known at its collection: the hooks' variables, and what lies below it."""
        try:
            env = {**self._added_env(experiment, item), **experiment.env}
        except Exception as exc:  # noqa: BLE001  the user's code; its fault is this experiment's
            problem = f"pytest_experiment_env raised {type(exc).__name__}: {exc}"
            return replace(experiment, problem=problem)
        nested = nested_experiments(experiment.directory, self.facts.scope.is_ignored)
        return replace(experiment, env=env, nested=nested)

    def _added_env(self, experiment: Experiment, item: pytest.Item) -> dict[str, str]:
        added: Sequence[Mapping[str, str] | None] = item.ihook.pytest_experiment_env(
            config=self.config, experiment=experiment
        )
        env: dict[str, str] = {}
        for variables in reversed(added):  # pluggy calls the nearest conftest.py first: it wins
            env.update(variables or {})
        return env


def _disarm_faulthandler(config: pytest.Config) -> None:
    """End the watch of ``faulthandler_timeout``, which is meant for unit tests and may end pytest."""
    # pytest arms it around each item, and does the same before a debugger begins.
    if config.pluginmanager.hasplugin("faulthandler"):
        faulthandler.cancel_dump_traceback_later()


def _import_ipython() -> None:
    """Import IPython while ``sys.stdin`` is None, if this process has no stdin.

    pytest's replacement for stdin raises when asked for its encoding, and IPython asks on import. jupyter_client
    imports IPython when it looks for a kernel.
    """
    if sys.__stdin__ is not None:
        return
    stand_in, sys.stdin = sys.stdin, None  # what Python itself makes of it
    try:
        with suppress(ImportError):
            importlib.import_module("IPython")
    finally:
        sys.stdin = stand_in
