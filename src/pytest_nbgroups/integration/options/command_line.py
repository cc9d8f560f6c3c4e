"""Our options and ini keys, which give way to a project's own of the same names.

pytest accepts an option once: a second declaration is a ValueError, and a conftest.py always comes after the plugins.
So ours are not declared to pytest's parser. They are taken from the arguments after each initial conftest.py has
declared its own; options that pytest knows by then stay in place.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_nbgroups.integration.options.table import OPTIONS, RUN, Option

GROUP = "experiments", "experiments: directories of ordered notebooks (pytest-nbgroups)"

_FLAGS = {option.flag for option in OPTIONS if option.flag}
_VALUED = _FLAGS - {option.flag for option in OPTIONS if option.is_switch}
_NO = {"", "0", "false", "none", "no", "off"}

_THEIR_FLAGS = pytest.StashKey[frozenset[str]]()
_THEIR_KEYS = pytest.StashKey[frozenset[str]]()
_HAS_THEIR_SWITCH = pytest.StashKey[bool]()
_MISSING = object()


def is_on(config: pytest.Config) -> bool:
    """Return whether ``--run-experiments`` is given: ours, or a project's own with a value that means yes."""
    if value_of(config, RUN):
        return True
    # Only if it is given: the default of a project's option must not change plain pytest.
    return RUN in their_flags(config) and _means_yes(config.getoption(RUN, default=False))


def _means_yes(value: object) -> bool:
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


def has_their_switch(config: pytest.Config) -> bool:
    """Return whether a project has a ``--run-experiments`` of its own, given or not."""
    return config.stash.get(_HAS_THEIR_SWITCH, False)


def value_of(config: pytest.Config, flag: str) -> Any:  # noqa: ANN401  what the option reads
    """Return the value of our option; None if it is not given, or if the project's option took it."""
    return getattr(config.option, flag, None)


def their_flags(config: pytest.Config) -> frozenset[str]:
    """Return the given options that have our names and are not ours."""
    return config.stash.get(_THEIR_FLAGS, frozenset())


def their_keys(config: pytest.Config) -> frozenset[str]:
    """Return the ini keys that have our names and are not ours."""
    return config.stash.get(_THEIR_KEYS, frozenset())


