"""The declaration of a directory, read from its listing and its experiment.toml, never from its notebooks."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from pytest_nbgroups.core.errors import DeclarationError, NbgroupsError, SelectionError
from pytest_nbgroups.core.model import DECLARATION_FILE, Experiment, Notebook
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.declaration import (
    Declaration,
    RunOptions,
    changed_resources,
    read_declaration,
    read_patterns,
    specificity,
)
from pytest_nbgroups.declarations.listing import IsIgnored, notebooks_in
from pytest_nbgroups.declarations.ordering import Selection, select
from pytest_nbgroups.declarations.rules import check_resources

T = TypeVar("T")
_NOTEBOOKS_HOOK = "pytest_experiment_notebooks"


@dataclass(frozen=True, kw_only=True)
class Customization:
    """Declarations from outside a directory: patterns in pyproject.toml, and hooks.

    A hook that returns None changes nothing.
    """

    patterns: Mapping[str, Declaration] = field(default_factory=dict)
    notebooks: Callable[[Path, Sequence[Path]], Sequence[Path] | None] = lambda _path, _notebooks: (
        None
    )
    resources: Callable[[Path, Resources], Resources | None] = lambda _path, _resources: None


def read_experiments(
    directory: Path,
    settings: Settings,
    *,
    is_ignored: IsIgnored = lambda _path: False,
    customization: Customization | None = None,
) -> tuple[Experiment, ...]:
    """Read what a directory declares: nothing, one experiment, or one for each independent notebook.

    An experiment that cannot run as declared has its ``problem`` set; nothing is raised.
    """
    name = experiment_name(directory, settings)
    try:
        notebooks = notebooks_in(directory, is_ignored)
    except OSError as exc:
        return (_broken(name, directory, f"{directory}: cannot be listed: {_reason(exc)}"),)
    if not notebooks:
        return ()
    try:
        return _read(directory, name, notebooks, settings, customization or Customization())
    except OSError as exc:  # a folder can be listed but not entered
        return (_broken(name, directory, f"{directory}: cannot be read: {_reason(exc)}"),)
    except NbgroupsError as exc:
        return (_broken(name, directory, str(exc)),)


def only_experiment(found: Sequence[Experiment], target: Path) -> Experiment:
    """Return the one that the path of a directory or notebook names. Raises SelectionError."""
    matching = [e for e in found if target == e.directory or e.holds(target)]
    if not matching:
        raise SelectionError(f"{target}: no notebook to run")
    if len(matching) > 1:
        raise SelectionError(f"{target}: its notebooks are independent; name one of them")
    return matching[0]


def _broken(name: str, directory: Path, problem: str) -> Experiment:
    return Experiment(name=name, directory=directory, notebooks=(), problem=problem)


def _reason(exc: OSError) -> str:
    return exc.strerror or str(exc)


def experiment_name(directory: Path, settings: Settings) -> str:
    """Return the path relative to its root, else to the rootdir, with forward slashes."""
    bases = [root for root in settings.roots if root in directory.parents]
    for base in [*sorted(bases, key=lambda p: len(p.parts)), settings.rootdir]:
        if base in directory.parents:
            return directory.relative_to(base).as_posix()
    return directory.name or "root"


def _read(
    directory: Path,
    name: str,
    notebooks: Mapping[str, Path],
    settings: Settings,
    customization: Customization,
) -> tuple[Experiment, ...]:
    file = _shown(directory / DECLARATION_FILE, settings)
    own = _own_declaration(directory, file)
    declared = own.over(_declared_elsewhere(name, customization.patterns))
    order_source = file if "order" in own.run_table else "pyproject.toml"
    selection = _select(directory, notebooks, declared.run, settings, customization, order_source)
    if not selection.names:
        return ()
    _check_notebook_tables(own, notebooks, file)
    resources = _customized_resources(directory, declared.resources, customization)
    check_resources(resources, lambda key: file if key in own.resources_table else "pyproject.toml")
    experiment = Experiment(
        name=name,
        directory=directory,
        notebooks=tuple(
            # A path is costly to make, and a large repository has thousands.
            _notebook(notebooks.get(n) or directory / n, declared, settings)
            for n in selection.names
        ),
        excluded=selection.excluded,
        resources=resources,
        timeout_s=_first(
            settings.option_deadlines.experiment_s,
            declared.run.timeout,
            settings.ini_deadlines.experiment_s,
        ),
        env=declared.run.env,
        data=declared.run.data,
        outputs=declared.run.outputs,
        requires=declared.run.requires,
        skip=declared.run.skip,
        marks=declared.run.marks,
        notes=selection.notes,
    )
    return tuple(_members(experiment)) if declared.run.independent else (experiment,)


def _members(experiment: Experiment) -> Iterator[Experiment]:
    for notebook in experiment.notebooks:
        stem = notebook.path.stem
        yield replace(
            experiment, name=f"{experiment.name}/{stem}", notebooks=(notebook,), member=stem
        )


def read_pyproject(rootdir: Path) -> dict[str, Declaration]:
    """Read ``[tool.nbgroups.experiments."<pattern>"]`` of pyproject.toml. Raises DeclarationError."""
    path = rootdir / "pyproject.toml"
    table = _toml(path).get("tool", {}) if path.is_file() else {}
    if not isinstance(table, Mapping) or "nbgroups" not in table:
        return {}
    return read_patterns(table["nbgroups"], source=path.name)


def _own_declaration(directory: Path, shown: str) -> Declaration:
    path = directory / DECLARATION_FILE
    if path.is_file():
        return read_declaration(_toml(path), source=shown)
    # Ignored, it would let the experiment run without its declaration.
    if os.path.lexists(path):
        raise DeclarationError(
            f"{shown}: is not a file, or is a broken link; restore it, or remove it"
        )
    return Declaration()


def _declared_elsewhere(name: str, patterns: Mapping[str, Declaration]) -> Declaration:
    """Combine the matching patterns of pyproject.toml, the more specific over the less."""
    declared = Declaration()
    # Compared as well as matched: a name can have brackets.
    matching = [p for p in patterns if name == p or fnmatchcase(name, p)]
    for pattern in sorted(matching, key=specificity):
        declared = patterns[pattern].over(declared)
    return declared


def _toml(path: Path) -> Mapping[str, object]:
    try:
        # Some editors on Windows write a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise DeclarationError(f"{path}: cannot be read: {_reason(exc)}") from exc
    except UnicodeDecodeError as exc:
        raise DeclarationError(f"{path}: is not UTF-8 ({exc}); save it as UTF-8") from exc
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError is a ValueError
        raise DeclarationError(f"{path}: is not valid TOML: {exc}") from exc


def _shown(path: Path, settings: Settings) -> str:
    try:
        return path.relative_to(settings.rootdir).as_posix()
    except ValueError:
        return str(path)


def _select(
    directory: Path,
    notebooks: Mapping[str, Path],
    run: RunOptions,
    settings: Settings,
    customization: Customization,
    order_source: str,
) -> Selection:
    try:
        selection = select(
            list(notebooks),
            mode=settings.order,
            order=run.order,
            exclude=run.exclude,
            independent=run.independent,
        )
    except SelectionError as exc:
        raise SelectionError(f"{order_source}: {exc}") from exc
    paths = [notebooks[name] for name in selection.names]
    chosen = _asked(_NOTEBOOKS_HOOK, lambda: customization.notebooks(directory, paths))
    if chosen is None:
        return selection
    # Without the notes, which are about the order before the hook.
    return Selection(names=_checked(chosen, directory), excluded=selection.excluded)


def _customized_resources(
    directory: Path, declared: Resources, customization: Customization
) -> Resources:
    hook = "pytest_experiment_resources"
    changed = _asked(hook, lambda: customization.resources(directory, declared))
    if changed is None:
        return declared
    if not isinstance(changed, Resources):
        raise DeclarationError(
            f"{hook} returned {changed!r}; return None or dataclasses.replace(resources, …)"
        )
    return changed_resources(declared, changed, source=hook)


def _asked(hook: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as exc:  # the user's code: the other experiments still run
        raise DeclarationError(f"{hook} raised {type(exc).__name__}: {exc}") from exc


def _checked(chosen: object, directory: Path) -> tuple[str, ...]:
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise DeclarationError(
            f"{_NOTEBOOKS_HOOK} returned {chosen!r}; return None or a list of paths in notebooks"
        )
    names: list[str] = []
    for path in _asked(_NOTEBOOKS_HOOK, lambda: list(chosen)):  # of a generator, the user's code
        if (
            not isinstance(path, str | Path)
            or Path(path).parent != directory
            or not Path(path).is_file()
        ):
            raise SelectionError(
                f"{_NOTEBOOKS_HOOK} returned {str(path)!r}, which is not a file directly in "
                f"{directory}; return some of the paths in notebooks"
            )
        names.append(Path(path).name)
    # A second run would overwrite the outputs of the first.
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise SelectionError(
            f"{_NOTEBOOKS_HOOK} returned {repeated!r} twice; return each notebook once"
        )
    return tuple(names)


def _check_notebook_tables(declared: Declaration, names: Collection[str], source: str) -> None:
    for name in declared.notebook_tables:
        if name not in names:
            raise DeclarationError(
                f'{source}: [notebooks."{name}"]: there is no such notebook; '
                f"the directory has {', '.join(sorted(names))}"
            )


def _notebook(path: Path, declared: Declaration, settings: Settings) -> Notebook:
    own, run = declared.notebook(path.name), declared.run
    option, ini = settings.option_deadlines, settings.ini_deadlines
    return Notebook(
        path=path,
        kernel=own.kernel or run.kernel,
        timeout_s=_first(option.notebook_s, own.timeout, run.notebook_timeout, ini.notebook_s),
        cell_timeout_s=_first(option.cell_s, own.cell_timeout, run.cell_timeout, ini.cell_s),
        skip=own.skip,
        requires=own.requires,
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
