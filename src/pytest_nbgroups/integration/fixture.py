"""The ``run_experiment`` fixture: an experiment inside of a test that the user writes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import DeclarationError, SelectionError
from pytest_nbgroups.core.model import SUFFIX, Experiment, ExperimentOutcome, ExperimentResult
from pytest_nbgroups.declarations.declaration import (
    Declaration,
    declaration_of,
    read_declaration,
)
from pytest_nbgroups.declarations.directory import only_experiment
from pytest_nbgroups.declarations.rules import check_resources
from pytest_nbgroups.integration.collection import ExperimentCollection, ExperimentItem
from pytest_nbgroups.integration.outcomes import Failed, failure_repr, interrupting, raise_outcome
from pytest_nbgroups.integration.scope import Scope, customize, read
from pytest_nbgroups.reports.properties import properties


class RunExperiment:
    """Value of the fixture: call it with the path of an experiment."""

    def __init__(self, request: pytest.FixtureRequest, collection: ExperimentCollection) -> None:
        self._request = request
        self._collection = collection

    def __call__(self, path: str | Path) -> ExperimentResult:
        """Run the experiment; the test fails or is skipped as it does."""
        __tracebackhide__ = True
        experiment = self._find(Path(path))
        self._refuse_collected(experiment)
        item, runner = self._request.node, self._collection.runner
        with interrupting(runner.config):
            result = runner.run(self._declared(experiment), item=item, nodeid=item.nodeid)
            item.user_properties.extend(properties(result))
            if result.outcome is ExperimentOutcome.FAILED:
                text = str(failure_repr(runner.facts, result, nodeid=item.nodeid))
                raise Failed(text.strip(), pytrace=False)
            raise_outcome(result)
        return result

    def _find(self, path: Path) -> Experiment:
        scope = self._collection.scope
        __tracebackhide__ = True
        for base in self._bases(scope):
            target = Path(os.path.normpath(base / path))
            if target.is_dir() or (target.suffix == SUFFIX and target.is_file()):
                return self._the_one(scope, target)
        looked = ", ".join(str(base) for base in self._bases(scope))
        pytest.fail(
            f"run_experiment({str(path)!r}): no such directory or notebook below {looked}",
            pytrace=False,
        )

    def _bases(self, scope: Scope) -> list[Path]:
        return [self._request.path.parent, *scope.settings.roots, scope.settings.rootdir]

    def _declared(self, experiment: Experiment) -> Experiment:
        """Put the marker's declarations over those of the directory."""
        try:
            declared = declared_by(self._request.node)
            resources = declared.over(declaration_of(experiment.resources)).resources
            check_resources(resources, lambda _key: f"{self._request.node.nodeid}, marker")
        except DeclarationError as exc:
            return replace(experiment, problem=str(exc))
        return replace(experiment, resources=resources)

    def _refuse_collected(self, experiment: Experiment) -> None:
        # Two runs would write into one directory.
        for item in self._request.session.items:
            if isinstance(item, ExperimentItem) and item.experiment.place == experiment.place:
                pytest.fail(
                    f"{experiment.directory} is run by {self._request.node.nodeid} and by "
                    f"{item.nodeid} in one session; deselect one of them",
                    pytrace=False,
                )

    def _the_one(self, scope: Scope, target: Path) -> Experiment:
        directory = target if target.is_dir() else target.parent
        hook = self._request.session.gethookproxy(directory)
        patterns = scope.customization.patterns
        experiments = read(scope, directory, customize(self._request.config, hook, patterns))
        try:
            return only_experiment(experiments, target)
        except SelectionError as exc:
            pytest.fail(f"run_experiment: {exc}", pytrace=False)


def declared_by(item: pytest.Item) -> Declaration:
    """Return what a test declares with the marker ``experiment``. Raises DeclarationError."""
    marker = item.get_closest_marker("experiment")
    if marker is None:
        return Declaration()
    if marker.args:
        raise DeclarationError(
            f"marker experiment{marker.args!r}: write resources by name, as gpus=1"
        )
    return read_declaration({"resources": marker.kwargs}, source=f"{item.nodeid}, marker")
