"""Directories of notebooks as pytest collects them: one directory node, one item."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nbgroups.core.model import SUFFIX, Experiment
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.declarations.listing import listed_notebooks
from pytest_nbgroups.integration.outcomes import (
    ExperimentFailed,
    failure_repr,
    interrupting,
    raise_outcome,
)
from pytest_nbgroups.integration.scope import Scope, customize, notebook_paths, read
from pytest_nbgroups.integration.shard_selection import own_shard
from pytest_nbgroups.integration.shared_names import find_ignores_case, shared_names
from pytest_nbgroups.integration.stand_in import function_for, module_for
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.properties import properties

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from pytest_nbgroups.integration.runner import Runner


class ExperimentCollection:
    """Claims directories for their notebooks. Registered only with ``--run-experiments``."""

    def __init__(self, scope: Scope, runner: Runner) -> None:
        self.scope = scope
        self.runner = runner
        self.listing: _Experiments | None = None
        """The directory whose files pytest goes through now."""

    # The first answer counts, and pytest has one for every directory.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(
        self, path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        if not self.scope.claims(path) or (listed := _listed(path)) == frozenset():
            return None
        is_package = (path / "__init__.py").is_file()
        cls: type[Any] = ExperimentPackage if is_package else ExperimentDirectory
        node: ExperimentDirectory | ExperimentPackage = cls.from_parent(parent, path=path)
        node.collection, node.listed = self, listed or frozenset()
        return node

    # The outermost wrapper drops what any other plugin has collected.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Keep a notebook that an argument names from other plugins."""
        collected = yield
        if not isinstance(parent, _Experiments):
            # Below a root that testpaths leaves out, a script named as a test would be imported: it would run.
            return [] if self.scope.is_added(file_path) else collected
        if file_path.suffix != SUFFIX:
            return collected
        parent.offered.add(file_path)
        return []

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_ignore_collect")
    def pytest_take_notebook(
        self, collection_path: Path
    ) -> Generator[None, bool | None, bool | None]:
        """Ask once whether a notebook is ignored, and offer it to no other plugin."""
        is_ignored = yield
        if is_ignored or self.listing is None or collection_path.name not in self.listing.listed:
            return is_ignored
        self.listing.offered.add(collection_path)
        return True

    # The first answer counts: a conftest.py that answers False for every path must come later.
    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return self.scope.is_artifacts(collection_path) or _leads_back(collection_path) or None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Place a skipped experiment at its directory, not at the line of our code that skips it."""
        report = yield
        # Only a skipped report has a tuple.
        if isinstance(item, ExperimentItem) and isinstance(report.longrepr, tuple):
            report.longrepr = (str(item.path), None, report.longrepr[2])  # type: ignore[assignment]
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None]:
        """Two notebooks given of one experiment are one item; two of one name cannot both run."""
        first: dict[str, pytest.Item] = {}
        items[:] = [
            item
            for item in items
            if not isinstance(item, ExperimentItem) or first.setdefault(item.nodeid, item) is item
        ]
        _refuse_shared_names(items, self.scope.settings.artifacts)
        with own_shard(config, items, self.scope.settings.shard, nodeid_of=_experiment_nodeid):
            yield
        items[:] = _experiments_first(items)
        for item in items:
            if isinstance(item, ExperimentItem):
                item.exempt_from_timeout()


def _experiment_nodeid(item: pytest.Item) -> str | None:
    return item.own_nodeid if isinstance(item, ExperimentItem) else None


def _experiments_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Keep tests behind the experiment whose directory they lie in, even if a plugin has reordered them."""
    waiting = {
        item.experiment.directory: item
        for item in items
        if isinstance(item, ExperimentItem) and item.experiment.member is None
    }
    if not waiting:
        return list(items)
    ordered: dict[pytest.Item, None] = {}
    for item in items:
        for directory in reversed([item.path, *item.path.parents]):
            if directory in waiting:
                ordered.setdefault(waiting.pop(directory))
        ordered.setdefault(item)
    return list(ordered)


def _leads_back(path: Path) -> bool:
    """Return whether the path is a link to a directory that it lies in."""
    return (
        path.is_symlink()
        and Path(os.path.realpath(path)) in Path(os.path.realpath(path.parent), "x").parents
    )


def _refuse_shared_names(items: Iterable[pytest.Item], artifacts: Path) -> None:
    own = {item.nodeid: item for item in items if isinstance(item, ExperimentItem)}
    experiments = {nodeid: item.experiment for nodeid, item in own.items()}
    for nodeid, problem in shared_names(experiments, ignores_case=find_ignores_case(artifacts)):
        own[nodeid].experiment = replace(own[nodeid].experiment, problem=problem)


def _listed(path: Path) -> frozenset[str] | None:
    """Return the notebooks in it; None if it cannot be listed, which reading it reports."""
    try:
        return frozenset(listed_notebooks(path))
    except OSError:
        return None