def hide_values(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> None:
    """Hide the values of our options when pytest looks for initial conftests."""
    # pytest would take the 4GB of "--experiment-ram 4GB" for a path.
    _, others = _split(args, _VALUED)
    if len(others) < len(args):
        known = parser.parse_known_args(others, namespace=copy.copy(config.option))
        config.known_args_namespace.file_or_dir = known.file_or_dir


def take_options(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Take our options from ``args`` and declare our ini keys. The initial conftests have declared theirs.

    Raises pytest.UsageError for a value that an option does not accept.
    """
    if _THEIR_KEYS in config.stash:  # a second call, through `take_options_at_last`
        return
    config.stash[_THEIR_KEYS] = frozenset(_declare_keys(config, parser))
    if config.known_args_namespace.help or "_ARGCOMPLETE" in os.environ:
        declare_options(parser)  # argparse lists and completes only what it knows
        return
    args[:] = _expanded(args)
    given = {flag for argument in args if (flag := _flag(argument)) in _FLAGS}
    if not given:
        return
    own = given & _unknown(config, parser, args)
    config.stash[_THEIR_FLAGS] = frozenset(given - own)
    taken, args[:] = _split(args, own)
    for flag, value in vars(_OwnParser(parser).parse_args(taken)).items():
        setattr(config.option, flag, value)


def declare_options(parser: pytest.Parser) -> None:
    """Declare our options for ``--help``, except those that a project has under the same names."""
    group = parser.getgroup(*GROUP)
    for flag, attributes in _described():
        if not _is_known(parser, flag):
            group.addoption(flag, **attributes)


def publish(config: pytest.Config) -> None:
    """Let ``config.getoption()`` find our options, by ``experiment_ram`` and by ``--experiment-ram``.

    Called after the command line is parsed, because pytest drops defaults that a namespace has already.
    """
    values = vars(config.option)
    # A name that no option has is looked up as an attribute, so this comes first.
    config.stash[_HAS_THEIR_SWITCH] = (
        RUN not in values and config.getoption(RUN, default=_MISSING) is not _MISSING
    )
    for flag in _FLAGS:
        value = values.setdefault(flag, None if flag in _VALUED else False)
        values.setdefault(flag[2:].replace("-", "_"), value)


def take_options_at_last(config: pytest.Config, parser: pytest.Parser) -> None:
    """Take our options for a plugin that a conftest.py registers.

    By then pytest calls no further hook before it parses. Without `Parser.parse`, the options are declared at once
    and give way to earlier ones only.
    """
    # pytest documents the method for its own use, but replacing it on this one parser is the only way to
    # come after the conftests that load later.
    if (parse := getattr(parser, "parse", None)) is None:
        take_options(config, parser, [])
        declare_options(parser)
        return

    def parse_others(args: Sequence[str], namespace: argparse.Namespace | None = None) -> object:
        others = [os.fspath(argument) for argument in args]
        take_options(config, parser, others)
        return parse(others, namespace)

    parser.parse = parse_others  # type: ignore[method-assign, assignment]


def _described() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each option with its description for argparse."""
    for option in OPTIONS:
        if option.flag:
            text = _help(option).replace("%", "%%")
            # The flag is the name of its value too, which keeps it apart from a project's option.
            yield option.flag, {"dest": option.flag, "help": text, **_taken_as(option)}


def _taken_as(option: Option) -> dict[str, Any]:
    if option.is_switch:
        return {"action": "store_true"}
    metavar = option.metavar or "|".join(option.choices)
    return {"metavar": metavar, "default": None, "type": partial(_read_argument, option)}


def _help(option: Option) -> str:
    # Called for --help only: to know the default takes an import.
    return option.help if option.is_switch else f"{option.help} Default: {option.default_text}."


def _read_argument(option: Option, value: str) -> Any:  # noqa: ANN401  what the option reads
    try:
        return option.parse(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{value!r}: {exc}") from exc


class _OwnParser(argparse.ArgumentParser):
    """Reads our options alone, with errors as pytest shows them."""

    def __init__(self, parser: pytest.Parser) -> None:
        super().__init__(
            prog=parser.prog,
            usage="%(prog)s [options] [file_or_dir] [file_or_dir] [...]",
            add_help=False,
            allow_abbrev=False,
        )
        self._context = parser.extra_info
        for flag, attributes in _described():
            self.add_argument(flag, **attributes)

    def error(self, message: str) -> NoReturn:
        context = [f"  {name}: {value}" for name, value in sorted(self._context.items())]
        raise pytest.UsageError(
            "\n".join([f"{self.format_usage()}{self.prog}: error: {message}", *context])
        )


def _declare_keys(config: pytest.Config, parser: pytest.Parser) -> Iterator[str]:
    """Declare our ini keys; yield those that another plugin has, which addini() would replace silently."""
    for option in OPTIONS:
        if not option.has_ini:
            continue
        if _is_known_key(config, option.name):
            yield option.name
        else:
            text = _help(option) if config.known_args_namespace.help else option.help
            parser.addini(option.name, text, type=option.ini_type, default=None)


def _is_known_key(config: pytest.Config, name: str) -> bool:
    try:
        config.getini(name)
    except ValueError as exc:
        return "unknown configuration value" not in str(exc)
    except Exception:  # noqa: BLE001  another's type may reject the value of the file in any way
        return True
    return True


def _unknown(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> set[str]:
    """Return the options that pytest does not know by now."""
    asked: list[str] = []
    for argument in args:
        # argparse takes an unknown option for a path if its text has a space.
        is_parted = " " in argument and _flag(argument) in _FLAGS
        asked += argument.split("=", 1) if is_parted else [argument]
    unknown = parser.parse_known_and_unknown_args(asked, namespace=copy.copy(config.option))[1]
    return set(map(_flag, unknown))


def _is_known(parser: pytest.Parser, flag: str) -> bool:
    try:
        return not parser.parse_known_and_unknown_args([f"{flag}=x"])[1]
    except Exception:  # noqa: BLE001  another's type may reject it in any way
        return True


def _flag(argument: str) -> str:
    return argument.partition("=")[0]


def _split(args: Sequence[str], flags: Collection[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into these options with their values, and all others."""
    taken: list[str] = []
    others: list[str] = []
    rest = deque(args)
    while rest:
        argument = rest.popleft()
        if argument == "--":  # everything behind it is a path
            return taken, [*others, argument, *rest]
        if _flag(argument) not in flags:
            others.append(argument)
            continue
        taken.append(argument)
        if argument in _VALUED and rest and not rest[0].startswith("-"):
            taken.append(rest.popleft())
    return taken, others


def _expanded(args: Sequence[str]) -> list[str]:
    """Replace ``@file`` by its lines if one is an option of ours, as pytest does for its own."""
    expanded: list[str] = []
    for argument in args:
        lines = lines_of(Path(argument[1:])) if argument.startswith("@") else []
        has_ours = any(_flag(line) in _FLAGS for line in lines)
        expanded += _expanded(lines) if has_ours else [argument]
    return expanded


def lines_of(file: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read, which pytest reports."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
