"""Directories that a session may treat as experiments, from its arguments and roots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pluggy
import pytest
from _pytest.pathlib import absolutepath

from pytest_nbgroups.core.model import SUFFIX, Experiment
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.declarations.declaration import Declaration
from pytest_nbgroups.declarations.directory import Customization, read_experiments
from pytest_nbgroups.declarations.listing import IsIgnored, walk
from pytest_nbgroups.integration.selecting import is_taken

SEPARATOR = "::"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Directories at or below ``roots`` or ``named`` may be experiments."""

    settings: Settings
    customization: Customization
    named: frozenset[Path] = frozenset()
    """Directories given on the command line, and those of notebooks given there."""
    starts: Sequence[Path] = ()
    """Starting points of collection."""
    added: frozenset[Path] = frozenset()
    """Roots that are collected for their experiments alone: ``testpaths`` leaves them out."""
    is_ignored: IsIgnored = lambda _path: False
    """True for what pytest leaves out."""

    def claims(self, path: Path) -> bool:
        """Return whether a directory is an experiment if it holds a selected notebook."""
        if path.name.startswith(".") or self.is_artifacts(path):
            return False
        if path == self.settings.rootdir:
            return path in self.named
        bases = {*self.settings.roots, *self.named}
        return path in bases or any(parent in bases for parent in path.parents)

    def is_added(self, path: Path) -> bool:
        """Return whether pytest would not find a path by itself."""
        return any(path.is_relative_to(root) for root in self.added)

    def is_artifacts(self, path: Path) -> bool:
        # As text, which is faster: pytest asks it for every path that it finds.
        text, folder = os.path.normcase(path), os.path.normcase(self.settings.artifacts)
        return text == folder or text.startswith(folder + os.sep)


def find_scope(
    config: pytest.Config,
    settings: Settings,
    customization: Customization,
    added: Sequence[Path] = (),
) -> Scope:
    """Read ``config.args``: the directories that they name, or none if no path was given."""
    named: set[Path] = set()
    starts = [_path_of(config, argument) for argument in config.args]
    if config.args_source == pytest.Config.ArgsSource.ARGS:
        named = {start if start.suffix != SUFFIX else start.parent for start in starts}

    def is_ignored(path: Path) -> bool:
        # Our own hook is registered only after the first look ahead, so it does not answer yet.
        if scope.is_artifacts(path):
            return True
        return bool(config.hook.pytest_ignore_collect(collection_path=path, config=config))

    scope = Scope(
        settings=settings,
        customization=customization,
        named=frozenset(path for path in named if path.is_dir()),
        starts=tuple(starts),
        added=frozenset(added),
        is_ignored=is_ignored,
    )
    return scope


def _path_of(config: pytest.Config, argument: str) -> Path:
    return absolutepath(config.invocation_params.dir / argument.partition(SEPARATOR)[0])


def _argument_for(config: pytest.Config, path: Path) -> str:
    base = config.invocation_params.dir
    # Relative if possible: pytest takes no path with "[", which a folder above may have.
    return os.path.join(".", path.relative_to(base)) if path.is_relative_to(base) else str(path)  # noqa: PTH118  keeps the dot


def complete_arguments(config: pytest.Config, settings: Settings) -> list[Path]:
    """Collect the roots as well if no path was given. Return those that were added."""
    if config.args_source == pytest.Config.ArgsSource.ARGS:
        return []
    if config.invocation_params.dir != config.rootpath:  # pytest uses testpaths only there
        return []
    present = [_path_of(config, argument) for argument in config.args]
    added = [
        root
        for root in settings.roots
        if root.is_dir() and not any(root.is_relative_to(path) for path in present)
    ]
    config.args += [_argument_for(config, root) for root in added]
    return added


def resolve_item_arguments(config: pytest.Config, scope: Scope) -> None:
    """Make ``A::notebooks`` and ``A/2-fit.ipynb`` arguments that pytest can match, one for an item.

    pytest takes no ``::`` after a directory, so such an argument becomes the path of one of the
    item's notebooks. Raises pytest.UsageError if it names no item or an excluded notebook.
    """
    resolved: dict[tuple[Path, str] | str, str] = {}
    for argument in config.args:
        experiment = _experiment_of(config, scope, argument)
        if experiment is None:
            resolved[argument] = argument
        else:
            key = (experiment.directory, experiment.item_name)
            path = _matched_path(experiment, _path_of(config, argument))
            resolved.setdefault(key, _argument_for(config, path))
    config.args[:] = resolved.values()


def _experiment_of(config: pytest.Config, scope: Scope, argument: str) -> Experiment | None:
    """Return the experiment that an argument selects; None for any other argument."""
    path, (_, separator, item) = _path_of(config, argument), argument.partition(SEPARATOR)
    if separator and path.is_dir() and scope.claims(path):
        experiments = read(scope, path)
        return _named(argument, item, experiments) if experiments else None
    if not separator and path.suffix == SUFFIX and path.is_file() and scope.claims(path.parent):
        given = partial(_is_ignored_unless, scope, path)
        return _holding(argument, path, read(scope, path.parent, is_ignored=given))
    return None