class _Experiments:
    """A directory node that yields its experiments before everything else in it."""

    collection: ExperimentCollection
    listed: frozenset[str]
    """The notebooks that lie in it, ignored or not."""
    obj = None
    """Conftests read it from an item's parent, which is usually a module or a class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.offered: set[Path] = set()
        """The notebooks that pytest has found and does not ignore."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        self.collection.listing = self
        try:
            # Before our own items: on the way, pytest asks which notebooks are ignored.
            others = list(super().collect())  # type: ignore[misc]
        finally:
            self.collection.listing = None
        return [*self._items(), *others]

    def _items(self: Any) -> Iterator[ExperimentItem]:
        hook = self.session.gethookproxy(self.path)
        customization = customize(self.config, hook, self.collection.scope.customization.patterns)

        def is_ignored(path: Path) -> bool:
            if path in self.offered or self.session.isinitpath(path):
                return False
            return bool(hook.pytest_ignore_collect(collection_path=path, config=self.config))

        for experiment in read(self.collection.scope, self.path, customization, is_ignored):
            name = encodable(experiment.item_name)
            yield ExperimentItem.from_parent(
                self,
                name=name,
                # execnet, which carries it from xdist's workers, takes UTF-8 alone.
                nodeid=encodable(f"{self.nodeid}::{name}"),
                experiment=experiment,
                path=self._path_of(experiment),
                runner=self.collection.runner,
            )

    def _path_of(self: Any, experiment: Experiment) -> Path:
        """The notebook that an argument names: it matches only a node whose path it is."""
        paths = notebook_paths(experiment)
        return next((path for path in paths if self.session.isinitpath(path)), self.path)


class ExperimentDirectory(_Experiments, pytest.Dir):  # type: ignore[misc]  # final, but a directory all the same
    """A directory with notebooks."""


class ExperimentPackage(_Experiments, pytest.Package):
    """A directory with notebooks that is a Python package as well."""


class ExperimentItem(pytest.Item):
    """An experiment: atomic, one item, one report."""

    cls = None

    def __init__(self, *, experiment: Experiment, runner: Runner, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.experiment = experiment
        self.runner = runner
        # xdist's loadgroup appends the group to the node id of an item.
        self.own_nodeid = self.nodeid
        self._imitate_function()
        self.extra_keyword_matches.update(path.stem for path in notebook_paths(experiment))
        try:
            self._mark()
        except pytest.fail.Exception as exc:  # an unknown marker under --strict-markers
            self.experiment = replace(experiment, problem=f"[run] marks: {exc}")

    def _imitate_function(self) -> None:
        """Set the attributes that conftests read from every item, as if each were a test function."""
        self.originalname = self.name
        self.fixturenames: list[str] = []
        self.funcargs: dict[str, object] = {}
        doc = f"Run experiment {one_line(self.experiment.name)}."
        self.function = self.obj = function_for(self.name, doc=doc, run=self.runtest)
        self.module = module_for(self.nodeid, file=str(self.path))

    def _mark(self) -> None:
        # The user's own come first, so that get_closest_marker finds them.
        for name in self.experiment.marks:
            self.add_marker(name)
        self.add_marker("experiment")
        if self.experiment.resources.gpu_count:
            self.add_marker("gpu")
        if self.config.pluginmanager.hasplugin("xdist"):
            alone = self.experiment.member is not None
            group = self.nodeid if alone else self.nodeid.rpartition("::")[0]
            self.add_marker(pytest.mark.xdist_group(group))

    def declare_gpu(self) -> None:
        """Run it as if it declared one GPU."""
        resources = replace(self.experiment.resources, gpus=1)
        self.experiment = replace(self.experiment, resources=resources, has_assumed_gpu=True)
        self.add_marker("gpu")

    def exempt_from_timeout(self) -> None:
        """Keep pytest-timeout's ini default, meant for unit tests, from ending an experiment.

        Called after every conftest.py has set its markers.
        """
        # A marker without a value, which is all that marks can declare, makes pytest-timeout end the
        # session with a TypeError.
        own = self.get_closest_marker("timeout")
        if self.config.pluginmanager.hasplugin("timeout") and not (
            own and (own.args or own.kwargs)
        ):
            self.add_marker(pytest.mark.timeout(0), append=False)

    def runtest(self) -> None:
        with interrupting(self.config):
            result = self.runner.run(self.experiment, item=self, nodeid=self.own_nodeid)
            self.user_properties.extend(properties(result))
            raise_outcome(result)

    def repr_failure(
        self,
        excinfo: ExceptionInfo[BaseException],
        style: Any = None,  # noqa: ANN401
    ) -> str | TerminalRepr:
        if isinstance(excinfo.value, ExperimentFailed):
            return failure_repr(self.runner.facts, excinfo.value.result, nodeid=self.own_nodeid)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        path = Path(encodable(str(self.path)))  # pytest makes it a part of what a worker sends
        return path, None, encodable(f"experiment {self.experiment.name}")
