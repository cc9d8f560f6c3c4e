"""The settings of a session, from its command line and its ini file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nbgroups.integration.options.command_line import their_flags, their_keys, value_of
from pytest_nbgroups.integration.options.owners import owner_of
from pytest_nbgroups.integration.options.table import OPTIONS, PLAN, RUN, Option

if TYPE_CHECKING:
    from pytest_nbgroups.core.settings import Settings, Shard

_ROOTS = next(option for option in OPTIONS if option.field == "roots")


def refuse_plan_alone(config: pytest.Config) -> None:
    """Explain the option in a session that runs no experiments. Raises pytest.UsageError."""
    if value_of(config, PLAN):
        raise pytest.UsageError(
            "--experiment-plan shows what --run-experiments would run; give both"
        )


def refuse_item_arguments(config: pytest.Config) -> None:
    """Explain the node id of an experiment in a session that runs none. Raises pytest.UsageError."""
    # pytest's own words would be: directory argument cannot contain ::
    for argument in config.args:
        path, _, item = argument.partition("::")
        if item == "notebooks" and (config.invocation_params.dir / path).is_dir():
            raise pytest.UsageError(f"{argument} is an experiment: needs --run-experiments")


def _ini_file(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "the ini file"


def _ini_value(config: pytest.Config, option: Option) -> Any:  # noqa: ANN401
    """Return the value of our key in the ini file. Raises pytest.UsageError if a project's own key is set."""
    try:
        value = config.getini(option.name)
    except (ValueError, pytest.UsageError) as exc:  # pytest splits a list as a shell would
        raise pytest.UsageError(
            f"{_ini_file(config)}: {option.name} cannot be split into a list: {exc}"
        ) from exc
    if option.name not in their_keys(config):
        return value
    if not value:
        return None
    instead = f", or give {option.flag} instead of it" if option.flag else ""
    raise pytest.UsageError(
        f"{_ini_file(config)}: {option.name} is a key of {owner_of(config, option.name)}, so "
        f"pytest-nbgroups cannot read it; rename that key{instead}"
    )


def _refuse_their_flags(config: pytest.Config) -> None:
    """Explain an option that another plugin has declared. Its ``--run-experiments`` is read as ours."""
    twins = {option.flag: option.name for option in OPTIONS if option.has_ini}
    for flag in sorted(their_flags(config) - {RUN}):
        instead = f", or use our ini key {twins[flag]} instead of it" if flag in twins else ""
        raise pytest.UsageError(
            f"{flag} is an option of {owner_of(config, flag)}, so pytest-nbgroups cannot read it; "
            f"rename that option{instead}"
        )


def _read_ini(config: pytest.Config, option: Option) -> Any:  # noqa: ANN401
    file = _ini_file(config)
    try:
        value = _ini_value(config, option)
    except TypeError as exc:  # pytest's own [tool.pytest] takes text for text only
        raise pytest.UsageError(f"{file}: {exc}; write the value in quotes") from exc
    if value is None or value == "":
        return None
    if option.ini_type == "args":
        return tuple(_read_ini_text(file, option, text) for text in value)
    return _read_ini_text(file, option, str(value))


def _read_ini_text(file: str, option: Option, text: str) -> Any:  # noqa: ANN401
    try:
        return option.parse(text)
    except ValueError as exc:
        raise pytest.UsageError(f"{file}: {option.name} = {text!r}: {exc}") from exc


def read_settings(config: pytest.Config) -> Settings:
    """Resolve the command line and the ini file. Raises pytest.UsageError for a bad value."""
    from pytest_nbgroups.core.settings import ARTIFACTS_FOLDER, Deadlines, Settings

    _refuse_their_flags(config)
    ini = {o.name: _read_ini(config, o) for o in OPTIONS if o.has_ini and o.ini_type != "paths"}
    given = {o.name: value_of(config, o.flag) for o in OPTIONS if o.flag}
    fields: dict[str, Any] = {}
    for values in (ini, given):  # in this order: the command line wins
        found = {o.field: values.get(o.name) for o in OPTIONS if o.field}
        fields |= {name: value for name, value in found.items() if value is not None}
    artifacts = _artifacts(config, fields.pop("artifacts", ARTIFACTS_FOLDER))
    file = fields.pop("weights", None)
    weights = None if file is None else _normal(config.rootpath / file)

    def deadlines(values: dict[str, Any]) -> Deadlines:
        return Deadlines(**{o.deadline: values[o.name] for o in OPTIONS if o.deadline})

    return Settings(
        rootdir=config.rootpath,
        roots=_roots(config),
        shard=_weighted(fields.pop("shard", None), weights),
        weights=weights,
        # Each in two fields: a declaration wins over the ini file, the command line over a declaration.
        option_deadlines=deadlines(given),
        ini_deadlines=deadlines(ini),
        option_kernel=given["experiment_kernel"],
        ini_kernel=ini["experiment_kernel"],
        artifacts=artifacts,
        **fields,
    )


def _artifacts(config: pytest.Config, value: str) -> Path:
    from pytest_nbgroups.core.artifacts import Artifacts
    from pytest_nbgroups.core.settings import ARTIFACTS_FOLDER

    folder = _normal(config.rootpath / value)
    # Collection never enters the artifacts: the project or a root in them would not be collected.
    # Behind links, a run would remove the notebooks as files of an earlier one.
    for place in (config.rootpath, *_roots(config)):
        if place.is_relative_to(folder) or Artifacts(folder=folder).holds(place):
            raise pytest.UsageError(
                f"experiment_artifacts = {value!r} is or contains {place}, whose files would count as "
                f"artifacts; name a separate folder, such as {ARTIFACTS_FOLDER}"
            )
    return folder


def _weighted(shard: Shard | None, weights: Path | None) -> Shard | None:
    # Read here, because a bad file then ends the session before any worker starts.
    if shard is None or weights is None:
        return shard
    from pytest_nbgroups.core.errors import DeclarationError
    from pytest_nbgroups.core.text import plain_text
    from pytest_nbgroups.scheduling.weights import read_weights

    try:
        return replace(shard, weights=read_weights(weights))
    except DeclarationError as exc:
        raise pytest.UsageError(plain_text(str(exc))) from exc


def _roots(config: pytest.Config) -> tuple[Path, ...]:
    configured = _ini_value(config, _ROOTS)
    if configured is None:
        return (config.rootpath / "experiments",)
    return tuple(dict.fromkeys(_root(config, given) for given in configured))


def _normal(path: Path) -> Path:
    # Not resolve(): links stay, because what pytest collects has the names of the links.
    return Path(os.path.normpath(path))


def _root(config: pytest.Config, given: Path) -> Path:
    """Return a configured root. Raises pytest.UsageError if it is no folder below the rootdir."""
    root, rootdir = _normal(given), config.rootpath
    if not root.is_dir():
        raise pytest.UsageError(
            f"{_ini_file(config)}: experiment_roots names {str(given)!r}, which is not a directory; "
            "create it or correct the path"
        )
    # --rootdir can lead through a link, while the ini file is found without it.
    if root.is_relative_to(rootdir) or root.resolve().is_relative_to(rootdir.resolve()):
        return root
    # pytest would name an experiment A there "A::notebooks", as it does one of another such root.
    raise pytest.UsageError(
        f"{_ini_file(config)}: experiment_roots names {str(root)!r}, which is outside of the "
        f"rootdir {str(rootdir)!r}: pytest names its items by their paths below the rootdir; link "
        "the folder into the project, give its path on the command line, or set --rootdir to a "
        "folder above both"
    )