def _is_ignored_unless(scope: Scope, given: Path, path: Path) -> bool:
    return path != given and scope.is_ignored(path)


def _named(argument: str, item: str, experiments: Sequence[Experiment]) -> Experiment:
    for experiment in experiments:
        if item in {experiment.item_name, encodable(experiment.item_name)}:
            return experiment
    known = ", ".join(f"{argument.partition(SEPARATOR)[0]}::{e.item_name}" for e in experiments)
    raise pytest.UsageError(f"not found: {argument}; the directory has {known}")


def _holding(argument: str, path: Path, experiments: Sequence[Experiment]) -> Experiment | None:
    for experiment in experiments:
        if path.name in experiment.excluded:
            reason = experiment.excluded[path.name]
            raise pytest.UsageError(f"{argument} is excluded from its experiment: {reason}")
        if experiment.holds(path):
            return experiment
    return None


def _matched_path(experiment: Experiment, given: Path) -> Path:
    """Return a path for the experiment's item, so that the argument matches that item alone."""
    if given.suffix == SUFFIX:
        return given
    paths = notebook_paths(experiment)
    return next((path for path in paths if is_taken(path.name)), paths[0] if paths else given)


def notebook_paths(experiment: Experiment) -> list[Path]:
    """Return its notebooks; if it cannot run as declared, all in its directory."""
    paths = [notebook.path for notebook in experiment.notebooks]
    return paths or sorted(experiment.directory.glob(f"*{SUFFIX}"))


def read(
    scope: Scope,
    directory: Path,
    customization: Customization | None = None,
    is_ignored: IsIgnored | None = None,
) -> tuple[Experiment, ...]:
    """Read the experiments of a directory that the scope claims."""
    return read_experiments(
        directory,
        scope.settings,
        is_ignored=is_ignored or scope.is_ignored,
        customization=customization or scope.customization,
    )


def customize(
    config: pytest.Config, hook: pluggy.HookRelay, patterns: Mapping[str, Declaration]
) -> Customization:
    """Customize with pyproject's patterns and the hooks that ``hook`` calls."""
    return Customization(
        patterns=patterns,
        notebooks=lambda path, notebooks: hook.pytest_experiment_notebooks(
            config=config, path=path, notebooks=notebooks
        ),
        resources=lambda path, resources: hook.pytest_experiment_resources(
            config=config, path=path, resources=resources
        ),
    )


def find_experiments(scope: Scope) -> tuple[Experiment, ...]:
    """Find what will be collected, from files alone: without ``-k`` and the like."""
    found: dict[tuple[Path, str], Experiment] = {}
    for start in scope.starts:
        only = start if start.suffix == SUFFIX else None
        ignored = partial(_is_ignored_unless, scope, only) if only else None
        for directory in (start.parent,) if only else _folders(scope, start):
            if not scope.claims(directory):
                continue
            for experiment in read(scope, directory, is_ignored=ignored):
                if only is None or experiment.holds(only):
                    found[directory, experiment.item_name] = experiment
    return tuple(found.values())


def has_test_files(config: pytest.Config, scope: Scope) -> bool:
    """Return whether the session may have tests besides experiments."""
    patterns: list[str] = config.getini("python_files")
    return any(
        start.suffix == ".py" or any(_has_test_file(d, patterns) for d in _folders(scope, start))
        for start in scope.starts
    )


def has_companions(config: pytest.Config, experiments: Sequence[Experiment]) -> bool:
    """Return whether tests lie beside an experiment's notebooks, or an experiment below another."""
    patterns: list[str] = config.getini("python_files")
    directories = {experiment.directory for experiment in experiments}
    return any(
        _has_test_file(directory, patterns) or not directories.isdisjoint(directory.parents)
        for directory in directories
    )


def places(scope: Scope) -> list[str]:
    """Return the folders to search for experiments, relative to the rootdir if they lie below it."""
    rootdir, bases = scope.settings.rootdir, scope.named or scope.settings.roots
    # A root below a start, or a start below a root: in both cases the lower one is searched.
    searched = {base for base in bases for start in scope.starts if base.is_relative_to(start)}
    searched |= {start for start in scope.starts if any(start.is_relative_to(b) for b in bases)}
    return [
        path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else str(path)
        for path in sorted(searched or scope.starts)
    ]


def _has_test_file(directory: Path, patterns: Sequence[str]) -> bool:
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return False
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _folders(scope: Scope, start: Path) -> Iterator[Path]:
    return walk(start, scope.is_ignored) if start.is_dir() else iter(())
