"""Hooks that a conftest.py or a plugin may implement. They exist whenever the plugin is loaded.

Under pytest-xdist each worker collects by itself, and the controller never loads the conftest.py of
a subdirectory: hooks that are called in workers may live in any conftest.py above the experiment,
those called in the controller in the root conftest.py or a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_nbgroups.core.events import Event
    from pytest_nbgroups.core.model import Experiment
    from pytest_nbgroups.core.resources import Resources


@pytest.hookspec(firstresult=True)
def pytest_experiment_notebooks(
    config: pytest.Config, path: Path, notebooks: Sequence[Path]
) -> Sequence[Path] | None:
    """Choose and order the notebooks of the directory ``path``.

    Called at collection, in every process that collects (each worker, or the only process), and
    before it in the process that counts experiments for ``-n auto``; there only the root
    conftest.py is loaded. ``notebooks`` are in order, without the excluded ones. The first result
    that is not None wins: the notebooks to run, in order, all from the directory. None changes
    nothing.

    .. code-block:: python

        def pytest_experiment_notebooks(config, path, notebooks):
            if path.name == "Heart":
                return [n for n in notebooks if "gallery" not in n.name]
    """


@pytest.hookspec(firstresult=True)
def pytest_experiment_resources(
    config: pytest.Config, path: Path, resources: Resources
) -> Resources | None:
    """Change the declared resources of the experiment in the directory ``path``.

    Called together with `pytest_experiment_notebooks`. ``resources`` are those of
    experiment.toml over pyproject.toml. The first result that is not None wins over both. Its values
    are checked as those of a file are; a size may be a text such as ``"4GB"``.

    .. code-block:: python

        def pytest_experiment_resources(config, path, resources):
            if platform.machine() == "arm64":
                return dataclasses.replace(resources, gpus=0)
    """


@pytest.hookspec
def pytest_experiment_env(
    config: pytest.Config, experiment: Experiment
) -> Mapping[str, str] | None:
    """Add environment variables for the kernels of an experiment.

    Called just before it runs, in the process that runs it (a worker, or the only process), and
    for a plan with ``--experiment-resume``. The results of all implementations are joined; those of
    the conftest.py nearest to the experiment win, and ``env`` in experiment.toml wins over all.

    .. code-block:: python

        def pytest_experiment_env(config, experiment):
            return {"DATA": str(config.rootpath / "data")}
    """


@pytest.hookspec
def pytest_experiment_event(config: pytest.Config, event: Event) -> None:
    """Receive every event of an experiment when it happens.

    Called in the controller, or the only process, mostly from a background thread; one call at a
    time. ``event`` is one of the frozen dataclasses of `pytest_nbgroups.events`. An exception becomes
    a warning at the end of the session; ``pytest.exit`` ends the session.

    .. code-block:: python

        def pytest_experiment_event(config, event):
            if isinstance(event, NotebookFinished):
                print(event.experiment, event.result.name, event.result.outcome)
    """
