"""The option table, from which come the parser, the ini keys, the settings and a page of the docs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from pytest_nbgroups.settings import RamBudget, Settings
    from pytest_nbgroups.units import Size

IniType: TypeAlias = Literal["string", "paths"]
GROUP = "experiments"


# Without the methods that nothing here calls: this class is made in every run of pytest.
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Option:
    """One setting: an option with its ini twin, or one of the two alone."""

    name: str
    """Name of the ini key; the option's is the same with dashes."""
    read: Callable[[str], Any]
    """Reads the text of either; ValueError says what is accepted."""
    help: str
    default_text: str
    metavar: str | None = None
    has_flag: bool = True
    ini_type: IniType = "string"

    @property
    def flag(self) -> str | None:
        return f"--{self.name.replace('_', '-')}" if self.has_flag else None


def _choice(value: str, *, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"expected {' or '.join(choices)}")
    return value


def _cpus(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < 2**31:
        raise ValueError("expected a number above zero, such as 4 or 0.5")
    return number


def _size(value: str) -> Size:
    from pytest_nbgroups.units import parse_size

    return parse_size(value)


def _duration(value: str) -> float:
    from pytest_nbgroups.units import parse_duration

    return parse_duration(value)


def _ram(value: str) -> RamBudget:
    from pytest_nbgroups.settings import RamBudget

    if not value.endswith("%"):
        return RamBudget(size=_size(value))
    try:
        percent = float(value[:-1])
    except ValueError:
        percent = 0
    if not 0 < percent <= 100:  # noqa: PLR2004  per cent
        raise ValueError('expected a size such as "16GB", or a share such as "60%" up to 100%')
    return RamBudget(fraction=percent / 100)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("expected a name")
    return value


OPTIONS: tuple[Option, ...] = (
    Option(
        name="experiment_cpus",
        metavar="N",
        read=_cpus,
        default_text="what is found",
        help="CPU budget. Default: what affinity, the container and SLURM allow.",
    ),
    Option(
        name="experiment_ram",
        metavar="SIZE|N%",
        read=_ram,
        default_text="80% of capacity; 95% where a cgroup or SLURM sets it",
        help='RAM budget: a size such as "16GB" or a share of the capacity such as "60%%". '
        "Default: 80%%; 95%% where a container or SLURM sets the limit.",
    ),
    Option(
        name="experiment_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help='Deadline of each experiment, such as "2h" or "1h30m".',
    ),
    Option(
        name="experiment_notebook_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help="Deadline of each notebook.",
    ),
    Option(
        name="experiment_cell_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help="Deadline of each cell.",
    ),
    Option(
        name="experiment_kernel",
        metavar="NAME",
        read=_text,
        default_text="the notebook's",
        help="Kernel for the notebooks of its language.",
    ),
    Option(
        name="experiment_artifacts",
        metavar="DIR",
        read=_text,
        default_text=".experiments",
        help="Folder for executed notebooks, logs and the session record, below the rootdir.",
    ),
    Option(
        name="experiment_roots",
        read=_text,
        default_text="experiments",
        has_flag=False,
        ini_type="paths",
        help="Folders whose subdirectories with notebooks are experiments.",
    ),
    Option(
        name="experiment_order",
        read=partial(_choice, choices=("natural", "lexicographic")),
        default_text="natural",
        has_flag=False,
        help="Order of the notebooks: natural (2- before 10-) or lexicographic.",
    ),
    Option(
        name="experiment_unmet",
        read=partial(_choice, choices=("skip", "fail")),
        default_text="skip",
        has_flag=False,
        help="What becomes of an experiment whose needs the machine can never meet: skip or fail.",
    ),
    Option(
        name="experiment_default_ram",
        read=_size,
        default_text="2GB",
        has_flag=False,
        help="RAM reckoned for an experiment that declares none.",
    ),
    Option(
        name="experiment_transport",
        read=partial(_choice, choices=("auto", "ipc", "tcp")),
        default_text="auto",
        has_flag=False,
        help="How to talk to kernels: auto uses ipc for ipykernel on POSIX and tcp for others.",
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Add the ``experiments`` group to ``--help`` and the ini keys."""
    group = parser.getgroup(
        GROUP, "experiments: directories of ordered notebooks (pytest-nbgroups)"
    )
    group.addoption(
        "--run-experiments",
        action="store_true",
        dest="run_experiments",
        help="Collect and run experiments: each directory of notebooks is one test.",
    )
    for option in OPTIONS:
        if option.flag is not None:
            group.addoption(
                option.flag,
                dest=option.name,
                metavar=option.metavar,
                default=None,
                type=partial(_read_argument, option),
                help=option.help,
            )
        parser.addini(
            option.name, option.help.replace("%%", "%"), type=option.ini_type, default=None
        )


def refuse_item_arguments(config: pytest.Config) -> None:
    """Explain the node id of an experiment in a session that runs none. Raises pytest.UsageError."""
    for argument in config.args:
        path, _, item = argument.partition("::")
        if item == "notebooks" and (config.invocation_params.dir / path).is_dir():
            raise pytest.UsageError(f"{argument} is an experiment: needs --run-experiments")


def _read_argument(option: Option, value: str) -> Any:  # noqa: ANN401  what the option reads
    try:
        return option.read(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{value!r}: {exc}") from exc


def _read_ini(config: pytest.Config, option: Option) -> Any:  # noqa: ANN401
    file = config.inipath.name if config.inipath else "the ini file"
    try:
        value = config.getini(option.name)
    except TypeError as exc:  # pytest's own [tool.pytest] takes text for text only
        raise pytest.UsageError(f"{file}: {exc}; write the value in quotes") from exc
    if value is None or value == "":
        return None
    try:
        return option.read(str(value))
    except ValueError as exc:
        raise pytest.UsageError(f"{file}: {option.name} = {value!r}: {exc}") from exc


def read_settings(config: pytest.Config) -> Settings:
    """Resolve the command line and the ini file. Raises pytest.UsageError for a bad ini value."""
    from pytest_nbgroups.settings import Deadlines, Settings

    ini = {o.name: _read_ini(config, o) for o in OPTIONS if o.ini_type == "string"}
    given = {o.name: config.getoption(o.name) for o in OPTIONS if o.flag is not None}
    either = {name: _either(given.get(name), ini[name]) for name in ini}

    def deadlines(values: dict[str, Any]) -> Deadlines:
        return Deadlines(
            experiment_s=values["experiment_timeout"],
            notebook_s=values["experiment_notebook_timeout"],
            cell_s=values["experiment_cell_timeout"],
        )

    optional = {
        "order": ini["experiment_order"],
        "unmet": ini["experiment_unmet"],
        "default_ram": ini["experiment_default_ram"],
        "transport": ini["experiment_transport"],
        "ram_budget": either["experiment_ram"],
    }
    return Settings(
        rootdir=config.rootpath,
        roots=_roots(config),
        cpu_budget=either["experiment_cpus"],
        option_deadlines=deadlines(given),
        ini_deadlines=deadlines(ini),
        option_kernel=given["experiment_kernel"],
        ini_kernel=ini["experiment_kernel"],
        artifacts=_artifacts(config, either["experiment_artifacts"] or ".experiments"),
        **{name: value for name, value in optional.items() if value is not None},
    )


def _artifacts(config: pytest.Config, value: str) -> Path:
    """Resolve the folder. One that holds the project or a root would hide it from collection."""
    folder = Path(os.path.normpath(config.rootpath / value))
    for place in (config.rootpath, *_roots(config)):
        if place.is_relative_to(folder):
            raise pytest.UsageError(
                f"experiment_artifacts = {value!r} is or holds {place}, whose files would be taken "
                "for artifacts; name a folder of its own, such as .experiments"
            )
    return folder


def _either(first: object, second: object) -> Any:  # noqa: ANN401
    return second if first is None else first


def _roots(config: pytest.Config) -> tuple[Path, ...]:
    configured = config.getini("experiment_roots")
    if configured is None:
        return (config.rootpath / "experiments",)
    roots = tuple(Path(root) for root in configured)
    for root in roots:
        if not root.is_dir():
            file = config.inipath.name if config.inipath else "the ini file"
            raise pytest.UsageError(
                f"{file}: experiment_roots names {str(root)!r}, which is no directory; "
                "create it or correct the path"
            )
    return roots
